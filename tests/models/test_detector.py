"""The small detector: targets are what boxes are found from, none is kept beside a better one, training helps."""

import numpy as np
import pytest
import torch

from orthobench.conformal.detection import Detections, Truths
from orthobench.conformal.detection.boxes import iou
from orthobench.conformal.detection.precision import average_precision
from orthobench.data.boxes import BoxScenes, digit_boxes
from orthobench.models import detector
from orthobench.models.detector import FIRST_CLASS, SIDES, detect, detection_loss, grid_detector, grid_targets

CLASSES = 3


def scenes_of(boxes, labels, side=16):
    counts = [len(each) for each in boxes]
    return BoxScenes(
        torch.zeros(len(boxes), 1, side, side),
        np.concatenate(boxes).astype(np.float32).reshape(-1, 4),
        np.concatenate(labels),
        np.concatenate([[0], np.cumsum(counts)]),
    )


SCENES = scenes_of([[[1, 2, 9, 7], [8, 8, 16, 16]], [[0, 0, 4, 4]]], [[0, 2], [1]])


class Told(torch.nn.Module):
    """A network that answers with the outputs that targets ask for."""

    def __init__(self, scenes):
        super().__init__()
        classes, sides = grid_targets(scenes)
        logits = torch.where(classes[:, None] == torch.arange(CLASSES)[:, None, None], 9.0, 0.0)
        self.outputs = torch.cat([torch.where(classes >= 0, 4.0, -4.0)[:, None], sides.expm1().log(), logits], dim=1)
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, images):
        return self.outputs[: len(images)]


def test_what_targets_say_is_where_the_boxes_are():
    boxes, scores, probabilities = detect(Told(SCENES), SCENES.images)
    for index, own in enumerate(boxes):
        true = slice(*SCENES.offsets[index : index + 2])
        found = scores[index] > 0.5
        order = np.lexsort(own[found].T)
        expected = SCENES.boxes[true]
        np.testing.assert_allclose(own[found][order], expected[np.lexsort(expected.T)], atol=1e-4)
        assert sorted(probabilities[index][found].argmax(1)) == sorted(SCENES.labels[true])
    assert (np.diff(scores[0]) <= 0).all()


def test_the_loss_is_least_where_outputs_are_the_targets():
    targets = grid_targets(SCENES)
    told = Told(SCENES).outputs
    best = float(detection_loss(told, *targets))
    assert best < 0.1
    for channel in (0, 2, FIRST_CLASS):
        worse = told.clone()
        worse[:, channel] += torch.where(targets[0] >= 0, -6.0, 0.0)
        assert detection_loss(worse, *targets) > best + 0.02
    spurious = told.clone()
    spurious[:, 0] = torch.where(targets[0] < 0, 4.0, spurious[:, 0])
    assert detection_loss(spurious, *targets) > best + 0.1
    # Sides and classes of cells without an object are no one's.
    elsewhere = told.clone()
    elsewhere[:, 1:] = torch.where(targets[0][:, None] < 0, 7.0, elsewhere[:, 1:])
    assert detection_loss(elsewhere, *targets) == pytest.approx(best)


def test_boxes_that_are_kept_overlap_no_better_one_and_the_others_do():
    model = grid_detector(0, CLASSES).requires_grad_(False).eval()
    model[-1].bias[SIDES] = 2.0  # boxes of 16 pixels, 4 apart
    images = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    raw = model(images).double()
    boxes, scores, _ = detect(model, images, most=1000)
    for own, own_scores, outputs in zip(boxes, scores, raw, strict=True):
        kept = iou(own[:, None], own[None])
        assert (kept[~np.eye(len(own), dtype=bool)] <= detector.LARGEST_IOU).all()
        everything = outputs[0].sigmoid().flatten().numpy()
        assert np.isin(own_scores, everything).all()
        assert own_scores[0] == everything.max()
        assert len(own) < everything.size
        assert ((own >= 0) & (own <= 32)).all()
    assert [len(each) for each in detect(model, images, most=3)[0]] == [3, 3]


def test_training_is_reproducible_and_finds_digits():
    train, pool = digit_boxes(0, train=160, pool=40)
    one, same = (detector.trained_detector(train, 10, epochs=6) for _ in range(2))
    for mine, other in zip(one.parameters(), same.parameters(), strict=True):
        assert torch.equal(mine, other)
    truths = Truths(pool.boxes, pool.offsets, pool.labels)

    def precision(model):
        return average_precision(Detections.of_images(*detect(model, pool.images)), truths, overlap=0.3)

    assert precision(one) > 5 * precision(grid_detector(0, 10))


def test_a_network_maps_images_of_any_size_to_cells():
    outputs = grid_detector(1, CLASSES, channels=3, width=8)(torch.zeros(2, 3, 24, 40))
    assert outputs.shape == (2, FIRST_CLASS + CLASSES, 6, 10)
    assert outputs[:, SIDES].shape[1] == 4
    with pytest.raises(ValueError, match="classes"):
        grid_detector(0, 0)


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch_size": -1}])
def test_impossible_trainings_are_errors(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        detector.trained_detector(SCENES, CLASSES, **wrong)
