"""Triton kernels for the products of the iterations, in half precision on NVIDIA GPUs.

They do what torch's products do, to the rounding of the type, with less work: of a symmetric product one triangle is
computed and mirrored, and what goes with a product is done where its result is, before it is rounded. Sums are
accumulated in float32. `takes_kernels` tells where they are used, `without_kernels` switches them off.
"""

from .availability import takes_kernels, without_kernels
from .launches import add_product, gram, gram_of_scaled_rows, quadratic

__all__ = [
    "add_product",
    "gram",
    "gram_of_scaled_rows",
    "quadratic",
    "takes_kernels",
    "without_kernels",
]
