"""What robust networks are trained on, and how they are built: all that a solver has no say in."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from ...data.parts import Examples, Parts
from ...lipschitz.networks import kind_of, layers_of
from ...models.checks import check_integer
from ..training.task import TrainingTask

# After the start: one for each ten steps, and not more than these.
EVALUATIONS = 5
ATTACK = {"steps": 50, "restarts": 3}
EXPLAINED = 200


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
    explained : int
        How many of a part's images are explained, the first ones: those that are classified right.
    block : callable, optional
        ``block(images)`` returns which pixels of images (n, c, h, w) say nothing of their class: (n, h, w), bool.
    pictures : bool
        Whether the licence of the images allows that rows show them.
    inliers : bool
        Whether it is the task of one class, of `one_class`.

    Raises
    ------
    TypeError, ValueError
        If `explained` is no integer of at least 1.
    """

    parts: Parts
    classes: int
    batch_size: int
    steps: int
    network: Callable
    padding_mode: str | None = "circular"
    augment: Callable | None = None
    attack: dict = field(default_factory=lambda: dict(ATTACK))
    explained: int = EXPLAINED
    block: Callable | None = None
    pictures: bool = False
    inliers: bool = False

    def __post_init__(self):
        check_integer("explained", self.explained, 1)

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
        return replace(self, parts=Parts(inliers, *others), batch_size=batch_size, inliers=True)

    @property
    def outputs(self):
        """Length of the network's result: a score of one class, or one of each."""
        return 1 if self.inliers else self.classes

    def kind(self, layer):
        """Return the name of a kind of layers, a key of `orthobench.lipschitz.layers.LAYERS`, if it is one."""
        return kind_of(layer).name

    def model_factory(self, layer):
        """Return what makes a network of one kind of layers, from a seed."""
        return partial(self.network, outputs=self.outputs, **layers_of(layer))

    def training_task(self, layer, loss):
        """Return the `TrainingTask` of a network, as of `model_factory`, with a loss; the data are the same objects."""
        return TrainingTask(
            self.model_factory(layer),
            self.parts,
            self.batch_size,
            self.steps,
            target=0.0,  # no target: losses of different solvers are different functions
            evaluations=max(1, min(EVALUATIONS, self.steps // 10)),
            loss=loss,
            augment=self.augment,
        )
