"""The harness sees through planted cheats of controllers of detection, and leaves honest ones alone."""

import math
import shutil

import pytest
from conftest import ROOT, SmallBenchmark

from orthobench.harness import raise_failures

FOLDER = ROOT / "tests" / "cheats" / "detection"
HONEST = ("honest", "honest_joint", "honest_split", "honest_own")
ERRORS = {
    "another_level": "the controller claims 0.2 of confidence: expected 0.1",
    "another_match": "the controller's losses have match='lac': expected 'hausdorff'",
    "changes_settings": "changed torch's threads from 1 to 3",
    "claims_a_small_probability": "claims delta=0.999: expected at most 0.1",
    "claims_half": "the controller claims 0.05 of confidence: expected 0.1",
    "drops_what_is_infeasible": "no good margin found",
    "negative_margin": "a margin or class parameter below 0",
    "no_controller": "made a dict: expected a RiskController",
    "not_a_number": "the thresholds hold NaN",
    "own_result": "overrides `get_result`, which the harness owns",
}
# By exact risks, of losses that are 0 or 1.
REFUTED = {
    "at_the_prediction": "its risk of localisation is 0.24",
    "claims_a_probability": "its risk of localisation is 0.2",
    "claims_images": "its risk of localisation is 0.5",
    "detected_images_alone": "its risk of localisation is 0.24",
    "no_correction": "its risk of localisation is 0.2",
}
DISPROVED = {
    "calibrates_on_everything": "its thresholds depend on more than the images of a split",
    "counts_calibrations": "its thresholds depend on more than the images of a split",
    "leaves_a_process": "started processes that went on when it was done",
    "smaller_where_many": "its thresholds depend on more than the images of a split",
}
# What they do reaches no figure: these are an honest one's. Where all duplicates have one score, the supremum of the
# mean is the mean of the suprema.
IN_VAIN = ("predicts_itself", "supremum_of_the_mean")
# Careful where losses rise as boxes are added, careless elsewhere.
WITH_DUPLICATES = {"no_supremum": "its risk of classification is 0.3"}
FIGURES = ("value", "stretch", "class_set_size", "risk_cnf", "risk_loc", "risk_cls", "risk_joint", "infeasible_share")
ALPHAS = "0.1/0.2/0.2"


def run(folder, names, duplicates, more=""):
    raise_failures(False)
    (folder / "solvers").mkdir(parents=True)
    (folder / "datasets").mkdir()
    for name in names:
        shutil.copy(FOLDER / f"{name}.py", folder / "solvers")
    shutil.copy(ROOT / "benchmark_crc" / "objective.py", folder)
    shutil.copy(ROOT / "benchmark_crc" / "datasets" / "simulated.py", folder / "datasets")
    rows = SmallBenchmark(folder).run(
        dataset_names=[f"simulated[splits=300,calibration=19,duplicates={duplicates}]"],
        objective_filters=[f"Risk[alphas='{ALPHAS}',localisation=box_wise,match=hausdorff]"],
    )
    return rows.assign(solver_name=rows["solver_name"].str.partition("[")[0]).set_index("solver_name")


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    names = [path.stem for path in FOLDER.glob("*.py")]
    return run(tmp_path_factory.mktemp("detection") / "plain", names, duplicates=False)


@pytest.fixture(scope="module")
def with_duplicates(tmp_path_factory):
    names = ("honest", "honest_joint", "no_supremum", "supremum_of_the_mean")
    return run(tmp_path_factory.mktemp("detection") / "duplicates", names, duplicates=True)


@pytest.mark.parametrize("name", ERRORS)
def test_a_cheat_leaves_a_row_that_says_so(rows, name):
    assert rows.loc[name, "objective_status"] == "error"
    assert ERRORS[name] in rows.loc[name, "objective_message"]


@pytest.mark.parametrize("name", REFUTED)
def test_an_overstated_claim_is_refuted_with_the_figures_that_refute_it(rows, name):
    assert rows.loc[name, "objective_status"] == "refuted"
    assert REFUTED[name] in rows.loc[name, "objective_message"]
    assert not rows.loc[name, "objective_guaranteed"]
    assert rows.loc[name, "objective_value"] > 0


@pytest.mark.parametrize("name", DISPROVED)
def test_thresholds_that_depend_on_more_than_their_split_are_refuted(rows, name):
    assert rows.loc[name, "objective_status"] in ("refuted", "error")
    assert DISPROVED[name] in rows.loc[name, "objective_message"]


@pytest.mark.parametrize("name", HONEST)
def test_honest_solvers_pass(rows, name):
    own = rows.loc[name]
    assert own["objective_status"] == "ok", own["objective_message"]
    assert own["objective_guaranteed"]
    judged = [risk for risk in ("cnf", "loc", "cls", "max", "joint") if own[f"objective_judged_{risk}"]]
    assert judged == (["cnf", "joint"] if name == "honest_joint" else ["cnf", "loc", "cls", "max"])
    for risk in judged:
        error = own[f"objective_risk_sd_{risk}"] / math.sqrt(300)
        assert own[f"objective_risk_{risk}"] <= own[f"objective_claimed_{risk}"] + 4 * error


def test_the_sequential_method_spends_all_of_its_levels(rows):
    own = rows.loc["honest"]
    for risk in ("loc", "cls"):
        assert own[f"objective_risk_{risk}"] == pytest.approx(0.2, abs=4 * 0.087 / math.sqrt(300))


@pytest.mark.parametrize("name", IN_VAIN)
def test_what_reaches_no_figure_changes_none(rows, with_duplicates, name):
    frames = [rows] if name == "predicts_itself" else [rows, with_duplicates]
    for frame in frames:
        assert frame.loc[name, "objective_status"] == "ok"
        for figure in FIGURES:
            assert frame.loc[name, f"objective_{figure}"] == frame.loc["honest", f"objective_{figure}"], figure


def test_losses_that_rise_are_seen_where_duplicates_are(rows, with_duplicates):
    assert rows.loc["no_supremum", "objective_status"] == "ok"
    for name, message in WITH_DUPLICATES.items():
        assert with_duplicates.loc[name, "objective_status"] == "refuted"
        assert message in with_duplicates.loc[name, "objective_message"]
    for name in ("honest", "honest_joint"):
        assert with_duplicates.loc[name, "objective_status"] == "ok"


def test_a_claim_that_says_nothing_of_places_and_classes_is_no_guarantee(rows):
    own = rows.loc["claims_confidence_alone"]
    assert own["objective_status"] == "ok"
    assert own["objective_judged_cnf"]
    assert not own["objective_guaranteed"]


def test_every_cheat_is_tested():
    tested = {*HONEST, *ERRORS, *REFUTED, *DISPROVED, *IN_VAIN, *WITH_DUPLICATES, "claims_confidence_alone"}
    assert tested == {path.stem for path in FOLDER.glob("*.py")}
