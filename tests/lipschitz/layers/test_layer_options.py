"""What the factory accepts works: every kind with any options is made, trained, bounded and 1-Lipschitz, or refused."""

import random

import pytest
import torch

from orthobench.lipschitz.bounds import upper_bound
from orthobench.lipschitz.layers import LAYERS, make_layer

CONVOLUTIONS = [name for name, kind in LAYERS.items() if kind.conv]
CASES = 25  # of each kind, drawn from all that it supports


def drawn(name, count=CASES):
    """Draw options that a kind supports, groups of one channel among them."""
    kind, generator = LAYERS[name], random.Random(name)
    for _ in range(count):
        pick = generator.choice
        groups = pick([1, 2, 3]) if kind.grouped else 1
        inputs, outputs = groups * pick([1, 2, 3]), groups * pick([1, 2, 4])
        kernel = pick([1, 2, 3, 4, 5, 7])
        yield {
            "in_channels": inputs,
            "out_channels": inputs if kind.residual else outputs,
            "kernel_size": kernel | 1 if kind.odd_kernels else kernel,
            "stride": pick([each for each in (1, 2, 3) if each <= kernel]) if kind.strided else 1,
            "dilation": pick([1, 1, 2, 3]) if kind.dilated else 1,
            "groups": groups,
            "padding_mode": pick(kind.padding_modes),
            "transposed": kind.transposed and pick([False, False, True]),
            "bias": pick([False, True]),
        }


def single_channels(name):
    """Groups of one channel in and out, which have nothing to mix, with kernels of every size."""
    if LAYERS[name].grouped:
        for kernel in range(1, 8):
            for transposed in {False, LAYERS[name].transposed}:
                yield {
                    "in_channels": 2,
                    "out_channels": 2,
                    "kernel_size": kernel,
                    "groups": 2,
                    "padding_mode": "circular",
                    "transposed": transposed,
                }


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_convolution_works_with_what_its_kind_supports_or_is_refused_with_the_remedy(name):
    torch.manual_seed(0)
    for options in (*drawn(name), *single_channels(name)):
        try:
            layer, refused = make_layer(name, **options), ""
        except ValueError as error:
            layer, refused = None, str(error)
        if layer is None:
            assert "give " in refused, options
        else:
            check(layer, **options)


def check(layer, in_channels, out_channels, kernel_size, padding_mode, transposed, stride=1, dilation=1, **options):
    told = repr((type(layer).__name__, in_channels, out_channels, kernel_size, stride, dilation, transposed, options))
    reach = dilation * (kernel_size - 1)
    size = (1 if transposed else stride) * (reach + 1)
    x = torch.randn(2, in_channels, size, size, requires_grad=True)
    y = layer(x)
    if padding_mode != "valid":
        side = size * stride if transposed else size // stride
        assert y.shape == (2, out_channels, side, side), told
    y.square().sum().backward()
    gradients = [each.grad for each in layer.parameters() if each.requires_grad]
    assert all(each is not None and bool(each.isfinite().all()) for each in gradients), told
    layer.eval()
    bound = layer.lipschitz_bound
    with torch.no_grad():
        one, other = layer(x)
        assert (one - other).norm() <= bound * (x[0] - x[1]).norm() * (1 + 1e-4), told
        assert layer(x[:0]).shape == (0, *y.shape[1:]), told
    assert upper_bound(layer, x.shape[1:]).total <= bound * (1 + 1e-3), told


def test_aol_starts_orthogonal_where_a_group_has_one_channel():
    for kernel in range(1, 8):
        for transposed in (False, True):
            layer = make_layer("aol", 3, 3, kernel, groups=3, transposed=transposed, bias=False)
            x = torch.randn(2, 3, 8, 8)
            torch.testing.assert_close(layer(x).norm(dim=(2, 3)), x.norm(dim=(2, 3)))


@pytest.mark.parametrize("name", [name for name, kind in LAYERS.items() if kind.dense])
@pytest.mark.parametrize("bias", [False, True])
def test_a_dense_layer_works_with_any_numbers_of_features(name, bias):
    torch.manual_seed(0)
    kind = LAYERS[name]
    for inputs, outputs in ((1, 1), (1, 4), (4, 1), (2, 2), (3, 2), (2, 3)):
        if kind.residual and inputs != outputs:
            continue
        layer = make_layer(name, inputs, outputs, bias=bias)
        x = torch.randn(5, inputs)
        layer(x).square().sum().backward()
        assert all(bool(each.grad.isfinite().all()) for each in layer.parameters() if each.requires_grad)
        y = layer.eval()(x)
        changes = torch.cdist(y, y) if kind.joint else (y[:, None] - y).abs().amax(2)
        assert (changes <= layer.lipschitz_bound * torch.cdist(x, x) * (1 + 1e-4) + 1e-6).all()
        assert layer(x[:0]).shape == (0, outputs)
