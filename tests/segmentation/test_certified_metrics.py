"""Certified performance over a data set: the clean one at radius 0, the same in any batches, below every attack's."""

import math
from fractions import Fraction

import pytest
import torch
from segmentation_cases import Linear, integers, normal, orthogonal
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, jaccard_score

from orthobench.segmentation import (
    CertifiedMetrics,
    class_pixels,
    iou_choices,
    least_iou,
    least_radius,
    leaving_costs,
    most_lost,
    most_value_lost,
    pixel_radii,
)

RADII = [0, 0.2, 0.5, 1, 2, 20]
CLASSES = 4


def data_set(seed=0, images=5):
    logits, labels = normal(images, CLASSES, 5, 6, seed=seed), integers(CLASSES, images, 5, 6, seed=seed)
    labels[:, :3] = logits.argmax(1)[:, :3]
    labels[labels == 3] = 1  # class 3 has no pixel
    labels[:, :, 0] = 255
    return logits, labels


def measured(logits, labels, batch=2, radii=RADII, **options):
    metrics = CertifiedMetrics(class_pixels(labels, logits.shape[1]), radii, **options)
    for start in range(0, len(logits), batch):
        metrics.add(logits[start : start + batch], labels[start : start + batch])
    return metrics


RESULTS = ("pixel_accuracy", "class_accuracy", "which_pixels", "stable_pixels", "iou", "miou", "false_negatives")


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_at_radius_0_it_is_the_clean_performance_of_scikit_learn():
    logits, labels = data_set()
    metrics = measured(logits, labels, radii=[0])
    known = labels != 255
    truth, predicted = labels[known].numpy(), logits.argmax(1)[known].numpy()
    confusion = confusion_matrix(truth, predicted, labels=range(CLASSES))
    assert metrics.pixel_accuracy.item() == metrics.which_pixels.item() == pytest.approx((truth == predicted).mean())
    assert metrics.class_accuracy.item() == pytest.approx(balanced_accuracy_score(truth, predicted))
    jaccard = jaccard_score(truth, predicted, average=None, labels=range(CLASSES))
    assert metrics.iou[0].tolist() == pytest.approx(jaccard.tolist())
    assert metrics.miou.item() == pytest.approx(jaccard[:3].mean())
    assert metrics.false_negatives[0].tolist() == (confusion.sum(1) - confusion.diagonal()).tolist()
    assert metrics.stable_pixels.item() == 1
    assert (metrics.images, metrics.pixels) == (5, known.sum())


def test_each_figure_is_the_pooled_one_of_its_function():
    logits, labels = data_set(1)
    metrics = measured(logits, labels, lipschitz_constant=1.5)
    costs = leaving_costs(logits, labels)
    pixels = (labels != 255).sum()
    torch.testing.assert_close(metrics.pixel_accuracy, 1 - most_lost(costs, RADII, 1.5).sum(0) / pixels.double())
    held = torch.stack([(pixel_radii(costs, 1.5) > radius).sum() for radius in RADII])
    torch.testing.assert_close(metrics.which_pixels, held / pixels.double())
    stable = leaving_costs(logits).masked_fill(labels == 255, math.nan)
    torch.testing.assert_close(metrics.stable_pixels, 1 - most_lost(stable, RADII, 1.5).sum(0) / pixels.double())
    for share, name in ((0.01, "radius_1"), (0.1, "radius_10"), (0.5, "radius_50")):
        assert getattr(metrics, name) == pytest.approx(least_radius(stable, share, 1.5).median().item())
    for index, radius in enumerate(RADII):
        for k in range(CLASSES):
            choices = iou_choices(logits, labels, k, radius, 1.5)
            assert metrics.iou[index, k].item() == least_iou(choices)
            of_class = costs.masked_fill(labels != k, math.nan)
            assert metrics.false_negatives[index, k] == most_lost(of_class, radius, 1.5).sum()


def test_batches_and_the_order_of_images_and_pixels_change_nothing():
    logits, labels = data_set(2)
    expected = measured(logits, labels)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    moved = logits.flatten(2)[..., order].view_as(logits), labels.flatten(1)[:, order].view_as(labels)
    for other in (measured(logits, labels, 5), measured(logits.flip(0), labels.flip(0), 1), measured(*moved)):
        for name in RESULTS:
            torch.testing.assert_close(getattr(other, name), getattr(expected, name), equal_nan=True)
        assert other.radius_10 == pytest.approx(expected.radius_10)


