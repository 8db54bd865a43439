"""Whatever a solver's process does, its cell has its rows, and neither data that count nor other cells are reached."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from planted_role import DEATHS

from orthobench.harness.orthogonalisation.cell import MatricesCell
from orthobench.harness.stand import bench, cells, clocks, confine
from orthobench.harness.stand.clocks import Cost
from orthobench.harness.status import BudgetExceeded, InvalidResult, StandFailed

PLANTED = "planted_role:Planted"
DATA = ["gaussian[rows=16,columns=24,count=1]"]
FLOAT32 = ["*[dtype=float32]"]

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the system doesn't tell")

SOLVER = """
import ctypes
import gc
import os
import signal
import subprocess
import sys
import threading
import time

import torch

from orthobench.harness import {base}Orthogonaliser
from orthobench.linalg import polar_factor


class Solver({base}Orthogonaliser):
    name = {name!r}
    {steps}

    def orthogonalise(self, matrices{argument}):
{body}
        return polar_factor(matrices)
"""


def solver(name, body="pass", steps=None):
    body = textwrap.indent(textwrap.dedent(body).strip(), " " * 8)
    base, argument = ("Direct", "") if steps is None else ("Iterative", ", steps")
    return SOLVER.format(
        name=name, body=body, base=base, argument=argument, steps="" if steps is None else f"steps = {steps}"
    )


@pytest.fixture
def root(root_copy):
    """The root benchmark with a test's own solvers alone, on one matrix."""
    for path in (root_copy.folder / "solvers").glob("*.py"):
        path.unlink()

    def run(solvers, **options):
        """Run solvers, a dict of name to text; return their rows."""
        for name, text in solvers.items():
            root_copy.write({f"solvers/{name}.py": text})
        return root_copy.run(dataset_names=DATA, objective_filters=FLOAT32, solver_names=list(solvers), **options)

    run.folder = root_copy.folder
    return run


@pytest.fixture
def stand():
    made = bench.Stand(PLANTED)
    yield made
    made.end()


NON_BLOCKING = """
import os
from orthobench.harness.stand import bench

def look():
    print("blocks" if os.get_blocking(1) else "doesn't", flush=True)

look()
stand = bench.Stand("planted_role:Planted")
stand.ask("do", code="os.set_blocking(1, False)")
look()
stand.end()
look()
"""

# --- how a stand dies -------------------------------------------------------------------------------------------------

SIGKILL = "was ended by SIGKILL"
TOLD = {
    "crashes": ("error", "was ended by SIGSEGV when it was asked to {phase}"),
    "leaves": ("error", "left with exit code 0 when it was asked to {phase}"),
    "leaves with a code": ("error", "left with exit code 7 when it was asked to {phase}"),
    "aborts": ("error", "was ended by SIGABRT when it was asked to {phase}"),
    "is killed": ("out_of_memory", "was ended by SIGKILL"),  # with a limit of memory, that is the likely reason
    "exits": ("error", "SystemExit: 3"),
    "interrupts": ("error", "KeyboardInterrupt"),
    "takes memory": ("out_of_memory", "use a smaller problem"),
    "takes memory for Python": ("out_of_memory", "use a smaller problem"),
    "says nonsense": ("error", "answered what the bench can't read: what came is no frame"),
    "says a gigabyte": ("error", "1073741824 bytes of tensors came where at most"),
    "closes its channel": ("out_of_memory", "or closed its channel"),
    # Where the kernel keeps signals inside, it can't.
    "kills its server": ("error", ("and the server that starts it are gone", "PermissionError")),
    "hangs": ("timeout", "the time budget of 3 s is spent"),
}
PHASES = ("role", "problem", "load", "skip", "prepare", "run", "outputs", "count")
# Each death while it runs, and in each phase two that leave no exception.
CASES = [("run", death) for death in DEATHS]
CASES += [(phase, death) for phase in PHASES if phase != "run" for death in ("crashes", "leaves with a code")]


def test_every_death_is_told():
    assert set(TOLD) == set(DEATHS)


