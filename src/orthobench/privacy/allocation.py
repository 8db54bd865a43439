"""How noise is divided among the parameters, at equal privacy."""

import math

from ..lipschitz.losses import check_number

ALLOCATIONS = ("global", "per_layer", "optimal")


def noise_stds(bounds, sizes, noise_multiplier, allocation="global"):
    """Compute the standard deviation of the noise of each parameter.

    All allocations are as private as one Gaussian mechanism of the same noise multiplier sigma:
    sum_d (Delta_d / s_d)^2 = 1 / sigma^2, for bounds Delta_d and standard deviations s_d.

    Parameters
    ----------
    bounds : dict of str to float
        Delta_d: of the norm of one example's share of each parameter's gradient, as from `gradient_bounds`.
    sizes : dict of str to int
        Entries p_d of each parameter.
    noise_multiplier : float
        sigma, positive.
    allocation : {"global", "per_layer", "optimal"}
        The same s for all, sigma sqrt(sum_k Delta_k^2); s_d = sigma sqrt(D) Delta_d for D parameters, in proportion to
        the bounds; or those of the least total variance sum_d p_d s_d^2, which are
        s_d^2 = sigma^2 (Delta_d / sqrt(p_d)) sum_k Delta_k sqrt(p_k).

    Returns
    -------
    dict of str to float
        0 where the bound is 0, unless global: such a gradient is 0 for each example.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of its range.
    """
    sigma = check_number("noise_multiplier", noise_multiplier, 0, strict=True)
    for name, bound in bounds.items():
        check_number(f"the bound of {name}", bound, 0)
    if allocation == "global":
        std = sigma * math.hypot(*bounds.values())
        return dict.fromkeys(bounds, std)
    if allocation == "per_layer":
        count = sum(bound > 0 for bound in bounds.values())
        return {name: sigma * math.sqrt(count) * bound for name, bound in bounds.items()}
    if allocation == "optimal":
        total = sum(bound * math.sqrt(sizes[name]) for name, bound in bounds.items())
        return {name: sigma * math.sqrt(bound / math.sqrt(sizes[name]) * total) for name, bound in bounds.items()}
    raise ValueError(f"allocation is {allocation!r}: give one of {', '.join(ALLOCATIONS)}")
