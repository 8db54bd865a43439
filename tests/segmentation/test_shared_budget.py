"""How many pixels can be lost together: attained exactly, never exceeded, and what it depends on."""

import itertools
import math

import pytest
import torch
from segmentation_cases import Linear, integers, normal, orthogonal, shortest_to_leave
from torch import nn
from torch.nn.utils import parametrizations

from orthobench.lipschitz.layers import MaxMin
from orthobench.segmentation import least_radius, leaving_costs, most_lost, most_value_lost, pixel_radii

# --- oracles ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_an_orthogonal_map_attains_the_budget_for_every_number_of_pixels(seed):
    classes, pixels = 2 + seed % 3, 12
    matrix = orthogonal(classes * pixels, seed)
    model, image = Linear(matrix, classes), normal(1, 1, 1, classes * pixels, seed=seed + 50)
    logits = model(image).detach()
    costs = leaving_costs(logits)
    order = costs.flatten().argsort()
    top = logits[0, :, 0].topk(2, dim=0)
    for count in range(1, pixels + 1):
        change = torch.zeros(classes, pixels, dtype=torch.float64)
        for w in order[:count].tolist():
            half = (top.values[0, w] - top.values[1, w]) / 2 * (1 + 1e-9)
            change[top.indices[0, w], w] -= half
            change[top.indices[1, w], w] += half
        delta = (matrix.mT @ change.flatten()).view_as(image)
        changed = model(image + delta).argmax(1) != logits.argmax(1)
        assert changed.sum() == count
        radius = costs.flatten()[order[:count]].sum().sqrt().item()
        assert delta.norm().item() == pytest.approx(radius, rel=1e-8)
        assert most_lost(costs, [radius * (1 - 1e-9), radius * (1 + 1e-9)]).tolist() == [[count - 1, count]]
        assert least_radius(costs, count / pixels).item() == pytest.approx(radius, rel=1e-12)


@pytest.mark.parametrize("seed", range(12))
def test_no_linear_map_loses_pixels_below_the_radius(seed):
    """Of all ways in which j pixels can leave, the shortest is a quadratic programme for each."""
    classes, pixels = 2 + seed % 2, 4
    matrix = normal(classes * pixels, 5, seed=seed)
    logits = Linear(matrix, classes)(normal(1, 1, 1, 5, seed=seed + 70)).detach()
    constant = torch.linalg.matrix_norm(matrix, 2).item()
    costs = leaving_costs(logits)
    radii = pixel_radii(costs, constant).flatten()
    found = shortest_to_leave(matrix, logits, classes)
    for count in range(1, pixels + 1):
        exact = min((norm for pixels_, norm in found.items() if len(pixels_) >= count), default=math.inf)
        radius = least_radius(costs, count / pixels, constant).item()
        assert radius <= exact * (1 + 1e-9)
        assert most_lost(costs, exact * (1 + 1e-6), constant).item() >= count or exact == math.inf
    for w in range(pixels):
        exact = min(norm for pixels_, norm in found.items() if w in pixels_)
        assert radii[w] <= exact * (1 + 1e-9)


def small_network(seed, classes, pixels):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sizes = ((2, 8), (8, 16), (16, classes * pixels))
        layers = [parametrizations.orthogonal(nn.Linear(n, m)).double() for n, m in sizes]
    return nn.Sequential(layers[0], MaxMin(), layers[1], MaxMin(), layers[2]).eval()


@pytest.mark.parametrize("seed", range(6))
def test_on_a_grid_of_the_whole_disc_no_network_loses_more(seed):
    classes, pixels = 2 + seed % 2, 6
    model, image = small_network(seed, classes, pixels), normal(2, seed=seed)
    turns = torch.linspace(0, 2 * math.pi, 721, dtype=torch.float64)
    with torch.no_grad():
        logits = model(image[None]).view(1, classes, 1, pixels)
        costs = leaving_costs(logits)
        reached = 0
        for radius in (0.05, 0.2, 0.5, 1.0, 2.0):
            rings = radius * torch.linspace(0, 1, 21, dtype=torch.float64)[1:, None, None]
            points = image + (rings * torch.stack([turns.cos(), turns.sin()], 1)).view(-1, 2)
            changed = model(points).view(-1, classes, pixels).argmax(1) != logits[0, :, 0].argmax(0)
            assert changed.sum(1).max() <= most_lost(costs, radius).item()
            assert not changed[:, pixel_radii(costs)[0, 0] > radius].any()
            reached += int(changed.any())
    assert reached >= 2


