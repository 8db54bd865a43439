"""Which layers a network of one kind is made of."""

from functools import partial

from .layers import LAYERS, MaxMin, make_layer

# What the last layer is of kinds that have no linear layer of their own.
HEAD = "bjorck"


def kind_of(layer):
    """Return a kind of layers that is 1-Lipschitz, or of known constant, as a whole.

    Parameters
    ----------
    layer : str
        A key of `orthobench.lipschitz.layers.LAYERS`.

    Returns
    -------
    LayerKind

    Raises
    ------
    ValueError
        If it is none, or bounds each output on its own alone.
    """
    if layer not in LAYERS:
        raise ValueError(f"the layer is {layer!r}: expected one of {', '.join(LAYERS)}")
    if not LAYERS[layer].joint:
        raise ValueError(f"the layer is {layer!r}, which bounds each output alone: the network needs a joint bound")
    return LAYERS[layer]


def layers_of(layer):
    """Return what a network takes to be made of one kind: ``make_layer``, ``make_head`` and ``make_activation``."""
    kind = kind_of(layer)
    return {
        "make_layer": partial(make_layer, kind.name),
        "make_head": partial(make_layer, kind.name if kind.dense and not kind.nonlinear else HEAD),
        "make_activation": None if kind.nonlinear else MaxMin,
    }
