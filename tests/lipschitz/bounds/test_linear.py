"""Bounds of affine modules that aren't plain convolutions against the dense Jacobian."""

import math

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm

from orthobench.lipschitz.bounds import (
    aol_bound,
    convolution_of,
    dense_jacobian,
    fft_bound,
    gelfand_bound,
    linear_upper_bound,
)
from orthobench.lipschitz.bounds import linear as module


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def exact(layer, shape, order=2):
    jacobian = dense_jacobian(layer, shape)
    return torch.linalg.matrix_norm(jacobian, 2).item() if order == 2 else jacobian.norm(dim=1).max().item()


class Fourier(nn.Module):
    """A circular convolution as large as the image, in the Fourier domain, on blocks of pixels."""

    def __init__(self, stride=1):
        super().__init__()
        self.stride = stride
        self.kernel = nn.Parameter(normal(3, 2 * stride**2, 4, 6).float())
        self.bias = nn.Parameter(torch.ones(3, 1, 1))

    def forward(self, images):
        images = nn.functional.pixel_unshuffle(images, self.stride)
        waves = torch.einsum("oihw,bihw->bohw", torch.fft.rfft2(self.kernel), torch.fft.rfft2(images))
        return torch.fft.irfft2(waves, images.shape[-2:]) + self.bias


class Mixed(nn.Module):
    """Affine, and the same at no two places."""

    def __init__(self, *shape):
        super().__init__()
        self.shape = shape
        self.matrix = nn.Parameter(normal(math.prod(shape), math.prod(shape)).float())

    def forward(self, images):
        return (images.flatten(1) @ self.matrix + 3).view(-1, *self.shape)


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (1, 4), (6, 1)])
def test_a_linear_layer_has_the_largest_singular_value_of_its_weight(shape):
    layer = nn.Linear(*shape)
    norm = torch.linalg.matrix_norm(layer.weight.detach().double(), 2).item()
    assert norm <= linear_upper_bound(layer, (shape[0],)) <= norm * (1 + 1e-9)
    # Further dimensions are batches of the same matrix.
    assert linear_upper_bound(layer, (3, shape[0])) == linear_upper_bound(layer, (shape[0],))


@pytest.mark.parametrize("wrap", [parametrizations.spectral_norm, spectral_norm, parametrizations.orthogonal])
def test_weights_are_those_that_are_evaluated(wrap):
    layer = wrap(nn.Linear(12, 8))
    layer(torch.zeros(1, 12))
    layer.eval()
    norm = torch.linalg.matrix_norm(layer.weight.detach().double(), 2).item()
    layer.train()
    assert linear_upper_bound(layer, (12,)) == pytest.approx(norm, rel=1e-9)
    assert layer.training


@pytest.mark.parametrize("stride", [1, 2])
def test_convolutions_in_the_fourier_domain_are_exact_on_images_of_any_size(stride):
    layer, shape = Fourier(stride), (2, 4 * stride, 6 * stride)
    norm = exact(layer.double(), shape)
    layer.float()
    # Much too large for the dense Jacobian: pixels of one cell alone are asked.
    assert norm <= linear_upper_bound(layer, shape, exact_up_to=0) <= norm * (1 + 1e-9)


def test_transposed_convolutions_on_a_torus():
    def function(images):
        images = nn.functional.pad(images, (2, 2, 2, 2), mode="circular")
        return nn.functional.conv_transpose2d(images, weight, stride=2)[..., 4:14, 4:14]

    class Upsampling(nn.Module):
        forward = staticmethod(function)

    weight = normal(2, 3, 3, 3)
    norm = exact(function, (2, 5, 5))
    assert norm <= linear_upper_bound(Upsampling(), (2, 5, 5), exact_up_to=0) <= norm * (1 + 1e-9)


def test_modules_of_no_structure_are_measured_if_they_are_small():
    layer = Mixed(2, 3, 4)
    norm = exact(layer.double(), (2, 3, 4))
    layer.float()
    assert norm <= linear_upper_bound(layer, (2, 3, 4)) <= norm * (1 + 1e-9)
    with pytest.raises(ValueError, match=r"Mixed has 24 inputs and 24 outputs, above exact_up_to=23"):
        linear_upper_bound(layer, (2, 3, 4), exact_up_to=23)


def test_what_is_measured_in_float32_gets_an_allowance():
    class Float32(nn.Linear):
        def forward(self, inputs):
            return nn.functional.linear(inputs.float(), 2 * self.weight.float())

    layer = Float32(6, 5)
    norm = 2 * torch.linalg.matrix_norm(layer.weight.detach().double(), 2).item()
    bound = linear_upper_bound(layer, (6,))
    assert norm * (1 + 1e-6) <= bound <= norm * (1 + 1e-5)


