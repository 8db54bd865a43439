"""Losses for Lipschitz networks: how much accuracy is given up for how much certified robustness.

A network of bounded Lipschitz constant can't enlarge its margins by scaling its outputs, so that the scale of the loss
(a temperature, a margin) decides between accuracy and robustness: Bethune et al., "Pay attention to your loss" (2022).

All take outputs (N, C) of any floating-point type, computed with in at least float32, and targets (N,), int64, and
return the mean over the batch. A margin is in units of the outputs: of the target's minus the highest other.

In a *separable* loss each example adds a term of its own (`per_example`): changing one label changes one example's
gradient only. That is what private training needs, and what makes a Lipschitz constant of the loss a bound on the
gradient of each example. Others use statistics of the batch; `make_loss` refuses those where separability is asked for.
"""

import inspect
import math
from numbers import Real

import torch
from torch import nn
from torch.nn import functional

from ..linalg.scaling import at_least_float32
from ..models.checks import check_integer

# 2 sqrt(2) times the radius 36/255: a margin at which a 1-Lipschitz network is certified at twice that radius.
HEADLINE_MARGIN = 2 * math.sqrt(2) * 36 / 255


class SeparableLoss(nn.Module):
    """Mean of terms of the examples; a subclass implements `per_example` and `lipschitz_constant`."""

    separable = True

    def forward(self, outputs, targets):
        """Return the mean over the batch.

        Parameters
        ----------
        outputs : Tensor (N, C)
        targets : Tensor (N,)
            int64, in 0..C - 1.

        Returns
        -------
        Tensor ()
            In float32, or the type of the outputs if that is wider.

        Raises
        ------
        TypeError, ValueError
            If they aren't such tensors, there is no example, or less than two classes.
        """
        return self.per_example(outputs, targets).mean()

    def per_example(self, outputs, targets):
        """Return the terms (N,) whose mean is the loss; arguments and errors are those of `forward`."""
        raise NotImplementedError

    def lipschitz_constant(self, classes=None):
        """Bound the Lipschitz constant of one example's term with respect to its outputs, in the L2 norm.

        Parameters
        ----------
        classes : int, optional
            C, at least 2; a bound for every number of classes if None.

        Returns
        -------
        float
            The least such constant unless the class says otherwise.

        Raises
        ------
        TypeError, ValueError
            If ``classes`` is no integer, or below 2.
        """
        if classes is not None:
            classes = check_integer("classes", classes, 2)
        return self._constant(classes)

    def _constant(self, classes):
        raise NotImplementedError


class CrossEntropy(SeparableLoss):
    """Cross-entropy with a temperature t and a margin m: t CE((outputs - m onehot) / t).

    As the comparison of 1-Lipschitz layers has it (Prach, Brau, Buttazzo, Lampert, CVPR 2024; the offset is that of
    Prach and Lampert, ECCV 2022). A low temperature counts only what is within the margin, a high one every example
    alike. As t vanishes it becomes `CategoricalHinge`.

    Parameters
    ----------
    temperature : float
        Positive.
    margin : float
        At least 0.
    """

    def __init__(self, temperature=0.25, margin=HEADLINE_MARGIN):
        super().__init__()
        self.temperature = check_number("temperature", temperature, 0, strict=True)
        self.margin = check_number("margin", margin, 0)

    def per_example(self, outputs, targets):
        outputs = _check_batch(outputs, targets)
        shifted = outputs - self.margin * _onehot(outputs, targets)
        return self.temperature * functional.cross_entropy(shifted / self.temperature, targets, reduction="none")

    def _constant(self, classes):
        # ||softmax - e_y||^2 = (1 - p_y)^2 + sum of the other p_k^2, which add up to 1 - p_y.
        return math.sqrt(2)


