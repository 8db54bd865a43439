"""Performance against scikit-learn and enumeration; pictures, pixel by pixel."""

import base64
import io
import itertools

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import accuracy_score, balanced_accuracy_score, jaccard_score

from orthobench.harness.segmentation.figures import certified_performance, performance, picture
from orthobench.segmentation import ABSTAIN

IGNORED = 255


def integers(low, high, *shape, seed=0):
    return torch.randint(low, high, shape, generator=torch.Generator().manual_seed(seed))


def case(seed, classes=3, shape=(2, 2, 3)):
    """Return predictions, some of them none, and labels, some of them ignored."""
    predicted, labels = integers(0, classes, *shape, seed=seed), integers(0, classes, *shape, seed=seed + 1000)
    right = integers(0, 2, *shape, seed=seed + 2000) == 1
    predicted[right] = labels[right]
    predicted[integers(0, 3, *shape, seed=seed + 3000) == 0] = ABSTAIN
    labels[integers(0, 6, *shape, seed=seed + 4000) == 0] = IGNORED
    return predicted, labels


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.parametrize("seed", range(10))
def test_performance_is_that_of_scikit_learn_where_a_pixel_without_a_class_is_wrong(seed):
    predicted, labels = case(seed, classes=4, shape=(3, 4, 5))
    if seed % 2:
        labels[labels == 2] = 1  # a class that no pixel has
    known = labels != IGNORED
    truth, given = labels[known].numpy(), predicted[known].numpy()
    present = sorted(set(truth.tolist()))
    jaccard = jaccard_score(truth, given, average=None, labels=present)
    expected = accuracy_score(truth, given), balanced_accuracy_score(truth, given), jaccard.mean()
    assert performance(predicted, labels, 4) == pytest.approx(expected)


def completions(certified, labels, classes):
    """Yield each segmentation in which the certified pixels have their classes."""
    free = ((certified == ABSTAIN) & (labels != IGNORED)).nonzero().tolist()
    for chosen in itertools.product(range(classes), repeat=len(free)):
        found = certified.clone()
        for (image, row, column), k in zip(free, chosen, strict=True):
            found[image, row, column] = k
        yield found


def least_of_all_completions(certified, labels, classes):
    """Return the least pixel accuracy, class accuracy and mIoU, and the mean of the least IoU of each class."""
    figures, ious = [], []
    present = sorted(set(labels[labels != IGNORED].tolist()))
    for each in completions(certified, labels, classes):
        figures.append(performance(each, labels, classes))
        known = labels != IGNORED
        truth, given = labels[known], each[known]
        ious.append([float(((truth == k) & (given == k)).sum() / ((truth == k) | (given == k)).sum()) for k in present])
    return *np.array(figures).min(0), np.array(ious).min(0).mean()


@pytest.mark.parametrize("seed", range(12))
def test_certified_performance_is_the_least_of_all_segmentations_with_the_certified_pixels(seed):
    certified, labels = case(seed)
    if not (labels != IGNORED).any():
        labels[0, 0, 0] = 0
    pixel, by_class, miou, by_iou = least_of_all_completions(certified, labels, 3)
    found = certified_performance(certified, labels, 3)
    assert found[:2] == pytest.approx((pixel, by_class))  # attained
    assert found[2] == pytest.approx(by_iou)  # attained for each class on its own
    assert found[2] <= miou + 1e-12


def counts_abstentions_as_right(certified, labels, classes):
    return performance(torch.where(certified == ABSTAIN, labels, certified), labels, classes)


def leaves_abstentions_out(certified, labels, classes):
    return performance(certified, torch.where(certified == ABSTAIN, IGNORED, labels), classes)


def leaves_abstentions_out_of_unions(certified, labels, classes):
    return performance(certified, labels, classes)


