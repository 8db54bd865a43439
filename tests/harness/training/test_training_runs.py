"""Real runs of `benchmark_muon`'s objective on a small problem: rows, statuses, seeds, clocks."""

import gc
import json
import math
import pydoc
import shutil
from enum import IntEnum

import pandas as pd
import pytest
import torch
from conftest import ROOT, SmallBenchmark
from tqdm import tqdm
from training_toys import make_parts

from orthobench.data import digest
from orthobench.harness import namespaces
from orthobench.harness.training.role import TrainingRole
from orthobench.optim.inspection import parameters_by_optimizer


class Norm(IntEnum):
    SPECTRAL = 2
    SIGN = 4


DATASET = """
import sys
sys.path.append({tests!r})
from training_toys import make_task
from orthobench.harness.training import TaskDataset

class Dataset(TaskDataset):
    name = "toy"
    parameters = {{"steps": [10]}}

    def task(self, seed):
        return make_task(steps=self.steps, target=1.0, floor=0.25)
"""

SOLVER = """
import math
import time

import torch
from orthobench.harness.training import TrainingSolver

class Solver(TrainingSolver):
    name = {name!r}

    def optimizers(self, model):
        self.calls = 0
        self.optimizer = torch.optim.SGD(model.parameters(), lr={rate}, momentum=0.9)
        self.optimizer.register_step_pre_hook(self.hook)
        return [self.optimizer]

    def hook(self, *_):
        self.calls += 1
        {hook}
"""


@pytest.fixture
def training(tmp_path, contained):
    """Make a benchmark with solvers of given hook and rate; return it."""

    def make(name="benchmark_small", **solvers):
        small = SmallBenchmark(tmp_path / name)
        (tmp_path / name).mkdir()
        shutil.copy(ROOT / "benchmark_muon" / "objective.py", tmp_path / name)
        small.write({"datasets/toy.py": DATASET.format(tests=str(ROOT / "tests" / "harness" / "training"))})
        for solver, (hook, rate) in solvers.items():
            small.write({f"solvers/{solver}.py": SOLVER.format(name=solver, hook=hook, rate=rate)})
        return small

    return make


def test_a_good_run_has_a_row_at_each_evaluation_with_every_metric(training):
    rows = training(plain=("pass", 0.2)).run(repetitions=2)
    assert rows["objective_status"].eq("ok").all()
    assert len(rows) == 2 * 6
    first, last = rows[rows["stop_val"] == 0], rows[rows["stop_val"] == 10]
    assert rows["objective_steps"].tolist() == rows["stop_val"].tolist()
    assert rows["objective_samples_seen"].eq(12 * rows["objective_steps"]).all()
    assert rows["objective_value"].tolist() == rows["objective_held_out_loss"].tolist()
    assert first["objective_held_out_loss"].between(0.8, 1.6).all()  # about log 3
    assert (last["objective_held_out_loss"].to_numpy() < first["objective_held_out_loss"].to_numpy()).all()
    assert rows["objective_held_out_accuracy"].between(0, 1).all()
    assert rows["objective_target"].eq(1.0).all()
    assert rows["objective_floor"].eq(0.25).all()
    per_step = ["step_time_ms", "optimizer_share", "train_loss", *(f"{name}_time_ms" for name in PHASES)]
    for name in per_step:
        assert first[f"objective_{name}"].isna().all()
        assert last[f"objective_{name}"].gt(0).all()
    total = sum(last[f"objective_{name}_time_ms"] for name in PHASES)
    assert (last["objective_optimizer_time_ms"] / total).to_numpy() == pytest.approx(last["objective_optimizer_share"])
    assert (total <= last["objective_step_time_ms"]).all()
    assert rows["objective_env_stand"].eq("process").all()
    assert rows["objective_data_digest"].eq(digest(make_parts().train)).all()
    weights = 6 * 16 + 16 + 16 * 8 + 8 * 3 + 3
    assert last["objective_optimizer_state_bytes"].eq(4 * weights).all()
    assert json.loads(last["objective_parameters_by_route"].iloc[0]) == {"SGD": weights}


PHASES = ("data", "forward", "backward", "optimizer")


def test_steps_and_time_to_target_are_those_of_the_first_of_two_evaluations_below_it(training):
    rows = training(plain=("pass", 0.5)).run(repetitions=3)
    for _, cell in rows.groupby("idx_rep"):
        below = (cell["objective_held_out_loss"] <= 1.0).tolist()
        index = next((i for i in range(5) if below[i] and below[i + 1]), None)
        last = cell.iloc[-1]
        if index is None:
            assert math.isnan(last["objective_steps_to_target"])
        else:
            assert last["objective_steps_to_target"] == cell["stop_val"].iloc[index]
            assert 0 <= last["objective_time_to_target_s"] <= last["objective_step_time_ms"] / 100 + 1e-9
    assert rows.groupby("idx_rep")["objective_steps_to_target"].max().notna().any()


