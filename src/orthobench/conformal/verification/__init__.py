"""Bounds of a ReLU network's logits within a ball."""

from .bounds import BoundedNetwork
from .stages import stages_of

__all__ = ["BoundedNetwork", "stages_of"]
