"""The bench's half of a conformal cell: it measures a predictor that it can't see."""

from ..stand.cells import RunOnceCell
from ..status import InvalidResult
from ..unsaved import Unsaved
from .evaluation import Measurement
from .method import Method
from .task import Network


class ConformalCell(RunOnceCell):
    """Has scores, thresholds and gradients computed in stands, and makes sets, attacks and figures of them.

    No stand whose sets count has labels, or the inputs of another line of questions: see `Method`.
    """

    role = "orthobench.harness.conformal.role:ConformalRole"

    def hand_out(self, task, alpha):
        self._measured_task, self._alpha = task, alpha
        return {"alpha": alpha, "radius": task.radius, "shape": task.shape}

    def known(self, task, alpha):
        return {"images": task.attack is not None, "families": list(task.families)}

    def applies(self, answer):
        self._family = answer.text("network")
        if self._family not in self._measured_task.families:
            raise InvalidResult(f"{self.name} asks for network={self._family}, which the data set doesn't have")

    def compute_points(self):
        """Measure the predictor."""
        self._spent_s = 0.0
        task = self._measured_task
        network = task.network(self._family)
        method = Method(self, task, self._alpha, network)
        network = Network(network.model.to(self.device), network.constant)
        measured = Measurement(method, task, network)
        return {1: {"measured": Unsaved(measured), "peak_memory_bytes": measured.peak_memory_bytes}}

    # --- for `Method` ------------------------------------------------------------------------------------------------

    def open_one(self):
        """Return a stand: the one that has said that the solver applies, then fresh ones."""
        stand, self.stand = self.stand, None
        return stand if stand is not None else self.open(audit=True)[0]

    def doubt(self, stand, seconds, cost, sent, answered):
        """Return why the seconds that a stand says can't be true, "" if they can."""
        self.check_settings(stand)
        self.check_idle(stand)
        doubt = self.hidden(seconds, cost, sent, answered)
        left = stand.end()
        self.check_ended(0 if doubt else left)
        return doubt
