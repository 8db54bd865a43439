"""What is measured of a predictor over many splits of a pool: coverage and sizes of its sets, clean and attacked."""

import contextlib
import functools
import json
import math
import secrets

import torch

from ...conformal import conformal_threshold, coverage_bounds
from ...conformal.attacks import attack
from ...conformal.outcomes import Sets, together
from ...conformal.quantile import at_least
from ...conformal.smoothing import uniform_in_ball
from ...lipschitz.evaluation import largest_quotient, outputs_of
from .solver import SCORES
from .task import Stream

# The radii of the curve, as shares of twice the task's.
GRID = 21
DELTA = 0.01
UNKNOWN = math.nan


class Measurement:
    """What a method does on a task: its scores, and its sets in each split, clean, attacked and moved at random.

    Parameters
    ----------
    method : Method
    task : ConformalTask
    network : Network
        The bench's own.

    Attributes
    ----------
    claim : Claim
    splits : list of tuple of Tensor
        Indices of calibration, evaluation and test examples.
    thresholds : list of float
        One a split.
    noisy : bool
        Whether scores depend on the seed of the noise, which is kept from split to split.
    part : Tensor
        Indices of the examples that are attacked.
    clean, attacked, moved : Sets
        The last two are None where inputs can't be attacked; the last, of random changes, where none is claimed.
    agreement : float
        Of the method's gradient with its scores: see `attack`.
    quotient : float
        The largest one of the network's outputs and inputs, clean and attacked.
    passes, calibration_time_s, prediction_time_s, peak_memory_bytes : float
        Costs: passes and times of an input.
    """

    attacked = moved = None
    agreement, quotient = UNKNOWN, 0.0

    def __init__(self, method, task, network):
        self.method, self.task, self.network = method, task, network
        self.inputs, self.labels = task.pool.inputs, task.pool.targets
        scores, seconds, peak = method.timed_scores("calibration", self.inputs, task.noise_seed(Stream.CALIBRATION))
        self.claim, self.calibration_time_s = method.description.claim, seconds / len(self.inputs)
        self.calibration_scores = _of_labels(scores, self.labels)
        self.splits = list(task.parts(method.withheld))
        self._sorted = [self.calibration_scores[split[0]].sort().values for split in self.splits]
        with method.aside() as aside:
            self.thresholds = aside.thresholds(self._sorted)
            self._predict(aside, peak)
            searches = self._search(aside, **task.attack) if task.attack is not None else None
        if searches is not None:
            self._attack(searches)
            if self.claim.kind == "random_noise":
                self._move()

    @property
    def pool(self):
        """How many examples the splits divide."""
        return sum(map(len, self.splits[0]))

    def bounds(self, form="binomial"):
        """Return the mean over splits of bounds of the coverage under attack: radii, lower, upper; None without any.

        They are of vanilla sets: of sets whose scores, of calibration and prediction, are those of a continuous score
        of the network's logits, as computed here, and whose thresholds are the quantiles of these.
        """
        slope = self._vanilla_slope()
        if slope is None:
            return None
        radii = torch.linspace(0, 2 * self.task.radius, GRID, dtype=torch.float64)
        lower, upper = [], []
        for split, threshold in zip(self.splits, self.thresholds, strict=True):
            scores = self.calibration_scores[split[1]].double()
            found = coverage_bounds((scores - threshold) / slope, radii, delta=DELTA, form=form)
            lower.append(found.lower)
            upper.append(found.upper)
        return radii, torch.stack(lower).mean(0), torch.stack(upper).mean(0)

    # --- steps

    @property
    def _all(self):
        return torch.arange(len(self.inputs))

    def _predict(self, aside, peak):
        """Have clean inputs scored, on the clock, and again, to count passes and to see whether noise is drawn."""
        seeds = [self.task.noise_seed(stream) for stream in (Stream.CLEAN, Stream.AGAIN)]
        reusable = self.method.description.reusable
        inputs = self.inputs if reusable else self.inputs[self.splits[0][2]]
        calibration = None if reusable else self._sorted[0]
        drawn = secrets.randbelow(len(self.splits))  # nobody knows which one is looked at again
        known = self._sorted[drawn], self.thresholds[drawn]
        scores, seconds, other = self.method.timed_scores("prediction", inputs, seeds[0], calibration, known)
        self.prediction_time_s, self.peak_memory_bytes = seconds / len(inputs), max(peak, other)
        self.passes, *noisy = aside.audit(inputs, scores, seeds, calibration)
        self.noisy, self._draws = any(noisy), noisy[1]
        self._clean_scores = scores if reusable else None
        if reusable:
            by_split = [scores[split[2]] for split in self.splits]
        else:
            by_split = [scores, *(found[0] for found in self._by_split(self.inputs, self._all, seeds[:1], 1))]
        self.clean = self._sets(by_split, self._all)

    def _search(self, aside, examples, **options):
        """Attack a random part of the pool; return what each search found, of which no stand may score two.

        How they differ may tell labels.
        """
        self.part = self.task.random_part(examples)
        inputs, labels = self.inputs[self.part], self.labels[self.part]
        description, radius = self.method.description, self.task.radius
        calibration = None if description.reusable else self._sorted[0]
        # What it says of its noise only leads a search, and shall not mislead it.
        sigma = min(max(description.sigma or radius, radius / 4), 4 * radius) if self._draws else None
        options |= {"passes": self.passes, "sigma": sigma, "seed": self.task.noise_seed(Stream.ATTACK)}
        ask = functools.partial(aside.gradient, samples=options["samples"], calibration=calibration)
        searches, self.agreement = attack(ask, self.network.model, inputs, labels, radius, **options)
        return searches

    def _attack(self, searches):
        """Make sets at the worst input that was found for each example.

        Where noise is drawn, the worst is told by other noise than theirs; each of two streams is judged at what the
        other says is the worst, so that it doesn't help to say something else.
        """
        inputs, part = self.inputs[self.part], self.part
        streams = (Stream.CHOICE, Stream.ATTACKED) if self._draws else (Stream.ATTACKED,)
        found = [self._by_split(each, part, [self.task.noise_seed(stream) for stream in streams]) for each in searches]
        turns = []
        for judged in range(len(streams)):
            worst = []
            for split, *scored in zip(self.splits, *found, strict=True):
                tests = self.labels[_within(split[2], part)]
                own = torch.stack([_of_labels(each[judged - 1], tests) for each in scored])
                worst.append(_choose([each[judged] for each in scored], own.argmin(0)))
            turns.append(self._sets(worst, part))
        self.attacked, self.searches = together(turns), searches
        outputs = self._outputs(inputs)
        self.quotient = max(largest_quotient(outputs, self._outputs(each), inputs, each) for each in searches)

    def _move(self):
        """Make sets at inputs that are moved at random, uniformly in the ball."""
        seed = self.task.noise_seed(Stream.RANDOM)
        noise = uniform_in_ball(self.inputs, 1, torch.Generator().manual_seed(seed), self.task.radius)
        found = self._by_split(self.inputs + noise.squeeze(1), self._all, [seed])
        self.moved = self._sets([each[0] for each in found], self._all)

    def _by_split(self, inputs, part, seeds, first=0):
        """Return for each split from the first on, and for each seed, the scores of the tests in a part of the pool.

        The inputs are those of the part, whose indices ascend.
        """
        rows = [torch.searchsorted(part, _within(split[2], part)) for split in self.splits[first:]]
        if self.method.description.reusable:
            found = self.method.prediction_scores(inputs, seeds)
            return [[scores[own] for scores in found] for own in rows]
        return [
            self.method.prediction_scores(inputs[own], seeds, calibration)
            for own, calibration in zip(rows, self._sorted[first:], strict=True)
        ]

    def _sets(self, scores, part):
        """Return the `Sets` of the test examples in a part of the pool, by their scores in each split."""
        tests = [_within(split[2], part) for split in self.splits]
        sets = [at_least(each, threshold) for each, threshold in zip(scores, self.thresholds, strict=True)]
        hits = [_of_labels(each, self.labels[test]) for each, test in zip(sets, tests, strict=True)]
        return Sets(
            tests, hits, [each.sum(1) for each in sets], sum(len(_within(some, part)) for some in self.splits[0])
        )

    def _outputs(self, inputs):
        model = self.network.model
        device = next((each.device for each in model.parameters()), inputs.device)
        return outputs_of(model, inputs, device).cpu()

    def _vanilla_slope(self):
        """Return the Lipschitz constant of the score of vanilla sets, None if these are others."""
        quantiles = [conformal_threshold(each, self.claim.alpha) for each in self._sorted]
        if self.thresholds != quantiles or self._clean_scores is None:
            return None
        logits = self._outputs(self.inputs)
        own = _of_labels(self._clean_scores, self.labels)
        # At calibration they are lowered by what rounding may have added.
        if not torch.allclose(own.double(), self.calibration_scores.double(), rtol=1e-4, atol=1e-3):
            return None
        for score in SCORES.values():
            with contextlib.suppress(ValueError):  # it isn't continuous
                slope = score.lipschitz(self.network.constant)
                if torch.allclose(score(logits).double(), self._clean_scores.double(), rtol=1e-5, atol=1e-5):
                    return slope
        return None


def _of_labels(matrix, labels):
    return matrix.gather(1, labels[:, None]).squeeze(1)


def _within(places, part):
    return places[torch.isin(places, part)]


def _choose(matrices, choice):
    """Return for each row that of one of the matrices."""
    return torch.stack(matrices)[choice, torch.arange(len(choice))]


def curve_text(radii, lower, upper):
    """Return a curve of bounds as JSON: what a row holds."""
    rows = zip(radii.tolist(), lower.tolist(), upper.tolist(), strict=True)
    return json.dumps([[round(value, 6) for value in row] for row in rows])
