"""Layers with a Lipschitz constant that is known, each under one name."""

from .activations import BatchCentering, MaxMin
from .bjorck import bjorck_iteration, gelfand_norm
from .cayley import CayleyConv2d, cayley_transform
from .cpl import CPLConv2d, CPLLinear
from .export import export_plain
from .factory import make_layer
from .kinds import LAYERS, LayerKind
from .lot import LOTConv2d, newton_orthogonal
from .same import CircularConvTranspose2d
from .sandwich import SandwichConv2d, SandwichLinear
from .sll import SLLConv2d, SLLLinear
from .soc import SOCConv2d

__all__ = [
    "LAYERS",
    "BatchCentering",
    "CPLConv2d",
    "CPLLinear",
    "CayleyConv2d",
    "CircularConvTranspose2d",
    "LOTConv2d",
    "LayerKind",
    "MaxMin",
    "SLLConv2d",
    "SLLLinear",
    "SOCConv2d",
    "SandwichConv2d",
    "SandwichLinear",
    "bjorck_iteration",
    "cayley_transform",
    "export_plain",
    "gelfand_norm",
    "make_layer",
    "newton_orthogonal",
]
