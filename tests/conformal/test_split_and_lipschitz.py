"""Coverage, clean and at the exact worst case, of vanilla and of Lipschitz sets; edge cases and messages."""

import itertools
import math

import pytest
import torch
from conformal_cases import CLASSES, FEATURES, Linear, coverage_band, draw, lower_logit, lower_margin
from torch import nn

from orthobench.conformal import APS, LAC, RAPS, Claim, LipschitzConformal, Margin, MaxRatio, SplitConformal

CALIBRATION, TESTS, TRIALS = 60, 40, 200
RADIUS = 0.3
ALPHAS = (0.05, 0.1, 0.2)
WORST = {LAC("sigmoid"): lower_logit, Margin(): lower_margin}


def data_sets():
    generator = torch.Generator().manual_seed(0)
    for _ in range(TRIALS):
        yield draw(CALIBRATION, generator), draw(TESTS, generator), generator


def covered(predictor, x, y, generator=None):
    return predictor.predict_sets(x, generator=generator)[torch.arange(len(x)), y].double().mean().item()


@pytest.mark.parametrize(
    ("score", "alpha"), [*itertools.product([LAC(), LAC("sigmoid"), Margin(), APS(), RAPS()], ALPHAS)], ids=str
)
def test_vanilla_sets_cover_clean_inputs_as_often_as_they_claim_and_no_more(score, alpha):
    """A family of 15 two-sided tests at 2e-6 each. Scores without ties: coverage is exact."""
    found = []
    for calibration, test, generator in data_sets():
        predictor = SplitConformal(score, alpha).calibrate(Linear(), *calibration, generator=generator)
        found.append(covered(predictor, *test, generator))
    low, high = coverage_band(CALIBRATION, TESTS, TRIALS, alpha)
    assert low <= sum(found) / TRIALS <= high


@pytest.mark.parametrize(("score", "alpha"), [*itertools.product(WORST, ALPHAS)], ids=str)
def test_lipschitz_sets_cover_as_claimed_at_the_exact_worst_case_and_vanilla_sets_do_not(score, alpha):
    """The worst case takes exactly what is added to the scores: coverage there is the nominal one, above it clean."""
    clean, attacked, vanilla = [], [], []
    for calibration, (x, y), _ in data_sets():
        robust = LipschitzConformal(score, alpha, RADIUS).calibrate(Linear(), *calibration)
        plain = SplitConformal(score, alpha).calibrate(Linear(), *calibration)
        worst = WORST[score](x, y, RADIUS)
        clean.append(covered(robust, x, y))
        attacked.append(covered(robust, worst, y))
        vanilla.append(covered(plain, worst, y))
    low, high = coverage_band(CALIBRATION, TESTS, TRIALS, alpha)
    assert low <= sum(attacked) / TRIALS <= high
    assert sum(clean) / TRIALS > high
    assert sum(vanilla) / TRIALS < low - 0.03


@pytest.mark.parametrize("score", WORST, ids=str)
def test_a_constant_that_is_too_small_by_a_fifth_loses_coverage(score):
    """What the test above can see: a network of constant 1.25 that claims 1."""
    attacked = []
    for calibration, (x, y), _ in data_sets():
        model = lambda inputs: 1.25 * Linear()(inputs)  # noqa: E731
        robust = LipschitzConformal(score, 0.1, 1.0).calibrate(model, *calibration)
        attacked.append(covered(robust, WORST[score](x, y, 1.0), y))
    assert sum(attacked) / TRIALS < coverage_band(CALIBRATION, TESTS, TRIALS, 0.1)[0]


