"""What robust networks are trained on, and how they are built: all that a solver has no say in."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from ...data.parts import Examples, Parts
from ...lipschitz.networks import layers_of
from ...models.checks import check_integer
from ..training.task import TrainingTask

# After the start: one for each ten steps, and not more than these.
EVALUATIONS = 5
ATTACK = {"steps": 50, "restarts": 3}


@dataclass(frozen=True)
class RobustnessTask:
    """Images to classify, or one of whose classes to tell from all else, and the network that is to do it.

    Attributes
    ----------
    parts : Parts of Examples
        Images in [0, 1], so that a radius is one of pixels, and labels.
    classes : int
        Number of classes.
    batch_size, steps : int
        As of a `TrainingTask`.
    network : callable
        ``network(seed, make_layer=..., make_head=..., make_activation=..., outputs=...)`` returns a fresh network on
        the CPU; the arguments are those of `lipschitz_convnet`.
    padding_mode : {"circular", "zeros"} or None
        Of its convolutions; None for a dense network.
    augment : callable, optional
        As of a `TrainingTask`.
    attack : dict, optional
        ``steps`` and ``restarts`` of the attack, as `orthobench.lipschitz.attacks.pgd_l2` takes them.
    """

    parts: Parts
    classes: int
    batch_size: int
    steps: int
    network: Callable
    padding_mode: str | None = "circular"
    augment: Callable | None = None
    attack: dict = field(default_factory=lambda: dict(ATTACK))

    @property
    def shape(self):
        """Shape (channels, height, width) of an image."""
        return tuple(self.parts.train.inputs.shape[1:])

    def one_class(self, label):
        """Return the task of telling one class from the others: training and tuning know nothing but that class.

        Targets are 1 for the class and 0 for the others, which the held-out and the tuning part keep for evaluation.
        """
        check_integer("label", label, 0, self.classes - 1)
        train, *others = (Examples(part.inputs, (part.targets == label).long()) for part in self.parts)
        inliers = Examples(*train[train.targets.nonzero().flatten()])
        # Half of a batch is made up, so that it has an even number of examples.
        batch_size = 2 * (min(self.batch_size, len(inliers)) // 2)
        return replace(self, parts=Parts(inliers, *others), batch_size=batch_size)

    def outputs(self, one_class):
        """Return the length of the network's result: a score of one class, or one of each."""
        return 1 if one_class else self.classes

    def model_factory(self, layer, outputs):
        """Return what makes a network of one kind of layers, from a seed.

        Parameters
        ----------
        layer : str
            A key of `orthobench.lipschitz.layers.LAYERS`.
        outputs : int
            Length of the network's result.
        """
        return partial(self.network, outputs=outputs, **layers_of(layer))

    def training_task(self, layer, outputs, loss):
        """Return the `TrainingTask` of a network, as of `model_factory`, with a loss; the data are the same objects."""
        return TrainingTask(
            self.model_factory(layer, outputs),
            self.parts,
            self.batch_size,
            self.steps,
            target=0.0,  # no target: losses of different solvers are different functions
            evaluations=max(1, min(EVALUATIONS, self.steps // 10)),
            loss=loss,
            augment=self.augment,
        )
