"""OCSDF: samples and loss where the signed distance is known, and what training with them converges to."""

import math

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from orthobench.lipschitz.one_class import OneClassLoss, newton_raphson, one_class_loss, sample_complement

CENTRE = torch.tensor([0.2, -0.1, 0.3], dtype=torch.float64)
BOX = (-1.0, 1.0)


def ball(points, radius=0.4, scale=1.0):
    """Signed distance to a sphere, positive inside, times a scale."""
    return scale * (radius - (points - CENTRE).norm(dim=1))


def half_space(points):
    """Signed distance to the plane 0.6 x + 0.8 y = 0.5, positive beyond it."""
    return points @ torch.tensor([0.6, 0.8, 0.0], dtype=torch.float64) - 0.5


def uniform(count=200, features=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(count, features, generator=generator, dtype=torch.float64) - 1


@pytest.mark.parametrize("scale", [1.0, 0.1, 7.0])
def test_one_newton_step_of_a_distance_reaches_the_sphere_from_outside_by_the_shortest_way(scale):
    points = uniform()
    moved = newton_raphson(lambda x: ball(x, scale=scale), points, BOX, steps=1)
    outside = ball(points) < 0
    assert 20 < outside.sum() < 200
    nearest = CENTRE + 0.4 * (points - CENTRE) / (points - CENTRE).norm(dim=1, keepdim=True)
    torch.testing.assert_close(moved[outside], nearest[outside])
    assert torch.equal(moved[~outside], points[~outside])


def test_from_both_sides_all_points_reach_the_level():
    points = uniform()
    for level in (0.0, 0.25, -0.1):
        moved = newton_raphson(ball, points, BOX, steps=1, level=level, both_sides=True)
        torch.testing.assert_close(ball(moved), torch.full((200,), level, dtype=torch.float64))
        torch.testing.assert_close((moved - points).norm(dim=1), (ball(points) - level).abs())


def test_the_plane_is_reached_except_where_the_box_ends_before_it():
    points = uniform()
    moved = newton_raphson(half_space, points, (-0.45, 0.7), steps=20)
    clipped = points.clamp(-0.45, 0.7)
    way = half_space(clipped).clamp(max=0).neg().unsqueeze(1) * torch.tensor([0.6, 0.8, 0.0], dtype=torch.float64)
    straight = ((clipped + way) <= 0.7).all(1)
    assert straight.sum() > 50
    torch.testing.assert_close(moved[straight], (clipped + way)[straight])
    # The others slide along the face of the box towards the plane, and stay in the box.
    assert (~straight).any()
    assert moved.min() >= -0.45
    assert moved.max() <= 0.7
    assert half_space(moved).min() > -1e-3


def test_of_a_level_that_is_beyond_the_box_points_end_on_its_corner():
    def far(points):
        return points.sum(1) - 100

    moved = newton_raphson(far, uniform(), (torch.tensor([-1.0, -1.0, 0.0]), torch.tensor([0.5, 1.0, 2.0])), steps=5)
    assert torch.equal(moved, torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64).expand(200, 3))


@pytest.mark.parametrize("steps", [0, 1, 4, 16])
def test_each_step_covers_its_share_of_what_remains(steps):
    points = uniform()
    rates = torch.linspace(0, 1, 200, dtype=torch.float64)
    moved = newton_raphson(ball, points, BOX, steps=steps, rates=rates)
    before, after = ball(points), ball(moved)
    expected = torch.where(before < 0, before * (1 - rates) ** steps, before)
    torch.testing.assert_close(after, expected)


def test_a_point_without_gradient_stays():
    flat = newton_raphson(lambda x: x[:, 0].relu() - 1, torch.tensor([[-0.5, 0.1], [0.5, 0.1]]), BOX, steps=3)
    torch.testing.assert_close(flat, torch.tensor([[-0.5, 0.1], [1.0, 0.1]]))
    tiny = newton_raphson(lambda x: 1e-22 * x[:, 0] - 1, torch.tensor([[-0.5, 0.1]]), BOX, steps=1)
    torch.testing.assert_close(tiny, torch.tensor([[1.0, 0.1]]))  # its inverse square is infinite


def test_the_points_given_are_not_modified_and_images_keep_their_shape():
    points = uniform(6, 3 * 4 * 4).reshape(6, 3, 4, 4).float()
    before = points.clone()
    moved = newton_raphson(lambda x: 0.1 - x.flatten(1).norm(dim=1, keepdim=True), points, BOX, steps=1)
    assert torch.equal(points, before)
    assert moved.shape == points.shape
    assert moved.dtype == torch.float32
    torch.testing.assert_close(moved.flatten(1).norm(dim=1), torch.full((6,), 0.1))


def draw(score=ball, seed=0, count=4000, **options):
    generator = torch.Generator().manual_seed(seed)
    return sample_complement(score, count, (3,), BOX, generator=generator, dtype=torch.float64, **options)


