"""The harness sees through planted cheats of conformal solvers, and leaves honest ones alone."""

import shutil

import pytest
from conftest import ROOT, SmallBenchmark

HONEST = ("honest", "honest_robust")
ERRORS = {
    "another_model": "evaluates another model than the harness's",
    "asks_for_another_alpha": "the predictor claims alpha=0.2: expected 0.1",
    "drops_classes": "other sets than prediction_scores and the threshold give",
    "no_predictor": "expected a Predictor",
    "own_result": "overrides `result`, which the harness owns",
}
REFUTED = {
    "calibrates_too_high": "on clean inputs, claims 0.9",
    "claims_a_radius": "under attack, claims 0.9",
    "claims_a_smaller_constant": "rests on a Lipschitz constant of 0.5, and",
}
DATA = "digits[splits=20,calibration=300,evaluation=100,pool=900,steps=200,attack_steps=10,attacked=900]"


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    from orthobench.harness import raise_failures

    raise_failures(False)
    folder = tmp_path_factory.mktemp("conformal_cheats")
    shutil.copytree(ROOT / "tests" / "cheats" / "conformal", folder / "solvers")
    (folder / "datasets").mkdir()
    shutil.copy(ROOT / "benchmark_rcp" / "objective.py", folder)
    shutil.copy(ROOT / "benchmark_rcp" / "datasets" / "digits.py", folder / "datasets")
    options = {"dataset_names": [DATA], "objective_filters": ["Coverage[alpha=0.1]"]}
    rows = SmallBenchmark(folder).run(**options)
    return rows.assign(solver_name=rows["solver_name"].str.partition("[")[0]).set_index("solver_name")


@pytest.mark.parametrize("name", ERRORS)
def test_a_cheat_leaves_a_row_that_says_so(rows, name):
    assert rows.loc[name, "objective_status"] == "error"
    assert ERRORS[name] in rows.loc[name, "objective_message"]


@pytest.mark.parametrize("name", REFUTED)
def test_an_overstated_claim_is_refuted_with_the_figures_that_refute_it(rows, name):
    assert rows.loc[name, "objective_status"] == "refuted"
    assert REFUTED[name] in rows.loc[name, "objective_message"]
    assert not rows.loc[name, "objective_guaranteed"]
    assert rows.loc[name, "objective_set_size"] > 0


@pytest.mark.parametrize("name", HONEST)
def test_honest_solvers_pass(rows, name):
    own = rows.loc[name]
    assert own["objective_status"] == "ok"
    assert own["objective_guaranteed"] == (name == "honest_robust")
    assert own["objective_coverage"] >= own["objective_coverage_band_low"]
    if name == "honest_robust":
        assert own["objective_coverage_attacked"] >= own["objective_coverage_band_low"]


def test_what_a_solver_does_to_its_data_reaches_nobody(rows):
    """Nothing that is evaluated on is handed out: the figures are those of the honest one."""
    for name in ("set_size", "coverage", "coverage_attacked", "set_size_attacked", "worst_class_coverage"):
        assert rows.loc["changes_the_data", f"objective_{name}"] == rows.loc["honest", f"objective_{name}"]
