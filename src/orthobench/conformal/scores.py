"""Conformity scores of classes: functions of the logits, high where a class conforms to the input.

Each is at hand in a form that doesn't saturate: a score that is close to 1 for most inputs in float32 says nothing of
how far they are from another class, and an unbounded function of it that ranks the same keeps that.
"""

import math
from abc import ABC, abstractmethod
from numbers import Integral, Real

import numpy as np
import torch

from ..lipschitz.certificates import check_positive

BOUNDS = ("joint", "per_output")
LINKS = ("softmax", "sigmoid")

# How much an L-Lipschitz network may change a difference of two logits, in L: jointly, or with each output on its own.
DIFFERENCE = {"joint": math.sqrt(2), "per_output": 2.0}
_HALVES = (torch.float16, torch.bfloat16)
# Less than any probability that counts, and far from where float64 ends.
_NOTHING = 1e-300


def check_logits(logits):
    """Return logits (N, C) in float32 or float64, half precision widened.

    Raises
    ------
    TypeError, ValueError
        If they aren't a floating-point tensor (N, C) with C >= 2, or hold NaN or infinity.
    """
    if not isinstance(logits, torch.Tensor) or not logits.is_floating_point():
        got = logits.dtype if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise TypeError(f"logits must be a floating-point tensor (N, C), got {got}; convert them by .float().")
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ValueError(
            f"logits must have shape (N, C) with C >= 2, got {tuple(logits.shape)}; one class leaves nothing to choose."
        )
    if not logits.isfinite().all():
        bad = int((~logits.isfinite()).any(1).nonzero()[0])
        raise ValueError(
            f"logits must be finite, got NaN or infinity for example {bad}; repair the model, or evaluate it in a "
            "wider type."
        )
    return logits.float() if logits.dtype in _HALVES else logits


def log_probabilities(probabilities):
    """Return logits of probabilities, whose softmax they are: their logarithms.

    As the model of a predictor whose inputs are probabilities, as another library returns them.

    Parameters
    ----------
    probabilities : Tensor or array (N, C)
        At least 0; each row sums to 1, up to 0.001.

    Returns
    -------
    Tensor (N, C)
        Finite: 0 counts as the smallest positive normal number of the type.

    Raises
    ------
    TypeError, ValueError
        If they aren't such.

    Examples
    --------
    >>> import torch
    >>> from orthobench.conformal import SplitConformal
    >>> probabilities = torch.rand(100, 3, generator=torch.Generator().manual_seed(0)).softmax(1)
    >>> predictor = SplitConformal("softmax", 0.1).calibrate(log_probabilities, probabilities, torch.arange(100) % 3)
    >>> predictor.predict_sets(probabilities[:2]).shape
    torch.Size([2, 3])
    """
    if not isinstance(probabilities, torch.Tensor):
        probabilities = torch.as_tensor(np.array(probabilities))
    check_logits(probabilities)
    wrong = (probabilities < 0).any(1) | ((probabilities.sum(1) - 1).abs() > 1e-3)
    if wrong.any():
        raise ValueError(
            "probabilities must be at least 0 and sum to 1 in each row, got "
            f"{probabilities[wrong][0].tolist()}; of logits leave log_probabilities out."
        )
    return probabilities.clamp(min=torch.finfo(probabilities.dtype).tiny).log()


