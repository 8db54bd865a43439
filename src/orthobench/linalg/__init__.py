"""Orthogonalisation of matrices: exact factors, and the Newton-Schulz iterations that approximate them."""

from .direct import polar_factor, qr_factor
from .evaluation import ExactFactors, exact_factors, polar_errors, summarise
from .newton_schulz import newton_schulz
from .recipes import RECIPES, Recipe
from .scaling import aol_rescale

__all__ = [
    "RECIPES",
    "ExactFactors",
    "Recipe",
    "aol_rescale",
    "exact_factors",
    "newton_schulz",
    "polar_errors",
    "polar_factor",
    "qr_factor",
    "summarise",
]
