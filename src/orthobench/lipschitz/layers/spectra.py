"""Convolutions in the Fourier domain, where one is a matrix for each frequency, and their exact norms."""

import math

import torch

from ..scale import scale_of

# Of a kernel's Fourier transform, computed at a time for its norm: keeps memory bounded for large images.
CHUNK_ENTRIES = 2**22


def same_padding(kernel_size, dilation=1):
    """Return how many pixels a convolution of the input's own size needs before and behind, along each axis."""
    total = dilation * (kernel_size - 1)
    return total // 2, total - total // 2


def kernel_spectrum(kernel, size, dilation=1, groups=1, half=True):
    r"""Return the matrix by which a circular convolution multiplies each frequency.

    The convolution is torch's: y[p] = sum_t K[t] x[p + d t - l] with the padding l before the image, so that
    Y(f) = M(f) X(f), M(f) = sum_t K[t] exp(2 pi i f (d t - l) / size). The kernel may be larger than the image.

    Parameters
    ----------
    kernel : Tensor (out, in / groups, k, k)
        float32 or float64.
    size : (int, int)
        Height and width of the image.
    dilation, groups : int
        As in `torch.nn.functional.conv2d`.
    half : bool
        Only the frequencies that `torch.fft.rfft2` returns; those left out are the complex conjugates of them.

    Returns
    -------
    Tensor (height, width // 2 + 1 or width, groups, out / groups, in / groups)
        Complex.
    """
    k = kernel.shape[-1]
    offsets = dilation * torch.arange(k, device=kernel.device) - same_padding(k, dilation)[0]
    rows = _phases(size[0], size[0], offsets, kernel.dtype)
    columns = _phases(size[1] // 2 + 1 if half else size[1], size[1], offsets, kernel.dtype)
    spectrum = torch.einsum("hk,oikl,wl->hwoi", rows, kernel.to(rows.dtype), columns)
    return spectrum.unflatten(2, (groups, -1))


def _phases(count, n, offsets, dtype):
    """exp(2 pi i f offset / n) for the frequencies f < count: (count, offsets)."""
    frequencies = torch.arange(count, device=offsets.device)
    angles = (frequencies[:, None] * offsets % n).to(dtype) * (2 * math.pi / n)
    return torch.polar(torch.ones_like(angles), angles)


def apply_spectrum(spectrum, x):
    """Multiply each frequency of images by a matrix.

    Parameters
    ----------
    spectrum : Tensor (height, width // 2 + 1, groups, out / groups, in / groups)
        As from `kernel_spectrum`.
    x : Tensor (batch, in, height, width)

    Returns
    -------
    Tensor (batch, out, height, width)
    """
    if not len(x):  # of which there is no FFT
        return apply_spectrum(spectrum, x.new_zeros(1, *x.shape[1:]))[:0] + 0 * x.sum()
    size = x.shape[-2:]
    frequencies = torch.fft.rfft2(x).unflatten(1, (spectrum.shape[2], -1)).permute(3, 4, 1, 2, 0)
    result = (spectrum @ frequencies).permute(4, 2, 3, 0, 1).flatten(1, 2)
    return torch.fft.irfft2(result, size)


@torch.no_grad()
def circular_norm(kernel, size, stride=1, dilation=1, groups=1):
    r"""Compute the spectral norm of a circular convolution with its stride, exactly, in float64.

    Every `stride`-th pixel of the result is kept, which adds up the frequencies f + j size / stride: the norm is that
    of their matrices side by side, divided by the stride. It is also the norm of the transposed convolution, and an
    upper bound for zero padding if size includes the padding.

    Parameters
    ----------
    kernel : Tensor (out, in / groups, k, k)
    size : (int, int)
        Of the image before the stride, multiples of it.
    stride, dilation, groups : int

    Returns
    -------
    float

    References
    ----------
    Sedghi, Gupta & Long (2019), The singular values of convolutional layers, arXiv:1805.10408, for stride 1.
    """
    spectrum = kernel_spectrum(kernel.double(), size, dilation, groups, half=stride == 1)
    if stride > 1:
        height, width = (n // stride for n in size)
        spectrum = spectrum.unflatten(1, (stride, width)).unflatten(0, (stride, height))
        spectrum = spectrum.permute(1, 3, 4, 5, 0, 2, 6).flatten(-3)
    return largest_singular_value(spectrum.flatten(0, -3)) / stride


@torch.no_grad()
def largest_singular_value(matrices):
    """Return the largest singular value of any matrix of a batch, a float.

    Parameters
    ----------
    matrices : Tensor (batch, m, n)
        Real or complex; computed in float64. The square of the largest singular value is an eigenvalue of the Gram
        matrix to a relative error of the order of float64's, which does not hold for small singular values.

    Raises
    ------
    ValueError
        If an entry isn't finite.
    """
    chunk = max(1, CHUNK_ENTRIES // max(1, matrices.shape[-2:].numel()))
    largest = 0.0
    for part in matrices.split(chunk):
        scale = scale_of(part)
        part = part.to(torch.promote_types(part.dtype, torch.float64)) / scale
        gram = part @ part.mH if part.shape[-2] <= part.shape[-1] else part.mH @ part
        largest = max(largest, scale * math.sqrt(max(0.0, float(torch.linalg.eigvalsh(gram)[..., -1].max()))))
    return largest


@torch.no_grad()
def norm_for_every_size(kernel, stride=1, dilation=1, groups=1):
    r"""Bound the spectral norm of a convolution from above for images of every size and either padding.

    |M(f) v|^2 is a trigonometric polynomial of degree D = dilation (k - 1) in each of the two frequencies. At n > 2 D
    equidistant points, such a polynomial is somewhere at least cos(pi D / n) times its maximum: with n = 16 D the norm
    on a torus of n by n is short of the supremum by at most a factor of cos(pi / 16), which is added. The excess is < 2
    %.

    Parameters
    ----------
    kernel : Tensor (out, in / groups, k, k)
    stride, dilation, groups : int

    Returns
    -------
    float

    References
    ----------
    Ehlich & Zeller (1964), Schwankung von Polynomen zwischen Gitterpunkten, for the polynomials.
    """
    if stride == 1:
        dilation = 1  # a dilated convolution is the same one on each of several interleaved images
    degree = dilation * (kernel.shape[-1] - 1)
    n = stride * max(1, math.ceil(16 * degree / stride))
    # Each of the two frequencies adds 1 / cos to the square of the norm.
    return circular_norm(kernel, (n, n), stride, dilation, groups) / math.cos(math.pi * degree / n)
