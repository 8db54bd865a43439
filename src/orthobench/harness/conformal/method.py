"""A predictor as the bench sees it: claims, scores, thresholds and gradients, for which it asks stands."""

import contextlib
import math
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace

import torch

from ...conformal import Claim
from ..stand import clocks
from ..stand.bench import LocalStand
from ..stand.roles import pack
from ..stand.wire import expected_bytes, is_number
from ..status import InvalidResult, Refuted
from .task import Stream

# Inputs that are scored again.
AUDITED = 32
# Two runs of one function on the same inputs and noise: rounding, and on a GPU the order of sums, which may change a
# rank here and there.
SAME, OTHERS = 1e-4, 0.01


@dataclass(frozen=True)
class Description:
    """What a predictor says of itself.

    Attributes
    ----------
    claim : Claim
    hold_out : float or None
        The share of the calibration examples that it is fitted to instead, if it is.
    reusable : bool
        Whether its scores are the same for all calibrations of as many examples.
    sigma, lipschitz_constant : float or None
        Of its noise; that its sets rest on. No figure is taken from them: they lead an attack, and are doubted.
    """

    claim: Claim
    hold_out: float | None
    reusable: bool
    sigma: float | None
    lipschitz_constant: float | None


class Method:
    """A predictor in stands: a fresh one for each line of questions, which knows nothing of the others.

    Parameters
    ----------
    bench : ConformalCell or InThisProcess
        Opens stands, asks within the budget, and doubts what they say of their time.
    task : ConformalTask
    alpha : float
    network : Network
        The stands get copies.

    Attributes
    ----------
    description : Description
        From the first stand; the others must say the same.
    """

    description = None

    def __init__(self, bench, task, alpha, network):
        self._bench, self._task, self._alpha = bench, task, alpha
        self.ask = bench.in_time
        self._network = pack(model=network.model, constant=network.constant)

    @cached_property
    def withheld(self):
        """Indices of the pool's examples, drawn here, that the method is fitted to; they are never tested."""
        share, calibration = self.description.hold_out, self._task.calibration
        if share is None:
            return []
        count = max(1, round(share * calibration))
        if count >= calibration:
            raise InvalidResult(f"hold_out={share:g} leaves none of {calibration} examples to calibrate with")
        order = torch.randperm(len(self._task.pool), generator=torch.Generator().manual_seed(self._task.seed))
        return order[:count].tolist()

    def timed_scores(self, purpose, inputs, seed, calibration=None, known=None):
        """Return scores (n, C) of inputs from a stand that scores nothing else, its seconds, and its peak of memory.

        If ``known``, sorted calibration scores of one split and their threshold, are given, the stand must find the
        same threshold, when all else is done: another one knew the scores of all splits, and so of what they test.
        """
        for _ in range(clocks.ATTEMPTS):
            with self._stand() as stand:
                question = {"purpose": purpose, "points": self.points}
                self.ask(stand, "prepare", *_sent(calibration), shape=self._task.shape, **question)
                stand.reset_peak_memory()
                answer = self.scores(stand, inputs, seed, calibration, self._bench.limited, purpose, measured=True)
                seconds, peak = answer.number("seconds"), answer.peak_memory_bytes(stand)
                if known is not None and self.thresholds(stand, [known[0]]) != [known[1]]:
                    raise Refuted("its threshold depends on more than the calibration scores of a split")
                doubt = self._bench.doubt(stand, seconds, answer.cost, [inputs], answer.tensors)
            if not doubt:
                return answer.tensors[0], seconds, peak
        raise Refuted(f"{doubt}, in {clocks.ATTEMPTS} fresh processes")

    def prediction_scores(self, inputs, seeds, calibration=None):
        """Return the scores (n, C) of inputs with each seed of the noise, from a stand that scores nothing else.

        Parameters
        ----------
        inputs : Tensor (n, ...)
        seeds : sequence of int
        calibration : Tensor, optional
            Sorted scores, for a method whose scores aren't `reusable`.

        Returns
        -------
        list of Tensor
        """
        with self._stand() as stand:
            return [self.scores(stand, inputs, seed, calibration).tensors[0] for seed in seeds]

    @contextlib.contextmanager
    def aside(self):
        """Give an `Aside`, whose stand does what needs no other, in an order in which nothing helps a cheat."""
        with self._stand() as stand:
            yield Aside(self, stand)

    @property
    def points(self):
        """Number of calibration examples of a split."""
        return self._task.calibration - len(self.withheld)

    @contextlib.contextmanager
    def _stand(self):
        stand = self._bench.open_one()
        try:
            self._describe(self.ask(stand, "begin", self._network))
            if self.withheld:
                held_out = self._task.pool[torch.tensor(self.withheld)]
                self.ask(stand, "fit", *held_out, seed=self._task.noise_seed(Stream.CALIBRATION))
            yield stand
        finally:
            stand.end()

    def _describe(self, answer):
        claim = {name: answer.number(name) for name in ("alpha", "radius")}
        claim |= {name: answer.text(name) for name in ("norm", "kind")}
        if claim["alpha"] != self._alpha:
            raise InvalidResult(f"the predictor claims alpha={claim['alpha']:g}: expected {self._alpha:g}")
        others = {name: _positive(answer.fields.get(name)) for name in ("sigma", "lipschitz_constant")}
        hold_out = answer.fields.get("hold_out")
        if hold_out is not None and not 0 < answer.number("hold_out") < 1:
            raise InvalidResult(f"hold_out={hold_out!r}: expected a share strictly between 0 and 1")
        found = Description(Claim(**claim), hold_out, answer.fields.get("reusable_scores") is not False, **others)
        if self.description not in (None, found):
            raise InvalidResult("the predictor says something else of itself in another process")
        self.description = found

    def thresholds(self, stand, calibrations):
        """Ask a stand for the threshold for each vector of sorted calibration scores."""
        answer = self.ask(stand, "thresholds", *calibrations)
        found = answer.tensors[0] if len(answer.tensors) == 1 else torch.empty(0)
        if found.shape != (len(calibrations),) or found.dtype != torch.float64 or found.isnan().any():
            raise InvalidResult(f"the thresholds are no {len(calibrations)} numbers")
        return found.tolist()

    def scores(self, stand, inputs, seed, calibration, ask=None, purpose="prediction", counted=False, **options):
        """Ask a stand for scores, and return its answer, whose tensor they are."""
        shape = (len(inputs), self._task.classes)
        fields = {"purpose": purpose, "seed": seed, "points": self.points, "counted": counted}
        options |= {"largest": expected_bytes([shape])}
        answer = (ask or self.ask)(stand, "scores", inputs, *_sent(calibration), **fields, **options)
        found = answer.tensors[0] if len(answer.tensors) == 1 else torch.empty(0)
        if tuple(found.shape) != shape or found.dtype not in (torch.float32, torch.float64):
            raise InvalidResult(
                f"the {purpose} scores are {found.dtype} {tuple(found.shape)}: expected float32 or float64 {shape}"
            )
        if found.isnan().any():
            raise InvalidResult(f"the {purpose} scores have NaN among them")
        return answer


