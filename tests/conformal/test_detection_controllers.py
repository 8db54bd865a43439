"""Controllers of detection risks: each image of a pool left out in turn, exactly; what they claim, predict and save."""

import json
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from detection_cases import ALL_LOSSES, name_of, random_pool

from orthobench.conformal.detection import (
    BonferroniController,
    CalibrationLosses,
    DetectionLosses,
    Detections,
    FixedThresholdController,
    JointController,
    LTTController,
    MaxAdditiveController,
    RiskClaim,
    RiskController,
    SequentialController,
    SplitController,
    Thresholds,
    Truths,
    UncalibratedController,
    image_losses,
    load,
    save,
)
from orthobench.conformal.risk import conformal_risk_threshold, hoeffding_bentkus

ALPHAS = {"confidence": 0.2, "localisation": 0.4, "classification": 0.3}
SECOND = {"localisation": 0.4, "classification": 0.3}
GRID = {"scores": (0.5, 0.25, 0.125), "margins": (0.0, 2.0, 9.0), "classes": (0.5, 0.875, 1.0)}
LOSSES = DetectionLosses(margins="multiplicative")
CONTROLLERS = [
    SequentialController(LOSSES, ALPHAS),
    JointController(LOSSES, {"confidence": 0.2, "joint": 0.5}, scale=0.5),
    FixedThresholdController(LOSSES, SECOND, score=0.25),
    SplitController(LOSSES, ALPHAS, seed=3),
    BonferroniController(LOSSES, {"localisation": 0.5}, score=0.25),
    MaxAdditiveController(LOSSES, {"localisation": 0.4}, score=0.25, by="image"),
    LTTController(LOSSES, {name: 0.9 for name in ALPHAS}, delta=0.5, **GRID),
    UncalibratedController(LOSSES, score=0.25),
]


def of_kind(controller):
    return type(controller).__name__


def left_out_losses(controller, detections, truths):
    """Return the sums of the losses of all images, each with what the others chose, as fractions of 12ths."""
    sums = {}
    for test in range(len(truths)):
        rest = np.arange(len(truths)) != test
        sets = controller.calibrate(detections[rest], truths[rest]).predict(detections[test])
        for risk, loss in image_losses(controller.losses, detections[test], truths[test], sets).items():
            # Losses are multiples of 1/2 or 1/3, but for those of areas.
            exact = (
                Fraction(round(loss[0] * 6), 6) if abs(loss[0] * 6 - round(loss[0] * 6)) < 1e-9 else Fraction(loss[0])
            )
            sums[risk] = sums.get(risk, 0) + exact
    return sums


@pytest.mark.parametrize("losses", ALL_LOSSES[::2], ids=name_of)
def test_with_each_image_left_out_in_turn_no_sequential_risk_exceeds_its_alpha(losses):
    random = np.random.default_rng(0)
    for _ in range(3):
        sums = left_out_losses(SequentialController(losses, ALPHAS), *random_pool(random, 10, feasible=True))
        assert sums["confidence"] <= 2
        assert sums["localisation"] <= 4
        assert sums["classification"] <= 3
        assert sums["maximum"] <= 7


@pytest.mark.parametrize("margins", ["additive", "multiplicative"])
def test_with_each_image_left_out_in_turn_the_joint_risk_does_not_exceed_its_alpha(margins):
    random, losses = np.random.default_rng(1), DetectionLosses(confidence="count_recall", margins=margins)
    for _ in range(4):
        controller = JointController(losses, {"confidence": 0.2, "joint": 0.4})
        sums = left_out_losses(controller, *random_pool(random, 10, feasible=True))
        assert sums["confidence"] <= 2
        assert sums["joint"] <= 4


def test_with_each_image_left_out_in_turn_a_fixed_threshold_that_keeps_all_controls_both_risks():
    random = np.random.default_rng(2)
    for losses in (ALL_LOSSES[0], ALL_LOSSES[7]):
        controller = FixedThresholdController(losses, SECOND, score=0.0)
        sums = left_out_losses(controller, *random_pool(random, 10, feasible=True))
        assert sums["localisation"] <= 4
        assert sums["classification"] <= 3


