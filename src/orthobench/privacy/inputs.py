"""Examples as private training takes them: of a bounded norm, and those that aren't finite left out."""

import math
from typing import NamedTuple

import torch

from ..device import can_look

# By how much norms may be above the bound, in units of the rounding of their type: less than the bounds' own slack.
_ROUNDING = 8


class Clipped(NamedTuple):
    """Examples (N, ...) of a bounded norm, and their factors (N,): 1 for one that is as it was, 0 for one left out."""

    inputs: torch.Tensor
    factors: torch.Tensor


def clip_examples(x, norm=math.inf):
    """Scale each example down to a norm of at most R: x min(1, R / ||x||). One that isn't finite becomes zero.

    So does one whose norm isn't a number of its type. Nothing is raised for what an example holds, which would tell of
    it.

    Parameters
    ----------
    x : Tensor (N, ...)
    norm : float
        R, positive; infinite to replace those that aren't finite alone.

    Returns
    -------
    Clipped

    Raises
    ------
    ValueError
        If x isn't a batch.
    """
    if x.ndim < 2:
        raise ValueError(f"inputs of shape {tuple(x.shape)}: give a batch of examples, (N, ...)")
    norms = torch.linalg.vector_norm(x.flatten(1), dim=1)
    if norm == math.inf:
        factors = torch.where(norms.isfinite(), 1.0, 0.0).to(norms)
    else:
        within = norms <= norm * (1 + _ROUNDING * torch.finfo(norms.dtype).eps)
        factors = (norm / torch.where(within, norm, norms)).nan_to_num(0.0)
    if _are_all(factors == 1):
        return Clipped(x, factors)
    return Clipped(x.nan_to_num(0.0, 0.0, 0.0) * factors.view(-1, *[1] * (x.ndim - 1)), factors)


def _are_all(answers):
    """Tell whether all answers are yes; False where nobody can look, or would wait for a device."""
    return can_look(answers) and bool(answers.all())


class InputClipping:
    """Clips what a network gets by `clip_examples`, with hooks on it; outputs are NaN where inputs aren't finite.

    `orthobench.privacy.losses.private_loss` leaves examples out whose outputs are NaN: they add zero.

    Parameters
    ----------
    model : torch.nn.Module
        Called with its inputs (N, ...) alone. It keeps one such clipping, the last.
    norm : float

    Attributes
    ----------
    changed : int or Tensor ()
        How many examples of passes with gradients were clipped or left out. Not private.
    passed : bool
        Whether there was a pass with gradients since this was set to False.
    """

    def __init__(self, model, norm):
        self.norm, self.changed, self.passed, self._factors = norm, 0, False, None
        self.take_off(model)
        model.register_forward_pre_hook(self._clip)
        model.register_forward_hook(self._mark)

    def is_on(self, model):
        """Tell whether its hooks are on a network."""
        return self._clip in model._forward_pre_hooks.values() and self._mark in model._forward_hooks.values()

    @classmethod
    def take_off(cls, model):
        """Take the hooks of any such clipping off a network."""
        for hooks in (model._forward_pre_hooks, model._forward_hooks):
            for key, hook in list(hooks.items()):
                if isinstance(getattr(hook, "__self__", None), cls):
                    del hooks[key]

    def _clip(self, model, arguments):
        if len(arguments) != 1:
            raise TypeError(f"the network got {len(arguments)} inputs by position: give one, the batch (N, ...)")
        inputs, self._factors = clip_examples(arguments[0], self.norm)
        if torch.is_grad_enabled():
            self.changed += (self._factors != 1).sum()
            self.passed = True
        return (inputs,)

    def _mark(self, model, arguments, outputs):
        factors, self._factors = self._factors.detach(), None
        if _are_all(factors != 0):
            return outputs
        marks = factors / factors - 1  # 0, or NaN
        return outputs + marks.to(outputs.dtype).view(-1, *[1] * (outputs.ndim - 1))
