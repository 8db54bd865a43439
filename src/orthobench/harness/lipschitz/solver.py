"""The base of every solver of robust networks: it names a kind of layer, a learning rate and a loss."""

import inspect
import math

import torch

from ...data.parts import digest
from ...lipschitz.losses import LOSSES, make_loss
from ..processes import join_processes
from ..solver import OWNED
from ..status import InvalidResult
from ..training import Trainer
from ..training.evaluation import evaluation_mode
from ..training.stepping import SteppingSolver
from ..unsaved import Unsaved
from .evaluation import stating_layers
from .networks import kind_of
from .one_class import OneClassTrainer, one_class_loss

MOMENTUM = 0.9

# The parameters of the loss, which every solver has; a loss takes those that it knows. The defaults are those of the
# public comparison, whose margin is 2 sqrt(2) times the headline radius, 36/255.
LOSS = {"loss": ["cross_entropy"], "temperature": [0.25], "margin": [0.399], "alpha": [0.98]}


class LipschitzSolver(SteppingSolver):
    """Trains the task's network with one kind of layer, by SGD with Nesterov's momentum.

    A solver sets :attr:`layer` and has the parameters ``learning_rate`` and `LOSS`, those of the loss. The network
    around the layers, data, batches, steps, the shape of the schedule and all evaluation are the harness's.

    Attributes
    ----------
    layer : str
        A key of `orthobench.lipschitz.layers.LAYERS`.
    convolutional : bool
        Whether the method is one for convolutions, with another's dense layers: it is skipped for dense networks.
    """

    layer = None
    convolutional = False
    owned = (*OWNED, "receive", "prepare", "step", "result", "optimizers", "_loss", "_trainer", "_claimed")

    def lipschitz_constant(self, model, input_shape):
        """Return the Lipschitz constant that is claimed for a model: by default what its layers state, multiplied.

        Parameters
        ----------
        model : torch.nn.Module
            In evaluation mode.
        input_shape : tuple of int
            (channels, height, width) of the images.
        """
        return stated_constant(model)

    def skip(self, task, one_class):
        """Skip a network that the kind of layer has no form for, and a padding for which it has no bound."""
        kind = kind_of(self.layer)
        if task.padding_mode is None:
            inapplicable = self.convolutional or not kind.dense
            return inapplicable, f"{self.name} has no dense layer of its own" if inapplicable else None
        if not kind.conv:
            return True, f"{self.name} has no convolution: give a data set with network=dense"
        if task.padding_mode in kind.padding_modes:
            return False, None
        known = ", ".join(kind.padding_modes)
        return True, f"{self.name} has no bound for padding={task.padding_mode}: it takes {known}"

    def receive(self, task, one_class):
        self._kind, self._shape, self._one_class = self.layer, task.shape, one_class
        outputs, loss = (1, one_class_loss()) if one_class else (task.classes, self._loss())
        join_processes()
        self._task = task.training_task(self._kind, outputs, loss)
        self.evaluation_points = self._task.evaluation_steps

    def optimizers(self, model):
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        return [torch.optim.SGD(trained, lr=self.learning_rate, momentum=MOMENTUM, nesterov=True)]

    def result(self):
        trainer = self.trainer
        train_loss = trainer.take_losses()
        trainer.check()
        trainer.foretell()
        return {
            "model": Unsaved(trainer.model),
            "digest": digest(trainer.part) if trainer.done == self._task.steps else None,
            "steps": trainer.done,
            "train_loss": train_loss,
            "elapsed_s": self.stopwatch.elapsed_s,
            "layer": self._kind,
            "claimed": self._claimed(),
        }

    def _claimed(self):
        """Return the claim, of a model that it leaves as it is."""
        model = self.trainer.model
        before = [parameter.detach().clone() for parameter in model.parameters()]
        with evaluation_mode(model):
            claimed = self.lipschitz_constant(model, self._shape)
        self.trainer.check()
        if not all(map(torch.equal, before, model.parameters())):
            raise InvalidResult(f"{self.name} changed the model while it stated its constant: it may look at it alone")
        return claimed

    def _trainer(self, seed):
        model = self._task.make_model(seed).to(self.device)
        trainer = OneClassTrainer if self._one_class else Trainer
        return trainer(self._task, model, self.optimizers, seed, self.device)

    def _loss(self):
        if self.loss not in LOSSES:
            raise InvalidResult(f"loss={self.loss!r}: expected one of {', '.join(LOSSES)}")
        known = inspect.signature(LOSSES[self.loss]).parameters
        return make_loss(self.loss, **{name: getattr(self, name) for name in LOSS if name in known})


def stated_constant(model):
    """Return the product of the bounds that a model's layers state: a bound of the model, if it is their composition.

    Steps without a bound of their own (activations, paddings) have a constant of 1.
    """
    return math.prod(float(layer.lipschitz_bound) for _, layer in stating_layers(model))
