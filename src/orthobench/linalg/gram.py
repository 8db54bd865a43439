"""The Gram form of a Newton-Schulz iteration: when it restarts, what it costs, and where it is worth it.

Each step multiplies X by a polynomial of X X^T. All these polynomials commute, so k steps may iterate on the m x m
matrix R = X X^T alone, and multiply X once, by the product of the k polynomials. This is exact without rounding. With
rounding, R no longer has the singular values of the X that it stands for, the more so the more the steps of a segment
raise small ones: a restart computes R from X again. A segment of one step is a step of the plain iteration.
"""

import torch

from .compiling import assume_constant
from .polynomials import image

METHODS = ("auto", "plain", "gram")

# Restart before small singular values are raised, since the last restart, by more than this factor; it is divided by
# the square of the largest singular value there, the norm of R. On all recipes and spectra tried, the float32 result is
# then within 2e-4 of the one in float64, as that of the plain iteration is; without restarts, within 1e-2.
LARGEST_GROWTH = 70

# "auto" takes the Gram form if it needs less than this fraction of the plain iteration's operations: on a CPU it is
# then quicker, if only by a few per cent for small matrices (`orthobench speed orthogonaliser` prints where).
WORTHWHILE = 0.85


def segments(polynomials, start):
    """Divide polynomials into tuples of those that the Gram form does between two restarts.

    Parameters
    ----------
    polynomials : sequence of (float, float, float)
    start : float
        The largest singular value before the first.

    Returns
    -------
    list of list of (float, float, float)
    """
    low, high = 0.0, start
    divided, growth = [], 0.0
    for triple in polynomials:
        growth *= triple[0]
        if not divided or growth > LARGEST_GROWTH:
            divided.append([])
            growth = triple[0] * max(high, -low, 1.0) ** 2
        divided[-1].append(triple)
        low, high = image(triple, low, high)
    return divided


def is_worthwhile(m, n, divided, dtype, device):
    """Tell whether "auto" takes the Gram form.

    It doesn't where products are less precise than float32. In bfloat16, R loses the singular values below a
    twentieth of the largest: errors to the polar factor of wide Gaussian matrices grow by up to 60 % even with
    restarts after every other step. With TF32, those of recipes that nearly converge grow from 0.001 to 0.02.
    """
    if dtype == torch.bfloat16 or (dtype == torch.float32 and not _products_are_float32(device.type)):
        return False
    plain = [[triple] for segment in divided for triple in segment]
    return count_operations(m, n, divided) < WORTHWHILE * count_operations(m, n, plain)


def count_operations(m, n, divided):
    """Return the floating-point operations of the products for one matrix (m, n), m <= n."""
    total = 0
    for segment in divided:
        merged = len(segment) - 1
        squares = sum(c != 0 for _, _, c in segment)
        # X X^T and Q X once; R^2 for each polynomial; between two of them, one product for Q and two for R.
        total += 4 * m**2 * n + 2 * m**3 * (squares + 3 * merged)
    return total


@assume_constant
def _products_are_float32(device_type):
    backend = torch.backends.cuda if device_type == "cuda" else torch.backends.mkldnn
    return backend.matmul.fp32_precision in ("none", "ieee")