class Score(ABC):
    """A conformity score: ``score(logits)`` maps logits (N, C) to scores (N, C), differentiable almost everywhere.

    Attributes
    ----------
    randomised : bool
        Whether it draws a number for each input and class: from ``generator``, or else torch's own.
    rises_with : {"differences", "logit", None}
        What each class's score is a non-decreasing function of, by `of_bounds`: the differences of its logit to the
        others, or its own logit alone; None if of neither.
    """

    randomised = False
    rises_with = None

    def __call__(self, logits, generator=None):
        """Return the scores of logits.

        Parameters
        ----------
        logits : Tensor (N, C)
            C >= 2, finite, of any floating-point type.
        generator : torch.Generator, optional
            Of a randomised score.

        Returns
        -------
        Tensor (N, C)
            In float32 or float64.

        Raises
        ------
        TypeError, ValueError
            If the logits aren't such.
        """
        return self._scores(check_logits(logits), generator)

    @abstractmethod
    def _scores(self, logits, generator):
        """Return the scores of checked logits."""

    def lowered(self, scores, error):
        """Return the least that scores may be if each difference of two logits is wrong by an error.

        Parameters
        ----------
        scores : Tensor (N, C)
            As they were computed.
        error : Tensor (N, 1)
            At least 0, in units of the logits.

        Returns
        -------
        Tensor (N, C)
        """
        return scores - error

    def bounds(self, classes):
        """Return the least and the largest value, of `classes` classes: (low, high), infinite if there is none."""
        return -math.inf, math.inf

    def of_bounds(self, bounds):
        """Return the score for bounds of what it rises with: a bound of the score from the same side.

        Parameters
        ----------
        bounds : Tensor (..., C) or (...)
            Of f_y - f_k for each class k, with infinity for y itself; or, if the score rises with its logit alone, of
            f_y, without the last axis.

        Returns
        -------
        Tensor (...)

        Raises
        ------
        ValueError
            If the score rises with neither.
        """
        raise ValueError(
            f"{type(self).__name__} doesn't rise with its logit where the others fall, so that bounds of logits don't "
            "bound it; take LAC, Margin or MaxRatio."
        )

    def lipschitz(self, lipschitz_constant=1.0, bound="joint"):
        """Return the Lipschitz constant of the score, as a function of the input, that no smaller one can replace.

        Parameters
        ----------
        lipschitz_constant : float
            L > 0, of the network, in the Euclidean norm.
        bound : {"joint", "per_output"}
            Whether L bounds the network as a whole, or each logit on its own.

        Returns
        -------
        float

        Raises
        ------
        TypeError, ValueError
            If the arguments are none of these, or the score is not continuous.
        """
        check_positive("lipschitz_constant", lipschitz_constant, "it is what an upper bound returned")
        if bound not in BOUNDS:
            raise ValueError(f"bound must be one of {', '.join(map(repr, BOUNDS))}, got {bound!r}.")
        return self._slope(bound) * float(lipschitz_constant)

    def _slope(self, bound):
        raise ValueError(
            f"{type(self).__name__} is not continuous in the logits, so that no Lipschitz constant bounds it; take "
            "LAC, Margin or MaxRatio."
        )

    def __repr__(self):
        options = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({options})"


class LAC(Score):
    """The least ambiguous set-valued classifier's score: the probability of the class.

    Parameters
    ----------
    link : {"softmax", "sigmoid"}
        How logits f become probabilities: softmax(f / T)_y, or sigmoid((f_y - b) / T).
    temperature, bias : float
        T > 0 and b. With "sigmoid" the sets depend on neither, unless `bounded`; with "softmax" there is no bias.
    bounded : bool
        Whether the score is the probability p itself, in [0, 1] and in float64, or what ranks like it without
        saturating: f_y ("sigmoid"), or T log(p / (1 - p)) = f_y - T log sum over k != y of exp(f_k / T) ("softmax").

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these.

    Notes
    -----
    Sadinle, Lei and Wasserman, "Least ambiguous set-valued classifiers with bounded error levels", JASA 2019. Constants
    for an L-Lipschitz network, jointly (each output on its own): L (L) for the logit, sqrt(2) L (2 L) for the
    log-odds, L / (4 T) for the sigmoid, sqrt(2) L / (4 T) (L / (2 T)) for the softmax.
    """

    def __init__(self, link="softmax", *, temperature=1.0, bias=0.0, bounded=False):
        if link not in LINKS:
            raise ValueError(f"link must be one of {', '.join(map(repr, LINKS))}, got {link!r}.")
        check_positive("temperature", temperature, "1 is the default")
        if not isinstance(bias, Real) or not math.isfinite(bias):
            raise ValueError(f"bias must be a finite number, got {bias!r}; 0 is the default.")
        if link == "softmax" and bias:
            raise ValueError(f"bias is for link='sigmoid' alone, got {bias!r}: softmax doesn't change with it.")
        self.link, self.temperature, self.bias, self.bounded = link, float(temperature), float(bias), bool(bounded)

    @property
    def rises_with(self):
        return "logit" if self.link == "sigmoid" else "differences"

    def _scores(self, logits, generator):
        if self.bounded:
            scaled = (logits.double() - self.bias) / self.temperature
            return scaled.softmax(1) if self.link == "softmax" else scaled.sigmoid()
        return logits if self.link == "sigmoid" else self.temperature * log_odds(logits / self.temperature)

    def lowered(self, scores, error):
        if not self.bounded:
            return scores - error
        # sigmoid(logit(p) - e), also where p is 0 or 1.
        kept = scores * (-error.double() / self.temperature).clamp(min=-700).exp()
        return kept.div_((1 - scores).add_(kept))

    def bounds(self, classes):
        return (0.0, 1.0) if self.bounded else super().bounds(classes)

    def of_bounds(self, bounds):
        if self.link == "sigmoid":
            return ((bounds.double() - self.bias) / self.temperature).sigmoid() if self.bounded else bounds
        odds = -(bounds / -self.temperature).logsumexp(-1)
        return odds.double().sigmoid() if self.bounded else self.temperature * odds

    def _slope(self, bound):
        difference = 1.0 if self.link == "sigmoid" else DIFFERENCE[bound]
        return difference / (4 * self.temperature) if self.bounded else difference


