"""What orthogonal layers cost, as ratios of times measured in one run: ours against Orthogonium's, AOC against plain.

``orthobench speed lipschitz`` prints them. Nothing else should run meanwhile.
"""

import itertools
from functools import partial

import torch
from torch import nn

from ..device import resolve_device
from ..lipschitz.layers.newton_schulz_linear import NewtonSchulzLinear
from .timing import medians

BATCH = 256
TRAINING_STEPS = 20
CHANNELS = (3, 32, 32, 64, 64, 128)
NOT_INSTALLED = "orthogonium is not installed: pip install 'orthobench[libraries]'"


def train(layer, learning_rate, steps=TRAINING_STEPS):
    """Train a dense layer by SGD with momentum to imitate a random rotation of Gaussian inputs.

    Parameters
    ----------
    layer : torch.nn.Module
        From width to width.
    learning_rate : float
    steps : int
    """
    device = next(layer.parameters()).device
    generator = torch.Generator().manual_seed(1)
    width = layer.in_features
    rotation = torch.linalg.qr(torch.randn(width, width, generator=generator))[0].to(device)
    optimizer = torch.optim.SGD(layer.parameters(), lr=learning_rate, momentum=0.9)
    for _ in range(steps):
        inputs = torch.randn(BATCH, width, generator=generator).to(device)
        loss = (layer(inputs) - inputs @ rotation).square().sum(-1).mean() / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def orthogonality_error(weight):
    """Return ||W W^T - I||_F / sqrt(m) of a square W (m, m), in float64."""
    W = weight.detach().double()
    return float(torch.linalg.matrix_norm(W @ W.mT - torch.eye(len(W), device=W.device)) / len(W) ** 0.5)


def largest_singular_value(weight):
    """Return it as a float, by an SVD in float64."""
    return float(torch.linalg.matrix_norm(weight.detach().double(), 2))


def forward_and_backward(layer, inputs, gradient):
    """Compute a layer's outputs, and the gradients of its parameters and inputs from that of the outputs."""
    layer.zero_grad()
    inputs.grad = None
    layer(inputs).backward(gradient)


def dense_layers(width, device):
    """Return ours and Orthogonium's, from the same orthogonal start.

    Parameters
    ----------
    width : int
    device : torch.device

    Returns
    -------
    dict of str to torch.nn.Module

    Raises
    ------
    ImportError
        If Orthogonium isn't installed.
    """
    from orthogonium.layers import OrthoLinear

    layers = {}
    for name, kind in (("ours", NewtonSchulzLinear), ("orthogonium", OrthoLinear)):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            layers[name] = kind(width, width).to(device)
    return layers


def dense(device, repetitions, learning_rate, widths):
    """Yield a line for each width: the time of our dense layer over that of Orthogonium's, and their errors.

    Both are trained before they are timed, since ours takes as many products as its weight needs. Orthogonium's has its
    defaults, power iteration and 12 steps of Bjorck's iteration.

    Parameters
    ----------
    device : torch.device
    repetitions : int
    learning_rate : float
        The larger, the further training moves our weight from where it starts.
    widths : sequence of int

    Yields
    ------
    str
    """
    for width in widths:
        layers = dense_layers(width, device)
        generator = torch.Generator().manual_seed(2)
        inputs, gradient = (torch.randn(BATCH, width, generator=generator).to(device) for _ in range(2))
        for layer in layers.values():
            train(layer, learning_rate)
        runs = {
            name: partial(forward_and_backward, layer, inputs.clone().requires_grad_(), gradient)
            for name, layer in layers.items()
        }
        times = medians(runs, device, repetitions)
        for layer in layers.values():
            layer.eval()
        weights = {name: layer.weight for name, layer in layers.items()}
        condition = torch.linalg.cond(layers["ours"].parametrizations.weight.original.detach())
        yield (
            f"dense {width} x {width}, batch {BATCH}, forward and backward: NewtonSchulzLinear over OrthoLinear "
            f"{times['ours'] / times['orthogonium']:.2f} ({1e3 * times['ours']:.1f} ms, "
            f"{1e3 * times['orthogonium']:.1f} ms); after {TRAINING_STEPS} steps, "
            + ", ".join(
                f"orthogonality error of {name} {orthogonality_error(weight):.2e}, "
                f"sigma_max - 1 {largest_singular_value(weight) - 1:+.1e}"
                for name, weight in weights.items()
            )
            + f"; condition number of what ours orthogonalises {condition:.1f}"
        )


def convolutions(make_convolution, channels=CHANNELS):
    """Return a chain of 3 x 3 convolutions with ReLU between.

    Parameters
    ----------
    make_convolution : callable
        Of input channels, output channels, kernel size, ``padding`` and ``padding_mode``.
    channels : sequence of int

    Returns
    -------
    torch.nn.Sequential
    """
    layers = []
    for before, after in itertools.pairwise(channels):
        layers += [make_convolution(before, after, 3, padding="same", padding_mode="circular"), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def training_step(model, optimizer, inputs):
    """Do a step of SGD on the mean square of a model's outputs."""
    loss = model(inputs).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def convolutional(device, repetitions, batches, image, channels=CHANNELS):
    """Yield a line for each batch size: what AOC adds to a training step with plain convolutions.

    Parameters
    ----------
    device : torch.device
    repetitions : int
    batches : sequence of int
    image : int
        Width and height.
    channels : sequence of int
        Of the inputs and after each convolution.

    Yields
    ------
    str

    Raises
    ------
    ImportError
        If Orthogonium isn't installed.
    """
    from orthogonium.layers import AdaptiveOrthoConv2d

    models = {"plain": convolutions(nn.Conv2d, channels), "aoc": convolutions(AdaptiveOrthoConv2d, channels)}
    for batch in batches:
        inputs = torch.randn(batch, channels[0], image, image, generator=torch.Generator().manual_seed(0)).to(device)
        runs = {}
        for name, model in models.items():
            optimizer = torch.optim.SGD(model.to(device).parameters(), lr=1e-3)
            runs[name] = partial(training_step, model, optimizer, inputs)
        times = medians(runs, device, repetitions)
        yield (
            f"{len(channels) - 1} convolutions 3 x 3 of {channels[1]} to {channels[-1]} channels, images "
            f"{image} x {image}, batch {batch}, training step: AOC over plain {times['aoc'] / times['plain']:.2f} "
            f"({1e3 * times['aoc']:.0f} ms, {1e3 * times['plain']:.0f} ms)"
        )


def main(arguments):
    """Print the report."""
    torch.set_num_threads(arguments.threads)
    device, repetitions = resolve_device(), arguments.repetitions
    print(f"device {device}, {torch.get_num_threads()} threads, torch {torch.__version__}, {repetitions} repetitions")
    try:
        for line in dense(device, repetitions, arguments.learning_rate, arguments.widths):
            print(line, flush=True)
        # These steps take seconds, and are told apart by few.
        few = max(1, repetitions // 3)
        for line in convolutional(device, few, arguments.batches, arguments.image):
            print(line, flush=True)
    except ImportError:
        print(NOT_INSTALLED)
