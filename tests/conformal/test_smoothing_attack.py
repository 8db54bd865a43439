"""What an attack lowers: its sign says whether the class is in the set, and its gradient shows the way out."""

import pytest
import torch
from smoothing_toys import METHODS, Linear, examples, seeded, worst_inputs
from torch import nn

from orthobench.conformal import LAC
from orthobench.conformal.smoothing import BinCP, RankTransform


def calibrated(method, radius=0.05, alpha=0.3, samples=256, **options):
    x, y = examples(80, seeded())
    return METHODS[method](alpha, radius, sigma=0.5, samples=samples, **options).calibrate(
        Linear(), x, y, generator=seeded(1)
    )


@pytest.mark.parametrize("method", METHODS)
def test_the_true_classs_score_is_at_least_zero_exactly_where_the_class_is_in_the_set(method):
    predictor = calibrated(method)
    x, y = examples(300, seeded(2))
    x = worst_inputs(x, y, 1.2)
    sets = predictor.predict_sets(x, generator=seeded(3))
    score = predictor.true_class_score(x, y, generator=seeded(3))
    inside = sets.gather(1, y[:, None]).squeeze(1)
    assert 0 < inside.sum() < 300
    assert torch.equal(score >= 0, inside)
    assert torch.equal(predictor.prediction_scores(x, generator=seeded(3)) >= predictor.threshold, sets)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("distance", [0.0, 2.0])
def test_the_gradient_points_to_where_the_score_is_less(method, distance):
    """For linear logits each score falls fastest along -w_y, near the threshold and far from it."""
    predictor = calibrated(method)
    x, y = examples(50, seeded(2))
    x = worst_inputs(x, y, -distance).requires_grad_()
    (gradient,) = torch.autograd.grad(predictor.true_class_score(x, y, generator=seeded(3)).sum(), x)
    away = worst_inputs(x.detach(), y, 1.0) - x.detach()
    cosines = nn.functional.cosine_similarity(-gradient, away)
    torch.testing.assert_close(cosines, torch.ones(50, dtype=torch.float64), atol=1e-6, rtol=0)


@pytest.mark.parametrize("method", ["RSCP", "RCP1", "aPRCP"])
def test_gradients_are_finite_differences_where_scores_are_smooth(method):
    predictor, (x, y) = calibrated(method), examples(10, seeded(2))
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(predictor.true_class_score(x, y, generator=seeded(3)).sum(), x)
    for feature in range(4):
        step = 1e-5 * torch.eye(4, dtype=torch.float64)[feature]
        up, down = (predictor.true_class_score(x.detach() + sign * step, y, generator=seeded(3)) for sign in (1, -1))
        torch.testing.assert_close(gradient[:, feature], (up - down) / 2e-5, rtol=1e-4, atol=1e-8)


def test_no_gradient_is_left_in_the_model_or_needed_for_sets():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3)).double().train()
    x, y = examples(60, seeded())
    for make in METHODS.values():
        predictor = make(0.2, 0.1, sigma=0.5, samples=16).calibrate(model, x, y, generator=seeded())
        assert not predictor.predict_sets(x, generator=seeded()).requires_grad
        inputs = x.clone().requires_grad_()
        score = predictor.true_class_score(inputs, y, generator=seeded())
        again = predictor.true_class_score(inputs, y, generator=seeded())
        assert torch.equal(score, again)  # dropout is off
        assert torch.autograd.grad(score.sum(), inputs)[0].abs().sum() > 0
        assert all(parameter.grad is None for parameter in model.parameters())
        assert all(module.training for module in model.modules())


def test_bincps_score_is_the_least_of_those_that_are_needed_and_has_a_gradient_without_spread():
    predictor = calibrated("BinCP")
    model, (x, _) = Linear(), examples(5, seeded(2))
    predictor.model = model
    scores = predictor.prediction_scores(x, generator=seeded(3))
    noisy = model.take().unflatten(0, (5, 256)) @ model.weight.T + model.bias
    needed = predictor.needed_count(3)
    assert 0 < needed < 256
    assert torch.equal((noisy >= scores[:, None]).sum(1), torch.full((5, 3), needed))
    constant = BinCP(LAC("sigmoid"), 0.3, 0.0, sigma=1e-200, samples=48)
    constant.calibrate(Linear(), *examples(80, seeded()), generator=seeded(1))
    near = x.clone().requires_grad_()
    score = constant.true_class_score(near, torch.zeros(5, dtype=torch.int64), generator=seeded())
    (gradient,) = torch.autograd.grad(score.sum(), near)
    assert gradient.isfinite().all()
    assert (gradient.norm(dim=1) > 0).all()


def test_the_rank_transform_is_increasing_and_keeps_ranks_of_the_unbounded_score():
    hold_out = torch.randn(200, generator=seeded(), dtype=torch.float64)
    score = RankTransform(LAC("sigmoid"), 0.1, hold_out)
    logits = torch.randn(500, 3, generator=seeded(1), dtype=torch.float64).sort(dim=0).values
    values = score(logits)
    assert (values.diff(dim=0) >= 0).all()
    assert values.min() >= 0
    assert values.max() <= 1
    assert score.bounds(3) == (0.0, 1.0)
    at = torch.tensor([[hold_out.sort().values[20].item() + shift] * 2 for shift in (-1e-9, 1e-9)], dtype=torch.float64)
    below, above = score(at)[:, 0].tolist()
    assert below == pytest.approx(0.5)  # a share of exactly alpha is less
    assert above == pytest.approx(1 / (1 + torch.tensor(-400 / 200).exp().item()))
    with pytest.raises(ValueError, match="not continuous"):
        score.lipschitz()


def test_an_attack_on_the_sets_bites():
    """Steps along the gradient, with noise of their own, put classes out of sets made for radius 0."""
    x, y = examples(100, seeded(2))
    for method in METHODS:
        predictor = calibrated(method, radius=0.0)
        attacked = x.clone()
        for step in range(5):
            attacked.requires_grad_()
            score = predictor.true_class_score(attacked, y, generator=seeded(10 + step))
            (gradient,) = torch.autograd.grad(score.sum(), attacked)
            attacked = (attacked - 0.3 * gradient / gradient.norm(dim=1, keepdim=True)).detach()
        clean, after = (
            predictor.predict_sets(each, generator=seeded(4)).gather(1, y[:, None]).double().mean()
            for each in (x, attacked)
        )
        assert after < clean - 0.2, method
