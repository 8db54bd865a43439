"""The encoder-decoder of 1-Lipschitz layers: its formula, and that its bound is 1 for every kind of convolution."""

import math

import pytest
import torch
from torch import nn

from orthobench.lipschitz import LAYERS, export_plain, lower_bound, upper_bound
from orthobench.lipschitz.bounds import dense_jacobian
from orthobench.lipschitz.evaluation import stated_constant
from orthobench.lipschitz.networks import layers_of
from orthobench.models import lipschitz_unet
from orthobench.models.lipschitz_unet import SkipConnection, ZeroChannels

CONVOLUTIONS = [name for name, kind in LAYERS.items() if kind.conv and kind.joint]
# Of these no weight is limited, or that of a reshaped kernel alone.
UNBOUNDED = {"plain", "spectral"}


def plain_layer(inputs, outputs, kernel_size, *, padding_mode="circular"):
    return nn.Conv2d(inputs, outputs, kernel_size, padding="same", padding_mode=padding_mode)


class Identity(nn.Module):
    """In place of a convolution: what the network does besides its layers."""

    def __init__(self, inputs, outputs, kernel_size, padding_mode="circular"):
        super().__init__()
        self.outputs = outputs

    def forward(self, x):
        return x[:, : self.outputs]


def images(count, channels, size, dtype=torch.float32):
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(0), dtype=dtype)


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_every_kind_of_convolution_makes_a_network_with_a_bound_that_is_measured(kind):
    model = lipschitz_unet(0, **layers_of(kind), channels=3, classes=5, width=4, depth=1, convolutions=1)
    shape = (3, 6, 8)
    x = images(2, 3, 8)[..., :6, :]
    with torch.no_grad():
        assert model(x).shape == (2, 5, 6, 8)
        plain = export_plain(model)
        torch.testing.assert_close(plain(x), model.eval()(x), rtol=1e-3, atol=1e-5)
    bound = upper_bound(plain, shape).total
    assert upper_bound(plain, shape, trusted=("orthobench",)).total == bound
    if kind not in UNBOUNDED:
        assert bound <= 1 + 2e-4
    assert 0.01 * min(1, bound) < lower_bound(plain, x, iterations=3) <= bound


def test_without_layers_it_keeps_distances():
    model = lipschitz_unet(0, Identity, Identity, channels=2, classes=4, width=4, skip_share=0)
    matrix = dense_jacobian(model, (2, 12, 12))
    torch.testing.assert_close(matrix.mT @ matrix, torch.eye(len(matrix.mT), dtype=torch.float64))


def test_shuffles_undo_unshuffles_so_that_pixels_stay_in_their_places():
    model = lipschitz_unet(0, Identity, Identity, channels=3, classes=4, width=4, depth=2, skip_share=0)
    x = images(2, 3, 12)
    assert torch.equal(model(x), torch.cat([x, torch.zeros(2, 1, 12, 12)], 1))


def test_the_network_computes_its_formula():
    model = lipschitz_unet(
        0, plain_layer, plain_layer, nn.Tanh, classes=3, width=2, depth=1, convolutions=1, skip_share=0.36
    )
    x = images(2, 1, 6)
    first, down, bottom, mix, last, head = (each for each in model.modules() if isinstance(each, nn.Conv2d))
    with torch.no_grad():
        s = down(first(torch.cat([x, torch.zeros_like(x)], 1)).tanh()).tanh()
        h = torch.pixel_shuffle(bottom(torch.pixel_unshuffle(s, 2)).tanh(), 2)
        joined = mix(torch.cat([0.8 * h, 0.6 * s], 1)).tanh()[:, :2]
        torch.testing.assert_close(model(x), head(last(joined).tanh()))


@pytest.mark.parametrize("share", [0, 0.3, 0.9])
def test_a_skip_connection_has_the_bound_of_its_formula_and_attains_it(share):
    branch = nn.Conv2d(2, 2, 1, bias=False).double()
    branch.weight.data = 3 * torch.eye(2, dtype=torch.float64)[:, :, None, None]
    skip = SkipConnection(branch, share)
    bound = upper_bound(skip, (2, 3, 3)).total
    assert bound == pytest.approx(math.sqrt(9 * (1 - share) + share))
    assert torch.linalg.matrix_norm(dense_jacobian(skip, (2, 3, 3)), 2).item() == pytest.approx(bound)
    a, b = skip.weights
    assert a**2 + b**2 == pytest.approx(1)


def test_a_skip_connection_with_a_branch_that_has_no_bound_has_none():
    class Square(nn.Module):
        def forward(self, x):
            return x**2

    with pytest.raises(ValueError, match="SkipConnection"):
        upper_bound(SkipConnection(Square()), (2, 3, 3))


def test_the_seed_alone_decides_the_weights():
    def weights(seed):
        return torch.cat(
            [each.detach().flatten() for each in lipschitz_unet(seed, plain_layer, plain_layer).parameters()]
        )

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


@pytest.mark.parametrize("shape", [(1, 1, 10, 12), (1, 1, 12, 14), (1, 1, 8, 8), (1, 3, 12, 12)])
def test_images_that_do_not_fit_are_refused_with_the_remedy(shape):
    model = lipschitz_unet(0, plain_layer, plain_layer, width=2, depth=2)
    told = r"c <= 2" if shape[1] == 3 else "multiples of 4, at least 12; pad them, and ignore the pixels around"
    with pytest.raises(ValueError, match=told):
        model(torch.zeros(shape))


def test_zeros_are_further_channels():
    padded = ZeroChannels(3)(torch.ones(2, 1, 4, 5))
    assert padded.shape == (2, 3, 4, 5)
    assert padded[:, 0].all()
    assert not padded[:, 1:].any()


@pytest.mark.parametrize(
    ("argument", "value", "told"),
    [
        ("width", 7, "give a multiple of 2"),
        ("width", 0, "give an integer >= 2"),
        ("classes", 1, "give an integer >= 2"),
        ("depth", -1, "give an integer >= 0"),
        ("convolutions", 0, "give an integer >= 1"),
        ("kernel_size", 2, "give an odd number"),
        ("padding_mode", "reflect", "give circular or zeros"),
        ("skip_share", 1.0, r"give a number in \[0, 1\)"),
        ("skip_share", -0.1, r"give a number in \[0, 1\)"),
    ],
)
def test_an_argument_that_is_not_allowed_is_named(argument, value, told):
    with pytest.raises(ValueError, match=f"{argument} is .*{told}"):
        lipschitz_unet(0, plain_layer, plain_layer, **{argument: value})


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_what_its_layers_state_is_a_bound_however_little_goes_through_them(scale):
    """Beside a branch of little weight the skip connection lets more through than the branch."""
    model = lipschitz_unet(0, **layers_of("plain"), width=4, depth=1, convolutions=1)
    with torch.no_grad():
        for each in model[3][2].branch.parameters():
            each.mul_(scale)
    x = images(4, 1, 8)
    assert lower_bound(model, x) <= stated_constant(model) * (1 + 1e-6)
    assert stated_constant(model) <= 1.2 * upper_bound(model, (1, 8, 8)).total
