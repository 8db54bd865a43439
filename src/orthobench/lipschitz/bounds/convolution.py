"""Upper bounds of the spectral norm of a convolution: of one image size, with its stride, dilation, groups and padding.

Each convolution is taken as a matrix from an image to an output, in float64. A transposed convolution is the adjoint of
a convolution of its outputs, and has the same norm.
"""

import functools
import itertools
import math
from dataclasses import dataclass, replace

import torch
from torch import nn

from ..scale import scale_of
from .jacobian import ROUNDING

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
CONVOLUTIONS = _CONVOLUTIONS + _TRANSPOSED
_REPEATING = ("reflect", "replicate")
# Complex numbers of the symbols at a time: 64 MB.
_PIECE = 2**22


@dataclass(frozen=True)
class Convolution:
    """y[o, i] = sum over c, t of kernel[o, c, t] x[c, stride i + dilation t - padding], for places i from 0.

    Attributes
    ----------
    kernel : Tensor (out_channels, in_channels / groups, \\*kernel_size) float64
    size : tuple of int
        Of the image, without the channels.
    outputs : tuple of int
        Places of the output, in each dimension.
    stride, dilation : tuple of int
    padding : tuple of int
        Before the image.
    groups : int
    circular : bool
        Whether places outside of the image are those at its other end, or zero.
    padding_norm : float
        Where pixels are repeated around the image ("reflect", "replicate"), which then is the one with them: the norm
        of that, the root of how often one occurs.
    """

    kernel: torch.Tensor
    size: tuple
    outputs: tuple
    stride: tuple
    dilation: tuple
    padding: tuple
    groups: int
    circular: bool
    padding_norm: float = 1.0

    @property
    def spans(self):
        """Width of the dilated kernel less 1, in each dimension."""
        return tuple(d * (k - 1) for d, k in zip(self.dilation, self.kernel.shape[2:], strict=True))


