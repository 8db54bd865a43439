"""The base of every solver of detection: it makes a controller, which the harness calibrates on each split."""

from dataclasses import dataclass, replace

from ...conformal.detection import DetectionLosses
from ...conformal.detection.controllers import total_of_second

# The parameters of the predicted sets, which a solver may have.
SETS = {"margins": ["additive"], "classes": ["lac"]}


@dataclass(frozen=True)
class RiskProblem:
    """What a solver makes a controller for.

    Attributes
    ----------
    alphas : dict of str to float
        The largest risk of "confidence", "localisation" and, with classes, "classification".
    losses : DetectionLosses
        What is lost. A solver chooses the margins and the class sets: see `DetectionSolver.problem`.
    side : float
        The larger side of an image, in the units of the boxes.
    """

    alphas: dict
    losses: DetectionLosses
    side: float

    @property
    def joint_alpha(self):
        """The largest joint risk: the sum of the levels of localisation and classification, exact as decimals are."""
        return total_of_second(self.alphas)


class DetectionSolver:
    """A solver implements :meth:`controller`.

    Attributes
    ----------
    margins, classes : str
        How outer boxes and class sets grow, if they are among its parameters: see `DetectionLosses`.
    """

    cell = "orthobench.harness.detection.cell:DetectionCell"
    yours = ("controller", "margins", "classes", "skip")
    name = ""
    margins, classes = (SETS[name][0] for name in ("margins", "classes"))

    def controller(self, problem):
        """Return an uncalibrated `RiskController`: each split has one of its own.

        Parameters
        ----------
        problem : RiskProblem
        """
        raise NotImplementedError

    def skip(self, classes):
        """Skip nothing: ``classes`` is their number, 0 of detections that have a class and no distribution."""
        return False, None

    def problem(self, problem):
        """Return the problem with this solver's margins and class sets."""
        chosen = {"margins": self.margins}
        if problem.losses.classes is not None:
            chosen["classes"] = self.classes
        return replace(problem, losses=replace(problem.losses, **chosen))
