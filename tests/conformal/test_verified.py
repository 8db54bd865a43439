"""VRCP-I and VRCP-C: coverage at exact worst cases, sets that contain vanilla's, tighter bounds by margins."""

import itertools

import pytest
import torch
from conformal_cases import CLASSES, FEATURES, Linear, coverage_band, draw, lower_logit, lower_margin
from torch import nn

from orthobench.conformal import (
    APS,
    LAC,
    VRCPC,
    VRCPI,
    Claim,
    LipschitzConformal,
    Margin,
    MaxRatio,
    SplitConformal,
)
from orthobench.models import lipschitz_mlp

CALIBRATION, TESTS, TRIALS = 60, 40, 200
RADIUS = 0.3
WORST = {LAC("sigmoid"): lower_logit, Margin(): lower_margin}


def linear_network():
    model = nn.Sequential(nn.Linear(FEATURES, CLASSES, bias=False)).double()
    model[0].weight.data = Linear.weight.clone()
    return model


def relu_network():
    model = lipschitz_mlp(0, nn.Linear, nn.Linear, nn.ReLU, features=FEATURES, outputs=CLASSES, width=8, depth=2)
    return model.double()


@pytest.mark.parametrize(
    ("method", "score", "alpha"), [*itertools.product([VRCPI, VRCPC], WORST, (0.05, 0.1, 0.2))], ids=str
)
def test_sets_cover_as_claimed_at_the_exact_worst_case(method, score, alpha):
    """Of a linear network bounds are exact, and so is coverage at the worst case. A family of 12 tests at 2e-6."""
    generator, attacked = torch.Generator().manual_seed(0), []
    for _ in range(TRIALS):
        predictor = method(score, alpha, RADIUS, (FEATURES,)).calibrate(linear_network(), *draw(CALIBRATION, generator))
        x, y = draw(TESTS, generator)
        sets = predictor.predict_sets(WORST[score](x, y, RADIUS))
        attacked.append(sets[torch.arange(TESTS), y].double().mean().item())
    low, high = coverage_band(CALIBRATION, TESTS, TRIALS, alpha)
    assert low <= sum(attacked) / TRIALS <= high


SCORES = [LAC(), LAC(bounded=True), LAC("sigmoid"), LAC("sigmoid", bounded=True), Margin(), MaxRatio()]