class MulticlassHinge(SeparableLoss):
    """One hinge a class: ((C - 1) relu(m/2 - o_y) + sum over k != y of relu(m/2 + o_k)) / C.

    The hinge of multi-class hKR (Serrurier et al., CVPR 2021), the target's weighted like all others together. It
    is 0 only if the target is above m/2 and all others are below -m/2.

    Parameters
    ----------
    margin : float
        m, at least 0.
    """

    def __init__(self, margin=0.5):
        super().__init__()
        self.margin = check_number("margin", margin, 0)

    def per_example(self, outputs, targets):
        return _one_hinge_a_class(_check_batch(outputs, targets), targets, self.margin)

    def _constant(self, classes):
        return _one_against_the_mean(classes)


class CategoricalHinge(SeparableLoss):
    """Hinge on the margin that is certified: relu(m - (o_y - max over k != y of o_k)) (Crammer and Singer, 2001).

    Parameters
    ----------
    margin : float
        m, at least 0.
    """

    def __init__(self, margin=HEADLINE_MARGIN):
        super().__init__()
        self.margin = check_number("margin", margin, 0)

    def per_example(self, outputs, targets):
        outputs = _check_batch(outputs, targets)
        return (self.margin - _own(outputs, targets) + _others(outputs, targets).amax(1)).relu()

    def _constant(self, classes):
        return math.sqrt(2)


class KantorovichRubinstein(SeparableLoss):
    """KR in its separable multi-class form: the mean of all C outputs minus the target's.

    That is, up to the factor (C - 1) / C, the mean of the others minus the target's: the dual form of the Wasserstein-1
    distance between each class and the rest (Serrurier et al., CVPR 2021), with equally many examples of each class
    taken for granted instead of counted in the batch, as `BalancedKR` does. It alone doesn't train a classifier:
    it is unbounded below for a network that isn't Lipschitz.
    """

    def per_example(self, outputs, targets):
        return _kr(_check_batch(outputs, targets), targets)

    def _constant(self, classes):
        return _one_against_the_mean(classes)


class HKR(SeparableLoss):
    """Hinge-regularised KR (Serrurier et al., CVPR 2021): (1 - alpha) KR + alpha `MulticlassHinge`.

    Parameters
    ----------
    alpha : float
        In [0, 1]. The weight lambda of the hinge in KR + lambda hinge is alpha / (1 - alpha).
    margin : float
        Of the hinge, at least 0.
    """

    def __init__(self, alpha=0.98, margin=0.5):
        super().__init__()
        self.alpha = check_number("alpha", alpha, 0, 1)
        self.margin = check_number("margin", margin, 0)

    def per_example(self, outputs, targets):
        outputs = _check_batch(outputs, targets)
        hinge = _one_hinge_a_class(outputs, targets, self.margin)
        return (1 - self.alpha) * _kr(outputs, targets) + self.alpha * hinge

    def _constant(self, classes):
        # Where all hinges are active their gradient is that of KR.
        return _one_against_the_mean(classes)


class SoftHKR(SeparableLoss):
    """hKR with softmax weights on the other classes: h(-o_y) + sum over k != y of w_k h(o_k).

    Here h(o) = (1 - alpha) o + alpha relu(m/2 + o), and w = softmax(t o) over the others (Serrurier, Mamalet, Fel et
    al., arXiv 2206.06854): the higher the temperature t, the more the highest of them counts. The published form
    divides t by a running mean of the outputs' absolute values, which depends on the batches (`RunningSoftHKR`); here t
    is constant.

    Parameters
    ----------
    alpha : float
        In [0, 1].
    margin : float
        m, at least 0.
    temperature : float
        t, positive.

    Notes
    -----
    Its Lipschitz constant grows with the number of classes (like log C): `lipschitz_constant` is infinite without them.
    With K = C - 1 others, and u_k = t h(o_k), which differ less than the t o_k do, the gradient of the sum is
    w h' + r, r_k = w_k (u_k - sum_j w_j u_j). Here ||w h'|| <= 1; as the r_k add up to 0,
    ||r|| <= ||r||_1 / sqrt(2) <= sqrt(Var_w(u) / 2) <= sqrt(Var_w(log w) / 2), and the variance of the
    log-probabilities of K >= 2 outcomes is at most log(K - 1)^2 / 4 + 1 (Reeb and Wolf, "Tight bound on relative
    entropy by entropy difference", 2015). This bounds the constant, and isn't the least one.
    """

    def __init__(self, alpha=0.975, margin=0.6, temperature=5.0):
        super().__init__()
        self.alpha = check_number("alpha", alpha, 0, 1)
        self.margin = check_number("margin", margin, 0)
        self.temperature = check_number("temperature", temperature, 0, strict=True)

    def per_example(self, outputs, targets):
        outputs = _check_batch(outputs, targets)
        return _soft_hkr(outputs, targets, self.alpha, self.margin, self.temperature)

    def _constant(self, classes):
        if classes is None:
            return math.inf
        variance = math.log(classes - 2) ** 2 / 4 + 1 if classes > 2 else 0
        return math.hypot(1, 1 + math.sqrt(variance / 2))


