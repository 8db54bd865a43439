"""How large the gradient of one example's loss can be, and how to make it smaller."""

import functools
import math

import numpy as np
import torch

from ..lipschitz.losses import CrossEntropy, check_number

# Norms of outputs are rounded up to powers of this, so that a constant is computed once for many of them.
_GRID = 1.0005


def loss_constant(loss, classes, output_norm=math.inf):
    """Bound the norm of the gradient of one example's loss with respect to the outputs.

    Parameters
    ----------
    loss : torch.nn.Module
        A separable one of `orthobench.lipschitz.losses`.
    classes : int
        At least 2.
    output_norm : float
        A bound of the norm of the outputs, for all inputs. It lowers the constant of `CrossEntropy`, see Notes, and is
        ignored for others.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the loss isn't separable: one example's gradient would depend on the others; or its constant is infinite.
    TypeError
        If it has no such constant.

    Notes
    -----
    The gradient of a cross-entropy is softmax((o - m e_y) / t) - e_y, whose norm is below sqrt(2). With ||o|| <= R it
    is at most its supremum on that ball, which the stationary points of it attain: there, all outputs but the target's
    are equal but for one, which is larger, and the outputs add up to 0 (with the target's share of the gradient
    fixed, those of the others solve an equation with two roots, and the second-order condition allows the larger one
    for one output only). That leaves an arc, on which the norm is bounded by its values at points and its largest
    slope, R / 2t, to 1e-6. For 10 classes, and R / t = 1: 1.015.

    Examples
    --------
    >>> round(loss_constant(CrossEntropy(temperature=1.0, margin=0.0), 10, output_norm=1.0), 3)
    1.015
    """
    if not hasattr(loss, "lipschitz_constant"):
        raise TypeError(f"loss is a {type(loss).__name__}: give a separable loss of orthobench.lipschitz.losses")
    constant = loss.lipschitz_constant(classes)
    if not math.isfinite(constant):
        raise ValueError(f"the constant of {type(loss).__name__} for {classes} classes is {constant}: use another loss")
    if isinstance(loss, CrossEntropy) and output_norm < math.inf:
        radius = output_norm / loss.temperature
        if not radius >= 0:
            raise ValueError(f"output_norm is {output_norm!r}: give a number >= 0")
        power = math.ceil(math.log(max(radius, 1e-3)) / math.log(_GRID))
        return min(constant, _largest_residual(_GRID**power, loss.margin / loss.temperature, classes))
    return constant


@functools.lru_cache(maxsize=4096)
def _largest_residual(radius, margin, classes):
    """Bound sup ||softmax(o - m e_y) - e_y|| over ||o|| <= radius; to 1e-6."""
    starts, width = np.linspace(0, 2 * math.pi, 1024, endpoint=False), 2 * math.pi / 1024
    while True:
        centres = starts + width / 2
        values, steepest = _residual(centres, radius, margin, classes)
        allowance = radius * width / 4  # half a width, times the radius, times 1/2, the norm of softmax's Jacobian
        # Once it is near sqrt(2), which is above all, nothing is gained; and flat maxima aren't divided for ever.
        if allowance < 1e-6 or values.max() > math.sqrt(2) - 1e-6 or len(values) > 2**17:
            return min(math.sqrt(2), float(values.max()) + allowance)
        # A logarithm of odds changes by up to radius times width / 2, twice, in a part, and the slope by that factor.
        own = radius * width / 2 * np.minimum(0.5, steepest * np.exp(radius * width))
        kept = starts[values + own >= values.max()]
        starts, width = (kept[:, None] + width / 8 * np.arange(8)).ravel(), width / 8