def test_a_loss_that_is_not_finite_is_diverged_and_the_points_before_stay(training):
    hook = "torch.nn.init.constant_(self.optimizer.param_groups[0]['params'][0], math.nan) if self.calls == 6 else None"
    rows = training(exploding=(hook, 0.5), fine=("pass", 0.5)).run()
    own = rows[rows["solver_name"] == "exploding"]
    assert own["objective_status"].tolist()[:3] == ["ok"] * 3
    assert own["objective_status"].iloc[-1] == "diverged"
    assert own["stop_val"].iloc[-1] < 10
    assert own["objective_value"].iloc[:3].notna().all()
    assert rows[rows["solver_name"] == "fine"]["objective_status"].eq("ok").all()


def test_a_spent_time_budget_is_a_row_and_the_points_before_stay(training):
    rows = training(slow=("time.sleep(0.2)", 0.5)).run(timeout=1.2)
    assert rows["objective_status"].iloc[-1] == "timeout"
    assert rows["objective_status"].iloc[:-1].eq("ok").all()
    assert len(rows) >= 2
    assert "--timeout" in rows["objective_message"].iloc[-1]


def test_a_solver_that_raises_is_a_row_and_the_others_go_on(training):
    rows = training(broken=("raise RuntimeError('no kernel')", 0.5), fine=("pass", 0.5)).run()
    own = rows[rows["solver_name"] == "broken"]
    assert own["objective_status"].iloc[-1] == "error"
    assert "no kernel" in own["objective_message"].iloc[-1]
    assert rows[rows["solver_name"] == "fine"]["objective_status"].eq("ok").all()


def test_the_warm_up_is_neither_billed_nor_learned_from(training):
    slow_at_first = "time.sleep(1 if self.first else 0); self.first = False"
    hook = f"self.first = getattr(self, 'first', True); {slow_at_first}"
    rows = training(warm=(hook, 0.5), plain=("pass", 0.5)).run(repetitions=2)
    assert rows["time"].max() < 1
    losses = rows.pivot_table(index=["idx_rep", "stop_val"], columns="solver_name", values="objective_held_out_loss")
    assert losses["warm"].tolist() == losses["plain"].tolist()


def test_a_solver_may_ask_for_a_longer_warm_up(training):
    once = "self.calls == 7 and not hasattr(self, 'slept')"
    slow_once = f"{once} and (time.sleep(1), setattr(self, 'slept', True))"
    short, long = (training(name, slow=(slow_once, 0.5)) for name in ("short", "long"))
    assert short.run()["time"].max() >= 1
    source = (long.folder / "solvers/slow.py").read_text()
    long.write({"solvers/slow.py": source.replace("    name =", "    warm_up_steps = 7\n    name =")})
    assert long.run()["time"].max() < 1


@pytest.mark.parametrize(
    ("solver", "first"),
    [
        ("schatten_muon", "orthobench.optim.schatten_muon.choose"),
        ("soap", "pytorch_optimizer.SOAP.get_orthogonal_matrix_qr"),
        ("shampoo", "pytorch_optimizer.optimizer.shampoo.PreConditioner.compute_pre_conditioners"),
    ],
)
def test_what_a_method_does_in_its_tenth_step_it_has_done_before_the_clock(solver, first, training, monkeypatch):
    small = training()
    small.write({f"solvers/{solver}.py": (ROOT / "benchmark_muon/solvers" / f"{solver}.py").read_text()})
    module, _, name = first.rpartition(".")
    original, calls, before_the_clock = pydoc.locate(first), [], []

    def counted(*args, **kwargs):
        calls.append(first)
        return original(*args, **kwargs)

    def prepared(self):
        prepare(self)
        before_the_clock.append(len(calls))

    prepare = TrainingRole.prepare
    monkeypatch.setenv("ORTHOBENCH_IN_PROCESS", "1")  # where we can count
    monkeypatch.setattr(namespaces, "_watched", {})  # and may replace
    monkeypatch.setattr(pydoc.locate(module), name, counted)
    monkeypatch.setattr(TrainingRole, "prepare", prepared)
    rows = small.run(dataset_names=["toy[steps=12]"])
    assert rows["objective_status"].eq("ok").all()
    assert len(before_the_clock) == rows["solver_name"].nunique()
    assert len(calls) > before_the_clock[0] > 0


def test_repetitions_differ_in_weights_and_batches_and_solvers_share_them(training):
    small = training(one=("pass", 0.5), other=("pass", 0.1))
    rows = small.run(repetitions=3)
    start = rows[rows["stop_val"] == 0].pivot_table(
        index="idx_rep", columns="solver_name", values="objective_held_out_loss"
    )
    assert start["one"].tolist() == start["other"].tolist()
    assert start["one"].nunique() == 3


def test_order_and_parallel_workers_change_no_bit(training):
    solvers = {"one": ("pass", 0.5), "two": ("pass", 0.1)}
    columns = ["solver_name", "idx_rep", "stop_val", "objective_held_out_loss", "objective_train_loss"]

    def figures(rows):
        return rows[columns].sort_values(columns[:3]).reset_index(drop=True)

    expected = figures(training("together", **solvers).run(repetitions=2, timeout=None))
    parallel = figures(training("parallel", **solvers).run(repetitions=2, timeout=None, n_jobs=2))
    pd.testing.assert_frame_equal(parallel, expected, check_exact=True)
    alone = training("alone", two=solvers["two"]).run(repetitions=2, timeout=None)
    two = expected[expected["solver_name"] == "two"].reset_index(drop=True)
    pd.testing.assert_frame_equal(figures(alone), two, check_exact=True, check_dtype=False)