def test_without_steps_samples_are_uniform_in_the_box():
    samples = draw(steps=0)
    assert samples.shape == (4000, 3)
    for feature in samples.T:
        quantiles = feature.quantile(torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0]).double())
        torch.testing.assert_close(quantiles, torch.tensor([-1, -0.5, 0, 0.5, 1]).double(), atol=0.06, rtol=0)


def test_samples_lie_between_their_starts_and_the_boundary_spread_over_the_way():
    starts, samples = draw(steps=0), draw(steps=16)
    outside = ball(starts) < 0
    left = (ball(samples) / ball(starts))[outside]
    assert left.max() <= 1 + 1e-12
    assert left.min() >= (1 - 1 / 16) ** 16 - 1e-12
    assert left.min() < 0.37
    # -log(left) / 16 is -log(1 - u/16) for a uniform u.
    shares = 16 * (1 - left ** (1 / 16))
    probabilities = torch.tensor([0.1, 0.5, 0.9]).double()
    torch.testing.assert_close(shares.quantile(probabilities), probabilities, atol=0.03, rtol=0)
    assert torch.equal(samples[~outside], starts[~outside])


def test_without_spread_all_samples_go_the_same_share_of_their_way():
    starts, samples = draw(steps=0), draw(steps=16, eta=10, spread=False)
    outside = ball(starts) < 0
    left = (ball(samples) / ball(starts))[outside]
    torch.testing.assert_close(left, torch.full_like(left, (1 - 10 / 16) ** 16), rtol=1e-6, atol=1e-12)


def test_samples_depend_on_the_generator_alone():
    torch.manual_seed(1)
    first = draw()
    state = torch.get_rng_state()
    assert torch.equal(first, draw())
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(first, draw(seed=1))
    torch.manual_seed(2)
    ours = sample_complement(lambda x: 1 - x.norm(dim=1), 5, (3,), BOX)
    torch.manual_seed(2)
    assert torch.equal(ours, sample_complement(lambda x: 1 - x.norm(dim=1), 5, (3,), BOX))
    assert ours.dtype == torch.get_default_dtype()


def test_the_loss_is_that_of_the_formula():
    inliers, outliers = (
        torch.tensor([0.5, 0.05, -0.2]).double(),
        torch.tensor([[-0.3], [0.04], [0.9], [-0.01]]).double(),
    )
    loss = OneClassLoss(margin=0.1, hinge_weight=8)
    on_inliers = sum(max(0, 0.1 - s) - s / 8 for s in inliers.tolist()) / 3
    on_outliers = sum(max(0, 0.1 + s) + s / 8 for s in outliers.flatten().tolist()) / 4
    assert loss(inliers, outliers).item() == pytest.approx(on_inliers + on_outliers, rel=1e-12)
    assert loss(inliers.half(), outliers.half()).dtype == torch.float32


def test_the_lipschitz_constant_of_the_loss_is_reached_below_the_margin_and_never_exceeded():
    loss = OneClassLoss(margin=0.1, hinge_weight=8)
    scores = torch.linspace(-1, 1, 201, dtype=torch.float64)
    for on_outliers in (False, True):
        x = scores.clone().requires_grad_()
        pair = (scores, x) if on_outliers else (x, scores)
        slopes = 201 * torch.autograd.grad(loss(*pair), x)[0].abs()
        assert slopes.max().item() == pytest.approx(loss.lipschitz_constant(), rel=1e-12)
    assert loss.lipschitz_constant() == 1.125


def test_one_inlier_changes_its_own_gradient_only():
    inliers, outliers = (uniform(30, 1, seed)[:, 0].requires_grad_() for seed in (0, 1))
    loss = OneClassLoss(margin=0.3)
    assert loss.separable
    before = torch.autograd.grad(loss(inliers, outliers), (inliers, outliers))
    moved = inliers.detach().clone()
    moved[3] = -moved[3].sign() * 0.9
    after = torch.autograd.grad(loss(moved.requires_grad_(), outliers), (moved, outliers))
    assert torch.equal(before[1], after[1])
    assert (before[0] != after[0]).nonzero().flatten().tolist() == [3]


class Sphere(nn.Module):
    """The distance to a sphere of learned radius: the least model that can be right."""

    def __init__(self, radius):
        super().__init__()
        self.radius = nn.Parameter(torch.tensor(radius, dtype=torch.float64))

    def forward(self, points):
        return ball(points, self.radius)


@pytest.mark.parametrize("start", [0.05, 0.9])
def test_training_on_samples_of_a_ball_finds_its_radius_up_to_the_margin(start):
    generator = torch.Generator().manual_seed(0)
    model, loss = Sphere(start), OneClassLoss(margin=0.03, hinge_weight=200)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 300)
    for _ in range(300):
        directions = torch.randn(256, 3, generator=generator, dtype=torch.float64)
        lengths = 0.4 * torch.rand(256, 1, generator=generator, dtype=torch.float64) ** (1 / 3)
        inliers = CENTRE + lengths * directions / directions.norm(dim=1, keepdim=True)
        step = one_class_loss(model, inliers, BOX, loss=loss, steps=4, generator=generator)
        optimizer.zero_grad()
        step.loss.backward()
        optimizer.step()
        schedule.step()
    assert 0.4 <= model.radius.item() <= 0.4 + 0.03 * 2
    # KR pulls in and out alike: in equilibrium the hinges do, too.
    samples = sample_complement(model, 20_000, (3,), BOX, steps=4, generator=generator, dtype=torch.float64)
    too_low = 1 - ((model.radius.item() - 0.03) / 0.4) ** 3  # share of the inliers
    assert too_low == pytest.approx((model(samples) > -0.03).double().mean().item(), abs=0.02)


