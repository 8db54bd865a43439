"""Bounds of vanilla coverage: against the truth in simulations, a bisection of the theorem, and the released code."""

import math

import pytest
import torch
from conformal_cases import Linear, draw, misses_allowed
from scipy.stats import binom, norm

from orthobench.conformal import (
    APRCP,
    APS,
    LAC,
    RCP1,
    VRCPC,
    VRCPI,
    BinCP,
    LipschitzConformal,
    Margin,
    SplitConformal,
    coverage_bounds,
    vanilla_coverage_bounds,
)

RADII = [each / 50 for each in range(76)]


def with_share(count, share):
    """Return distances of which a share is at least 1."""
    return torch.where(torch.arange(count) < round(share * count), 2.0, 0.0)


@pytest.mark.parametrize("form", ["binomial", "dkw"])
@pytest.mark.parametrize("delta", [0.05, 0.3])
def test_the_bounds_miss_the_known_coverage_for_some_radius_no_more_often_than_delta(form, delta):
    """The logit of the label is Gaussian, an attack moves it by the radius: the truth is a normal distribution's."""
    generator, simulations, missed = torch.Generator().manual_seed(0), 500, 0
    radii = torch.tensor(RADII, dtype=torch.float64)
    for _ in range(simulations):
        predictor = SplitConformal(LAC("sigmoid"), 0.1).calibrate(Linear(), *draw(99, generator))
        bounds = vanilla_coverage_bounds(predictor, *draw(80, generator), RADII, delta=delta, form=form)
        worst = torch.as_tensor(norm.sf(predictor.threshold + radii, 1.0, 0.7))
        best = torch.as_tensor(norm.sf(predictor.threshold - radii, 1.0, 0.7))
        missed += bool((bounds.lower > worst).any() or (bounds.upper < best).any())
    assert missed <= misses_allowed(simulations, delta)


def test_the_simulation_sees_bounds_that_are_too_narrow():
    """The bounds of 80 examples, had they been 800: what the test above would not let pass."""
    generator, missed = torch.Generator().manual_seed(0), 0
    radii = torch.tensor(RADII, dtype=torch.float64)
    for _ in range(100):
        distances = 0.7 * torch.randn(80, generator=generator, dtype=torch.float64)
        bounds = coverage_bounds(distances.repeat(10), RADII, delta=0.05)
        missed += bool((bounds.lower > torch.as_tensor(norm.sf(radii, 0, 0.7))).any())
    assert missed > misses_allowed(100, 0.05)