def test_the_part_that_hyper_parameters_are_chosen_on_is_another_one(training):
    small = training(plain=("pass", 0.5))
    held_out, tuning = (small.run(objective_filters=[f"Training[part={part}]"]) for part in ("held_out", "tuning"))
    assert held_out["objective_status"].eq("ok").all()
    assert (held_out["objective_value"] != tuning["objective_value"]).all()
    assert held_out["objective_train_loss"].iloc[1:].tolist() == tuning["objective_train_loss"].iloc[1:].tolist()
    unknown = small.run(objective_filters=["Training[part=test]"])
    assert "expected held_out or tuning" in unknown["objective_message"].iloc[-1]


MISSING = """
from functools import partial

from orthobench.data import mnist
from orthobench.harness.training import TaskDataset, TrainingTask
from orthobench.models import convnet

class Dataset(TaskDataset):
    name = "mnist"

    def task(self, seed):
        return TrainingTask(partial(convnet, width=8), mnist(self.folder()), batch_size=12, steps=2, target=1.0)
"""


@pytest.fixture
def with_missing_files(training, monkeypatch, tmp_path):
    small = training(plain=("pass", 0.5), other=("pass", 0.1))
    muon = (ROOT / "benchmark_muon/solvers/torch_muon.py").read_text()  # it looks at the task to say what it skips
    small.write({"datasets/mnist.py": MISSING, "solvers/torch_muon.py": muon})
    monkeypatch.setenv("ORTHOBENCH_OFFLINE", "1")
    monkeypatch.setenv("ORTHOBENCH_DATA", str(tmp_path / "nothing"))
    return small


def test_missing_files_are_rows_of_each_cell_and_the_other_data_sets_go_on(with_missing_files):
    rows = with_missing_files.run(repetitions=2)
    missing = rows[rows["dataset_name"] == "mnist"]
    assert len(missing) == 3 * 2
    assert missing["solver_name"].nunique() == 3
    assert missing["objective_status"].eq("error").all()
    for said in ("train-images-idx3-ubyte.gz is not there", "ORTHOBENCH_OFFLINE", "SHA-256 440fcabf", "retry:"):
        assert missing["objective_message"].str.contains(said, regex=False).all()
    toy = rows[(rows["dataset_name"] != "mnist") & rows["solver_name"].isin(["plain", "other"])]
    assert toy["objective_status"].eq("ok").all()
    assert len(toy) == 2 * 2 * 6


def test_benchopts_data_paths_name_the_folder_of_a_data_set_and_data_home_that_of_all(with_missing_files):
    folder = with_missing_files.folder
    (folder / "config.yml").write_text("data_paths:\n  mnist: /nowhere/my_digits\n")
    messages = with_missing_files.run()["objective_message"]
    assert messages.str.contains("/nowhere/my_digits/train-images", regex=False).any()
    (folder / "config.yml").write_text("data_home: /elsewhere\n")
    again = with_missing_files.run(forced_solvers=["plain"])
    assert again["objective_message"].str.contains("/elsewhere/mnist/train-images", regex=False).any()


def test_the_progress_bar_ends_with_a_cell_that_fails(training, monkeypatch):
    gc.collect()  # bars of other tests, which are closed when they are collected
    closed, close = [], tqdm.close

    def recorded(bar):  # once more when it is collected
        if bar.total not in closed:
            closed.append(bar.total)
        close(bar)

    monkeypatch.setattr(tqdm, "close", recorded)
    training(broken=("1 / 0 if self.calls > 4 else None", 0.5)).run()
    hook = "torch.nn.init.constant_(self.optimizer.param_groups[0]['params'][0], math.nan) if self.calls == 6 else None"
    training("diverging", diverging=(hook, 0.5)).run(dataset_names=["toy[steps=20]"])
    assert closed == [10, 20]


def test_parameters_are_counted_by_what_groups_have_different_names_for():
    parameters = [torch.nn.Parameter(torch.ones(shape)) for shape in ((3, 4), (5, 6), (7,))]
    groups = [
        {"params": [parameters[0]], "norm": Norm.SPECTRAL, "lr": 0.1},
        {"params": [parameters[1]], "norm": Norm.SIGN, "lr": 0.2},
        {"params": [parameters[2]], "norm": Norm.SPECTRAL, "lr": 0.3},
    ]
    optimizers = [torch.optim.SGD(groups), torch.optim.AdamW([{**each, "norm": Norm.SIGN} for each in groups[:2]])]
    expected = {"SGD (spectral)": 12 + 7, "SGD (sign)": 30, "AdamW": 42}
    assert parameters_by_optimizer(optimizers) == expected
