"""Bounds on each example's share of the gradient, from the network alone: what makes clipping examples unnecessary.

Bethune, Massena, Boissin, Prudent, Friedrich, Mamalet, Bellet, Serrurier & Vigouroux, "DP-SGD without clipping: the
Lipschitz neural network way" (ICLR 2024), algorithm 1: bounds of activations are propagated forwards, bounds of
gradients backwards. The bounds are for the norms that the weights have, not for those that they are projected to.
"""

import math

import torch

from ..lipschitz.losses import check_number
from .losses import gradient_norm_bound
from .norms import exact_norm
from .rules import rule_of

# Rounding of a layer's outputs and gradients, and of the bounds of norms, as a share of them, for each weight.
# Less than a tenth of it was seen at widths up to 1024 (`test_rounding_in_float32_is_a_small_part_of_the_slack`).
SLACK = {torch.float32: 1e-5, torch.float64: 1e-12}


class Sensitivity:
    """The bounds of one network, for any norms of its parameters.

    Parameters
    ----------
    model : torch.nn.Module
        Of the layers that `orthobench.privacy.rules` knows; float32 or float64. Products in less, by autocast or TF32,
        round more than the slack covers.
    input_norm : float
        X_0, a bound of the norm of each example; infinite if the first layer is a `ClipInput`.
    loss_constant : float or callable
        L, a bound of the gradient of an example's loss; a function of a bound of the norm of the outputs, such as
        ``partial(loss_constant, loss, classes)``.
    expected_batch_size : float
        B, by which the sum of the losses is divided.
    loss_gradient_clip : float, optional
        c, if the gradients of the losses are clipped to it, as `private_loss` does.
    input_shape : sequence of int, optional
        Of an example: for biases and for poolings of overlapping windows.

    Attributes
    ----------
    limits : dict of str to float
        The norm that each parameter is projected to.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of its range, or a layer has no rule.
    """

    def __init__(
        self, model, input_norm, loss_constant, expected_batch_size, loss_gradient_clip=None, *, input_shape=None
    ):
        self.input_norm = input_norm if input_norm == math.inf else check_number("input_norm", input_norm, 0)
        self.expected_batch_size = check_number("expected_batch_size", expected_batch_size, 0, strict=True)
        self.loss_constant, self.loss_gradient_clip = loss_constant, loss_gradient_clip
        dtypes = {parameter.dtype for parameter in model.parameters()}
        if len(dtypes) != 1 or not dtypes <= set(SLACK):
            found = ", ".join(sorted(map(str, dtypes))) or "none"
            raise TypeError(f"the parameters are of {found}: give a model in torch.float32 or torch.float64")
        self._growth = 1 + SLACK[dtypes.pop()]
        self._rule, self.limits = rule_of(model, input_shape)
        self.bounds(self.limits)

    def output_norm(self, norms):
        """Bound the norm of the outputs, for a dict of bounds of the norms of the parameters."""
        X = self._rule.outputs(self.input_norm, self._with_slack(norms))
        if not math.isfinite(X):
            raise ValueError(
                f"the bound of the outputs is {X}, with input_norm={self.input_norm}: give a finite one, or a model "
                "that starts with ClipInput(norm); or the weights have diverged"
            )
        return X

    def bounds(self, norms):
        """Bound one example's share of the gradient of each parameter.

        Parameters
        ----------
        norms : dict of str to float
            A bound of the norm of each parameter: of matrices, and of kernels as matrices (out, rest), the spectral.

        Returns
        -------
        dict of str to float
            Of the trained ones.
        """
        G = gradient_norm_bound(self.loss_constant, self.output_norm(norms), self.loss_gradient_clip)
        found = {}
        self._rule.inputs(self.input_norm, G / self.expected_batch_size, self._with_slack(norms), found)
        return {name: bound * self._growth for name, bound in found.items()}

    def _with_slack(self, norms):
        return {name: norm * self._growth for name, norm in norms.items()}


def gradient_bounds(
    model, input_norm, loss_constant, expected_batch_size, loss_gradient_clip=None, *, input_shape=None, norms=None
):
    """Bound the norm of each example's share of the gradient of each parameter.

    The gradient is that of the sum of the examples' losses over the expected batch size: adding or removing an example
    changes it by at most these norms.

    Parameters
    ----------
    model, input_norm, loss_constant, expected_batch_size, loss_gradient_clip, input_shape
        As for `Sensitivity`.
    norms : dict of str to float, optional
        Bounds of the norms of the parameters; computed in float64 by default.

    Returns
    -------
    dict of str to float
        By the names of `named_parameters`; those that aren't trained are left out.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of its range, a layer has no rule (it is named), or weights aren't finite.

    Examples
    --------
    >>> layer = torch.nn.Linear(4, 4, bias=False)
    >>> _ = torch.nn.init.eye_(layer.weight)
    >>> bounds = gradient_bounds(torch.nn.Sequential(layer), 2.0, 1.5, expected_batch_size=10)
    >>> round(bounds["0.weight"], 3)
    0.3
    """
    sensitivity = Sensitivity(
        model, input_norm, loss_constant, expected_batch_size, loss_gradient_clip, input_shape=input_shape
    )
    if norms is None:
        parameters = dict(model.named_parameters())
        norms = {name: parameter_norm(name, parameters[name]) for name in sensitivity.limits}
    return sensitivity.bounds(norms)


def parameter_norm(name, parameter, norm=None):
    """Bound the spectral norm of a weight as a matrix (out, rest), or the length of a vector.

    Parameters
    ----------
    name : str
    parameter : Tensor
    norm : callable, optional
        Of a name and a matrix, to a bound; `exact_norm` by default.

    Raises
    ------
    ValueError
        If it isn't finite.
    """
    if parameter.ndim == 1:
        bound = float(torch.linalg.vector_norm(parameter.detach().double()))
    else:
        matrix = parameter.detach().flatten(1)
        bound = exact_norm(matrix) if norm is None else norm(name, matrix)
    if not bound < math.inf:
        raise ValueError(f"{name} has entries that aren't finite: the training has diverged; lower the learning rate")
    return bound
