"""The base of every solver that trains privately: it brings a mechanism, and the harness trains and accounts."""

import math

import torch

from ...data.parts import digest
from ...privacy.accounting import noise_multiplier
from .. import namespaces
from ..solver import OWNED
from ..training.stepping import SteppingSolver
from ..unsaved import Unsaved
from .loop import PrivateTrainer


class PrivateSolver(SteppingSolver):
    """Trains the task's network with a mechanism. A solver sets :attr:`network` and implements :meth:`mechanism`.

    Attributes
    ----------
    network : {"unconstrained", "lipschitz"}
        The kind that it is a method for.
    private : bool
        Whether it is: the others run at an epsilon of infinity, and only they do.
    """

    network = "lipschitz"
    private = True
    owned = (*OWNED, "receive", "prepare", "step", "result", "_trainer")

    def mechanism(self, optimizer, model, plan):
        """Return the mechanism, around an optimizer of the model's parameters: see `orthobench.harness.privacy`.

        Parameters
        ----------
        optimizer : torch.optim.Optimizer
            It gets the private mean gradient.
        model : torch.nn.Module
            On its device.
        plan : Plan
            What is given: noise, sampling, batch size, bounds, transcript and generator.

        Returns
        -------
        object
            With ``step(inputs, targets)``, ``blocks()``, ``model`` and ``loss``.
        """
        raise NotImplementedError

    def optimizer(self, parameters):
        """Return the optimizer, with the highest learning rate: by default plain SGD with `learning_rate`."""
        return torch.optim.SGD(parameters, lr=self.learning_rate)

    def claim(self, epsilon):
        """Return the epsilon that is claimed for the run: by default the one that the noise was chosen for."""
        return epsilon

    def skip(self, task, epsilon):
        """Skip an epsilon of infinity if the method is private, any other if it isn't."""
        if self.private == math.isfinite(epsilon):
            return False, None
        reason = "is private: give a finite epsilon" if self.private else "is not private: give epsilon=inf"
        return True, f"{self.name} {reason}"

    def receive(self, task, epsilon):
        self._task, self._epsilon = task, epsilon
        self.evaluation_points = task.evaluation_steps

    def prepare(self, stop_val):
        namespaces.restore()  # before anything is computed with what a cell before left
        task, self._noise = self._task, 0.0
        if self.private:
            self._noise = noise_multiplier(self._epsilon, task.delta, task.sampling_rate, task.steps)
        super().prepare(stop_val)

    def result(self):
        trainer = self.trainer
        train_loss = trainer.take_losses()
        trainer.check()
        last = trainer.done == self._task.steps
        return {
            "model": Unsaved(trainer.model),
            "kind": self.network,
            "digest": digest(trainer.part) if last else None,
            "steps": trainer.done,
            "train_loss": train_loss,
            "elapsed_s": self.stopwatch.elapsed_s,
            "transcript": Unsaved(trainer.transcript.copy()),
            "sizes": Unsaved(list(trainer.loader.sizes)),
            "noise_multiplier": self._noise,
            "claimed": self.claim(self._epsilon),
            "methods": Unsaved((self.mechanism, self.optimizer)),
        }

    def _trainer(self, seed):
        model = self._task.model_factory(self.network)(seed).to(self.device)
        return PrivateTrainer(self._task, model, self.mechanism, self.optimizer, self._noise, seed, self.device)
