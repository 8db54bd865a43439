"""One interface around clipped, clip-free and plain steps, in two halves: noise is added between them."""

import functools
import math
from bisect import bisect_left
from dataclasses import dataclass
from functools import partial

import torch
from torch.nn.functional import cross_entropy

from ..lipschitz.losses import CrossEntropy
from .clip_free import ClipFreeOptimizer
from .clipping import ClippedGradients
from .losses import loss_constant
from .release import Block

# Of the norm of the outputs, at which the constant of the loss is computed, up to that of the inputs; and by how much
# one more is above, for what bounds allow for rounding, 1e-5 a layer.
LEVELS, ROOM = 64, 1e-3


@dataclass(frozen=True)
class Plan:
    """What is given of a private run.

    Attributes
    ----------
    noise_multiplier : float
        Of each step, all its blocks together; 0 for a run that isn't private.
    sampling_rate, expected_batch_size : float
    steps : int
    input_norm : float
        That no example exceeds.
    classes : int
    """

    noise_multiplier: float
    sampling_rate: float
    expected_batch_size: float
    steps: int
    input_norm: float
    classes: int

    @property
    def common(self):
        """What every private optimizer of `orthobench.privacy` takes."""
        names = ("noise_multiplier", "sampling_rate", "expected_batch_size")
        return {name: getattr(self, name) for name in names}


class Mechanism:
    """What a private step is made of. Two processes make one each: one calls the first half, the other the second.

    The process with the data is asked :meth:`blocks` and :meth:`sum_gradients`; a third adds the noise; the process
    with the optimizer, which never sees an example, is told to :meth:`apply` the noisy sums. Its weights and
    :meth:`state` go back to the first, whose answers must depend on them and the batch alone. Random numbers of torch's
    global generator begin anew with each question.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Of the model's parameters.
    model : torch.nn.Module
    plan : Plan
    """

    def __init__(self, optimizer, model, plan):
        self.optimizer, self.model, self.plan = optimizer, model, plan
        self.parameters = {name: each for name, each in model.named_parameters() if each.requires_grad}

    def blocks(self):
        """Return what is claimed of the next sums: a list of `orthobench.privacy.release.Block`, each sum in one."""
        raise NotImplementedError

    def sum_gradients(self, inputs, targets):
        """Return the sum of the losses, (), and the sums over a batch, which may be empty.

        The sums are a dict of tensors: by the name of each trained parameter that of the examples' gradients, bounded
        in what way ever; and more of other names, which :meth:`apply` gets too.
        """
        raise NotImplementedError

    def apply(self, noisy):
        """Make a step of the optimizer from sums with noise, and whatever follows from it, such as a projection."""
        raise NotImplementedError

    def state(self):
        """Return what else than the weights the next sums depend on: a dict of numbers, as JSON can hold."""
        return {}

    def load_state(self, state):
        """Take such a state, of the weights that were loaded just before."""

    @property
    def failure_probability(self):
        """The probability that a bound of all steps so far did not hold, which is added to delta."""
        return 0.0


class Clipping(Mechanism):
    """The parts of `orthobench.privacy.clipping.ClippedGradients`, with a cross-entropy of some temperature.

    With `project`, the weights are brought back to singular values of at most 1 after each step, exactly: that is
    post-processing.

    Parameters
    ----------
    optimizer, model, plan
    temperature : float
    project : orthobench.privacy.projection.Projection, optional
    **how
        ``clip_norm`` and ``way``.
    """

    def __init__(self, optimizer, model, plan, *, temperature=1.0, project=None, **how):
        super().__init__(optimizer, model, plan)
        self.loss = partial(losses, temperature=temperature)
        self._private = ClippedGradients(optimizer, model, **plan.common, **how)
        self._project = project

    def blocks(self):
        return self._private.blocks()

    def sum_gradients(self, inputs, targets):
        return self._private.sum_gradients(inputs, targets, self.loss)

    def apply(self, noisy):
        self._private.apply(noisy)
        if self._project is not None:
            with torch.no_grad():
                for name, parameter in self.model.named_parameters():
                    self._project.project(name, parameter.detach().flatten(1))

    def state(self):
        return {"clip_norm": self._private.clip_norm}

    def load_state(self, state):
        self._private.clip_norm = state["clip_norm"]


