"""What thresholds are worth: the bench's losses are those of the definitions, and its figures what they say."""

import math

import numpy as np
import pytest
from detection_toys import CLASSES, SIDE, make_pool, make_task
from scipy.stats import t

from orthobench.conformal.detection import (
    DetectionLosses,
    Detections,
    RiskClaim,
    SequentialController,
    Thresholds,
    Truths,
    UncalibratedController,
    image_losses,
)
from orthobench.conformal.detection.simulation import Simulation
from orthobench.harness.detection import DetectionTask, RiskProblem
from orthobench.harness.detection.evaluation import Measurement, Pool, thresholds_of
from orthobench.harness.detection.role import row_of

ALPHAS = {"confidence": 0.1, "localisation": 0.2, "classification": 0.2}
THRESHOLDS = [
    Thresholds(0.3, 1.5, 0.6),
    Thresholds(0.75, (0.5, 2.0, 0.0, math.inf), 0.4),
    Thresholds(0.01, 0.0, None),
    Thresholds(math.inf, 1.0, 0.5),
    Thresholds(-math.inf, math.inf, math.inf),
]
ALL = [
    DetectionLosses(confidence, localisation, match, margins, classes)
    for confidence, localisation, match, margins, classes in (
        ("count_threshold", "pixel_wise", "mix", "additive", "lac"),
        ("count_recall", "box_wise", "hausdorff", "multiplicative", "aps"),
        ("count_recall", "thresholded", "lac", "additive", "aps"),
        ("count_threshold", "box_wise", "giou", "multiplicative", "lac"),
        ("count_threshold", "pixel_wise", "giou", "additive", None),
    )
]


def calibrated(losses, task, alphas):
    rows = []
    for part in task.calibrations:
        controller = SequentialController(losses, alphas)
        rows.append(row_of(controller.calibrate(task.detections[part], task.truths[part])))
    return controller.claim, np.array(rows)


@pytest.mark.parametrize("thresholds", THRESHOLDS, ids=str)
@pytest.mark.parametrize("losses", ALL, ids=lambda each: f"{each.localisation}-{each.match}-{each.classes}")
def test_losses_of_all_images_at_once_are_those_of_the_definitions(losses, thresholds):
    detections, truths = make_pool(120, with_classes=losses.classes is not None)
    empty = Detections.of_images([[]], [[]], [np.zeros((0, CLASSES))] if losses.classes else None, [[SIDE, SIDE]])
    assert not len(empty.boxes)
    pool = Pool(DetectionTask(detections, truths, 2, 10, 0), losses)
    expected = image_losses(losses, detections, truths, pool.sets(thresholds))
    found = pool.image_losses(thresholds)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=0, atol=1e-12, err_msg=name)


def test_images_without_true_or_without_candidate_boxes_are_images():
    one = [[[0, 0, 4, 4]], [], [[1, 1, 3, 3]], []]
    detections = Detections.of_images(one, [[0.9], [], [0.2], []], [[[1.0]], [], [[1.0]], []], [[8, 8]] * 4)
    truths = Truths.of_images([[[0, 0, 4, 4]], [[0, 0, 2, 2]], [], []], [[0], [0], [], []])
    pool = Pool(DetectionTask(detections, truths, 2, 1, 0), DetectionLosses())
    thresholds = Thresholds(0.5, 0.0, 0.0)
    found = pool.image_losses(thresholds)
    for name in ("confidence", "localisation", "classification", "maximum", "joint"):
        assert found[name].tolist() == [0, 1, 0, 0], name
    assert pool.figures(thresholds, np.array([0, 2]))["empty_images"] == 0.5
    nothing = pool.figures(Thresholds(math.inf, 0.0, 0.0), np.array([0, 2]))
    assert nothing["boxes_per_image"] == nothing["volume_ratio"] == 0
    assert math.isnan(nothing["stretch"])
    assert math.isnan(nothing["class_set_size"])
    assert math.isnan(nothing["precision_iou50"])


def test_sizes_are_those_of_a_scene_by_hand():
    detections = Detections.of_images(
        [[[2, 2, 6, 6], [0, 0, 2, 2]], [[0, 0, 8, 8]]], [[0.9, 0.8], [0.7]],
        [[[0.6, 0.4], [0.9, 0.1]], [[0.5, 0.5]]], [[8, 8], [8, 8]],
    )  # fmt: skip
    truths = Truths.of_images([[[2, 2, 6, 6]], [[0, 0, 4, 8]]], [[0], [1]])
    pool = Pool(DetectionTask(detections, truths, 2, 1, 0), DetectionLosses())
    found = pool.figures(Thresholds(0.5, 1.0, 0.6), np.array([0, 1]))
    # Outer boxes, cut: 6 x 6, 3 x 3, 8 x 8; sets of 2, 1 and 2 classes; true areas 16 and 32.
    assert found["volume_ratio"] == pytest.approx((36 * 2 + 9 + 64 * 2) / 48)
    assert found["stretch"] == pytest.approx((1.5 + 1.5 + 1) / 3)
    assert found["class_set_size"] == pytest.approx(5 / 3)
    assert found["boxes_per_image"] == 1.5
    assert found["precision_iou50"] == pytest.approx(2 / 3)


