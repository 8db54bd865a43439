"""The airbench network: its whitening whitens, its convolutions begin as the identity, its norms are batch norms."""

import pytest
import torch
from formulas import convolve, gelu, max_pool, standardised

from orthobench.models import airbench, airbench_cnn, whitening_kernels

IDENTITY = torch.eye(12, dtype=torch.float64)


def images(count=40, channels=3):
    """Smooth colour images: patches whose pixels and channels are correlated, and off zero."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(count, channels, 8, 8, generator=generator, dtype=torch.float64)
    smooth = torch.nn.functional.interpolate(coarse, size=(32, 32), mode="bilinear")
    mixed = torch.einsum("oi,nihw->nohw", torch.tensor([[1, 0.8, 0.5], [0, 0.5, 0.2], [0, 0, 0.3]]).double(), smooth)
    return (mixed + 0.1 * torch.randn(mixed.shape, generator=generator) + 0.5).float()


def covariance(channels):
    """Covariance of channels (n, c, h, w), in float64."""
    return channels.transpose(0, 1).flatten(1).double().cov(correction=0)


def patches(batch):
    """All 2x2 patches, (n, 12, 31, 31), in the order of a kernel's entries, by slices."""
    shifts = [batch[:, :, row : row + 31, column : column + 31] for row in (0, 1) for column in (0, 1)]
    return torch.stack(shifts, dim=2).flatten(1, 2)


@pytest.mark.parametrize("offset", [0, 100])
def test_whitened_channels_are_uncorrelated_of_variance_one(offset):
    batch = images() + offset
    assert (covariance(patches(batch)) - IDENTITY).abs().max() > 0.3
    channels = convolve(batch.double(), whitening_kernels(batch, eps=0).double(), padding=0)
    expected = torch.cat([torch.cat([IDENTITY, -IDENTITY]), torch.cat([-IDENTITY, IDENTITY])], dim=1)
    torch.testing.assert_close(covariance(channels), expected, rtol=0, atol=1e-4)


def test_eps_damps_the_directions_of_small_variance():
    batch, eps = images(), 0.01
    kernels = whitening_kernels(batch, eps).double().flatten(1)
    variances = torch.linalg.eigvalsh(covariance(patches(batch))).flip(0)
    assert variances[-1] < eps < variances[0]
    channels = convolve(batch.double(), kernels.unflatten(1, (3, 2, 2)), padding=0)
    expected = (variances / (variances + eps)).repeat(2)
    torch.testing.assert_close(covariance(channels).diag(), expected, rtol=1e-4, atol=0)
    # Each kernel has the length that belongs to its eigenvalue, the largest first.
    torch.testing.assert_close(kernels.norm(dim=1), (variances + eps).rsqrt().repeat(2), rtol=1e-4, atol=0)


def test_the_networks_stem_is_the_whitening_with_a_trained_bias():
    batch = images()
    stem = airbench_cnn(0, batch, width=4).stem
    assert torch.equal(stem.weight, whitening_kernels(batch))
    assert (stem.weight.requires_grad, stem.bias.requires_grad) == (False, True)
    assert not torch.equal(stem.bias, airbench_cnn(1, batch, width=4).stem.bias)


def test_the_whitening_depends_on_the_first_images_alone(monkeypatch):
    monkeypatch.setattr(airbench, "WHITENING_IMAGES", 30)
    batch = images()
    kernels = whitening_kernels(batch)
    assert torch.equal(kernels, whitening_kernels(batch[:30]))
    assert not torch.equal(kernels, whitening_kernels(batch[:29]))


def test_the_whitening_of_many_images_is_computed_in_parts():
    batch = torch.randn(1001, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    batch[:500] = 2 * batch[:500] + 1
    channels = convolve(batch.double(), whitening_kernels(batch, eps=0)[:12].double(), padding=0)
    torch.testing.assert_close(covariance(channels), IDENTITY, rtol=0, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_images_of_another_type_are_taken(dtype):
    batch = images().to(dtype)
    kernels = whitening_kernels(batch)
    assert kernels.dtype == torch.float32
    assert torch.equal(kernels, whitening_kernels(batch.double()))


def test_the_images_are_left_alone():
    batch = images()
    before = batch.clone()
    with torch.inference_mode():
        airbench_cnn(0, batch, width=4)
    assert torch.equal(batch, before)


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        ([[0.0]], TypeError, r"^images is of type list: give a floating-point tensor$"),
        (torch.zeros(2, 3, 32, 32, dtype=torch.uint8), TypeError, r"^images is of type torch.uint8: give a floating"),
        (torch.zeros(2, 3, 28, 28), ValueError, r"^images has the shape \(2, 3, 28, 28\): give \(n, 3, 32, 32\)"),
        (torch.zeros(0, 3, 32, 32), ValueError, r"^images has the shape \(0, 3, 32, 32\): .* n >= 1$"),
        (torch.full((1, 3, 32, 32), torch.nan), ValueError, r"^images holds NaN or infinity: give finite values$"),
    ],
)
def test_images_that_cannot_be_whitened_are_named(batch, error, message):
    with pytest.raises(error, match=message):
        airbench_cnn(0, batch)