class Margin(Score):
    """By how much the logit exceeds all others: f_y - max over k != y of f_k. Its constant is sqrt(2) L, or 2 L."""

    rises_with = "differences"

    def _scores(self, logits, generator):
        top = logits.topk(2)
        first, second = top.values[:, :1], top.values[:, 1:]
        return (logits - first).scatter(1, top.indices[:, :1], first - second)

    def of_bounds(self, bounds):
        return bounds.amin(-1)

    def _slope(self, bound):
        return DIFFERENCE[bound]


class MaxRatio(Score):
    """The probability of the class as a share of the largest one: exp(f_y - max over k of f_k).

    Parameters
    ----------
    bounded : bool
        Whether the score is the share itself, in [0, 1] and in float64, or its logarithm. The constant of both is
        sqrt(2) L, or 2 L for a bound of each output.
    """

    rises_with = "differences"

    def __init__(self, *, bounded=False):
        self.bounded = bool(bounded)

    def _scores(self, logits, generator):
        logits = logits.double() if self.bounded else logits
        logarithms = logits - logits.amax(1, keepdim=True)
        return logarithms.exp() if self.bounded else logarithms

    def lowered(self, scores, error):
        return scores * (-error.double()).exp() if self.bounded else scores - error

    def of_bounds(self, bounds):
        logarithms = bounds.amin(-1).clamp(max=0)
        return logarithms.double().exp() if self.bounded else logarithms

    def bounds(self, classes):
        return (0.0, 1.0) if self.bounded else (-math.inf, 0.0)

    def _slope(self, bound):
        return DIFFERENCE[bound]


class APS(Score):
    """Adaptive prediction sets: 1 - (sum of the larger probabilities + u times its own), u uniform in [0, 1].

    Parameters
    ----------
    randomised : bool
        Whether u is drawn, for each input and class, or is 1: then sets are larger, and cover too often.
    temperature : float
        > 0, by which logits are divided before the softmax.

    Notes
    -----
    Romano, Sesia and Candes, "Classification with valid and adaptive coverage", NeurIPS 2020. Equal probabilities do
    not count as larger. In float64. Where nothing is left, classes of larger probability score higher still, by less
    than any number that is: without u, logits that are all but one-hot would otherwise give all classes a score of 0,
    and each a place in every set.
    """

    def __init__(self, *, randomised=True, temperature=1.0):
        check_positive("temperature", temperature, "1 is the default")
        self.randomised, self.temperature = bool(randomised), float(temperature)

    def _scores(self, logits, generator):
        own = (logits.double() / self.temperature).softmax(1)
        classes = own.shape[1]
        ascending = own.sort(dim=1).values
        # Sums of what isn't larger, the class itself aside: not 1 less what is, which cancels.
        up_to = torch.searchsorted(ascending.detach(), own.detach(), right=True)
        sums = torch.cat([torch.zeros_like(ascending[:, :1]), ascending.cumsum(1)], dim=1)
        left = sums.gather(1, up_to - 1)
        if self.randomised:
            left = torch.addcmul(left, 1 - self._uniform(own, generator), own)
        floor = up_to.to(own.dtype).mul_(_NOTHING / classes)
        return torch.maximum(left, floor).clamp_(max=1) - self._penalty(up_to, classes)

    def _penalty(self, up_to, classes):
        """Return what is subtracted for the number (N, C) of classes with no larger probability."""
        return 0.0

    def _uniform(self, like, generator):
        # Drawn on the generator's device: a generator of the CPU serves every device.
        device = like.device if generator is None else generator.device
        return torch.rand(like.shape, generator=generator, dtype=like.dtype, device=device).to(like.device)

    def lowered(self, scores, error):
        # Of a sum of probabilities the odds change by a factor of exp(error).
        lowered = scores + scores.abs() * (-error.double() / self.temperature).expm1()
        return torch.where(scores.abs() > _NOTHING, lowered, scores)

    def bounds(self, classes):
        return 0.0, 1.0