def test_a_fixed_threshold_that_misses_too_much_says_that_it_is_infeasible():
    detections, truths = random_pool(np.random.default_rng(3), 40, feasible=True)
    controller = FixedThresholdController(LOSSES, SECOND, score=0.5).calibrate(detections, truths)
    assert controller.infeasible == ("margin", "classes")
    assert controller.predict(detections).classes.all()
    assert np.isinf(controller.predict(detections).boxes).all()


def test_each_part_of_a_split_calibrates_one_parameter():
    detections, truths = random_pool(np.random.default_rng(4), 60, feasible=True)
    found = SplitController(LOSSES, ALPHAS, seed=5).calibrate(detections, truths).thresholds
    parts = [np.sort(each) for each in np.array_split(np.random.default_rng(5).permutation(60), 3)]
    first = LOSSES.confidence_losses(detections[parts[0]], truths[parts[0]])
    assert found.score == -conformal_risk_threshold(first, 1, 0.2)
    kept = detections.above(found.score)
    # At exactly that score, with no supremum over lower ones: the largest loss at a margin from there on is the loss.
    margins = LOSSES.localisation_losses(kept[parts[1]], truths[parts[1]]).at(-found.score)
    classes = LOSSES.classification_losses(kept[parts[2]], truths[parts[2]]).at(-found.score)
    assert found.margin == conformal_risk_threshold(margins, 1, 0.4)
    assert found.classes == conformal_risk_threshold(classes, 1, 0.3)


def one_box_an_image(random, count, size=10.0):
    """Return images with a true box each, and a detected one that is shifted and of another size."""
    true = np.array([20.0, 20, 20 + size, 20 + size])
    found = true + random.normal(size=(count, 4))
    detections = Detections(found, np.full(count, 0.75), np.arange(count + 1), np.tile([0.25, 0.75], (count, 1)))
    return detections, Truths(np.tile(true, (count, 1)), np.arange(count + 1), np.zeros(count, dtype=int)), true - found


def test_margins_of_detected_boxes_are_conformal_quantiles():
    detections, truths, difference = one_box_an_image(np.random.default_rng(6), 79)
    losses = DetectionLosses(match="lac")
    needs = np.maximum(difference * [-1, -1, 1, 1], 0)
    bonferroni = BonferroniController(losses, {"localisation": 0.2}).calibrate(detections, truths)
    # (79 + 1) 0.2 / 4 = 4: 3 may need more.
    assert bonferroni.thresholds.margin == tuple(np.sort(needs, axis=0)[-4])
    largest = np.sort(needs.max(1))
    for by in ("box", "image"):
        controller = MaxAdditiveController(losses, {"localisation": 0.2}, by=by).calibrate(detections, truths)
        assert controller.thresholds.margin == largest[-16]
    sets = bonferroni.predict(detections)
    margins = np.array(bonferroni.thresholds.margin)
    assert sets.boxes == pytest.approx(detections.boxes + margins * [-1, -1, 1, 1])
    assert sets.classes.tolist() == [[False, True]] * 79


def test_by_image_the_worst_detected_box_counts_and_missed_ones_do_not():
    true = [[[0, 0, 10, 10], [50, 50, 60, 60], [90, 90, 99, 99]]] * 3
    found = [[[0, 0, 10, 10 - shift], [50, 50, 60, 60 - 2 * shift]] for shift in range(3)]
    detections, truths = Detections.of_images(found, [[0.9, 0.9]] * 3), Truths.of_images(true)
    losses = DetectionLosses(match="hausdorff", classes=None)
    by_box, by_image = (
        MaxAdditiveController(losses, {"localisation": 0.6}, by=by).calibrate(detections, truths).thresholds.margin
        for by in ("box", "image")
    )
    # Of 0 0 1 2 2 4 three may need more, 0.6 x 7 - 1; of 0 2 4 one.
    assert (by_box, by_image) == (1, 2)


