"""What conformal predictors are compared on: networks, a pool of examples that is split many times, and the attack."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import torch

from ...conformal.networks import FAMILIES, trained_network
from ...data.cache import cached
from ...data.logits import load_logits
from ...data.parts import Examples, Parts, check_disjoint, check_pixels, distinct
from ...device import resolve_device
from ...models.checks import check_integer
from ...provenance import package_hash
from ..datasets import TaskDataset

# Of an attack: starts for each input, and the most noise samples that it averages over at each step.
RESTARTS, SAMPLES = 2, 32

STREAMS = 8

# The parameters that every data set of images has: of the splits, of the attack, of the networks.
SPLITS = {"splits": [50], "calibration": [400], "evaluation": [200], "pool": [1000]}
ATTACK = {"attack_steps": [40], "attacked": [1000]}
NETWORK = {"architecture": ["dense"], "width": [128], "steps": [600]}


class Stream(IntEnum):
    """Independent streams of noise, from the task's seed; and of the choice of what is attacked."""

    CALIBRATION, CLEAN, ATTACK, ATTACKED, RANDOM, AGAIN, CHOICE, PART = range(8)


@dataclass(frozen=True)
class Network:
    """A trained network.

    Attributes
    ----------
    model : torch.nn.Module
        On the CPU, in evaluation mode; a copy.
    constant : float
        An upper bound of its Lipschitz constant in the Euclidean norm, in the units of its inputs.
    """

    model: torch.nn.Module
    constant: float


@dataclass(frozen=True)
class ConformalTask:
    """Examples, networks and the radius of an attack.

    Attributes
    ----------
    pool : Examples
        That no network was trained on, without copies: calibration, evaluation and test examples are drawn from it.
    classes : int
    radius : float
        Of the attack, in the Euclidean norm and the units of the inputs.
    network : callable
        ``network(family)`` returns a fresh `Network`.
    families : tuple of str
        Which there are.
    splits, calibration, evaluation : int
        Number of random splits; sizes of two of the three parts of each. The rest of the pool is the test part.
    seed : int
        Of the splits.
    attack : dict or None
        ``steps``, ``restarts``, ``examples`` (how many of the pool are attacked) and ``samples`` (of the noise, at
        most, that an attack on a smoothed method averages over). None where inputs can't be attacked.
    """

    pool: Examples
    classes: int
    radius: float
    network: Callable
    families: tuple
    splits: int
    calibration: int
    evaluation: int
    seed: int
    attack: dict | None

    def __post_init__(self):
        check_integer("splits", self.splits, 1)
        check_integer("calibration", self.calibration, 1)
        check_integer("evaluation", self.evaluation, 2)
        if self.tests < 1:
            raise ValueError(
                f"a pool of {len(self.pool)} has no test example beside {self.calibration} for calibration and "
                f"{self.evaluation} for evaluation: take fewer, or a larger pool"
            )

    @property
    def tests(self):
        """How many examples of each split are tested."""
        return len(self.pool) - self.calibration - self.evaluation

    @property
    def shape(self):
        """Shape of an input."""
        return tuple(self.pool.inputs.shape[1:])

    def parts(self, withheld=()):
        """Yield the indices (calibration, evaluation, test) of each split.

        Parameters
        ----------
        withheld : sequence of int
            Indices that are in no part; calibration is shorter by their number.
        """
        kept = torch.ones(len(self.pool), dtype=torch.bool)
        kept[list(withheld)] = False
        places = kept.nonzero().flatten()
        count = self.calibration - len(withheld)
        for split in range(self.splits):
            generator = torch.Generator().manual_seed(self.seed + split)
            order = places[torch.randperm(len(places), generator=generator)]
            yield order[:count], order[count : count + self.evaluation], order[count + self.evaluation :]

    def random_part(self, count):
        """Return the indices, in ascending order, of so many random examples of the pool; of all if there are fewer.

        Not of the first ones: a data set's order may go from easy to hard.
        """
        generator = torch.Generator().manual_seed(self.noise_seed(Stream.PART))
        return torch.randperm(len(self.pool), generator=generator)[:count].sort().values

    def noise_seed(self, stream):
        """Return the seed of a `Stream` of noise."""
        return self.seed % 2**32 * STREAMS + stream


class ConformalDataset(TaskDataset):
    """A data set of images. A subclass has `SPLITS`, `ATTACK`, `NETWORK` and ``radius`` among its parameters.

    Attributes
    ----------
    classes : int
    batch_size : int
        Of the training.
    """

    classes = 10
    batch_size = 64

    def examples(self):
        """Return `Examples` to train on and `Examples` of the pool, with pixels in [0, 1]."""
        raise NotImplementedError

    def task(self, seed):
        train, pool = self.examples()
        check_pixels(train=train, pool=pool)
        pool = distinct(pool)
        pool = Examples(pool.inputs[: self.pool].clone(), pool.targets[: self.pool].clone())
        check_disjoint(Parts(train, Examples(train.inputs[:0], train.targets[:0]), pool))
        options = {name: getattr(self, name) for name in NETWORK}

        def network(family):
            sigma = self.radius if family == "noise" else 0.0
            training = {"batch_size": self.batch_size, "sigma": sigma, "seed": seed, **options}
            where = resolve_device().type, package_hash()
            return Network(*_trained(family, train.inputs, train.targets, self.classes, training, *where))

        sizes = self.splits, self.calibration, self.evaluation, seed
        attack = {"steps": self.attack_steps, "restarts": RESTARTS, "examples": self.attacked, "samples": SAMPLES}
        return ConformalTask(pool, self.classes, self.radius, network, FAMILIES, *sizes, attack)


@cached
def _trained(family, inputs, targets, classes, training, device, package):
    """``device``, its kind, and ``package``, the hash of this package, are there to be part of the cache key."""
    return trained_network(family, inputs, targets, classes, device=resolve_device(), **training)


class LogitsDataset(TaskDataset):
    """Logits of a network that was run before, from a file that the user gives: for predictors of one forward pass.

    A subclass has `SPLITS`, ``radius``, ``file`` and ``lipschitz_constant`` among its parameters: the constant is that
    of the network as a function of the images, so that the radius is one of images. There is nothing to attack.
    """

    def task(self, seed):
        logits, labels = load_logits(self.file)
        examples = distinct(Examples(logits, labels))
        if len(examples) < self.pool:
            raise ValueError(f"{self.file} has {len(examples)} different rows: take a pool of no more")
        pool = Examples(examples.inputs[: self.pool].clone(), examples.targets[: self.pool].clone())

        def network(family):
            return Network(torch.nn.Identity(), float(self.lipschitz_constant))

        sizes = self.splits, self.calibration, self.evaluation, seed
        return ConformalTask(pool, logits.shape[1], self.radius, network, ("lipschitz",), *sizes, attack=None)
