"""The simulation of detection's guarantees knows the exact risks, and says where a controller ends as it must not."""

import math

import numpy as np
import pytest

from orthobench import cli
from orthobench.conformal.detection import DetectionLosses, SequentialController, Thresholds
from orthobench.conformal.detection.simulation import Simulation
from orthobench.conformal.verdicts import known_risk_p_value
from orthobench.harness.detection import DetectionTask
from orthobench.harness.detection.evaluation import Pool
from orthobench.studies import risk_guarantees
from orthobench.studies.risk_guarantees import ALPHAS, LOSSES, Careless, Case, cases, lines

ALL_LOSSES = [
    LOSSES,
    DetectionLosses(localisation="pixel_wise", match="hausdorff"),
    DetectionLosses(localisation="pixel_wise", match="hausdorff", margins="multiplicative", classes="aps"),
    DetectionLosses(localisation="thresholded", match="hausdorff", margins="multiplicative"),
]
THRESHOLDS = [
    Thresholds(0.2, 0.7, 0.6),
    Thresholds(0.03, 0.05, 0.6),
    Thresholds(0.03, (0.05, 0.0, 0.0, 0.0), 0.995),
    Thresholds(0.5, 0.02, None),
    Thresholds(-math.inf, math.inf, math.inf),
]


@pytest.mark.parametrize("duplicates", [False, True])
@pytest.mark.parametrize("thresholds", THRESHOLDS, ids=str)
@pytest.mark.parametrize("losses", ALL_LOSSES, ids=lambda each: f"{each.localisation}-{each.margins}-{each.classes}")
def test_the_exact_risks_are_those_of_many_images(losses, thresholds, duplicates):
    simulation, images = Simulation(duplicates), 20_000
    task = DetectionTask(*simulation.draw(images, np.random.default_rng(0)), 2, images // 2, 0, simulation)
    found = Pool(task, losses).image_losses(thresholds)
    risks = simulation.risks(thresholds, losses)
    assert risks.keys() == found.keys()
    for name, risk in risks.items():
        assert found[name].mean() == pytest.approx(risk, abs=5 * found[name].std() / images**0.5 + 1e-9), name


def test_without_classes_there_is_no_risk_of_them():
    losses = DetectionLosses(localisation="box_wise", match="giou", classes=None)
    found = Simulation().risks(Thresholds(0.25, 0.5, None), losses)
    assert found.keys() == {"confidence", "localisation", "maximum", "joint"}
    assert found["joint"] == pytest.approx(1 - 0.75 * 0.5)


def test_which_duplicate_is_matched_is_known_of_one_match_alone():
    Simulation().check(DetectionLosses())
    with pytest.raises(ValueError, match="match='mix': which duplicate is matched is known of match='hausdorff' alone"):
        Simulation(duplicates=True).risks(THRESHOLDS[0], DetectionLosses())


def test_each_careless_controller_leaves_out_what_it_says():
    """Second steps at a lower score need less; without the correction one more box may be lost."""
    detections, truths = Simulation().draw(99, np.random.default_rng(1))
    honest = SequentialController(LOSSES, ALPHAS).calibrate(detections, truths)
    found = {
        name: Careless(LOSSES, ALPHAS, without=name).calibrate(detections, truths).thresholds
        for name in ("optimistic", "correction", "misses", "supremum")
    }
    assert {each.score for each in found.values()} == {honest.thresholds.score}
    assert honest.optimistic_score > honest.thresholds.score
    needs = np.sort(detections.boxes[:, 0][detections.scores >= honest.thresholds.score])
    at_minus = np.sort(detections.boxes[:, 0][detections.scores >= honest.optimistic_score])
    # 0.1 x 100 - 1 = 9 may be lost; 4 are missed at a+, 5 at a-. Of 95 detected ones floor(0.1 x 96) - 1 = 8.
    assert honest.thresholds.margin == pytest.approx(at_minus[-1 - (9 - 5)])
    assert found["optimistic"].margin == pytest.approx(needs[-1 - (9 - 4)])
    assert found["correction"].margin == pytest.approx(at_minus[-1 - (10 - 5)])
    assert found["misses"].margin == pytest.approx(needs[-1 - 8])
    assert found["supremum"].margin == honest.thresholds.margin


def test_p_values_are_small_where_a_claim_is_broken_and_not_where_it_is_kept():
    random = np.random.default_rng(2)
    risks = random.normal(0.1, 0.03, 400)
    assert known_risk_p_value(risks - risks.mean() + 0.1, 0.1) == pytest.approx(0.5)
    assert known_risk_p_value(risks + 0.02, 0.1) < 1e-9
    assert known_risk_p_value(np.repeat([0.09, 0.5], [80, 20]), 0.1, 0.2) == pytest.approx(0.5, abs=0.1)
    assert known_risk_p_value(np.repeat([0.09, 0.11], [50, 50]), 0.1, 0.2) < 1e-9


def test_every_control_is_among_the_cases_and_the_honest_ones_claim_all_risks():
    found = cases()
    assert [each.name for each in found if each.refuted] == [
        "second step at a+",
        "no B / (n + 1)",
        "detected images alone",
        "no supremum, duplicates",
    ]
    for each in found:
        assert each.controller.claim.levels.keys() <= Simulation().risks(Thresholds(0.5, 0.5, 0.5), LOSSES).keys()


def test_a_case_that_ends_as_it_must_not_is_said(monkeypatch, capsys):
    alone = Careless(LOSSES, {"confidence": 0.1, "localisation": 0.2, "classification": 0.2}, without="misses")
    monkeypatch.setattr(risk_guarantees, "cases", lambda: [Case("alone", alone, True), Case("wrong", alone, False)])
    cli.main(["study", "risk-guarantees", "--calibrations", "200", "--images", "19"])
    printed = capsys.readouterr().out.splitlines()
    assert "alone: refuted, must be: holds" in printed
    assert "wrong: refuted, must not be: DOES NOT HOLD" in printed
    assert len(list(lines(Case("alone", alone, True), 2, images=19))) == 5