@pytest.mark.parametrize("procedure", ["bonferroni", "fixed_sequence"])
def test_learn_then_test_takes_the_best_point_whose_p_values_pass(procedure):
    detections, truths = random_pool(np.random.default_rng(7), 60, feasible=True)
    alphas, delta = {"confidence": 0.35, "localisation": 0.3, "classification": 0.4}, 0.4
    controller = LTTController(LOSSES, alphas, delta=delta, procedure=procedure, **GRID).calibrate(detections, truths)

    def p_value(i, j, k):
        point = UncalibratedController(LOSSES)
        point.thresholds = Thresholds(GRID["scores"][i], GRID["margins"][j], GRID["classes"][k])
        found = image_losses(LOSSES, detections, truths, point.predict(detections))
        return max(hoeffding_bentkus(found[name].mean(), 60, alpha) for name, alpha in alphas.items())

    p_values = {(i, j, k): p_value(i, j, k) for i in range(3) for j in range(3) for k in range(3)}
    if procedure == "bonferroni":
        passed = [place for place, each in p_values.items() if each <= delta / 27]
    else:
        passed = [
            (i, j, j) for i in range(3) for j in range(3) if all(p_values[i, k, k] <= delta / 3 for k in range(j, 3))
        ]
    assert 0 < len(passed) < len(p_values) / 2
    i, j, k = min(passed)
    assert min(j, k) > 0
    assert controller.thresholds == Thresholds(GRID["scores"][i], GRID["margins"][j], GRID["classes"][k])
    strict = LTTController(LOSSES, {name: 0.01 for name in ALPHAS}, procedure=procedure, **GRID)
    assert strict.calibrate(detections, truths).infeasible == ("score", "margin", "classes")


@pytest.mark.parametrize("controller", CONTROLLERS, ids=of_kind)
def test_a_part_of_a_prepared_pool_calibrates_as_the_same_images_do(controller):
    detections, truths = random_pool(np.random.default_rng(18), 60, feasible=True)
    pool, chosen = CalibrationLosses(LOSSES, detections, truths), np.random.default_rng(19).permutation(60)[:30]
    for _ in range(2):
        prepared = controller.calibrate_losses(pool[chosen]).thresholds
        assert controller.calibrate(detections[chosen], truths[chosen]).thresholds == prepared
        assert controller.count == 30
        pool = pool[10:]
        detections, truths, chosen = detections[10:], truths[10:], np.arange(50)[::-1][:30]
    with pytest.raises(ValueError, match="losses must be of DetectionLosses"):
        controller.calibrate_losses(CalibrationLosses(DetectionLosses(), detections, truths))


@pytest.mark.parametrize("controller", CONTROLLERS, ids=of_kind)
def test_sets_of_an_image_are_those_in_any_batch_and_the_inputs_stay_as_they_are(controller):
    detections, truths = random_pool(np.random.default_rng(8), 30, feasible=True)
    before = [each.copy() for each in (detections.boxes, detections.scores, detections.probabilities)]
    controller.calibrate(detections, truths)
    together, order = controller.predict(detections), np.random.default_rng(9).permutation(30)
    permuted = controller.predict(detections[order])
    for place, index in enumerate(order):
        alone = controller.predict(detections[index]).image(0)
        for one, other, third in zip(alone, together.image(index), permuted.image(place), strict=True):
            assert one.tolist() == other.tolist() == third.tolist()
    for each, old in zip((detections.boxes, detections.scores, detections.probabilities), before, strict=True):
        assert (each == old).all()


@pytest.mark.parametrize("controller", CONTROLLERS, ids=of_kind)
def test_a_saved_controller_predicts_and_claims_the_same(controller, tmp_path):
    detections, truths = random_pool(np.random.default_rng(10), 30, feasible=True)
    controller.calibrate(detections, truths)
    save(controller, tmp_path / "controller.json")
    content = json.loads((tmp_path / "controller.json").read_text(), parse_constant=pytest.fail)
    assert content["count"] == 30
    loaded = load(tmp_path / "controller.json")
    assert (loaded.thresholds, loaded.claim, repr(loaded)) == (
        controller.thresholds,
        controller.claim,
        repr(controller),
    )
    assert loaded.predict(detections).boxes.tolist() == controller.predict(detections).boxes.tolist()


