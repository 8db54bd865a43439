"""Real runs of `benchmark_segmentation`'s objective on a small problem: rows, metrics, statuses, seeds, pictures."""

import math

import pandas as pd
import pytest
from segmentation_runs import run

RADII = (26, 36, 43, 128, 255)
STEPS = 4
EPS = 1e-4

SOLVER = """
from orthobench.harness.segmentation import LOSS, SMOOTHING, SegmentationSolver

class Solver(SegmentationSolver):
    name = {name!r}
    parameters = {{"learning_rate": [{rate}], **LOSS{more}}}
    layer = {layer!r}
    {body}
"""


def solver(name, layer="cayley", rate=0.03, body="", more=""):
    return SOLVER.format(name=name, layer=layer, rate=rate, body=body, more=more)


SMOOTHED = solver("smoothed", "plain", more=', **SMOOTHING, "n": [60]')
GOOD = {
    "cayley": solver("cayley"),
    "slower": solver("slower", rate=0.01),
    "plain": solver("plain", "plain"),
    "constant": solver("constant", "constant", rate=0.1),
    "smoothed": SMOOTHED,
}
BY_CONSTANT = ("cayley", "slower", "plain", "constant")
BY_RADIUS = (
    *("certified_pixel_accuracy", "certified_class_accuracy", "certified_miou"),
    *("which_pixels", "stable_pixels"),
)
CLEAN = ("pixel_accuracy", "class_accuracy", "miou")
ATTACKED = ("attacked_pixel_accuracy", "attacked_miou", "attack_gap")
TIMES = ("certification_time_ms", "inference_time_ms", "step_time_ms")


def columns(*names):
    return [f"objective_{name}" for name in names]


def at_radii(name, radii=RADII):
    return columns(*(f"{name}_{radius}" for radius in radii))


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("segmentation")
    return run(folder, GOOD, dataset_names=["toy[shown=True]"], repetitions=2)


@pytest.fixture(scope="module")
def last(rows):
    return rows[rows["stop_val"] == STEPS]


def own(rows, name):
    return rows[rows["solver"] == name]


# --- good runs -------------------------------------------------------------------------------------------------------


def test_every_cell_has_a_row_before_and_after_the_training(rows):
    assert rows["objective_status"].eq("ok").all(), set(rows["objective_message"])
    for name in GOOD:
        assert own(rows, name)["stop_val"].tolist() == 2 * [0, STEPS]
    assert rows["objective_steps"].tolist() == rows["stop_val"].tolist()
    value = rows["objective_value"].to_numpy()
    assert value == pytest.approx(1 - rows["objective_certified_class_accuracy_36"].to_numpy())


def test_at_the_last_evaluation_every_metric_is_there_that_applies(rows, last):
    always = columns("lipschitz_claimed", "lipschitz_upper", "forward_passes", "parameters", *CLEAN)
    at_the_end = columns(*ATTACKED, *TIMES, "lipschitz_lower", "radius_1", "radius_10", "radius_50", "train_loss")
    at_the_end += at_radii("certified_miou")
    quick = [each for name in BY_RADIUS if name != "certified_miou" for each in at_radii(name)]
    for name in BY_CONSTANT:
        first, end = (own(each, name) for each in (rows[rows["stop_val"] == 0], last))
        assert end[always + at_the_end + quick].notna().all(axis=None)
        assert first[always + quick].notna().all(axis=None)
        assert first[at_the_end].isna().all(axis=None)
        assert end[at_radii("abstained")].isna().all(axis=None)
        assert end["objective_forward_passes"].eq(1).all()


def test_where_noise_certifies_what_needs_a_constant_is_nan_and_so_are_radii_that_its_copies_do_not_reach(rows, last):
    smoothed = own(last, "smoothed")
    names = (*BY_RADIUS, "abstained")
    assert smoothed[[each for name in names for each in at_radii(name, (26, 36, 43))]].notna().all(axis=None)
    assert smoothed[[each for name in names for each in at_radii(name, (128, 255))]].isna().all(axis=None)
    of_a_constant = columns("lipschitz_claimed", "lipschitz_lower", "lipschitz_upper", "radius_1", "radius_50")
    assert own(rows, "smoothed")[of_a_constant].isna().all(axis=None)
    assert smoothed[columns(*CLEAN, *ATTACKED, *TIMES)].notna().all(axis=None)
    assert smoothed["objective_forward_passes"].eq(70).all()
    for radius in (26, 36, 43):
        kept, left_out = smoothed[f"objective_stable_pixels_{radius}"], smoothed[f"objective_abstained_{radius}"]
        assert kept.to_numpy() == pytest.approx(1 - left_out.to_numpy())
        same = columns(f"which_pixels_{radius}", f"certified_pixel_accuracy_{radius}")
        assert smoothed[same[0]].tolist() == smoothed[same[1]].tolist()