@pytest.mark.parametrize("seed", range(4))
def test_performance_falls_with_the_radius_and_the_constant_and_b_is_not_below_a(seed):
    logits, labels = data_set(seed)
    metrics, twice = measured(logits, labels), measured(logits, labels, lipschitz_constant=2.0)
    for name in ("pixel_accuracy", "class_accuracy", "which_pixels", "stable_pixels", "miou"):
        one, two = getattr(metrics, name), getattr(twice, name)
        assert (one.diff() <= 1e-12).all()
        assert (two <= one + 1e-12).all()
    assert (metrics.pixel_accuracy >= metrics.which_pixels).all()
    assert (metrics.stable_pixels >= metrics.pixel_accuracy).all()
    assert twice.radius_10 == pytest.approx(metrics.radius_10 / 2)
    # Within 20 every pixel goes, but each has a cost.
    assert metrics.pixel_accuracy[-1] == metrics.miou[-1] == 0
    assert metrics.class_accuracy[-1] == pytest.approx(0, abs=1e-12)


def test_no_change_of_an_orthogonal_map_goes_below():
    """Random and aimed changes within the radius, each image attacked on its own, all figures recomputed."""
    classes, pixels, images = 3, 6, 4
    matrix = orthogonal(classes * pixels)
    model, x = Linear(matrix, classes), normal(images, 1, 1, classes * pixels, seed=3)
    labels = model(x).argmax(1)
    labels[:, :, 0] = integers(classes, images, 1, seed=1)
    for radius in (0.3, 1.0, 2.0):
        metrics = measured(model(x), labels, radii=[radius])
        for seed in range(50):
            change = normal(*x.shape, seed=seed)
            if seed % 2:  # towards a class on some of the pixels
                aim = torch.zeros(images, classes, 1, pixels, dtype=torch.float64)
                chosen = normal(images, 1, pixels, seed=seed) > seed % 3 - 1
                aim[:, seed % classes] = chosen.double()
                aim = aim - aim.mean(1, keepdim=True)
                change = (aim.flatten(1) @ matrix).view_as(x) + 0.02 * change
            change = radius * change / change.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
            attacked = measured(model(x + change), labels, radii=[0])
            for name in ("pixel_accuracy", "class_accuracy", "miou"):
                assert getattr(metrics, name) <= getattr(attacked, name) + 1e-12
            assert (metrics.iou <= attacked.iou + 1e-12).all()
            assert (metrics.false_negatives >= attacked.false_negatives).all()


def test_behind_a_head_it_certifies_no_less():
    weight, features = normal(3, 6), normal(2, 6, 3, 3, seed=1)
    logits = torch.einsum("kf,bfhw->bkhw", weight, features)
    labels = logits.argmax(1)
    joint = measured(logits, labels, lipschitz_constant=torch.linalg.matrix_norm(weight, 2).item(), radii=[0.3, 1])
    head = measured(logits, labels, head_weight=weight, radii=[0.3, 1])
    for name in ("pixel_accuracy", "which_pixels", "stable_pixels", "miou", "class_accuracy"):
        assert (getattr(head, name) >= getattr(joint, name) - 1e-12).all()
    assert head.pixel_accuracy[1] > joint.pixel_accuracy[1]


def test_radii_of_what_nothing_can_change_are_infinite():
    logits = torch.tensor([1.0, 0.0], dtype=torch.float64).view(1, 2, 1, 1).expand(2, 2, 3, 3)
    metrics = measured(logits, torch.zeros(2, 3, 3, dtype=torch.int64), radii=[1e6], head_weight=torch.ones(2, 4))
    assert metrics.radius_1 == metrics.radius_50 == math.inf
    assert metrics.pixel_accuracy.item() == metrics.which_pixels.item() == metrics.miou.item() == 1
    assert metrics.class_accuracy.item() == pytest.approx(1, abs=1e-15)


def test_counts_of_classes_add_up_over_batches():
    _, labels = data_set()
    assert torch.equal(
        class_pixels(labels, CLASSES), class_pixels(labels[:2], CLASSES) + class_pixels(labels[2:], CLASSES)
    )
    assert class_pixels(labels, CLASSES).sum() == (labels != 255).sum()


