"""The epsilon of a transcript, by libraries that compute it independently; noise for a target epsilon."""

import functools
import math
import warnings

import numpy as np
from scipy.optimize import brentq

from ..models.checks import check_integer
from .transcript import check_rate

# Of the privacy loss: the grid of PLD; the error that PRV's upper bound allows for.
PLD_INTERVAL = 1e-4
PRV_ERROR = 1e-3

# Of Renyi divergences: whole numbers, for which there is a sum of few terms.
ORDERS = (*range(2, 65), 80, 96, 128, 192, 256, 384, 512, 1024)

# `noise_multiplier` returns a value at most this share above the least one.
TOLERANCE = 1e-4
LARGEST_NOISE = 1e6
SMALLEST = 1e-12


def epsilon(transcript, delta, accountant="pld"):
    """Compute the epsilon for which a recorded run is (epsilon, delta)-differentially private.

    Parameters
    ----------
    transcript : Transcript
    delta : float
        In (0, 1), above the transcript's `extra_delta`, which is taken off it first.
    accountant : {"pld", "prv", "rdp"}
        Privacy loss distributions of dp-accounting (Doroshenko et al., 2022; pessimistic), privacy random variables of
        Opacus (Gopi, Lee and Wutschitz, 2021; an upper bound within 0.001), Renyi divergences of dp-accounting
        (Mironov, 2017; looser, for reference).

    Returns
    -------
    float
        0 for a run without a step; NaN where PRV fails: its grid does for high epsilons and very small deltas.

    Raises
    ------
    ValueError
        If delta or the accountant is not one of those allowed.
    """
    compute = _accountant(accountant)
    left = check_delta(delta) - transcript.extra_delta
    if left <= 0:
        raise ValueError(
            f"delta={delta:g}, and the bounds of this run may fail with a probability of {transcript.extra_delta:g}: "
            "give a larger delta, or use bounds that can't fail"
        )
    return compute(tuple(map(tuple, transcript.events)), left) if transcript.events else 0.0


def noise_multiplier(epsilon, delta, sampling_rate, steps, accountant="pld"):
    """Compute the least noise multiplier that gives a run at most a target epsilon.

    Parameters
    ----------
    epsilon : float
        Positive and finite.
    delta : float
        In (0, 1).
    sampling_rate : float
        In (0, 1].
    steps : int
        At least 1.
    accountant : {"pld", "prv", "rdp"}
        As of `orthobench.privacy.accounting.epsilon`.

    Returns
    -------
    float
        Whose epsilon is at most the target; the least one to a share of 1e-4.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of those allowed, no noise up to 1e6 is enough, or PRV fails.
    """
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise ValueError(
            f"epsilon={epsilon!r}: give a positive, finite one; no noise reaches 0, and infinity needs none"
        )
    check_rate(sampling_rate)
    steps = check_integer("steps", steps, 1)
    _accountant(accountant)
    return _least_noise(float(epsilon), check_delta(delta), float(sampling_rate), steps, accountant)


def check_delta(delta):
    """Return a delta as a float.

    Raises
    ------
    ValueError
        If it is not in (0, 1).
    """
    if not 0 < delta < 1:
        raise ValueError(f"delta={delta!r}: give one in (0, 1), well below one over the number of examples")
    return float(delta)


@functools.lru_cache(maxsize=256)
def _least_noise(target, delta, rate, steps, accountant):
    def excess(logarithm):
        found = ACCOUNTANTS[accountant](((rate, math.exp(logarithm), steps),), delta)
        if math.isnan(found):
            raise ValueError(f"PRV fails at a noise multiplier of {math.exp(logarithm):g}: give accountant='pld'")
        return math.log(max(found, SMALLEST) / target)

    # That of RDP is quick to find, and close enough to begin from.
    start = 0.0 if accountant == "rdp" else math.log(_least_noise(target, delta, rate, steps, "rdp"))
    low, high = _bracket(excess, start, target)
    found = brentq(excess, low, high, xtol=TOLERANCE / 2)
    while excess(found) > 0:
        found += TOLERANCE / 4
    return math.exp(found)


def _bracket(excess, start, target):
    """Return the logarithms of a noise multiplier that isn't enough, and of one that is."""
    low = high = start
    stride = 0.1
    while excess(low) <= 0:
        low, high, stride = low - stride, low, 2 * stride
    while excess(high) > 0:
        low, high, stride = high, high + stride, 2 * stride
        if high > math.log(LARGEST_NOISE):
            raise ValueError(f"no noise multiplier up to {LARGEST_NOISE:g} reaches epsilon={target:g}: raise it")
    return low, high


# ----- the accountants: of events (rate, noise, steps), add or remove one, and delta. The libraries are imported late:
# they take a second -----


@functools.lru_cache(maxsize=1024)
def _pld(events, delta):
    from dp_accounting import NeighboringRelation
    from dp_accounting.pld import PLDAccountant

    relation = NeighboringRelation.ADD_OR_REMOVE_ONE
    return _dp_accounting(PLDAccountant(relation, value_discretization_interval=PLD_INTERVAL), events, delta)


@functools.lru_cache(maxsize=1024)
def _rdp(events, delta):
    from dp_accounting import NeighboringRelation
    from dp_accounting.rdp import RdpAccountant

    relation = NeighboringRelation.ADD_OR_REMOVE_ONE
    return _dp_accounting(RdpAccountant(ORDERS, relation), events, delta)


def _dp_accounting(accountant, events, delta):
    from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent

    for rate, noise, steps in events:
        step = GaussianDpEvent(noise)
        accountant.compose(step if rate == 1 else PoissonSampledDpEvent(rate, step), steps)
    return float(accountant.get_epsilon(delta))


@functools.lru_cache(maxsize=1024)
def _prv(events, delta):
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    accountant.history = [(noise, rate, steps) for rate, noise, steps in events]
    with warnings.catch_warnings(), np.errstate(divide="ignore"):  # of log(0), at a rate of 1
        # Of the bound that its grid is chosen by, from Renyi divergences of few orders.
        warnings.filterwarnings("ignore", message="Optimal order is the largest alpha")
        try:
            return float(accountant.get_epsilon(delta, eps_error=PRV_ERROR))
        except (RuntimeError, ValueError):  # its grid is too coarse, or delta too small for its sums
            return math.nan


ACCOUNTANTS = {"pld": _pld, "prv": _prv, "rdp": _rdp}


def _accountant(name):
    if name not in ACCOUNTANTS:
        raise ValueError(f"accountant={name!r}: give one of {', '.join(ACCOUNTANTS)}")
    return ACCOUNTANTS[name]
