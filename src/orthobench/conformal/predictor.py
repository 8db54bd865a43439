"""What a conformal predictor is: calibrated on examples, it maps images to sets of classes, and states its claim."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Real

import torch

from ..lipschitz.bounds.jacobian import evaluating
from ..lipschitz.certificates import check_radius
from .quantile import at_least, check_alpha, conformal_threshold
from .scores import check_logits

NORMS = ("l2", "linf")
_EXAMPLES_AT_ONCE = 256
KINDS = ("worst_case", "marginal", "random_noise", "none")
# How many eps of the largest logit two differences of logits, at a calibration example and at the same one attacked,
# are taken to be wrong by together: an allowance. Networks of up to 17 layers are wrong by 12, and, as sums of
# half-precision numbers are rounded once, by 4.
_ROUNDING_UNITS = {torch.float64: 16, torch.float32: 16, torch.float16: 4, torch.bfloat16: 4}


@dataclass(frozen=True)
class Claim:
    """What a predictor guarantees: P(Y in C(X')) >= 1 - alpha, for X' within a radius of X.

    Attributes
    ----------
    alpha : float
        Strictly between 0 and 1. The probability is over calibration and test examples, which must be exchangeable.
    radius : float
        Of the ball around X, in the units of the inputs, at least 0.
    norm : {"l2", "linf"}
        Of the ball.
    kind : {"worst_case", "marginal", "random_noise", "none"}
        For which X':

        - "worst_case": every choice of X' in the ball;
        - "marginal": every choice that doesn't depend on the noise that the predictor draws; the probability is over
          that noise, too;
        - "random_noise": an X' that is drawn at random from the ball, not chosen;
        - "none": nothing is guaranteed.

    Raises
    ------
    TypeError, ValueError
        If an attribute is none of these.
    """

    alpha: float
    radius: float
    norm: str = "l2"
    kind: str = "worst_case"

    def __post_init__(self):
        check_alpha(self.alpha)
        check_radius(self.radius)
        for name, allowed in (("norm", NORMS), ("kind", KINDS)):
            if getattr(self, name) not in allowed:
                choices = ", ".join(map(repr, allowed))
                raise ValueError(f"{name} must be one of {choices}, got {getattr(self, name)!r}.")


class Predictor(ABC):
    """A conformal predictor: a class is in the set where its score is at least the calibrated threshold.

    A subclass says what the scores are, of a batch, by ``_prediction_scores``, and, where calibration takes others, by
    ``_calibration_scores``.

    Calibration scores are lowered by what rounding may have added to them: `_rounding`, a few eps of the largest logit.
    So an input whose exact score is no less than the threshold's stays in the set, whatever the size of its batch.

    Parameters
    ----------
    score : orthobench.conformal.Score
        Maps logits (N, C) to conformity scores (N, C).
    alpha : float
        Strictly between 0 and 1: the largest share of misses.
    radius : float
        Within which changes of the input are guarded against, in the units of the inputs, at least 0.
    batch_size : int
        Inputs at once, at least 1: what bounds the memory.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these.

    Attributes
    ----------
    threshold : float
        Of the calibration; None before it.
    points : int
        Number of calibration examples, which scores may depend on; None before calibration, unless it is set.
    reusable_scores : bool
        Whether scores of inputs stay what they are when another calibration of as many examples chooses the threshold.
    transform : bool
        Whether scores are fitted to labelled examples of their own, by ``fit_transform``, before the calibration.
    """

    norm = "l2"
    reusable_scores = True
    transform = False
    # How far an attack may move a logit, for `_rounding`.
    _reach = 0.0
    _calibrating = False

    def __init__(self, score, alpha, radius=0.0, *, batch_size=1024):
        check_radius(radius)
        self.score, self.alpha, self.radius = score, check_alpha(alpha), float(radius)
        self.batch_size = check_count("batch_size", batch_size)
        self.model = self.threshold = self.points = None

    @property
    def claim(self):
        """The `Claim` of this predictor: by default one for the worst case within the radius."""
        return Claim(self.alpha, self.radius, self.norm)

    @property
    def forward_passes_per_input(self):
        """Forward passes of the model (or passes of that cost) that the set of one input takes."""
        return 1.0

    # --- calibration

    def calibrate(self, model, x, y, *, generator=None):
        """Choose the threshold by examples that neither training nor evaluation has seen.

        Parameters
        ----------
        model : torch.nn.Module or callable
            Maps inputs (b, ...) to logits (b, C). A module is evaluated in eval mode (restored afterwards).
        x : Tensor (n, ...)
            Inputs, in the units of the radius.
        y : Tensor (n,)
            Integers in 0..C - 1.
        generator : torch.Generator, optional
            Of what is random in scores or predictor; by default torch's own.

        Returns
        -------
        Predictor
            Itself.

        Raises
        ------
        TypeError, ValueError
            If inputs, labels or logits don't fit or aren't finite.
        """
        self.attach(model)
        return self.calibrate_scores(self.calibration_scores(x, y, generator=generator))

    def attach(self, model):
        """Take a model, without calibration; return the predictor. It is what `calibrate` begins with."""
        self.model = model
        return self

    def calibration_scores(self, x, y=None, *, generator=None):
        """Return the scores of examples as calibration takes them: the threshold is chosen from the true classes'.

        Parameters
        ----------
        x, generator
            As of `calibrate`.
        y : Tensor (n,), optional
            Labels: their scores alone cost less where scores are bounds. On the same generator they are those of all
            classes, up to rounding.

        Returns
        -------
        Tensor (n, C), or (n,) with labels
        """
        self._check_model()
        y = check_examples(x, y)
        self._calibrating = True
        try:
            with evaluating(self.model):
                if y is None:
                    return torch.cat([self._calibration_scores(some, generator) for some in self._batches(x)])
                parts = zip(x.split(self.batch_size), y.split(self.batch_size), strict=True)
                scores = [self._calibration_scores(some, generator, own) for some, own in parts]
        finally:
            self._calibrating = False
        return torch.cat(scores) if scores else torch.zeros(0)

    def calibrate_scores(self, scores):
        """Choose the threshold by calibration scores (n,) of the true classes; return itself."""
        self.points = len(scores)
        self.threshold = self._threshold(scores)
        return self

    # --- prediction

    def predict_sets(self, x, *, generator=None):
        """Return which classes are in the sets of inputs.

        Parameters
        ----------
        x : Tensor (N, ...)
            Inputs, in the units of the radius.
        generator : torch.Generator, optional
            As of `calibrate`.

        Returns
        -------
        Tensor (N, C) of bool
            On the device of the inputs.

        Raises
        ------
        RuntimeError
            Before calibration.
        TypeError, ValueError
            If inputs or logits don't fit or aren't finite.
        """
        self._check_calibrated()
        check_examples(x)
        sets = None
        with evaluating(self.model):
            for start in range(0, max(len(x), 1), self.batch_size):
                scores = self._prediction_scores(x[start : start + self.batch_size], generator)
                if sets is None:
                    sets = torch.empty(len(x), scores.shape[1], dtype=torch.bool, device=scores.device)
                sets[start : start + self.batch_size] = at_least(scores, self.threshold)
        return sets

    def prediction_scores(self, x, *, generator=None):
        """Return the scores (N, C) that `predict_sets` compares with the threshold.

        Parameters
        ----------
        x, generator
            As of `predict_sets`.
        """
        self._check_model()
        check_examples(x)
        with evaluating(self.model):
            return torch.cat([self._prediction_scores(some, generator) for some in self._batches(x)])

    def true_class_score(self, x, y, *, generator=None):
        """Return by how much the true classes' scores exceed the threshold: what an attack lowers.

        Parameters
        ----------
        x : Tensor (N, ...)
            Inputs, in one batch. The result is differentiable in them.
        y : Tensor (N,)
            Integers in 0..C - 1.
        generator : torch.Generator, optional
            As of `calibrate`.

        Returns
        -------
        Tensor (N,)
            At least 0 where the true class is in the set. Without calibration the threshold counts as 0.
        """
        self._check_model()
        y = check_examples(x, y)
        with evaluating(self.model), torch.enable_grad():
            scores = self._true_class_scores(x, y, generator)
            return scores if self.threshold is None else scores - self.threshold

    # --- for subclasses

    @abstractmethod
    def _prediction_scores(self, x, generator):
        """Return the scores (b, C) of a batch, float32 or float64, differentiable in x where there are gradients."""

    def _calibration_scores(self, x, generator, y=None):
        """Return the scores (b, C) of a batch at calibration, or those (b,) of labels."""
        return true_scores(self._prediction_scores(x, generator), y)

    def _true_class_scores(self, x, y, generator):
        """Return the scores (b,) of the labels at prediction, differentiable in x."""
        return true_scores(self._prediction_scores(x, generator), y)

    def _threshold(self, scores):
        """Return the threshold for calibration scores (n,)."""
        return conformal_threshold(scores, self.alpha)

    def _scores(self, x, generator):
        """Return the scores (b, C) of the model's logits, while calibrating less what rounding may have added."""
        logits = self._logits(x)
        scores = self.score(logits, generator)
        return self._less_rounding(scores, logits) if self._calibrating else scores

    def _logits(self, x):
        """Return the model's logits (b, C) of a batch, checked."""
        logits = self.model(x)
        if len(check_logits(logits)) != len(x):
            raise ValueError(
                f"the model must return a row of logits for each input, got {len(logits)} rows for {len(x)} inputs; "
                "one that groups or pools examples has no scores."
            )
        return logits

    def _less_rounding(self, scores, logits):
        """Return scores (b, C) or (b,) lowered by what rounding of the logits may have added to them."""
        error = self._rounding(logits).to(scores.dtype)
        return self.score.lowered(scores, error if scores.ndim == 2 else error.squeeze(1))

    def _rounding(self, logits):
        """Return what differences of logits (b, C), clean and attacked, may be wrong by together, (b, 1)."""
        logits = logits.detach()
        largest = torch.maximum(logits.amax(1, keepdim=True), -logits.amin(1, keepdim=True)).double()
        return rounding_share(logits.dtype) * (largest + self._reach)

    def _batches(self, x):
        return x.split(self.batch_size) if len(x) else [x]

    def _check_model(self):
        if self.model is None:
            raise RuntimeError(f"{type(self).__name__} has no model yet: call calibrate, or attach, first.")

    def _check_points(self):
        if self.points is None:
            raise RuntimeError(f"{type(self).__name__} isn't calibrated: call calibrate, or set points, first.")

    def _check_calibrated(self):
        self._check_model()
        if self.threshold is None:
            raise RuntimeError(f"{type(self).__name__} isn't calibrated: call calibrate first.")


def rounding_share(dtype):
    """Return what rounding is allowed for, as a share of the largest logit: 16 eps, or 4 of a half precision."""
    return _ROUNDING_UNITS[dtype] * torch.finfo(dtype).eps


def true_scores(scores, y=None):
    """Return the scores (N,) of labels (N,) among scores (N, C); raise ValueError for a label that is no class.

    Without labels, all of them.
    """
    if y is None:
        return scores
    classes = scores.shape[1]
    if len(y) and not 0 <= int(y.min()) <= int(y.max()) < classes:
        raise ValueError(
            f"labels must be in 0..{classes - 1} for {classes} classes, got {int(y.min())} to {int(y.max())}; "
            "number the classes from 0."
        )
    return scores.gather(1, y[:, None]).squeeze(1)


def check_examples(x, y=None):
    """Return the labels as int64 on the device of the inputs; raise TypeError or ValueError unless both fit."""
    if not isinstance(x, torch.Tensor) or not x.is_floating_point() or x.ndim < 2:
        got = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, torch.Tensor) else type(x).__name__
        raise TypeError(f"inputs must be a floating-point tensor (N, ...), got {got}; convert them by .float().")
    # In parts: the test makes several tensors of the size of what it looks at.
    if not all(some.isfinite().all() for some in x.split(_EXAMPLES_AT_ONCE)):
        raise ValueError("inputs must be finite, got NaN or infinity; leave those examples out.")
    if y is None:
        return None
    if not isinstance(y, torch.Tensor) or y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        got = y.dtype if isinstance(y, torch.Tensor) else type(y).__name__
        raise TypeError(f"labels must be a tensor of an integer type, got {got}; convert them by .long().")
    if y.shape != x.shape[:1]:
        raise ValueError(f"labels must have shape ({len(x)},), one for each input, got {tuple(y.shape)}.")
    return y.to(x.device, torch.int64)


def check_count(name, value, least=1):
    """Return an integer of at least `least`; raise TypeError or ValueError for anything else."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer of at least {least}, got {value!r} ({type(value).__name__}).")
    if value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}.")
    return value


def check_share(name, value):
    """Return a number strictly between 0 and 1; raise TypeError or ValueError for anything else."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number strictly between 0 and 1, got {value!r} ({type(value).__name__}).")
    if not 0 < value < 1 or not math.isfinite(value):
        raise ValueError(f"{name} must be strictly between 0 and 1, got {value!r}.")
    return float(value)