def test_certified_figures_fall_with_the_radius_and_are_below_the_clean_ones(last):
    for name in GOOD:
        end = own(last, name)
        for figure in BY_RADIUS:
            values = end[at_radii(figure)].dropna(axis=1).to_numpy()
            assert (values[:, 1:] <= values[:, :-1] + 1e-12).all()
            assert ((values >= 0) & (values <= 1)).all()
        for figure in CLEAN:
            assert (end[f"objective_certified_{figure}_26"] <= end[f"objective_{figure}"] + 1e-12).all()
        for radius in RADII:
            known, counted = (
                end[f"objective_{each}_{radius}"] for each in ("which_pixels", "certified_pixel_accuracy")
            )
            assert not (known > counted).any()
            assert not (counted > end[f"objective_stable_pixels_{radius}"] + 1e-12).any()
    gap = last["objective_attack_gap"]
    assert gap.ge(-1e-12).all()
    assert last["objective_attacked_pixel_accuracy"].ge(gap).all()


def test_constants_are_in_the_order_of_what_they_are(last):
    for name in BY_CONSTANT:
        end = own(last, name)
        assert (end["objective_lipschitz_lower"] <= end["objective_lipschitz_claimed"] * (1 + EPS)).all()
    assert own(last, "cayley")["objective_lipschitz_lower"].between(0.3, 1 + EPS).all()
    assert own(last, "cayley")["objective_lipschitz_upper"].between(1 - EPS, 1 + EPS).all()
    assert own(last, "plain")["objective_lipschitz_upper"].gt(0).all()


def test_nothing_changes_a_constant_prediction(last):
    end = own(last, "constant")
    assert end[columns("lipschitz_claimed", "lipschitz_lower", "lipschitz_upper", "attack_gap")].eq(0).all(axis=None)
    for name in ("pixel_accuracy", "class_accuracy", "miou"):
        for column in at_radii(f"certified_{name}"):
            assert end[column].to_numpy() == pytest.approx(end[f"objective_{name}"].to_numpy())
    assert end["objective_value"].to_numpy() == pytest.approx(2 / 3)
    assert end["objective_radius_1"].tolist() == 2 * [8.0]  # the length of a box of 64 pixels
    assert end["objective_which_pixels_255"].tolist() == end["objective_pixel_accuracy"].tolist()


def test_repetitions_differ_and_solvers_share_their_weights(rows):
    start = rows[rows["stop_val"] == 0]
    same = columns("stable_pixels_255", "certified_pixel_accuracy_128", "pixel_accuracy")
    assert own(start, "cayley")[same].to_numpy().tolist() == own(start, "slower")[same].to_numpy().tolist()
    for name in ("cayley", "plain"):
        end = own(rows[rows["stop_val"] == STEPS], name)
        assert end["objective_train_loss"].nunique() == 2
        assert end["objective_stable_pixels_36"].nunique() + end["objective_radius_10"].nunique() > 2


def test_a_solver_alone_has_the_same_figures_and_no_picture_where_the_data_allow_none(rows, tmp_path):
    figures = columns(*CLEAN, *ATTACKED, "train_loss", "lipschitz_lower", "radius_10")
    figures += [each for name in BY_RADIUS for each in at_radii(name)]
    for name in ("slower", "smoothed"):
        alone = run(tmp_path / name, {name: GOOD[name]})
        together = own(rows, name)
        together = together[together["idx_rep"] == 0]
        pd.testing.assert_frame_equal(
            alone[figures].reset_index(drop=True), together[figures].reset_index(drop=True), check_exact=True
        )
        assert alone["objective_picture"].eq("").all()


def test_there_is_one_picture_of_each_solver_at_its_end(rows):
    drawn = rows["objective_picture"].ne("")
    assert drawn.tolist() == ((rows["stop_val"] == STEPS) & (rows["idx_rep"] == 0)).tolist()


def test_in_one_process_all_figures_are_the_same_but_on_another_part(rows, tmp_path, monkeypatch):
    monkeypatch.setenv("ORTHOBENCH_IN_PROCESS", "1")
    here = run(tmp_path / "here", {"cayley": GOOD["cayley"]})
    tuning = run(tmp_path / "tuning", {"cayley": GOOD["cayley"]}, part="tuning")
    apart = own(rows, "cayley")
    apart = apart[apart["idx_rep"] == 0]
    assert set(here["objective_env_stand"]) == {"in process"} != set(apart["objective_env_stand"])
    figures = columns("value", "train_loss", "lipschitz_lower", "attacked_miou", "radius_50", "status")
    assert str(here[figures].to_numpy().tolist()) == str(apart[figures].to_numpy().tolist())
    assert tuning["objective_status"].eq("ok").all()
    assert tuning["objective_train_loss"].iloc[-1] == here["objective_train_loss"].iloc[-1]
    assert tuning["objective_pixel_accuracy"].tolist() != here["objective_pixel_accuracy"].tolist()


