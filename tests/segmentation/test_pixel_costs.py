"""The least change of a pixel's logits against optimisation, closed forms, and arguments that can't be meant."""

import math

import pytest
import torch
from segmentation_cases import integers, least_norm, normal

from orthobench.lipschitz import certified_radius
from orthobench.segmentation import joining_costs, leaving_costs, pixel_radii


def of_one(logits):
    return torch.as_tensor(logits, dtype=torch.float64).view(1, -1, 1, 1)


def shortest_to_class(z, k):
    """The norm of the shortest change of logits z that makes k one of the largest."""
    eye = torch.eye(len(z))
    others = [j for j in range(len(z)) if j != k]
    return least_norm([eye[k] - eye[j] for j in others], [z[j] - z[k] for j in others])


def test_the_cost_of_leaving_is_that_of_the_nearest_other_class():
    for seed in range(40):
        z = normal(4, seed=seed)
        first = int(z.argmax())
        shortest = min(
            least_norm([torch.eye(4)[k] - torch.eye(4)[first]], [z[first] - z[k]]) for k in range(4) if k != first
        )
        assert leaving_costs(of_one(z)).item() == pytest.approx(shortest**2, rel=1e-9)


def test_the_cost_of_joining_is_no_more_than_the_exact_one_and_equal_for_two_classes():
    below = 0
    for seed in range(40):
        z = normal(2 + seed % 3, seed=seed)
        for k in range(len(z)):
            exact, bound = shortest_to_class(z, k) ** 2, joining_costs(of_one(z), k).item()
            assert bound <= exact * (1 + 1e-9) + 1e-12
            if len(z) == 2:
                assert bound == pytest.approx(exact, rel=1e-9, abs=1e-15)
            below += bound < 0.99 * exact
    assert below > 5


def test_radii_are_those_of_a_classifier_of_each_pixel():
    logits, labels = normal(2, 5, 3, 4), integers(5, 2, 3, 4)
    flat = logits.movedim(1, -1).reshape(-1, 5)
    expected = certified_radius(flat, labels.flatten(), 3.0).view(2, 3, 4)
    torch.testing.assert_close(pixel_radii(leaving_costs(logits, labels), 3.0), expected, rtol=1e-12, atol=0)
    weight = normal(5, 7, seed=2)
    expected = certified_radius(flat, labels.flatten(), 3.0, "head", weight).view(2, 3, 4)
    for head in (weight, weight[:, :, None, None]):
        costs = leaving_costs(logits, labels, head_weight=head)
        torch.testing.assert_close(pixel_radii(costs, 3.0), expected, rtol=1e-12, atol=0)


def test_behind_a_head_costs_are_exact_in_the_features():
    for seed in range(20):
        weight, features = normal(3, 5, seed=seed), normal(5, seed=seed + 100)
        z = weight @ features
        first = int(z.argmax())
        others = [k for k in range(3) if k != first]
        shortest = min(least_norm([weight[k] - weight[first]], [z[first] - z[k]]) for k in others)
        assert leaving_costs(of_one(z), head_weight=weight).item() == pytest.approx(shortest**2, rel=1e-9)
        for k in others:
            rest = [j for j in range(3) if j != k]
            exact = least_norm([weight[k] - weight[j] for j in rest], [z[j] - z[k] for j in rest])
            bound = joining_costs(of_one(z), k, head_weight=weight).item()
            assert bound <= exact**2 * (1 + 1e-9)
            assert bound >= ((z[first] - z[k]) / (weight[first] - weight[k]).norm()).item() ** 2 * (1 - 1e-12)


def test_equal_rows_of_a_head_never_part_and_equal_logits_are_no_certificate():
    weight = torch.ones(2, 3)
    assert leaving_costs(of_one([1.0, 0.0]), head_weight=weight).item() == math.inf
    assert leaving_costs(of_one([1.0, 1.0]), head_weight=weight).item() == 0


def test_a_tie_or_another_class_costs_nothing_and_an_ignored_pixel_is_none():
    logits = torch.tensor([[[[1.0, 1.0, 3.0, 3.0]], [[1.0, 2.0, 1.0, 1.0]]]], dtype=torch.float64)
    costs = leaving_costs(logits, torch.tensor([[[1, 0, 0, 255]]]))
    assert costs[0, 0, :3].tolist() == [0, 0, 2]
    assert costs[0, 0, 3].isnan()
    assert leaving_costs(logits, torch.tensor([[[1, 0, 0, 0]]]), ignore_index=None)[0, 0, 3] == 2
    assert leaving_costs(logits)[0, 0].tolist() == [0, 0.5, 2, 2]