class ClipFree(Mechanism):
    """The parts of `orthobench.privacy.clip_free.ClipFreeOptimizer`, with a cross-entropy of some temperature.

    Parameters
    ----------
    optimizer, model, plan
    temperature : float
    tight : bool
        Whether the constant of the loss is that for outputs as large as they can be, instead of sqrt(2) for any.
    **how
        ``allocation``, ``loss_gradient_clip`` and ``projection``.
    """

    def __init__(self, optimizer, model, plan, *, temperature=1.0, tight=True, **how):
        super().__init__(optimizer, model, plan)
        self._criterion, self._size = CrossEntropy(temperature=temperature, margin=0.0), plan.expected_batch_size
        self._private = ClipFreeOptimizer(
            optimizer,
            model,
            loss_constant=tight_constant(temperature, plan) if tight else loss_constant(self._criterion, plan.classes),
            input_norm=plan.input_norm,
            **plan.common,
            **how,
        )

    # The optimizer's gradients are means over the expected batch size.

    def blocks(self):
        return [Block(each.names, each.bound * self._size, each.std * self._size) for each in self._private.blocks()]

    def sum_gradients(self, inputs, targets):
        self._private.zero_grad(set_to_none=True)
        total = torch.zeros((), device=inputs.device)
        if len(inputs):
            loss = self._private.loss(self._criterion, self.model(inputs), targets)
            loss.backward()
            total = loss.detach() * self._size
        return total, {name: each * self._size for name, each in self._private.gradients().items()}

    def apply(self, noisy):
        self._private.apply({name: each / self._size for name, each in noisy.items()})

    def state(self):
        return {"norms": self._private.norms}

    def load_state(self, state):
        self._private.note_norms(state["norms"])

    @property
    def failure_probability(self):
        return self._private.transcript.extra_delta


class NonPrivate(Mechanism):
    """Plain steps on the mean gradient, for reference.

    Parameters
    ----------
    optimizer, model, plan
    temperature : float
    """

    def __init__(self, optimizer, model, plan, *, temperature=1.0):
        super().__init__(optimizer, model, plan)
        self.loss = partial(losses, temperature=temperature)

    def blocks(self):
        return []

    def sum_gradients(self, inputs, targets):
        total = self.loss(self.model(inputs), targets).sum()
        gradients = torch.autograd.grad(total, self.parameters.values())
        return total.detach(), dict(zip(self.parameters, gradients, strict=True))

    def apply(self, noisy):
        for name, parameter in self.parameters.items():
            parameter.grad = noisy[name] / self.plan.expected_batch_size
        self.optimizer.step()


def tight_constant(temperature, plan):
    """Return the constant of the cross-entropy as a function of a bound of the norm of the outputs.

    It is that of the next of 64 norms up to that of the inputs, which outputs of a 1-Lipschitz network do not exceed
    but for rounding, for which there is one more: computed beforehand, so that no step has to. Above, it is that for
    any norm.
    """
    norms, constants = _constants(temperature, plan.classes, plan.input_norm)
    return lambda norm: constants[bisect_left(norms, norm)]


@functools.lru_cache
def _constants(temperature, classes, input_norm):
    criterion = CrossEntropy(temperature=temperature, margin=0.0)
    norms = [input_norm * level / LEVELS for level in range(1, LEVELS + 1)] + [input_norm * (1 + ROOM), math.inf]
    return norms, [loss_constant(criterion, classes, norm) for norm in norms]


def losses(outputs, targets, temperature):
    """Return t CE(o / t) of each example, (n,)."""
    return temperature * cross_entropy(outputs / temperature, targets, reduction="none")
