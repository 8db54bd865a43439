"""The command that prints what controlling a detector's risks costs measures what it says."""

import numpy as np
import pytest
from made_up_clock import made_up_clock

from orthobench.studies import risk_speed


def test_times_are_those_of_each_controller(monkeypatch):
    clock = made_up_clock(monkeypatch)

    class Timed:
        def calibrate(self, detections, truths):
            assert len(detections) == len(truths) == 30
            clock.advance(6.0)

        def predict(self, detections):
            clock.advance(0.5)

    monkeypatch.setattr(risk_speed, "CONTROLLERS", {"timed": Timed()})
    lines = [figure.line() for figure in risk_speed.times(images=30, boxes=10, repetitions=2)]
    assert lines == [
        "timed, calibrating 30 images with 10 boxes each, s: 6.000 (6.000 to 6.000 in the middle half of 2); at most "
        "5: DOES NOT HOLD",
        "timed, predicting them, s: 0.500 (0.500 to 0.500 in the middle half of 2)",
    ]


def test_memory_that_grows_with_the_square_of_the_images_is_seen(monkeypatch):
    class Square:
        def calibrate(self, detections, truths):
            np.ones((len(detections.scores), len(truths.boxes)))

        def predict(self, detections):
            np.ones((len(detections.scores), 40))

    monkeypatch.setattr(risk_speed, "CONTROLLERS", {"square": Square()})
    calibrating, predicting = risk_speed.growth(images=50, boxes=10)
    assert calibrating.value > 3
    assert not calibrating.holds
    assert predicting.value == pytest.approx(1, abs=0.1)
    assert "320 bytes a box" in predicting.name


def test_made_up_images_have_candidates_near_their_true_boxes_and_can_be_calibrated_on():
    detections, truths = risk_speed.made_up_images(200, boxes=12, true_boxes=3, classes=5)
    assert detections.counts.tolist() == [12] * 200
    assert set(truths.counts) == {1, 2, 3}
    firsts = np.concatenate(
        [offset + np.arange(count) for offset, count in zip(detections.offsets, truths.counts, strict=False)]
    )
    assert abs(detections.boxes[firsts] - truths.boxes).max() < 20
    assert (detections.probabilities[firsts].argmax(1) == truths.labels).all()
    for controller in risk_speed.CONTROLLERS.values():
        assert controller.calibrate(detections, truths).infeasible == ()
