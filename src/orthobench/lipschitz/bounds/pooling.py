"""Lipschitz constants of pooling layers, exact for every window, stride, padding and size."""

import math

import torch
from torch import nn

_MAX = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
_MEAN = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
_NORM = (nn.LPPool1d, nn.LPPool2d)
_ADAPTIVE_MAX = (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)
_ADAPTIVE_MEAN = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
POOLINGS = _MAX + _MEAN + _NORM + _ADAPTIVE_MAX + _ADAPTIVE_MEAN


def pooling_constant(layer, input_shape):
    """Return the Lipschitz constant of a pooling layer on inputs of one shape.

    Parameters
    ----------
    layer : torch.nn.Module
        One of `POOLINGS`.
    input_shape : sequence of int
        Channels and places, without the batch axis.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the shape doesn't fit, or the order of an nn.LPPool is below 2 or not a finite number.

    Notes
    -----
    Windows are products of intervals, one in each dimension: so are overlap counts, and the matrix of a mean is a
    Kronecker product.

    - Maximum, or Euclidean norm, of each window: the square root of the largest number of windows that a pixel is in.
      Each output moves by at most the norm of the change within its window; a pixel that is the only one not zero,
      where it is in most windows, attains it. So it is 1 for disjoint windows.
    - A norm of order p > 2 is not above the Euclidean one, and has the same constant. torch multiplies the mean of a
      window by its full size k, so that with ``ceil_mode`` a window of m < k pixels at the edge counts (k / m)^(2/p)
      times.
    - Mean: the product of the spectral norms of the matrices (places, windows) of each dimension, which is 1/sqrt(k)
      for disjoint windows of k pixels.
    """
    dims = _dims(layer)
    if len(input_shape) != dims + 1:
        raise ValueError(
            f"{type(layer).__name__} takes inputs of {dims + 1} dimensions without the batch axis, got shape "
            f"{tuple(input_shape)}."
        )
    if isinstance(layer, _NORM) and not 2 <= layer.norm_type < math.inf:
        raise ValueError(
            f"norm_type of {type(layer).__name__} must be at least 2 and finite, got {layer.norm_type!r}; no constant "
            "is known here for others."
        )
    mean = isinstance(layer, _MEAN + _ADAPTIVE_MEAN)
    constant = 1.0
    for axis, n in enumerate(input_shape[1:]):
        matrix = _windows(layer, axis, n, dims)
        constant *= torch.linalg.matrix_norm(matrix, 2).item() if mean else math.sqrt(matrix.sum(1).max().item())
    divisor = getattr(layer, "divisor_override", None)
    return constant if divisor is None else constant / abs(divisor)


def _dims(layer):
    return int(type(layer).__mro__[[base in POOLINGS for base in type(layer).__mro__].index(True)].__name__[-2])


def _windows(layer, axis, n, dims):
    """Return a matrix (n, windows) for one dimension: of a mean, or of the weights of what is summed over windows."""
    identity = torch.eye(n, dtype=torch.float64).unsqueeze(1)

    def along(name, default=None):
        value = getattr(layer, name, default)
        return value[axis] if isinstance(value, (tuple, list)) else value

    if isinstance(layer, _ADAPTIVE_MAX + _ADAPTIVE_MEAN):
        size = along("output_size")
        means = nn.functional.adaptive_avg_pool1d(identity, n if size is None else size).squeeze(1)
        return means if isinstance(layer, _ADAPTIVE_MEAN) else (means > 0).double()
    kernel, stride, padding = along("kernel_size"), along("stride"), along("padding", 0)
    stride = stride or kernel
    if isinstance(layer, _MAX):
        return _members(n, kernel, stride, padding, along("dilation"), layer.ceil_mode)
    include = getattr(layer, "count_include_pad", True)
    means = nn.functional.avg_pool1d(identity, kernel, stride, padding, layer.ceil_mode, include).squeeze(1)
    if isinstance(layer, _NORM):
        return (means * kernel) ** (2 / layer.norm_type)
    # The divisor of the layer's own replaces that of the windows.
    return means if getattr(layer, "divisor_override", None) is None else (means > 0).double()


def _members(n, kernel, stride, padding, dilation, ceil_mode):
    """Return which places are in which windows, as a matrix (n, windows) of zeros and ones."""
    rest = n + 2 * padding - dilation * (kernel - 1) - 1
    count = (-(-rest // stride) if ceil_mode else rest // stride) + 1
    if ceil_mode and (count - 1) * stride >= n + padding:  # torch drops a window that starts in the padding behind
        count -= 1
    places = torch.arange(count)[:, None] * stride + dilation * torch.arange(kernel) - padding
    members = torch.zeros(n, count, dtype=torch.float64)
    for window, inside in enumerate(places):
        members[inside[(inside >= 0) & (inside < n)], window] = 1
    return members
