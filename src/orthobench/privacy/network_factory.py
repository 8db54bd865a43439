"""The networks that are trained privately, of equal shapes: one without constraints, and one that is 1-Lipschitz."""

import itertools
import math
from functools import partial

from torch import nn

from ..models import seeded
from .networks import private_convnet, private_mlp

KINDS = ("unconstrained", "lipschitz")
CONVOLUTIONAL = "conv"


def network_factory(name, kind, shape, classes):
    """Return what makes a network from a seed.

    Parameters
    ----------
    name : str
        "linear", "mlp-64" (one hidden layer of 64), "mlp-64-64" and so on, or "conv".
    kind : {"unconstrained", "lipschitz"}
        With biases, ReLU and torch's initial weights; or that of `orthobench.privacy.networks`, without biases, with
        MaxMin and singular values of at most 1.
    shape : tuple of int
        Of an example.
    classes : int

    Returns
    -------
    callable
        Takes a seed, returns a network on the CPU.

    Raises
    ------
    ValueError
        If kind or name is none of these, or a convolutional network gets examples that aren't square images.
    """
    if kind not in KINDS:
        raise ValueError(f"the network is {kind!r}: expected {' or '.join(KINDS)}")
    if name == CONVOLUTIONAL:
        if len(shape) != 3 or shape[1] != shape[2]:
            raise ValueError(f"network=conv is for square images, and an example has the shape {shape}: give mlp-64")
        sizes = {"channels": shape[0], "size": shape[1], "outputs": classes}
        return partial(private_convnet if kind == "lipschitz" else plain_convnet, **sizes)
    sizes = {"features": math.prod(shape), "outputs": classes, "widths": widths_of(name)}
    return partial(private_mlp if kind == "lipschitz" else plain_mlp, **sizes)


def widths_of(name):
    """Return the widths of the hidden layers: () for "linear", (64, 64) for "mlp-64-64".

    Raises
    ------
    ValueError
        For another name.
    """
    kind, *widths = str(name).split("-")
    if (name == "linear") or (kind == "mlp" and widths and all(each.isdecimal() for each in widths)):
        return tuple(map(int, widths))
    raise ValueError(f"network={name!r}: give linear, conv, or widths such as mlp-64 and mlp-256-256")


def plain_mlp(seed, *, features, outputs, widths):
    """Make a dense network with biases and ReLU, of torch's initial weights."""
    sizes = [features, *widths]
    with seeded(seed):
        layers = [nn.Flatten()]
        for before, after in itertools.pairwise(sizes):
            layers += [nn.Linear(before, after), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(sizes[-1], outputs))


def plain_convnet(seed, *, channels, size, outputs, width=16, stages=2):
    """Make a convolutional network of the shapes of `private_convnet`, with biases, ReLU and mean pooling."""
    with seeded(seed):
        layers, before, after = [], channels, width
        for _ in range(stages):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2)]
            before, after, size = after, 2 * after, size // 2
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(before * size**2, outputs))
