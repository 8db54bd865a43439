"""The base of the objective: certified, clean and attacked accuracy, and what disproves a claimed constant."""

import copy
import json
import math
from dataclasses import replace

from ...data.parts import Examples, Parts, digest
from ...lipschitz.bounds import upper_bound
from ...lipschitz.certificates import certified_accuracy, certified_auroc, certified_radius
from ..device import resolve_device
from ..objective import Objective
from ..stand_in import StandIn
from ..status import REFUTED, InvalidResult
from ..training.evaluation import rebuild
from ..unsaved import Unsaved
from .evaluation import (
    ATTACKED,
    attack,
    frozen_copy,
    inference_time_ms,
    largest_quotient,
    layer_spectra,
    measured_constant,
    orthogonality_error,
    outputs_of,
)

# In 1/255, of pixels in [0, 1]; the headline radius is that of the value and of the attack.
RADII = (36, 72, 108, 255)
HEADLINE = 36

TASKS = ("classification", "one_class")
PARTS = ("held_out", "tuning")

# How far a measured lower bound may be above the claim: rounding, of a product of some ten layers in float32.
ROUNDING = 1e-4
UNKNOWN = math.nan


class LipschitzObjective(Objective):
    """Hands out the task of a `RobustnessDataset`, and computes the metrics of a model with a claimed constant.

    A subclass has the parameters ``task``, one of `TASKS`, and ``part``, the part that metrics are of. Certificates are
    computed at each evaluation; the attack and all that may disprove the claim, at the last.
    """

    def set_data(self, task):
        self._task, self._digest = task, ""
        if self.task not in TASKS:
            self._task = StandIn(ValueError(f"task={self.task!r}: expected {' or '.join(TASKS)}"))
        if isinstance(self._task, StandIn):  # its error becomes the row of each cell
            return
        if self.one_class:
            self._task = task.one_class(self._inlier(task.classes))
        self._digest = digest(self._task.parts.train)

    @property
    def one_class(self):
        """Whether one class is to be told from the others, instead of each from each."""
        return self.task == "one_class"

    def _inlier(self, classes):
        """Return the class that a repetition learns: each in its turn, the same for every solver."""
        return (self._run_context.repetition or 0) % classes

    def get_objective(self):
        """Return the task with copies of the training data and the factory, without the parts that are evaluated on."""
        if isinstance(self._task, StandIn):
            return {"task": self._task, "one_class": self.one_class}
        withheld = StandIn(InvalidResult("the solver looked at a part that is evaluated on: it has `train` alone"))
        parts = Parts(copy.deepcopy(self._task.parts.train), tuning=withheld, held_out=withheld)
        handed_out = replace(self._task, parts=parts, network=copy.deepcopy(self._task.network))
        return {"task": handed_out, "one_class": self.one_class}

    def evaluate(self, model, layer, digest, steps, train_loss, elapsed_s, claimed):
        """Return the metrics of a fresh model with the trained weights; see `orthobench.harness.Objective.evaluate`.

        Parameters
        ----------
        model : torch.nn.Module
        layer : str
            The kind of its layers.
        digest : str or None
            Of the training data as they are now.
        steps : int
            So far; the last evaluation is after those of the task.
        train_loss, elapsed_s : float
            Mean training loss since the last evaluation; time of all steps.
        claimed : float
            The Lipschitz constant, in L2, that the solver claims for the model.
        """
        if self.part not in PARTS:
            raise ValueError(f"part={self.part!r}: expected {' or '.join(PARTS)}")
        if digest not in (None, self._digest):
            raise InvalidResult("the solver changed the training data: they belong to the harness")
        if not (isinstance(claimed, int | float) and math.isfinite(claimed) and claimed > 0):
            raise InvalidResult(f"the claimed Lipschitz constant is {claimed!r}: expected a positive finite number")
        device = resolve_device()
        model = rebuild(self._task.model_factory(layer, self._outputs), 0, model.state_dict(), device)
        part = getattr(self._task.parts, self.part)
        outputs = outputs_of(model, part.inputs, device).cpu()
        figures = self._certify(outputs, part.targets, claimed)
        doubts = []
        if steps == self._task.steps:
            found, doubts = self._examine(model, part, outputs, claimed, device)
            figures |= found
        return {
            "value": 1 - figures[f"certified_auroc_{HEADLINE}" if self.one_class else f"certified_accuracy_{HEADLINE}"],
            **figures,
            "lipschitz_claimed": float(claimed),
            "parameters": sum(each.numel() for each in model.parameters() if each.requires_grad),
            "steps": steps,
            "train_loss": train_loss,
            "step_time_ms": 1e3 * elapsed_s / steps if steps else UNKNOWN,
            **({"status": REFUTED, "message": "; ".join(doubts)} if doubts else {}),
        }

    @property
    def _outputs(self):
        return 1 if self.one_class else self._task.classes

    def _certify(self, outputs, targets, claimed):
        """Return the certified and clean figures, and NaN in place of those that only the last evaluation has."""
        figures = {f"certified_accuracy_{each}": UNKNOWN for each in RADII} | {"accuracy": UNKNOWN}
        figures |= {f"certified_auroc_{each}": UNKNOWN for each in (0, *RADII)}
        last = ("attacked_accuracy", "lipschitz_lower", "lipschitz_upper", "orthogonality_error", "inference_time_ms")
        figures |= dict.fromkeys(last, UNKNOWN) | {"layers": ""}
        if self.one_class:
            scores, inliers = outputs[:, 0], targets == 1
            for each in (0, *RADII):
                figures[f"certified_auroc_{each}"] = float(certified_auroc(scores, inliers, each / 255, claimed))
            return figures
        radii = certified_radius(outputs, targets, claimed)
        for each in RADII:
            figures[f"certified_accuracy_{each}"] = float(certified_accuracy(radii, each / 255))
        figures["accuracy"] = float((outputs.argmax(1) == targets).double().mean())
        return figures

    def _examine(self, model, part, outputs, claimed, device):
        """Return what only the last evaluation has, and what of it disproves the claim."""
        plain = frozen_copy(model)
        lower = measured_constant(plain, part.inputs, device)
        spectra = layer_spectra(model, self._task.shape, device)
        figures = {
            "lipschitz_upper": float(upper_bound(model, self._task.shape, trusted=("orthobench",)).total),
            "orthogonality_error": orthogonality_error(spectra),
            "layers": json.dumps(spectra),
            "inference_time_ms": inference_time_ms(plain, part.inputs, device),
        }
        doubts = []
        if not self.one_class:
            some = Examples(part.inputs[:ATTACKED], part.targets[:ATTACKED])
            found, broken, quotient = self._attack(model, plain, some, outputs[:ATTACKED], claimed, device)
            figures |= found
            lower = max(lower, quotient)
            if broken:
                doubts.append(f"the attack broke {broken} certificates at the radius {HEADLINE}/255")
        if lower > claimed * (1 + ROUNDING):
            doubts.insert(0, f"claims a Lipschitz constant of {claimed:g}, and {lower:g} was measured")
        return {"lipschitz_lower": lower, **figures}, doubts

    def _attack(self, model, plain, part, outputs, claimed, device):
        """Return the attacked accuracy, how many certificates were broken, and the largest quotient that was seen.

        Images that are classified wrongly as they are need no attack.
        """
        right = (outputs.argmax(1) == part.targets).nonzero().flatten()
        if not len(right):
            return {"attacked_accuracy": 0.0}, 0, 0.0
        inputs, labels, before = part.inputs[right], part.targets[right], outputs[right]
        attacked = attack(plain, inputs, labels, HEADLINE / 255, device, **self._task.attack).cpu()
        after = outputs_of(model, attacked, device).cpu()
        robust = after.argmax(1) == labels
        distances = (attacked.double() - inputs.double()).flatten(1).norm(dim=1)
        broken = ~robust & (distances < certified_radius(before, labels, claimed))
        quotient = largest_quotient(before, after, inputs, attacked)
        return {"attacked_accuracy": int(robust.sum()) / len(part)}, int(broken.sum()), quotient

    def get_one_result(self):
        layer = "cayley"
        return {
            "model": Unsaved(self._task.model_factory(layer, self._outputs)(0).to(resolve_device())),
            "layer": layer,
            "digest": None,
            "steps": self._task.steps,
            "train_loss": UNKNOWN,
            "elapsed_s": 1.0,
            "claimed": 1.0,
        }