def convolution_of(layer, size):
    """Return the convolution that a layer does on images of one size, or whose adjoint it does.

    Parameters
    ----------
    layer : torch.nn.Conv1d to Conv3d, or torch.nn.ConvTranspose1d to ConvTranspose3d
        Parametrised weights are evaluated once, in the mode of the layer.
    size : sequence of int
        Of the images that the layer takes, without batch and channels.

    Returns
    -------
    Convolution

    Raises
    ------
    TypeError
        If the layer is something else.
    ValueError
        If the padding mode is none of torch's, the image too small for the kernel, or a weight not finite.
    """
    if not isinstance(layer, CONVOLUTIONS):
        raise TypeError(
            f"layer must be of nn.Conv1d to nn.Conv3d or their transposes, got {type(layer).__name__}; "
            "use linear_upper_bound for other affine modules."
        )
    if layer.padding_mode not in ("zeros", "circular", *_REPEATING):
        raise ValueError(
            f"padding_mode must be one of torch's, got {layer.padding_mode!r}: no bound is known here for it; use one "
            "of them, or give the module a method certified_bound(input_shape)."
        )
    if len(size) != len(layer.kernel_size):
        raise ValueError(
            f"size must have {len(layer.kernel_size)} dimensions for {type(layer).__name__}, got {tuple(size)}; leave "
            "batch and channels out."
        )
    kernel = layer.weight.detach().double()
    if not kernel.isfinite().all():
        raise ValueError(
            f"the weight of {type(layer).__name__} has entries that are not finite; no constant bounds it."
        )
    spans = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    before, after = _paddings(layer, spans)
    transposed = isinstance(layer, _TRANSPOSED)
    if transposed:
        # x of the formula is what the layer returns.
        outputs = tuple(size)
        sums = zip(size, layer.stride, before, after, spans, layer.output_padding, strict=True)
        size = tuple((n - 1) * s - b - a + span + extra + 1 for n, s, b, a, span, extra in sums)
    else:
        sums = zip(size, layer.stride, before, after, spans, strict=True)
        outputs = tuple((n + b + a - span - 1) // s + 1 for n, s, b, a, span in sums)
    if min(*size, *outputs) < 1:
        raise ValueError(
            f"an image of size {outputs if transposed else tuple(size)} is too small for the kernel "
            f"{layer.kernel_size} of {type(layer).__name__} with padding {layer.padding!r} and dilation "
            f"{layer.dilation}; pad it more."
        )
    padding_norm = 1.0
    if layer.padding_mode in _REPEATING:
        padding_norm = _sqrt_product(map(_most_repeated, size, before, after, [layer.padding_mode] * len(size)))
        size = tuple(n + b + a for n, b, a in zip(size, before, after, strict=True))
        before = after = (0,) * len(size)
    circular = layer.padding_mode == "circular" and any(before + after)
    options = layer.stride, layer.dilation, before, layer.groups, circular, padding_norm
    return Convolution(kernel, tuple(size), outputs, *options)


def _most_repeated(n, before, after, mode):
    """Return how often a place occurs at most in one dimension that is padded."""
    places = nn.functional.pad(torch.arange(n, dtype=torch.float64)[None, None], (before, after), mode=mode)
    return places.flatten().long().bincount().max().item()


def _paddings(layer, spans):
    """Return the padding before and after, in each dimension."""
    if layer.padding == "valid":
        return (0,) * len(spans), (0,) * len(spans)
    if layer.padding == "same":  # the odd one is added after
        before = tuple(span // 2 for span in spans)
        return before, tuple(span - b for span, b in zip(spans, before, strict=True))
    return tuple(layer.padding), tuple(layer.padding)


def apply_convolution(layer, weight, groups, inputs):
    """Do what a layer does to a batch of images, with another weight and number of groups, and without a bias."""
    dims = len(layer.kernel_size)
    if layer.transposed:
        functions = nn.functional.conv_transpose1d, nn.functional.conv_transpose2d, nn.functional.conv_transpose3d
        options = layer.stride, layer.padding, layer.output_padding, groups, layer.dilation
        return functions[dims - 1](inputs, weight, None, *options)
    spans = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    pairs = zip(*_paddings(layer, spans), strict=True)
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    inputs = nn.functional.pad(inputs, [each for pair in reversed(list(pairs)) for each in pair], mode=mode)
    functions = nn.functional.conv1d, nn.functional.conv2d, nn.functional.conv3d
    return functions[dims - 1](inputs, weight, None, layer.stride, 0, layer.dilation, groups)


# --- bounds ----------------------------------------------------------------------------------------------------------


def _of_any_scale(bound):
    """Compute a bound of a kernel that is scaled, so that no square under- or overflows; add that of the padding."""

    @functools.wraps(bound)
    def scaled(convolution, *args, **kwargs):
        scale = scale_of(convolution.kernel)
        return (
            bound(replace(convolution, kernel=convolution.kernel / scale), *args, **kwargs)
            * scale
            * convolution.padding_norm
        )

    return scaled


@_of_any_scale
def fft_bound(convolution, grid=64):
    """Bound the spectral norm by the largest singular value of the transfer matrices.

    Parameters
    ----------
    convolution : Convolution
    grid : int
        Frequencies in each dimension, at most (more if the kernel needs more).

    Returns
    -------
    float
        The norm, up to 1e-10 of it, for circular padding if the strides divide the sizes, each output place is that of
        one input place, and there are at most `grid` output places in each dimension. Otherwise a bound from above.

    Raises
    ------
    ValueError
        If `grid` is below 1.

    Notes
    -----
    Circular, stride 1 (Sedghi, Gupta and Long, "The singular values of convolutional layers", ICLR 2019, theorem 6):
    the discrete Fourier transform makes the matrix block-diagonal, with one block sum_t K_t exp(-2 pi i <u, t> / n) for
    each frequency u. The sum itself is taken, so that kernels larger than the image wrap. With stride s, channels are
    split into s phases first, which permutes the image.

    Zero padding: the matrix is a part of that on a torus of n >= size + padding places, where no output sees the image
    from two sides.

    Circular, where strides don't divide the sizes: the rows are some of those at stride 1; and the padded image, in
    which a pixel occurs up to m times, has up to sqrt(m) of the norm of the image. The lesser of the two bounds that
    follow.

    More than `grid` frequencies: |M(u) v|^2 is a trigonometric polynomial, of degree at most q in a dimension, so that
    it is at most 1 / cos(pi q / n) of its maximum over n > 2 q equidistant points (Ehlich and Zeller, 1964). Delattre,
    Barthelemy and Allauzen, "Spectral norm of convolutional layers with circular and zero paddings", 2024, have a
    weaker factor.
    """
    return min(
        factor * _sup(view, places, grid, _largest_singular_value) for factor, view, places in _tori(convolution)
    )


@_of_any_scale
def gelfand_bound(convolution, iterations=6, grid=64):
    """Bound the spectral norm by Gram iteration of the transfer matrices, which needs no decomposition.

    G_0 = M, G_(k+1) = G_k^H G_k, and |M|_2 <= |G_k|_F^(1 / 2^k), which Gelfand's formula makes sharp as k grows: at
    most r^(1 / 2^(k+1)) of the norm for rank r.

    Parameters
    ----------
    convolution : Convolution
    iterations : int
        k, at least 1; 6 is within 5.6 % for 1000 channels.
    grid : int
        As in `fft_bound`.

    Returns
    -------
    float
        Never below `fft_bound`, up to rounding.

    Raises
    ------
    ValueError
        If `iterations` or `grid` is below 1.

    Notes
    -----
    Delattre, Barthelemy, Araujo and Allauzen, "Efficient bound of Lipschitz constant for convolutional layers by Gram
    iteration", ICML 2023, algorithm 2; for zero padding and few frequencies see `fft_bound`. Iterates are
    divided by their norms, whose logarithms are summed.
    """
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1, got {iterations!r}; 6 is the default.")

    def largest(matrices):
        return _gram_iteration(matrices, iterations)

    return min(factor * _sup(view, places, grid, largest) for factor, view, places in _tori(convolution))


@_of_any_scale
def aol_bound(convolution):
    """Bound the spectral norm by the sums of absolute values in W^T W, as Almost-Orthogonal Layers scale their kernels.

    With A[c, c'] = sum over t of |(K * K)[c, c', t]|, K * K the correlation of the kernel with itself, |W|^2 is at most
    the largest eigenvalue of A. The same with W W^T; the lesser of the two.

    Parameters
    ----------
    convolution : Convolution

    Returns
    -------
    float
        It doesn't depend on the size of the image, unless strides don't divide it and it is padded circularly.

    Notes
    -----
    Prach and Lampert, "Almost-orthogonal layers for efficient general-purpose Lipschitz networks", ECCV 2022, theorem
    1: W D has a norm of at most 1 if D_c^-2 is the sum of row c of A. So it is for a D that comes from any positive
    scaling of the channels; the best one gives the eigenvalue (Perron and Frobenius), which is 1 for a kernel that was
    divided by the paper's. With stride s, channels are split into s phases first.
    """
    kernels = _phases(convolution)
    sides = kernels, kernels.transpose(1, 2)
    bound = min(max(_largest_correlation(kernel) for kernel in side) for side in sides)
    return _unrolled_factor(convolution) * bound * (1 + ROUNDING)


def _largest_correlation(kernel):
    """Of a kernel (out, in, *places): the square root of the largest eigenvalue of A."""
    places = kernel.shape[2:]
    columns = kernel.transpose(0, 1)  # (in, out, *places), images and kernels at once
    conv = (nn.functional.conv1d, nn.functional.conv2d, nn.functional.conv3d)[len(places) - 1]
    correlation = conv(columns, columns, padding=tuple(n - 1 for n in places)).abs().flatten(2).sum(2)
    return torch.linalg.eigvalsh(correlation)[-1].clamp(min=0).sqrt().item()


def _phases(convolution):
    """Return the kernel at stride 1, for images with prod(stride) phases: (groups, out, in * phases, *places)."""
    groups, spans, strides = convolution.groups, convolution.spans, convolution.stride
    kernel = convolution.kernel.unflatten(0, (groups, -1))
    places = [span // s + 1 for span, s in zip(spans, strides, strict=True)]
    phases = kernel.new_zeros(*kernel.shape[:3], *strides, *places)
    for tap in itertools.product(*map(range, kernel.shape[3:])):
        offsets = [d * t for d, t in zip(convolution.dilation, tap, strict=True)]
        phase = [o % s for o, s in zip(offsets, strides, strict=True)]
        place = [o // s for o, s in zip(offsets, strides, strict=True)]
        phases[(..., *phase, *place)] = kernel[(..., *tap)]
    return phases.flatten(2, 2 + len(strides))


# --- tori ------------------------------------------------------------------------------------------------------------


def _tori(convolution):
    """Return ways to see the convolution as part of one on a torus: (factor of the norm, convolution, torus size).

    The torus is in units of the stride.
    """
    if not convolution.circular:
        return [(1.0, convolution, _open_torus(convolution))]
    strides = convolution.stride
    if all(n % s == 0 for n, s in zip(convolution.size, strides, strict=True)):
        places = tuple(n // s for n, s in zip(convolution.size, strides, strict=True))
        return [(_sqrt_product(_repeated_rows(convolution)), convolution, places)]
    dense = Convolution(**{**vars(convolution), "stride": (1,) * len(strides)})
    return [
        (_sqrt_product(_repeated_rows(convolution)), dense, convolution.size),
        (_unrolled_factor(convolution), convolution, _open_torus(convolution, padded=True)),
    ]


def _open_torus(convolution, padded=False):
    """Return so many places, in units of the stride, that no output sees the (padded) image from two sides."""
    places = []
    for n, m, s, p, span in zip(
        convolution.size, convolution.outputs, convolution.stride, convolution.padding, convolution.spans, strict=True
    ):
        first, last = -p, s * (m - 1) + span - p  # places that outputs look at
        width = last - first + 1 if padded else n + max(0, -first, last - n + 1)
        places.append(max(m, -(-width // s)))
    return tuple(places)


def _repeated_rows(convolution):
    """How many outputs look at the same places of a torus of the image's size, at most, in each dimension."""
    dims = zip(convolution.size, convolution.outputs, convolution.stride, strict=True)
    return [max(torch.bincount((torch.arange(m) * s) % n).tolist()) for n, m, s in dims]


def _unrolled_factor(convolution):
    """Bound the norm by this factor times that of the same kernel on an endless image."""
    if not convolution.circular:
        return 1.0
    dims = list(zip(convolution.size, convolution.stride, strict=True))
    if all(n % s == 0 for n, s in dims):
        return _sqrt_product(_repeated_rows(convolution))
    widths = [
        s * (m - 1) + span + 1 for (_, s), m, span in zip(dims, convolution.outputs, convolution.spans, strict=True)
    ]
    return _sqrt_product([-(-width // n) for width, (n, _) in zip(widths, dims, strict=True)])


def _sqrt_product(numbers):
    return math.sqrt(math.prod(numbers))


# --- transfer matrices -----------------------------------------------------------------------------------------------


def _sup(convolution, places, grid, norms):
    """Return the largest of the norms of the transfer matrices on a torus; a bound of it if `grid` is smaller."""
    if grid < 1:
        raise ValueError(f"grid must be at least 1, got {grid!r}; 64 is the default.")
    numbers, factor = [], 1.0
    for n, span, s in zip(places, convolution.spans, convolution.stride, strict=True):
        degree = span // s
        points = max(grid, 8 * degree)
        numbers.append(min(n, points))
        if n > points:
            factor /= math.sqrt(math.cos(math.pi * degree / points))
    taps, offsets = _taps(convolution)
    frequencies = _frequencies(numbers).to(offsets.device)
    step = max(1, _PIECE // (taps[..., 0].numel() * math.prod(convolution.stride)))
    tops = [norms(_symbols(convolution, taps, offsets, numbers, some)).max() for some in frequencies.split(step)]
    return factor * max(top.item() for top in tops) * (1 + ROUNDING)


def _taps(convolution):
    """Return the kernel (groups, out, in, taps) and the places (taps, dims) that its taps look at."""
    taps = convolution.kernel.unflatten(0, (convolution.groups, -1)).flatten(3)
    axes = [d * torch.arange(k) for d, k in zip(convolution.dilation, convolution.kernel.shape[2:], strict=True)]
    return taps, torch.cartesian_prod(*axes).view(-1, len(axes)).to(taps.device)


def _frequencies(numbers):
    """Return the frequencies (n, dims) of a torus. The other half has the complex conjugates, of equal norm."""
    axes = [torch.arange(n) for n in (*numbers[:-1], numbers[-1] // 2 + 1)]
    return torch.cartesian_prod(*axes).view(-1, len(axes))


def _symbols(convolution, taps, offsets, numbers, frequencies):
    """Return the transfer matrices (groups, frequencies, out, in * phases) at some frequencies."""
    stride = offsets.new_tensor(convolution.stride)
    sizes = torch.tensor(numbers, dtype=torch.float64, device=offsets.device)
    phases = []
    for phase in itertools.product(*map(range, convolution.stride)):
        chosen = (offsets % stride == offsets.new_tensor(phase)).all(1)
        if not chosen.any():
            continue
        turns = (frequencies / sizes) @ (offsets[chosen] // stride).double().T
        waves = torch.polar(torch.ones_like(turns), -2 * math.pi * turns)
        phases.append(torch.einsum("goct,ft->gfoc", taps[..., chosen].to(waves.dtype), waves))
    return torch.cat(phases, -1)


def _gram(matrices):
    """Return M M^H or M^H M, whichever is smaller."""
    return matrices @ matrices.mH if matrices.shape[-2] <= matrices.shape[-1] else matrices.mH @ matrices


def _largest_singular_value(matrices):
    return torch.linalg.eigvalsh(_gram(matrices))[..., -1].clamp(min=0).sqrt()


def _gram_iteration(matrices, iterations):
    """Return |G_k|_F^(1 / 2^k) of each matrix."""
    logarithm = torch.zeros(matrices.shape[:-2], dtype=torch.float64, device=matrices.device)
    iterate, share = matrices, 1.0
    for _ in range(iterations):
        norm = torch.linalg.matrix_norm(iterate)
        logarithm += share * norm.log()
        iterate = _gram(iterate / torch.where(norm > 0, norm, 1)[..., None, None])
        share /= 2
    return (logarithm + share * torch.linalg.matrix_norm(iterate).log()).exp()