class Doubled(nn.Conv2d):
    def forward(self, images):
        return 2 * super().forward(images)


class Cut(nn.Linear):
    def forward(self, inputs):
        return super().forward(inputs).relu()


def test_a_subclass_is_not_taken_for_its_base():
    layer = Doubled(2, 2, 3, padding=1)
    norm = exact(layer.double(), (2, 4, 4))
    assert linear_upper_bound(layer, (2, 4, 4)) == pytest.approx(norm, rel=1e-9)
    with pytest.raises(ValueError, match="Cut isn't affine"):
        linear_upper_bound(Cut(4, 4), (4,))


def test_a_hook_that_changes_outputs_is_seen():
    layer = nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular")
    norm = linear_upper_bound(layer, (2, 4, 4))
    layer.register_forward_hook(lambda _, __, outputs: 10 * outputs)
    assert linear_upper_bound(layer, (2, 4, 4)) == pytest.approx(10 * norm, rel=1e-6)


@pytest.mark.parametrize(
    "activation", [nn.ReLU(), nn.Sigmoid(), nn.Softmax(1), nn.Hardtanh(-100, 100), nn.LayerNorm(6), nn.GELU()]
)
def test_what_isnt_affine_is_refused(activation):
    with pytest.raises(ValueError, match="isn't affine"):
        linear_upper_bound(activation, (6,))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(6, 4), (6,)),
        (nn.Conv2d(2, 4, 3, padding=1, stride=2, groups=2), (2, 5, 4)),
        (nn.ConvTranspose2d(2, 2, 3), (2, 3, 3)),
        (Mixed(3, 2), (3, 2)),
    ],
)
def test_the_bound_of_each_output_is_the_largest_row(layer, shape):
    norm = exact(layer.double(), shape, order=1)
    layer.float()
    bound = linear_upper_bound(layer, shape, per_output=True)
    assert norm * (1 - 1e-6) <= bound <= norm * (1 + 1e-6)
    assert bound <= linear_upper_bound(layer, shape)


def test_without_decomposition_the_bound_is_no_smaller(monkeypatch):
    layer = nn.Conv2d(5, 4, 3, padding=1).double()
    norm = exact(layer, (5, 6, 6))
    monkeypatch.setattr(module, "_DECOMPOSED", 3)
    assert norm <= linear_upper_bound(layer, (5, 6, 6), exact_up_to=0) <= 1.2 * norm


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_in_half_precision(dtype):
    for layer, shape in ((nn.Linear(8, 8), (8,)), (nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (2, 4, 4))):
        layer.to(dtype)
        bound = linear_upper_bound(layer, shape)
        assert bound == pytest.approx(exact(layer.double(), shape), rel=1e-9)


def test_errors_name_what_is_wrong():
    with pytest.raises(ValueError, match=r"Linear doesn't take inputs of shape \(3,\)"):
        linear_upper_bound(nn.Linear(4, 4), (3,))
    layer = nn.Linear(4, 4)
    layer.weight.data[0, 0] = torch.inf
    with pytest.raises(ValueError, match="Linear has entries that are not finite"):
        linear_upper_bound(layer, (4,))


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [
        *((torch.float32, 2.0**power) for power in (-120, -100, -17, 100)),  # which no weight is rounded by
        *((torch.float64, 2.0**power) for power in (-1000, -520, 520, 1000)),
    ],
)
def test_no_bound_is_below_the_norm_of_weights_of_any_scale(dtype, scale):
    layers = [
        (nn.Linear(1, 1, dtype=dtype), (1,)),
        (nn.Linear(4, 5, dtype=dtype), (4,)),
        (nn.Conv2d(2, 3, 3, padding=1, dtype=dtype), (2, 5, 5)),
        (nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular", dtype=dtype), (2, 5, 5)),
        (nn.ConvTranspose2d(2, 3, 3, stride=2, dtype=dtype), (2, 3, 3)),
    ]
    for layer, shape in layers:
        layer.bias = None
        with torch.no_grad():
            layer.weight.copy_(normal(*layer.weight.shape).clamp(-1, 1))
        norm, row = exact(layer, shape), exact(layer, shape, order=None)
        with torch.no_grad():
            layer.weight.mul_(scale)
        assert norm <= linear_upper_bound(layer, shape) / scale <= norm * (1 + 1e-6)
        assert row <= linear_upper_bound(layer, shape, per_output=True) / scale <= row * (1 + 1e-6)
        if len(shape) > 1:
            convolution = convolution_of(layer, shape[1:])
            assert all(norm <= bound(convolution) / scale for bound in (fft_bound, gelfand_bound, aol_bound))
