"""Layers to test: the options that each kind supports, their Jacobians, and a short training."""

import itertools
import math
import random

import torch

from orthobench.lipschitz.layers import LAYERS, make_layer

CONVOLUTIONS = [name for name, kind in LAYERS.items() if kind.conv]
DENSE = [name for name, kind in LAYERS.items() if kind.dense and name != "newton_schulz"]
VALUES = {
    "kernel_size": (1, 2, 3, 4, 5, 6, 7),
    "stride": (1, 2),
    "groups": (1, 2, 4),
    "dilation": (1, 2),
    "padding_mode": ("circular", "zeros"),
    "transposed": (False, True),
    "channels": ((4, 8), (8, 4), (8, 8), (4, 4)),
}


def supports(kind, case):
    """Whether a kind has a layer with these options, by its entry in the table."""
    return (
        (case["stride"] == 1 or kind.strided)
        and (case["groups"] == 1 or kind.grouped)
        and (case["dilation"] == 1 or kind.dilated)
        and (not case["transposed"] or kind.transposed)
        and (case["padding_mode"] in kind.padding_modes)
        and (case["stride"] <= case["kernel_size"])
        and (case["kernel_size"] % 2 == 1 or not kind.odd_kernels)
        and (case["channels"] == (4, 4)) == kind.residual  # their Jacobians have to be taken one by one
        and not _is_an_exception(kind, case)
    )


def _is_an_exception(kind, case):
    """What no entry of the table says, but an error does."""
    k, s, d = case["kernel_size"], case["stride"], case["dilation"]
    if case["transposed"] and case["padding_mode"] == "zeros":
        native = s if kind.name != "aol" else 1
        if native == 1 and d == 1 and k % 2 == 0:
            return True
    turned_or_wide = case["transposed"] or k == s or case["channels"][1] >= case["channels"][0]
    if math.gcd(s, d) > 1 and (kind.name == "bjorck" or (kind.name.startswith("aoc") and turned_or_wide)):
        return True
    if kind.name.startswith("aoc") and s > 1 and k > s:
        small, large = case["channels"][::-1] if case["transposed"] else case["channels"]
        inner = max(small, large // s**2)
        return inner % case["groups"] != 0 or inner // case["groups"] < 2
    return False


def covering_cases(kind):
    """Sample supported cases until each pair of values that a kind supports together is among them."""
    cases = [dict(zip(VALUES, values, strict=True)) for values in itertools.product(*VALUES.values())]
    cases = [case for case in cases if supports(kind, case)]
    random.Random(kind.name).shuffle(cases)
    missing = {pair for case in cases for pair in _pairs(case)}
    chosen = []
    while missing:
        best = max(cases, key=lambda case: len(missing & _pairs(case)))
        chosen.append(best)
        missing -= _pairs(best)
    return chosen


def _pairs(case):
    return set(itertools.combinations(sorted(case.items(), key=lambda item: item[0]), 2))


def make(kind, case, seed=0):
    """Make a layer of a case."""
    torch.manual_seed(seed)
    inputs, outputs = case["channels"]
    options = {name: value for name, value in case.items() if name != "channels"}
    return make_layer(kind, inputs, outputs, **options)


def input_shape(case):
    """Channels and an odd size; an even one at a stride that divides it."""
    reach = case["dilation"] * (case["kernel_size"] - 1)
    if case["stride"] == 1:
        size = (7, 9) if reach > 10 else (5, 7)
    elif case["transposed"]:
        size = (5, 7) if reach > 7 else (3, 4)
    else:
        size = (12, 14) if reach > 7 else (8, 6)
    return (case["channels"][0], *size)


def jacobian(function, shape, at=None):
    """Return the dense Jacobian (outputs, inputs), float64, of an affine function, or of any function at a point."""
    if at is not None:
        result = torch.autograd.functional.jacobian(lambda x: function(x[None])[0].flatten(), at, vectorize=True)
        return result.flatten(1).double()
    count = math.prod(shape)
    with torch.no_grad():
        basis = torch.eye(count, dtype=torch.get_default_dtype()).view(count, *shape)
        origin = function(torch.zeros_like(basis[:1]))
        return torch.cat([function(part) - origin for part in basis.split(256)]).flatten(1).T.double()


def scaled(layer, factor):
    """Multiply all that is trained of a layer by a factor; logarithms become it at most. Leave it in evaluation."""
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if parameter.requires_grad:
                parameter.mul_(factor)
                if name.startswith("log_"):
                    parameter.copy_(factor * torch.linspace(-1, 1, parameter.numel()))
    return layer.eval()


def train(layer, shape, steps=20, batch=2, learning_rate=0.5):
    """Train a layer for some steps towards random targets; leave it in evaluation mode."""
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(batch, *shape, generator=generator)
    targets = torch.randn(layer(inputs).shape, generator=generator)
    optimizer = torch.optim.SGD([p for p in layer.parameters() if p.requires_grad], lr=learning_rate, momentum=0.9)
    layer.train()
    for _ in range(steps):
        optimizer.zero_grad()
        (layer(inputs) - targets).square().mean().backward()
        optimizer.step()
    return layer.eval()


def some_layers():
    """Return (name, layer maker, input shape) of a dense layer and convolutions of each kind."""
    layers = []
    for name in DENSE:
        layers.append((f"{name}-dense", lambda name=name: make_layer(name, 12, 12), (12,)))
    for name in CONVOLUTIONS:
        kind = LAYERS[name]
        layers.append((f"{name}-conv", lambda name=name: make_layer(name, 4, 4, 3), (4, 6, 6)))
        if kind.strided:
            layers.append((f"{name}-strided", lambda name=name: make_layer(name, 4, 8, 3, stride=2), (4, 6, 6)))
        if kind.transposed:
            maker = lambda name=name: make_layer(name, 8, 4, 3, stride=2, transposed=True)  # noqa: E731
            layers.append((f"{name}-transposed", maker, (8, 4, 4)))
        if "zeros" in kind.padding_modes:
            layers.append(
                (f"{name}-zeros", lambda name=name: make_layer(name, 4, 4, 3, padding_mode="zeros"), (4, 5, 5))
            )
    return layers
