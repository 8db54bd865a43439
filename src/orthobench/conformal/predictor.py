"""What a conformal predictor is: calibrated on examples, it maps images to sets of classes, and states its claim."""

import copy
import inspect
import math
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
import torch

from ..lipschitz.bounds.jacobian import evaluating
from ..lipschitz.certificates import check_radius
from .quantile import at_least, check_alpha, conformal_threshold, least_count, of_classes
from .scores import as_score, check_logits

NORMS = ("l2", "linf")
_EXAMPLES_AT_ONCE = 256
KINDS = ("worst_case", "marginal", "random_noise", "none")
# How many eps of the largest logit two differences of logits, at a calibration example and at the same one attacked,
# are taken to be wrong by together: an allowance. Networks of up to 17 layers are wrong by 12, and, as sums of
# half-precision numbers are rounded once, by 4.
_ROUNDING_UNITS = {torch.float64: 16, torch.float32: 16, torch.float16: 4, torch.bfloat16: 4}
# The most noise samples that a warning recommends.
_MOST_SAMPLES = 2**14


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

    Calibration scores are lowered by what rounding may have added to them, 16 eps of an example's largest logit (4 of a
    half precision): an allowance, no proof. So an example that is tied with the threshold stays in its set. In half
    precision it makes sets larger, and less would not do: the layers round a score by as much. Give ``model.float()``
    where that is too much: the same weights, and the allowance of float32.

    Parameters
    ----------
    score : orthobench.conformal.Score or str
        Maps logits (N, C) to conformity scores (N, C): a score, its class, or one of the names "softmax", "sigmoid",
        "margin", "max_ratio", "probability", "aps" and "raps".
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
    threshold : float or Tensor (K,)
        Of the calibration; None before it. Of a class-conditional one, those of the first K classes: others had no
        example, and are always kept.
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
        self.score, self.alpha, self.radius = as_score(score), check_alpha(alpha), float(radius)
        self.batch_size = check_count("batch_size", batch_size)
        self.model = self.threshold = self.points = self._calibration = None

    @property
    def claim(self):
        """The `Claim` of this predictor: by default one for the worst case within the radius."""
        return Claim(self.alpha, self.radius, self.norm)

    @property
    def forward_passes_per_input(self):
        """Forward passes of the model (or passes of that cost) that the set of one input takes."""
        return 1.0

    # --- calibration

    def calibrate(self, model, x, y, *, class_conditional=False, generator=None):
        """Choose the threshold by examples that neither training nor evaluation has seen.

        Parameters
        ----------
        model : torch.nn.Module or callable
            Maps inputs (b, ...) to logits (b, C). A module is evaluated in eval mode (restored afterwards).
        x : Tensor, array or list (n, ...)
            Inputs, floating-point, in the units of the radius. They are taken in the type of the model's parameters.
        y : Tensor, array or list (n,)
            Integers in 0..C - 1.
        class_conditional : bool
            Whether each class gets a threshold of its own, from the examples of that class: then the claim holds for
            the inputs of each class, too (Vovk, "Conditional validity of inductive conformal predictors", ACML 2012:
            a Mondrian predictor). It takes as many examples of each.
        generator : torch.Generator or int, optional
            Of what is random in scores or predictor, or its seed; by default torch's own.

        Returns
        -------
        Predictor
            Itself.

        Raises
        ------
        TypeError, ValueError
            If inputs, labels or logits don't fit or aren't finite.

        Warns
        -----
        UserWarning
            If there are too few examples for sets that aren't full; it says how many would do.
        """
        self.attach(model)
        x, y = _as_tensor("inputs", x), _as_tensor("labels", y)
        generator = as_generator(generator, x.device)
        x, y = self._fit(x, y, generator)
        scores = self.calibration_scores(x, y, generator=generator)
        return self.calibrate_scores(scores, y.to(scores.device) if class_conditional else None)

    def attach(self, model):
        """Take a model and forget what was calibrated; return the predictor. It is what `calibrate` begins with."""
        self.model, self.threshold, self.points, self._calibration = check_model(model), None, None, None
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
        x, y = self._examples(x, y)
        generator, self.points = as_generator(generator, x.device), len(x)
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

    def calibrate_scores(self, scores, labels=None):
        """Choose the threshold by calibration scores (n,) of the true classes; return itself.

        With their labels (n,), integers from 0, one for each class.
        """
        self.points, self._calibration = len(scores), (scores, labels)
        self.threshold = self._thresholds(self)
        self._warn_of_few_points()
        return self

    # --- prediction

    def predict_sets(self, x, *, alphas=None, allow_empty=True, generator=None):
        """Return which classes are in the sets of inputs.

        Parameters
        ----------
        x : Tensor, array or list (N, ...)
            Inputs, in the units of the radius.
        alphas : sequence of float, optional
            A levels in place of the predictor's own: sets for all of them by one pass, from the same calibration. Each
            claim holds by itself.
        allow_empty : bool
            Whether a set may hold no class, as confident ones do where alpha exceeds the network's error. If not, such
            a set gets the class with the highest score.
        generator : torch.Generator or int, optional
            As of `calibrate`.

        Returns
        -------
        Tensor (N, C) of bool
            On the device of the inputs; (A, N, C) with `alphas`.

        Raises
        ------
        RuntimeError
            Before calibration.
        TypeError, ValueError
            If inputs or logits don't fit or aren't finite, or there is no threshold for one of the alphas.

        Warns
        -----
        UserWarning
            If all sets are full as noise samples are too few; it says how many would do.
        """
        self._check_calibrated()
        x, _ = self._examples(x)
        generator = as_generator(generator, x.device)
        thresholds = [self.threshold] if alphas is None else [self._thresholds(self._at(each)) for each in alphas]
        sets = None
        with evaluating(self.model):
            for start in range(0, max(len(x), 1), self.batch_size):
                scores = self._prediction_scores(x[start : start + self.batch_size], generator)
                if sets is None:
                    sets = torch.empty(len(thresholds), len(x), scores.shape[1], dtype=torch.bool, device=scores.device)
                for found, threshold in zip(sets[:, start : start + self.batch_size], thresholds, strict=True):
                    found[:] = at_least(scores, threshold)
                    if not allow_empty:
                        top = scores.argmax(1, keepdim=True)
                        found.scatter_(1, top, found.gather(1, top) | ~found.any(1, keepdim=True))
        self._warn_of_few_samples(sets.shape[2])
        return sets[0] if alphas is None else sets

    def prediction_scores(self, x, *, generator=None):
        """Return the scores (N, C) that `predict_sets` compares with the threshold.

        Parameters
        ----------
        x, generator
            As of `predict_sets`.
        """
        self._check_model()
        x, _ = self._examples(x)
        generator = as_generator(generator, x.device)
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
        x, y = self._examples(x, y)
        with evaluating(self.model), torch.enable_grad():
            return self._excess(self._true_class_scores(x, y, as_generator(generator, x.device)), y)

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
        return conformal_threshold(scores, self._level) if self._level else -math.inf

    @property
    def _level(self):
        """The alpha whose rank the threshold has: what corrections leave of the claim's; 0 if nothing."""
        return self.alpha

    def _fit(self, x, y, generator):
        """Fit what is fitted to a part of the examples; return those that are left to calibrate with."""
        return x, y

    def _too_few_samples(self, classes):
        """Whether sets of so many classes are full whatever the input, as there are too few noise samples."""
        return False

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

    # --- thresholds

    def _at(self, alpha):
        """Return a copy with another alpha."""
        other = copy.copy(self)
        other.alpha = check_alpha(alpha)
        return other

    def _thresholds(self, predictor):
        """Return the threshold, or those of the classes, that a copy of this predictor takes from its calibration."""
        scores, labels = self._calibration
        if labels is None:
            return predictor._threshold(scores)
        classes = int(labels.max()) + 1 if len(labels) else 0
        found = [predictor._threshold(scores[labels == each]) for each in range(classes)]
        return torch.tensor(found, dtype=torch.float64)

    def _excess(self, scores, y):
        """Return by how much scores (N,) of labels exceed the threshold, which counts as 0 before calibration."""
        if not isinstance(self.threshold, torch.Tensor):
            return scores - (self.threshold or 0.0)
        classes = max(len(self.threshold), int(y.max()) + 1 if len(y) else 0)
        return scores - of_classes(self.threshold, classes).to(scores.device)[y]

    def _warn_of_few_points(self):
        scores, labels = self._calibration
        counts = [len(scores)] if labels is None else torch.bincount(labels).tolist()
        least = least_count(self._level) if self._level else math.inf
        few = [each for each, count in enumerate(counts) if count < least]
        if not few:
            return
        whose = "sets are full" if labels is None else f"classes {few} are in every set"
        got = " and ".join(str(counts[each]) for each in few[:3]) + (", ..." if len(few) > 3 else "")
        remedy = f"{least} would do" if self._level else "no number would do, but a smaller radius or a larger sigma"
        warnings.warn(
            f"{whose}: {got} calibration examples are too few for alpha={self.alpha:g}; {remedy}.", stacklevel=3
        )

    def _warn_of_few_samples(self, classes):
        if not self._too_few_samples(classes):
            return
        other, few, enough = copy.copy(self), self.samples, None
        while other.samples < _MOST_SAMPLES and enough is None:
            few, other.samples = other.samples, 2 * other.samples
            other.threshold = self._thresholds(other)
            enough = None if other._too_few_samples(classes) else other.samples
        while enough is not None and enough - few > 1:
            other.samples = (few + enough) // 2
            other.threshold = self._thresholds(other)
            few, enough = (other.samples, enough) if other._too_few_samples(classes) else (few, other.samples)
        remedy = f"{enough} would do" if enough else f"{_MOST_SAMPLES} would be, too: take a smaller radius"
        warnings.warn(
            f"all sets are full: {self.samples} samples of the noise are too few for alpha={self.alpha:g}; {remedy}.",
            stacklevel=3,
        )

    def _options(self):
        """Return the arguments that the predictor was made with."""
        names = inspect.signature(type(self)).parameters
        return {name: getattr(self, name) for name in names if hasattr(self, name)}

    def __repr__(self):
        options = ", ".join(f"{name}={value!r}" for name, value in self._options().items())
        state = "not calibrated" if self.threshold is None else f"calibrated on {self.points} examples"
        return f"{type(self).__name__}({options}), {state}"

    # --- checks

    def _examples(self, x, y=None):
        """Return inputs and labels, checked, the inputs in the one floating-point type of the model's parameters."""
        x, y = check_examples(x, y)
        if isinstance(self.model, torch.nn.Module):
            types = {each.dtype for each in self.model.parameters() if each.is_floating_point()}
            x = x.to(*types) if len(types) == 1 else x
        return x, y

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


