"""The base of the objectives whose solvers train networks: held-out loss, accuracy, and when the target is reached."""

import math

from ...data.parts import digest
from ...device import resolve_device
from ...models.evaluation import evaluate_model, rebuild
from ..objective import Objective
from ..stand_in import StandIn
from ..status import InvalidResult
from ..unsaved import Unsaved
from .task import PHASES


def reached(losses, target):
    """Return the index of the first of two evaluations in a row at or below a target, None if there are none."""
    below = [loss <= target for loss in losses]
    return next((i for i in range(len(below) - 1) if below[i] and below[i + 1]), None)


class TrainingObjective(Objective):
    """Hands out the task of a `TaskDataset`, and computes the metrics of a model in training."""

    _curve = ()

    def set_data(self, task):
        self.task = task
        self._digest = "" if isinstance(task, StandIn) else digest(task.parts.train)

    def measure(self, part, state, digest, steps, elapsed_s, phases, **as_they_are):
        """Return the metrics of a model after ``steps`` steps of training: of a fresh one with its weights.

        Parameters
        ----------
        part : Examples or Windows
            What it is evaluated on.
        state, digest, steps, elapsed_s, phases
            As `TrainingCell.advance` returns them.
        **as_they_are
            The figures among them that need nothing added.

        Returns
        -------
        dict
            NaN for what needs a step before the first, and for a target that isn't reached so far.

        Raises
        ------
        InvalidResult
            If the stand's training examples are no longer those that were handed out.
        """
        if digest not in (None, self._digest):
            raise InvalidResult("the solver changed the training data: they belong to the harness")
        model = rebuild(self.task.make_model, 0, state, resolve_device())
        loss, accuracy = evaluate_model(model, part, self.task.loss, resolve_device(), self.task.micro_batch_size)
        # A cell starts at step 0, so that nothing stays of the one before.
        self._curve = [point for point in self._curve if point[0] < steps] + [(steps, elapsed_s, loss)]
        index = reached([each[-1] for each in self._curve], self.task.target)
        to_target = (math.nan, math.nan) if index is None else self._curve[index][:2]
        milliseconds = {f"{name}_time_ms": 1e3 * phases[name] / steps if steps else math.nan for name in PHASES}
        total = sum(phases.values())
        return {
            "held_out_loss": loss,
            "held_out_accuracy": accuracy,
            "steps": steps,
            "samples_seen": steps * self.task.batch_size,
            "step_time_ms": 1e3 * elapsed_s / steps if steps else math.nan,
            **milliseconds,
            "optimizer_share": phases["optimizer"] / total if steps else math.nan,
            "target": float(self.task.target),
            "floor": float(self.task.floor),
            "data_digest": self._digest,
            "steps_to_target": float(to_target[0]),
            "time_to_target_s": float(to_target[1]),
            **as_they_are,
        }

    def get_one_result(self):
        return {
            "state": Unsaved(self.task.make_model(0).state_dict()),
            "digest": None,
            "steps": 0,
            "train_loss": math.nan,
            "elapsed_s": 0.0,
            "phases": dict.fromkeys(PHASES, 0.0),
            "optimizer_state_bytes": 0,
            "exponents": "",
            "parameters_by_route": "{}",
        }
