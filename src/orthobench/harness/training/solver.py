"""The bases of the solvers that train: they bring optimizers, and the harness trains with them, in a stand."""

import torch

from ...optim import route_parameters
from ..processes import process_group

# On a throw-away copy, before the clock: the first steps of a process, of an optimizer or of a compiled model are slow.
WARM_UP_STEPS = 3
# Of a method that does something for the first time in its tenth step, or in the one after.
LONG_WARM_UP_STEPS = 11

# Of the parameters that a matrix method leaves to AdamW: the same for every such method.
ADAMW_BETAS = (0.9, 0.95)


class TrainingSolver:
    """Trains the task's model with the solver's optimizers. A solver implements :meth:`optimizers`.

    Attributes
    ----------
    decays : bool
        Whether the learning rate falls at the end; not for a method that averages its weights instead.
    warm_up_steps : int
        Steps on the throw-away copy: more than the few for a method with work that comes first in a later step, which
        would otherwise have its first-use costs on the clock.
    device : torch.device
        Where the model is.
    """

    cell = "orthobench.harness.training.cell:TrainingCell"
    yours = ("optimizers", "decays", "warm_up_steps", "skip")
    name = ""
    decays = True
    warm_up_steps = WARM_UP_STEPS
    device = None
    _task = None

    def optimizers(self, model):
        """Return the optimizers for a fresh model, which together train each of its parameters once.

        Parameters
        ----------
        model : torch.nn.Module
            On its device. It is for looking at, and for handing its parameters over.

        Returns
        -------
        list of torch.optim.Optimizer
            With the highest learning rates of the schedule, whose shape is the harness's.
        """
        raise NotImplementedError

    def skip(self, task, **how):
        """Skip a task for which the method does not apply: none, by default."""
        return False, None

    @property
    def steps(self):
        """Number of steps of the run, for methods that plan ahead."""
        return self._task.steps


class MatrixSolver(TrainingSolver):
    """A method for hidden matrices and convolution kernels, and AdamW for the rest.

    A solver has the parameters ``adamw_learning_rate`` and ``weight_decay``, and implements :meth:`matrix_optimizer`.

    Attributes
    ----------
    kernels : bool
        Whether the method takes convolution kernels; if not, AdamW does.
    """

    yours = (*TrainingSolver.yours, "matrix_optimizer", "kernels")
    kernels = True

    @property
    def process_group(self):
        """The processes that share the work on the matrices, None where this one is alone."""
        return process_group()

    def matrix_optimizer(self, parameters, model):
        """Return the optimizer of the hidden matrices, a list of the model's parameters that is not empty."""
        raise NotImplementedError

    def optimizers(self, model):
        """Route the model's parameters: `orthobench.optim.route_parameters` says which go where."""
        routes = route_parameters(model, kernels=self.kernels)
        settings = {"lr": self.adamw_learning_rate, "weight_decay": self.weight_decay, "betas": ADAMW_BETAS}
        return [self.matrix_optimizer(routes.matrix, model), torch.optim.AdamW(routes.other, **settings)]

    def skip(self, task, **how):
        """Skip a network that has nothing for the method."""
        if route_parameters(task.make_model(0), kernels=self.kernels).matrix:
            return False, None
        return True, f"{self.name} takes none of this network's parameters: it would be AdamW alone"
