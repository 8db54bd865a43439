"""The base of every solver that trains: it brings optimizers, and the harness trains with them."""

import json
from enum import Enum

import torch

from ...data.parts import digest
from ...optim import route_parameters
from ..processes import join_processes, process_group
from ..solver import OWNED
from ..unsaved import Unsaved
from .loop import Trainer
from .memory import state_bytes
from .stepping import SteppingSolver

# Of a method that does something for the first time in its tenth step, or in the one after.
LONG_WARM_UP_STEPS = 11

# Of the parameters that a matrix method leaves to AdamW: the same for every such method.
ADAMW_BETAS = (0.9, 0.95)


class TrainingSolver(SteppingSolver):
    """Trains the task's model with the solver's optimizers. A solver implements :meth:`optimizers`.

    Attributes
    ----------
    decays : bool
        Whether the learning rate falls at the end; not for a method that averages its weights instead.
    """

    decays = True
    owned = (*OWNED, "receive", "prepare", "step", "result")

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

    @property
    def steps(self):
        """Number of steps of the run, for methods that plan ahead."""
        return self._task.steps

    def receive(self, task, autocast, compile):
        join_processes()
        self.evaluation_points = task.evaluation_steps
        self._task, self._how = task, {"autocast": autocast, "compile": compile}

    def result(self):
        trainer = self.trainer
        last = trainer.done == self._task.steps
        train_loss = trainer.take_losses()
        trainer.check()
        trainer.foretell()
        trainer.show_weights()
        return {
            "model": Unsaved(trainer.model),
            "digest": digest(trainer.part) if last else None,
            "steps": trainer.done,
            "train_loss": train_loss,
            "elapsed_s": self.stopwatch.elapsed_s,
            "phases": trainer.phases.seconds(),
            "optimizer_state_bytes": state_bytes(trainer.optimizers),
            "exponents": exponents(trainer.optimizers),
            "parameters_by_route": json.dumps(parameters_by_optimizer(trainer.optimizers)),
        }

    def _trainer(self, seed):
        model = self._task.make_model(seed).to(self.device)
        return Trainer(self._task, model, self.optimizers, seed, self.device, decays=self.decays, **self._how)


class MatrixSolver(TrainingSolver):
    """A method for hidden matrices and convolution kernels, and AdamW for the rest.

    A solver has the parameters ``adamw_learning_rate`` and ``weight_decay``, and implements :meth:`matrix_optimizer`.

    Attributes
    ----------
    kernels : bool
        Whether the method takes convolution kernels; if not, AdamW does.
    """

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


def exponents(optimizers):
    """Return the exponent of each parameter, as JSON, where optimizers have such (`SchattenMuon`); else nothing."""
    found = {}
    for optimizer in optimizers:
        if hasattr(optimizer, "exponents"):
            found |= {str(name): round(exponent, 4) for name, exponent in optimizer.exponents().items()}
    return json.dumps(found) if found else ""


def parameters_by_optimizer(optimizers):
    """Return how many parameters each kind of optimizer trains.

    By the name of its class, and by what its groups have different names for (such as the norms of SCION).
    """
    counts = {}
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            name = type(optimizer).__name__ + _kind(group, optimizer.param_groups)
            counts[name] = counts.get(name, 0) + sum(parameter.numel() for parameter in group["params"])
    return counts


def _kind(group, groups):
    named = [value for name, value in group.items() if isinstance(value, str | Enum) and _differs(name, groups)]
    return f" ({', '.join(str(getattr(value, 'name', value)).lower() for value in named)})" if named else ""


def _differs(name, groups):
    return any(group.get(name) != groups[0].get(name) for group in groups)
