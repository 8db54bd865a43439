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

    choices = CHOICES

    def receive(self, task):
        """Take the task, of whose parts the training examples are there."""
        self._task = task

    def prepare_solver(self):
        """Show the solver the task."""
        self.solver._task = self._task

    def skip(self):
        """Ask the solver whether it applies, and for its layer, rate and loss."""
        answer = super().skip(task=self._task)
        if answer["skip"]:
            return answer
        choices = {name: getattr(self.solver, name) for name in self.choices}
        return answer | {"layer": str(self.solver.layer), "choices": choices}

    def claim(self, *tensors, names, layer):
        """Ask for the constant of a network with these weights, which is thrown away: what is done to it is lost."""
        model = rebuild(self._task.model_factory(layer), 0, dict(zip(names, tensors, strict=True)), self.device)
        with evaluation_mode(model):
            return {"claimed": claim(self.solver.lipschitz_constant(model, self._task.shape))}


class LipschitzRole(TrainingRole):
    """Trains, by code of the harness alone: the solver's own is in another process."""

    base = LipschitzSolver

    def receive(self, task):
        """Take the task, of whose parts the training examples are there."""
        self._robust = task

    def choose(self, layer, choices, meeting):
        """Take the kind of layers, learning rate and loss; meet the other processes."""
        self.solver = self.base()
        vars(self.solver).update(choices)
        super().receive(self.training_task(layer), autocast=False, compile=False, meeting=meeting)
        self.prepare_solver()

    def training_task(self, layer):
        """Return what is trained, by what was chosen."""
        one_class = self._robust.inliers
        self._trains = OneClassTrainer if one_class else Trainer
        return self._robust.training_task(layer, one_class_loss() if one_class else self.solver.make_loss())
