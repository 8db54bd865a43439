"""The command that prints how good the detector is counts what it says, by a detector that is made up."""

import numpy as np
import pytest

from orthobench import cli
from orthobench.data import digit_boxes
from orthobench.studies import detector_quality


def test_what_is_missed_and_misnamed_is_counted(monkeypatch, capsys):
    _, pool = digit_boxes(0, train=1, pool=20)

    def found(model, images):
        boxes, scores, probabilities = [], [], []
        for index in range(len(images)):
            rows = np.arange(*pool.offsets[index : index + 2])[1:]  # the first object of a scene is missed
            boxes.append(pool.boxes[rows])
            scores.append(np.full(len(rows), 0.9))
            probabilities.append(np.eye(10)[(pool.labels[rows] + (index == 0)) % 10])  # misnamed in the first scene
        return boxes, scores, probabilities

    monkeypatch.setattr(detector_quality, "trained_detector", lambda *_, **__: None)
    monkeypatch.setattr(detector_quality, "detect", found)
    missed, wrong, _ = detector_quality.figures(train=1, pool=20, epochs=1)
    objects = len(pool.boxes)
    # A missed object's nearest box is that of another one, or there is none.
    assert missed.value == pytest.approx(20 / objects)
    assert wrong.value == pytest.approx((pool.offsets[1] - 1) / (objects - 20))
    assert not missed.holds
    cli.main(["study", "detector-quality", "--train", "1", "--pool", "20"])
    assert capsys.readouterr().out.splitlines()[0].endswith("at most 0.01: DOES NOT HOLD")
