"""The stands' halves of a cell of robust networks: one has the solver and claims, the other trains without it."""

from ...models.evaluation import evaluation_mode, rebuild
from ..stand.roles import Role
from ..stand.wire import claim
from ..training.loop import Trainer
from ..training.role import TrainingRole
from .one_class import OneClassTrainer, one_class_loss
from .solver import CHOICES, LipschitzSolver


class ClaimRole(Role):
    """Has the solver: answers ``skip``, with what it chooses, and ``claim``."""

    def receive(self, task, one_class):
        """Take the task, of whose parts the training examples are there."""
        self._task, self._one_class = task, one_class

    def prepare_solver(self):
        """Show the solver the task."""
        self.solver._task = self._task

    def skip(self):
        """Ask the solver whether it applies, and for its layer, rate and loss."""
        answer = super().skip(task=self._task, one_class=self._one_class)
        if answer["skip"]:
            return answer
        choices = {name: getattr(self.solver, name) for name in CHOICES}
        return answer | {"layer": str(self.solver.layer), "choices": choices}

    def claim(self, *tensors, names, layer):
        """Ask for the constant of a network with these weights, which is thrown away: what is done to it is lost."""
        make_model = self._task.model_factory(layer, self._task.outputs(self._one_class))
        model = rebuild(make_model, 0, dict(zip(names, tensors, strict=True)), self.device)
        with evaluation_mode(model):
            return {"claimed": claim(self.solver.lipschitz_constant(model, self._task.shape))}


class LipschitzRole(TrainingRole):
    """Trains, by code of the harness alone: the solver's own is in another process."""

    def receive(self, task, one_class):
        """Take the task, of whose parts the training examples are there."""
        self._robust, self._one_class = task, one_class

    def choose(self, layer, choices, meeting):
        """Take the kind of layers, learning rate and loss; meet the other processes."""
        self.solver = LipschitzSolver()
        vars(self.solver).update(choices)
        loss = one_class_loss() if self._one_class else self.solver.make_loss()
        self._trains = OneClassTrainer if self._one_class else Trainer
        task = self._robust.training_task(layer, self._robust.outputs(self._one_class), loss)
        super().receive(task, autocast=False, compile=False, meeting=meeting)
        self.prepare_solver()
