"""Upper bounds of the spectral norm of affine modules: their Lipschitz constant."""

import math

import torch
from torch import nn

from ..scale import scale_of
from .convolution import CONVOLUTIONS, aol_bound, apply_convolution, convolution_of, fft_bound, gelfand_bound
from .jacobian import ROUNDING, close, dense_jacobian, dtype_and_device, evaluate, evaluating, float64_copy

# Channels of a transfer matrix up to which its singular values are computed.
_DECOMPOSED = 512
# Multiplications of the AOL bound, at most.
_AFFORDABLE = 2e10


def linear_upper_bound(layer, input_shape, exact_up_to=4096, *, per_output=False):
    """Bound the Lipschitz constant of an affine module from above: the spectral norm of its matrix.

    Parameters
    ----------
    layer : torch.nn.Module
        Affine, and the same for each example. Evaluated in eval mode (restored afterwards).
    input_shape : sequence of int
        Without the batch axis.
    exact_up_to : int
        Largest number of inputs and of outputs for which the dense Jacobian is computed.
    per_output : bool
        Bound the norm of each row instead, the Lipschitz constant of one output, and return the largest.

    Returns
    -------
    float
        The norm itself, up to 1e-10 of it, if nothing below says otherwise.

    Raises
    ------
    ValueError
        If the module isn't affine, has weights that aren't finite, doesn't take inputs of that shape, or is neither
        small nor of a known structure.

    Notes
    -----
    In this order:

    - A linear layer: the largest singular value of its weight. nn.Linear, nn.Conv1d to nn.Conv3d and their transposes
      count as such if the outputs for random inputs are those of the weight, whatever their class.
    - A convolution with circular padding, or of disjoint windows, whose strides divide the image: `fft_bound`.
    - Another convolution: that of the dense Jacobian, a group at a time, if that is small; otherwise the least of
      `fft_bound`, `gelfand_bound` and `aol_bound`. The FFT bound is not above the others unless it is computed at fewer
      frequencies; those that need a decomposition are left out above 512 channels.
    - Any module between images that does the same at each place of a torus: its answers to single pixels are
      transformed to transfer matrices. It is such a module if those predict what it does to a random image.
    - Any other module: the dense Jacobian, which must predict the outputs for random inputs.

    Weights of the named layers are taken as they are, in float64, so that the bound is of what the layer computes but
    for the rounding of its forward pass. Other modules are evaluated on a copy in float64, their parametrised weights
    frozen. Where there is no copy that agrees, they are measured in their own dtype, and the bound is that norm plus
    64 eps of it, eps that of the dtype. 1e-10 is added for the rounding in float64.

    Examples
    --------
    >>> layer = torch.nn.Conv2d(2, 2, 1, bias=False)
    >>> _ = torch.nn.init.dirac_(layer.weight)
    >>> round(linear_upper_bound(layer, (2, 5, 5)), 6)
    1.0
    """
    input_shape = tuple(input_shape)
    with evaluating(layer):
        dtype, device = dtype_and_device(layer)
        output_shape = _evaluate(layer, torch.zeros(1, *input_shape, dtype=dtype, device=device)).shape[1:]
        if isinstance(layer, (nn.Linear, *CONVOLUTIONS)):
            known = _known_layer(layer, input_shape)
            if known is not None:
                return known.per_output(exact_up_to) if per_output else known.joint(exact_up_to)
        return _measured_bound(layer, input_shape, tuple(output_shape), exact_up_to, per_output)


def _evaluate(layer, inputs):
    try:
        return evaluate(layer, inputs)
    except (RuntimeError, IndexError) as error:
        raise ValueError(
            f"{type(layer).__name__} doesn't take inputs of shape {tuple(inputs.shape[1:])}: {error}; give the shape "
            "without the batch axis."
        ) from error


def matrix_norm(matrix):
    """Return the spectral norm of a float64 matrix (m, n), bounded from above: the error is below 1e-10 of it."""
    if 0 in matrix.shape:
        return 0.0
    scale = scale_of(matrix)
    matrix = matrix / scale
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    return math.sqrt(max(0.0, torch.linalg.eigvalsh(gram)[-1].item())) * (1 + ROUNDING) * scale


def row_norm(matrix):
    """Return the largest norm of a row, bounded from above."""
    scale = scale_of(matrix)
    return (matrix / scale).norm(dim=1).max().item() * (1 + ROUNDING) * scale


# --- torch's layers --------------------------------------------------------------------------------------------------


