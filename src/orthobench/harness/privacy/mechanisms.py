"""What a solver makes its mechanism with: one interface around clipped, clip-free and plain steps."""

import functools
import math
from dataclasses import dataclass
from functools import partial

import torch
from torch.nn.functional import cross_entropy

from ...lipschitz.losses import CrossEntropy
from ...privacy.allocation import noise_stds
from ...privacy.clip_free import ClipFreeOptimizer
from ...privacy.clipping import ClippedGradients
from ...privacy.losses import loss_constant
from ...privacy.mechanism_tests import Block
from ...privacy.transcript import Transcript

# Of the norm of the outputs, at which the constant of the loss is computed.
LEVELS = 64


@dataclass(frozen=True)
class Plan:
    """What is given of a private run.

    Attributes
    ----------
    noise_multiplier : float
        Of each step, all its mechanisms together.
    sampling_rate, expected_batch_size : float
    steps : int
    input_norm : float
        That no example exceeds.
    classes : int
    transcript : Transcript
        Each step is recorded in it.
    generator : torch.Generator
        Of the noise, on the model's device.
    """

    noise_multiplier: float
    sampling_rate: float
    expected_batch_size: float
    steps: int
    input_norm: float
    classes: int
    transcript: Transcript
    generator: torch.Generator

    @property
    def common(self):
        """What every private optimizer of `orthobench.privacy` takes."""
        names = ("noise_multiplier", "sampling_rate", "expected_batch_size", "transcript", "generator")
        return {name: getattr(self, name) for name in names}


class Clipping:
    """Steps of `orthobench.privacy.clipping.ClippedGradients`, with a cross-entropy of some temperature.

    With `project`, the weights are brought back to singular values of at most 1 after each step, exactly: that is
    post-processing.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
    model : torch.nn.Module
    plan : Plan
    temperature : float
    project : orthobench.privacy.projection.Projection, optional
    **how
        ``clip_norm`` and ``way``.
    """

    def __init__(self, optimizer, model, plan, *, temperature=1.0, project=None, **how):
        self.model, self.loss = model, partial(losses, temperature=temperature)
        self._private = ClippedGradients(optimizer, model, **plan.common, **how)
        self._project = project

    def step(self, inputs, targets):
        """Do a private step; return the sum of the losses."""
        total = self._private.step(inputs, targets, self.loss)
        if self._project is not None:
            with torch.no_grad():
                for name, parameter in self.model.named_parameters():
                    self._project.project(name, parameter.detach().flatten(1))
        return total

    def blocks(self):
        """Return the `Block` of the next step."""
        return self._private.blocks()


class ClipFree:
    """Steps of `orthobench.privacy.clip_free.ClipFreeOptimizer`, with a cross-entropy of some temperature.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
    model : torch.nn.Module
    plan : Plan
    temperature : float
    tight : bool
        Whether the constant of the loss is that for outputs as large as they can be, instead of sqrt(2) for any.
    **how
        ``allocation``, ``loss_gradient_clip`` and ``projection``.
    """

    def __init__(self, optimizer, model, plan, *, temperature=1.0, tight=True, **how):
        self.model, self.loss = model, partial(losses, temperature=temperature)
        self._criterion, self._size = CrossEntropy(temperature=temperature, margin=0.0), plan.expected_batch_size
        self._private = ClipFreeOptimizer(
            optimizer,
            model,
            loss_constant=tight_constant(temperature, plan) if tight else loss_constant(self._criterion, plan.classes),
            input_norm=plan.input_norm,
            **plan.common,
            **how,
        )

    def step(self, inputs, targets):
        """Do a private step; return the sum of the losses."""
        self._private.zero_grad(set_to_none=True)
        total = torch.zeros((), device=inputs.device)
        if len(inputs):
            loss = self._private.loss(self._criterion, self.model(inputs), targets)
            loss.backward()
            total = loss.detach() * self._size
        self._private.step()
        return total

    def blocks(self):
        """Return a `Block` for each parameter, of the next step."""
        private = self._private
        bounds = private.current_bounds()
        sizes = {name: each.numel() for name, each in self.model.named_parameters() if name in bounds}
        stds = noise_stds(bounds, sizes, private.noise_multiplier, private.allocation)
        return [Block((name,), bound, stds[name] / bound if bound else 1.0) for name, bound in bounds.items()]


class NonPrivate:
    """Plain steps on the mean gradient, for reference.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
    model : torch.nn.Module
    plan : Plan
    temperature : float
    """

    def __init__(self, optimizer, model, plan, *, temperature=1.0):
        self.model, self.loss = model, partial(losses, temperature=temperature)
        self._optimizer, self._size = optimizer, plan.expected_batch_size

    def step(self, inputs, targets):
        """Do a step; return the sum of the losses."""
        self._optimizer.zero_grad(set_to_none=True)
        total = self.loss(self.model(inputs), targets).sum()
        (total / self._size).backward()
        self._optimizer.step()
        return total.detach()

    def blocks(self):
        """Return no block: nothing is private."""
        return []


def tight_constant(temperature, plan):
    """Return the constant of the cross-entropy as a function of a bound of the norm of the outputs.

    It is that of the next of 64 norms up to that of the inputs, which outputs of a 1-Lipschitz network do not exceed:
    computed beforehand, so that no step has to. Above, it is that for any norm.
    """
    constants, largest = _constants(temperature, plan.classes, plan.input_norm), plan.input_norm

    def constant(norm):
        level = max(1, math.ceil(norm / largest * LEVELS))
        return constants[min(level, LEVELS + 1) - 1]

    return constant


@functools.lru_cache
def _constants(temperature, classes, input_norm):
    criterion = CrossEntropy(temperature=temperature, margin=0.0)
    norms = [input_norm * level / LEVELS for level in range(1, LEVELS + 1)]
    return tuple(loss_constant(criterion, classes, norm) for norm in (*norms, math.inf))


def losses(outputs, targets, temperature):
    """Return t CE(o / t) of each example, (n,)."""
    return temperature * cross_entropy(outputs / temperature, targets, reduction="none")
