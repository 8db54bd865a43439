"""The least intersection over union of a data set against brute force."""

import itertools
import math

import numpy as np
import pytest
import torch
from segmentation_cases import Linear, integers, normal, orthogonal, shortest_to_segmentation

from orthobench.segmentation import IoUChoices, iou_choices, joining_costs, least_iou, leaving_costs
from orthobench.segmentation.iou import _best, _prefix_sums


def all_choices(logits, labels, k, budget):
    """Numerator and denominator of each (m, n) that an attack on an image can afford, by plain loops."""
    leaving, joining, union = [], [], 0
    for z, label in zip(logits.flatten(1).T.tolist(), labels.flatten().tolist(), strict=True):
        if label == 255:
            continue
        first = max(range(len(z)), key=z.__getitem__)
        others = [z[j] for j in range(len(z)) if j != first]
        if label == k and first == k:
            leaving.append((z[first] - max(others)) ** 2 / 2)
        if label != k and first != k:
            joining.append((z[first] - z[k]) ** 2 / 2)
        union += k in (label, first)
    leaving, joining = ([0.0, *itertools.accumulate(sorted(each))] for each in (leaving, joining))
    pairs = [(m, n) for m in range(len(leaving)) for n in range(len(joining)) if leaving[m] + joining[n] <= budget]
    intersection = len(leaving) - 1
    return np.array([(intersection - m, union + n) for m, n in pairs])


def brute_force(images):
    numerators, denominators = images[0][:, 0], images[0][:, 1]
    for each in images[1:]:
        numerators = (numerators[:, None] + each[:, 0]).ravel()
        denominators = (denominators[:, None] + each[:, 1]).ravel()
    numerators, denominators = numerators[denominators > 0], denominators[denominators > 0]
    return (numerators / denominators).min() if len(numerators) else math.nan


def test_dinkelbach_finds_what_brute_force_finds():
    """300 data sets of three images; in one, no pixel has the class or, half of the time, is given it."""
    of_each_image = 0
    for seed in range(300):
        classes = 2 + seed % 3
        logits = normal(3, classes, 2, 3, seed=seed)
        labels = torch.where(
            integers(3, 3, 2, 3, seed=seed) > 0, logits.argmax(1), integers(classes, 3, 2, 3, seed=seed)
        )
        labels[0][labels[0] == 1] = 0
        if seed % 2:
            logits[0, 1] -= 2
        labels[1, 0, 0] = 255
        radius = [0.0, 0.3, 0.8, 1.5, 3.0][seed % 5]
        exact = [all_choices(each, label, 1, radius**2) for each, label in zip(logits, labels, strict=True)]
        choices = iou_choices(logits, labels, 1, radius)
        found, expected = least_iou(choices), brute_force(exact)
        assert found == pytest.approx(expected, abs=1e-12, nan_ok=True)
        own = [each[np.argmin(each[:, 0] / np.maximum(each[:, 1], 1))] for each in exact]
        of_each_image += sum(n for n, _ in own) / max(1, sum(d for _, d in own)) > expected + 1e-12
        assert [each.most_left for each in choices] == [each[:, 0].max() - each[:, 0].min() for each in exact]
    assert of_each_image > 0  # the sum of each image's own least is no bound


def test_the_choices_of_one_image_may_not_be_its_own_least():
    some = IoUChoices(1, 100, np.array([0, 1]), np.array([1000, 0]), 1)
    other = IoUChoices(100, 100, np.array([0]), np.array([0]), 0)
    assert least_iou([some, other]) == 101 / 1200
    assert least_iou([some]) == 0


def test_an_image_without_the_class_enlarges_the_union():
    with_class = IoUChoices(10, 10, np.array([0]), np.array([0]), 0)
    without = IoUChoices(0, 0, np.array([0]), np.array([30]), 0)
    assert least_iou([with_class, without]) == 10 / 40


def test_a_class_that_nobody_has_is_not_a_number_until_it_can_be_given():
    none = IoUChoices(0, 0, np.array([0]), np.array([0]), 0)
    some = IoUChoices(0, 0, np.array([0]), np.array([3]), 0)
    assert math.isnan(least_iou([none, none]))
    assert least_iou([none, some]) == 0
    with pytest.raises(ValueError, match="at least one image, got none"):
        least_iou([])


