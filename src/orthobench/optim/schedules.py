"""Exponents that change with the step."""

import math
from functools import partial

from ..linalg.schatten import check_exponent


def dynmuon_schedule(steps, high=0.25, low=-0.25, tau=0.04, width=0.04):
    """Return the exponent of U S^e V^T as a function of the step: from a high one to a low one, along a logistic curve.

    e(step) = low + (high - low) / (1 + exp((step / steps - tau) / width))

    Parameters
    ----------
    steps : int
        Steps of the whole run.
    high, low : float
        From -1/2 to 1. The curve comes near `high` at the start only if `tau` is several times `width`: with the
        defaults it starts at 0.12 and has passed 0 at 4 % of the run.
    tau, width : float
        Where the middle is, and how wide the transition, as shares of the run; ``width > 0``.

    Returns
    -------
    callable
        Takes the number of steps done, returns the exponent: an ``exponent`` for `SchattenMuon`.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of its range.

    Notes
    -----
    This is the schedule alone. The published optimizer takes the momentum itself for e >= 1/4, Muon's direction for
    0 <= e < 1/4, and a second-order expansion for e < 0; `SchattenMuon` computes U S^e V^T throughout.

    References
    ----------
    Wu et al. (2026), DynMuon: a dynamic spectral shaping view of Muon, arXiv:2605.17109. The defaults are those of its
    entry in the modded-nanogpt benchmark, https://github.com/KellerJordan/modded-nanogpt/pull/304; those of the paper
    are high=1, tau=0.02, width=0.01.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps must be an integer >= 1, got {steps!r}; give the steps of the whole run.")
    if not math.isfinite(tau) or not 0 < width < math.inf:
        raise ValueError(f"tau must be finite and width > 0, got tau={tau!r}, width={width!r}; 0.04 is the default.")
    return partial(_logistic, check_exponent(high), check_exponent(low), tau * steps, width * steps)


def _logistic(high, low, middle, width, step):
    # tanh doesn't overflow.
    return low + (high - low) * (1 - math.tanh((step - middle) / (2 * width))) / 2
