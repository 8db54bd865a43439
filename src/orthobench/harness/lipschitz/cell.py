"""The bench's half of a cell of robust networks: one stand trains without the solver's file, another runs it."""

import sys

import torch

from ...data.parts import Examples, resembling
from ..processes import Together
from ..stand.bench import LOAD_LIMIT_S, memory_budget, new_stand
from ..stand.roles import pack
from ..stand.wire import is_number
from ..status import InvalidResult
from ..training.cell import TrainingCell, trained_on
from .solver import CHOICES


class LipschitzCell(TrainingCell):
    """Has a network trained in a stand that never runs the solver's file, and asks for claims in the one that does.

    So a solver reaches neither gradients nor weights, buffers, data or clock: it names its kind of layer, its rate and
    its loss, and sees a copy of the network at each evaluation.

    Attributes
    ----------
    choices : tuple of str
        What the solver chooses for the training.
    texts : tuple of str
        Those of them that are no numbers.
    """

    role = "orthobench.harness.lipschitz.role:ClaimRole"
    training_role = "orthobench.harness.lipschitz.role:LipschitzRole"
    choices, texts = CHOICES, ("loss",)
    _claims = None
    _compile = False

    def hand_out(self, task):
        self._task, self._together = trained_on(task, task.parts.train), Together()
        # One example that is made up, of the shape of all: it could train in `skip`.
        first = resembling(Examples(*task.parts.train[torch.zeros(1, dtype=torch.int64)]), self.seed)
        return {"task": trained_on(task, first)}

    def applies(self, answer):
        """Open the stand that trains, with what the solver chose."""
        self._layer = self._task.kind(answer.text("layer"))
        chosen = answer.fields.get("choices")
        if not isinstance(chosen, dict) or set(chosen) != set(self.choices):
            raise InvalidResult(f"the stand answered {str(chosen)[:80]!r} for {', '.join(self.choices)}")
        # What the row is called by is what it is of.
        chosen |= {name: value for name, value in self._parameters.items() if name in self.choices}
        wrong = [name for name, value in chosen.items() if name not in self.texts and not is_number(value)]
        if wrong:
            raise InvalidResult(f"{wrong[0]}={chosen[wrong[0]]!r}: expected a number")
        self._chosen = chosen
        training = self._task.training_task(self._layer, loss=None)
        self.evaluation_points = training.evaluation_steps
        self._initial = training.make_model(self.seed).state_dict()
        self._claims, self.stand = self.stand, new_stand(self.training_role, memory=memory_budget(self.device))
        self.stand.ask("problem", pack(task=self._task), seed=self.seed, budget_s=LOAD_LIMIT_S)
        meeting = self._together.meeting
        self.stand.ask("choose", layer=self._layer, choices=chosen, meeting=meeting, budget_s=LOAD_LIMIT_S)

    def _go_on(self, point):
        """Return what `TrainingCell` does, of the result what `LipschitzObjective.evaluate` takes, with the claim."""
        seconds, result, doubt = super()._go_on(point)
        state = result["state"].value
        claim = self.in_time(self._claims, "claim", *state.values(), names=list(state), layer=self._layer)
        self.check_settings(self._claims)
        kept = {name: result[name] for name in ("state", "train_loss", "peak_memory_bytes")}
        return seconds, {**kept, "layer": self._layer, "claimed": claim.fields.get("claimed")}, doubt

    # Where no code of the solver's is, clock, silence and sizes are the harness's own.

    def hidden(self, *_, **__):
        """Return nothing."""
        return ""

    def check_idle(self, stand):
        """Do nothing."""

    def _largest(self):
        return sys.maxsize

    def close(self):
        """End both stands and the progress bar."""
        claims, self._claims = self._claims, None
        return super().close() + (0 if claims is None else claims.end())
