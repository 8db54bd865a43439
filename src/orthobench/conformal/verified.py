"""Robust conformal prediction with bounds of a ReLU network's logits: VRCP-I at inference, VRCP-C at calibration."""

from abc import abstractmethod

import numpy as np
import torch

from ..lipschitz.bounds.jacobian import dtype_and_device
from .predictor import NORMS, Predictor, check_model, rounding_share, true_scores
from .verification import BoundedNetwork

ROWS = ("margins", "logits")
_NUMBERS_AT_ONCE = 2**22


class VerifiedConformal(Predictor):
    """What both methods share: bounds of the scores over the ball around each input.

    Parameters
    ----------
    score : orthobench.conformal.Score
        One that rises with a class's logit where the others fall: `LAC`, `Margin` or `MaxRatio`.
    alpha : float
        Strictly between 0 and 1.
    radius : float
        Of the attack, at least 0.
    input_shape : sequence of int
        Of an input, without the batch axis.
    norm : {"l2", "linf"}
        Of the attack.
    method : {"crown", "interval", "crown_interval"}
        As of `orthobench.conformal.verification.BoundedNetwork`, which says what networks may be made of.
    rows : {"margins", "logits"}
        What is bounded: the differences of each two logits, which is tighter, or each logit, as in the paper.
    batch_size : int
        As of `Predictor`.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these; at calibration, if the network has a layer that no bounds are known of.

    Notes
    -----
    Jeary, Kuipers, Hosseini and Paoletti, "Verifiably robust conformal prediction", NeurIPS 2024.
    """

    def __init__(self, score, alpha, radius, input_shape, *, norm="l2", method="crown", rows="margins", batch_size=256):
        super().__init__(score, alpha, radius, batch_size=batch_size)
        for name, value, allowed in (("norm", norm, NORMS), ("rows", rows, ROWS)):
            if value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}.")
        if self.score.rises_with is None:
            self.score.of_bounds(None)  # raises, and says why
        self.input_shape = tuple(np.atleast_1d(input_shape).tolist())
        self.norm, self.method, self.rows = norm, method, rows
        self._bounded = None

    def attach(self, model):
        check_model(model)
        # A little larger, so that rounding doesn't make the bounds miss what is reached at the radius itself.
        radius = self.radius * (1 + rounding_share(dtype_and_device(model)[0]))
        self._bounded = BoundedNetwork(model, self.input_shape, radius, self.norm, self.method)
        return super().attach(model)

    @property
    @abstractmethod
    def _side(self):
        """+1 if scores are bounded from above, -1 if from below."""

    def _bounds(self, x, y=None):
        """Return bounds of the scores: (b, C), or those of labels alone, (b,)."""
        classes, boxes = self._classes(), self._bounded.boxes(x)
        if self.score.rises_with == "logit":
            return self.score.of_bounds(self._logit_bounds(x, y, classes, self._side, boxes))
        logits = None
        if self.rows == "logits":
            logits = [self._logit_bounds(x, None, classes, side, boxes) for side in (self._side, -self._side)]
        every = torch.arange(classes, device=x.device)[None]
        # Differences to all others of so many classes at once: what bounds the memory.
        size = max(1, _NUMBERS_AT_ONCE // (classes * max(1, len(x))))
        blocks = every.split(size, dim=1) if y is None else [y[:, None]]
        scores = []
        for labels in blocks:
            if logits is None:
                differences = self._margin_bounds(x, labels, classes, boxes)
            else:
                differences = logits[0].gather(1, labels.expand(len(x), -1))[:, :, None] - logits[1][:, None, :]
            own = labels[:, :, None].expand(*differences.shape[:2], 1)
            scores.append(self.score.of_bounds(differences.scatter(2, own, torch.inf)))
        return torch.cat(scores, dim=1) if y is None else scores[0].squeeze(1)

    def _margin_bounds(self, x, labels, classes, boxes):
        """Return bounds (b, k, C) of f_y - f_k for labels y (b or 1, k) and each class k."""

        def rows_of(some):
            pairs = torch.arange(some.start, some.stop, device=x.device)
            own, other = labels[:, pairs // classes, None], (pairs % classes)[None, :, None].expand(len(labels), -1, 1)
            rows = x.new_zeros(len(labels), len(pairs), classes)
            # Of the class itself 0: what is added is taken off again.
            return rows.scatter_add_(2, own, x.new_full(own.shape, -self._side)).scatter_add_(
                2, other, x.new_full(other.shape, self._side)
            )

        found = -self._side * self._bounded.lower_bounds_of(x, rows_of, labels.shape[1] * classes, boxes)
        return found.view(len(x), -1, classes)

    def _logit_bounds(self, x, y, classes, side, boxes):
        """Return bounds (b, C) of the logits, or (b,) of the labels' alone."""
        rows = torch.eye(classes, device=x.device)
        rows = rows if y is None else rows[y][:, None]
        found = side * -self._bounded.lower_bounds(x, -side * rows, boxes)
        return found if y is None else found.squeeze(1)

    def _classes(self):
        return self._bounded.stages[-1].output_shape[0]

    def _row_count(self, labels):
        """Return how many rows bounds take, of `labels` classes of each input."""
        classes = self._classes()
        if self.score.rises_with == "logit":
            return labels
        return labels * classes if self.rows == "margins" else 2 * classes


class VRCPI(VerifiedConformal):
    """VRCP-I: calibrated on clean scores; a class is in the set if its score can reach the threshold within the ball.

    Parameters
    ----------
    score, alpha, radius, input_shape, norm, method, rows, batch_size
        As of `VerifiedConformal`.
    """

    _side = 1

    @property
    def forward_passes_per_input(self):
        """Passes of a row of coefficients through the network."""
        self._check_model()
        return self._bounded.passes_per_input(self._row_count(self._classes()))

    def _true_class_scores(self, x, y, generator):
        # The rows of the labels alone: the cost of an attack would otherwise grow with the square of the classes.
        true_scores(self._logits(x), y)  # for its checks
        return self._bounds(x, y)

    def _calibration_scores(self, x, generator, y=None):
        return true_scores(self._scores(x, generator), y)

    def _prediction_scores(self, x, generator):
        self._logits(x)  # for its checks
        return self._bounds(x)


class VRCPC(VerifiedConformal):
    """VRCP-C: calibrated on the least scores within the ball around each example; predicts in one pass.

    Parameters
    ----------
    score, alpha, radius, input_shape, norm, method, rows, batch_size
        As of `VerifiedConformal`.
    """

    _side = -1

    def _calibration_scores(self, x, generator, y=None):
        logits = self._logits(x)
        true_scores(logits, y)  # for its checks
        return self._less_rounding(self._bounds(x, y), logits)

    def _prediction_scores(self, x, generator):
        return self._scores(x, generator)