class LseHKR(SeparableLoss):
    """hKR of two numbers, the target's output and the log-sum-exp L of the others: h(-o_y) + h(L).

    Here h(o) = (1 - alpha) o + alpha relu(m/2 + o), and L = log(sum over k != y of exp(s o_k)) / s with
    s = 2 log(C - 1) / (penalty m), so that L is between the highest of the others and that plus penalty m / 2; with two
    classes L is the other output. As in the library deel-torchlip, without its factor on all outputs (to which a
    smaller margin is equivalent).

    Parameters
    ----------
    alpha : float
        In [0, 1].
    margin : float
        m, positive.
    penalty : float
        Positive.
    """

    def __init__(self, alpha=0.9, margin=1.0, penalty=1.0):
        super().__init__()
        self.alpha = check_number("alpha", alpha, 0, 1)
        self.margin = check_number("margin", margin, 0, strict=True)
        self.penalty = check_number("penalty", penalty, 0, strict=True)

    def per_example(self, outputs, targets):
        outputs = _check_batch(outputs, targets)
        classes = outputs.shape[1]
        scale = 2 * math.log(classes - 1) / (self.penalty * self.margin) if classes > 2 else 1
        highest = (scale * _others(outputs, targets)).logsumexp(1) / scale
        own = -_own(outputs, targets)
        return sum(_hinge_and_kr(each, self.alpha, self.margin) for each in (own, highest))

    def _constant(self, classes):
        return math.sqrt(2)


class BatchLoss(nn.Module):
    """A loss whose terms depend on the whole batch."""

    separable = False

    def lipschitz_constant(self, classes=None):
        """Raise ValueError: how much one example's outputs count depends on the other examples."""
        raise ValueError(
            f"{type(self).__name__} has no Lipschitz constant for one example: its gradient depends on the others in "
            f"the batch; use one of {', '.join(_separable_names())}"
        )


class BalancedKR(BatchLoss):
    """KR as Serrurier et al. (CVPR 2021) estimate it: for each class, from means over its and over the other examples.

    The mean over the classes k of (mean of o_k over the other examples - mean of o_k over its own), times (C - 1) / C.
    A class adds 0 if no example of the batch is of it, or every one. On a batch with equally many examples of each
    class it equals `KantorovichRubinstein`; where a class has few, those count the more.
    """

    def forward(self, outputs, targets):
        """Return the loss of the batch, as `SeparableLoss.forward`."""
        return _balanced_kr(_check_batch(outputs, targets), targets)


class BalancedHKR(BatchLoss):
    """(1 - alpha) `BalancedKR` + alpha `MulticlassHinge`; parameters as those of `HKR`.

    An alpha of it is not that of the library deel-torchlip, whose KR is C / (C - 1) times as large: see `TorchlipHKR`.
    """

    def __init__(self, alpha=0.98, margin=0.5):
        super().__init__()
        self.alpha = check_number("alpha", alpha, 0, 1)
        self.margin = check_number("margin", margin, 0)

    def forward(self, outputs, targets):
        """Return the loss of the batch, as `SeparableLoss.forward`."""
        outputs = _check_batch(outputs, targets)
        hinge = _one_hinge_a_class(outputs, targets, self.margin).mean()
        return (1 - self.alpha) * _balanced_kr(outputs, targets) + self.alpha * hinge