@pytest.mark.parametrize(
    "mutant", [counts_abstentions_as_right, leaves_abstentions_out, leaves_abstentions_out_of_unions]
)
def test_enumeration_sees_through_abstentions_that_are_counted_otherwise(mutant):
    seen = 0
    for seed in range(12):
        certified, labels = case(seed)
        if not ((labels != IGNORED) & (certified != ABSTAIN)).any():
            continue
        pixel, by_class, _, by_iou = least_of_all_completions(certified, labels, 3)
        seen += any(
            more > least + 1e-9
            for more, least in zip(mutant(certified, labels, 3), (pixel, by_class, by_iou), strict=True)
        )
    assert seen > 6


def test_ignored_pixels_count_nowhere():
    certified, labels = case(1, shape=(2, 4, 4))
    others = certified.clone()
    others[labels == IGNORED] = 2
    others[:, 0][labels[:, 0] == IGNORED] = ABSTAIN
    assert (others != certified).any()
    assert performance(others, labels, 3) == performance(certified, labels, 3)
    assert certified_performance(others, labels, 3) == certified_performance(certified, labels, 3)


def test_an_abstention_everywhere_certifies_nothing_and_one_nowhere_what_was_predicted():
    predicted, labels = case(2)
    predicted[predicted == ABSTAIN] = 0
    assert certified_performance(torch.full_like(labels, ABSTAIN), labels, 3) == (0, 0, 0)
    assert certified_performance(predicted, labels, 3) == pytest.approx(performance(predicted, labels, 3))


# --- pictures --------------------------------------------------------------------------------------------------------


def decoded(*arguments):
    file = io.BytesIO(base64.b64decode(picture(*arguments), validate=True))
    image = Image.open(file)
    assert image.format == "PNG"
    return np.array(image.convert("RGB"))


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_picture_shows_image_prediction_certificate_and_attack_side_by_side(channels):
    height, width, classes = 4, 6, 5
    levels = torch.arange(height * width).view(1, height, width) / (height * width - 1)
    image = torch.cat([levels, levels.flip(1), 1 - levels][:channels])
    predicted = integers(0, classes, height, width)
    predicted.view(-1)[:classes] = torch.arange(classes)
    certified, flipped = (integers(0, 2, height, width, seed=seed) == 1 for seed in (1, 2))
    drawn = decoded(image, predicted, certified, flipped, classes)
    assert drawn.shape == (height, 4 * width + 3, 3)
    assert (drawn[:, [width, 2 * width + 1, 3 * width + 2]] == 255).all()
    shown, colours, kept, changed = (drawn[:, i * (width + 1) : i * (width + 1) + width] for i in range(4))
    expected = (255 * (image if channels == 3 else image[:1].expand(3, -1, -1))).round().movedim(0, -1).numpy()
    assert abs(shown - expected).max() <= 2  # a palette
    of_class = {k: tuple(colours[predicted.numpy() == k][0].tolist()) for k in range(classes)}
    assert len(set(of_class.values())) == classes
    assert of_class[0] == (0, 0, 0)
    for place in itertools.product(range(height), range(width)):
        own = of_class[int(predicted[place])]
        assert tuple(colours[place].tolist()) == own
        assert tuple(kept[place].tolist()) == (own if certified[place] else (128, 128, 128))
        wanted = np.array((230, 30, 30)) if flipped[place] else expected[place]
        assert abs(changed[place] - wanted).max() <= 2


@pytest.mark.parametrize("classes", [2, 3, 11, 21])
def test_colours_of_classes_differ_from_each_other_and_from_what_is_not_certified(classes):
    predicted = torch.arange(classes)[None]
    nowhere = torch.zeros_like(predicted, dtype=torch.bool)
    drawn = decoded(torch.zeros(1, 1, classes), predicted, ~nowhere, nowhere, classes)
    colours = {tuple(each.tolist()) for each in drawn[0, classes + 1 : 2 * classes + 1]}
    assert len(colours) == classes
    assert not colours & {(128, 128, 128), (230, 30, 30), (255, 255, 255)}