@pytest.mark.parametrize(
    ("eps", "error"), [(-1e-3, ValueError), (float("nan"), ValueError), (float("inf"), ValueError), ("1", TypeError)]
)
def test_a_bad_eps_is_named(eps, error):
    with pytest.raises(error, match=rf"^eps is {eps!r}: give a finite number >= 0$"):
        whitening_kernels(images(), eps)


def test_grey_images_need_an_eps():
    grey = images(channels=3)[:, :1].expand(-1, 3, -1, -1)
    with pytest.raises(
        ValueError, match=r"^eps is 0 and images do not vary in every direction of a patch: give a larger"
    ):
        whitening_kernels(grey, eps=0)
    assert whitening_kernels(grey).isfinite().all()
    assert whitening_kernels(torch.ones(1, 3, 32, 32)).isfinite().all()


def test_the_network_computes_its_formula_in_training():
    batch = images(count=6)
    model = airbench_cnn(0, batch, width=4)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        result = model(batch)
        model, x = model.double(), batch.double()
        x = gelu(convolve(x, model.stem.weight, padding=0) + model.stem.bias[:, None, None])
        for group in model.blocks:
            x = max_pool(convolve(x, group.convolution_1.weight))
            x = gelu(standardised(x, (0, 2, 3)) + group.norm_1.bias[:, None, None])
            x = convolve(x, group.convolution_2.weight)
            x = gelu(standardised(x, (0, 2, 3)) + group.norm_2.bias[:, None, None])
        assert x.shape == (6, 16, 3, 3)
        x = x.flatten(2).amax(2) @ model.head.weight.T / 9
    torch.testing.assert_close(result.double(), x, rtol=0, atol=1e-4)


def test_convolutions_begin_as_the_identity_on_as_many_channels_as_they_get():
    model = airbench_cnn(0, images(), width=32)
    for convolution in (getattr(group, name) for group in model.blocks for name in ("convolution_1", "convolution_2")):
        x = torch.randn(2, convolution.in_channels, 9, 9, generator=torch.Generator().manual_seed(0))
        output = convolution(x)
        assert convolution.out_channels >= convolution.in_channels
        torch.testing.assert_close(output[:, : convolution.in_channels], x, rtol=0, atol=1e-5)
        assert (output[:, convolution.in_channels :].abs().amax((2, 3)) > 0.1).all()


def test_after_eval_an_images_logits_are_its_own():
    batch = images()
    model = airbench_cnn(0, batch, width=4)
    with torch.no_grad():
        assert (model(batch)[:4] - model(batch[:4])).abs().max() > 1e-4
        model.eval()
        torch.testing.assert_close(model(batch)[:4], model(batch[:4]), rtol=0, atol=1e-5)


def test_running_statistics_follow_within_a_few_steps():
    batch = images()
    model = airbench_cnn(0, batch, width=4)
    with torch.no_grad():
        expected = model(batch)
        for _ in range(15):
            model(batch)
        torch.testing.assert_close(model.eval()(batch), expected, rtol=0, atol=5e-3)


def test_training_moves_neither_the_whitening_nor_the_gains():
    batch = images()
    model = airbench_cnn(0, batch, width=4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1)
    model(batch).square().sum().backward()
    optimizer.step()
    assert torch.equal(model.stem.weight, whitening_kernels(batch))
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert len(norms) == 6
    assert all((norm.weight == 1).all() and norm.bias.any() for norm in norms)


def test_kernels_are_stored_channels_last():
    for weight in airbench_cnn(0, images()).parameters():
        assert weight.ndim < 4 or weight.is_contiguous(memory_format=torch.channels_last)
