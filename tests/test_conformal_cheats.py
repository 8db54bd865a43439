"""The harness sees through planted cheats of conformal solvers, and leaves honest ones alone."""

import shutil

import pytest
from conftest import ROOT, SmallBenchmark

HONEST = ("honest", "honest_robust", "honest_noise")
ERRORS = {
    "another_model": "evaluates another model than the harness's",
    "asks_for_another_alpha": "the predictor claims alpha=0.2: expected 0.1",
    "asks_for_labels": "missing 1 required positional argument: 'y'",
    "changes_settings": "changed torch's threads from 1 to 3",
    "dies_under_attack": "the solver's process left with exit code 3 when it was asked to gradient",
    "holds_out_too_much": "hold_out=1.25: expected a share strictly between 0 and 1",
    "no_predictor": "expected a Predictor",
    "own_result": "overrides `result`, which the harness owns",
    "tensor_subclass": "is a Yes, expected a tensor",
}
REFUTED = {
    "calibrates_too_high": "on clean inputs, claims 0.9",
    "claims_a_radius": "under attack, claims 0.9",
    "claims_a_smaller_constant": "rests on a Lipschitz constant of 0.5, and",
    "claims_in_another_norm": "on clean inputs, claims 0.9",
    "lies_in_the_choice": "under attack, claims 0.9",
    "masks_its_gradient": "under attack, claims 0.9",
    "memorises_labels": "under attack, claims 0.9",
    "seems_noisy": "on clean inputs, claims 0.9",
    "writes_labels_into_attacks": "under attack, claims 0.9",
}
# Before there is a figure.
DISPROVED = {
    "cheap_while_counted": "other scores for the same inputs and noise while its passes are counted",
    "knows_all_splits": "its threshold depends on more than the calibration scores of a split",
    "leaves_a_process": "started processes that went on when it was done",
    "reads_labels_off_scores": "other scores for the same inputs and noise while its passes are counted",
}
# What they do reaches no figure: these are an honest one's.
HARMLESS = (
    "changes_the_data",
    "changes_the_network",
    "drops_classes",
    "says_it_costs_nothing",
)
FIGURES = ("set_size", "coverage", "coverage_attacked", "set_size_attacked", "worst_class_coverage", "forward_passes")
DATA = "digits[splits=100,calibration=300,evaluation=100,pool=900,steps=200,attack_steps=10,attacked=900]"


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


def test_each_cheat_has_a_row_and_a_test(rows):
    tested = {*HONEST, *ERRORS, *REFUTED, *DISPROVED, *HARMLESS, "quick_while_timed"}
    assert set(rows.index) == tested == {each.stem for each in (ROOT / "tests" / "cheats" / "conformal").glob("*.py")}


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


@pytest.mark.parametrize("name", DISPROVED)
def test_costs_that_are_not_what_they_seem_are_refuted(rows, name):
    assert rows.loc[name, "objective_status"] == "refuted"
    assert DISPROVED[name] in rows.loc[name, "objective_message"]


@pytest.mark.parametrize("name", HARMLESS)
def test_what_reaches_no_figure_changes_none(rows, name):
    assert rows.loc[name, "objective_status"] == "ok"
    for figure in FIGURES:
        assert rows.loc[name, f"objective_{figure}"] == rows.loc["honest", f"objective_{figure}"], figure


def test_what_is_timed_and_counted_is_what_is_judged(rows):
    own = rows.loc["quick_while_timed"]
    assert own["objective_forward_passes"] == 64
    assert own["objective_prediction_time_s"] > 5 * rows.loc["honest", "objective_prediction_time_s"]
    assert own["objective_full_share"] < 1


@pytest.mark.parametrize("name", HONEST)
def test_honest_solvers_pass(rows, name):
    own = rows.loc[name]
    assert own["objective_status"] == "ok"
    assert own["objective_guaranteed"] == (name != "honest")
    assert own["objective_coverage"] >= own["objective_coverage_band_low"]
    if name != "honest":
        assert own["objective_coverage_attacked"] >= own["objective_coverage_band_low"]


def test_where_the_gradient_is_hidden_the_row_says_so(rows):
    assert rows.loc["masks_its_gradient", "objective_gradient_agreement"] < 0.5
    assert rows.loc["honest", "objective_gradient_agreement"] == 1
