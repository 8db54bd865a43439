"""Learn then test: which parameters control risks with a high probability, whatever the shape of the losses."""

import numpy as np
from scipy.stats import binom

from .losses import as_array, as_level

PROCEDURES = ("bonferroni", "fixed_sequence")


def hoeffding_bentkus(means, count, alpha):
    """Return p-values of the hypothesis that a risk is above alpha.

    Parameters
    ----------
    means : array
        Mean losses, each of n independent examples with losses in [0, 1].
    count : int
        n.
    alpha : float
        In (0, 1).

    Returns
    -------
    array
        The smaller one of Hoeffding's, exp(-n KL(min(mean, alpha), alpha)), and Bentkus',
        e P(Bin(n, alpha) <= ceil(n mean)); at most 1.

    Notes
    -----
    Bates, Angelopoulos, Lei, Malik and Jordan, "Distribution-free, risk-controlling prediction sets",
    J. ACM 2021, section 3.1.

    Examples
    --------
    >>> hoeffding_bentkus([0.0, 0.05, 0.1], 100, 0.1).round(5).tolist()
    [3e-05, 0.15651, 1.0]
    """
    means, alpha = as_array(means).astype(float), float(as_level("alpha", alpha))
    below = np.minimum(means, alpha)
    with np.errstate(divide="ignore", invalid="ignore"):
        divergence = np.where(below > 0, below * np.log(below / alpha), 0.0) + (1 - below) * np.log(
            (1 - below) / (1 - alpha)
        )
    # What rounding may have added to n mean, a sum, is no reason for the next integer.
    bentkus = np.e * binom.cdf(np.ceil(count * means - 1e-9), count, alpha)
    return np.minimum(np.minimum(np.exp(-count * divergence), bentkus), 1.0)


def learn_then_test(p_values, delta, procedure="bonferroni"):
    """Return which hypotheses are rejected, none of the true ones with a probability of 1 - delta or more.

    Parameters
    ----------
    p_values : array (G,) or (S, G)
        Of points that were fixed beforehand; the largest one where several risks are to be controlled. Of
        "fixed_sequence" each row is a sequence, from the safest point on, which is walked until the first p-value that
        is too large; S of them at delta / S each.
    delta : float
        In (0, 1).
    procedure : {"bonferroni", "fixed_sequence"}

    Returns
    -------
    array of bool, of the same shape
        The points at which all risks are controlled. Any of them may be chosen, by the same data too.

    Raises
    ------
    ValueError
        If an argument is none of these.

    Notes
    -----
    Angelopoulos, Bates, Candes, Jordan and Lei, "Learn then test", Annals of Applied Statistics 2025, theorem 1.

    Examples
    --------
    >>> learn_then_test([0.01, 0.02, 0.2, 0.001], 0.1, "fixed_sequence").tolist()
    [True, True, False, False]
    """
    level, p_values = float(as_level("delta", delta)), as_array(p_values).astype(float)
    if procedure not in PROCEDURES:
        raise ValueError(f"procedure must be one of {', '.join(map(repr, PROCEDURES))}, got {procedure!r}.")
    if procedure == "bonferroni":
        return p_values <= level / p_values.size
    sequences = p_values.size // max(p_values.shape[-1], 1)
    return np.logical_and.accumulate(p_values <= level / sequences, axis=-1)
