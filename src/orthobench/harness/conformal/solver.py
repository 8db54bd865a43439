"""The base of every conformal solver: it makes a predictor for a network, the harness does the rest."""

from dataclasses import dataclass

from ...conformal.scores import SCORES
from ..status import InvalidResult


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


class ConformalSolver:
    """A solver implements :meth:`predictor`, and has the parameter ``network``, a family of networks.

    Attributes
    ----------
    needs_images : bool
        Whether the method needs inputs that can be changed: it is skipped where there are logits alone.
    device : torch.device
        Where the network is.
    """

    cell = "orthobench.harness.conformal.cell:ConformalCell"
    yours = ("predictor", "needs_images", "skip")
    name = ""
    needs_images = False
    device = None

    def predictor(self, problem):
        """Return an uncalibrated `Predictor`: each stand of a cell makes one.

        Parameters
        ----------
        problem : Problem
        """
        raise NotImplementedError

    def skip(self, images, families):
        """Skip logits without a network, where the method needs one, and families that the data set doesn't have."""
        if self.needs_images and not images:
            return True, f"{self.name} evaluates the network on changed inputs: the data set has logits alone"
        if self.network not in families:
            return True, f"the data set has no network={self.network}: it has {', '.join(families)}"
        return False, None


def make_score(name):
    """Return the score of a name; raise InvalidResult if there is none."""
    if name not in SCORES:
        raise InvalidResult(f"score={name!r}: expected one of {', '.join(SCORES)}")
    return SCORES[name]
