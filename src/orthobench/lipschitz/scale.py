"""A scale by which weights are divided before they are squared."""

import math


def scale_of(tensor):
    """Return the largest power of two that isn't above the largest absolute entry: a float, 1.0 for a zero tensor.

    Division by it is exact, and no square of the result overflows or, unless it is next to nothing, underflows.

    Raises
    ------
    ValueError
        If an entry isn't finite.
    """
    largest = float(tensor.detach().abs().max()) if tensor.numel() else 0.0
    if not math.isfinite(largest):
        raise ValueError(
            "the weights have entries that are not finite: no constant bounds them, go back to parameters that were"
        )
    return math.ldexp(1.0, math.frexp(largest)[1] - 1) if largest > 0 else 1.0