# --- mistakes --------------------------------------------------------------------------------------------------------


def claiming(name, claim, layer="cayley"):
    return solver(name, layer, body=f"def lipschitz_constant(self, model, shape): return {claim}")


WRONG = {
    "caley": (solver("caley", "caley"), "the layer is 'caley': expected one of plain, "),
    "negative": (claiming("negative", "-1.0"), "constant is -1.0: expected a finite number of at least 0"),
    "nan": (claiming("nan", "float('nan')"), "constant is nan: expected a finite number of at least 0"),
    "infinite": (claiming("infinite", "float('inf')"), "constant is inf: expected a finite number of at least 0"),
    "text": (claiming("text", "'1'"), "constant is '1': expected a finite number of at least 0"),
    "curious": (claiming("curious", "len(self._task.parts.tuning)"), "looked at a part that is evaluated on"),
}
# Parameters of smoothing. Of the 64 pixels of an image 63 have a label.
WRONG_PARAMETERS = {
    "sigma=-0.25": "sigma must be a finite number > 0, got -0.25",
    "sigma=broad": "sigma='broad': expected a number",
    "n=20": "n = 20 samples can't certify any of P = 63 pixels within 0.141",
    "n=60.5": "n is 60.5: give an integer",
    "n0=0": "n0 is 0: give an integer >= 1",
    "significance=2": "significance=2: expected a number in (0, 1)",
    "correction=none": "correction must be 'holm' or 'bonferroni', got 'none'",
    "loss=nonsense": "loss='nonsense': expected one of cross_entropy, ",
}


@pytest.fixture(scope="module")
def wrong(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wrong_segmentation")
    solvers = {name: text for name, (text, _) in WRONG.items()}
    solvers |= {"smoothed": SMOOTHED, "nothing": claiming("nothing", "0")}
    names = [*WRONG, "nothing", *(f"smoothed[{each}]" for each in WRONG_PARAMETERS)]
    return run(folder, solvers, solver_names=names)


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_a_row_that_says_what_is_expected(wrong, name):
    end = own(wrong, name).iloc[-1]
    assert end["objective_status"] == "error"
    assert WRONG[name][1] in end["objective_message"]
    assert math.isnan(end["objective_value"])


def with_parameter(rows, parameter):
    """Return the last row of a solver that was given a parameter."""
    names = rows["solver_name"].str.rstrip("]").str.split(r"[\[,]", regex=True)
    return rows[[parameter in each for each in names]].iloc[-1]


@pytest.mark.parametrize("parameter", WRONG_PARAMETERS)
def test_a_parameter_of_smoothing_that_is_none_is_named(wrong, parameter):
    end = with_parameter(wrong, parameter)
    assert end["objective_status"] == "error"
    assert WRONG_PARAMETERS[parameter] in end["objective_message"]


def test_a_floor_that_is_not_reached_is_told_with_the_least_number_of_copies(wrong):
    # ln(0.001 / 63) / ln(Phi(36 / 255 / 0.25)) = 32.8
    assert "give n >= 33" in with_parameter(wrong, "n=20")["objective_message"]


def test_who_claims_0_for_what_is_no_constant_is_refuted(wrong):
    end = own(wrong, "nothing").iloc[-1]
    assert end["objective_status"] == "refuted"
    assert "claims a Lipschitz constant of 0, and" in end["objective_message"]


def test_a_padding_without_a_bound_is_skipped_and_missing_data_are_a_row_of_each_cell(tmp_path):
    solvers = {name: GOOD[name] for name in ("cayley", "constant")}
    rows = run(tmp_path / "zeros", solvers, dataset_names=["toy[padding=zeros,missing=[True,False]]"])
    there = rows[~rows["p_dataset_missing"].astype(bool)]
    assert set(there["solver"]) == {"constant"}
    assert there["objective_status"].eq("ok").all()
    missing = rows[rows["p_dataset_missing"].astype(bool)]
    assert set(missing["solver"]) == {"cayley", "constant"}
    assert missing["objective_status"].eq("error").all()
    assert missing["objective_message"].str.contains("no such file").all()


def test_a_kind_without_convolutions_is_skipped(tmp_path):
    rows = run(tmp_path / "dense", {"dense": solver("dense", "newton_schulz"), "constant": GOOD["constant"]})
    assert set(rows["solver"]) == {"constant"}