def best_value(costs, values, budget):
    """The most value of pixels whose costs fit, of all sets of them."""
    best = 0.0
    for chosen in itertools.product((False, True), repeat=len(costs)):
        if sum(c for c, take in zip(costs, chosen, strict=True) if take) <= budget:
            best = max(best, sum(v for v, take in zip(values, chosen, strict=True) if take))
    return best


@pytest.mark.parametrize("seed", range(20))
def test_the_value_lost_bounds_every_set_of_pixels_that_fits_by_less_than_one_of_them(seed):
    costs = normal(1, 1, 8, seed=seed).square()
    costs[0, 0, 0] = 0
    values = normal(1, 1, 8, seed=seed + 30).abs()
    values[0, 0, 1] = 0
    for radius in (0.0, 0.5, 1.0, 2.0):
        best = best_value(costs.flatten().tolist(), values.flatten().tolist(), radius**2)
        bound = most_value_lost(costs, values, radius).item()
        assert best * (1 - 1e-12) <= bound < best + values.max().item() + 1e-12
    ones = torch.ones_like(costs)
    assert (most_value_lost(costs, ones, [0, 1, 9]).floor() >= most_lost(costs, [0, 1, 9])).all()
    assert (most_value_lost(costs, ones, [0, 1, 9]).floor() == most_lost(costs, [0, 1, 9])).float().mean() > 0.6


# --- what they depend on ---------------------------------------------------------------------------------------------

RADII = [0, 0.1, 0.3, 1, 3, 10]


def case(seed=0, batch=3):
    logits, labels = normal(batch, 4, 5, 6, seed=seed), integers(4, batch, 5, 6, seed=seed)
    labels[:, ::2] = logits.argmax(1)[:, ::2]
    labels[:, :, -1] = 255
    return logits, labels


