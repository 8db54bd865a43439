"""The stand's half of a cell of training: it gets the training examples when the clock starts, and trains."""

import json

from ...data.parts import digest
from ...models.evaluation import weights
from ...optim.inspection import exponents, parameters_by_optimizer, state_bytes
from ..processes import join_processes
from ..seeds import seed_everything
from ..stand.roles import Role, Timer, unpack
from .guard import WatchedTrainer

MOST_WARM_UP_STEPS = 16


class TrainingRole(Role):
    """Answers ``prepare``, ``data``, ``advance``, ``check`` and ``state``."""

    _trains = WatchedTrainer

    def receive(self, task, autocast, compile, meeting):
        """Take the task, whose training examples are made up so far; meet the other processes."""
        self._task, self._how = task, {"autocast": autocast, "compile": compile}
        if meeting is not None:
            join_processes(meeting)

    def prepare_solver(self):
        """Show the solver the task."""
        self.solver._task = self._task
        self._timer = Timer(self.device)

    def skip(self):
        """Ask the solver whether it applies."""
        return super().skip(task=self._task, **self._how)

    def prepare(self):
        """Warm up on a throw-away copy, then make the model and the optimizers: of the data nothing is here yet."""
        seed_everything(self.seed, self.device)
        throw_away = self._trainer(self._task, self.seed + 1)  # with other weights and batches
        for _ in range(min(self.solver.warm_up_steps, self._task.steps, MOST_WARM_UP_STEPS)):
            throw_away.step()
        throw_away.take_losses()
        self._state(throw_away)  # the first costs several milliseconds
        del throw_away
        seed_everything(self.seed, self.device)
        self.trainer = self._trainer(self._task, self.seed)
        seed_everything(self.seed, self.device)
        self.reset_peak_memory()

    def data(self, content):
        """Take the training examples. From here on a solver's code runs on the clock alone."""
        self.trainer.take(unpack(content)["train"])

    def advance(self, steps):
        """Do so many steps, on the clock."""
        return {"seconds": self._timer.run(self._steps, steps)[1]}

    def _steps(self, steps):
        for _ in range(steps):
            self.trainer.step()

    def check(self):
        """Look for what a solver must leave alone. No code of a solver's runs here, and no clock."""
        trainer = self.trainer
        train_loss = trainer.take_losses()
        trainer.check()
        last = trainer.done == self._task.steps
        return {
            "train_loss": train_loss,
            "phases": trainer.phases.seconds(),
            "digest": digest(trainer.part) if last else None,
            "peak_memory_bytes": self.peak_memory_bytes(),
        }

    def state(self):
        """Return the weights to evaluate; what an optimizer does to show them is on the clock."""
        told, seconds, state = self._state(self.trainer)
        return {"names": list(state), "seconds": seconds, **told}, list(state.values())

    def _state(self, trainer):
        told, seconds, _ = self._timer.run(self._show, trainer)
        return told, seconds, weights(trainer.model)

    def _show(self, trainer):
        """Show the weights, and what optimizers say of themselves: their attributes may be code of a solver's."""
        trainer.show_weights()
        others = trainer.model, trainer.part, self._task.parts.train
        return {
            "exponents": exponents(trainer.optimizers),
            "optimizer_state_bytes": state_bytes(trainer.optimizers, others),
            "parameters_by_route": json.dumps(parameters_by_optimizer(trainer.optimizers)),
        }

    def _trainer(self, task, seed):
        model = task.make_model(seed).to(self.device)
        solver = self.solver
        return self._trains(task, model, solver.optimizers, seed, self.device, decays=solver.decays, **self._how)
