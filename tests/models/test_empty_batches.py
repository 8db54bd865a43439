"""No example through every network is no row of outputs, gradients of zero, and a network that works as before."""

from functools import partial
from itertools import product

import pytest
import torch

from orthobench.conformal.networks import ARCHITECTURES, FAMILIES, make_network
from orthobench.lipschitz.layers import LAYERS
from orthobench.lipschitz.networks import layers_of
from orthobench.models import (
    airbench_cnn,
    byte_transformer,
    convnet,
    digits_convnet,
    gpt2,
    lipschitz_convnet,
    lipschitz_mlp,
    vit,
)
from orthobench.privacy.network_factory import KINDS, network_factory

GENERATOR = torch.Generator().manual_seed(0)
SENTENCES = {"width": 24, "depth": 2, "heads": 3, "context": 10, "vocabulary": 12}


def images(channels, size):
    return torch.rand(3, channels, size, size, generator=GENERATOR)


def words():
    return torch.randint(12, (3, 10), generator=GENERATOR)


def networks():
    """Give the name of each network, how to make it, and some of its inputs."""
    colour = torch.randn(16, 3, 32, 32, generator=GENERATOR)
    yield "digits_convnet", partial(digits_convnet, width=8), images(1, 8)
    yield "convnet", partial(convnet, channels=2, size=20, width=8), images(2, 20)
    yield "airbench_cnn", partial(airbench_cnn, images=colour, width=8), colour[:3]
    yield "byte_transformer", partial(byte_transformer, **SENTENCES), words()
    yield "gpt2", partial(gpt2, **SENTENCES), words()
    yield "vit", partial(vit, size=8, channels=2, patch=2, width=24, depth=2, heads=3), images(2, 8)
    for name, kind in LAYERS.items():
        if kind.joint and kind.conv:
            for mode in kind.padding_modes[:2]:
                make = partial(lipschitz_convnet, **layers_of(name), width=4, size=6, padding_mode=mode)
                yield f"lipschitz_convnet of {name}, {mode}", make, images(1, 6)
        if kind.joint and kind.dense:
            make = partial(lipschitz_mlp, **layers_of(name), features=9, width=12, depth=2)
            yield f"lipschitz_mlp of {name}", make, images(1, 3)
    for family, name in product(FAMILIES, ARCHITECTURES):
        make = partial(make_network, family, name, (1, 8, 8), 4, 8)
        yield f"conformal {name}, {family}", make, images(1, 8)
    for kind, name in product(KINDS, ("linear", "mlp-8", "conv")):
        yield f"private {name}, {kind}", network_factory(name, kind, (1, 8, 8), 4), images(1, 8)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("make", "inputs"), [pytest.param(*rest, id=name) for name, *rest in networks()])
def test_no_example_gives_no_output_and_no_gradient(make, inputs, training):
    model = make(0).train(training)
    expected = model(inputs)
    outputs = model(inputs[:0])
    assert outputs.shape == (0, *expected.shape[1:])
    outputs.sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or not parameter.grad.any(), name
    again = model(inputs)
    assert again.isfinite().all()
    if not training:
        assert torch.equal(again, expected)
