"""The harness sees through planted cheats of solvers of segmentation, and leaves honest ones alone."""

import shutil

import pytest
from conftest import ROOT, SmallBenchmark
from segmentation_runs import run

FOLDER = ROOT / "tests" / "cheats" / "segmentation"
HONEST = ("honest", "honest_aoc", "honest_claim", "honest_constant", "honest_plain", "honest_smoothing")
ERRORS = {
    "chooses_evaluations": "overrides `evaluation_points`, which the harness owns",
    "claims_nothing": "the claimed Lipschitz constant is nan",
    "looks_at_held_out": "looked at a part that is evaluated on",
    "own_optimizer": "overrides `optimizers`, which the harness owns",
    "own_result": "overrides `get_result`, which the harness owns",
}
REFUTED = {
    "claims_by_output": "claims a Lipschitz constant of 0.",
    "claims_less": "claims a Lipschitz constant of 0.5, and",
    "claims_no_change": "claims a Lipschitz constant of 0, and",
    "forgets_the_scale": "claims a Lipschitz constant of 0.25, and",
    "scales_the_head_before": "claims a Lipschitz constant of 0.0",
    "states_less": "claims a Lipschitz constant of 0.0",
}
# What they do reaches a copy, or their own process, alone: training, certificates and attack are an honest one's.
IN_VAIN = {
    "certifies_itself": "honest",
    "changes_its_noise": "honest_smoothing",
    "predicts_ignored": "honest",
    "remembers_images": "honest",
    "rounds_to_float16": "honest",
    "scales_outputs": "honest",
    "scales_the_head_after": "honest",
    "stays_in_training_mode": "honest",
}
# It claims less than the bench's bound, so little that nobody disproves it: that bound certifies.
NOT_BELIEVED = {"claims_a_little_less": "honest"}
STEPS = 4
RADII = (26, 36, 43, 128, 255)
FIGURES = [
    *(f"objective_{name}_{radius}" for radius in RADII for name in ("which_pixels", "stable_pixels", "abstained")),
    *(
        f"objective_certified_{name}_{radius}"
        for radius in RADII
        for name in ("pixel_accuracy", "class_accuracy", "miou")
    ),
    *("objective_pixel_accuracy", "objective_class_accuracy", "objective_miou", "objective_attacked_pixel_accuracy"),
    *("objective_attacked_miou", "objective_lipschitz_upper", "objective_lipschitz_lower", "objective_radius_10"),
    *("objective_train_loss", "objective_forward_passes", "objective_parameters"),
]


def solvers(names):
    return {name: (FOLDER / f"{name}.py").read_text() for name in names}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return run(tmp_path_factory.mktemp("segmentation_cheats"), solvers(path.stem for path in FOLDER.glob("*.py")))


def own(rows, name):
    return rows[rows["solver"] == name].sort_values("stop_val")


def figures(rows, name):
    """Return a solver's figures as text, in which NaN equals NaN."""
    return str(own(rows, name)[FIGURES].to_numpy().tolist())


@pytest.mark.parametrize("name", ERRORS)
def test_a_cheat_leaves_a_row_that_says_so(rows, name):
    last = own(rows, name).iloc[-1]
    assert last["objective_status"] == "error"
    assert ERRORS[name] in last["objective_message"]


@pytest.mark.parametrize("name", REFUTED)
def test_an_overstated_claim_is_refuted_before_the_first_step(rows, name):
    (only,) = own(rows, name).to_dict("records")
    assert only["stop_val"] == 0
    assert only["objective_status"] == "refuted"
    assert REFUTED[name] in only["objective_message"]
    assert only["objective_lipschitz_claimed"] < only["objective_lipschitz_upper"]


@pytest.mark.parametrize("name", IN_VAIN)
def test_what_a_solver_does_to_what_it_is_shown_changes_no_figure(rows, name):
    assert own(rows, name)["objective_status"].eq("ok").all()
    assert figures(rows, name) == figures(rows, IN_VAIN[name])


@pytest.mark.parametrize("name", NOT_BELIEVED)
def test_a_claim_that_is_less_than_what_is_proved_certifies_no_more(rows, name):
    assert own(rows, name)["objective_status"].eq("ok").all()
    assert own(rows, name)["objective_lipschitz_claimed"].lt(own(rows, name)["objective_lipschitz_upper"]).all()
    assert figures(rows, name) == figures(rows, NOT_BELIEVED[name])


def test_a_claim_that_becomes_false_is_refuted_at_the_end(rows):
    first, last = own(rows, "claims_one").to_dict("records")
    assert first["objective_status"] == "ok"
    assert last["objective_status"] == "refuted"
    assert "claims a Lipschitz constant of 1, and" in last["objective_message"]
    assert last["objective_lipschitz_lower"] > 1
    # By the bound, not by the claim:
    assert last["objective_which_pixels_36"] < last["objective_pixel_accuracy"]


@pytest.mark.parametrize("name", HONEST)
def test_honest_solvers_pass(rows, name):
    assert own(rows, name)["objective_status"].eq("ok").all(), own(rows, name)["objective_message"].iloc[-1]
    last = own(rows, name).iloc[-1]
    assert last["stop_val"] == STEPS
    assert last["objective_attack_gap"] >= 0
    if name != "honest_smoothing":
        assert last["objective_lipschitz_lower"] <= last["objective_lipschitz_claimed"] * (1 + 1e-4)


def test_a_larger_claim_certifies_less(rows):
    honest, larger = (own(rows, name).iloc[-1] for name in ("honest", "honest_claim"))
    assert larger["objective_lipschitz_claimed"] == pytest.approx(2 * honest["objective_lipschitz_claimed"])
    assert larger["objective_pixel_accuracy"] == honest["objective_pixel_accuracy"]
    assert larger["objective_radius_10"] == pytest.approx(honest["objective_radius_10"] / 2, rel=1e-5)
    assert larger["objective_certified_class_accuracy_36"] < honest["objective_certified_class_accuracy_36"]


def test_on_the_benchmarks_own_data_false_claims_are_refuted_too(tmp_path, contained):
    """A sample: each ends before its first step."""
    folder = ROOT / "benchmark_segmentation"
    names = ("claims_by_output", "claims_less", "forgets_the_scale")
    small = SmallBenchmark(tmp_path / "small")
    small.write({f"solvers/{name}.py": text for name, text in solvers(names).items()})
    (small.folder / "datasets").mkdir()
    shutil.copy(folder / "objective.py", small.folder)
    shutil.copy(folder / "datasets" / "digit_scenes.py", small.folder / "datasets")
    found = small.run(dataset_names=["digit_scenes[steps=2,width=8]"])
    assert len(found) == len(names)
    assert found["objective_status"].eq("refuted").all()
    assert found["objective_message"].str.contains("claims a Lipschitz constant of").all()


def test_every_cheat_is_tested():
    names = {path.stem for path in FOLDER.glob("*.py")}
    assert names == {*ERRORS, *REFUTED, *IN_VAIN, *NOT_BELIEVED, *HONEST, "claims_one"}