@pytest.mark.parametrize("seed", range(8))
def test_no_attack_on_a_linear_map_goes_below_and_one_on_an_orthogonal_map_of_two_classes_gets_there(seed):
    """Each segmentation that can be reached within the radius, by a quadratic programme for each."""
    classes, pixels = 2 + seed % 2, 4
    tight = classes == 2
    matrix = orthogonal(8, seed) if tight else normal(12, 5, seed=seed)
    logits = Linear(matrix, classes)(normal(1, 1, 1, matrix.shape[1], seed=seed + 9)).detach()
    labels = integers(classes, 1, 1, pixels, seed=seed)
    constant = torch.linalg.matrix_norm(matrix, 2).item()
    segmentations = list(itertools.product(range(classes), repeat=pixels))
    norms = [shortest_to_segmentation(matrix, logits, classes, each) for each in segmentations]
    for radius in (0.3, 1.0, 2.0):
        reached = [each for each, norm in zip(segmentations, norms, strict=True) if norm <= radius / constant]
        for k in range(classes):
            pairs = [
                [(k == label, k == each) for label, each in zip(labels.flatten(), one, strict=True)] for one in reached
            ]
            ratios = [sum(map(all, one)) / sum(map(any, one)) for one in pairs if sum(map(any, one))]
            bound = least_iou(iou_choices(logits, labels, k, radius / constant, constant))
            if ratios:
                assert bound <= min(ratios) + 1e-9
                assert not tight or bound == pytest.approx(min(ratios))


def test_what_is_left_out_is_never_best():
    rng = np.random.default_rng(0)
    for _ in range(50):
        left = np.arange(200)
        joined = np.sort(rng.integers(0, 400, 200))[::-1]
        kept = _best(left, joined)
        assert len(kept[0]) < len(left)
        for quotient in (0, 1e-3, 0.1, 0.5, 0.9, 1):
            assert (kept[0] + quotient * kept[1]).max() == (left + quotient * joined).max()


def test_sums_beyond_the_budget_are_left_out_and_none_below_it():
    rng = np.random.default_rng(0)
    costs = rng.exponential(size=20_000)
    exact = np.concatenate([[0], np.cumsum(np.sort(costs))])
    for budget in (0.0, 0.1, 30.0, 1e3, 1e9):
        sums = _prefix_sums(costs, budget)
        np.testing.assert_allclose(sums, exact[: len(sums)], rtol=1e-12)
        assert len(sums) == len(exact) or exact[len(sums)] > budget
    assert len(_prefix_sums(costs, 30.0)) < 8192


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_of_a_large_image_too_every_number_that_joins_is_the_most_that_can(dtype):
    """Where only the cheapest of many pixels are looked at."""
    logits = normal(1, 3, 150, 160).to(dtype)
    labels = integers(3, 1, 150, 160)
    labels[0, :10] = 255
    for k in range(3):
        leaving = leaving_costs(logits, labels, rounding=0)[(labels == k) & (logits.argmax(1) == k)].sort().values
        others = (labels != k) & (labels != 255) & (logits.argmax(1) != k)
        joining = joining_costs(logits, k, rounding=0)[others].sort().values
        for radius in (0.0, 0.02, 1.0, 20.0, 60.0, 1e3, 1e80):
            (choices,) = iou_choices(logits, labels, k, radius, rounding=0)
            assert choices.most_left == (leaving.cumsum(0) <= radius**2).sum()
            spent = torch.cat([torch.zeros(1), leaving.cumsum(0)])[choices.left]
            joined = torch.searchsorted(joining.cumsum(0), radius**2 - spent, right=True)
            assert joined.tolist() == choices.joined.tolist()
            every = torch.cat([torch.zeros(1), leaving.cumsum(0)])[: choices.most_left + 1]
            every = torch.searchsorted(joining.cumsum(0), radius**2 - every, right=True)
            for quotient in (0.01, 0.3, 1.0):
                best = (torch.arange(len(every)).double() + quotient * every.double()).max().item()
                assert (choices.left + quotient * choices.joined).max() == pytest.approx(best, rel=1e-12)


@pytest.mark.parametrize("target", [-1, 3, True])
def test_a_class_that_is_none_is_named(target):
    with pytest.raises(ValueError, match=rf"target must be a class in 0..2, got {target}"):
        iou_choices(torch.zeros(1, 3, 1, 1), torch.zeros(1, 1, 1, dtype=torch.int64), target, 0.1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_what_rounding_may_account_for_joins_and_leaves_for_nothing(dtype):
    logits = torch.tensor([[[[8.0, 8.0, 0.0]], [[7.999, 0.0, 8.0]]]], dtype=dtype)
    (choices,) = iou_choices(logits, torch.tensor([[[0, 0, 1]]]), 0, 0.0)
    assert least_iou([choices]) == (1.0 if dtype == torch.float32 else 0.5)


def test_behind_a_head_the_costs_are_those_of_its_features():
    weight, features = normal(3, 6), normal(1, 6, 2, 2, seed=1)
    logits = torch.einsum("kf,bfhw->bkhw", weight, features)
    labels = logits.argmax(1)
    for k in range(3):
        exact = least_iou(iou_choices(logits, labels, k, 0.5, head_weight=weight))
        joint = least_iou(iou_choices(logits, labels, k, 0.5, torch.linalg.matrix_norm(weight, 2).item()))
        assert not exact < joint - 1e-12
