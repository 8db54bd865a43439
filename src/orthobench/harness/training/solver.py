"""The base of every solver that trains: it brings optimizers, and the harness trains with them."""

import json

import torch
from tqdm import tqdm

from ...data.parts import digest
from ...optim import route_parameters
from ..seeds import seed_everything
from ..solver import OWNED, CallbackSolver
from ..unsaved import Unsaved
from .loop import Trainer

# On a throw-away copy, before the clock: the first steps of a process, of an optimizer or of a compiled model are slow.
WARM_UP_STEPS = 3

# Of the parameters that a matrix method leaves to AdamW: the same for every such method.
ADAMW_BETAS = (0.9, 0.95)


class TrainingSolver(CallbackSolver):
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
        self.evaluation_points = task.evaluation_steps
        self._task, self._how = task, {"autocast": autocast, "compile": compile}

    def prepare(self, stop_val):
        seed = self.get_seed(use_repetition=True)
        throw_away = self._trainer(seed)
        for _ in range(min(WARM_UP_STEPS, self._task.steps)):
            throw_away.step()
        throw_away.take_losses()
        del throw_away
        seed_everything(seed)
        self.trainer = self._trainer(seed)
        # Shown on a terminal only, and removed when done.
        self._bar = tqdm(total=self._task.steps, desc=str(self), unit="step", leave=False, disable=None)

    def step(self):
        self.trainer.step()
        self._bar.update()

    def result(self):
        trainer = self.trainer
        trainer.show_weights()
        last = trainer.done == self._task.steps
        train_loss = trainer.take_losses()
        trainer.check()
        if last:
            self._bar.close()
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


def state_bytes(optimizers):
    """Return the bytes of all tensors in the optimizers' states."""
    states = [state for optimizer in optimizers for state in optimizer.state.values()]
    return sum(each.numel() * each.element_size() for state in states for each in state.values() if _is_tensor(each))


def exponents(optimizers):
    """Return the exponent of each parameter, as JSON, where optimizers have such (`SchattenMuon`); else nothing."""
    found = {}
    for optimizer in optimizers:
        if hasattr(optimizer, "exponents"):
            found |= {str(name): round(exponent, 4) for name, exponent in optimizer.exponents().items()}
    return json.dumps(found) if found else ""


def parameters_by_optimizer(optimizers):
    """Return how many parameters each kind of optimizer trains, by the name of its class."""
    counts = {}
    for optimizer in optimizers:
        name = type(optimizer).__name__
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        counts[name] = counts.get(name, 0) + sum(parameter.numel() for parameter in parameters)
    return counts


def _is_tensor(value):
    return hasattr(value, "element_size")