@pytest.mark.parametrize("score", [LAC(), LAC("sigmoid"), Margin(), MaxRatio()], ids=str)
def test_the_threshold_falls_by_the_score_s_constant_times_the_radius(score):
    x, y = draw(200, torch.Generator().manual_seed(1))
    plain = SplitConformal(score, 0.1).calibrate(Linear(), x, y)
    slope = 1.0 if score.rises_with == "logit" else math.sqrt(2)
    for scale in (1.0, (1.0, 4.0, 2.0)):
        robust = LipschitzConformal(score, 0.1, 0.25, lipschitz_constant=1.5, input_scale=scale)
        expected = slope * 1.5 * (4 if scale != 1 else 1) * 0.25
        assert plain.threshold - robust.calibrate(Linear(), x, y).threshold == pytest.approx(expected, rel=1e-12)


def test_a_radius_of_zero_gives_vanilla_sets():
    x, y = draw(300, torch.Generator().manual_seed(2))
    for score in (LAC(), Margin()):
        plain = SplitConformal(score, 0.1).calibrate(Linear(), x, y)
        robust = LipschitzConformal(score, 0.1, 0.0).calibrate(Linear(), x, y)
        assert robust.threshold == plain.threshold
        assert torch.equal(robust.predict_sets(x), plain.predict_sets(x))


def test_sets_of_the_logit_do_not_depend_on_temperature_and_bias():
    """As published: sigmoid((f_y + L r - b) / T) >= t, with t from the calibration scores."""
    x, y = draw(200, torch.Generator().manual_seed(3))
    test, _ = draw(100, torch.Generator().manual_seed(4))
    ours = LipschitzConformal(LAC("sigmoid"), 0.1, 0.25).calibrate(Linear(), x, y).predict_sets(test)
    for temperature, bias in ((0.5, 0.0), (1.0, 2.0), (10.0, -1.0)):
        bounded = SplitConformal(LAC("sigmoid", temperature=temperature, bias=bias, bounded=True), 0.1)
        threshold = bounded.calibrate(Linear(), x, y).threshold
        propagated = ((Linear()(test) + 0.25 - bias) / temperature).sigmoid() >= threshold
        assert torch.equal(ours, propagated)


def test_claims():
    assert SplitConformal(APS(), 0.1).claim == Claim(0.1, 0.0, "l2", "worst_case")
    assert LipschitzConformal(Margin(), 0.05, 0.25).claim == Claim(0.05, 0.25, "l2", "worst_case")
    assert LipschitzConformal(Margin(), 0.05, 0.25).forward_passes_per_input == 1
    for wrong in (
        {"alpha": 0.0},
        {"alpha": 1},
        {"radius": -0.1},
        {"radius": math.nan},
        {"norm": "l1"},
        {"kind": "all"},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Claim(**{"alpha": 0.1, "radius": 0.1} | wrong)


def test_five_examples_give_full_sets_and_their_score_is_infinitely_safe():
    x, y = draw(5, torch.Generator().manual_seed(5))
    for predictor in (SplitConformal(APS(), 0.1), LipschitzConformal(Margin(), 0.1, 0.25)):
        predictor.calibrate(Linear(), x, y)
        assert predictor.predict_sets(x).all()
        assert (predictor.true_class_score(x, y) == math.inf).all()


def test_the_true_class_score_says_who_is_in_the_set_and_leads_an_attack():
    x, y = draw(100, torch.Generator().manual_seed(6))
    predictor = LipschitzConformal(Margin(), 0.2, 0.25).calibrate(Linear(), x, y)
    inputs = x.clone().requires_grad_()
    scores = predictor.true_class_score(inputs, y)
    assert torch.equal(scores >= 0, predictor.predict_sets(x)[torch.arange(100), y])
    (gradient,) = torch.autograd.grad(scores.sum(), inputs)
    moved = x - RADIUS * gradient / gradient.norm(dim=1, keepdim=True)
    torch.testing.assert_close(moved, lower_margin(x, y, RADIUS))


@pytest.mark.parametrize("kind", [torch.float16, torch.float32, torch.float64])
def test_the_type_of_the_logits_is_no_matter_for_scores_of_ties(kind):
    """Duplicated scores: all that equal the threshold are kept, in every type."""
    logits = torch.tensor([[1.0, 0.0, -1.0]] * 30).to(kind)
    labels = torch.zeros(30, dtype=torch.int64)
    predictor = SplitConformal(Margin(), 0.1).calibrate(nn.Identity(), logits, labels)
    assert predictor.predict_sets(logits).tolist() == [[True, False, False]] * 30


def test_batches_modes_and_gradients_of_the_model_are_left_as_they_are():
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(FEATURES, CLASSES)).train()
    x, y = draw(50, torch.Generator().manual_seed(7))
    x = x.float()
    whole = SplitConformal(LAC(), 0.2).calibrate(model, x, y)
    parts = SplitConformal(LAC(), 0.2, batch_size=7).calibrate(model, x, y)
    assert whole.threshold == pytest.approx(parts.threshold, abs=1e-6)
    torch.testing.assert_close(whole.prediction_scores(x), parts.prediction_scores(x))
    assert model.training
    assert model[0].training
    assert model[1].weight.grad is None
    assert not whole.prediction_scores(x).requires_grad


