"""The same figures in any order, in any process, in parallel; and seeds that differ where they should."""

import re
import shutil

import pandas as pd
import pytest
from conftest import ROOT, SmallBenchmark
from toys import STRATEGIES, toy

# Clocks, bytes and shares depend on the machine's mood.
UNSTABLE = re.compile(r"time|peak_memory|efficiency|env_|run_date|system|platform|version|^env-")
SMALL = ["gaussian[rows=16,columns=24,count=2]", "momenta[network=convnet,step=1]"]


def stable(frame):
    columns = [name for name in frame if not UNSTABLE.search(name)]
    assert "objective_relative_error" in columns
    order = ["solver_name", "dataset_name", "objective_name", "idx_rep", "stop_val"]
    return frame[sorted(columns)].sort_values(order).reset_index(drop=True)


def test_order_and_parallel_workers_change_no_bit(root_copy):
    solvers = ["Turbo-Muon", "SVD", "QR", "Muon"]
    options = {"dataset_names": SMALL, "repetitions": 2, "timeout": None}
    together = root_copy.run(solver_names=solvers, **options)
    assert together["objective_status"].eq("ok").all()

    def fresh(name):
        folder = root_copy.folder.parent / name
        shutil.copytree(root_copy.folder, folder, ignore=shutil.ignore_patterns("__cache__", "*.parquet"))
        return SmallBenchmark(folder)

    parallel = fresh("parallel").run(solver_names=solvers, n_jobs=2, **options)
    alone = fresh("alone")
    parts = [alone.run(output=f"part{i}", solver_names=[name], **options) for i, name in enumerate(reversed(solvers))]

    expected = stable(together)
    assert len(expected) == 2 * 2 * 2 * (5 + 4 + 1 + 1)
    pd.testing.assert_frame_equal(stable(parallel), expected, check_exact=True)
    reverse = stable(pd.concat(parts))
    pd.testing.assert_frame_equal(reverse[expected.columns], expected, check_exact=True, check_dtype=False)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_solvers_draw_is_paired_by_repetition_and_ignores_who_ran_before(small_benchmark, strategy):
    draws = "import random, numpy\n"
    draws += "self.drawn = float(torch.rand(())) + numpy.random.rand() + random.random()"
    greedy = "torch.rand(1000); import numpy; numpy.random.rand(7)\n" + draws.replace("self.drawn =", "self.ignored =")
    code = "if self.done == 1:\n" + "\n".join("    " + line for line in draws.splitlines())
    solvers = {"a_greedy_one": (greedy, ""), "b": (code, ""), "c": (code, "")}
    small_benchmark.write(toy(strategy, solvers))
    rows = small_benchmark.run(repetitions=3)
    last = rows.pivot_table(index="solver_name", columns="idx_rep", values="objective_drawn", aggfunc="last")
    assert last.loc["b"].tolist() == last.loc["c"].tolist()
    assert last.loc["b"].nunique() == 3
    assert (last.loc["b"] > 0).all()


def test_repetitions_differ_in_their_matrices_and_solvers_share_them(root_copy):
    rows = root_copy.run(dataset_names=SMALL, repetitions=3, solver_names=["SVD", "QR"])
    qr = rows[rows["solver_name"] == "QR"]
    assert (qr.groupby(["dataset_name", "objective_name"])["objective_relative_error"].nunique() == 3).all()
    # The same matrices: the same numerical rank and, for the exact factor in float32, no error.
    ranks = rows.groupby(["dataset_name", "objective_name", "idx_rep"])["objective_rank"].nunique()
    assert (ranks == 1).all()


# Two cheap cells of each benchmark beside the root's: the data set, the objective, and the solvers.
CHEAP = {
    "benchmark_muon": ("digits[steps=2,width=8]", "*", ["AdamW", "SGD"]),
    "benchmark_lipschitz": ("digits[steps=2,width=4]", "*[task=classification]", ["AOL", "Plain"]),
    "benchmark_dp": ("digits[steps=2]", "*[epsilon=2,audit=False,part=held_out]", ["DP-SGD$", "SGD$"]),
    "benchmark_rcp": (
        "digits[splits=2,calibration=100,evaluation=50,pool=250,steps=2,attack_steps=2,attacked=50]",
        "*[alpha=0.1]",
        ["Vanilla[network=standard]", "lip-rcp[score=margin]"],
    ),
    "benchmark_segmentation": (
        "digit_scenes[steps=2,width=4,attacked=1,smoothed=1]",
        "*",
        ["Constant", "Smoothing[n=60,sigma=0.25]"],
    ),
}


@pytest.mark.parametrize("name", CHEAP)
def test_two_workers_run_each_benchmark_and_another_order_finds_their_rows(name, tmp_path, contained):
    dataset, objective, solvers = CHEAP[name]
    folder = tmp_path / name
    for part in ("datasets", "solvers"):
        shutil.copytree(ROOT / name / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / name / "objective.py", folder)
    what = {"dataset_names": [dataset], "objective_filters": [objective], "timeout": None}
    parallel = SmallBenchmark(folder).run("parallel", solver_names=solvers, n_jobs=2, **what)
    assert parallel["solver_name"].nunique() == 2
    assert parallel["objective_status"].eq("ok").all()
    again = SmallBenchmark(folder).run("again", solver_names=solvers[::-1], **what)
    order = ["solver_name", "stop_val"]
    computed, found = (rows.sort_values(order, ignore_index=True) for rows in (parallel, again))
    assert found["time"].tolist() == computed["time"].tolist()  # the clock would tell
    assert found["objective_value"].tolist() == computed["objective_value"].tolist()
