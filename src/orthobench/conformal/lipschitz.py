"""Robust conformal prediction with a network of known Lipschitz constant: one forward pass, and no sampling."""

import math

import numpy as np

from ..lipschitz.certificates import check_radius, check_scale
from .split import SplitConformal


class LipschitzConformal(SplitConformal):
    """Sets that an attack within the radius cannot make miss more often, by the Lipschitz constant of the network.

    Calibration is that of `SplitConformal`; the threshold is then lowered by what an attack can take from any score,
    the score's own constant times L times the radius. At test time nothing else differs: one pass, one comparison.

    Parameters
    ----------
    score : orthobench.conformal.Score
        One that is continuous: `LAC`, `Margin` or `MaxRatio`. `Margin`, or LAC without `bounded`, give the smallest
        sets; the bounded forms can't make use of how steep a sigmoid is where the score is.
    alpha : float
        Strictly between 0 and 1.
    radius : float
        Of the attack, in the Euclidean norm and in the units of the inputs, at least 0.
    lipschitz_constant : float
        L > 0, an upper bound, of the network as a function of what it is given after a normalisation.
    bound : {"joint", "per_output"}
        Whether L bounds the network as a whole, or each logit on its own.
    input_scale : float or sequence of float
        What the model multiplies its inputs by before L counts, > 0: 1/std of a normalisation. Of several, one for
        each channel, the largest counts.
    rounding : float, optional
        A bound on the error of a score as computed, at least 0. The threshold is lowered by twice as much: for the
        clean input's and the attacked one's. By default calibration scores are lowered by what rounding may do to them,
        16 eps (4 of a half precision) of the largest logit and of what an attack may add to it: an allowance, no proof.
    batch_size : int
        As of `Predictor`.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these, or the score isn't continuous.

    Notes
    -----
    lip-rcp: Massena et al., "Efficient robust conformal prediction via Lipschitz-bounded networks", ICML 2025. With the
    logit as score ("sigmoid") the set is {y: f_y(x) + L r >= the k-th smallest true-class logit}, whatever temperature
    and bias the paper's score has.
    """

    def __init__(
        self,
        score,
        alpha,
        radius,
        *,
        lipschitz_constant=1.0,
        bound="joint",
        input_scale=1.0,
        rounding=None,
        batch_size=1024,
    ):
        super().__init__(score, alpha, batch_size=batch_size)
        check_radius(radius)
        if rounding is not None and not 0 <= rounding < math.inf:
            raise ValueError(f"rounding must be a finite number >= 0, got {rounding!r}; 0 claims exact scores.")
        self.radius, self.lipschitz_constant = float(radius), float(lipschitz_constant)
        self.bound, self.input_scale, self.rounding = bound, check_scale(input_scale), rounding
        slope = self.score.lipschitz(lipschitz_constant, bound) * self.input_scale
        self.inflation = slope * self.radius + 2 * (rounding or 0.0)
        self._reach = self.lipschitz_constant * self.input_scale * self.radius

    def _rounding(self, logits):
        return super()._rounding(logits) * (self.rounding is None)

    def _threshold(self, scores):
        threshold = super()._threshold(scores)
        # Rounded down, so that no score is lost to the subtraction.
        return float(np.nextafter(threshold - self.inflation, -math.inf)) if self.inflation else threshold