class RAPS(APS):
    """Regularised adaptive prediction sets: APS less a penalty of each rank beyond one.

    Parameters
    ----------
    penalty : float
        lambda >= 0: subtracted for each place that the class's rank, 1 for the most probable, exceeds `free_ranks` by.
    free_ranks : int
        k_reg >= 0.
    randomised, temperature
        As of `APS`.

    Notes
    -----
    Angelopoulos, Bates, Jordan and Malik, "Uncertainty sets for image classifiers using conformal prediction", ICLR
    2021.
    """

    def __init__(self, *, penalty=0.01, free_ranks=5, randomised=True, temperature=1.0):
        super().__init__(randomised=randomised, temperature=temperature)
        if not isinstance(penalty, Real) or not 0 <= penalty < math.inf:
            raise ValueError(f"penalty must be a finite number >= 0, got {penalty!r}; 0.01 is the default.")
        if not isinstance(free_ranks, Integral) or free_ranks < 0:
            raise ValueError(f"free_ranks must be an integer >= 0, got {free_ranks!r}; 5 is the default.")
        self.penalty, self.free_ranks = float(penalty), int(free_ranks)

    def _penalty(self, up_to, classes):
        return self.penalty * (classes - up_to + 1 - self.free_ranks).clamp(min=0).double()

    def bounds(self, classes):
        return -self.penalty * max(0, classes - self.free_ranks), 1.0


# By name, for predictors and solvers.
SCORES = {
    "softmax": LAC(),
    "sigmoid": LAC("sigmoid"),
    "margin": Margin(),
    "max_ratio": MaxRatio(),
    "probability": LAC(bounded=True),
    "aps": APS(),
    "raps": RAPS(),
}


def as_score(score):
    """Return a `Score`: itself, the one of a name, or one of a class with its defaults; raise for anything else."""
    if isinstance(score, str) and score in SCORES:
        return SCORES[score]
    if isinstance(score, type) and issubclass(score, Score):
        return score()
    if not isinstance(score, Score):
        kind = ValueError if isinstance(score, str) else TypeError
        raise kind(f"score must be a Score or one of {', '.join(map(repr, SCORES))}, got {score!r}.")
    return score


def log_odds(logits):
    """Return log(p / (1 - p)) of the probabilities p = softmax(f): f_y - log sum over k != y of exp(f_k).

    To the last digits, where 1 - p would round to 0: the sum over the others is computed as one for the most probable
    class, and as the whole less at most half of it for each other class.

    Parameters
    ----------
    logits : Tensor (N, C)
        C >= 2.

    Returns
    -------
    Tensor (N, C)
    """
    top = logits.argmax(1, keepdim=True)
    largest = logits.gather(1, top)
    others = logits.scatter(1, top, -math.inf).logsumexp(1, keepdim=True)
    total = torch.logaddexp(largest, others)
    logarithms = logits - total
    # A class that isn't the most probable has p <= 1/2; the place of the most probable one is filled below.
    shares = logarithms.exp().clamp(max=0.5)
    return (logarithms - torch.log1p(-shares)).scatter(1, top, largest - others)