def check_model(model):
    """Return a model; raise TypeError unless it can be called, or for a class in place of a module."""
    if isinstance(model, type) or not callable(model):
        got = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
        raise TypeError(f"model must be a module or a function that maps inputs to logits, got {got}.")
    return model


def check_examples(x, y=None):
    """Return inputs, and labels as int64 on their device; raise TypeError or ValueError unless both fit."""
    x, y = _as_tensor("inputs", x), y if y is None else _as_tensor("labels", y)
    if not x.is_floating_point() or x.ndim < 2:
        raise TypeError(
            f"inputs must be floating-point and (N, ...), got {x.dtype} {tuple(x.shape)}; convert them by .float()."
        )
    # In parts: the test makes several tensors of the size of what it looks at.
    if not all(some.isfinite().all() for some in x.split(_EXAMPLES_AT_ONCE)):
        raise ValueError("inputs must be finite, got NaN or infinity; leave those examples out.")
    if y is None:
        return x, None
    if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        raise TypeError(f"labels must be a tensor of an integer type, got {y.dtype}; convert them by .long().")
    if y.shape != x.shape[:1]:
        raise ValueError(f"labels must have shape ({len(x)},), one for each input, got {tuple(y.shape)}.")
    return x, y.to(x.device, torch.int64)


def _as_tensor(name, values):
    """Return a tensor of a tensor, an array or a list of numbers."""
    if isinstance(values, torch.Tensor):
        return values
    try:
        return torch.from_numpy(np.array(values, order="C"))
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{name} must be a tensor, an array or a list of numbers, got {type(values).__name__}: {error}"
        ) from None


def as_generator(generator, device):
    """Return a generator: itself, None, or on a device one that starts from an integer."""
    if generator is None or isinstance(generator, torch.Generator):
        return generator
    if not isinstance(generator, Integral) or isinstance(generator, bool):
        raise TypeError(f"generator must be a torch.Generator or a seed, got {generator!r}; None is torch's own.")
    return torch.Generator(device).manual_seed(int(generator))


def check_count(name, value, least=1):
    """Return an integer of at least `least`; raise TypeError or ValueError for anything else."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer of at least {least}, got {value!r} ({type(value).__name__}).")
    if value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}.")
    return int(value)


def check_share(name, value):
    """Return a number strictly between 0 and 1; raise TypeError or ValueError for anything else."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number strictly between 0 and 1, got {value!r} ({type(value).__name__}).")
    if not 0 < value < 1 or not math.isfinite(value):
        raise ValueError(f"{name} must be strictly between 0 and 1, got {value!r}.")
    return float(value)
