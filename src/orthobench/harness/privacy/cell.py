"""The bench's half of a cell of private training: it draws batches and noise, and one stand alone sees examples."""

import hashlib
import math
from functools import partial

from ...privacy import audit
from ...privacy.accounting import noise_multiplier
from ...privacy.mechanisms import Plan
from ...privacy.release import effective_multiplier
from ...privacy.sums import blocks_of_parameters
from ..stand import clocks
from ..stand.cells import CallbackCell, transport
from ..stand.wire import expected_bytes, is_number
from ..status import InvalidResult
from ..unsaved import Unsaved
from .evaluation import examine
from .loop import PrivateRun, Question, read_state, read_sums, read_weights


class PrivateCell(CallbackCell):
    """Trains with two stands: one sums what a batch's examples add, the other steps on the noisy sums.

    The first sees a batch at a time, with the weights that the bench sends; the second never sees an example. Weights,
    batches, noise and the transcript are the bench's. When the run is over, other stands are asked what tests the
    claims, and are trained with once more if the run is to be audited.
    """

    role = "orthobench.harness.privacy.role:PrivateRole"
    _stepping = None

    def hand_out(self, task, epsilon, audit):
        self._task, self._audits, self.evaluation_points = task, audit, task.evaluation_steps
        rate, steps, noise = task.sampling_rate, task.steps, 0.0
        if math.isfinite(epsilon):
            noise = noise_multiplier(epsilon, task.delta, rate, steps)
        self._plan = Plan(noise, rate, task.batch_size, steps, task.input_norm, task.classes)
        return {"plan": self._plan, "network": task.network, "shape": task.shape}

    def seed_of_stands(self):
        """Return another one than that of batches and noise, which it doesn't tell."""
        return int.from_bytes(hashlib.sha256(f"stands of {self.seed}".encode()).digest()[:4], "big")

    def known(self, epsilon, **_):
        self._epsilon = epsilon
        return {"epsilon": epsilon}

    def applies(self, answer):
        self._kind = answer.text("kind")
        self._claimed = answer.fields.get("claimed")
        if not is_number(self._claimed) or self._claimed == math.inf > self._epsilon or not self._claimed > 0:
            raise InvalidResult(f"the claimed epsilon is {self._claimed}: expected a positive number")

    def begin(self):
        """Have both stands warm up and make their mechanisms."""
        self._stepping, _ = self.open(audit=True)
        self._run = self._begin(self.stand, self._stepping)
        self._elapsed_s, self._slack_s = 0.0, clocks.WALL_SLACK_S
        weights, batch = list(self._run.question.weights.values()), self._run.loader.tensors
        some = [each[:1].expand(self._task.batch_size, *each.shape[1:]) for each in batch]
        self._transport_s = 2 * transport([*some, *weights], weights).wall_s  # of both questions, and a bit more
        for stand in (self.stand, self._stepping):
            stand.reset_peak_memory()
        self.show_progress(self._task.steps)

    def _begin(self, summing, stepping, make_canaries=None):
        model = self._task.model_factory(self._kind)(self.seed)
        weights = {name: each.detach() for name, each in model.named_parameters() if each.requires_grad}
        self._initial = model.state_dict()
        states = [
            read_state(self.in_time(stand, "prepare", *weights.values(), warm_up=warm_up))
            for stand, warm_up in ((summing, "sum_gradients"), (stepping, "apply"))
        ]
        question = Question(weights, states[1], *(each[:0] for each in vars(self._task.parts.train).values()))
        query, apply = partial(self._query, summing, self.limited), partial(self._apply, stepping)
        return PrivateRun(self._task, self._plan, question, query, apply, self.seed, make_canaries)

    def _query(self, stand, ask, question):
        tensors = (question.inputs, question.targets, *question.weights.values())
        answer = ask(stand, "query", *tensors, state=question.state, largest=self._largest(question), measured=True)
        self._take_time(answer)
        return read_sums(answer, question.weights, bool(self._plan.noise_multiplier))

    def _apply(self, stand, noisy, factor):
        weights, largest = self._run.question.weights, self._largest(self._run.question)
        named = {"names": list(noisy), "factor": factor}
        answer = self.limited(stand, "apply", *noisy.values(), **named, largest=largest, measured=True)
        self._take_time(answer)
        return read_weights(answer, weights)

    def _largest(self, question):
        return expected_bytes([each.shape for each in question.weights.values()])

    # --- time --------------------------------------------------------------------------------------------------------

    _said_s = _outside_s = 0.0

    def _take_time(self, answer):
        seconds = answer.number("seconds")
        if not 0 <= seconds < math.inf:
            raise InvalidResult(f"the stand answered {seconds!r} for its seconds")
        self._said_s += seconds
        self._outside_s += answer.cost.wall_s - answer.cost.waited_s

    def _steps_s(self, steps):
        """Return the time of the steps just done: the stands' and the bench's, no less than the clock outside allows.

        The clock outside counts where it has more than transport and a quarter explain.
        """
        outside = self._outside_s - steps * self._transport_s - self._slack_s
        self._slack_s = 0.0  # once a run
        return self._run.own_s + max(self._said_s, outside / (1 + clocks.WALL_SHARE))

    # --- points ------------------------------------------------------------------------------------------------------

    def advance(self, point):
        """Go on to an evaluation point; return what `PrivacyObjective.evaluate` takes."""
        run, steps = self._run, point - self._run.done
        self._said_s = self._outside_s = run.own_s = 0.0
        for _ in range(steps):
            run.step()
            self._bar.update()
        self._elapsed_s += self._steps_s(steps)
        for stand in (self.stand, self._stepping):
            self.check_settings(stand)
            self.check_idle(stand)
        result = {
            "state": Unsaved(self._initial | run.question.weights),
            "kind": self._kind,
            "steps": point,
            "train_loss": run.take_loss(),
            "elapsed_s": self._elapsed_s,
            "transcript": Unsaved(run.transcript.copy()),
            "noise_multiplier": self._plan.noise_multiplier,
            "claimed": self._claimed,
            "peak_memory_bytes": max(map(self._peak, (self.stand, self._stepping))),
        }
        last = point == self._task.steps
        if last:
            self.check_ended(self.close())
        examined = self._examined() if last and self._plan.noise_multiplier else None
        return result | {"examined": Unsaved(examined)}

    def _peak(self, stand):
        return self.in_time(stand, "peak").peak_memory_bytes(stand)

    def _examined(self):
        """Return what `examine` finds, asking a stand that has seen no batch, and the audit's figures."""
        stand, _ = self.open(audit=True)
        try:
            self.in_time(stand, "prepare", *self._run.question.weights.values(), warm_up="")
            query = partial(self._query, stand, self.in_time)
            found = examine(self._task, self._kind, self._run, lambda question: query(question)[1])
        finally:
            stand.end()
        return found | (self._audited() if self._audits else {})

    def _audited(self):
        """Train once more, with canaries, and audit the run: its lower bound of epsilon, and what can be expected.

        The auditor knows the examples, as the adversary of differential privacy does, and takes what they add off
        again. There are as many canaries as the smallest block has entries, `CANARIES` at most.
        """
        task, weights = self._task, self._run.question.weights

        def make_canaries(blocks):
            sizes = [sum(weights[name].numel() for name in each.names) for each in blocks]
            return audit.Canaries(max(2, min(audit.CANARIES, *sizes)), task.sampling_rate, self.seed)

        (summing, _), (stepping, _) = self.open(audit=True), self.open(audit=True)
        try:
            self._run = self._begin(summing, stepping, make_canaries)
            for _ in range(task.steps):
                self._run.step()
        finally:
            summing.end()
            stepping.end()
        canaries, blocks = self._run.canaries, blocks_of_parameters(self._run.summed.blocks, weights)
        noise = effective_multiplier(blocks, self._plan.noise_multiplier)
        simulated = audit.simulated_bounds(noise, task.sampling_rate, task.steps, canaries.count, task.delta)
        return {"epsilon_audit": canaries.lower_bound(task.delta)[0], "audit_power": float(simulated.mean())}

    def close(self):
        """End both stands and the progress bar; return how many processes they had started that were still there."""
        stepping, self._stepping = self._stepping, None
        return super().close() + (stepping.end() if stepping is not None else 0)