@pytest.mark.parametrize("rows", ["margins", "logits"])
@pytest.mark.parametrize("score", SCORES, ids=str)
def test_bounds_of_scores_hold_at_every_point_that_was_tried(score, rows):
    model = relu_network()
    x, y = draw(20, torch.Generator().manual_seed(1))
    above = VRCPI(score, 0.1, 0.2, (FEATURES,), rows=rows).attach(model)
    below = VRCPC(score, 0.1, 0.2, (FEATURES,), rows=rows).attach(model)
    upper, lower = above.prediction_scores(x), below.calibration_scores(x, y)
    moves = torch.randn(500, *x.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    moves = 0.2 * moves / moves.norm(dim=2, keepdim=True)
    found = score(model((x + moves).flatten(0, 1)).detach()).view(500, 20, CLASSES)
    assert (found <= upper + 1e-9).all()
    assert (found[:, torch.arange(20), y] >= lower - 1e-9).all()


@pytest.mark.parametrize("method", [VRCPI, VRCPC])
@pytest.mark.parametrize("score", SCORES, ids=str)
def test_sets_grow_with_the_radius_from_the_vanilla_ones(method, score):
    model = relu_network()
    x, y = draw(60, torch.Generator().manual_seed(3))
    before = SplitConformal(score, 0.2).calibrate(model, x, y).predict_sets(x)
    for radius in (0.0, 0.05, 0.2, 1.0):
        sets = method(score, 0.2, radius, (FEATURES,)).calibrate(model, x, y).predict_sets(x)
        # At 0, up to the rounding of the bounds.
        assert radius == 0 or (sets >= before).all()
        assert radius or (sets == before).double().mean() > 0.98
        before = sets
    assert before.sum() > SplitConformal(score, 0.2).calibrate(model, x, y).predict_sets(x).sum()


@pytest.mark.parametrize("score", [LAC(), Margin(), MaxRatio()], ids=str)
def test_margins_are_at_least_as_tight_as_logits(score):
    model = relu_network()
    x, _ = draw(40, torch.Generator().manual_seed(4))
    margins, logits = (
        VRCPI(score, 0.1, 0.2, (FEATURES,), rows=rows).attach(model).prediction_scores(x)
        for rows in ("margins", "logits")
    )
    assert (margins <= logits + 1e-9).all()
    assert (margins < logits - 1e-3).any()


@pytest.mark.parametrize("rows", ["margins", "logits"])
@pytest.mark.parametrize("score", SCORES, ids=str)
@pytest.mark.parametrize("method", [VRCPI, VRCPC])
def test_the_true_class_score_is_that_of_the_set_and_differentiable(method, score, rows):
    x, y = draw(60, torch.Generator().manual_seed(5))
    predictor = method(score, 0.2, 0.1, (FEATURES,), rows=rows).calibrate(relu_network(), x, y)
    inputs = x.clone().requires_grad_()
    scores = predictor.true_class_score(inputs, y)
    expected = predictor.prediction_scores(x)[torch.arange(60), y] - predictor.threshold
    torch.testing.assert_close(scores.detach(), expected)
    (gradient,) = torch.autograd.grad(scores.sum(), inputs)
    assert gradient.isfinite().all()
    assert gradient.norm() > 0


AT_THE_RADIUS = {
    "lip-rcp": lambda score: LipschitzConformal(score, 0.1, RADIUS),
    "VRCP-I": lambda score: VRCPI(score, 0.1, RADIUS, (FEATURES,)),
    "VRCP-C": lambda score: VRCPC(score, 0.1, RADIUS, (FEATURES,)),
}


@pytest.mark.parametrize("offset", [0.0, 100.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("score", [*SCORES, MaxRatio(bounded=True)], ids=str)
@pytest.mark.parametrize("method", AT_THE_RADIUS)
def test_rounding_takes_no_tied_example_out_of_its_set_at_the_radius_itself(method, score, dtype, offset):
    """All calibration scores are one number, and an attack takes as much as it can: exactly, the class stays."""
    labels = torch.zeros(30, dtype=torch.int64)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.cat([torch.zeros(1, FEATURES), torch.randn(9, FEATURES, generator=generator)]).double()
    model = nn.Linear(FEATURES, CLASSES).double().requires_grad_(False)
    model.weight.copy_(0.99999998 * Linear.weight)
    model.bias.fill_(offset)
    model = nn.Sequential(model).to(dtype)
    for x in inputs.split(1):
        worst = (lower_logit if score.rises_with == "logit" else lower_margin)(x, labels[:1], RADIUS)
        predictor = AT_THE_RADIUS[method](score).calibrate(model, x.expand(30, -1).to(dtype), labels)
        assert predictor.predict_sets(worst.to(dtype))[0, 0]


def test_claims_and_cost():
    x, y = draw(60, torch.Generator().manual_seed(6))
    for method in (VRCPI, VRCPC):
        predictor = method(LAC(), 0.1, 0.2, (FEATURES,), norm="linf").calibrate(relu_network(), x, y)
        assert predictor.claim == Claim(0.1, 0.2, "linf", "worst_case")
        # Stages of 8, 8 and 3 units: 2 * 8 rows through two stages of three, 9 rows through all, and a pass.
        assert predictor.forward_passes_per_input == (pytest.approx(1 + 9 + 16 * 2 / 3) if method is VRCPI else 1)


def test_bad_arguments_are_an_error():
    with pytest.raises(ValueError, match="bounds of logits"):
        VRCPI(APS(), 0.1, 0.1, (FEATURES,))
    with pytest.raises(ValueError, match="rows"):
        VRCPI(LAC(), 0.1, 0.1, (FEATURES,), rows="pairs")
    with pytest.raises(ValueError, match="radius"):
        VRCPC(LAC(), 0.1, -0.1, (FEATURES,))
    with pytest.raises(ValueError, match="GELU"):
        VRCPC(LAC(), 0.1, 0.1, (FEATURES,)).attach(nn.Sequential(nn.Linear(FEATURES, 3), nn.GELU()))
    x, y = draw(30, torch.Generator().manual_seed(7))
    predictor = VRCPI(LAC(), 0.1, 0.1, (FEATURES,))
    with pytest.raises(ValueError, match=r"0\.\.2"):
        predictor.calibrate(relu_network(), x, y + 1)