def _known_layer(layer, input_shape):
    """Return the layer as what torch's own layer with its weight is, None if it does something else."""
    if not layer.weight.isfinite().all():
        raise ValueError(
            f"the weight of {type(layer).__name__} has entries that are not finite; no constant bounds it."
        )
    known = _Matrix(layer) if isinstance(layer, nn.Linear) else _Convolution(layer, input_shape)
    return known if _predicts(known.function, layer, input_shape) else None


def _predicts(function, layer, input_shape):
    """Whether layer(x) - layer(0) is function(x), computed in float64, for random inputs of several lengths."""
    dtype, device = dtype_and_device(layer)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(4, *input_shape, generator=generator, dtype=torch.float64)
    inputs = (inputs * torch.tensor([1.0, 1.0, 1e-2, 1e3]).view(-1, *[1] * len(input_shape))).to(device, dtype)
    constant = _evaluate(layer, torch.zeros_like(inputs[:1])).double()
    for one in inputs.split(1):
        expected = function(one.double())
        actual = _evaluate(layer, one).double()
        if not close(actual, expected + constant, dtype):
            return False
    return True


class _Matrix:
    def __init__(self, layer):
        self.weight = layer.weight.detach().double()

    def function(self, inputs):
        return nn.functional.linear(inputs, self.weight)

    def joint(self, exact_up_to):
        return matrix_norm(self.weight)

    def per_output(self, exact_up_to):
        return row_norm(self.weight)


