"""Epsilon by three accountants: published figures, a closed form, monotone; noise for a target."""

import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from orthobench.privacy.accounting import epsilon, noise_multiplier
from orthobench.privacy.transcript import Transcript


def run(rate, noise, steps):
    transcript = Transcript()
    for _ in range(steps):
        transcript.record(rate, [noise] if isinstance(noise, float) else noise)
    return transcript


def gaussian_epsilon(noise, steps, delta):
    """The exact epsilon of T Gaussian mechanisms without sampling (Balle and Wang, 2018, theorem 8)."""
    mu = math.sqrt(steps) / noise

    def excess(value):
        return norm.cdf(mu / 2 - value / mu) - math.exp(value) * norm.cdf(-mu / 2 - value / mu) - delta

    return brentq(excess, 0, 100)


@pytest.mark.parametrize(("accountant", "expected"), [("rdp", 0.686), ("pld", 0.622)])
def test_published_figures_of_a_thousand_steps(accountant, expected):
    assert epsilon(run(0.01, 2.0, 1000), 1e-5, accountant) == pytest.approx(expected, abs=6e-4)


@pytest.mark.parametrize(("accountant", "expected"), [("rdp", 1.105), ("pld", 1.000)])
def test_two_layers_with_noise_of_their_own_are_one_mechanism_with_less(accountant, expected):
    by_layer = epsilon(run(0.01, [2.0, 2.0], 1000), 1e-5, accountant)
    assert by_layer == pytest.approx(expected, abs=6e-4)
    assert by_layer == pytest.approx(epsilon(run(0.01, 2 / math.sqrt(2), 1000), 1e-5, accountant), rel=1e-9)


@pytest.mark.parametrize("noise", [0.8, 2.0])
@pytest.mark.parametrize(("accountant", "error"), [("pld", 1e-3), ("prv", 2e-3)])
def test_without_sampling_it_is_that_of_the_gaussian_mechanism(accountant, error, noise):
    found = epsilon(run(1.0, noise, 4), 1e-5, accountant)
    exact = gaussian_epsilon(noise, 4, 1e-5)
    assert exact - 1e-6 <= found <= exact * (1 + error) + error


@pytest.mark.parametrize(
    ("rate", "noise", "steps"),
    [(0.01, 1.0, 300), (0.178, 1.0, 10), (0.178, 6.9, 370)],
)
def test_two_accountants_agree(rate, noise, steps):
    transcript = run(rate, noise, steps)
    pld, prv = (epsilon(transcript, 1e-5, name) for name in ("pld", "prv"))
    assert abs(pld - prv) <= max(0.02 * pld, 0.002)
    assert epsilon(transcript, 1e-5, "rdp") >= pld - 1e-3


@pytest.mark.parametrize("accountant", ["pld", "rdp"])
def test_it_grows_with_steps_and_rate_and_falls_with_noise_and_delta(accountant):
    def found(rate=0.1, noise=2.0, steps=50, delta=1e-5):
        return epsilon(run(rate, noise, steps), delta, accountant)

    assert found(steps=1) < found(steps=20) < found()
    assert found(rate=0.02) < found() < found(rate=0.2)
    assert found(noise=4.0) < found() < found(noise=1.5)
    assert found(delta=1e-3) < found() < found(delta=1e-7)


def test_different_steps_are_composed_whatever_their_order():
    one, other = Transcript(), Transcript()
    for first, second in ((2.0, 3.0), (2.0, 3.0)):
        one.record(0.1, [first])
        one.record(0.1, [second])
    for noise in (3.0, 3.0, 2.0, 2.0):
        other.record(0.1, [noise])
    assert epsilon(one, 1e-5) == pytest.approx(epsilon(other, 1e-5), abs=1e-3)
    assert epsilon(run(0.1, 3.0, 4), 1e-5) < epsilon(one, 1e-5) < epsilon(run(0.1, 2.0, 4), 1e-5)


def test_where_prv_fails_it_is_nan_and_no_noise_is_chosen_by_it():
    assert math.isnan(epsilon(run(0.2, 5.0, 3), 1e-17, "prv"))  # less than its sums are rounded by
    with pytest.raises(ValueError, match=r"PRV fails at a noise multiplier of .*: give accountant='pld'"):
        noise_multiplier(1.0, 1e-17, 0.2, 3, "prv")


def test_at_a_high_epsilon_prv_agrees_with_pld():
    """Reports have PRV raise at such, with a coarser grid."""
    transcript = run(0.95, 1.0, 3)
    pld, prv = (epsilon(transcript, 1e-5, name) for name in ("pld", "prv"))
    assert pld > 7
    assert abs(pld - prv) <= 0.02 * pld


def test_a_run_without_steps_costs_nothing():
    assert [epsilon(Transcript(), 1e-5, name) for name in ("pld", "prv", "rdp")] == [0.0] * 3


def test_what_may_fail_is_taken_off_delta():
    transcript = run(0.1, 2.0, 50)
    transcript.add_failure_probability(9e-6)
    assert epsilon(transcript, 1e-5) == epsilon(run(0.1, 2.0, 50), 1e-5 - 9e-6)
    with pytest.raises(ValueError, match="may fail with a probability of 9e-06"):
        epsilon(transcript, 9e-6)


@pytest.mark.parametrize("delta", [0, 1, -1e-5, 2, math.nan])
def test_a_delta_outside_of_its_range_is_refused(delta):
    with pytest.raises(ValueError, match=r"delta=.*: give one in \(0, 1\)"):
        epsilon(run(0.1, 1.0, 1), delta)
    with pytest.raises(ValueError, match=r"delta=.*: give one in \(0, 1\)"):
        noise_multiplier(1.0, delta, 0.1, 10)


@pytest.mark.parametrize("target", [0, -1.0, math.inf, math.nan])
def test_an_epsilon_out_of_reach_is_refused(target):
    with pytest.raises(ValueError, match=r"epsilon=.*: give a positive, finite one"):
        noise_multiplier(target, 1e-5, 0.1, 10)


def test_other_arguments_out_of_their_range_are_refused():
    with pytest.raises(ValueError, match="accountant='moments': give one of pld, prv, rdp"):
        epsilon(run(0.1, 1.0, 1), 1e-5, "moments")
    with pytest.raises(ValueError, match="a sampling rate of 0"):
        noise_multiplier(1.0, 1e-5, 0, 10)
    with pytest.raises(ValueError, match="steps is 0: give an integer >= 1"):
        noise_multiplier(1.0, 1e-5, 0.1, 0)
    with pytest.raises(TypeError, match=r"steps is 1\.5: give an integer >= 1"):
        noise_multiplier(1.0, 1e-5, 0.1, 1.5)


def test_steps_may_be_any_integer():
    assert noise_multiplier(1.0, 1e-5, 0.1, np.int64(10), "rdp") == noise_multiplier(1.0, 1e-5, 0.1, 10, "rdp")


@pytest.mark.parametrize(("accountant", "target"), [("pld", 2.0), ("rdp", 0.5), ("rdp", 8.0)])
def test_the_noise_for_a_target_is_enough_and_hardly_more(accountant, target):
    noise = noise_multiplier(target, 1e-5, 0.178, 100, accountant)
    assert epsilon(run(0.178, noise, 100), 1e-5, accountant) <= target
    assert epsilon(run(0.178, noise * (1 - 3e-4), 100), 1e-5, accountant) > target
