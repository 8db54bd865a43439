"""What is trained, on what, for how long: all that a solver has no say in."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from benchopt import BaseDataset
from benchopt.benchmark import get_running_benchmark
from benchopt.config import get_data_path
from torch.nn.functional import cross_entropy

from ...data.download import Exactly
from ...data.parts import Parts
from ...models.checks import check_integer
from ..stand_in import StandIn
from ..strict import contain


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


class TaskDataset(BaseDataset):
    """A data set to train on. A subclass implements :meth:`task`."""

    def task(self, seed):
        """Return the `TrainingTask` of one repetition; the seed matters to simulated data alone."""
        raise NotImplementedError

    def folder(self):
        """Return where the files are, for the loaders of `orthobench.data`.

        The folder that Benchopt's ``data_paths`` has for this data set's name; else that of all data sets, Benchopt's
        ``data_home``, if it is set; else None, for the default.
        """
        benchmark = get_running_benchmark()
        if benchmark.get_setting("data_paths").get(self.name):
            return Exactly(get_data_path(self.name))
        return get_data_path() if benchmark.get_setting("data_home") else None

    def prepare(self):
        """Download what is missing (``benchopt prepare``)."""
        self.task(0)

    def get_data(self):
        """Return the task of this repetition, or what stands for it: a missing file must not end the whole run."""
        seed = self.get_seed(use_repetition=True)
        try:
            return {"task": self.task(seed)}
        except Exception as error:
            contain(error)
            return {"task": StandIn(error)}
