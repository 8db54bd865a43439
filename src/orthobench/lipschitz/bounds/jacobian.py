"""The dense Jacobian of an affine function, and how modules are evaluated for bounds: in eval mode, or as copies."""

import copy
import math
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.utils import parametrize

from ...linalg.precision import full_float32

# Between a network and its copy in float64, as a share of the norm of the outputs.
NETWORK_TOLERANCE = 0.05
# float64 loses about sqrt(n) eps in a sum of n terms, and n eps in an eigenvalue: this covers n up to 10^5.
ROUNDING = 1e-10


def dense_jacobian(function, input_shape, batch=256):
    """Compute the matrix of an affine function, f(x) = J x + f(0), column by column.

    Parameters
    ----------
    function : torch.nn.Module or callable
        Takes a batch (b, \\*input_shape) and treats its examples alike. A module is evaluated in its own dtype, on its
        own device, in eval mode (restored afterwards); any other callable gets float64 on the CPU.
    input_shape : sequence of int
        Without the batch axis.
    batch : int
        Columns at a time.

    Returns
    -------
    Tensor (outputs, inputs) float64
        On the device of the module, outputs and inputs flattened. No gradient is recorded.

    Raises
    ------
    ValueError
        If `batch` is below 1 or the function returns no tensor with the batch first.

    Notes
    -----
    The inputs are unit vectors times a power of two that is at least 64 max |f(0)|: so little of a column is lost when
    f(0) is subtracted. Nothing tests that the function is affine.

    Examples
    --------
    >>> dense_jacobian(torch.nn.Conv2d(1, 1, 3, padding=1), (1, 4, 4)).shape
    torch.Size([16, 16])
    """
    if batch < 1:
        raise ValueError(f"batch must be at least 1, got {batch!r}; 256 is the default.")
    dtype, device = dtype_and_device(function)
    inputs = math.prod(input_shape)
    with evaluating(function):
        constant = evaluate(function, torch.zeros(1, *input_shape, dtype=dtype, device=device)).double()
        scale = 2.0 ** math.ceil(math.log2(max(1.0, 64 * constant.abs().max().item()))) if constant.numel() else 1.0
        columns = []
        for start in range(0, inputs, batch):
            indices = torch.arange(start, min(start + batch, inputs), device=device)
            units = torch.zeros(len(indices), inputs, dtype=dtype, device=device)
            units.scatter_(1, indices[:, None], scale)
            outputs = evaluate(function, units.view(-1, *input_shape)).double()
            columns.append(((outputs - constant) / scale).flatten(1))
    return torch.cat(columns).T.contiguous()


def dtype_and_device(function):
    """Return those of the first floating-point parameter or buffer; float64 and the CPU if there is none."""
    if isinstance(function, nn.Module):
        for tensor in (*function.parameters(), *function.buffers()):
            if tensor.is_floating_point():
                return tensor.dtype, tensor.device
    return torch.float64, torch.device("cpu")


@contextmanager
def evaluating(function):
    """Evaluate in eval mode, without gradients, autocast or reduced precision; then put the modes back."""
    modules = list(function.modules()) if isinstance(function, nn.Module) else []
    modes = [module.training for module in modules]
    device = dtype_and_device(function)[1].type
    try:
        for module in modules:
            module.training = False
        with torch.no_grad(), torch.autocast(device, enabled=False), full_float32(), _full_convolutions():
            yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode


@contextmanager
def _full_convolutions():
    """Keep cuDNN from rounding the float32 inputs of convolutions to TF32, its default."""
    if not torch.cuda.is_available():
        yield
        return
    convolutions = torch.backends.cudnn.conv
    allowed = convolutions.fp32_precision
    try:
        convolutions.fp32_precision = "ieee"
        yield
    finally:
        convolutions.fp32_precision = allowed


def evaluate(function, inputs):
    """Return the outputs; raise ValueError unless they are a tensor with the batch first."""
    outputs = function(inputs)
    if not isinstance(outputs, torch.Tensor) or outputs.ndim == 0 or len(outputs) != len(inputs):
        got = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__
        raise ValueError(
            f"{_name(function)} must return a tensor ({len(inputs)}, ...) for inputs {tuple(inputs.shape)}, got {got}; "
            "let it keep the batch as the first axis."
        )
    return outputs


def _name(function):
    return getattr(function, "__name__", type(function).__name__)


def float64_copy(module, input_shape, tolerance=None):
    """Return a copy of a module in float64 and eval mode with its weights as they are now, None if there is none.

    Parametrised weights are computed in the module's own dtype first, then frozen, so that the copy is the same
    function up to the rounding of the module's forward pass, which is checked at random inputs: by default that of one
    layer; with a tolerance, the outputs may differ by that share of their norm.
    """
    try:
        with evaluating(module):
            clone = copy.deepcopy(module).eval()
            for part in list(clone.modules()):
                if parametrize.is_parametrized(part):
                    _freeze(part)
            clone.double().requires_grad_(False)
            return clone if _agree(module, clone, input_shape, tolerance) else None
    # A module may refuse to be copied, or fix its dtype, in ways of its own.
    except (RuntimeError, TypeError, ValueError, NotImplementedError, AttributeError):
        return None


def _freeze(part):
    """Replace the parametrised tensors of a module that is a copy by their values.

    torch's `remove_parametrizations` would take the properties from the class, which is that of the original too.
    """
    values = {name: getattr(part, name).detach().clone() for name in part.parametrizations}
    part.__class__ = parametrize.type_before_parametrizations(part)
    del part.parametrizations
    for name, value in values.items():
        part.register_parameter(name, nn.Parameter(value, requires_grad=False))


def _agree(module, clone, input_shape, tolerance):
    dtype, device = dtype_and_device(module)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(2, *input_shape, generator=generator, dtype=torch.float64).to(device, dtype)
    expected, actual = evaluate(module, inputs), evaluate(clone, inputs.double())
    return actual.dtype == torch.float64 and close(actual, expected.double(), dtype, tolerance)


def close(actual, expected, dtype, tolerance=None):
    """Whether two float64 tensors agree up to a share of the norm, by default what one layer in `dtype` rounds off."""
    if actual.shape != expected.shape or not actual.isfinite().all():
        return False
    # Sums of a thousand terms in float32; half precision rounds results alone, or it isn't worth a bound.
    tolerance = tolerance or max(ROUNDING, torch.finfo(dtype).eps * (64 if dtype == torch.float32 else 4))
    return bool((actual - expected).norm() <= tolerance * expected.norm())