def small_network():
    torch.manual_seed(0)
    return nn.Sequential(
        parametrizations.orthogonal(nn.Linear(3, 8)), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 1)
    )


def test_sampling_leaves_the_model_as_it_is_and_the_loss_has_a_graph_to_its_weights():
    model = small_network()
    model.train()
    model[1].eval()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    samples = sample_complement(model, 50, (3,), BOX, steps=3)
    assert not samples.requires_grad
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert [part.training for part in model] == [True, False, True, True, True]
    step = one_class_loss(model, torch.rand(20, 3), BOX, count=30, steps=2)
    assert step.samples.shape == (30, 3)
    assert step.inlier_scores.shape == (20,)
    assert step.outlier_scores.shape == (30,)
    assert not step.samples.requires_grad
    step.loss.backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())
    torch.testing.assert_close(step.loss, OneClassLoss()(step.inlier_scores, step.outlier_scores))


def test_samples_are_drawn_without_the_statistics_of_a_batch():
    """Each sample is where it would be alone, though the model has a batch normalisation in training mode."""
    model = small_network().train()
    starts = torch.rand(12, 3)
    together = newton_raphson(model, starts, BOX, steps=3)
    alone = torch.cat([newton_raphson(model, starts[i : i + 1], BOX, steps=3) for i in range(12)])
    torch.testing.assert_close(together, alone)


def test_samples_can_be_drawn_and_scores_taken_where_gradients_are_off():
    with torch.no_grad():
        step = one_class_loss(Sphere(0.4), CENTRE + 0.01 * uniform(8), BOX, eta=16.0, spread=False)
        assert not step.loss.requires_grad
    assert ball(step.samples).min() > -1e-9


def test_the_samples_are_what_the_scores_are_of():
    model = Sphere(0.4)
    inliers = uniform(8)
    step = one_class_loss(model, inliers, BOX, count=5, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(step.inlier_scores, model(inliers))
    torch.testing.assert_close(step.outlier_scores, model(step.samples))
    again = sample_complement(model, 5, (3,), BOX, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    assert torch.equal(step.samples, again)


WRONG = {
    "low above high": ({"box": (1.0, -1.0)}, "give .low, high., finite, with low < high"),
    "infinite box": ({"box": (-math.inf, 1.0)}, "finite"),
    "box of another shape": ({"box": (torch.zeros(4), 1.0)}, r"corners of shapes \(4,\) and \(\)"),
    "negative steps": ({"steps": -1}, "steps is -1"),
    "rates of another length": ({"rates": torch.ones(7)}, r"rates of shape \(7,\) for 200 points"),
    "flat points": ({"points": torch.rand(5)}, r"points are of shape \(5,\)"),
    "no points": ({"points": torch.rand(0, 3)}, r"points are of shape \(0, 3\)"),
    "score of a batch": ({"score": lambda x: x.sum()}, r"scores are of shape \(\): give \(200,\)"),
    "several scores": ({"score": lambda x: x}, r"scores are of shape \(200, 3\)"),
    "constant score": ({"score": lambda x: torch.zeros(len(x))}, "doesn't depend on the points"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_arguments_are_refused(wrong):
    change, message = WRONG[wrong]
    arguments = {"score": ball, "points": uniform(), "box": BOX, "steps": 2} | change
    with pytest.raises(ValueError, match=message):
        newton_raphson(**arguments)


def test_other_wrong_arguments_are_refused():
    for wrong, message in (
        ({"eta": 0}, "eta is 0: give a number > 0"),
        ({"count": 0}, "count is 0: give an integer >= 1"),
        ({"steps": 1.5}, "steps is 1.5: give an integer"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            draw(**wrong)
    with pytest.raises(TypeError, match=r"points are torch\.int64: give a floating-point tensor"):
        newton_raphson(ball, torch.zeros(3, 3, dtype=torch.int64), BOX, steps=1)
    with pytest.raises(TypeError, match="inlier scores are list: give"):
        OneClassLoss()([0.1], torch.rand(3))
    with pytest.raises(ValueError, match=r"outlier scores are of shape \(0,\)"):
        OneClassLoss()(torch.rand(3), torch.rand(0))
    with pytest.raises(ValueError, match="margin is -1"):
        OneClassLoss(margin=-1)
    with pytest.raises(ValueError, match="hinge_weight is 0"):
        OneClassLoss(hinge_weight=0)
