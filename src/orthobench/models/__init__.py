"""Small networks, as factories: a seed decides their initial weights, and nothing else does."""

from orthobench.models.airbench import whitening_kernels
from orthobench.models.constant import constant_segmentation
from orthobench.models.gpt2 import gpt2
from orthobench.models.lipschitz_networks import lipschitz_convnet, lipschitz_mlp
from orthobench.models.lipschitz_unet import lipschitz_unet
from orthobench.models.networks import airbench_cnn, byte_transformer, convnet, digits_convnet, hidden_weights, vit
from orthobench.models.reproducible import reproducible_cpu, seeded

__all__ = [
    "airbench_cnn",
    "byte_transformer",
    "constant_segmentation",
    "convnet",
    "digits_convnet",
    "gpt2",
    "hidden_weights",
    "lipschitz_convnet",
    "lipschitz_mlp",
    "lipschitz_unet",
    "reproducible_cpu",
    "seeded",
    "vit",
    "whitening_kernels",
]
