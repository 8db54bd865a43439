"""The bench's half of a cell of training: it hands out the training part, and takes weights back."""

from dataclasses import replace

import torch

from ...data.parts import Parts, resembling
from ...models.evaluation import EXTRA
from ..processes import Together
from ..stand import clocks
from ..stand.cells import CallbackCell
from ..stand.roles import pack
from ..stand.wire import expected_bytes
from ..stand_in import StandIn
from ..status import InvalidResult, Refuted
from ..unsaved import Unsaved
from .task import PHASES

# Phases are parts of the time: on a GPU they are measured by another clock.
PHASES_SHARE, PHASES_SLACK_S = 0.05, 0.01


def trained_on(task, train):
    """Return a task with these training examples, which withholds the parts that it is evaluated on."""
    withheld = StandIn(InvalidResult("the solver looked at a part that is evaluated on: it has `train` alone"))
    return replace(task, parts=Parts(train, withheld, withheld))


class TrainingCell(CallbackCell):
    """Trains in a stand from one evaluation point to the next, and looks at the weights there.

    The stand has neither the other parts of the data nor the network that is evaluated: that is the bench's own, with
    the weights that came. It gets the training part when model and optimizers are made. Where several processes train
    one model, each has a bench and a stand, and a failure of one is that of all.
    """

    role = "orthobench.harness.training.role:TrainingRole"

    def hand_out(self, task, autocast, compile):
        self.evaluation_points = task.evaluation_steps
        self._task, self._compile = task, compile
        self._initial = task.make_model(self.seed).state_dict()
        own = trained_on(task, resembling(task.parts.train, self.seed))
        self._together = Together()
        return {"task": own, "autocast": autocast, "compile": compile, "meeting": self._together.meeting}

    def skip(self, **problem):
        """Open a stand, and ask the solver whether it applies."""
        return Together.agreed(lambda: super(TrainingCell, self).skip(**problem))

    def begin(self):
        """Have the stand warm up and make model and optimizers."""
        self._done, self._elapsed_s, self._advanced = 0, 0.0, []
        self._in_stand_s = 0.0  # of `_elapsed_s`, in the present stand's own words: its phases are of these
        self._together.run(self._prepare)
        self.stand.reset_peak_memory()
        self.show_progress(self._task.steps)

    def _prepare(self):
        """Have model and optimizers made, then hand over the data: on them a solver works on the clock alone."""
        self._ask(self.stand, "prepare")
        self._ask(self.stand, "data", pack(train=self._task.parts.train))

    def advance(self, point):
        """Go on to an evaluation point; return what `TrainingObjective.measure` takes."""
        return self._together.run(lambda: self._advance(point))

    def _advance(self, point):
        for attempt in range(clocks.ATTEMPTS):
            seconds, result, doubt = self._go_on(point)
            if not doubt:
                break
            self.check_settings(self.stand)  # what a solver changed may have caused it
            if attempt + 1 == clocks.ATTEMPTS or self._together.meeting is not None:
                raise Refuted(f"{doubt}, in {attempt + 1} fresh processes" if attempt else doubt)
            self._begin_again()
        self.check_settings(self.stand)
        self.check_idle(self.stand)
        self._elapsed_s += seconds
        self._in_stand_s += seconds
        self._bar.update(point - self._done)
        self._done = point
        self._advanced.append(point)
        result |= {"elapsed_s": self._elapsed_s, "steps": point}
        if point == self.evaluation_points[-1]:
            left = self.close()
            self.check_ended(0 if self._compile else left)  # a compiler's helpers stay
        return result

    def _go_on(self, point):
        """Return the seconds that the stand says, the result without times, and a doubt."""
        steps = point - self._done
        advanced = self.limited(self.stand, "advance", steps=steps, measured=True, patience=self._together.look)
        checked = self._ask(self.stand, "check")
        shown = self.limited(self.stand, "state", measured=True, largest=self._largest())
        seconds = (advanced.number("seconds"), shown.number("seconds"))
        sent = list(self._initial.values())
        doubt = self.hidden(seconds[0], advanced.cost, [], []) if steps else ""
        doubt = doubt or self.hidden(seconds[1], shown.cost, [], sent)
        result = {
            "state": Unsaved(self._weights(shown, point)),
            "digest": checked.fields.get("digest") and checked.text("digest"),
            "train_loss": checked.number("train_loss"),
            "phases": self._phases(checked, self._in_stand_s + sum(seconds)),
            "optimizer_state_bytes": shown.number("optimizer_state_bytes"),
            "exponents": shown.text("exponents"),
            "parameters_by_route": shown.text("parameters_by_route"),
            "peak_memory_bytes": checked.peak_memory_bytes(self.stand),
        }
        return sum(seconds), result, doubt

    def _begin_again(self):
        """Take a fresh stand to where this one was before its last advance."""
        self.stand.end()  # the progress bar stays
        self.stand, _ = self.open()
        self._prepare()
        done, self._in_stand_s = 0, 0.0
        for point in self._advanced:
            advanced = self._ask(self.stand, "advance", steps=point - done)
            shown = self._ask(self.stand, "state", largest=self._largest())
            self._in_stand_s += advanced.number("seconds") + shown.number("seconds")
            done = point

    def _ask(self, stand, kind, *tensors, **fields):
        return self.in_time(stand, kind, *tensors, patience=self._together.look, **fields)

    def _largest(self):
        return expected_bytes([each.shape for each in self._initial.values()])

    def _weights(self, answer, point):
        """Return the state dict that came, once it is known to be one of this network.

        Raises
        ------
        InvalidResult
            If names, shapes or types are others, or the weights before the first step are not the initial ones.
        """
        names, expected = answer.fields.get("names"), self._initial
        if names != list(expected) or len(answer.tensors) != len(expected):
            raise InvalidResult(f"{self.name} has other weights than the network: the model belongs to the harness")
        found = dict(zip(names, answer.tensors, strict=True))
        for name, tensor in expected.items():
            got = found[name]
            # The extra state of a module may have another shape than at first.
            if got.dtype != tensor.dtype or (got.shape != tensor.shape and not name.endswith(EXTRA)):
                found_as, expected_as = (f"{each.dtype} of shape {tuple(each.shape)}" for each in (got, tensor))
                raise InvalidResult(f"{name} is {found_as}, expected {expected_as}")
            if point == 0 and not torch.equal(got, tensor):
                raise InvalidResult(f"{self.name} changed {name} before the first step: initial weights are given")
        return found

    def _phases(self, answer, elapsed_s):
        phases = answer.fields.get("phases")
        named = isinstance(phases, dict) and set(phases) == set(PHASES)
        if not named or not all(type(each) is float and each >= 0 for each in phases.values()):
            raise InvalidResult(f"the stand answered {str(phases)[:120]} for the seconds of {', '.join(PHASES)}")
        if sum(phases.values()) > elapsed_s * (1 + PHASES_SHARE) + PHASES_SLACK_S:
            raise Refuted(f"its phases take {sum(phases.values()):.3g} s of the {elapsed_s:.3g} s that it trained")
        return phases
