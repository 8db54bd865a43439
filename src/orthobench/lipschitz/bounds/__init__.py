"""Bounds of Lipschitz constants, for the Euclidean norm: certified ones from above, measured ones from below."""

from .convolution import Convolution, aol_bound, convolution_of, fft_bound, gelfand_bound
from .jacobian import dense_jacobian
from .linear import linear_upper_bound
from .lower import lower_bound
from .network import NetworkBound, Residual, upper_bound

__all__ = [
    "Convolution",
    "NetworkBound",
    "Residual",
    "aol_bound",
    "convolution_of",
    "dense_jacobian",
    "fft_bound",
    "gelfand_bound",
    "linear_upper_bound",
    "lower_bound",
    "upper_bound",
]
