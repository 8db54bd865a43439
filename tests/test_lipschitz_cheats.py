"""The harness sees through planted cheats of solvers of robust networks, and leaves honest ones alone."""

import shutil

import pytest
from conftest import ROOT, SmallBenchmark

HONEST = ("honest", "honest_claim", "honest_plain")
ERRORS = {
    "another_model": "changed the model's modules",
    "changes_the_data": "changed the training data",
    "claims_nothing": "the claimed Lipschitz constant is nan",
    "other_weights": "changed the model while it stated its constant",
    "own_optimizer": "overrides `optimizers`, which the harness owns",
    "scales_outputs": "of a fresh model with the same weights",
    "takes_more_steps": "overrides `step`, which the harness owns",
    "wider_layers": "overrides `_trainer`, which the harness owns",
}
REFUTED = {
    "claims_one": "claims a Lipschitz constant of 1, and",
    "claims_less": "claims a Lipschitz constant of 0.5, and",
}
STEPS = 40
DATA = f"digits[network=dense,steps={STEPS}]"


def benchmark(folder):
    (folder / "datasets").mkdir()
    shutil.copy(ROOT / "benchmark_lipschitz" / "objective.py", folder)
    shutil.copy(ROOT / "benchmark_lipschitz" / "datasets" / "digits.py", folder / "datasets")
    return SmallBenchmark(folder)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    from orthobench.harness import raise_failures

    raise_failures(False)
    folder = tmp_path_factory.mktemp("lipschitz_cheats")
    shutil.copytree(ROOT / "tests" / "cheats" / "lipschitz", folder / "solvers")
    options = {"dataset_names": [DATA], "objective_filters": ["Robustness[task=classification]"]}
    rows = benchmark(folder).run(**options)
    return rows.assign(solver_name=rows["solver_name"].str.partition("[")[0])


@pytest.mark.parametrize("name", ERRORS)
def test_a_cheat_leaves_a_row_that_says_so(rows, name):
    last = rows[rows["solver_name"] == name].iloc[-1]
    assert last["objective_status"] == "error"
    assert ERRORS[name] in last["objective_message"]


@pytest.mark.parametrize("name", REFUTED)
def test_an_overstated_claim_is_refuted_with_the_figures_that_refute_it(rows, name):
    last = rows[rows["solver_name"] == name].iloc[-1]
    assert last["objective_status"] == "refuted"
    assert REFUTED[name] in last["objective_message"]
    assert last["objective_lipschitz_lower"] > last["objective_lipschitz_claimed"]
    assert last["objective_lipschitz_upper"] >= last["objective_lipschitz_lower"]


@pytest.mark.parametrize("name", HONEST)
def test_honest_solvers_pass(rows, name):
    own = rows[rows["solver_name"] == name]
    assert own["objective_status"].eq("ok").all()
    assert own["stop_val"].max() == STEPS
    last = own.iloc[-1]
    assert last["objective_lipschitz_lower"] <= last["objective_lipschitz_claimed"] * (1 + 1e-4)
    assert last["objective_certified_accuracy_36"] <= last["objective_attacked_accuracy"] <= last["objective_accuracy"]


def test_a_larger_claim_certifies_less(rows):
    last = rows.groupby("solver_name").tail(1).set_index("solver_name")
    honest, larger = last.loc["honest"], last.loc["honest_claim"]
    assert larger["objective_lipschitz_claimed"] == pytest.approx(2 * honest["objective_lipschitz_claimed"])
    assert larger["objective_accuracy"] == honest["objective_accuracy"]
    assert larger["objective_certified_accuracy_36"] == honest["objective_certified_accuracy_72"]
    assert larger["objective_certified_accuracy_36"] < honest["objective_certified_accuracy_36"]


def test_every_cheat_is_tested():
    names = {path.stem for path in (ROOT / "tests" / "cheats" / "lipschitz").glob("*.py")}
    assert names == {*ERRORS, *REFUTED, *HONEST}
