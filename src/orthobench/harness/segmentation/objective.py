"""The base of the objective: how many pixels keep their classes under attack, certified, attacked and clean."""

import math

from ...device import resolve_device
from ...lipschitz.bounds import upper_bound
from ...models.evaluation import rebuild
from ..objective import Objective
from ..stand.wire import is_number
from ..status import REFUTED, InvalidResult
from ..unsaved import Unsaved
from .evaluation import HEADLINE, evaluation_of, nothing
from .solver import SMOOTHING, SegmentationSolver


class SegmentationObjective(Objective):
    """Hands out the task of a `SegmentationDataset`, and computes the metrics of a model.

    A subclass has the parameter ``part``, the part that metrics are of. Certificates are computed at each evaluation;
    the attack is made, and times are taken, at the last.
    """

    def set_data(self, task):
        self._task, self._seed = task, self.get_seed(use_repetition=True)

    def get_objective(self):
        """Return the task, all of it: what of it comes to a stand is the cell's to say."""
        return {"task": self._task}

    def evaluate(self, state, layer, steps, train_loss, elapsed_s, claimed, smoothing):
        """Return the metrics of a fresh model with the trained weights; see `orthobench.harness.Objective.evaluate`.

        Parameters
        ----------
        state : dict of str to torch.Tensor
            The weights and buffers.
        layer : str
            The kind of its layers, or `CONSTANT`.
        steps : int
            So far; the last evaluation is after those of the task.
        train_loss, elapsed_s : float
            Mean training loss since the last evaluation; time of all steps.
        claimed : float
            The Lipschitz constant, in L2, that the solver claims for the model: of all logits of an image together.
        smoothing : dict
            As `evaluation_of` takes it.

        Raises
        ------
        InvalidResult
            If the claim is no finite number of at least 0.
        """
        part = self.part_of(self._task)
        if not is_number(claimed) or not 0 <= claimed < math.inf:
            raise InvalidResult(f"the claimed Lipschitz constant is {claimed}: expected a finite number of at least 0")
        device = resolve_device()
        model = rebuild(self._task.model_factory(layer), 0, state, device)

        def bound():
            return float(upper_bound(model, self._task.shape, trusted=("orthobench",)).total)

        evaluation = evaluation_of(model, self._task, part, device, claimed, bound, smoothing, self._seed)
        # One picture of each solver will do: that of the first repetition.
        found, doubts = evaluation.figures(steps == self._task.steps, not self._run_context.repetition)
        figures = nothing() | found
        return {
            "value": 1 - figures[f"certified_class_accuracy_{HEADLINE}"],
            **figures,
            "forward_passes": evaluation.forward_passes,
            "parameters": sum(each.numel() for each in model.parameters() if each.requires_grad),
            "steps": steps,
            "train_loss": train_loss,
            "step_time_ms": 1e3 * elapsed_s / steps if steps else math.nan,
            **({"status": REFUTED, "message": "; ".join(doubts)} if doubts else {}),
        }

    def get_one_result(self):
        layer = "cayley"
        return {
            "state": Unsaved(self._task.model_factory(layer)(0).state_dict()),
            "layer": layer,
            "steps": self._task.steps,
            "train_loss": math.nan,
            "elapsed_s": 1.0,
            "claimed": 1.0,
            "smoothing": {name: getattr(SegmentationSolver, name) for name in SMOOTHING},
        }
