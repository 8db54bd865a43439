"""Norms, iterations, spectra and activations that the layers are made of."""

import itertools

import pytest
import torch
from layer_cases import jacobian
from torch.nn.functional import conv2d, pad

from orthobench.lipschitz.layers import BatchCentering, MaxMin, bjorck_iteration, gelfand_norm, make_layer
from orthobench.lipschitz.layers.spectra import (
    apply_spectrum,
    circular_norm,
    kernel_spectrum,
    largest_singular_value,
    norm_for_every_size,
    same_padding,
)


def gaussian(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (5, 40), (40, 5), (3, 16, 24)])
@pytest.mark.parametrize("scale", [1e-30, 1e-13, 1.0, 1e25])
def test_gelfands_norm_is_above_the_largest_singular_value_by_a_bounded_factor(shape, scale):
    W = scale * gaussian(*shape, dtype=torch.float32)
    ratio = gelfand_norm(W).squeeze((-1, -2)).double() / torch.linalg.svdvals(W.double())[..., 0]
    assert (ratio >= 1 - 1e-6).all()
    assert (ratio <= min(shape[-2:]) ** (1 / 16) + 1e-6).all()


def test_gelfands_norm_of_zero_leaves_zero_over_it():
    W = torch.zeros(3, 4)
    assert not (W / gelfand_norm(W)).any()


@pytest.mark.parametrize("steps", [0, 1, 5, 12, 40])
@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4)])
def test_bjorck_is_never_above_one_converged_or_not(steps, shape):
    W = gaussian(*shape)
    result = bjorck_iteration(W / gelfand_norm(W), steps)
    values = torch.linalg.svdvals(result)
    assert values[0] <= 1 + 1e-12
    if steps == 40:
        U, _, Vh = torch.linalg.svd(W, full_matrices=False)
        torch.testing.assert_close(result, U @ Vh)


@pytest.mark.parametrize(("k", "size"), itertools.product((1, 2, 3, 4, 5), ((5, 6), (6, 5), (8, 8))))
@pytest.mark.parametrize(("dilation", "groups"), [(1, 1), (1, 2), (2, 1)])
def test_a_spectrum_is_that_of_torchs_circular_convolution(k, size, dilation, groups):
    before, behind = same_padding(k, dilation)
    K, x = gaussian(6, 4 // groups, k, k), gaussian(2, 4, *size, seed=1)
    expected = conv2d(pad(x, (before, behind) * 2, mode="circular"), K, dilation=dilation, groups=groups)
    spectrum = kernel_spectrum(K, size, dilation, groups)
    torch.testing.assert_close(apply_spectrum(spectrum, x), expected)
    whole = kernel_spectrum(K, size, dilation, groups, half=False)
    torch.testing.assert_close(whole[:, : size[1] // 2 + 1], spectrum)


def test_a_spectrum_wraps_a_kernel_larger_than_the_image_around_it():
    K, x = gaussian(2, 3, 7, 7), gaussian(2, 3, 2, 3, seed=1)
    index = [torch.arange(-3, n + 3) % n for n in (2, 3)]
    expected = conv2d(x[:, :, index[0]][..., index[1]], K)
    torch.testing.assert_close(apply_spectrum(kernel_spectrum(K, (2, 3)), x), expected)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("options", [{}, {"groups": 2}, {"dilation": 2}])
@pytest.mark.parametrize("k", [3, 4])
def test_a_circular_norm_is_the_largest_singular_value_of_the_dense_matrix(stride, options, k):
    torch.manual_seed(0)
    layer = make_layer("plain", 4, 6, k, stride=stride, bias=False, **options)
    expected = torch.linalg.svdvals(jacobian(layer, (4, 6, 12)))[0]
    assert circular_norm(layer.weight, (6, 12), stride, **options) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("options", [{}, {"groups": 2}, {"dilation": 2}])
@pytest.mark.parametrize("k", [2, 3, 5])
def test_the_norm_for_every_size_is_above_that_of_each_and_two_percent_above_that_of_a_large_one(stride, options, k):
    K = gaussian(4, 4 // options.get("groups", 1), k, k)
    bound = norm_for_every_size(K, stride, **options)
    norms = [circular_norm(K, (stride * n, stride * m), stride, **options) for n in (1, 3, 4, 7) for m in (2, 5)]
    large = circular_norm(K, (60, 60), stride, **options)
    assert max(*norms, large) <= bound * (1 + 1e-12)
    assert bound <= 1.025 * large


def test_the_largest_singular_value_is_found_in_any_part_of_a_batch(monkeypatch):
    monkeypatch.setattr("orthobench.lipschitz.layers.spectra.CHUNK_ENTRIES", 50)
    matrices = gaussian(20, 4, 6)
    matrices[13] *= 10
    assert largest_singular_value(matrices) == pytest.approx(float(torch.linalg.svdvals(matrices).max()))


@pytest.mark.parametrize("shape", [(3, 6), (2, 4, 5), (2, 8, 3, 3)])
def test_maxmin_sorts_pairs_of_channels_as_orthogonium_does(shape):
    from orthogonium.layers import MaxMin as Theirs

    x = gaussian(*shape)
    assert MaxMin()(x).equal(Theirs()(x))
    torch.testing.assert_close(MaxMin()(x).flatten(1).sort().values, x.flatten(1).sort().values)


@pytest.mark.parametrize("shape", [(2, 5), (2, 3, 4, 4), (4,)])
def test_maxmin_names_the_shape_it_cannot_pair(shape):
    with pytest.raises(ValueError, match=r"channels even"):
        MaxMin()(torch.zeros(shape))


def test_batch_centering_is_orthogoniums():
    from orthogonium.layers import BatchCentering2D

    ours, theirs = BatchCentering(4), BatchCentering2D(4)
    for seed in range(3):
        x = gaussian(6, 4, 3, 3, seed=seed, dtype=torch.float32) + 2
        torch.testing.assert_close(ours(x), theirs(x))
    x = gaussian(1, 4, 3, 3, dtype=torch.float32)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


@pytest.mark.parametrize("shape", [(4,), (4, 3, 3)])
def test_batch_centering_is_a_translation_in_evaluation_whatever_it_was_trained_on(shape):
    layer = BatchCentering(4)
    for seed in range(5):
        layer(100 * gaussian(8, *shape, seed=seed, dtype=torch.float32)).sum().backward()
    before = {key: value.clone() for key, value in layer.state_dict().items()}
    layer.eval()
    n = 4 * (9 if len(shape) > 1 else 1)
    torch.testing.assert_close(jacobian(layer, shape), torch.eye(n, dtype=torch.float64), atol=1e-4, rtol=0)
    assert all(value.equal(before[key]) for key, value in layer.state_dict().items())
    # Nor does one sample's output depend on the others of its batch.
    x = gaussian(5, *shape, dtype=torch.float32)
    torch.testing.assert_close(layer(x)[:1], layer(x[:1]))


def test_batch_centering_in_training_removes_the_mean_of_a_stream_of_batches():
    layer = BatchCentering(3)
    offset = torch.tensor([1.0, -2.0, 30.0])
    for seed in range(100):
        y = layer(gaussian(64, 3, seed=seed, dtype=torch.float32) + offset)
    assert y.mean(dim=0).abs().max() < 0.5


def test_batch_centering_has_a_state_that_a_new_layer_can_load():
    layer, other = BatchCentering(4), BatchCentering(4)
    layer(gaussian(8, 4, dtype=torch.float32))
    other.load_state_dict(layer.state_dict())
    x = gaussian(8, 4, dtype=torch.float32)
    assert layer.eval()(x).equal(other.eval()(x))
