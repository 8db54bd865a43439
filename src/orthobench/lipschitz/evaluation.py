"""What is measured of a robust network: outputs, attacks, its constant from below, spectra of its layers, inference."""

import contextlib
import math
from statistics import median

import torch
from torch.nn.utils import parametrize

from ..device import Stopwatch
from ..linalg.precision import full_float32
from ..models import evaluation
from ..models.evaluation import evaluation_mode
from ..models.lipschitz_unet import SkipConnection
from .attacks import pgd_l2
from .bounds import dense_jacobian, lower_bound
from .bounds.jacobian import NETWORK_TOLERANCE, float64_copy
from .layers import export_plain

EXAMPLES_AT_ONCE = 1024

# The attack is made on the first examples of a part.
ATTACKED = 1000

# Of the search for a lower bound of the constant, from the first examples of a part and from as many random images; the
# attack's pairs come on top.
SEARCH = {"iterations": 5}
SEARCHED = 8

# A difference of outputs counts less this many eps of their norms, for rounding.
ROUNDING = 64

# The largest number of inputs for which a layer's Jacobian is made; for more, the layer gets a smaller map.
LARGEST_JACOBIAN = 256

# A layer is affine if it is additive to this share of its outputs: rounding in float32, in a Fourier transform too.
AFFINE = 1e-4
TIMED_IMAGES, TIMINGS = 256, 5


@contextlib.contextmanager
def certifying(model):
    """Put a model in evaluation mode, its parametrised weights computed once and its products in full float32.

    A certificate that leaves room for the rounding of float32 would not hold with the TF32 that cuDNN takes by default.
    """
    convolutions = torch.backends.cudnn.conv
    allowed = convolutions.fp32_precision
    try:
        convolutions.fp32_precision = "ieee"
        with evaluation_mode(model), parametrize.cached(), full_float32():
            yield
    finally:
        convolutions.fp32_precision = allowed


def outputs_of(model, inputs, device):
    """Return the outputs of a model for inputs (n, ...), in its own dtype, as `certifying` has it."""
    with certifying(model):
        return evaluation.outputs_of(model, inputs, device, EXAMPLES_AT_ONCE)


def frozen_copy(model):
    """Return a copy with plain weights, that no gradient is computed of, in evaluation mode."""
    with evaluation_mode(model):
        return export_plain(model).requires_grad_(False).eval()


def attack(model, inputs, labels, radius, device, **options):
    """Search for images that a model misclassifies, within a radius (L2) of the inputs and with pixels in [0, 1].

    Parameters
    ----------
    model : torch.nn.Module
        A frozen copy.
    inputs, labels : torch.Tensor
        (n, channels, height, width) and (n,).
    radius : float
    device : torch.device
    **options
        ``steps`` and ``restarts``, as `pgd_l2` takes them.

    Returns
    -------
    torch.Tensor
        (n, channels, height, width): for each the best that was found.
    """
    parts = zip(inputs.split(EXAMPLES_AT_ONCE), labels.split(EXAMPLES_AT_ONCE), strict=True)
    with certifying(model), torch.enable_grad():
        found = [
            pgd_l2(model, some.to(device), own.to(device), radius, seed=0, low=0.0, high=1.0, **options)
            for some, own in parts
        ]
    return torch.cat(found)


def in_float64(model, input_shape):
    """Return a frozen copy in float64 with the same weights: rounding of the forward pass is no matter there.

    The model itself, if it has no such copy.
    """
    copy = float64_copy(model, input_shape, NETWORK_TOLERANCE)
    return model if copy is None else copy


def measured_constant(model, inputs, device, searched=SEARCHED):
    """Return a lower bound of a model's Lipschitz constant.

    By a search around the first inputs, and around as many images of random pixels in [0, 1].

    Parameters
    ----------
    model : torch.nn.Module
        A frozen copy, best one `in_float64`.
    inputs : torch.Tensor
    device : torch.device
    searched : int
        Of the inputs.
    """
    first = inputs[:searched]
    random = torch.rand(searched, *first.shape[1:], generator=torch.Generator().manual_seed(0))
    with parametrize.cached():
        return float(lower_bound(model, torch.cat([first, random.to(first)]).to(device), seed=0, **SEARCH))