def largest_share(successes, count, share):
    """Return the largest p with P(Bin(count, p) <= successes) >= share, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if binom.cdf(successes, count, middle) >= share else (low, middle)
    return low


@pytest.mark.parametrize("kept", [0, 1, 250, 475, 499, 500])
def test_the_binomial_form_is_the_theorem_by_bisection(kept):
    count, delta = 500, 0.01
    distances = torch.where(torch.arange(count) < kept, 1.0, -1.0)
    bounds = coverage_bounds(distances, [0.5], delta=delta)
    share = delta / (2 * count - 2)
    lower = max(0, 1 - largest_share(count - kept, count, share) - 1 / count)
    # Distances of -1 are not within 0.5 of 0: the same are kept.
    upper = min(1, largest_share(kept, count, share) + 1 / count)
    assert bounds.lower.item() == pytest.approx(lower, abs=1e-9)
    assert bounds.upper.item() == pytest.approx(upper, abs=1e-9)


@pytest.mark.parametrize(
    ("count", "share", "theorem", "dkw"),
    [(5000, 0.95, 0.9320, 0.9224), (5000, 0.85, 0.8222, 0.8224), (5000, 0.75, 0.7170, 0.7224),
     (5000, 0.5, 0.4630, 0.4724), (35000, 0.95, 0.9432, 0.9396), (35000, 0.75, 0.7370, 0.7396)],
)  # fmt: skip
def test_the_two_forms_at_known_values(count, share, theorem, dkw):
    for form, expected in (("binomial", theorem), ("dkw", dkw)):
        lower = coverage_bounds(with_share(count, share), [1.0], delta=1e-3, form=form).lower.item()
        assert lower == pytest.approx(expected, abs=6e-5)


def test_the_released_code_s_share_would_give_a_bound_that_is_too_high():
    """It solves for delta / (m - 1) + 1e-5 instead of delta / (2 m - 2): 0.7230 instead of 0.7170 here."""
    ours = coverage_bounds(with_share(5000, 0.75), [1.0], delta=1e-3).lower.item()
    theirs = 1 - largest_share(1250, 5000, 1e-3 / 4999 + 1e-5) - 1 / 5000
    assert ours < theirs - 0.005


def test_bounds_are_monotone_ordered_and_count_ties_as_kept():
    distances = torch.randn(300, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for form in ("binomial", "dkw"):
        bounds = coverage_bounds(distances, RADII, form=form)
        assert (bounds.lower.diff() <= 0).all()
        assert (bounds.upper.diff() >= 0).all()
        assert (bounds.lower <= bounds.upper).all()
    tied, above = (coverage_bounds(torch.full((50,), each), [0.5]).lower for each in (0.5, 0.6))
    assert torch.equal(tied, above)


def test_the_score_s_constant_and_the_scale_stretch_the_radii():
    generator = torch.Generator().manual_seed(2)
    predictor = SplitConformal(Margin(), 0.1).calibrate(Linear(), *draw(99, generator))
    x, y = draw(80, generator)
    slack = predictor.true_class_score(x, y)
    found = vanilla_coverage_bounds(predictor, x, y, [0.1, 0.2], lipschitz_constant=1.5, input_scale=(2.0, 1.0))
    expected = coverage_bounds(slack / (math.sqrt(2) * 3), [0.1, 0.2])
    torch.testing.assert_close(found.lower, expected.lower)
    torch.testing.assert_close(found.upper, expected.upper)


def test_a_full_set_is_never_missed():
    x, y = draw(5, torch.Generator().manual_seed(3))
    predictor = SplitConformal(Margin(), 0.1).calibrate(Linear(), x, y)
    bounds = vanilla_coverage_bounds(predictor, *draw(80, torch.Generator().manual_seed(4)), [0.0, 1e6])
    assert (bounds.lower > 0.85).all()
    assert (bounds.upper == 1).all()


@pytest.mark.parametrize("class_conditional", [False, True])
def test_bounds_of_robust_and_of_class_conditional_sets_are_those_of_their_own_thresholds(class_conditional):
    """Wherever the worst case is known: no logit of a label falls by more than the radius."""
    generator = torch.Generator().manual_seed(6)
    predictor = LipschitzConformal(LAC("sigmoid"), 0.1, 0.3)
    predictor.calibrate(Linear(), *draw(200, generator), class_conditional=class_conditional)
    x, y = draw(80, generator)
    bounds = vanilla_coverage_bounds(predictor, x, y, [0.0, 0.3, 0.6])
    thresholds = torch.as_tensor(predictor.threshold, dtype=torch.float64).expand(3)
    expected = coverage_bounds(Linear()(x)[torch.arange(80), y] - thresholds[y], [0.0, 0.3, 0.6])
    torch.testing.assert_close(bounds.lower, expected.lower)


@pytest.mark.parametrize(
    "make",
    [
        lambda: VRCPC(Margin(), 0.1, 0.1, (4,)),
        lambda: VRCPI(Margin(), 0.1, 0.1, (4,)),
        lambda: BinCP(Margin(), 0.1, 0.1, sigma=0.5, samples=16),
        lambda: RCP1(Margin(), 0.1, 0.01, sigma=0.5),
        lambda: APRCP(Margin(), 0.1, 0.1, samples=16),
    ],
)
def test_predictors_whose_scores_have_another_constant_are_refused(make):
    model = torch.nn.Sequential(torch.nn.Linear(4, 3)).double().requires_grad_(False)
    x, y = draw(60, torch.Generator().manual_seed(7))
    predictor = make().calibrate(model, x, y, generator=torch.Generator().manual_seed(8))
    with pytest.raises(TypeError, match=r"must be a SplitConformal or a LipschitzConformal, .* got [A-Z]"):
        vanilla_coverage_bounds(predictor, x, y, [0.1])


def test_bad_arguments_are_an_error():
    distances = torch.randn(10)
    for wrong, message in (
        ({"radii": [-0.1]}, "radius"),
        ({"delta": 0.0}, "delta"),
        ({"delta": 1.0}, "delta"),
        ({"form": "exact"}, "form"),
        ({"distances": torch.randn(1)}, "m >= 2"),
        ({"distances": torch.full((5,), math.nan)}, "NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            coverage_bounds(**{"distances": distances, "radii": [0.1]} | wrong)
    x, y = draw(20, torch.Generator().manual_seed(5))
    with pytest.raises(ValueError, match="not continuous"):
        vanilla_coverage_bounds(SplitConformal(APS(), 0.1).calibrate(Linear(), x, y), x, y, [0.1])
    with pytest.raises(RuntimeError, match="calibrate first"):
        vanilla_coverage_bounds(SplitConformal(Margin(), 0.1).attach(Linear()), x, y, [0.1])
