"""The base of every solver of robust networks: it names a kind of layer, a learning rate and a loss."""

import inspect

import torch

from ...lipschitz.evaluation import stated_constant
from ...lipschitz.losses import LOSSES, make_loss
from ...lipschitz.networks import kind_of
from ..status import InvalidResult
from ..training import TrainingSolver

MOMENTUM = 0.9

# The parameters of the loss, which every solver has; a loss takes those that it knows. The defaults are those of the
# public comparison, whose margin is 2 sqrt(2) times the headline radius, 36/255.
LOSS = {"loss": ["cross_entropy"], "temperature": [0.25], "margin": [0.399], "alpha": [0.98]}
# What a solver chooses for the training, its layer aside.
CHOICES = ("learning_rate", *LOSS)


class LipschitzSolver(TrainingSolver):
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

    cell = "orthobench.harness.lipschitz.cell:LipschitzCell"
    yours = ("layer", "convolutional", "lipschitz_constant", "skip")
    layer = None
    convolutional = False

    def lipschitz_constant(self, model, input_shape):
        """Return the Lipschitz constant that is claimed for a model: by default what its layers state, multiplied.

        Parameters
        ----------
        model : torch.nn.Module
            In evaluation mode; a copy of the one that is trained.
        input_shape : tuple of int
            (channels, height, width) of the images.
        """
        return stated_constant(model)

    def skip(self, task):
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

    def optimizers(self, model):
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        return [torch.optim.SGD(trained, lr=self.learning_rate, momentum=MOMENTUM, nesterov=True)]

    def make_loss(self):
        """Return the loss of a classification, with those of the parameters `LOSS` that it knows."""
        if self.loss not in LOSSES:
            raise InvalidResult(f"loss={self.loss!r}: expected one of {', '.join(LOSSES)}")
        known = inspect.signature(LOSSES[self.loss]).parameters
        return make_loss(self.loss, **{name: getattr(self, name) for name in LOSS if name in known})
