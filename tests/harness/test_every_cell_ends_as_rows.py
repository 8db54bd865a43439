"""Every planned cell ends as rows: whatever a solver does, the points before stay and the others go on."""

import signal

import pytest
import torch
from toys import STEPS, STRATEGIES, points, toy

# What happens at the third of four steps: (status, what its message must say, code).
FAULTS = {
    "raises": ("error", "RuntimeError: planted", "if step == 3: raise RuntimeError('planted')"),
    "exits": ("error", "SystemExit: 3", "if step == 3: sys.exit(3)"),
    "memory_error": ("out_of_memory", "MemoryError", "if step == 3: raise MemoryError"),
    "cuda_out_of_memory": (
        "out_of_memory",
        "CUDA out of memory",
        "if step == 3: raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB')",
    ),
    "cpu_allocation": ("out_of_memory", "use a smaller problem", "if step == 3: torch.empty(2**55)"),
    "nan": ("diverged", "NaN or infinity in 8 of 8", "if step >= 3: self.x = self.x * float('nan')"),
    "infinity": ("diverged", "NaN or infinity in 1 of 8", "if step >= 3: self.x[2] = float('inf')"),
    "wrong_shape": ("error", "has shape (7,), expected (8,)", "if step >= 3: self.x = self.x[1:]"),
    "wrong_dtype": (
        "error",
        "has dtype torch.float64, expected torch.float32",
        "if step >= 3: self.x = self.x.double()",
    ),
    "wrong_device": ("error", "has device meta, expected cpu", "if step >= 3: self.x = self.x.to('meta')"),
    "wrong_type": ("error", "is a list, expected a tensor", "if step >= 3: self.x = self.x.tolist()"),
    "half_a_character": ("error", "RuntimeError: planted ?", "if step == 3: raise RuntimeError('planted \\ud800')"),
    "has_no_text": (
        "error",
        "Speechless",
        """
        if step == 3:
            raise type("Speechless", (Exception,), {"__str__": lambda self: 1 / 0})
        """,
    ),
    "hangs": ("timeout", "the time budget of 2 s is spent", "while step == 3: pass"),
    "swallows": (
        "timeout",
        "--timeout",
        """
        if step == 3:
            try:
                while True:
                    pass
            except Exception:
                pass
        """,
    ),
}

# What only a process of its own survives.
FAULTS |= {
    "interrupts": ("error", "KeyboardInterrupt", "if step == 3: raise KeyboardInterrupt"),
    "crashes": ("error", "was ended by SIGSEGV when it was asked to advance", "if step == 3: ctypes.string_at(0)"),
    "aborts": ("error", "was ended by SIGABRT", "if step == 3: os.abort()"),
    "leaves": ("error", "left with exit code 0 when it was asked to advance", "if step == 3: os._exit(0)"),
    "swallows_all": (
        "timeout",
        "--timeout",
        """
        while step == 3:
            try:
                time.sleep(1)
            except BaseException:
                continue
        """,
    ),
}

# Wrong before the first step: a single row.
BROKEN = {
    "overrides_run": ("overrides `run`", "def run(self, stop_val): self.x = torch.ones(self.size)"),
    "overrides_get_result": ("overrides `get_result`", "def get_result(self): return {'x': None}"),
    "overrides_a_method_of_the_stand": ("overrides `go_on`", "def go_on(self, steps): pass"),
    "sets_what_the_harness_knows": ("sets `repetition`", "repetition = 7"),
    "runs_at_import": ("`print()` runs at import", "print()"),
    "raises_in_skip": ("RuntimeError: no skip", "def skip(self, size): raise RuntimeError('no skip')"),
    "raises_in_prepare": ("RuntimeError: not ready", "def prepare(self): raise RuntimeError('not ready')"),
    "exits_in_prepare": ("SystemExit: 0", "def prepare(self): sys.exit(0)"),
    "leaves_in_skip": ("left with exit code 3 when it was asked to skip", "def skip(self, size): os._exit(3)"),
    "hides_a_parameter": ("hides the parameter", "parameters = {'lr': [0.5]}\nlr = 0.1"),
}


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """One run for each strategy of all faulty solvers, an honest one before and after them by name."""
    from conftest import SmallBenchmark

    from orthobench.harness import raise_failures

    raise_failures(False)
    done = {}

    def run(strategy):
        if strategy not in done:
            solvers = {name: (code, "") for name, (_, _, code) in FAULTS.items()}
            solvers |= {name: (None, code) for name, (_, code) in BROKEN.items()}
            solvers |= {"an_honest_one": (None, ""), "the_honest_one": (None, "")}
            benchmark = SmallBenchmark(tmp_path_factory.mktemp(strategy))
            frame = benchmark.write(toy(strategy, solvers)).run(timeout=2)
            # A name may carry parameters.
            frame["solver_name"] = frame["solver_name"].str.split("[").str[0]
            done[strategy] = frame
        return done[strategy]

    return run


