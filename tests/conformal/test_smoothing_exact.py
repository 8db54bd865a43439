"""With linear scores the worst case within a radius is known: bounds reach it, and exceed it no more than stated."""

import pytest
import torch
from scipy import stats
from smoothing_toys import METHODS, NORMS, Linear, Probit, exact_mean, examples, seeded, worst_inputs

from orthobench.conformal.smoothing import RSCP, gaussian_noise
from orthobench.conformal.smoothing.cas import lowest_mean

SIGMA, RADIUS = 0.5, 0.4


def own(values, y):
    return values.gather(1, y[:, None]).squeeze(1)


def exact_worst(x, y):
    """Return the least mean that the true class's score has within the radius."""
    return own(exact_mean(Linear()(worst_inputs(x, y, RADIUS)), SIGMA), y)


def noisy_scores(x, y, samples, seed):
    noisy = x[:, None] + SIGMA * gaussian_noise(x, samples, seeded(seed))
    scores = Probit()(Linear()(noisy.flatten(0, 1))).unflatten(0, (len(x), samples))
    return scores[torch.arange(len(x)), :, y]


def test_the_means_are_those_of_the_closed_form():
    x, _ = examples(30, seeded())
    means = RSCP(Probit(), 0.1, sigma=SIGMA, samples=4000).attach(Linear()).prediction_scores(x, generator=seeded(1))
    error = (means - exact_mean(Linear()(x), SIGMA)).abs()
    assert error.max() < 5 * 0.5 / 4000**0.5
    assert error.mean() < 0.5 / 4000**0.5


def test_no_point_of_the_ball_has_a_lower_mean_than_the_worst_inputs():
    x, y = examples(200, seeded())
    directions = torch.randn(200, 4, generator=seeded(1), dtype=torch.float64)
    other = x + RADIUS * directions / directions.norm(dim=1, keepdim=True)
    assert (own(exact_mean(Linear()(other), SIGMA), y) >= exact_worst(x, y)).all()
    assert ((worst_inputs(x, y, RADIUS) - x).norm(dim=1) - RADIUS).abs().max() < 1e-12


def test_the_lowest_mean_of_cas_reaches_the_worst_case_with_many_samples():
    """Level sets of a linear score are half-spaces, for which Neyman and Pearson's bound is exact."""
    x, y = examples(20, seeded())
    low = lowest_mean(noisy_scores(x, y, 40_000, 1), RADIUS / SIGMA, 0.5)
    gap = exact_worst(x, y) - low
    assert (gap > -0.01).all()
    assert (gap < 0.03).all()


@pytest.mark.parametrize("samples", [30, 200])
def test_the_lowest_mean_of_cas_exceeds_the_worst_case_as_rarely_as_stated(samples):
    x, y = examples(1, seeded(4))
    x, y = x.expand(2000, 4), y.expand(2000)
    low = lowest_mean(noisy_scores(x, y, samples, 1), RADIUS / SIGMA, 0.1)
    assert (low > exact_worst(x, y)).sum() <= stats.binom.ppf(1 - 1e-4, 2000, 0.1)
    assert low.mean() > {30: 0.45, 200: 0.7}[samples] * exact_worst(x, y)[0]


def test_the_lowest_mean_is_the_integral_of_the_step_function_not_of_its_right_ends():
    """Public code takes the distribution function at the right end of each step: less, by up to 0.006 at 1024."""
    x, y = examples(20, seeded())
    samples = noisy_scores(x, y, 1024, 1)
    ends = torch.cat([torch.zeros(20, 1).double(), samples.sort(1).values, torch.ones(20, 1).double()], 1)
    radius = (torch.tensor(1e5).log() / 2048).sqrt()
    widths, ranks = ends.diff(dim=1), torch.arange(1, 1026) / 1024
    right = torch.special.ndtr(torch.special.ndtri((1 - ranks - radius).clamp(min=0).double()) - 0.8)
    difference = lowest_mean(samples, 0.8, 1e-5) - widths @ right
    assert (difference > 0).all()
    assert difference.max() < 0.006


def test_the_lowest_mean_of_constant_scores_and_without_movement():
    always = torch.ones(1, 50, dtype=torch.float64)
    radius = (torch.tensor(10.0).log() / 100).sqrt().item()
    assert lowest_mean(always, 0.0, 0.1).item() == pytest.approx(1 - radius)
    assert lowest_mean(0 * always, 0.0, 0.1).item() == 0
    assert lowest_mean(always, 1.0, 0.1).item() == pytest.approx(stats.norm.cdf(stats.norm.ppf(1 - radius) - 1))


def test_the_threshold_of_rscp_is_what_the_smoothed_score_may_fall_to():
    """An input whose mean is tau has, at its worst, at least the lowered threshold: exactly so for half-spaces."""
    x, y = examples(300, seeded())
    predictor = RSCP(Probit(), 0.1, RADIUS, sigma=SIGMA, samples=2)
    tau = own(exact_mean(Linear()(x), SIGMA), y)
    thresholds = torch.tensor([predictor._lowered(each) for each in tau.tolist()]).double()
    assert (exact_worst(x, y) >= thresholds).all()
    # The steeper the score, the nearer it is to a half-space's indicator.
    steep = 1e4
    indicator = exact_mean(steep * Linear()(x), SIGMA, steep * NORMS)
    worst = own(exact_mean(steep * Linear()(worst_inputs(x, y, RADIUS)), SIGMA, steep * NORMS), y)
    lowered = torch.tensor([predictor._lowered(each) for each in own(indicator, y).tolist()]).double()
    torch.testing.assert_close(lowered, worst, atol=1e-6, rtol=1e-6)


def test_bincp_needs_few_more_scores_than_the_worst_case_leaves_with_many_samples():
    x, y = examples(60, seeded())
    predictor = METHODS["BinCP"](0.1, RADIUS, sigma=SIGMA, samples=20_000, batch_size=40_000)
    predictor.calibrate(Linear(), x, y, generator=seeded(1))
    left = stats.norm.cdf(stats.norm.ppf(0.8) - RADIUS / SIGMA)
    assert 0 < left - predictor.needed_count(3) / 20_000 < 0.04


def test_the_noisy_level_of_rcp1_leaves_alpha_in_the_worst_case_and_bounds_the_largest_shift():
    predictor = METHODS["RCP1"](0.1, RADIUS, sigma=SIGMA)
    assert stats.norm.sf(stats.norm.isf(predictor.noisy_alpha) - RADIUS / SIGMA) == pytest.approx(0.1)
    for count, shift in ((100, 1.05), (500, 1.60), (4500, 2.23)):  # beyond, sets are full
        small, large = (METHODS["RCP1"](0.1, each, sigma=1.0) for each in (shift - 0.02, shift + 0.02))
        assert small.noisy_alpha * (count + 1) >= 1 > large.noisy_alpha * (count + 1)
    assert METHODS["RCP1"](0.1, 100.0, sigma=1.0).noisy_alpha == 0