@pytest.mark.parametrize(("phase", "death"), CASES)
def test_a_stand_that_dies_costs_one_row_and_the_next_cell_is_fine(root, monkeypatch, phase, death):
    monkeypatch.setattr(MatricesCell, "role", "planted_role:DyingRole")
    monkeypatch.setenv("PLANTED_PHASE", phase)
    monkeypatch.setenv("PLANTED_DEATH", death)
    monkeypatch.setenv(bench.MEMORY_VARIABLE, "1G")
    solvers = {"dies": solver("dies", steps=2)}
    dead = root(solvers, timeout=3)
    monkeypatch.delenv("PLANTED_PHASE")
    status, message = TOLD[death]
    assert dead["objective_status"].tolist() == [status]
    messages = [message] if isinstance(message, str) else message
    assert any(each.format(phase=phase) in dead["objective_message"].item() for each in messages)
    fine = root(solvers, timeout=60)
    assert fine["objective_status"].tolist() == ["ok"] * 2


def test_output_that_a_stand_made_non_blocking_is_as_before():
    """The streams of a process of its own, for those of a test are no stand's."""
    done = subprocess.run(
        [sys.executable, "-c", NON_BLOCKING], capture_output=True, text=True, cwd=Path(__file__).parent
    )
    assert done.stdout.split() == ["blocks", "doesn't", "blocks"], done.stderr


def test_a_server_whose_processors_or_limits_a_stand_changed_is_replaced():
    changes = {
        "nothing": False,
        "os.sched_setaffinity(os.getppid(), sorted(os.sched_getaffinity(0))[:1])": len(os.sched_getaffinity(0)) > 1,
        "import resource; resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (50, 50))": True,
        "os.setpriority(os.PRIO_PROCESS, os.getppid(), 10)": True,
    }
    for code, replaced in changes.items():
        before = bench.server()
        stand = bench.Stand(PLANTED)
        stand.ask("do", code="pass" if code == "nothing" else code)
        stand.end()
        assert (bench.server() is not before) == replaced, code
    fresh = bench.Stand(PLANTED)
    fresh.ask("do", code="import resource; answer['limit'] = resource.getrlimit(resource.RLIMIT_NOFILE)[0]")
    fresh.end()


def test_a_question_to_a_dead_stand_whose_child_holds_the_channel_ends(stand):
    """The child takes nothing, so that what is sent fills the channel."""
    stand.ask("do", code="pid = os.fork()\nif not pid:\n    import time\n    time.sleep(1000)")
    os.kill(stand.pid, signal.SIGKILL)
    with pytest.raises(StandFailed, match="SIGKILL"):
        stand.ask("keep", torch.zeros(2**24))


def test_a_loop_that_swallows_everything_ends_with_its_budget(stand):
    pid = stand.pid
    with pytest.raises(BudgetExceeded):
        stand.ask("do", code="hang()", budget_s=0.3)
    assert bench.has_ended(pid)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_patience_that_ends_the_waiting_ends_the_stand(stand):
    pid = stand.pid

    def look():
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        stand.ask("do", code="hang()", patience=look)
    assert bench.has_ended(pid)


def test_an_answer_has_the_types_that_are_asked_for(stand):
    first = "answer.update(n=1, x=float('nan'), i=-float('inf'), t='a\\ud800', b=True, h=10**400, none=None)"
    lists = "answer.update(l=[1.0, 2], m=[1.0, '2'], p=[1.0, True], q=[1.0, float('inf')], r=[1.0, float('nan')])"
    told = stand.ask("do", code=f"{first}\n{lists}")
    assert told.number("n") == 1.0
    assert np.isnan(told.number("x"))
    assert told.number("i") == -np.inf
    assert told.text("t") == "a?"
    assert told.numbers("l", 2) == [1.0, 2.0]
    for ask in (
        lambda: told.number("t"),
        lambda: told.number("b"),
        lambda: told.number("h"),
        lambda: told.number("none"),
        lambda: told.number("missing"),
        lambda: told.text("n"),
        lambda: told.text("missing"),
        lambda: told.numbers("l", 3),
        *(lambda name=name: told.numbers(name, 2) for name in "mpqr"),
        lambda: told.numbers("n", 1),
    ):
        with pytest.raises(InvalidResult):
            ask()


def test_a_stand_states_no_success_and_no_endless_message(stand):
    code = """
    class Told(Exception):
        status = "ok"
    from orthobench.harness import status
    status.FAILURES = ("ok",)
    error = status.StandFailed("ok", "x" * 10**6)
    raise error
    """
    with pytest.raises(StandFailed) as caught:
        stand.ask("do", code=textwrap.dedent(code))
    assert caught.value.status == "error"
    assert len(str(caught.value)) <= 1000


