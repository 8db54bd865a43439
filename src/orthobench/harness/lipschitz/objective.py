"""The base of the objective: certified, clean and attacked accuracy, explanations, and what disproves a constant."""

import json
import math
import sys

from ...data.parts import Examples
from ...device import resolve_device
from ...lipschitz.bounds import upper_bound
from ...lipschitz.certificates import certified_accuracy, certified_auroc, certified_radius
from ...lipschitz.evaluation import (
    ATTACKED,
    attack,
    frozen_copy,
    in_float64,
    inference_time_ms,
    largest_quotient,
    layer_spectra,
    measured_constant,
    orthogonality_error,
    outputs_of,
    rounding_of,
)
from ...models.evaluation import rebuild
from ..checks import check_outputs
from ..objective import Objective
from ..stand.wire import is_number
from ..stand_in import StandIn
from ..status import REFUTED, InvalidResult
from ..unsaved import Unsaved
from .explanation import FIDELITY, Explanation

# In 1/255, of pixels in [0, 1]; the headline radius is that of the value and of the attack.
RADII = (36, 72, 108, 255)
HEADLINE = 36

# By the task what is monitored: the value is 1 - this.
MONITORED = {
    "classification": f"certified_accuracy_{HEADLINE}",
    "one_class": f"certified_auroc_{HEADLINE}",
    "explanation": FIDELITY,
}

# How far a measured lower bound may be above the claim: the weights of some ten layers are rounded to float32.
ROUNDING = 1e-4
TINY = sys.float_info.min  # a network of zeros has the constant 0
UNKNOWN = math.nan


