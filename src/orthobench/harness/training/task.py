"""What is trained, on what, for how long: all that a solver has no say in."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch.nn.functional import cross_entropy

from ...data.parts import Parts
from ...models.checks import check_integer

# Of the time of a step.
PHASES = ("data", "forward", "backward", "optimizer")


def classification_loss(outputs, targets):
    """Return the mean cross-entropy, in nats, of logits (..., classes) and targets (...), int64."""
    return cross_entropy(outputs.flatten(0, -2), targets.flatten())


@dataclass(frozen=True)
class TrainingTask:
    """A training problem.

    Attributes
    ----------
    make_model : callable
        Takes a seed, returns a fresh model on the CPU.
    parts : Parts
        Training, tuning and held-out examples.
    batch_size : int
        Of one step, over all devices together.
    steps : int
        Of the whole run.
    target : float
        The held-out loss that counts as reached; fixed for the data set, whoever takes part.
    floor : float
        The least loss that any model can expect, if it is known.
    evaluations : int, optional
        How often the model is evaluated after the start, at equal distances; the last is at the end. By default after
        every ten steps, and not more than ten times.
    loss : callable
        Of outputs and targets; a mean over the examples.
    augment : callable, optional
        Takes training inputs and a generator on the CPU; returns the inputs to train on.
    micro_batch_size : int, optional
        The most examples that go through the model at once; gradients are accumulated over the rest.
    """

    make_model: Callable
    parts: Parts
    batch_size: int
    steps: int
    target: float
    floor: float = math.nan
    evaluations: int | None = None
    loss: Callable = classification_loss
    augment: Callable | None = None
    micro_batch_size: int | None = None

    def __post_init__(self):
        check_integer("steps", self.steps, 1)
        if self.evaluations is not None:
            check_integer("evaluations", self.evaluations, 1, self.steps)
        check_integer("batch_size", self.batch_size, 1, len(self.parts.train))
        if self.micro_batch_size is not None:
            check_integer("micro_batch_size", self.micro_batch_size, 1)

    @property
    def evaluation_steps(self):
        """The steps after which the model is evaluated, from 0 to the last."""
        count = self.evaluations or min(10, max(1, self.steps // 10))
        return sorted({round(self.steps * i / count) for i in range(count + 1)})