@pytest.mark.parametrize("value", ["0", "-1", "G", "1.5G", "1 G", "many", "8GB"])
def test_a_limit_of_memory_that_is_none_is_named(monkeypatch, value):
    monkeypatch.setenv(bench.MEMORY_VARIABLE, value)
    with pytest.raises(ValueError, match=rf"ORTHOBENCH_MEMORY='{value}': expected a size such as 8G or 500M"):
        bench.memory_budget(torch.device("cpu"))


def test_a_limit_of_memory_is_a_size_and_none_on_cuda(monkeypatch):
    sizes = {"8G": 8 * 2**30, "500m": 500 * 2**20, "3K": 3072, "1T": 2**40, "12345": 12345, "": None, " ": None}
    for text, size in sizes.items():
        monkeypatch.setenv(bench.MEMORY_VARIABLE, text)
        assert bench.memory_budget(torch.device("cpu")) == size
        assert bench.memory_budget(torch.device("cuda")) is None


# --- nothing that counts is there -------------------------------------------------------------------------------------


def test_nothing_is_unpickled_from_a_stand(stand, tmp_path):
    mark = tmp_path / "it ran"
    code = f"""
    import pickle
    class Runs:
        def __reduce__(self):
            return os.mkdir, ({str(mark)!r},)
    content = pickle.dumps(Runs())
    """
    as_frame = textwrap.dedent(code) + "write(wire.PREFIX.pack(wire.MAGIC, len(content), 0) + content); hang()"
    as_data = textwrap.dedent(code) + (
        "answer['text'] = content.decode('latin1'); send = True\n"
        "tensors = [torch.frombuffer(bytearray(content), dtype=torch.uint8)]"
    )
    told = stand.ask("do", code=as_data)
    content = bytes(told.tensors[0].tolist())
    assert content == told.text("text").encode("latin1")
    with pytest.raises(StandFailed, match="can't read: the header of a frame is no JSON"):
        stand.ask("do", code=as_frame)
    assert not mark.exists()
    import pickle

    pickle.loads(content)  # noqa: S301 - the control
    assert mark.exists()


def found_in(pid, patterns):
    """Return the names of patterns that the memory of a process holds."""
    found = set()
    ranges = re.findall(r"^(\w+)-(\w+) rw", Path(f"/proc/{pid}/maps").read_text(), re.MULTILINE)
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as file:
        for start, end in ranges:
            with contextlib.suppress(OSError, OverflowError, ValueError):
                file.seek(int(start, 16))
                content = file.read(int(end, 16) - int(start, 16))
                found |= {name for name, pattern in patterns.items() if pattern in content}
    return found


@linux
def test_no_reference_is_in_a_stands_memory_and_the_inputs_are(root, monkeypatch):
    """By value, not by name: 32 bytes of each."""
    searched = []
    ask = bench.Stand.ask

    def search(stand, kind, *tensors, **options):
        answer = ask(stand, kind, *tensors, **options)
        if kind == "run":
            factors = search.cell._objective.factors[0]
            rows = {
                "input": tensors[0],
                "left": factors.left,
                "right": factors.right,
                "values": factors.singular_values,
                "polar": factors.polar,
                "polar in float32": factors.polar.float(),
            }
            patterns = {name: each.contiguous().numpy().tobytes()[-32:] for name, each in rows.items()}
            assert len(set(patterns.values())) == len(rows)
            searched.append((found_in(stand.pid, patterns), found_in(os.getpid(), patterns)))
        return answer

    def compute(cell):
        search.cell = cell
        return compute_points(cell)

    compute_points = MatricesCell.compute_points
    monkeypatch.setattr(MatricesCell, "compute_points", compute)
    monkeypatch.setattr(bench.Stand, "ask", search)
    # It returns zeros: the exact factor in float32 may be what an honest method finds.
    rows = root({"looks": solver("looks", "return [torch.zeros_like(each) for each in matrices]")})
    assert len(rows) == 1
    assert len(searched) >= 2  # the timed stand and the audit
    assert searched[0][0] == {"input"}
    for in_stand, in_bench in searched:
        assert in_stand <= {"input"}  # of several inputs it may have let go of the first
        assert in_bench >= {"input", "left", "right", "values"}  # the control