def test_risks_are_those_of_what_each_split_leaves_and_the_p_value_is_students():
    task = make_task()
    claim, rows = calibrated(DetectionLosses(), task, ALPHAS)
    found = Measurement(task, claim, rows)
    values = []
    for row, part in zip(rows, task.calibrations, strict=True):
        test = np.setdiff1d(np.arange(240), part)
        sets = found.pool.sets(thresholds_of(row))
        values.append(image_losses(DetectionLosses(), task.detections, task.truths, sets)["localisation"][test].mean())
    np.testing.assert_allclose(found.risks["localisation"], values, atol=1e-12)
    expected = t.sf((np.mean(values) - 0.2) / (np.std(values, ddof=1) / 10), 99)
    assert found.p_values["localisation"] == pytest.approx(expected)
    assert math.isnan(found.p_values["joint"])
    assert found.figures["monotonised_gap"] >= 0


def test_suprema_are_no_smaller_than_losses_and_the_same_where_boxes_hold_more_as_they_are_added():
    task = make_task(splits=2)
    pools = [Pool(task, DetectionLosses(match=match, localisation="box_wise")) for match in ("hausdorff", "lac")]
    gaps = [pool.suprema(Thresholds(0.6, 2.0, 0.5)) for pool in pools]
    assert min(gaps) >= 0
    assert gaps[1] > 0
    assert math.isnan(pools[0].suprema(Thresholds(0.6, (1.0, 2.0, 1.0, 1.0), 0.5)))
    assert math.isnan(pools[0].suprema(Thresholds(0.6, 1.0, None)))


def test_what_is_not_claimed_of_images_is_not_judged():
    task = make_task()
    losses = DetectionLosses()
    controller = UncalibratedController(losses)
    rows = np.array(task.splits * [row_of(controller.calibrate(task.detections[:9], task.truths[:9]))])
    claims = {
        "nothing": controller.claim,
        "boxes": RiskClaim({"localisation": 0.01}, losses, unit="detected box"),
        "probability": RiskClaim({"localisation": 0.01}, losses, "probability", 0.1),
    }
    found = {name: Measurement(task, claim, rows) for name, claim in claims.items()}
    for name, each in found.items():
        assert all(map(math.isnan, each.p_values.values())), name
        assert each.in_mean.keys() == ({"localisation"} if name == "probability" else set())
    most, p_value = found["probability"].in_mean["localisation"]
    assert most == pytest.approx(0.9 * 0.01 + 0.1)
    assert p_value < 1e-9 < found["probability"].risks["localisation"].mean() - most
    claim = RiskClaim({"localisation": 0.01}, losses)
    assert Measurement(task, claim, rows).p_values["localisation"] < 1e-9


def test_on_simulated_images_risks_are_exact_and_sizes_are_of_other_images_than_the_calibrations():
    simulation, splits = Simulation(), 150
    task = DetectionTask(*simulation.draw(19 * splits, np.random.default_rng(0)), splits, 19, 0, simulation)
    assert len(task.tests) == splits
    for part, test in zip(task.calibrations, task.tests, strict=True):
        assert not set(part) & set(test)
    claim, rows = calibrated(DetectionLosses(localisation="box_wise", match="hausdorff"), task, ALPHAS)
    found = Measurement(task, claim, rows)
    exact = [simulation.risks(thresholds_of(row), claim.losses)["joint"] for row in rows]
    np.testing.assert_array_equal(found.risks["joint"], exact)


def test_a_probability_is_judged_by_the_mean_that_it_allows():
    task, losses = make_task(), DetectionLosses()
    rows = np.array(task.splits * [[0.3, 1.5, 1.5, 1.5, 1.5, 0.6, math.nan]])
    mean = Measurement(task, RiskClaim({}, losses, "none"), rows).risks["localisation"].mean()
    # Where the level is 0.1 below the mean, the mean that delta allows is above it.
    claims = [RiskClaim({"localisation": mean - 0.1}, losses, "probability", delta) for delta in (0.001, 0.9)]
    low, high = (Measurement(task, claim, rows).in_mean["localisation"].p_value for claim in claims)
    assert low < 0.05
    assert high > 0.99


def test_a_pool_without_images_to_test_is_an_error():
    with pytest.raises(ValueError, match="a pool of 240 images has none to test beside 240 for calibration"):
        make_task(calibration=240)
    with pytest.raises(ValueError, match="splits"):
        make_task(splits=0)
    detections, _ = make_pool(20)
    nothing = Truths.of_images([[]] * 20, [[]] * 20)
    with pytest.raises(ValueError, match="a pool without any true box has nothing to detect"):
        DetectionTask(detections, nothing, 2, 10, 0)


def test_a_simulated_split_is_measured_on_another_one():
    with pytest.raises(ValueError, match="splits is 1: give an integer >= 2"):
        DetectionTask(*Simulation().draw(19, np.random.default_rng(0)), 1, 19, 0, Simulation())


def test_levels_add_up_as_the_decimals_that_they_are():
    problem = RiskProblem({"confidence": 0.05, "localisation": 0.1, "classification": 0.2}, DetectionLosses(), 1.0)
    assert problem.joint_alpha == 0.3 != 0.1 + 0.2


def test_splits_follow_from_the_seed():
    one, same, other = (make_task(seed=seed, splits=3).calibrations for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    assert len({tuple(sorted(part)) for part in one}) == 3
