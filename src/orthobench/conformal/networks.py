"""The networks of the comparison: 1-Lipschitz, standard and noise-trained; trained, seeded."""

from contextlib import nullcontext
from functools import partial

import torch
from torch import nn

from ..lipschitz.bounds import upper_bound
from ..lipschitz.layers import MaxMin, export_plain, make_layer
from ..lipschitz.losses import make_loss
from ..models import lipschitz_convnet, seeded
from ..models.evaluation import evaluation_mode

FAMILIES = ("lipschitz", "standard", "noise")
ARCHITECTURES = ("dense", "convolutional")
CPU = torch.device("cpu")
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


def trained_network(
    family, inputs, targets, classes, *, architecture, width, steps, batch_size, seed, sigma=0.0, device=CPU
):
    """Train a network of a family, by Adam with a learning rate that falls to zero.

    On a CPU the result is the same to the last bit for the same seed.

    Parameters
    ----------
    family, architecture, width
        As of `make_network`.
    inputs, targets : torch.Tensor
        Images (n, channels, height, width) in [0, 1] and their classes (n,), on the CPU.
    classes, steps, batch_size, seed : int
    sigma : float
        Of Gaussian noise that is added to the inputs, drawn anew for each batch.
    device : torch.device

    Returns
    -------
    model : torch.nn.Module
        With plain weights, on the CPU, in evaluation mode.
    constant : float
        An upper bound of its Lipschitz constant, in the Euclidean norm.
    """
    shape = tuple(inputs.shape[1:])
    model = make_network(family, architecture, shape, classes, width, seed)
    loss = make_loss(**LOSS) if family == "lipschitz" else nn.CrossEntropyLoss()
    sizes = {"steps": steps, "size": min(batch_size, len(inputs))}
    with seeded(seed) if device.type == "cpu" else nullcontext():
        _fit(model, inputs, targets, loss, RATES[family], sigma=sigma, seed=seed, device=device, **sizes)
    plain = export_plain(model.cpu()).requires_grad_(False).eval()
    with evaluation_mode(plain):
        return plain, float(upper_bound(plain, shape).total)


def _fit(model, inputs, targets, loss, rate, *, steps, size, sigma, seed, device):
    # Batches and noise are of a generator of their own.
    generator = torch.Generator().manual_seed(seed)
    model, loss = model.to(device).train(), loss.to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    for _ in range(steps):
        indices = torch.randint(len(inputs), (size,), generator=generator)
        batch = inputs[indices]
        if sigma:
            batch = batch + sigma * torch.randn(batch.shape, generator=generator)
        optimizer.zero_grad()
        loss(model(batch.to(device)), targets[indices].to(device)).backward()
        optimizer.step()
        schedule.step()
