"""The base of the objective: accuracy at a given epsilon, which is computed again, tested and audited."""

import math

from ...device import resolve_device
from ...models.evaluation import outputs_of, rebuild
from ...privacy.accounting import epsilon as epsilon_of
from ...privacy.transcript import Transcript
from ..checks import check_outputs
from ..objective import Objective
from ..stand_in import StandIn
from ..status import REFUTED
from ..unsaved import Unsaved
from .evaluation import certificates

ACCOUNTANTS = ("pld", "prv", "rdp")

# How far a claim may be below what the better of two accountants computes.
CLAIM_SHARE, CLAIM_SLACK = 1e-3, 2e-3
UNKNOWN = math.nan
PRV_FAILED = "accounting: PRV failed, so that the claim is judged by PLD alone"

# Columns that only the last evaluation of a private run has.
LAST = (
    *(f"epsilon_{name}" for name in ACCOUNTANTS),
    "epsilon_audit",
    "audit_power",
    "sensitivity_ratio",
    "sum_difference",
    "noise_p",
    "gradient_to_noise",
)


class PrivacyObjective(Objective):
    """Hands out the task of a `PrivacyDataset`, and computes the metrics of a run with a claimed epsilon.

    A subclass has the parameters ``epsilon``, for which noise is chosen ("inf": none); ``part``, the part that metrics
    are of: what is evaluated on the held-out one is trained on the tuning one too; and ``audit``, whether the run is
    trained once more with canaries. What may disprove the claim is done at the last evaluation.
    """

    def set_data(self, task):
        self._task = task
        if self.part == "held_out" and not isinstance(task, StandIn):  # whose error becomes the row of each cell
            self._task = task.with_tuning()

    def get_objective(self):
        return {"task": self._task, "epsilon": float(self.epsilon), "audit": bool(self.audit)}

    def evaluate(self, state, kind, steps, train_loss, elapsed_s, transcript, noise_multiplier, claimed, examined):
        """Return the metrics of a fresh model with the trained weights; see `orthobench.harness.Objective.evaluate`.

        Parameters
        ----------
        state : dict of str to torch.Tensor
            Of the network, trained.
        kind : str
            Of its network.
        steps : int
            So far; the last evaluation is after those of the task.
        train_loss, elapsed_s : float
        transcript : Transcript
            The bench's.
        noise_multiplier : float
            0 for a run that isn't private.
        claimed : float
            The epsilon that the solver claims, for the task's delta.
        examined : dict or None
            What `examine` returned, and the figures of the audit; None but for the last of a private run.
        """
        device, task, part = resolve_device(), self._task, self.part_of(self._task)
        model = rebuild(task.model_factory(kind), 0, state, device)
        outputs = check_outputs(outputs_of(model, part.inputs, device).cpu(), len(part))
        accuracy = float((outputs.argmax(1) == part.targets).double().mean())
        figures, doubts, notes = dict.fromkeys(LAST, UNKNOWN) | {"layers": ""}, [], []
        if examined is not None:
            found, doubts = self._judged(transcript, claimed, **examined)
            figures |= found
            notes = [PRV_FAILED] if math.isnan(figures["epsilon_prv"]) else []
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
            **({"status": REFUTED} if doubts else {}),
            "message": "; ".join(doubts + notes),
        }

    def _judged(self, transcript, claimed, findings, **figures):
        """Return the figures of a finished private run, and what disproves its claim."""
        worst = {}
        for each in findings:  # of several of a test, one that didn't pass, else the first
            if each.test not in worst or (worst[each.test].passed and not each.passed):
                worst[each.test] = each
        doubts = [f"{each.test}: {each.message}" for each in worst.values() if not each.passed]
        figures |= {f"epsilon_{name}": epsilon_of(transcript, self._task.delta, name) for name in ACCOUNTANTS}
        computed = figures["epsilon_pld"], figures["epsilon_prv"]
        least = min(each for each in computed if not math.isnan(each))
        if claimed < least * (1 - CLAIM_SHARE) - CLAIM_SLACK:
            doubts.insert(0, f"accounting: claims an epsilon of {claimed:g}, and its transcript has {least:.4g}")
        if figures.get("epsilon_audit", 0.0) > claimed:
            audited = figures["epsilon_audit"]
            doubts.append(f"audit: claims an epsilon of {claimed:g}, and {audited:.3g} was audited")
        tested = {"sensitivity": "sensitivity_ratio", "sum": "sum_difference", "noise": "noise_p"}
        return figures | {column: worst[test].figure for test, column in tested.items()}, doubts

    def get_one_result(self):
        kind = "lipschitz"
        return {
            "state": Unsaved(self._task.model_factory(kind)(0).state_dict()),
            "kind": kind,
            "steps": self._task.steps,
            "train_loss": UNKNOWN,
            "elapsed_s": 1.0,
            "transcript": Unsaved(Transcript()),
            "noise_multiplier": 0.0,
            "claimed": math.inf,
            "examined": None,
        }