@pytest.mark.parametrize(("dtype", "units"), [(torch.float32, 64), (torch.float16, 8), (torch.bfloat16, 8)])
def test_what_rounding_may_account_for_costs_nothing(dtype, units):
    """Four times the allowance, from the largest logit of the image, is taken from each margin."""
    allowance = units * torch.finfo(dtype).eps * 32
    logits = torch.zeros(1, 2, 1, 3, dtype=dtype)
    logits[0, 1, 0] = torch.tensor([-32.0, 4 * allowance, 8 * allowance])
    costs = leaving_costs(logits)[0, 0]
    assert costs[1] == 0
    assert costs[2].item() == pytest.approx((4 * allowance) ** 2 / 2)
    assert leaving_costs(logits, rounding=0)[0, 0, 1].item() == pytest.approx((4 * allowance) ** 2 / 2)
    assert joining_costs(logits, 0)[0, 0].tolist() == [0, 0, costs[2].item()]
    each = leaving_costs(logits.expand(2, -1, -1, -1), rounding=torch.tensor([0.0, 100.0]))
    assert each[0, 0, 1] > 0
    assert not each[1].any()


def test_costs_are_the_same_in_a_batch_and_alone_and_don_t_touch_their_arguments():
    logits, labels = normal(3, 4, 5, 6).float(), integers(4, 3, 5, 6)
    before = logits.clone(), labels.clone()
    together = leaving_costs(logits, labels)
    alone = torch.cat([leaving_costs(logits[i : i + 1], labels[i : i + 1]) for i in range(3)])
    assert torch.equal(together, alone)
    assert torch.equal(logits, before[0])
    assert torch.equal(labels, before[1])
    assert not leaving_costs(logits.requires_grad_()).requires_grad


LOGITS = torch.zeros(2, 3, 2, 2)
LABELS = torch.zeros(2, 2, 2, dtype=torch.int64)


@pytest.mark.parametrize(
    ("logits", "labels", "options", "error", "told"),
    [
        ([[1.0]], None, {}, TypeError, "torch.Tensor, got list"),
        (LOGITS.long(), None, {}, TypeError, r"torch.int64; convert them by .double"),
        (LOGITS[0], None, {}, ValueError, r"\(B, K, H, W\).*\(3, 2, 2\)"),
        (LOGITS[:0], None, {}, ValueError, r"B, H, W >= 1 .*\(0, 3, 2, 2\)"),
        (LOGITS[:, :1], None, {}, ValueError, "K >= 2.*two logits, 0 and the score"),
        (LOGITS + torch.tensor([0.0, math.nan]), None, {}, ValueError, "NaN or infinity in image 0"),
        (LOGITS - torch.tensor([0.0, math.inf]), None, {}, ValueError, "NaN or infinity in image 0"),
        (LOGITS, [[0]], {}, TypeError, "labels must be a torch.Tensor"),
        (LOGITS, LABELS.float(), {}, TypeError, r"torch.float32; convert them by .long"),
        (LOGITS, LABELS[:, :1], {}, ValueError, r"\(2, 2, 2\).*\(2, 1, 2\); resize"),
        (LOGITS, LABELS + 3, {}, ValueError, "0..2 for 3 logits, or 255 where ignored, got 3 to 3"),
        (LOGITS, LABELS - 1, {}, ValueError, "got -1 to -1; number the classes from 0"),
        (LOGITS, LABELS, {"ignore_index": 2}, ValueError, "ignore_index is 2, which is one of the 3 classes"),
        (LOGITS, LABELS, {"ignore_index": 2.5}, TypeError, "ignore_index must be an integer or None, got 2.5"),
        (torch.zeros(2, 300, 2, 2), LABELS, {}, ValueError, "255, which is one of the 300 classes.*such as -1"),
        (LOGITS, LABELS, {"rounding": -1}, ValueError, "at least 0, got -1; 0 claims exact logits"),
        (LOGITS, LABELS, {"rounding": torch.zeros(3)}, ValueError, r"shape \(2,\), got \(3,\)"),
        (LOGITS, LABELS, {"head_weight": torch.zeros(2, 4)}, ValueError, r"\(3, features\).*\(2, 4\)"),
        (LOGITS, LABELS, {"head_weight": torch.full((3, 4), math.nan)}, ValueError, "head_weight must be finite"),
        (LOGITS, LABELS, {"head_weight": 1.0}, TypeError, "head_weight must be a torch.Tensor, got float"),
    ],
)
def test_arguments_that_are_not_allowed_are_named_with_the_remedy(logits, labels, options, error, told):
    with pytest.raises(error, match=told):
        leaving_costs(logits, labels, **options)


def test_more_than_255_classes_take_another_label_for_what_is_ignored():
    logits = normal(1, 300, 1, 4)
    labels = logits.argmax(1)
    labels[0, 0, 0] = -1
    costs = leaving_costs(logits, labels, ignore_index=-1)
    assert costs[0, 0, 0].isnan()
    assert (costs[0, 0, 1:] > 0).all()


@pytest.mark.parametrize("target", [-1, 3, True, 1.0])
def test_a_class_that_is_none_is_named(target):
    with pytest.raises(ValueError, match=rf"target must be a class in 0..2, got {target}"):
        joining_costs(LOGITS, target)


@pytest.mark.parametrize("labels", [LABELS.to(torch.uint8), LABELS.to(torch.int16)])
def test_labels_are_of_any_integer_type(labels):
    logits = normal(2, 3, 2, 2)
    assert torch.equal(leaving_costs(logits, labels), leaving_costs(logits, LABELS))
