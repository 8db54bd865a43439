"""A small task of which everything is known: a linear network of orthonormal rows on points around their corners."""

import torch

from orthobench.data import Examples
from orthobench.harness.conformal import ConformalTask, Network
from orthobench.harness.conformal.evaluation import Measurement
from orthobench.harness.conformal.method import InThisProcess, Method

CLASSES, SHAPE = 3, (1, 2, 2)
RADIUS = 0.1


class Corners(torch.nn.Module):
    """Logits: the first three pixels, times a scale, which is the Lipschitz constant."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.scale = scale

    def forward(self, x):
        return self.scale * x.flatten(1)[:, :CLASSES]


def points(count, seed):
    """Return images in [0, 1] and labels: the label's pixel is 0.2 brighter, in Gaussian noise around 1/2."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (count,), generator=generator)
    images = 0.5 + 0.1 * torch.randn(count, *SHAPE, generator=generator)
    images.flatten(1)[torch.arange(count), labels] += 0.2
    return Examples(images.clamp(0.12, 0.88), labels)


def make_task(seed=0, constant=1.0, scale=1.0, count=600, attacked=300, splits=20, families=("lipschitz",)):
    """Return the task; the network has the constant `scale`, and is said to have `constant`."""
    attack = {"steps": 10, "restarts": 1, "examples": attacked, "samples": 16} if attacked else None
    return ConformalTask(
        points(count, seed), CLASSES, RADIUS, lambda family: Network(Corners(scale), constant),
        families, splits, 200, 100, seed, attack,
    )  # fmt: skip


def method_of(make, task, network=None, alpha=0.1):
    """Return the `Method` of a predictor that ``make()`` returns, in this process."""
    return Method(InThisProcess(lambda problem: make(), task, alpha), task, alpha, network or task.network("lipschitz"))


def measured(make, network=None, **options):
    """Return the `Measurement` of a predictor that ``make()`` returns, on the task with options."""
    task = make_task(**options)
    network = network or task.network("lipschitz")
    return Measurement(method_of(make, task, network), task, network)
