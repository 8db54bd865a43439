"""The networks of the comparison: 1-Lipschitz, standard and noise-trained; trained once, seeded, cached."""

from functools import partial

import torch
from torch import nn

from ...data.cache import cached
from ...data.parts import Examples
from ...device import resolve_device
from ...lipschitz.bounds import upper_bound
from ...lipschitz.layers import MaxMin, export_plain, make_layer
from ...lipschitz.losses import make_loss
from ...models import lipschitz_convnet, seeded
from ...provenance import package_hash

FAMILIES = ("lipschitz", "standard", "noise")
ARCHITECTURES = ("dense", "convolutional")
# Kinds of 1-Lipschitz layers: of a dense network, of a convolutional one.
DENSE, CONVOLUTION = "bjorck", "aoc_bjorck"
# Of the 1-Lipschitz network: the loss that gave the smallest sets. Of the others: cross-entropy.
LOSS = {"name": "soft_hkr", "alpha": 0.975, "margin": 0.6, "temperature": 5.0}
RATES = {"lipschitz": 3e-3, "standard": 1e-3, "noise": 1e-3}


def make_network(family, architecture, shape, classes, width, seed):
    """Make an untrained network of a family.

    Parameters
    ----------
    family : {"lipschitz", "standard", "noise"}
        The first has orthogonal layers and MaxMin, so that its Lipschitz constant is 1; the others are plain, with
        ReLU.
    architecture : {"dense", "convolutional"}
        Two hidden layers of `width`; or, for "lipschitz", `lipschitz_convnet` with `width` channels and a block for
        each halving down to 4 pixels, and, for the others, two strided convolutions and a hidden layer.
    shape : tuple of int
        (channels, height, width) of the images.
    classes, width, seed : int

    Returns
    -------
    torch.nn.Module
        On the CPU.
    """
    if family not in FAMILIES:
        raise ValueError(f"network={family!r}: expected one of {', '.join(FAMILIES)}")
    if architecture not in ARCHITECTURES:
        raise ValueError(f"architecture={architecture!r}: expected {' or '.join(ARCHITECTURES)}")
    constrained = family == "lipschitz"
    with seeded(seed):
        if architecture == "dense":
            layer = partial(make_layer, DENSE) if constrained else nn.Linear
            return _dense(layer, MaxMin if constrained else nn.ReLU, torch.Size(shape).numel(), width, classes)
        if not constrained:
            return _strided(shape, width, classes)
    blocks = max(1, (max(shape[1:]) // 4).bit_length() - 1)
    layers = partial(make_layer, CONVOLUTION), partial(make_layer, DENSE), MaxMin
    sizes = {"channels": shape[0], "size": max(shape[1:]), "outputs": classes, "blocks": blocks}
    return lipschitz_convnet(seed, *layers, width=width, convolutions=3, **sizes)


def _dense(layer, activation, features, width, classes):
    return nn.Sequential(
        nn.Flatten(), layer(features, width), activation(), layer(width, width), activation(), layer(width, classes)
    )


def _strided(shape, width, classes):
    channels, *size = shape
    side = [(each + 3) // 4 for each in size]
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(2 * width * side[0] * side[1], 128),
        nn.ReLU(),
        nn.Linear(128, classes),
    )


def trained_network(family, train, classes, *, architecture, width, steps, batch_size, sigma, seed):
    """Return a trained network of a family, with plain weights, and an upper bound of its Lipschitz constant.

    Training is seeded and cached on disk by content, with a checksum: the second call reads it. On a CPU it is the
    same to the last bit.

    Parameters
    ----------
    family, architecture, width
        As of `make_network`.
    train : Examples
        Images in [0, 1].
    classes, steps, batch_size, seed : int
    sigma : float
        Of the Gaussian noise that the family "noise" is trained with.

    Returns
    -------
    model : torch.nn.Module
        On the CPU, in evaluation mode.
    constant : float
        Of the Euclidean norm.
    """
    options = {"architecture": architecture, "width": width, "steps": steps, "batch_size": batch_size}
    sigma = sigma if family == "noise" else 0.0
    return _train(family, train.inputs, train.targets, classes, options, sigma, seed, _kind(), package_hash())


def _kind():
    return resolve_device().type


@cached
def _train(family, inputs, targets, classes, options, sigma, seed, device, package):
    """``package``, the hash of this package, is there to be part of the cache key."""
    shape = tuple(inputs.shape[1:])
    model = make_network(family, options["architecture"], shape, classes, options["width"], seed)
    loss = make_loss(**LOSS) if family == "lipschitz" else nn.CrossEntropyLoss()
    examples = Examples(inputs, targets)
    if device == "cpu":
        with seeded(seed):
            _fit(model, examples, loss, RATES[family], options, sigma, seed, torch.device(device))
    else:
        _fit(model, examples, loss, RATES[family], options, sigma, seed, resolve_device())
    from ...models.evaluation import evaluation_mode  # not above: what trains takes a second to import

    plain = export_plain(model.cpu()).requires_grad_(False).eval()
    with evaluation_mode(plain):
        return plain, float(upper_bound(plain, shape).total)


def _fit(model, examples, loss, rate, options, sigma, seed, device):
    """Train by Adam, with a learning rate that falls to zero, on batches and noise of a generator of its own."""
    generator = torch.Generator().manual_seed(seed)
    model, loss = model.to(device).train(), loss.to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    steps = options["steps"]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    size = min(options["batch_size"], len(examples))
    for _ in range(steps):
        inputs, targets = examples[torch.randint(len(examples), (size,), generator=generator)]
        if sigma:
            inputs = inputs + sigma * torch.randn(inputs.shape, generator=generator)
        optimizer.zero_grad()
        loss(model(inputs.to(device)), targets.to(device)).backward()
        optimizer.step()
        schedule.step()