@pytest.fixture(params=STRATEGIES)
def cell(request, frames):
    """Return a function of the name that returns the rows of a cell, in each strategy."""

    def cell(name):
        frame = frames(request.param)
        return frame[frame["solver_name"] == name]

    cell.strategy = request.param
    return cell


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_leaves_its_row_and_the_points_before_it(cell, fault):
    status, message, _ = FAULTS[fault]
    curve = cell(fault)
    before = [point for point in points(cell.strategy) if point < 3] if cell.strategy != "run_once" else []
    assert curve["objective_status"].tolist() == ["ok"] * len(before) + [status]
    assert curve["stop_val"].tolist() == [*before, 3 if cell.strategy != "run_once" else 1]
    assert message in curve["objective_message"].iloc[-1]
    assert curve["objective_value"].iloc[:-1].notna().all()
    assert curve["objective_value"].isna().iloc[-1]


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_solver_leaves_one_row_with_a_remedy(cell, name):
    curve = cell(name)
    assert curve["objective_status"].tolist() == ["error"]
    assert BROKEN[name][0] in curve["objective_message"].item()


def test_a_message_is_one_line_and_says_how_to_retry(cell):
    message = cell("raises")["objective_message"].iloc[-1]
    assert "\n" not in message
    assert message.endswith("retry: benchopt run " + message.split("benchopt run ")[1])
    assert "-f raises" in message
    assert "-d simulated" in message
    assert "-r 1" in message


@pytest.mark.parametrize("name", ["an_honest_one", "the_honest_one"])
def test_the_other_solvers_go_on(cell, name):
    curve = cell(name)
    assert curve["objective_status"].tolist() == ["ok"] * len(points(cell.strategy))
    assert curve["stop_val"].tolist() == points(cell.strategy)
    assert curve["objective_value"].iloc[-1] == 0
    assert (curve["objective_message"] == "").all()


def test_rows_say_where_the_solver_ran(cell):
    assert cell("an_honest_one")["objective_env_stand"].eq("process").all()


def test_a_curve_ends_at_the_solvers_own_last_step_whatever_max_runs_says(small_benchmark):
    small_benchmark.write(toy("iteration", {"honest": (None, "")}))
    assert small_benchmark.run(max_runs=2)["stop_val"].tolist() == list(range(1, STEPS + 1))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_budget_covers_the_whole_cell_and_not_the_evaluation(small_benchmark, strategy):
    """Four steps of 0.5 s: 0.5 + 1 + 1.5 + 2 s from scratch each time, 2 s in one go."""
    files = toy(strategy, {"sleeps": ("time.sleep(0.5)", "")})
    slow = files["objective.py"].replace(
        "def evaluate(",
        "def evaluate(self, **result):\n"
        "        import time; time.sleep(0.5)\n"
        "        return self.evaluate_(**result)\n\n    def evaluate_(",
    )
    small_benchmark.write(files | {"objective.py": slow})
    enough = small_benchmark.run(output="enough", timeout=60)
    assert enough["objective_status"].eq("ok").all()
    short = small_benchmark.run(output="short", timeout=1.4)
    assert short["objective_status"].iloc[-1] == "timeout"
    kept = {"iteration": 1, "callback": 3, "run_once": 0}[strategy]  # 0.5 s; 0, 0.5 and 1 s
    assert len(short) == kept + 1


def test_a_longer_budget_computes_a_timed_out_cell_again(small_benchmark):
    small_benchmark.write(toy("iteration", {"sleeps": ("time.sleep(0.1)", "")}))
    assert small_benchmark.run(output="short", timeout=0.25)["objective_status"].iloc[-1] == "timeout"
    assert small_benchmark.run(output="long", timeout=30)["objective_status"].tolist() == ["ok"] * STEPS


def test_a_failed_row_is_cached_and_f_retries_it(small_benchmark, tmp_path):
    flag = tmp_path / "broken"
    flag.touch()
    plant = f"import os\nif os.path.exists({str(flag)!r}): raise RuntimeError('flag')"
    small_benchmark.write(toy("iteration", {"flaky": (plant, "")}))
    assert small_benchmark.run(output="first")["objective_status"].tolist() == ["error"]
    flag.unlink()
    assert small_benchmark.run(output="again")["objective_status"].tolist() == ["error"]
    retried = small_benchmark.run(output="forced", forced_solvers=["flaky"])
    assert retried["objective_status"].tolist() == ["ok"] * STEPS


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_interruption_by_the_user_is_not_contained(small_benchmark, strategy):
    small_benchmark.write(toy(strategy, {"interrupted": ("self.signal = signal.SIGINT", "")}))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # what starts in the background ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            small_benchmark.run()
    finally:
        signal.signal(signal.SIGINT, before)


