"""A convolutional network for CIFAR-10 whose first layer whitens the patches of the images."""

import math
import numbers

import torch
from torch import nn
from torch.nn.functional import gelu, unfold

from orthobench.models.checks import check_integer
from orthobench.models.reproducible import reproducible_cpu, seeded

SHAPE = (3, 32, 32)
PATCH = 2
WHITENING_IMAGES = 5000
LOGIT_SCALE = 1 / 9


def airbench_cnn(seed, images, *, width=64):
    """Make a convolutional network for CIFAR-10 in the style of airbench94.

    The source is Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024, section 3. A 2x2 convolution, frozen
    but for its bias, whitens the images (see `whitening_kernels`). Three groups of two 3x3 convolutions follow, each of
    which begins as the identity on as many channels as it gets. Batch norms have a bias and no gain. In training the
    logits depend on the whole batch: call `.eval()` before any evaluation.

    Parameters
    ----------
    seed : int
        Decides the initial weights, apart from the whitening, in 0..2**63 - 1.
    images : torch.Tensor
        Training images (n, 3, 32, 32) as the network will get them; the first 5000 decide the whitening.
    width : int
        Channels of the first group; the other two have four times as many.

    Returns
    -------
    torch.nn.Module
        On the CPU, in float32, with channels-last kernels. Maps images (batch, 3, 32, 32) to logits (batch, 10).

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of those allowed.
    """
    width = check_integer("width", width, 1)
    with seeded(seed):
        return AirbenchCNN(whitening_kernels(images), width).to(memory_format=torch.channels_last)


def whitening_kernels(images, eps=5e-4):
    """Compute 2x2 kernels that map patches of images to uncorrelated channels of variance 1, each with both signs.

    With v_i and d_i the eigenvectors and eigenvalues of the covariance of the patches, the kernels are
    v_i / sqrt(d_i + eps), by descending d_i, then -v_i / sqrt(d_i + eps): what an activation cuts off in one half
    passes in the other.

    Parameters
    ----------
    images : torch.Tensor
        Images (n, 3, 32, 32), floating-point and finite, on any device; the first 5000 are used.
    eps : float
        Added to the variances, so that directions of hardly any are not blown up; at least 0.

    Returns
    -------
    torch.Tensor
        Kernels (24, 3, 2, 2), float32, on the CPU.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of those allowed, or eps is too small for patches that don't vary in every direction.
    """
    if not isinstance(eps, numbers.Real):
        raise TypeError(f"eps is {eps!r}: give a finite number >= 0")
    if not (math.isfinite(eps) and eps >= 0):
        raise ValueError(f"eps is {eps!r}: give a finite number >= 0")
    with reproducible_cpu(), torch.no_grad():
        variances, directions = torch.linalg.eigh(_patch_covariance(_checked(images)))
        variances = variances + eps
        if variances[0] <= 1e-12 * variances[-1]:
            raise ValueError(f"eps is {eps!r} and images do not vary in every direction of a patch: give a larger eps")
        whitening = (directions / variances.sqrt()).flip(1).T.unflatten(1, (SHAPE[0], PATCH, PATCH))
        return torch.cat([whitening, -whitening]).float()


def _checked(images):
    """Return the images that decide the whitening, on the CPU."""
    if not (isinstance(images, torch.Tensor) and images.is_floating_point()):
        kind = images.dtype if isinstance(images, torch.Tensor) else type(images).__name__
        raise TypeError(f"images is of type {kind}: give a floating-point tensor")
    if images.shape[1:] != SHAPE or len(images) == 0:
        raise ValueError(f"images has the shape {tuple(images.shape)}: give (n, 3, 32, 32) with n >= 1")
    images = images[:WHITENING_IMAGES].cpu()
    if not images.isfinite().all():
        raise ValueError("images holds NaN or infinity: give finite values")
    return images


def _patch_covariance(images):
    """Covariance (12, 12) of all the patches of images, in float64."""
    count, total, products = 0, 0.0, 0.0
    for part in images.split(500):  # all the patches at once could take a gigabyte
        patches = unfold(part.double(), PATCH).transpose(0, 1).flatten(1)
        count += patches.shape[1]
        total = total + patches.sum(dim=1)
        products = products + patches @ patches.T
    mean = total / count
    return products / count - mean.outer(mean)


class BatchNorm(nn.BatchNorm2d):
    """Batch norm with a bias and no gain, whose running statistics follow the weights within a few steps."""

    def __init__(self, channels):
        super().__init__(channels, momentum=0.4)
        self.weight.requires_grad_(False)


class ConvGroup(nn.Module):
    """Two 3x3 convolutions, each with a norm and GELU: (batch, inputs, h, w) to (batch, outputs, h / 2, w / 2)."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.convolution_1 = _identity_convolution(inputs, outputs)
        self.pool = nn.MaxPool2d(2)
        self.norm_1 = BatchNorm(outputs)
        self.convolution_2 = _identity_convolution(outputs, outputs)
        self.norm_2 = BatchNorm(outputs)

    def forward(self, x):
        x = gelu(self.norm_1(self.pool(self.convolution_1(x))))
        return gelu(self.norm_2(self.convolution_2(x)))


def _identity_convolution(inputs, outputs):
    """3x3 convolution that begins as the identity on its first `inputs` outputs, and at random on the others."""
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    nn.init.dirac_(convolution.weight.detach()[:inputs])
    return convolution


class AirbenchCNN(nn.Module):
    """The network of `airbench_cnn`."""

    def __init__(self, kernels, width):
        super().__init__()
        self.stem = nn.Conv2d(SHAPE[0], len(kernels), PATCH)
        self.stem.weight = nn.Parameter(kernels, requires_grad=False)
        self.blocks = nn.Sequential(
            ConvGroup(len(kernels), width), ConvGroup(width, 4 * width), ConvGroup(4 * width, 4 * width)
        )
        self.head = nn.Linear(4 * width, 10, bias=False)

    def forward(self, images):
        features = self.blocks(gelu(self.stem(images)))
        return LOGIT_SCALE * self.head(features.amax(dim=(2, 3)))