def test_no_inputs_give_no_sets():
    x, y = draw(50, torch.Generator().manual_seed(8))
    assert SplitConformal(LAC(), 0.2).calibrate(Linear(), x, y).predict_sets(x[:0]).shape == (0, CLASSES)


def test_one_generator_makes_randomised_sets_repeatable():
    x, y = draw(80, torch.Generator().manual_seed(9))
    predictor = SplitConformal(APS(), 0.2).calibrate(Linear(), x, y, generator=torch.Generator().manual_seed(1))
    first, second, other = (
        predictor.predict_sets(x, generator=torch.Generator().manual_seed(seed)) for seed in (2, 2, 3)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_bad_arguments_are_an_error():
    for wrong in (0, 1, -0.1, math.nan):
        with pytest.raises(ValueError, match="alpha"):
            SplitConformal(LAC(), wrong)
    for wrong in (-0.1, math.nan, math.inf):
        with pytest.raises(ValueError, match="radius"):
            LipschitzConformal(LAC(), 0.1, wrong)
    with pytest.raises(ValueError, match="not continuous"):
        LipschitzConformal(APS(), 0.1, 0.1)
    with pytest.raises(ValueError, match="lipschitz_constant"):
        LipschitzConformal(LAC(), 0.1, 0.1, lipschitz_constant=0.0)
    with pytest.raises(ValueError, match="rounding"):
        LipschitzConformal(LAC(), 0.1, 0.1, rounding=-1.0)
    with pytest.raises(ValueError, match="batch_size"):
        SplitConformal(LAC(), 0.1, batch_size=0)


def test_bad_examples_are_an_error():
    x, y = draw(50, torch.Generator().manual_seed(10))
    predictor = SplitConformal(LAC(), 0.1)
    with pytest.raises(RuntimeError, match="no model yet"):
        predictor.predict_sets(x)
    with pytest.raises(RuntimeError, match="calibrate first"):
        SplitConformal(LAC(), 0.1).attach(Linear()).predict_sets(x)
    with pytest.raises(ValueError, match=r"0\.\.2"):
        predictor.calibrate(Linear(), x, y + 1)
    with pytest.raises(ValueError, match="one for each input"):
        predictor.calibrate(Linear(), x, y[:-1])
    with pytest.raises(TypeError, match="integer type"):
        predictor.calibrate(Linear(), x, y.double())
    with pytest.raises(ValueError, match="inputs must be finite"):
        predictor.calibrate(Linear(), x * math.nan, y)
    with pytest.raises(ValueError, match="logits must be finite"):
        predictor.calibrate(lambda inputs: Linear()(inputs) * math.nan, x, y)
    with pytest.raises(ValueError, match="C >= 2"):
        predictor.calibrate(lambda inputs: Linear()(inputs)[:, :1], x, 0 * y)