class Aside:
    """Thresholds, an audit and gradients of a method, in this order and from one stand, none of whose scores count.

    Thresholds are there before it has an input. What is counted must be what another stand was judged by. It has labels
    for gradients alone: what it makes of these leads a search, of which no other search hears.
    """

    def __init__(self, method, stand):
        self._method, self._stand = method, stand

    def thresholds(self, calibrations):
        """Return the threshold for each vector of sorted calibration scores."""
        return self._method.thresholds(self._stand, calibrations)

    def audit(self, inputs, scores, seeds, calibration=None):
        """Have passes of the network counted, and see whether scores depend on the noise.

        What is counted must be what is judged: the same scores. The first inputs will do, where they don't depend on
        the others.

        Parameters
        ----------
        inputs : Tensor (n, ...)
        scores : Tensor (n, C)
            Those of the first seed, from another stand.
        seeds : pair of int
        calibration : Tensor, optional

        Returns
        -------
        tuple of (float, bool, bool)
            Passes of an input, and whether its scores at calibration and at prediction depend on the seed.
        """
        for count in (min(AUDITED, len(inputs)), len(inputs)):
            answer = self._method.scores(self._stand, inputs[:count], seeds[0], calibration, counted=True)
            if _same(answer.tensors[0], scores[:count]):
                break
        else:
            raise Refuted("it returns other scores for the same inputs and noise while its passes are counted")
        noisy = []
        for purpose in ("calibration", "prediction"):
            some = [
                self._method.scores(self._stand, inputs[:AUDITED], seed, calibration, purpose=purpose).tensors[0]
                for seed in seeds
            ]
            noisy.append(not torch.equal(*some))
        return answer.number("passes"), *noisy

    def gradient(self, inputs, classes, seed, slope, samples, calibration=None):
        """Return the scores (n,) of a class for each input and, if ``slope``, their gradient; else None."""
        fields = {"seed": seed, "points": self._method.points, "samples": samples, "slope": slope}
        tensors = inputs, classes, *_sent(calibration)
        largest = expected_bytes([inputs.shape, (len(inputs), 2)])
        answer = self._method.ask(self._stand, "gradient", *tensors, largest=largest, **fields)
        shapes = [(len(inputs),), *([tuple(inputs.shape)] if slope else [])]
        if [tuple(each.shape) for each in answer.tensors] != shapes:
            raise InvalidResult(f"the stand returned no gradient for {tuple(inputs.shape)}")
        return answer.tensors[0].double(), answer.tensors[1].to(inputs.dtype) if slope else None


class InThisProcess:
    """A bench without stands, for a predictor that is no solver's: nothing is protected, and no clock is kept.

    Parameters
    ----------
    make : callable
        ``make(problem)`` returns a predictor.
    task : ConformalTask
    alpha : float
    """

    def __init__(self, make, task, alpha):
        self._solver = SimpleNamespace(name="the predictor", predictor=make)
        self._problem = pack(alpha=alpha, radius=task.radius, shape=task.shape)

    def open_one(self):
        """Return a stand."""
        stand = LocalStand("orthobench.harness.conformal.role:ConformalRole")
        stand.ask("problem", self._problem, seed=0)
        stand.ask("adopt", self._solver)
        return stand

    def in_time(self, stand, kind, *tensors, **fields):
        """Ask."""
        return stand.ask(kind, *tensors, **fields)

    limited = in_time

    def doubt(self, stand, seconds, cost, sent, answered):
        """Doubt nothing."""
        return ""


def _sent(calibration):
    return () if calibration is None else (calibration,)


def _positive(value):
    return float(value) if is_number(value) and 0 < value < math.inf else None


def _same(one, other):
    apart = (one.double() - other.double()).abs() > SAME * (1 + other.double().abs())
    differ = torch.where(one.isfinite() & other.isfinite(), apart, one != other)
    return float(differ.double().mean()) <= OTHERS
