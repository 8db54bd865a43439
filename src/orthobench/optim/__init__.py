"""Optimizers that orthogonalise their updates, and which parameters of a network to give them."""

from .routes import Route, Routes, route_parameters
from .turbo_muon import TurboMuon

__all__ = ["Route", "Routes", "TurboMuon", "route_parameters"]
