"""Small networks, as factories: a seed decides their initial weights, and nothing else does."""

from orthobench.models.networks import byte_transformer, digits_convnet, hidden_weights
from orthobench.models.reproducible import reproducible_cpu, seeded

__all__ = ["byte_transformer", "digits_convnet", "hidden_weights", "reproducible_cpu", "seeded"]