def largest_quotient(outputs, other_outputs, inputs, other_inputs):
    """Return the largest ||f(y) - f(x)|| / ||y - x|| of pairs, less rounding; 0 if no two inputs differ."""
    moved = (other_inputs.double() - inputs.double()).flatten(1).norm(dim=1)
    rounding = rounding_of(outputs) + rounding_of(other_outputs)
    changed = (other_outputs.double() - outputs.double()).norm(dim=1) - rounding
    quotients = torch.where(moved > 0, changed / moved, 0)
    return float(quotients.amax().clamp(min=0)) if len(quotients) else 0.0


def rounding_of(outputs):
    """Return by how much outputs (n, k) are taken to be wrong at most, as vectors: (n,) float64."""
    return ROUNDING * torch.finfo(outputs.dtype).eps * outputs.double().norm(dim=1)


def inference_time_ms(model, inputs, device):
    """Return the time that a model takes for an image, in a batch of the first `TIMED_IMAGES`: median of 5, in ms."""
    batch = inputs[:TIMED_IMAGES].to(device)
    readings = []
    with certifying(model):
        model(batch)
        for _ in range(TIMINGS):
            stopwatch = Stopwatch(device)
            stopwatch.start()
            model(batch)
            stopwatch.stop()
            readings.append(stopwatch.elapsed_s)
    return 1e3 * median(readings) / len(batch)


def stating_layers(model, name=""):
    """Yield (name, layer) of each layer that states a bound; layers inside one are part of it."""
    if hasattr(model, "lipschitz_bound"):
        yield name, model
        return
    for own, child in model.named_children():
        yield from stating_layers(child, f"{name}.{own}" if name else own)


def stated_constant(model):
    """Return the product of the bounds that a model's layers state: a bound of the model, if it is their composition.

    Steps without a bound of their own (activations, paddings) have a constant of 1; a `SkipConnection` has that of its
    formula, which is above the product where the branch's is below 1.
    """
    if hasattr(model, "lipschitz_bound"):
        return float(model.lipschitz_bound)
    parts = math.prod(map(stated_constant, model.children()))
    if isinstance(model, SkipConnection):
        a, b = model.weights
        return math.hypot(a * parts, b)
    return parts


def layer_spectra(model, input_shape, device):
    """Return the extreme singular values of each layer that states a bound and is affine.

    Of the dense Jacobian, by SVD in float64. A layer that gets maps of more than `LARGEST_JACOBIAN` entries is given
    smaller ones, of the largest height and width that are not more.

    Returns
    -------
    list of dict
        ``name``, ``inputs`` (the shape it was given), ``sigma_min`` (the least of the min(inputs, outputs) singular
        values), ``sigma_max``, ``stated`` (its bound).
    """
    shapes, layers = {}, dict(stating_layers(model))
    hooks = [layer.register_forward_hook(_recorder(shapes, name)) for name, layer in layers.items()]
    try:
        with certifying(model):
            model(torch.zeros(1, *input_shape, device=device))
    finally:
        for hook in hooks:
            hook.remove()
    found = []
    for name, shape in shapes.items():
        given = _smaller(shape)
        with certifying(model):
            if not _is_affine(layers[name], given, device):
                continue
            values = torch.linalg.svdvals(dense_jacobian(layers[name], given))
        bounds = {"sigma_min": float(values[-1]), "sigma_max": float(values[0])}
        found.append({"name": name, "inputs": list(given), **bounds, "stated": float(layers[name].lipschitz_bound)})
    return found


def orthogonality_error(spectra):
    """Return how far the singular values of all layers are from 1 at most; NaN without a layer."""
    return max((max(abs(each[name] - 1) for name in ("sigma_min", "sigma_max")) for each in spectra), default=math.nan)


def _recorder(shapes, name):
    def record(module, inputs, output):
        shapes[name] = tuple(inputs[0].shape[1:])

    return record


def _is_affine(layer, shape, device):
    """Whether f(x + y) + f(0) = f(x) + f(y) for random x and y, to rounding."""
    x, y = torch.randn(2, 1, *shape, generator=torch.Generator().manual_seed(0)).to(device)
    both, first, second, none = layer(torch.cat([x + y, x, y, torch.zeros_like(x)]))
    return float((both + none - first - second).abs().max()) <= AFFINE * float(both.abs().max() + none.abs().max())


def _smaller(shape):
    if len(shape) != 3:
        return shape
    channels, height, width = shape
    while channels * height * width > LARGEST_JACOBIAN and max(height, width) > 1:
        height, width = math.ceil(height / 2), math.ceil(width / 2)
    return channels, height, width
