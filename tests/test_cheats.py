"""The harness sees through planted cheats, and leaves honest solvers alone."""

import shutil
import time

import pytest
from conftest import ROOT

CHEATS = {
    "mutates_input": ("error", "modified its input: work on a copy"),
    "computes_before_the_clock": ("error", "overrides `set_objective`"),
    "patches_the_clock": ("error", "replaced time.perf_counter"),
    "replaces_get_result": ("error", "has no attribute 'get_result'"),  # that is in the bench
    "claims_another_limit": ("error", "preconditioner 'magic'"),
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    from conftest import SmallBenchmark

    from orthobench.harness import raise_failures

    raise_failures(False)
    folder = tmp_path_factory.mktemp("cheats")
    shutil.copy(ROOT / "objective.py", folder)
    shutil.copytree(ROOT / "datasets", folder / "datasets")
    shutil.copytree(ROOT / "tests" / "cheats" / "orthogonalisation", folder / "solvers")
    datasets = ["gaussian[rows=16,columns=24]", "spectrum[rows=16,columns=16,kind=power_law]"]
    return SmallBenchmark(folder).run(dataset_names=datasets, repetitions=2, timeout=60)


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_leaves_a_row_that_says_so(rows, name):
    status, message = CHEATS[name]
    own = rows[rows["solver_name"] == name]
    assert len(own) == 2 * 2 * 2  # data sets, types, repetitions
    assert own["objective_status"].eq(status).all()
    assert own["objective_message"].str.contains(message, regex=False).all()
    assert own["objective_value"].isna().all()


def test_remembered_answers_are_wrong_because_the_warm_up_uses_other_matrices(rows):
    own = rows[rows["solver_name"] == "remembers_answers"]
    # Two unrelated orthogonal matrices are at a distance of about sqrt(2).
    assert own["objective_relative_error"].gt(0.9).all()


@pytest.mark.parametrize("name", ["honest", "honest_in_place"])
def test_honest_solvers_pass(rows, name):
    own = rows[rows["solver_name"] == name]
    assert own["objective_status"].eq("ok").all()
    exact = own[own["objective_name"].str.contains("float32")]
    assert exact["objective_relative_error"].lt(1e-4).all()


def test_every_cheat_is_tested():
    names = {path.stem for path in (ROOT / "tests" / "cheats" / "orthogonalisation").glob("*.py")}
    assert names == {*CHEATS, "remembers_answers", "honest", "honest_in_place"}


def test_the_clock_works_after_it_was_patched(rows):
    start = time.perf_counter()
    time.sleep(0.01)
    assert time.perf_counter() - start >= 0.01