PEEK = """
class Span(ctypes.Structure):
    _fields_ = [("start", ctypes.c_void_p), ("length", ctypes.c_size_t)]

def status(pid, name):
    return next(line.split()[1] for line in open(f"/proc/{pid}/status") if line.startswith(name))

for pid in pids:
    try:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as file:
            file.seek(address)
            answer[f"{pid} by file"] = file.read(16).decode("latin1")
    except OSError as error:
        answer[f"{pid} by file"] = type(error).__name__
    here = ctypes.create_string_buffer(16)
    libc = ctypes.CDLL(None, use_errno=True)
    one, none = ctypes.c_ulong(1), ctypes.c_ulong(0)
    local, other = Span(ctypes.addressof(here), 16), Span(address, 16)
    read = libc.process_vm_readv(pid, ctypes.byref(local), one, ctypes.byref(other), one, none)
    answer[f"{pid} by call"] = here.raw.decode("latin1") if read == 16 else os.strerror(ctypes.get_errno())
"""


@linux
def test_a_stand_reads_neither_its_benchs_nor_its_servers_memory(stand):
    secret = np.frombuffer(b"the secret is 42", dtype=np.uint8).copy()
    pids = [os.getpid(), bench.server().process.pid]
    code = f"address, pids = {secret.ctypes.data}, {pids}\n{PEEK}"
    answers = stand.ask("do", code=code).fields
    assert len(answers) == 4
    assert set(answers.values()) <= {"PermissionError", "Operation not permitted"}, answers


@linux
def test_that_look_finds_the_secret_in_a_process_that_is_open(stand):
    """The control of the test above, in this process."""
    secret = np.frombuffer(b"the secret is 42", dtype=np.uint8).copy()
    names = {"address": secret.ctypes.data, "pids": [os.getpid()], "answer": {}}
    names |= {"ctypes": __import__("ctypes"), "os": os}
    exec(PEEK, names)  # noqa: S102 - code of this file
    assert "the secret is 42" in names["answer"].values()


