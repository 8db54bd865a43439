"""The networks that are trained without clipping: dense ones and a small convolutional one, as factories."""

import itertools

import torch
from torch import nn

from ..lipschitz.layers import MaxMin
from ..models import seeded
from ..models.checks import check_integer, check_multiple
from .layers import L2NormPooling, RKOConv2d


def private_mlp(seed, *, features=64, outputs=10, widths=(64,), zero_last=True):
    """Make a dense network without biases: linear layers of singular values of at most 1, with MaxMin between.

    Parameters
    ----------
    seed : int
        Decides the initial weights, in 0..2**63 - 1.
    features, outputs : int
        Of an example, flattened; of the network.
    widths : sequence of int
        Of the hidden layers, even; none for a linear network.
    zero_last : bool
        Start at a last layer of zeros. The bounds on the gradients of all layers below are then zero at first, and so
        is their noise.

    Returns
    -------
    torch.nn.Sequential
        On the CPU, in float32. Maps (batch, ...) to (batch, outputs). Its weights are orthogonal at first.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of those allowed.

    Examples
    --------
    >>> private_mlp(0, widths=(64, 64))(torch.ones(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """
    features = check_integer("features", features, 1)
    outputs = check_integer("outputs", outputs, 1)
    sizes = [features]
    for width in widths:
        sizes.append(check_integer("widths", width, 2))
        check_multiple("widths", sizes[-1], 2)
    with seeded(seed):
        layers = [nn.Flatten()]
        for before, after in itertools.pairwise(sizes):
            layers += [_orthogonal(nn.Linear(before, after, bias=False)), MaxMin()]
        return nn.Sequential(*layers, _head(sizes[-1], outputs, zero_last))


def private_convnet(seed, *, channels=1, size=8, outputs=10, width=16, stages=2, kernel_size=3, zero_last=True):
    """Make a convolutional network without biases: `RKOConv2d`, MaxMin and `L2NormPooling` by 2, and a linear head.

    Parameters
    ----------
    seed : int
        Decides the initial weights, in 0..2**63 - 1.
    channels, size : int
        Of the images; their height and width, a multiple of 2^stages.
    outputs : int
    width : int
        Channels after the first convolution, even; they double with each stage.
    stages : int
        At least 1.
    kernel_size : int
        Odd.
    zero_last : bool
        As in `private_mlp`.

    Returns
    -------
    torch.nn.Sequential
        On the CPU, in float32. Maps (batch, channels, size, size) to (batch, outputs).

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of those allowed.
    """
    channels = check_integer("channels", channels, 1)
    stages = check_integer("stages", stages, 1)
    size = check_integer("size", size, 1)
    check_multiple("size", size, 2**stages, "2**stages")
    width = check_integer("width", width, 2)
    check_multiple("width", width, 2)
    with seeded(seed):
        layers, before, after = [], channels, width
        for _ in range(stages):
            layers += [RKOConv2d(before, after, kernel_size), MaxMin(), L2NormPooling(2)]
            before, after, size = after, 2 * after, size // 2
        return nn.Sequential(
            *layers, nn.Flatten(), _head(before * size**2, check_integer("outputs", outputs, 1), zero_last)
        )


def _orthogonal(layer):
    nn.init.orthogonal_(layer.weight)
    return layer


def _head(inputs, outputs, zero_last):
    head = nn.Linear(inputs, outputs, bias=False)
    if not zero_last:
        return _orthogonal(head)
    with torch.no_grad():
        head.weight.zero_()
    return head
