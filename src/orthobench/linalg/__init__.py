"""Orthogonalisation of matrices: exact factors, and the Newton-Schulz iterations that approximate them."""

from .direct import polar_factor, qr_factor
from .evaluation import ExactFactors, exact_factors, spectral_errors, spectrum_map, summarise
from .kernels import without_kernels
from .newton_schulz import newton_schulz, newton_schulz_flops
from .orthogonalise import ORTHOGONALISERS, check_orthogonaliser, orthogonalise
from .polynomials import polar_express_coefficients
from .recipes import RECIPES, Recipe
from .scaling import aol_rescale
from .schatten import check_exponent, schatten_power

__all__ = [
    "ORTHOGONALISERS",
    "RECIPES",
    "ExactFactors",
    "Recipe",
    "aol_rescale",
    "check_exponent",
    "check_orthogonaliser",
    "exact_factors",
    "newton_schulz",
    "newton_schulz_flops",
    "orthogonalise",
    "polar_express_coefficients",
    "polar_factor",
    "qr_factor",
    "schatten_power",
    "spectral_errors",
    "spectrum_map",
    "summarise",
    "without_kernels",
]