def test_strict_mode_raises_what_a_run_contains():
    from orthobench.harness import raise_failures
    from orthobench.harness.solver import Contained

    class Broken(Contained):
        name = "broken"

        def skip(self):
            return False, None

        def set_objective(self):
            raise RuntimeError("planted")

        def run(self, _):
            """Do nothing."""

        def get_result(self):
            return {}

    solver = Broken.get_instance()
    solver.skip()
    solver.set_objective()
    assert solver.get_result()["status"] == "error"
    raise_failures()
    try:
        solver.skip()
        with pytest.raises(RuntimeError, match="planted"):
            solver.set_objective()
    finally:
        raise_failures(False)


def test_a_refuted_claim_keeps_its_figures(small_benchmark):
    files = toy("run_once", {"claims": (None, "")})
    files["objective.py"] = files["objective.py"].replace(
        '"drawn": float(drawn)}', '"drawn": float(drawn), "status": "refuted", "message": "1.2 > 1"}'
    )
    row = small_benchmark.write(files).run().iloc[0]
    assert (row["objective_status"], row["objective_value"]) == ("refuted", 0)
    assert row["objective_message"].startswith("1.2 > 1 | retry: ")


def test_a_tensor_among_the_metrics_is_an_error_not_an_unreadable_file(small_benchmark):
    files = toy("run_once", {"honest": (None, "")})
    files["objective.py"] = files["objective.py"].replace("float(drawn)}", "torch.tensor(drawn)}")
    row = small_benchmark.write(files).run().iloc[0]
    assert row["objective_status"] == "error"
    assert "metric 'drawn' is a Tensor" in row["objective_message"]


def test_a_result_that_never_was_finite_is_no_figure(small_benchmark):
    files = toy("run_once", {"honest": (None, "")})
    files["objective.py"] = files["objective.py"].replace("float((x - 1).abs().sum())", "float('nan')")
    assert small_benchmark.write(files).run()["objective_status"].tolist() == ["diverged"]


def test_a_device_beyond_use_still_leaves_a_row(small_benchmark, monkeypatch):
    def broken():
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "is_available", broken)
    monkeypatch.setenv("ORTHOBENCH_DEVICE", "cpu")
    monkeypatch.setattr("orthobench.harness.stand.cells.resolve_device", lambda: torch.device("cpu"))
    small_benchmark.write(toy("run_once", {"broken": ("raise RuntimeError('illegal memory access')", "")}))
    monkeypatch.setattr("orthobench.provenance._device", lambda: None)
    assert small_benchmark.run()["objective_status"].tolist() == ["error"]


def test_statuses_are_the_six_of_the_contract():
    from orthobench.harness import STATUSES

    assert set(STATUSES) == {"ok", "diverged", "timeout", "out_of_memory", "error", "refuted"}
    assert issubclass(torch.OutOfMemoryError, RuntimeError)


def test_a_column_of_texts_that_some_rows_lack_is_saved_as_it_is(small_benchmark):
    # Rows in the order of their names: one without a figure, one with NaN, one with a text, one that failed.
    note = "[{}, {'note': float('nan')}, {'note': '[[1, null]]'}][int(drawn)]"
    solvers = {name: (f"self.drawn = {index}", "") for index, name in enumerate(("a", "b", "c"))}
    files = toy("run_once", solvers | {"d": ("raise RuntimeError('planted')", "")})
    files["objective.py"] = files["objective.py"].replace('"drawn": float(drawn)}', f'"drawn": float(drawn)}} | {note}')
    rows = small_benchmark.write(files).run().set_index("solver_name")
    assert rows.loc["c", "objective_note"] == "[[1, null]]"
    assert rows["objective_note"].isna().tolist() == [True, True, False, True]
    assert rows.loc["d", "objective_message"].startswith("RuntimeError: planted")
    assert rows["objective_message"].iloc[:3].tolist() == [""] * 3


def test_a_list_for_a_figure_is_refused_in_words(small_benchmark):
    files = toy("run_once", {"a": (None, "")})
    files["objective.py"] = files["objective.py"].replace('"drawn": float(drawn)', '"drawn": [float(drawn)]')
    rows = small_benchmark.write(files).run()
    assert rows["objective_status"].tolist() == ["error"]
    assert "'drawn' is a list: return a Python number" in rows["objective_message"].item()
