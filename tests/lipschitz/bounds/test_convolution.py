"""Bounds of convolutions against the largest singular value of their dense Jacobian, in float64."""

import itertools
import math

import pytest
import torch
from torch import nn

from orthobench.lipschitz.bounds import (
    aol_bound,
    convolution_of,
    dense_jacobian,
    fft_bound,
    gelfand_bound,
    linear_upper_bound,
)

KERNELS = (1, 2, 3, 4, 5, 6, 7)
# A kernel of 7 is larger than the smaller sizes; strides of 2 and 3 don't divide all of them.
SIZES = ((3, 3), (4, 5), (6, 6), (7, 4), (9, 8))
BOUNDS = (fft_bound, gelfand_bound, aol_bound)


def convolution(kernel_size, inputs=2, outputs=3, kind=nn.Conv2d, seed=0, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        groups = options.get("groups", 1)
        return kind(inputs * groups, outputs * groups, kernel_size, dtype=torch.float64, **options)


def exact(layer, *size):
    return torch.linalg.matrix_norm(dense_jacobian(layer, (layer.in_channels, *size)), 2).item()


def check(layer, *size):
    """Compare every bound with the exact norm; return the norm and the bound of the FFT."""
    norm = exact(layer, *size)
    seen = convolution_of(layer, size)
    bounds = [bound(seen) for bound in BOUNDS]
    assert min(bounds) >= norm
    assert bounds[0] <= bounds[1] * (1 + 1e-9)
    # Few frequencies only loosen it.
    assert fft_bound(seen, grid=1) >= norm
    shape = (layer.in_channels, *size)
    assert norm <= linear_upper_bound(layer, shape) <= norm * (1 + 1e-9)
    assert norm <= linear_upper_bound(layer, shape, exact_up_to=0) <= bounds[0] * (1 + 1e-9)
    return norm, bounds[0]


def same(kernel_size, dilation):
    """The padding with which images keep their size, or nearly, of even kernels."""
    return dilation * (kernel_size - 1) // 2


def fits(size, kernel_size, dilation, padding, mode):
    wide_enough = min(size) + 2 * padding > dilation * (kernel_size - 1)
    return wide_enough and (mode == "zeros" or padding <= min(size))


GRID = [
    (kernel_size, stride, dilation, groups, mode, size)
    for kernel_size, stride, dilation, groups, mode, size in itertools.product(
        KERNELS, (1, 2, 3), (1, 2), (1, 2, 4), ("circular", "zeros"), SIZES
    )
    if fits(size, kernel_size, dilation, same(kernel_size, dilation), mode)
]


@pytest.mark.parametrize("kernel_size", KERNELS)
def test_no_bound_is_below_the_norm_of_the_dense_jacobian(kernel_size):
    cases = [case for case in GRID if case[0] == kernel_size]
    # Each eleventh: every value of every option, and most pairs, for a kernel.
    for _, stride, dilation, groups, mode, size in cases[kernel_size % 3 :: 11]:
        layer = convolution(
            kernel_size, 2, 3 if groups == 1 else 1, stride=stride, dilation=dilation, groups=groups, padding_mode=mode,
            padding=same(kernel_size, dilation),
        )  # fmt: skip
        check(layer, *size)


@pytest.mark.parametrize("padding", [0, 1, 2, 4])
@pytest.mark.parametrize("mode", ["circular", "zeros"])
@pytest.mark.parametrize(("kernel_size", "stride"), [(1, 1), (3, 1), (2, 2), (3, 2)])
def test_padding_beyond_the_kernel_repeats_outputs(kernel_size, stride, mode, padding):
    layer = convolution(kernel_size, stride=stride, padding=padding, padding_mode=mode)
    check(layer, 4, 5)


@pytest.mark.parametrize("size", [(4, 4), (6, 8), (2, 6)])
@pytest.mark.parametrize(
    ("kernel_size", "stride", "padding"), [(3, 1, 1), (7, 1, 3), (5, 1, 2), (2, 2, 0), (4, 2, 1), (5, 2, 2)]
)
def test_circular_padding_is_exact_where_the_stride_divides_the_image(kernel_size, stride, padding, size):
    if padding > min(size):
        pytest.skip("torch wraps once")
    layer = convolution(kernel_size, stride=stride, padding=padding, padding_mode="circular")
    norm, bound = check(layer, *size)
    assert bound == pytest.approx(norm, rel=1e-9)


def test_a_kernel_larger_than_the_image_wraps_instead_of_being_cut():
    layer = convolution(7, 1, 1, padding=3, padding_mode="circular", bias=False)
    nn.init.ones_(layer.weight)
    # Each of the 49 taps sees one of 9 pixels; torch.fft.fft2(kernel, s=(3, 3)) would drop 40 of them.
    norm, bound = check(layer, 3, 3)
    assert norm == pytest.approx(49)
    assert bound == pytest.approx(49)


def test_groups_dont_add_up():
    """Of a depthwise convolution the norm is that of its worst channel; seen as a dense one it would be larger."""
    layer = convolution(3, 1, 1, groups=6, padding=1, padding_mode="circular")
    _, bound = check(layer, 6, 6)
    alone = []
    for weight in layer.weight.detach().split(1):
        channel = convolution(3, 1, 1, padding=1, padding_mode="circular")
        channel.weight.data.copy_(weight)
        alone.append(exact(channel, 6, 6))
    assert bound == pytest.approx(max(alone))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("mode", ["circular", "zeros"])
@pytest.mark.parametrize(("kernel_size", "dilation"), [(2, 1), (3, 2), (4, 1), (4, 3)])
def test_same_padding_of_even_spans(kernel_size, dilation, mode):
    check(convolution(kernel_size, padding="same", dilation=dilation, padding_mode=mode), 10, 9)


def test_valid_padding():
    check(convolution(3, padding="valid"), 6, 5)


TRANSPOSED = [
    (kernel_size, stride, dilation, groups, padding, extra)
    for kernel_size, stride, dilation, groups, padding, extra in itertools.product(
        (1, 2, 3, 5, 7), (1, 2, 3), (1, 2), (1, 2), (0, 1, 3), (0, 1)
    )
    if extra < max(stride, dilation) and dilation * (kernel_size - 1) >= padding
]


@pytest.mark.parametrize("part", range(4))
def test_transposed_convolutions(part):
    for kernel_size, stride, dilation, groups, padding, extra in TRANSPOSED[part::24]:
        layer = convolution(
            kernel_size, kind=nn.ConvTranspose2d, stride=stride, dilation=dilation, groups=groups, padding=padding,
            output_padding=extra,
        )  # fmt: skip
        try:
            layer(torch.zeros(1, layer.in_channels, 4, 3, dtype=torch.float64))
        except RuntimeError:  # all of the output is cut off
            continue
        check(layer, 4, 3)


@pytest.mark.parametrize("mode", ["circular", "zeros"])
@pytest.mark.parametrize(
    ("kind", "size"),
    [(nn.Conv1d, (7,)), (nn.Conv3d, (4, 3, 5)), (nn.ConvTranspose1d, (6,)), (nn.ConvTranspose3d, (2, 3, 2))],
)
def test_one_and_three_dimensions(kind, size, mode):
    if mode == "circular" and kind in (nn.ConvTranspose1d, nn.ConvTranspose3d):
        pytest.skip("torch pads these with zeros alone")
    check(convolution(3, kind=kind, stride=2, padding=1, padding_mode=mode), *size)


def test_kernels_strides_and_paddings_that_differ_by_dimension():
    layer = convolution((3, 2), stride=(2, 1), padding=(2, 0), dilation=(1, 3), padding_mode="circular")
    check(layer, 6, 7)
    check(convolution((1, 5), stride=(1, 3), padding=(0, 2)), 4, 8)


def test_gelfands_bound_comes_down_to_the_norm():
    seen = convolution_of(convolution(3, 8, 8, padding=1, padding_mode="circular"), (6, 6))
    norm = fft_bound(seen)
    excess = [gelfand_bound(seen, iterations) / norm - 1 for iterations in (1, 2, 4, 8)]
    assert excess == sorted(excess, reverse=True)
    # rank^(1/2^(k+1)), as the docstring has it
    for iterations, each in zip((1, 2, 4, 8), excess, strict=True):
        assert 1 + each <= 8 ** (0.5 ** (iterations + 1))
    assert excess[-1] < 1e-2


def test_aol_bound_is_that_of_the_rescaled_kernel():
    """Dividing the input channels by the row sums, as the paper does, makes the bound 1."""
    layer = convolution(3, 4, 4, padding=1)
    kernel = layer.weight.detach()
    products = nn.functional.conv2d(kernel.transpose(0, 1), kernel.transpose(0, 1), padding=2)
    layer.weight.data /= products.abs().sum((1, 2, 3)).sqrt().view(1, -1, 1, 1)
    assert exact(layer, 5, 5) <= aol_bound(convolution_of(layer, (5, 5))) <= 1 + 1e-9


def test_few_frequencies_cost_less_than_the_polynomials_say():
    layer = convolution(3, 3, 3, padding=1, padding_mode="circular")
    seen = convolution_of(layer, (40, 40))
    norm, coarse = fft_bound(seen), fft_bound(seen, grid=20)
    assert norm <= coarse <= norm / math.cos(2 * math.pi / 20)


def test_zero_padding_is_bounded_closely_on_images_that_are_too_large_for_the_jacobian():
    layer = convolution(3, 2, 2, padding=1)
    norm, bound = check(layer, 14, 14)
    assert bound <= 1.05 * norm


def test_a_transposed_convolution_has_the_norm_of_its_adjoint():
    layer = convolution(4, kind=nn.ConvTranspose2d, stride=2, padding=1)
    adjoint = nn.Conv2d(3, 2, 4, stride=2, padding=1, dtype=torch.float64)
    adjoint.weight.data.copy_(layer.weight)
    transposed = dense_jacobian(layer, (2, 3, 5))
    torch.testing.assert_close(transposed, dense_jacobian(adjoint, (3, 6, 10)).T)


@pytest.mark.parametrize("mode", ["reflect", "replicate"])
@pytest.mark.parametrize(
    "options", [{}, {"stride": 2}, {"dilation": 2, "padding": 2}, {"groups": 2}, {"padding": (0, 2)}], ids=str
)
def test_paddings_that_repeat_pixels_are_bounded(mode, options):
    check(convolution(3, **{"padding": 1, "padding_mode": mode, **options}), 5, 6)
    check(convolution(4, **{"padding": "same" if "stride" not in options else 2, "padding_mode": mode}), 5, 6)


def test_a_shift_that_reads_repeated_pixels_has_the_root_of_how_often_it_does():
    layer = nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect", bias=False)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, 0, 0, 1] = 1  # each row takes the place of the next; the second that of the first, too
    assert linear_upper_bound(layer, (1, 6, 6)) == pytest.approx(math.sqrt(2))
    assert linear_upper_bound(layer, (1, 100, 100), exact_up_to=0) >= math.sqrt(2)


def test_a_padding_mode_that_is_none_of_torchs_is_refused_by_name():
    layer = convolution(3, padding=1)
    layer.padding_mode = "mirror"
    with pytest.raises(ValueError, match="padding_mode must be one of torch's, got 'mirror'"):
        convolution_of(layer, (5, 5))


def test_errors_name_what_is_wrong():
    layer = convolution(3)
    with pytest.raises(TypeError, match="got Linear"):
        convolution_of(nn.Linear(2, 2), (4, 4))
    with pytest.raises(ValueError, match="2 dimensions"):
        convolution_of(layer, (2, 4, 4))
    with pytest.raises(ValueError, match="too small for the kernel"):
        convolution_of(layer, (2, 4))
    seen = convolution_of(layer, (4, 4))
    with pytest.raises(ValueError, match="iterations must be at least 1, got 0"):
        gelfand_bound(seen, iterations=0)
    with pytest.raises(ValueError, match="grid must be at least 1, got 0"):
        fft_bound(seen, grid=0)
    layer.weight.data[0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        convolution_of(layer, (4, 4))


def test_a_kernel_of_zeros_has_norm_zero():
    layer = convolution(3, padding=1)
    nn.init.zeros_(layer.weight)
    seen = convolution_of(layer, (4, 4))
    assert [bound(seen) for bound in BOUNDS] == [0, 0, 0]