def _residual(angles, radius, margin, classes):
    """||softmax - e_y|| on the arc, of a target, one other, m - 1 equal rest; and a bound of the slope of softmax.

    The norm of its Jacobian is at most the largest 2 p (1 - p), by the sums of its rows.
    """
    m = classes - 1
    share = math.sqrt(1 - 1 / classes)
    target = radius * share * np.cos(angles)
    one = rest = -radius * np.cos(angles) / (classes * share)
    if m > 1:
        spread = math.sqrt(1 - 1 / m)
        one = one + radius * spread * np.sin(angles)
        rest = rest - radius * np.sin(angles) / (m * spread)
    top = np.maximum(np.maximum(target - margin, one), rest)
    target, one, rest = np.exp(target - margin - top), np.exp(one - top), np.exp(rest - top)
    total = target + one + (m - 1) * rest
    others = one + (m - 1) * rest
    shares = np.stack([target, one, rest]) / total
    return np.sqrt(others**2 + one**2 + (m - 1) * rest**2) / total, (2 * shares * (1 - shares)).max(0)


class _ClipGradient(torch.autograd.Function):
    @staticmethod
    def forward(context, outputs, maximum):
        context.maximum = maximum
        return outputs.view_as(outputs)

    @staticmethod
    def backward(context, gradient):
        norms = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
        factors = context.maximum / norms.clamp(min=context.maximum)
        return gradient * factors.view(-1, *[1] * (gradient.ndim - 1)), None


def clip_loss_gradient(outputs, maximum):
    """Return the outputs as they are; where a gradient flows back, scale each example's to a norm of at most `maximum`.

    Parameters
    ----------
    outputs : Tensor (N, ...)
        Of the network.
    maximum : float
        Positive. For a loss that is divided by the expected batch size B, that is c / B.

    Returns
    -------
    Tensor
        The same values.

    Raises
    ------
    TypeError, ValueError
        If `maximum` isn't a positive number.
    """
    return _ClipGradient.apply(outputs, check_number("maximum", maximum, 0, strict=True))


def private_loss(loss, outputs, targets, expected_batch_size, loss_gradient_clip=None):
    """Compute the sum of the examples' losses over the *expected* batch size, each one's gradient clipped.

    Dividing by the size that was drawn would make every example's share depend on whether the others are there. The
    result must not be scaled: gradients are clipped on their way back, for a loss that starts at 1.

    An example whose outputs aren't finite, or whose target is none of the classes, adds zero; an error would tell.

    Parameters
    ----------
    loss : torch.nn.Module
        A separable one of `orthobench.lipschitz.losses`.
    outputs : Tensor (N, C)
        N may be 0.
    targets : Tensor (N,)
        int64, in 0..C - 1.
    expected_batch_size : float
        B, positive.
    loss_gradient_clip : float, optional
        c: the gradient of an example's loss with respect to its outputs is scaled to at most this norm.

    Returns
    -------
    Tensor ()
        0, with gradients of 0, for an empty batch.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of its range, or the loss isn't separable.
    """
    size = check_number("expected_batch_size", expected_batch_size, 0, strict=True)
    if not getattr(loss, "separable", False):
        raise ValueError(f"the loss {type(loss).__name__} isn't separable: give one of orthobench.lipschitz.losses")
    if loss_gradient_clip is not None:
        clip = check_number("loss_gradient_clip", loss_gradient_clip, 0, strict=True)
        outputs = clip_loss_gradient(outputs, clip / size)
    if len(outputs) == 0:
        return outputs.sum()
    if outputs.ndim != 2 or targets.shape != outputs.shape[:1]:
        return loss.per_example(outputs, targets)  # says what is wrong
    classes = targets.clamp(0, outputs.shape[1] - 1)
    counted = outputs.detach().sum(1).isfinite() & (classes == targets)
    terms = loss.per_example(outputs.nan_to_num(0.0, 0.0, 0.0), classes)
    return terms @ counted.to(terms.dtype) / size


def gradient_norm_bound(loss_constant, output_norm, loss_gradient_clip):
    """Return min(L, c), where L may be a function of a bound of the norm of the outputs."""
    constant = loss_constant(output_norm) if callable(loss_constant) else loss_constant
    constant = check_number("loss_constant", constant, 0)
    if loss_gradient_clip is None:
        return constant
    return min(constant, check_number("loss_gradient_clip", loss_gradient_clip, 0, strict=True))