def test_a_grid_with_the_largest_margin_is_saved(tmp_path):
    grid = {"scores": (0.5, -math.inf), "margins": (1.0, math.inf), "classes": (0.9, 1.0)}
    controller = LTTController(LOSSES, ALPHAS, **grid).calibrate(*random_pool(np.random.default_rng(20), 30))
    save(controller, tmp_path / "controller.json")
    assert repr(load(tmp_path / "controller.json")) == repr(controller)


def test_files_that_hold_no_controller_or_another_claim_are_errors(tmp_path):
    path, controller = tmp_path / "controller.json", SequentialController(LOSSES, ALPHAS)
    with pytest.raises(RuntimeError, match="isn't calibrated: call calibrate first"):
        save(controller, path)
    save(controller.calibrate(*random_pool(np.random.default_rng(11), 30, feasible=True)), path)
    text = path.read_text()
    for wrong in (
        text[:-20],
        text.replace("SequentialController", "Controller"),
        text.replace('"mix"', '"best"'),
        "[]",
    ):
        path.write_text(wrong)
        with pytest.raises(ValueError, match=r"holds no controller.*give a file that save wrote"):
            load(path)
    path.write_text(text.replace("at most 0.4", "at most 0.04"))
    with pytest.raises(ValueError, match=r"at most 0.04.*, its controller"):
        load(path)

    class Own(UncalibratedController):
        pass

    with pytest.raises(TypeError, match="one of this package, got Own; keep its thresholds"):
        save(Own(LOSSES).calibrate(*random_pool(np.random.default_rng(11), 5)), path)


def test_claims_say_what_is_guaranteed_and_for_whom():
    claims = {of_kind(each): each.claim for each in CONTROLLERS}
    assert str(claims["SequentialController"]) == (
        "Expected losses, over exchangeable calibration and test images, are: confidence (count_threshold) at most "
        "0.2, localisation (box_wise, match mix, multiplicative margins) at most 0.4, classification (lac sets, match "
        "mix) at most 0.3, maximum (of localisation and classification) at most 0.7; of each image."
    )
    assert str(claims["JointController"]).endswith(
        "joint (no kept box right, multiplicative margins, lac sets) at most 0.5; of each image."
    )
    assert str(claims["BonferroniController"]).endswith("at most 0.5; of each detected box.")
    assert str(claims["MaxAdditiveController"]).endswith("at most 0.4; of each image with a detected box.")
    assert str(claims["LTTController"]).startswith("With a probability of 0.5 over independent calibration images")
    assert str(claims["UncalibratedController"]) == "Nothing is guaranteed."
    assert "maximum" not in SequentialController(LOSSES, {**ALPHAS, "classification": 0.7}).claim.levels


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"levels": {"places": 0.1}}, "levels must be of 'confidence'.*got 'places'"),
        ({"levels": {"joint": 1.0}}, "the level of joint must be strictly between 0 and 1"),
        ({"levels": {}, "kind": "sure"}, "kind must be one of 'expectation'"),
        ({"levels": {}, "kind": "probability"}, "delta must be a number for the kind 'probability' alone, got None"),
        ({"levels": {}, "delta": 0.1}, "delta must be a number for the kind 'probability' alone, got 0.1"),
        ({"levels": {}, "unit": "pixel"}, "unit must be one of 'image'"),
    ],
)
def test_claims_that_there_are_not_are_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        RiskClaim(losses=LOSSES, **arguments)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SequentialController(LOSSES, SECOND), r"alphas must be of \['classification', 'confidence', 'loc"),
        (lambda: SequentialController(LOSSES, {**ALPHAS, "confidence": 0}), "the alpha of confidence must be strictly"),
        (lambda: JointController(LOSSES, {"confidence": 0.1, "joint": 0.2}, scale=0), "scale must be positive"),
        (lambda: BonferroniController(LOSSES, SECOND), r"alphas must be of \['localisation'\]"),
        (lambda: MaxAdditiveController(LOSSES, {"localisation": 0.1}, by="side"), "by must be 'box' or 'image'"),
        (lambda: LTTController(LOSSES, ALPHAS, **GRID | {"scores": (0.1, 0.5)}), "scores must fall strictly"),
        (lambda: LTTController(LOSSES, ALPHAS, **GRID | {"margins": (1, 2)}), "got 2 and 3 of them; give as many"),
        (lambda: LTTController(LOSSES, ALPHAS, procedure="holm", **GRID), "procedure must be one of"),
    ],
)
def test_controllers_that_there_are_not_are_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_alphas_that_so_few_images_cannot_serve_say_what_would_do():
    detections, truths = random_pool(np.random.default_rng(12), 19, feasible=True)
    tight = SequentialController(LOSSES, {"confidence": 0.1, "localisation": 0.12, "classification": 0.2})
    with pytest.raises(
        ValueError, match=r"alpha of localisation is 0.12, but with 19 examples.*or calibrate on 49 examples"
    ):
        tight.calibrate(detections, truths)
    with pytest.warns(UserWarning, match="19 examples are too few for alpha=0.04; 24 would do"):
        controller = SequentialController(LOSSES, {**ALPHAS, "confidence": 0.04}).calibrate(detections, truths)
    assert controller.infeasible == ("score",)
    assert controller.predict(detections).kept.all()
    with pytest.warns(UserWarning, match="19 examples are too few for alpha=0.04; 24 would do"):
        FixedThresholdController(LOSSES, {**SECOND, "classification": 0.04}).calibrate(detections, truths)


