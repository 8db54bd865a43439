"""The layers and networks of private training do what they are called."""

import pytest
import torch
from privacy_oracles import unit_rows
from torch import nn

from orthobench.lipschitz.bounds import upper_bound
from orthobench.privacy.layers import Centring, ClipInput, L2NormPooling, MeanResidual, NormBoundedBias, RKOConv2d
from orthobench.privacy.networks import private_convnet, private_mlp


def test_inputs_are_clipped_to_a_norm_and_no_further():
    x = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    assert torch.allclose(ClipInput(2.0)(x), torch.tensor([[1.2, 1.6], [0.3, 0.4], [0.0, 0.0]]))
    images = unit_rows(5, 2, 3, 3, norm=7.0)
    assert ClipInput(2.0)(images).flatten(1).norm(dim=1).tolist() == pytest.approx([2.0] * 5)


@pytest.mark.parametrize("norm", [0.5, 50.0])
def test_clipping_can_be_compiled_exported_and_vectorised(norm):
    x = unit_rows(4, 3, norm=7.0)
    clip, expected = ClipInput(norm), ClipInput(norm)(x)
    assert torch.equal(torch.compile(clip, backend="eager", fullgraph=True)(x), expected)
    assert torch.equal(torch.export.export(clip, (x,)).module()(x), expected)
    assert torch.equal(torch.vmap(clip)(x.view(2, 2, 3)).view(4, 3), expected)


def test_norm_pooling_takes_norms_and_has_gradients_at_zero():
    x = torch.zeros(1, 1, 2, 4, dtype=torch.float64)
    x[0, 0, :, 2:] = torch.tensor([[1.0, 2.0], [4.0, 2.0]])
    x.requires_grad_()
    y = L2NormPooling(2)(x)
    assert torch.equal(y, torch.tensor([[[[0.0, 5.0]]]], dtype=torch.float64))
    y.sum().backward()
    assert torch.allclose(x.grad[0, 0, :, 2:], x.detach()[0, 0, :, 2:] / 5)
    assert not x.grad[0, 0, :, :2].any()
    for scale in (1e-30, 1e-22, 1e-19, 1e-15, 1e-14, 1e15):  # squares under- and near overflow in float32
        x = (scale * unit_rows(20, 1, 2, 2)).float().requires_grad_()
        L2NormPooling(2)(x).sum().backward()
        assert x.grad.flatten(1).norm(dim=1).max() <= 1 + 1e-6


def test_centring_is_a_projection():
    x = unit_rows(3, 4, 2, 2)
    y = Centring()(x)
    assert y.mean((2, 3)).abs().max() < 1e-15
    assert torch.allclose(Centring()(y), y)
    assert Centring()(unit_rows(3, 5)).mean(1).abs().max() < 1e-15


def test_a_convolution_is_that_of_its_divided_kernel():
    layer = RKOConv2d(2, 3, 3, stride=2, padding_mode="zeros").double()
    x = unit_rows(2, 2, 6, 6)
    expected = nn.functional.conv2d(x, layer.weight / 2, stride=2, padding=1)
    assert torch.allclose(layer(x), expected)
    assert layer.multiplicity == 2
    with pytest.raises(ValueError, match="stride 2"):
        layer(unit_rows(1, 2, 5, 6))


@pytest.mark.parametrize("make", [lambda: RKOConv2d(1, 1, 2), lambda: RKOConv2d(1, 1, 3, padding_mode="reflect")])
def test_convolutions_without_a_bound_are_refused(make):
    with pytest.raises(ValueError, match=r"kernel_size is 2|padding_mode is 'reflect'"):
        make()


@pytest.mark.parametrize("zero_last", [False, True])
@pytest.mark.parametrize("widths", [(), (64,), (64, 64), (256, 256)])
def test_dense_networks_are_1_lipschitz_and_start_as_asked(widths, zero_last):
    model = private_mlp(0, widths=widths, zero_last=zero_last)
    weights = [layer.weight.detach() for layer in model if isinstance(layer, nn.Linear)]
    assert [tuple(each.shape) for each in weights] == list(zip([*widths, 10], [64, *widths], strict=True))
    for index, weight in enumerate(weights):
        values = torch.linalg.svdvals(weight.double())
        assert torch.allclose(
            values, torch.full_like(values, 0.0 if zero_last and index == len(weights) - 1 else 1.0), atol=1e-5
        )
    assert upper_bound(model, (64,)).total <= 1 + 1e-4
    assert not any(isinstance(each, nn.Parameter) and each.ndim == 1 for each in model.parameters())


def test_weights_depend_on_the_seed_alone():
    for make in (private_mlp, private_convnet):
        first, second, other = (next(make(seed).parameters()) for seed in (3, 3, 4))
        assert torch.equal(first, second)
        assert not torch.equal(first, other)


def test_the_convolutional_network_is_1_lipschitz_at_first():
    model = private_convnet(0, zero_last=False)
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    assert upper_bound(model, (1, 8, 8)).total <= 1 + 1e-4
    block = nn.Sequential(NormBoundedBias(3), MeanResidual(nn.Linear(3, 3, bias=False)), ClipInput(1.0))
    assert upper_bound(block, (3,)).total == pytest.approx(
        (1 + float(torch.linalg.matrix_norm(block[1].branch.weight.detach().double(), 2))) / 2
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: private_mlp(0, widths=(3,)), "widths is 3"),
        (lambda: private_mlp(0, features=0), "features is 0"),
        (lambda: private_mlp(-1), "seed is -1"),
        (lambda: private_convnet(0, size=6), "size is 6"),
        (lambda: private_convnet(0, width=5), "width is 5"),
        (lambda: ClipInput(0.0), "norm is 0.0"),
        (lambda: NormBoundedBias(4, -1.0), "norm is -1.0"),
    ],
)
def test_bad_sizes_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_branch_that_changes_the_shape_is_refused():
    with pytest.raises(ValueError, match="must keep the shape"):
        MeanResidual(nn.Linear(4, 1, bias=False))(torch.ones(2, 4))