class TorchlipHKR(BatchLoss):
    """`HKRMulticlassLoss` of the library deel-torchlip (1.0.5): (1 - alpha) KR + alpha `MulticlassHinge`.

    KR is the mean over the classes k of (mean of o_k over the other examples - mean of o_k over its own), where the
    mean over no example is 0. If each class has examples, it is `BalancedHKR` of another alpha,
    alpha (C - 1) / (C - alpha), up to a factor.

    Parameters
    ----------
    alpha : float
        In [0, 1].
    margin : float
        Its ``min_margin``, at least 0.
    """

    def __init__(self, alpha=0.98, margin=1.0):
        super().__init__()
        self.alpha = check_number("alpha", alpha, 0, 1)
        self.margin = check_number("margin", margin, 0)

    def forward(self, outputs, targets):
        """Return the loss of the batch, as `SeparableLoss.forward`."""
        outputs = _check_batch(outputs, targets)
        inside, outside, _ = _class_means(outputs, targets)
        hinge = _one_hinge_a_class(outputs, targets, self.margin).mean()
        return (1 - self.alpha) * (outside - inside).mean() + self.alpha * hinge


class RunningSoftHKR(BatchLoss):
    """`SoftHKR` as published: of temperature t m / max(m, a), with a running mean a of the outputs' absolute values.

    Parameters
    ----------
    alpha, margin, temperature : float
        Those of `SoftHKR`; the margin must be positive.
    momentum : float
        In [0, 1]: a <- momentum a + (1 - momentum) that of the batch, in training mode, from m on. No gradient flows
        through it.
    """

    def __init__(self, alpha=0.975, margin=0.6, temperature=5.0, momentum=0.99):
        super().__init__()
        self.alpha = check_number("alpha", alpha, 0, 1)
        self.margin = check_number("margin", margin, 0, strict=True)
        self.temperature = check_number("temperature", temperature, 0, strict=True)
        self.momentum = check_number("momentum", momentum, 0, 1)
        self.register_buffer("magnitude", torch.tensor(self.margin))

    def forward(self, outputs, targets):
        """Return the loss of the batch, as `SeparableLoss.forward`."""
        outputs = _check_batch(outputs, targets)
        if self.training:
            self.magnitude.lerp_(outputs.detach().abs().mean().to(self.magnitude), 1 - self.momentum)
        temperature = self.temperature * self.margin / self.magnitude.clamp(min=self.margin)
        return _soft_hkr(outputs, targets, self.alpha, self.margin, temperature.to(outputs)).mean()


LOSSES = {
    "cross_entropy": CrossEntropy,
    "hinge": MulticlassHinge,
    "categorical_hinge": CategoricalHinge,
    "kr": KantorovichRubinstein,
    "hkr": HKR,
    "soft_hkr": SoftHKR,
    "lse_hkr": LseHKR,
    "balanced_kr": BalancedKR,
    "balanced_hkr": BalancedHKR,
    "torchlip_hkr": TorchlipHKR,
    "running_soft_hkr": RunningSoftHKR,
}


def make_loss(name, *, separable=False, **options):
    """Return a loss by its name.

    Parameters
    ----------
    name : str
        A key of `LOSSES`.
    separable : bool
        Whether one that depends on the batch is refused.
    **options
        Those of the class, such as ``temperature``, ``margin`` or ``alpha``.

    Returns
    -------
    torch.nn.Module
        Of (outputs (N, C), targets (N,)), to the mean loss.

    Raises
    ------
    ValueError
        If there is no such loss or option, a value is out of its range, or the loss isn't separable though it must be.
    TypeError
        If a value is no number.
    """
    if name not in LOSSES:
        raise ValueError(f"name is {name!r}: give one of {', '.join(LOSSES)}")
    kind = LOSSES[name]
    if separable and not kind.separable:
        raise ValueError(
            f"name is {name!r}, whose terms depend on the whole batch, and separable is set: "
            f"give one of {', '.join(_separable_names())}"
        )
    allowed = list(inspect.signature(kind).parameters) if "__init__" in vars(kind) else []
    unknown = [option for option in options if option not in allowed]
    if unknown:
        remedy = f"give some of {', '.join(allowed)}" if allowed else "it has none"
        raise ValueError(f"{name} has no option {', '.join(unknown)}: {remedy}")
    return kind(**options)