def test_without_iou_the_rest_is_the_same_and_asking_for_it_is_an_error():
    logits, labels = data_set()
    metrics = measured(logits, labels, iou=False)
    assert torch.equal(metrics.class_accuracy, measured(logits, labels).class_accuracy)
    with pytest.raises(ValueError, match="iou is False: make CertifiedMetrics with iou=True"):
        _ = metrics.miou


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_the_figures_are_the_same():
    logits, labels = normal(2, 3, 150, 160), integers(3, 2, 150, 160)
    there, here = measured(logits.cuda(), labels.cuda(), radii=[0.1, 10]), measured(logits, labels, radii=[0.1, 10])
    for name in RESULTS:
        torch.testing.assert_close(getattr(there, name), getattr(here, name), equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_of_narrower_types_no_more_is_certified(dtype):
    logits, labels = data_set()
    exact = measured(logits.to(dtype).double(), labels)
    narrow = measured(logits.to(dtype), labels)
    for name in ("pixel_accuracy", "class_accuracy", "which_pixels", "miou"):
        assert (getattr(narrow, name) <= getattr(exact, name) + 1e-12).all()
    assert narrow.pixel_accuracy[1] > 0


def test_a_batch_that_is_refused_adds_nothing():
    logits, labels = data_set()
    metrics = CertifiedMetrics(class_pixels(labels, CLASSES), RADII)
    for bad_logits, bad_labels, told in (
        (logits, torch.full_like(labels, 255), "labels of image 0 are all 255: leave the image out"),
        (logits * math.nan, labels, "NaN or infinity in image 0"),
        (logits[:, :3], labels, "logits have 3 classes and class_pixels 4"),
        (logits[:0], labels[:0], r"\(0, 4, 5, 6\)"),
        (logits, labels - 1, "number the classes from 0"),
    ):
        with pytest.raises(ValueError, match=told):
            metrics.add(bad_logits, bad_labels)
    with pytest.raises(ValueError, match="no image was added"):
        _ = metrics.pixel_accuracy
    metrics.add(logits[:2], labels[:2])
    assert metrics.pixel_accuracy[0] > 0
    with pytest.raises(ValueError, match="add all of the data set, once each"):
        _ = metrics.class_accuracy
    metrics.add(logits[2:], labels[2:])
    for name in RESULTS:
        torch.testing.assert_close(getattr(metrics, name), getattr(measured(logits, labels), name), equal_nan=True)


@pytest.mark.parametrize(
    ("counts", "radii", "options", "told"),
    [
        ([5], [0.1], {}, "at least two classes"),
        ([0, 0], [0.1], {}, "not all 0"),
        ([5, -1], [0.1], {}, "class_pixels must be the number of pixels"),
        ([0.5, 0.5], [0.1], {}, "class_pixels must be the number of pixels"),
        ([5, 5], [], {}, "radii must hold at least one radius"),
        ([5, 5], [0.1, -0.1], {}, "radius must be a finite number >= 0, got -0.1"),
        ([5, 5], [0.1], {"lipschitz_constant": 0.0}, "lipschitz_constant must be a finite number > 0, got 0.0"),
    ],
)
def test_arguments_that_are_not_allowed_are_named_with_the_remedy(counts, radii, options, told):
    with pytest.raises(ValueError, match=told):
        CertifiedMetrics(torch.tensor(counts), radii, **options)


@pytest.mark.parametrize("constant", [1.0, 0.3, 1.7])
def test_an_attack_whose_radius_is_just_enough_is_granted_it(constant):
    """In exact arithmetic; no logit is claimed to be rounded."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(300):
        logits = torch.randn(1, 2, 1, 1, generator=generator, dtype=torch.float64)
        first, second = (Fraction(each) for each in logits.flatten().sort(descending=True).values.tolist())
        cost = (first - second) ** 2 / 2
        radius = math.sqrt(cost) / constant * (1 - 1e-14)
        while (Fraction(constant) * Fraction(radius)) ** 2 < cost:
            radius = math.nextafter(radius, math.inf)
        costs, labels = leaving_costs(logits, rounding=0), logits.argmax(1)
        (choices,) = iou_choices(logits, labels, labels.item(), radius, constant, rounding=0)
        assert choices.most_left == 1
        assert most_lost(costs, radius, constant).item() == 1
        assert most_value_lost(costs, torch.ones_like(costs), radius, constant).item() >= 1
        assert max(pixel_radii(costs, constant).item(), least_radius(costs, 1, constant).item()) <= radius
