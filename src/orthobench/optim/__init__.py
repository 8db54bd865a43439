"""Optimizers that orthogonalise their updates, and which parameters of a network to give them."""

from .activations import ActivationMoments
from .adamuon import AdaMuon
from .capture import CapturedStep
from .criteria import BestExponent, bound_exponent, momentum_exponent, tightness_exponent
from .routes import Route, Routes, route_parameters
from .schatten_muon import SchattenMuon
from .schedules import dynmuon_schedule
from .surrogate import Combination, Step, predicted_decrease, two_direction_step
from .turbo_muon import TurboMuon

__all__ = [
    "ActivationMoments",
    "AdaMuon",
    "BestExponent",
    "CapturedStep",
    "Combination",
    "Route",
    "Routes",
    "SchattenMuon",
    "Step",
    "TurboMuon",
    "bound_exponent",
    "dynmuon_schedule",
    "momentum_exponent",
    "predicted_decrease",
    "route_parameters",
    "tightness_exponent",
    "two_direction_step",
]