def _separable_names():
    return [name for name, kind in LOSSES.items() if kind.separable]


def check_number(name, value, low, high=math.inf, *, strict=False):
    """Return a number in [low, high], or in (low, high] if strict; finite."""
    allowed = f"a number {'>' if strict else '>='} {low}" + ("" if high == math.inf else f" and <= {high}")
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} is {value!r}: give {allowed}")
    if not (low <= value <= high and math.isfinite(value)) or (strict and value == low):
        raise ValueError(f"{name} is {value!r}: give {allowed}")
    return float(value)


def _check_batch(outputs, targets):
    """Return the outputs in at least float32."""
    for name, tensor in (("outputs", outputs), ("targets", targets)):
        if not isinstance(tensor, torch.Tensor):
            raise TypeError(f"{name} is of type {type(tensor).__name__}: give a tensor")
    if not outputs.is_floating_point() or targets.dtype != torch.int64:
        raise TypeError(f"outputs of {outputs.dtype}, targets of {targets.dtype}: give floating-point ones and int64")
    if outputs.ndim != 2 or outputs.shape[1] < 2 or targets.shape != outputs.shape[:1] or not len(targets):
        raise ValueError(
            f"outputs of shape {tuple(outputs.shape)}, targets of {tuple(targets.shape)}: "
            "give (N, C) and (N,), with N >= 1 and C >= 2"
        )
    return outputs.to(at_least_float32(outputs.dtype))


def _onehot(outputs, targets):
    return torch.zeros_like(outputs).scatter(1, targets.unsqueeze(1), 1.0)


def _own(outputs, targets):
    return outputs.gather(1, targets.unsqueeze(1)).squeeze(1)


def _others(outputs, targets):
    """Return the outputs with -inf at the target."""
    return outputs.scatter(1, targets.unsqueeze(1), -math.inf)


def _kr(outputs, targets):
    return outputs.mean(1) - _own(outputs, targets)


def _class_means(outputs, targets):
    """Return for each class k the means of o_k over its examples and over the others, 0 over none, and their number."""
    members = _onehot(outputs, targets)
    counts = members.sum(0)
    inside = (members * outputs).sum(0) / counts.clamp(min=1)
    outside = ((1 - members) * outputs).sum(0) / (len(outputs) - counts).clamp(min=1)
    return inside, outside, counts


def _balanced_kr(outputs, targets):
    batch, classes = outputs.shape
    inside, outside, counts = _class_means(outputs, targets)
    terms = torch.where((counts > 0) & (counts < batch), outside - inside, 0)
    return (classes - 1) / classes * terms.mean()


def _one_hinge_a_class(outputs, targets, margin):
    own = (margin / 2 - _own(outputs, targets)).relu()
    others = (margin / 2 + _others(outputs, targets)).relu().sum(1)
    classes = outputs.shape[1]
    return ((classes - 1) * own + others) / classes


def _hinge_and_kr(outputs, alpha, margin):
    """h(o) = (1 - alpha) o + alpha relu(m/2 + o): of Lipschitz constant 1, and increasing."""
    return (1 - alpha) * outputs + alpha * (margin / 2 + outputs).relu()


def _soft_hkr(outputs, targets, alpha, margin, temperature):
    weights = (temperature * _others(outputs, targets)).softmax(1)  # 0 at the target
    others = (weights * _hinge_and_kr(outputs, alpha, margin)).sum(1)
    return _hinge_and_kr(-_own(outputs, targets), alpha, margin) + others


def _one_against_the_mean(classes):
    """The norm of (1, ..., 1) / C - e_y, or its supremum over C."""
    return 1.0 if classes is None else math.sqrt((classes - 1) / classes)