class _Convolution:
    def __init__(self, layer, input_shape):
        self.size = input_shape[-len(layer.kernel_size) :]
        self.convolution = convolution_of(layer, self.size)
        self.layer, self.weight = layer, layer.weight.detach().double()

    def function(self, inputs):
        return apply_convolution(self.layer, self.weight, self.layer.groups, inputs)

    def _jacobians(self):
        """Yield the dense Jacobian of each group."""
        for weight in self.weight.chunk(self.layer.groups):
            channels = weight.shape[0 if self.layer.transposed else 1]
            shape = (channels, *self.size)
            units = torch.eye(math.prod(shape), dtype=torch.float64, device=weight.device)
            rows = [
                apply_convolution(self.layer, weight, 1, some.view(-1, *shape)).flatten(1) for some in units.split(256)
            ]
            yield torch.cat(rows).T

    def _is_small(self, exact_up_to):
        convolution, layer = self.convolution, self.layer
        places = math.prod(convolution.size), math.prod(convolution.outputs)
        channels = convolution.kernel.shape[1], convolution.kernel.shape[0] // layer.groups
        return max(places[0] * channels[0], places[1] * channels[1]) <= exact_up_to

    def joint(self, exact_up_to):
        convolution = self.convolution
        dims = list(zip(convolution.size, convolution.outputs, convolution.stride, convolution.spans, strict=True))
        exact = convolution.padding_norm == 1 and all(
            n == m * s and m <= 64 and (convolution.circular or span < s) for n, m, s, span in dims
        )
        if not exact and self._is_small(exact_up_to):
            return max(matrix_norm(jacobian) for jacobian in self._jacobians())
        rows, columns = convolution.kernel.shape[0] // convolution.groups, convolution.kernel.shape[1]
        columns *= math.prod(convolution.stride)
        if min(rows, columns) > _DECOMPOSED:
            bounds = [gelfand_bound(convolution)]
        elif exact:
            return fft_bound(convolution)
        else:
            bounds = [fft_bound(convolution)]
        spans = (span // s + 1 for span, s in zip(convolution.spans, convolution.stride, strict=True))
        if rows * columns * max(rows, columns) * math.prod(2 * q * q for q in spans) <= _AFFORDABLE:
            bounds.append(aol_bound(convolution))
        return min(bounds)

    def per_output(self, exact_up_to):
        if self._is_small(exact_up_to):
            return max(row_norm(jacobian) for jacobian in self._jacobians())
        return self.joint(exact_up_to)


# --- any affine module -----------------------------------------------------------------------------------------------


def _measured_bound(layer, input_shape, output_shape, exact_up_to, per_output):
    copy = float64_copy(layer, input_shape)
    measured = layer if copy is None else copy
    dtype, _ = dtype_and_device(measured)
    allowance = 1 if dtype == torch.float64 else 1 + 64 * torch.finfo(dtype).eps
    inputs, outputs = math.prod(input_shape), math.prod(output_shape)
    if not per_output and len(input_shape) == len(output_shape) > 1:
        torus = _Torus(measured, input_shape, output_shape)
        if math.prod(torus.cells) > 1 and torus.worthwhile and _predicts(torus.function, measured, input_shape):
            return torus.norm() * allowance
    if max(inputs, outputs) > exact_up_to:
        raise ValueError(
            f"{type(layer).__name__} has {inputs} inputs and {outputs} outputs, above exact_up_to={exact_up_to}, and "
            "is no convolution of a known kind: raise exact_up_to, or give it a method certified_bound(input_shape)."
        )
    jacobian = dense_jacobian(measured, input_shape)
    if not jacobian.isfinite().all():
        raise ValueError(f"{type(layer).__name__} returns values that are not finite; no constant bounds it.")

    def predict(x):
        return (x.flatten(1) @ jacobian.T).view(-1, *output_shape)

    if not _predicts(predict, measured, input_shape):
        raise ValueError(
            f"{type(layer).__name__} isn't affine: its outputs for random inputs aren't those of its Jacobian at 0; "
            "give the module a method certified_bound(input_shape)."
        )
    return (row_norm if per_output else matrix_norm)(jacobian) * allowance


class _Torus:
    """A module between images (channels, \\*places) as one that commutes with shifts by whole cells.

    The numbers of cells divide the sizes of both images; pixels of one cell count as channels.
    """

    def __init__(self, layer, input_shape, output_shape):
        self.layer, self.shapes = layer, (input_shape, output_shape)
        self.cells = tuple(math.gcd(n, m) for n, m in zip(input_shape[1:], output_shape[1:], strict=True))
        self.channels = [math.prod(shape) // math.prod(self.cells) for shape in self.shapes]
        self._answers = None

    @property
    def worthwhile(self):
        """Whether the transfer matrices aren't larger than a gigabyte."""
        return math.prod(self.channels) * math.prod(self.cells) <= 2**26

    def _to_cells(self, images, shape):
        """(b, channels, \\*places) to (b, channels and pixels of a cell, \\*cells)."""
        for axis, cells in enumerate(self.cells):
            images = images.unflatten(2 + 2 * axis, (cells, -1))
        count = len(shape) - 1
        pixels = [3 + 2 * axis for axis in range(count)]
        return images.permute(0, 1, *pixels, *[p - 1 for p in pixels]).flatten(1, 1 + count)

    def _from_cells(self, images, shape):
        within = [n // cells for n, cells in zip(shape[1:], self.cells, strict=True)]
        count = len(within)
        images = images.unflatten(1, (shape[0], *within))
        order = [axis for i in range(count) for axis in (2 + count + i, 2 + i)]
        return images.permute(0, 1, *order).reshape(-1, *shape)

    def _matrices(self):
        """Return the transfer matrices (outputs, inputs, \\*frequencies), of which the last dimension is halved."""
        if self._answers is None:
            shape, (inputs, _) = self.shapes[0], self.channels
            dtype, device = dtype_and_device(self.layer)

            def column(units):
                images = units.new_zeros(len(units), inputs, math.prod(self.cells))
                images[..., 0] = units
                return self.layer(self._from_cells(images.unflatten(2, self.cells), shape))

            # `dense_jacobian` gives float64 on the CPU to what is no module.
            answers = dense_jacobian(lambda units: column(units.to(device, dtype)), (inputs,)).to(device)
            answers = self._to_cells(answers.T.reshape(inputs, *self.shapes[1]), self.shapes[1])
            self._answers = torch.fft.rfftn(answers.transpose(0, 1), dim=self._dims)
        return self._answers

    @property
    def _dims(self):
        return tuple(range(2, 2 + len(self.cells)))

    def function(self, images):
        """Apply the matrices to images in float64."""
        waves = torch.fft.rfftn(self._to_cells(images, self.shapes[0]), dim=self._dims)
        waves = torch.einsum("oi...,bi...->bo...", self._matrices(), waves)
        return self._from_cells(torch.fft.irfftn(waves, s=self.cells, dim=self._dims), self.shapes[1])

    def norm(self):
        """Return the largest singular value of a transfer matrix."""
        matrices = self._matrices().flatten(2).permute(2, 0, 1)
        scale = scale_of(matrices)
        matrices = matrices / scale
        gram = matrices @ matrices.mH if matrices.shape[1] <= matrices.shape[2] else matrices.mH @ matrices
        return math.sqrt(max(0.0, torch.linalg.eigvalsh(gram)[:, -1].max().item())) * (1 + ROUNDING) * scale