class LipschitzObjective(Objective):
    """Hands out the task of a `RobustnessDataset`, and computes the metrics of a model with a claimed constant.

    A subclass has the parameters ``task``, a key of `MONITORED`, and ``part``, the part that metrics are of.
    Certificates are computed and claims examined at each evaluation; attacks and explanations are made at the last.

    Attributes
    ----------
    attacked_radius : float
        That of the attack, in 1/255.
    """

    attacked_radius = HEADLINE

    def set_data(self, task):
        self._task = task
        if self.task not in MONITORED:
            self._task = StandIn(ValueError(f"task={self.task!r}: expected {' or '.join(MONITORED)}"))
        if isinstance(self._task, StandIn):  # its error becomes the row of each cell
            return
        if self.one_class:
            self._task = task.one_class(self._inlier(task.classes))

    @property
    def one_class(self):
        """Whether one class is to be told from the others, instead of each from each."""
        return self.task == "one_class"

    def _inlier(self, classes):
        """Return the class that a repetition learns: each in its turn, the same for every solver."""
        return (self._run_context.repetition or 0) % classes

    def get_objective(self):
        """Return the task, all of it: what of it comes to a stand is the cell's to say."""
        return {"task": self._task}

    def evaluate(self, state, layer, steps, train_loss, elapsed_s, claimed):
        """Return the metrics of a fresh model with the trained weights; see `orthobench.harness.Objective.evaluate`.

        Parameters
        ----------
        state : dict of str to torch.Tensor
            The weights and buffers.
        layer : str
            The kind of its layers.
        steps : int
            So far; the last evaluation is after those of the task.
        train_loss, elapsed_s : float
            Mean training loss since the last evaluation; time of all steps.
        claimed : float
            The Lipschitz constant, in L2, that the solver claims for the model.

        Raises
        ------
        InvalidResult
            If the claim is no positive finite number.
        """
        part = self.part_of(self._task)
        if not is_number(claimed) or not 0 < claimed < math.inf:
            raise InvalidResult(f"the claimed Lipschitz constant is {claimed}: expected a positive finite number")
        device = resolve_device()
        model = rebuild(self._task.model_factory(layer), 0, state, device)
        outputs = _outputs(model, part.inputs)
        bound = float(upper_bound(model, self._task.shape, trusted=("orthobench",)).total)
        figures = self._certify(outputs, part.targets, claimed, bound)
        last = steps == self._task.steps
        found, doubts = self._examine(model, part, outputs, claimed, bound, last)
        figures |= found
        if self.task == "explanation":
            found, reasons = self._explain(model, part, claimed, max(claimed, bound), last)
            figures |= found
            doubts += reasons
        return {
            "value": 1 - figures[MONITORED[self.task]],
            **figures,
            "lipschitz_claimed": float(claimed),
            "lipschitz_upper": bound,
            "parameters": sum(each.numel() for each in model.parameters() if each.requires_grad),
            "steps": steps,
            "train_loss": train_loss,
            "step_time_ms": 1e3 * elapsed_s / steps if steps else UNKNOWN,
            **({"status": REFUTED, "message": "; ".join(doubts)} if doubts else {}),
        }

    def _certify(self, outputs, targets, claimed, bound):
        """Return the certified and clean figures, and NaN in place of those that only some evaluations have.

        Certificates are by the larger of claim and bound: what nobody disproves isn't believed for that. Where less
        than the claim is proved, what that certifies is a figure of its own.
        """
        figures = {f"certified_accuracy_{each}": UNKNOWN for each in RADII} | {"accuracy": UNKNOWN}
        figures |= {f"certified_auroc_{each}": UNKNOWN for each in (0, *RADII)}
        figures |= {f"proved_accuracy_{HEADLINE}": UNKNOWN, f"proved_auroc_{HEADLINE}": UNKNOWN}
        last = ("attacked_accuracy", "lipschitz_lower", "orthogonality_error", "inference_time_ms")
        figures |= dict.fromkeys(last, UNKNOWN) | {"layers": ""}
        constant, proved = max(claimed, bound), max(bound, TINY)
        if self.one_class:
            scores, inliers = outputs[:, 0], targets == 1
            for each in (0, *RADII):
                figures[f"certified_auroc_{each}"] = float(certified_auroc(scores, inliers, each / 255, constant))
            figures[f"proved_auroc_{HEADLINE}"] = float(certified_auroc(scores, inliers, HEADLINE / 255, proved))
            return figures
        radii = certified_radius(outputs, targets, constant)
        for each in RADII:
            figures[f"certified_accuracy_{each}"] = float(certified_accuracy(radii, each / 255))
        radii = certified_radius(outputs, targets, proved)
        figures[f"proved_accuracy_{HEADLINE}"] = float(certified_accuracy(radii, HEADLINE / 255))
        figures["accuracy"] = float((outputs.argmax(1) == targets).double().mean())
        return figures

    def _examine(self, model, part, outputs, claimed, bound, last):
        """Return what was measured, and what of it disproves the claim.

        Before the last evaluation only what may disprove it: of a claim that the bound proves, nothing can.
        """
        if not last and bound <= claimed * (1 + ROUNDING):
            return {}, []
        device = resolve_device()
        plain = frozen_copy(model)
        exact = in_float64(plain, self._task.shape)
        lower = measured_constant(exact, part.inputs, device)
        figures, doubts = {}, []
        if last:
            spectra = layer_spectra(model, self._task.shape, device)
            figures = {
                "orthogonality_error": orthogonality_error(spectra),
                "layers": json.dumps(spectra),
                "inference_time_ms": inference_time_ms(plain, part.inputs, device),
            }
        if last and self.task == "classification":
            some = Examples(part.inputs[:ATTACKED], part.targets[:ATTACKED])
            found, broken, quotient = self._attack(model, plain, exact, some, outputs[:ATTACKED], claimed)
            figures |= found
            lower = max(lower, quotient)
            if broken:
                radius = f"{self.attacked_radius:g}/255"
                doubts.append(f"the attack broke {broken} of the claim's certificates at the radius {radius}")
        if lower > claimed * (1 + ROUNDING):
            doubts.insert(0, f"claims a Lipschitz constant of {claimed:g}, and {lower:g} was measured")
        return {"lipschitz_lower": lower, **figures}, doubts

    def _explain(self, model, part, claimed, constant, last):
        """Return the figures of explanations, first of all the monitored one, and what of them disproves the claim."""
        plain = frozen_copy(model)
        exact = in_float64(plain, self._task.shape) if last else plain
        repetition = self._run_context.repetition or 0
        explanation = Explanation(plain, exact, self._task, part, resolve_device(), repetition)
        if not last:
            return explanation.at_once(), []
        # One picture of each solver will do: that of the first repetition.
        return explanation.figures(claimed * (1 + ROUNDING), constant, draw=not repetition)

    def _attack(self, model, plain, exact, part, outputs, claimed):
        """Return the attacked accuracy, how many certificates of the claim were broken, and the largest quotient seen.

        Images that are classified wrongly as they are need no attack. What disproves a claim is evaluated in float64:
        rounding changes a class, too, where two are nearly equal.
        """
        right = (outputs.argmax(1) == part.targets).nonzero().flatten()
        if not len(right):
            return {"attacked_accuracy": 0.0}, 0, 0.0
        device = resolve_device()
        inputs, labels = part.inputs[right], part.targets[right]
        radius = self.attacked_radius / 255
        attacked = attack(plain, inputs, labels, radius, device, **self._task.attack).cpu()
        robust = _outputs(model, attacked).argmax(1) == labels
        before, after = (_outputs(exact, each) for each in (inputs, attacked))
        distances = (attacked.double() - inputs.double()).flatten(1).norm(dim=1)
        radii = certified_radius(before, labels, claimed * (1 + ROUNDING), rounding=rounding_of(before))
        broken = (after.argmax(1) != labels) & (distances < radii)
        quotient = largest_quotient(before, after, inputs, attacked)
        return {"attacked_accuracy": int(robust.sum()) / len(part)}, int(broken.sum()), quotient

    def get_one_result(self):
        layer = "cayley"
        return {
            "state": Unsaved(self._task.model_factory(layer)(0).state_dict()),
            "layer": layer,
            "steps": self._task.steps,
            "train_loss": UNKNOWN,
            "elapsed_s": 1.0,
            "claimed": 1.0,
        }


def _outputs(model, inputs):
    return check_outputs(outputs_of(model, inputs, resolve_device()).cpu(), len(inputs))
