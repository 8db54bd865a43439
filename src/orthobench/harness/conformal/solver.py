"""The base of every conformal solver: it makes a predictor for a network, the harness does the rest."""

from dataclasses import dataclass

import torch

from ...conformal import APS, LAC, RAPS, Margin, MaxRatio, Predictor
from ..clock import Stopwatch
from ..solver import OWNED, RunOnceSolver
from ..status import InvalidResult
from ..unsaved import Unsaved

# What a solver's parameter ``score`` may be.
SCORES = {
    "softmax": LAC(),
    "sigmoid": LAC("sigmoid"),
    "margin": Margin(),
    "max_ratio": MaxRatio(),
    "probability": LAC(bounded=True),
    "aps": APS(),
    "raps": RAPS(),
}
# Inputs of which the sets are predicted before the clock starts.
WARM_UP = 32


@dataclass(frozen=True)
class Problem:
    """What a solver makes a predictor for.

    Attributes
    ----------
    alpha, radius : float
        The claim that is asked for.
    shape : tuple of int
        Of an input, without the batch axis.
    lipschitz_constant : float
        An upper bound of the network's constant, in the Euclidean norm.
    """

    alpha: float
    radius: float
    shape: tuple
    lipschitz_constant: float


class ConformalSolver(RunOnceSolver):
    """A solver implements :meth:`predictor`, and has the parameter ``network``, a family of networks.

    Attributes
    ----------
    needs_images : bool
        Whether the method needs inputs that can be changed: it is skipped where there are logits alone.
    """

    needs_images = False
    owned = (*OWNED, "result", "compute", "prepare")

    def predictor(self, problem):
        """Return an uncalibrated `Predictor`.

        Parameters
        ----------
        problem : Problem
        """
        raise NotImplementedError

    def skip(self, task, alpha):
        """Skip logits without a network, where the method needs one, and families that the data set doesn't have."""
        if self.needs_images and not task.images:
            return True, f"{self.name} evaluates the network on changed inputs: the data set has logits alone"
        if self.network not in task.families:
            return True, f"the data set has no network={self.network}: it has {', '.join(task.families)}"
        return False, None

    def receive(self, task, alpha):
        self._data, self._family = task, self.network
        network = task.network(self.network)
        self._model = network.model.to(self.device)
        self._problem = Problem(alpha, task.radius, tuple(task.test_inputs.shape[1:]), network.constant)

    def prepare(self, stop_val):
        self._predictor = self.predictor(self._problem)
        if not isinstance(self._predictor, Predictor):
            raise InvalidResult(f"{self.name} made a {type(self._predictor).__name__}: expected a Predictor")
        data = self._data
        self._calibration = tuple(each.to(self.device) for each in (data.calibration.inputs, data.calibration.targets))
        self._tests = data.test_inputs.to(self.device)
        self._generator = torch.Generator(self.device).manual_seed(int(torch.randint(2**31, ())))
        some = tuple(each[:WARM_UP] for each in self._calibration)
        self._predictor.calibrate(self._model, *some, generator=self._generator)
        self._predictor.predict_sets(self._tests[:WARM_UP], generator=self._generator)

    def compute(self):
        calibration, prediction = Stopwatch(self.device), Stopwatch(self.device)
        calibration.start()
        self._predictor.calibrate(self._model, *self._calibration, generator=self._generator)
        calibration.stop()
        prediction.start()
        self._predictor.predict_sets(self._tests, generator=self._generator)
        prediction.stop()
        self._times = calibration.elapsed_s / len(self._calibration[0]), prediction.elapsed_s / len(self._tests)

    def result(self):
        calibration, prediction = self._times
        return {
            "predictor": Unsaved(self._predictor),
            "family": self._family,
            "calibration_time_s": calibration,
            "prediction_time_s": prediction,
        }


def make_score(name):
    """Return the score of a name; raise InvalidResult if there is none."""
    if name not in SCORES:
        raise InvalidResult(f"score={name!r}: expected one of {', '.join(SCORES)}")
    return SCORES[name]