def test_without_true_boxes_nothing_is_kept_and_without_detected_ones_all_is_infeasible():
    detections, truths = random_pool(np.random.default_rng(13), 19)
    nothing = Truths.of_images([[]] * 19, [[]] * 19)
    controller = SequentialController(LOSSES, ALPHAS).calibrate(detections, nothing)
    assert controller.thresholds == Thresholds(math.inf, 0.0, 0.0)
    assert not controller.predict(detections).kept.any()
    blind = detections.above(math.inf)
    assert SequentialController(LOSSES, ALPHAS).calibrate(blind, truths).infeasible == ("score", "margin", "classes")
    empty = controller.predict(detections[:0])
    assert (len(empty), empty.boxes.shape) == (0, (0, 4))


def test_tensors_give_what_arrays_give():
    detections, truths = random_pool(np.random.default_rng(14), 30, feasible=True)
    boxes, scores, probabilities = (
        torch.from_numpy(each).float().requires_grad_()
        for each in (detections.boxes, detections.scores, detections.probabilities)
    )
    tensors = Detections(boxes, scores, detections.offsets, probabilities, torch.tensor([[16, 12]] * 30))
    first, second = (SequentialController(LOSSES, ALPHAS).calibrate(each, truths) for each in (detections, tensors))
    assert first.thresholds == second.thresholds


def test_outer_boxes_are_cut_to_their_images():
    controller = UncalibratedController(LOSSES, score=0.0)
    controller.thresholds = Thresholds(-math.inf, math.inf, None)
    detections, _ = random_pool(np.random.default_rng(15), 6)
    sets = controller.predict(detections)
    assert sets.cut(detections.sizes).tolist() == [[0, 0, 16, 12]] * len(detections.boxes)


def test_what_is_no_input_of_a_controller_is_an_error():
    detections, truths = random_pool(np.random.default_rng(16), 30, feasible=True)
    with pytest.raises(TypeError, match="losses must be DetectionLosses, got str"):
        SequentialController("mix", ALPHAS)
    controller = SequentialController(LOSSES, ALPHAS)
    with pytest.raises(RuntimeError, match="isn't calibrated"):
        controller.predict(detections)
    with pytest.raises(TypeError, match="detections must be Detections, got list"):
        controller.calibrate([detections], truths)
    controller.calibrate(detections, truths)
    with pytest.raises(TypeError, match="detections must be Detections, got ndarray"):
        controller.predict(detections.boxes)
    with pytest.raises(ValueError, match="take probabilities of the classes"):
        controller.predict(Detections(detections.boxes, detections.scores, detections.offsets))


def test_a_controller_of_ones_own_chooses_its_thresholds():
    class Half(RiskController):
        def _choose(self, losses):
            return Thresholds(0.5, 1.0, 0.5)

    detections, truths = random_pool(np.random.default_rng(17), 5)
    controller = Half(LOSSES, ALPHAS).calibrate(detections, truths)
    assert (controller.predict(detections).kept == (detections.scores >= 0.5)).all()
