"""What is trained on privately, with which network, for how long: all that a solver has no say in."""

import math
from dataclasses import dataclass, replace

import torch

from ...data.parts import Examples, Parts
from ...models.checks import check_integer
from ...privacy.network_factory import network_factory
from ..datasets import TaskDataset

# After the start: the accuracy by time.
EVALUATIONS = 4

# The parameters that every data set has. Examples are clipped to the norm, one by one.
NETWORK = {"network": ["linear"], "input_norm": [1.0]}

# The largest delta, and the least power of ten that is at least N.
LARGEST_DELTA = 1e-5


@dataclass(frozen=True)
class PrivateTask:
    """Examples to classify, each of a bounded norm, and the budget of steps.

    Attributes
    ----------
    parts : Parts of Examples
        Inputs of norm `input_norm` at most; labels.
    classes : int
    batch_size : int
        Expected: each example is part of each batch with probability batch_size / N.
    steps : int
    network : str
        A name as `network_factory` takes it.
    input_norm : float
    """

    parts: Parts
    classes: int
    batch_size: int
    steps: int
    network: str = "linear"
    input_norm: float = 1.0

    def __post_init__(self):
        check_integer("steps", self.steps, 1)
        check_integer("batch_size", self.batch_size, 1, len(self.parts.train))

    @property
    def shape(self):
        """Shape of an example."""
        return tuple(self.parts.train.inputs.shape[1:])

    @property
    def sampling_rate(self):
        """With which an example is part of a batch."""
        return self.batch_size / len(self.parts.train)

    @property
    def delta(self):
        """1e-5, or one over the least power of ten that isn't below N, if that is less."""
        return min(LARGEST_DELTA, 10.0 ** -math.ceil(math.log10(len(self.parts.train))))

    @property
    def evaluation_steps(self):
        """The steps after which the model is evaluated, from 0 to the last."""
        count = min(EVALUATIONS, self.steps)
        return sorted({round(self.steps * i / count) for i in range(count + 1)})

    def with_tuning(self):
        """Return the task that trains on the tuning part too: once hyper-parameters are chosen, it is free."""
        train, tuning, held_out = self.parts
        both = Examples(*(torch.cat([getattr(each, name) for each in (train, tuning)]) for name in vars(train)))
        return replace(self, parts=Parts(both, tuning, held_out))

    def model_factory(self, kind):
        """Return what makes a network of a kind, "unconstrained" or "lipschitz", from a seed."""
        return network_factory(self.network, kind, self.shape, self.classes)


def clip_norms(inputs, norm):
    """Scale each example down to a norm of at most `norm`: a map that moves no two examples further apart.

    Parameters
    ----------
    inputs : torch.Tensor
        (n, ...).
    norm : float
        Positive and finite.

    Returns
    -------
    torch.Tensor

    Raises
    ------
    ValueError
        If the norm is none, or an entry isn't finite. It is meant to: who makes a public data set one of the bench
        should know. Where examples are secrets, `orthobench.privacy.inputs.clip_examples` tells nothing.
    """
    if not 0 < norm < math.inf:
        raise ValueError(f"input_norm={norm!r}: give a positive, finite norm, or gradients have no bound")
    if not inputs.isfinite().all():
        raise ValueError("the inputs hold NaN or infinity: clean them first, no norm bounds them")
    norms = torch.linalg.vector_norm(inputs.flatten(1), dim=1)
    return inputs * (norm / norms.clamp(min=norm)).view(-1, *[1] * (inputs.ndim - 1))


class PrivacyDataset(TaskDataset):
    """A data set. A subclass has `NETWORK`, ``steps`` and ``batch_size`` among its parameters, and :meth:`parts`.

    Attributes
    ----------
    classes : int
    """

    classes = 10

    def parts(self):
        """Return the `Parts` of Examples, their scale public knowledge: no statistic of private data."""
        raise NotImplementedError

    def task(self, seed):
        norm = float(self.input_norm)
        parts = Parts(*(Examples(clip_norms(part.inputs, norm), part.targets) for part in self.parts()))
        return PrivateTask(parts, self.classes, self.batch_size, self.steps, self.network, norm)