def _has_landlock():
    pid = os.fork()
    if not pid:
        os._exit(0 if confine.deny_reading([]) else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.skipif(not _has_landlock(), reason="the system has no Landlock, or an old one")
def test_the_caches_cant_be_read_where_there_is_landlock(root, monkeypatch, tmp_path):
    monkeypatch.setenv("ORTHOBENCH_CACHE", str(tmp_path / "answers"))
    (tmp_path / "answers").mkdir()
    (tmp_path / "answers/beside").write_text("an answer")
    (tmp_path / "open").write_text("no answer")
    log = tmp_path / "log"
    body = f"""
    with open({str(log)!r}, "a") as file:
        for path in ({str(tmp_path / "answers/beside")!r}, {str(tmp_path / "open")!r}):
            try:
                file.write(open(path).read() + "; ")
            except OSError as error:
                file.write(type(error).__name__ + "; ")
        for path in ({str(tmp_path / "answers")!r}, {str(root.folder / "__cache__")!r}):
            try:
                file.write(str(bool(os.listdir(path))) + "; ")
            except OSError as error:
                file.write(type(error).__name__ + "; ")
        file.write("\\n")
    """
    rows = root({"reads": solver("reads", body)})
    assert rows["objective_status"].tolist() == ["ok"]
    told = set(log.read_text().splitlines())
    assert told == {"PermissionError; no answer; PermissionError; PermissionError; "}


# --- settings ---------------------------------------------------------------------------------------------------------

SETTINGS = {
    "threads": ("torch.set_num_threads(3)", "torch's threads from 1 to 3"),
    "precision": ("torch.set_float32_matmul_precision('medium')", "float32 matmul precision from highest to medium"),
    "cudnn": ("torch.backends.cudnn.allow_tf32 = False", "TF32 in cuDNN from True to False"),
    "default_type": ("torch.set_default_dtype(torch.float64)", "default type from torch.float32 to torch.float64"),
    "default_device": ("torch.set_default_device('meta')", "default device from cpu to meta"),
    "denormals": ("torch.set_flush_denormal(True)", "subnormal numbers from True to False"),
    "determinism": ("torch.use_deterministic_algorithms(True)", "deterministic algorithms from False to True"),
    "gradients": ("torch.set_grad_enabled(False)", "gradients from True to False"),
    "folder": ("os.chdir('/')", "working directory from "),
    "clock": ("time.perf_counter = time.monotonic", "replaced time.perf_counter"),
    "process_clock": ("time.process_time = lambda: 0.0", "replaced time.process_time"),
    "function": ("torch.nn.functional.linear = torch.nn.functional.bilinear", "linear"),
    "linalg": ("torch.linalg.svdvals = torch.linalg.eigvalsh", "replaced torch.linalg.svdvals"),
    "network": ("torch.nn.Linear.forward = lambda self, x: x", "replaced Linear.forward"),
    "new_method": ("torch.nn.Linear.__call__ = lambda self, x: x", "replaced Linear.__call__"),
    "harness": (
        "import orthobench.harness.stand.roles as roles; roles.check_plain = print",
        "replaced orthobench.harness.stand.roles.check_plain",
    ),
    "harness_class": (
        "import orthobench.harness.stand.roles as roles; roles.Timer.run = lambda *each: 1",
        "replaced Timer.run",
    ),
}
LOOK = """
from orthobench.harness.stand import roles
found = roles.settings()
import planted_before
assert found == planted_before.SETTINGS, found
"""


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    """Rows of solvers that change a setting each, between two that look."""
    import shutil

    from conftest import ROOT, SmallBenchmark

    from orthobench.harness import raise_failures

    raise_failures(False)
    with pytest.MonkeyPatch.context() as monkeypatch:
        folder = tmp_path_factory.mktemp("settings")
        stand = bench.Stand(PLANTED)
        before = stand.ask("settings").fields
        stand.end()
        (folder / "library").mkdir()
        (folder / "library/planted_before.py").write_text(f"SETTINGS = {before!r}")
        monkeypatch.syspath_prepend(folder / "library")
        benchmark = SmallBenchmark(folder / "root")
        shutil.copytree(ROOT / "datasets", folder / "root/datasets")
        shutil.copy(ROOT / "objective.py", folder / "root")
        names = [*SETTINGS, "a_look", "z_look"]
        bodies = {name: code for name, (code, _) in SETTINGS.items()} | {"a_look": LOOK, "z_look": LOOK}
        benchmark.write({f"solvers/{name}.py": solver(name, body) for name, body in bodies.items()})
        rows = benchmark.run(dataset_names=DATA, objective_filters=FLOAT32, solver_names=names)
    return rows.set_index("solver_name")


@pytest.mark.parametrize("name", SETTINGS)
def test_a_solver_that_changes_a_setting_has_a_row_that_says_which(changed, name):
    row = changed.loc[name]
    assert row["objective_status"] == "error"
    assert SETTINGS[name][1] in row["objective_message"]
    assert name in row["objective_message"]


@pytest.mark.parametrize("name", ["a_look", "z_look"])
def test_a_setting_of_one_cell_reaches_no_other(changed, name):
    assert changed.loc[name]["objective_status"] == "ok", changed.loc[name]["objective_message"]


def test_the_bench_keeps_its_own_settings(changed):
    assert torch.get_num_threads() == int(os.environ.get("ORTHOBENCH_THREADS", "1"))
    assert torch.get_float32_matmul_precision() == "highest"
    assert torch.get_default_dtype() == torch.float32
    assert time.perf_counter is not time.monotonic


# --- clocks -----------------------------------------------------------------------------------------------------------

NOTHING = Cost(0.0, 0.0)


@pytest.mark.parametrize(
    ("said", "wall", "processor", "threads", "found"),
    [
        (1.0, 1.0, 1.0, 1, ""),
        (1.0, 1.27, 1.0, 1, ""),
        (1.0, 1.28, 1.0, 1, "the clock outside shows 280.0 ms beyond the 1000.0 ms"),
        (0.0, 0.024, 0.0, 1, ""),
        (0.0, 0.026, 0.0, 1, "the clock outside shows 26.0 ms"),
        (1.0, 1.0, 1.10, 1, ""),
        (1.0, 1.0, 1.11, 1, "its processor time is 110.0 ms beyond the 1000.0 ms that it says for 1 thread"),
        (1.0, 1.0, 2.2, 2, ""),
        (1.0, 1.0, 2.3, 2, "for 2 threads"),
        (0.0, 0.006, 0.0065, 2, ""),  # OpenMP's second thread waits for more work a while
        (0.0, 0.006, 0.0075, 2, "its processor time is 7.5 ms"),
        (0.001, 0.001, 0.0032, 1, "its processor time is 2.2 ms"),
        (1.0, 1.0, None, 1, ""),
        (-1.0, 1.0, 1.0, 1, "it says that the method took -1 s"),
        (float("nan"), 1.0, 1.0, 1, "it says that the method took nan s"),
        (1.0, 0.5, 0.5, 1, "it says that the method took 1 s, and the question took 0.5 s"),
    ],
)
def test_what_is_hidden(said, wall, processor, threads, found):
    doubt = clocks.hidden(said, Cost(wall, processor), NOTHING, threads, on_cpu=True)
    assert found in doubt
    assert bool(doubt) == bool(found)


def test_transport_is_no_hidden_work_and_a_gpus_processor_waits():
    transport = Cost(0.5, 0.5)
    assert clocks.hidden(0.1, Cost(0.6, 0.6), transport, 1, on_cpu=True) == ""
    assert clocks.hidden(0.1, Cost(0.6, 0.6), NOTHING, 1, on_cpu=True) != ""
    assert clocks.hidden(1.0, Cost(1.0, 5.0), NOTHING, 1, on_cpu=True) != ""
    assert clocks.hidden(1.0, Cost(1.0, 5.0), NOTHING, 1, on_cpu=False) == ""
    assert clocks.hidden(1.0, Cost(1.0, 5.0), Cost(0.0, None), 1, on_cpu=True) == ""
    # Each call has copies and seeds before it.
    assert clocks.hidden(0.0, Cost(0.0, 0.003), NOTHING, 1, on_cpu=True) != ""
    assert clocks.hidden(0.0, Cost(0.0, 0.003), NOTHING, 1, on_cpu=True, calls=32) == ""


def test_costs_add_up_and_what_is_unknown_stays_so():
    assert Cost(1.0, 2.0) + Cost(0.5, 0.25) == Cost(1.5, 2.25)
    assert (Cost(1.0, None) + Cost(1.0, 1.0)).processor_s is None
    assert (Cost(1.0, 1.0) + Cost(1.0, None)).processor_s is None


@linux
def test_the_processors_clock_of_another_process_is_read():
    assert abs(clocks.processor_s(os.getpid()) - time.process_time()) < 1.0 + clocks._children_s(os.getpid())
    assert clocks.processor_s(2**22 + 7) is None


LIES = {
    # When the inputs go, after the clock has stopped.
    "sleeps after the clock": (
        """
        class Late:
            def __del__(self):
                time.sleep(0.2)
        matrices[0].late = Late()
        """,
        "the clock outside shows",
    ),
    "works after the clock": (
        """
        class Late:
            def __del__(self):
                end = time.process_time() + 0.02
                while time.process_time() < end:
                    pass
        matrices[0].late = Late()
        """,
        "its processor time is",
    ),
    "works in a thread": (
        """
        def work():
            end = time.thread_time() + 0.2  # the method waits for the interpreter now and then
            while time.thread_time() < end:
                pass
        class Late:
            def __init__(self):
                self.thread = threading.Thread(target=work)
                self.thread.start()
            def __del__(self):
                self.thread.join()
        matrices[0].late = Late()
        """,
        "its processor time is",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_hidden_work_is_refuted(root, monkeypatch, lie):
    body, found = LIES[lie]
    # Each by its own clock: on a busy machine work of 20 ms may take long, too.
    other = "PROCESSOR_SLACK_S" if "outside" in found else "WALL_SLACK_S"
    monkeypatch.setattr(clocks, other, 1e3)
    row = root({"lies": solver("lies", body)}).iloc[0]
    assert row["objective_status"] == "refuted"
    assert found in row["objective_message"]
    assert np.isnan(row["objective_value"])


def test_an_answer_before_the_work_is_no_figure(root):
    """It writes the answer to `run` itself, and begins to work."""
    body = """
    import planted_role
    from orthobench.harness.stand import wire
    header = b'["done", {"seconds": [1e-9], "processor_s": [1e-9], "peak_memory_bytes": null}, []]'
    if "warm" in vars(self):
        planted_role.write(wire.PREFIX.pack(wire.MAGIC, len(header), 0) + header)
        time.sleep(0.3)
    self.warm = True
    """
    row = root({"lies": solver("lies", body)}).iloc[0]
    assert row["objective_status"] in ("error", "refuted")
    assert np.isnan(row["objective_value"])


def test_who_leaves_processes_behind_is_refuted(root):
    body = """
    import subprocess
    subprocess.Popen(["sleep", "1000"], start_new_session=True)
    """
    row = root({"forks": solver("forks", body)}).iloc[0]
    assert row["objective_status"] == "refuted"
    assert "started processes" in row["objective_message"]


def test_who_remembers_the_points_before_is_refuted(root):
    body = """
    import orthobench.linalg as linalg
    key = matrices[0].sum().item()
    known = vars(self).setdefault("known", {})
    if key not in known:
        end = time.process_time() + 0.05
        while time.process_time() < end:
            pass
        known[key] = polar_factor(matrices)
    return known[key]
    """
    rows = root({"remembers": solver("remembers", body, steps=3)})
    assert rows["objective_status"].tolist()[-1] == "refuted"
    assert rows["objective_message"].str.contains("it makes use of what it knew before").any()


def test_honest_solvers_are_not_refuted(root):
    solvers = {"direct": solver("direct"), "iterative": solver("iterative", steps=3)}
    rows = root(solvers, repetitions=3)
    assert rows["objective_status"].eq("ok").all(), rows["objective_message"].unique()
    assert len(rows) == 3 * (1 + 3)


def test_transport_is_measured_once_for_a_kind_of_question():
    sent, answered = [torch.zeros(100, 100)], [torch.zeros(50)]
    cells._transport.cache_clear()
    first = cells.transport(sent, answered)
    assert first.wall_s > 0
    assert cells.transport([torch.ones(100, 100)], answered) is first
    assert cells._transport.cache_info().misses == 1


# --- in this process --------------------------------------------------------------------------------------------------


def test_the_root_benchmark_runs_in_the_bench_too(root, monkeypatch):
    monkeypatch.setenv(bench.IN_PROCESS_VARIABLE, "1")
    rows = root({"fine": solver("fine", steps=2)})
    assert rows["objective_status"].tolist() == ["ok"] * 2
    assert rows["objective_env_stand"].eq("in process").all()


def test_what_is_no_file_has_its_rows_and_the_others_theirs(root_copy):
    for path in (root_copy.folder / "solvers").glob("*.py"):
        if path.stem != "svd":
            path.unlink()
    solvers = root_copy.folder / "solvers"
    (solvers / "a_folder.py").mkdir()
    os.mkfifo(solvers / "a_pipe.py")
    (solvers / "a_link.py").symlink_to("nowhere.py")
    (solvers / "endless.py").symlink_to("/dev/zero")
    rows = root_copy.run(dataset_names=["gaussian[rows=8,columns=8]"], objective_filters=["*[dtype=float32]"])
    refused = rows[rows["objective_status"] != "ok"]
    assert set(refused["solver_name"]) == {"a_folder", "a_pipe", "a_link", "endless"}
    assert refused["objective_message"].str.contains("is none that can be read").all()
    assert len(rows) == len(refused) + 1


KEEPS = """
from orthobench.harness import DirectOrthogonaliser
from orthobench.linalg import polar_factor

class Solver(DirectOrthogonaliser):
    name = "keeps"
    parameters = {"pair, limit": [((1, 2), 1e400)], "word": [b"bytes"]}

    def orthogonalise(self, matrices):
        assert (self.pair, self.limit, self.word) == ((1, 2), float("inf"), b"bytes")
        return polar_factor(matrices)
"""


def test_parameters_keep_their_types_on_the_way_to_the_stand(root_copy):
    root_copy.write({"solvers/keeps.py": KEEPS})
    rows = root_copy.run(
        solver_names=["keeps"], dataset_names=["gaussian[rows=8,columns=8]"], objective_filters=["*[dtype=float32]"]
    )
    assert rows["objective_message"].tolist() == [""]