@pytest.mark.parametrize("seed", range(5))
def test_more_are_lost_within_more_and_never_more_than_pixel_by_pixel(seed):
    logits, labels = case(seed)
    costs = leaving_costs(logits, labels)
    lost = most_lost(costs, RADII)
    assert (lost.diff(dim=1) >= 0).all()
    assert (most_lost(costs, RADII, 2.0) >= lost).all()
    assert torch.equal(most_lost(costs, RADII, 2.0), most_lost(costs, [2 * r for r in RADII]))
    pixels = (labels != 255).flatten(1).sum(1)
    for index, radius in enumerate(RADII):
        held = (pixel_radii(costs) > radius).flatten(1).sum(1)
        assert (pixels - lost[:, index] >= held).all()
        assert torch.equal(most_lost(costs, radius), lost[:, index])
    wrong = ((logits.argmax(1) != labels) & (labels != 255)).flatten(1).sum(1)
    assert torch.equal(lost[:, 0], wrong)
    assert (lost <= pixels[:, None]).all()
    values = torch.rand(labels.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert (most_value_lost(costs, values, RADII).diff(dim=1) >= 0).all()
    unheld = [(values * (pixel_radii(costs) <= radius)).flatten(1).sum(1) for radius in RADII]
    assert (most_value_lost(costs, values, RADII) <= torch.stack(unheld, 1) + 1e-9).all()


def test_the_place_of_pixels_and_what_is_ignored_change_nothing():
    logits, labels = case()
    order = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    moved = logits.flatten(2)[..., order].view_as(logits), labels.flatten(1)[:, order].view_as(labels)
    other = torch.where((labels == 255)[:, None], normal(3, 4, 5, 6, seed=9), logits)
    cut = logits[..., :-1], labels[..., :-1]
    expected = leaving_costs(logits, labels)
    for logits_, labels_ in (moved, (other, labels), cut):
        costs = leaving_costs(logits_, labels_)
        assert torch.equal(most_lost(costs, RADII), most_lost(expected, RADII))
        torch.testing.assert_close(least_radius(costs, [0.3, 1.0]), least_radius(expected, [0.3, 1.0]))
        ones = torch.ones_like(costs)
        torch.testing.assert_close(
            most_value_lost(costs, ones, RADII), most_value_lost(expected, torch.ones_like(expected), RADII)
        )


def test_the_least_radius_is_where_the_share_is_reached():
    costs = leaving_costs(*case(2))
    pixels = (~costs.isnan()).flatten(1).sum(1)
    for share in (0.01, 0.1, 0.5, 0.9, 1.0):
        radii = least_radius(costs, share, 0.5)
        for image, radius in enumerate(radii.tolist()):
            wanted = math.ceil(share * pixels[image].item() - 1e-9)
            one = costs[image : image + 1]
            assert most_lost(one, radius * (1 + 1e-9), 0.5).item() >= wanted
            assert radius == 0 or most_lost(one, radius * (1 - 1e-9), 0.5).item() < wanted
    # 0.07 of 100 pixels are 7, though 0.07 * 100 is more.
    hundred = torch.arange(100, dtype=torch.float64).view(1, 10, 10)
    assert least_radius(hundred, 0.07).item() == pytest.approx(math.sqrt(sum(range(7))))


def test_infinite_costs_are_never_paid():
    costs = torch.tensor([[[1.0, math.inf, math.nan]]], dtype=torch.float64)
    assert most_lost(costs, [0.5, 1e150]).tolist() == [[0, 1]]
    assert least_radius(costs, [0.5, 1.0]).tolist() == [[pytest.approx(1), math.inf]]
    assert most_value_lost(costs, torch.ones_like(costs), 1e150).item() == pytest.approx(1)


def test_sums_are_not_rounded_down():
    """A million equal costs: what their sum loses in float64 is granted to the attack."""
    costs = torch.full((1, 1000, 1000), 0.1, dtype=torch.float64)
    assert most_lost(costs, math.sqrt(100_000)).item() == 1_000_000


def test_false_negatives_are_the_lost_pixels_of_a_class():
    logits, labels = case(3)
    costs = leaving_costs(logits, labels)
    of_class = costs.masked_fill(labels != 2, math.nan)
    assert torch.equal(most_lost(of_class, 0.0), ((labels == 2) & (logits.argmax(1) != 2)).flatten(1).sum(1))
    assert torch.equal(most_lost(of_class, 1e3), (labels == 2).flatten(1).sum(1))


COSTS = torch.ones(2, 2, 2, dtype=torch.float64)


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (lambda: most_lost(COSTS, -0.1), ValueError, "radius must be a finite number >= 0, got -0.1"),
        (lambda: most_lost(COSTS, [0.1, math.nan]), ValueError, "radius must be a finite number >= 0, got nan"),
        (lambda: most_lost(COSTS, 1.0, 0), ValueError, "lipschitz_constant must be a finite number > 0, got 0"),
        (lambda: most_lost(COSTS, 1.0, -2.0), ValueError, "lipschitz_constant .* got -2.0"),
        (lambda: most_lost(COSTS, 1e200), ValueError, "too large to square"),
        (lambda: most_lost(COSTS.float(), 1.0), TypeError, "costs must be a float64 tensor.*torch.float32"),
        (lambda: most_lost(COSTS - 2, 1.0), ValueError, "costs must be at least 0, got -1.0"),
        (lambda: most_lost(COSTS[:0], 1.0), ValueError, r"got \(0, 2, 2\)"),
        (lambda: pixel_radii(COSTS, 0.0), ValueError, "lipschitz_constant .* got 0.0"),
        (lambda: least_radius(COSTS, 0.0), ValueError, r"share must be in \(0, 1\], got 0.0"),
        (lambda: least_radius(COSTS, 10), ValueError, "got 10; 0.01 is 1 %"),
        (lambda: least_radius(COSTS * math.nan, 0.1), ValueError, "image 0 are all NaN: it has no labelled pixel"),
        (lambda: most_value_lost(COSTS, -COSTS, 1.0), ValueError, "values must be finite, at least 0"),
        (lambda: most_value_lost(COSTS, COSTS[:1], 1.0), ValueError, "of the shape of the costs"),
    ],
)
def test_arguments_that_are_not_allowed_are_named_with_the_remedy(call, error, told):
    with pytest.raises(error, match=told):
        call()
