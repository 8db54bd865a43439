"""The network of the 1-Lipschitz comparison: its formula, its sizes, and that each step but the layers has norm 1."""

from functools import partial

import pytest
import torch
from formulas import convolve
from torch import nn
from torch.nn.functional import pad

from orthobench.models import lipschitz_convnet, lipschitz_mlp
from orthobench.models.lipschitz_networks import FirstChannels, ZeroFeatures, ZeroPadding
from orthobench.models.pixels import PixelUnshuffle


def plain_layer(inputs, outputs, kernel_size=None, *, padding_mode="circular", bias=True):
    if kernel_size is None:
        return nn.Linear(inputs, outputs, bias=bias)
    return nn.Conv2d(inputs, outputs, kernel_size, padding="same", padding_mode=padding_mode, bias=bias)


class Identity(nn.Module):
    """In place of a convolution: what the network does besides its layers."""

    def __init__(self, inputs, outputs, kernel_size=None, padding_mode="circular"):
        super().__init__()
        self.outputs = outputs

    def forward(self, x):
        return x if x.ndim == 4 else x[:, : self.outputs]


def images(count, channels, size, dtype=torch.float32):
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(0), dtype=dtype)


def unshuffle(maps):
    """Pixel unshuffle by 2, entry by entry: channel 4c + 2i + j has the pixels (2y + i, 2x + j) of channel c."""
    count, channels, height, width = maps.shape
    result = maps.new_empty(count, 4 * channels, height // 2, width // 2)
    for channel in range(channels):
        for i in (0, 1):
            for j in (0, 1):
                result[:, 4 * channel + 2 * i + j] = maps[:, channel, i::2, j::2]
    return result


def by_formula(model, x, circular):
    """Logits of a network of 2 blocks of 2 3x3 convolutions and ReLUs, of width 4, in float64."""
    first, blocks, head = model[1], [model[3], model[4]], model[-1]
    x = torch.cat([x, x.new_zeros(len(x), 4 - x.shape[1], *x.shape[2:])], 1)
    x = (convolve(x, first.weight, padding=0) + first.bias[:, None, None]).clamp(min=0)
    for block in blocks:
        for layer in (block[0], block[2]):
            if circular:
                x = torch.cat([x[..., -1:], x, x[..., :1]], -1)
                x = torch.cat([x[..., -1:, :], x, x[..., :1, :]], -2)
            x = (convolve(x, layer.weight, padding=0 if circular else 1) + layer.bias[:, None, None]).clamp(min=0)
        x = unshuffle(x[:, : x.shape[1] // 2])
    return x.flatten(1) @ head.weight.T + head.bias


@pytest.mark.parametrize("padding_mode", ["circular", "zeros"])
def test_the_network_computes_its_formula(padding_mode):
    model = lipschitz_convnet(
        0,
        plain_layer,
        plain_layer,
        nn.ReLU,
        channels=3,
        size=8,
        width=4,
        convolutions=2,
        outputs=5,
        padding_mode=padding_mode,
    ).double()
    inputs = images(3, 3, 8, torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(model(inputs), by_formula(model, inputs, padding_mode == "circular"))


@pytest.mark.parametrize(("channels", "size", "side"), [(1, 8, 8), (3, 9, 12), (1, 28, 28), (2, 30, 32)])
def test_all_but_the_layers_is_linear_with_a_norm_of_one(channels, size, side):
    model = lipschitz_convnet(
        0, Identity, Identity, channels=channels, size=size, width=4, outputs=16 * (side // 4) ** 2
    )
    inputs = channels * size**2
    columns = model(torch.eye(inputs).reshape(inputs, channels, size, size))
    values = torch.linalg.svdvals(columns.double())
    # Each pixel goes to one place, or nowhere.
    assert set(values.round(decimals=6).tolist()) <= {0.0, 1.0}
    assert values.max() == pytest.approx(1)
    assert model(torch.zeros(1, channels, size, size)).abs().max() == 0


def test_zeros_go_around_the_image_and_into_further_channels():
    padded = ZeroPadding(3, 8)(torch.ones(1, 2, 5, 8))
    assert padded.shape == (1, 3, 8, 8)
    assert torch.equal(padded[0, :2, 1:6], torch.ones(2, 5, 8))
    assert padded.sum() == 2 * 5 * 8


@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (1, 2, 9, 8), (1, 2, 8, 9)])
def test_larger_images_are_refused(shape):
    with pytest.raises(ValueError, match=r"c <= 3 and h, w <= 8"):
        ZeroPadding(3, 8)(torch.ones(shape))


def test_the_steps_beside_the_layers_tell_their_bound():
    assert ZeroPadding(3, 8).certified_bound((2, 5, 5)) == FirstChannels(2).certified_bound((4, 8, 8)) == 1.0


@pytest.mark.parametrize(("width", "millions"), [(16, 1.57), (32, 6.28), (64, 25.1)])
def test_the_sizes_of_the_public_comparison(width, millions):
    """Weights without biases; the comparison's head is square."""
    make = partial(plain_layer, bias=False)
    sizes = {"channels": 3, "size": 32, "blocks": 5, "convolutions": 5}
    network = lipschitz_convnet(0, make, make, width=width, outputs=32 * width, **sizes)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count / 1e6 == pytest.approx(millions, rel=5e-3)
    assert [each.kernel_size[0] for each in network.modules() if isinstance(each, nn.Conv2d)] == [1] + 20 * [3] + 5 * [
        1
    ]


def test_layers_and_activations_are_those_that_are_given():
    asked = []

    def make(inputs, outputs, kernel_size=None, **options):
        asked.append((inputs, outputs, kernel_size, options))
        return plain_layer(inputs, outputs, kernel_size, **options)

    model = lipschitz_convnet(0, make, make, nn.Tanh, size=28, width=8, blocks=3, convolutions=1, padding_mode="zeros")
    zeros = {"padding_mode": "zeros"}
    # 28 pixels are padded to 32: maps of 32, 16 and 8, then 4x4 pixels of 64 channels.
    assert asked == [
        (8, 8, 1, zeros),
        (8, 8, 3, zeros),
        (16, 16, 3, zeros),
        (32, 32, 3, zeros),
        (64 * 4 * 4, 10, None, {}),
    ]
    assert sum(isinstance(each, nn.Tanh) for each in model.modules()) == 4
    bare = lipschitz_convnet(0, plain_layer, plain_layer, size=28, width=8, blocks=3, convolutions=1)
    kinds = {type(each) for each in bare.modules()}
    assert kinds == {nn.Sequential, ZeroPadding, FirstChannels, PixelUnshuffle, nn.Flatten, nn.Conv2d, nn.Linear}


def test_the_seed_alone_decides_the_weights():
    def weights(seed):
        return torch.cat(
            [each.detach().flatten() for each in lipschitz_convnet(seed, plain_layer, plain_layer).parameters()]
        )

    before = torch.get_rng_state()
    first = weights(0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(5)
    assert torch.equal(first, weights(0))
    assert not torch.equal(first, weights(1))


@pytest.mark.parametrize(
    ("argument", "value", "told"),
    [
        ("width", 7, "give a multiple of 2"),
        ("width", 1, r"give an integer >= 2"),
        ("channels", 0, "give an integer >= 1"),
        ("blocks", 0, "give an integer >= 1"),
        ("convolutions", 0, "give an integer >= 1"),
        ("kernel_size", 2, "give an odd number"),
        ("outputs", 0, "give an integer >= 1"),
        ("padding_mode", "reflect", "give circular or zeros"),
    ],
)
def test_an_argument_that_is_not_allowed_is_named(argument, value, told):
    with pytest.raises(ValueError, match=f"{argument} is .*{told}"):
        lipschitz_convnet(0, plain_layer, plain_layer, **{argument: value})


def test_a_copy_padded_by_torch_is_the_same():
    inputs = images(2, 1, 28)
    assert torch.equal(ZeroPadding(4, 32)(inputs), pad(inputs, (2, 2, 2, 2, 0, 3)))


# ----- the dense network -----


def test_the_dense_network_computes_its_formula():
    model = lipschitz_mlp(0, plain_layer, plain_layer, nn.Tanh, features=12, outputs=3, width=16, depth=2).double()
    inputs = images(4, 3, 2, torch.float64)
    x = torch.cat([inputs.flatten(1), torch.zeros(4, 4, dtype=torch.float64)], 1)
    for layer in (model[2], model[4]):
        x = torch.tanh(x @ layer.weight.T + layer.bias)
    expected = x @ model[6].weight.T + model[6].bias
    with torch.no_grad():
        torch.testing.assert_close(model(inputs), expected)


def test_the_dense_network_without_layers_keeps_distances():
    model = lipschitz_mlp(0, Identity, Identity, features=64, outputs=70, width=70)
    values = torch.linalg.svdvals(model(torch.eye(64).reshape(64, 1, 8, 8)).double())
    torch.testing.assert_close(values, torch.ones_like(values))
    assert ZeroFeatures(70).certified_bound((64,)) == 1.0
    with pytest.raises(ValueError, match="n <= 70"):
        ZeroFeatures(70)(torch.ones(1, 71))


@pytest.mark.parametrize(
    ("argument", "value", "told"),
    [
        ("width", 63, "give an integer >= 64"),
        ("width", 65, "give a multiple of 2"),
        ("depth", 0, "give an integer >= 1"),
    ],
)
def test_sizes_of_the_dense_network_that_are_not_allowed_are_named(argument, value, told):
    with pytest.raises(ValueError, match=f"{argument} is {value}: {told}"):
        lipschitz_mlp(0, plain_layer, plain_layer, **{argument: value})
