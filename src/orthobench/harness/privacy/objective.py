"""The base of the objective: accuracy at a given epsilon, which is computed again, tested and audited."""

import copy
import math
from dataclasses import replace

from ...data.parts import Parts, digest
from ...privacy.accounting import epsilon as epsilon_of
from ..device import resolve_device
from ..objective import Objective
from ..stand_in import StandIn
from ..status import REFUTED, InvalidResult
from ..training.evaluation import rebuild
from ..unsaved import Unsaved
from .evaluation import Examination, audit_run, certificates, outputs_of

PARTS = ("held_out", "tuning")
ACCOUNTANTS = ("pld", "prv", "rdp")

# How far a claim may be below what the better of two accountants computes.
CLAIM_SHARE, CLAIM_SLACK = 1e-3, 2e-3
UNKNOWN = math.nan

TESTED = ("noise", "sensitivity", "batch sizes", "transcript", "canary")

# Columns that only the last evaluation of a private run has.
LAST = (
    *(f"epsilon_{name}" for name in ACCOUNTANTS),
    "epsilon_audit",
    "audit_power",
    "noise_ratio",
    "sensitivity_ratio",
    "batch_sizes_p",
    "canary_ratio",
    "gradient_to_noise",
)


class PrivacyObjective(Objective):
    """Hands out the task of a `PrivacyDataset`, and computes the metrics of a run with a claimed epsilon.

    A subclass has the parameters ``epsilon``, for which noise is chosen ("inf": none); ``part``, the part that metrics
    are of: what is evaluated on the held-out one is trained on the tuning one too; and ``audit``, whether the run is
    trained once more with canaries. What may disprove the claim is done at the last evaluation; a canary in repeated
    single steps, in the first repetition.
    """

    def set_data(self, task):
        self._task, self._digest = task, ""
        if isinstance(task, StandIn):  # its error becomes the row of each cell
            return
        if self.part == "held_out":
            self._task = task.with_tuning()
        self._digest = digest(self._task.parts.train)

    def get_objective(self):
        """Return the task with copies of the training data, without the parts that are evaluated on, and epsilon."""
        task = self._task
        if not isinstance(task, StandIn):
            withheld = StandIn(InvalidResult("the solver looked at a part that is evaluated on: it has `train` alone"))
            task = replace(task, parts=Parts(copy.deepcopy(task.parts.train), tuning=withheld, held_out=withheld))
        return {"task": task, "epsilon": float(self.epsilon)}

    def evaluate(
        self,
        model,
        kind,
        digest,
        steps,
        train_loss,
        elapsed_s,
        transcript,
        sizes,
        noise_multiplier,
        claimed,
        methods,
    ):
        """Return the metrics of a fresh model with the trained weights; see `orthobench.harness.Objective.evaluate`.

        Parameters
        ----------
        model : torch.nn.Module
        kind : str
            Of its network.
        digest : str or None
            Of the training data as they are now.
        steps : int
            So far; the last evaluation is after those of the task.
        train_loss, elapsed_s : float
        transcript : Transcript
            What the mechanism recorded.
        sizes : list of int
            Of the batches that the harness drew.
        noise_multiplier : float
            That the harness chose; 0 for a run that isn't private.
        claimed : float
            The epsilon that the solver claims, for the task's delta.
        methods : tuple of callable
            The solver's mechanism and optimizer.
        """
        if self.part not in PARTS:
            raise ValueError(f"part={self.part!r}: expected {' or '.join(PARTS)}")
        if digest not in (None, self._digest):
            raise InvalidResult("the solver changed the training data: they belong to the harness")
        if not (isinstance(claimed, int | float) and claimed > 0):
            raise InvalidResult(f"the claimed epsilon is {claimed!r}: expected a positive number")
        device, task = resolve_device(), self._task
        model = rebuild(task.model_factory(kind), 0, model.state_dict(), device)
        part = getattr(task.parts, self.part)
        outputs = outputs_of(model, part.inputs, device).cpu()
        accuracy = float((outputs.argmax(1) == part.targets).double().mean())
        figures = dict.fromkeys(LAST, UNKNOWN) | {"layers": ""}
        doubts = []
        if steps == task.steps and noise_multiplier:
            found, doubts = self._examine(model, kind, transcript, sizes, noise_multiplier, claimed, methods, device)
            figures |= found
        return {
            "value": 1 - accuracy,
            "error": 1 - accuracy,
            "accuracy": accuracy,
            "epsilon_claimed": float(claimed),
            "delta": task.delta,
            **figures,
            **certificates(model, outputs, part, task.shape),
            "noise_multiplier": float(noise_multiplier),
            "sampling_rate": task.sampling_rate,
            "adjacency": transcript.adjacency if noise_multiplier else "",
            "sampling": "poisson",
            "tuning_charged": False,
            "steps": steps,
            "train_loss": train_loss,
            "time_s": elapsed_s,
            "step_time_ms": 1e3 * elapsed_s / steps if steps else UNKNOWN,
            "parameters": sum(each.numel() for each in model.parameters() if each.requires_grad),
            **({"status": REFUTED, "message": "; ".join(doubts)} if doubts else {}),
        }

    def _examine(self, model, kind, transcript, sizes, noise_multiplier, claimed, methods, device):
        """Return the figures of a finished private run, and what disproves its claim."""
        first = not self._run_context.repetition
        examination = Examination(self._task, kind, model, methods[0], noise_multiplier, device)
        findings, layers = examination.run(sizes, transcript, canary=first)
        by_test = {each.test: each.figure for each in findings}
        doubts = [f"{each.test}: {each.message}" for each in findings if not each.passed]
        figures = {f"epsilon_{name}": epsilon_of(transcript, self._task.delta, name) for name in ACCOUNTANTS}
        least = min(figures["epsilon_pld"], figures["epsilon_prv"])
        if claimed < least * (1 - CLAIM_SHARE) - CLAIM_SLACK:
            doubts.insert(0, f"accounting: claims an epsilon of {claimed:g}, and its transcript has {least:.4g}")
        if self.audit:
            seed = self.get_seed(use_repetition=True)
            figures |= audit_run(self._task, kind, methods, noise_multiplier, seed, device)
            if figures["epsilon_audit"] > claimed:
                doubts.append(
                    f"audit: claims an epsilon of {claimed:g}, and {figures['epsilon_audit']:.3g} was audited"
                )
        return {
            **figures,
            "noise_ratio": by_test["noise"],
            "sensitivity_ratio": by_test["sensitivity"],
            "batch_sizes_p": by_test["batch sizes"],
            "canary_ratio": by_test.get("canary", UNKNOWN),
            "gradient_to_noise": examination.gradient_to_noise(),
            "layers": layers,
        }, doubts

    def get_one_result(self):
        kind = "lipschitz"
        return {
            "model": Unsaved(self._task.model_factory(kind)(0).to(resolve_device())),
            "kind": kind,
            "digest": None,
            "steps": self._task.steps,
            "train_loss": UNKNOWN,
            "elapsed_s": 1.0,
            "transcript": None,
            "sizes": [],
            "noise_multiplier": 0.0,
            "claimed": math.inf,
            "methods": None,
        }
