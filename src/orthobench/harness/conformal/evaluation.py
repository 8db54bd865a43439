"""What is measured of a predictor over many splits of a pool: coverage and sizes of its sets, clean and attacked."""

import json
import math
from dataclasses import dataclass

import torch

from ...conformal import coverage_bounds
from ...conformal.quantile import at_least
from ...conformal.smoothing import uniform_in_ball
from ..status import InvalidResult
from .attacks import attack, largest_quotient

# Independent streams of noise, from the task's seed.
CALIBRATION, CLEAN, ATTACK, ATTACKED, RANDOM = range(5)
STREAMS = 8
# The radii of the curve, as shares of twice the task's.
GRID = 21
DELTA = 0.01
# Examples that are scored twice, to see whether there is noise in scores.
SCORED_TWICE = 32


@dataclass
class Sets:
    """Outcomes over all splits, clean or attacked: one entry for each tested example of each split.

    Attributes
    ----------
    examples : list of Tensor
        Indices into the pool, one tensor a split.
    hits, sizes : list of Tensor
        Whether the set held the true class; how many classes it held.
    part : int
        How many of the examples that the splits divide may be tested: a part of them shares its luck.
    """

    examples: list
    hits: list
    sizes: list
    part: int

    @property
    def coverage(self):
        """Mean over all splits."""
        return float(torch.cat(self.hits).double().mean())

    @property
    def size(self):
        """Mean over all splits."""
        return float(torch.cat(self.sizes).double().mean())

    @property
    def misses(self):
        """Whether the sets did without the true class."""
        return [~each for each in self.hits]


class Measurement:
    """A predictor on a task: its scores, each computed once if they stay the same, and its sets in each split.

    Parameters
    ----------
    predictor : Predictor
    task : ConformalTask
    network : Network
    device : torch.device
    """

    def __init__(self, predictor, task, network, device):
        self.predictor, self.task, self.network, self.device = predictor, task, network, device
        self.inputs, self.labels = task.pool.inputs.to(device), task.pool.targets.to(device)
        if predictor.attach(network.model) is not predictor or predictor.model is not network.model:
            raise InvalidResult("the predictor evaluates another model than the harness's")
        self.withheld = self._hold_out()
        self.splits = list(task.parts(self.withheld))
        self.noisy = self._differs_by_stream()
        self._scores, self.calibration_scores = {}, self._calibrate_all()
        self._calibrate(self.splits[0])
        self._check_agreement()

    def noise(self, stream):
        """Return a generator of a stream."""
        return torch.Generator(self.device).manual_seed(self.task.seed % 2**32 * STREAMS + stream)

    def sets(self, inputs, stream):
        """Return the `Sets` at inputs (k, ...), those of the pool's first k examples, clean or attacked."""
        generator, places, hits, sizes = self.noise(stream), [], [], []
        kept = None if not self.predictor.reusable_scores else self._prediction_scores(inputs, generator)
        for split in self.splits:
            self._calibrate(split)
            test = split[2][split[2] < len(inputs)]
            scores = self._prediction_scores(inputs[test], generator) if kept is None else kept[test]
            sets = at_least(scores, self.predictor.threshold)
            places.append(test)
            hits.append(sets.gather(1, self.labels[test][:, None]).squeeze(1).cpu())
            sizes.append(sets.sum(1).cpu())
        return Sets(places, hits, sizes, part=sum(int((part < len(inputs)).sum()) for part in self.splits[0]))

    def attacked(self, **options):
        """Return inputs of the first examples of the pool under attack, `options` as of a task's ``attack``."""
        self._calibrate(self.splits[0])
        count = min(options.pop("examples"), len(self.inputs))
        seed = self.task.seed % 2**32 * STREAMS + ATTACK
        with torch.enable_grad():
            return attack(
                self.predictor, self.inputs[:count], self.labels[:count], self.task.radius, seed=seed, **options
            )

    @property
    def pool(self):
        """How many examples the splits divide."""
        return sum(map(len, self.splits[0]))

    def noisy_sets(self):
        """Return the `Sets` at inputs that are moved at random, uniformly in the ball."""
        noise = uniform_in_ball(self.inputs, 1, self.noise(RANDOM), self.task.radius)
        return self.sets(self.inputs + noise.squeeze(1), RANDOM)

    def bounds(self, form="binomial"):
        """Return the mean over splits of bounds of the coverage under attack: radii, lower, upper; None without any.

        For scores that are continuous, and predictors that compare clean scores.
        """
        try:
            slope = self.predictor.score.lipschitz(self.network.constant)
        except ValueError:
            return None
        radii = torch.linspace(0, 2 * self.task.radius, GRID, dtype=torch.float64)
        lower, upper = [], []
        for split in self.splits:
            self._calibrate(split)
            scores = self.calibration_scores[split[1]].double()
            found = coverage_bounds((scores - self.predictor.threshold) / slope, radii, delta=DELTA, form=form)
            lower.append(found.lower)
            upper.append(found.upper)
        return radii, torch.stack(lower).mean(0), torch.stack(upper).mean(0)

    def quotient(self, attacked):
        """Return the largest quotient of the network's outputs and inputs, clean and attacked."""
        return largest_quotient(self.network.model, self.inputs[: len(attacked)], attacked)

    # --- scores

    def _hold_out(self):
        """Fit what a method fits to examples of its own, which are taken from its share of the calibration."""
        if not getattr(self.predictor, "transform", False):
            return []
        count = max(1, round(self.predictor.hold_out * self.task.calibration))
        order = torch.randperm(len(self.inputs), generator=torch.Generator().manual_seed(self.task.seed))[:count]
        self.predictor.fit_transform(self.inputs[order], self.labels[order], generator=self.noise(CALIBRATION))
        return order.tolist()

    def _differs_by_stream(self):
        """Return whether the same examples have other scores with another stream of noise."""
        inputs, labels = self.inputs[:SCORED_TWICE], self.labels[:SCORED_TWICE]
        found = []
        for stream in (CALIBRATION, CLEAN):
            scores = self.predictor.calibration_scores(inputs, labels, generator=self.noise(stream))
            self.predictor.calibrate_scores(scores)
            found.append((scores, self._prediction_scores(inputs, self.noise(stream))))
        return not all(map(torch.equal, *found))

    def _calibrate_all(self):
        return self.predictor.calibration_scores(self.inputs, self.labels, generator=self.noise(CALIBRATION))

    def _calibrate(self, split):
        self.predictor.calibrate_scores(self.calibration_scores[split[0].to(self.device)])

    def _prediction_scores(self, inputs, generator):
        return self.predictor.prediction_scores(inputs, generator=generator)

    def _check_agreement(self):
        """Raise InvalidResult unless `predict_sets` gives the sets that scores and threshold give."""
        some = self.inputs[self.splits[0][2][:64].to(self.device)]
        sets = self.predictor.predict_sets(some, generator=self.noise(CLEAN))
        scores = self._prediction_scores(some, self.noise(CLEAN))
        expected = (len(some), self.task.classes)
        if not isinstance(sets, torch.Tensor) or sets.dtype != torch.bool or tuple(sets.shape) != expected:
            got = f"{sets.dtype} {tuple(sets.shape)}" if isinstance(sets, torch.Tensor) else type(sets).__name__
            raise InvalidResult(f"predict_sets returned {got}: expected a bool tensor {expected}")
        if not torch.equal(sets, at_least(scores, self.predictor.threshold)):
            raise InvalidResult("predict_sets returned other sets than prediction_scores and the threshold give")


def curve_text(radii, lower, upper):
    """Return a curve of bounds as JSON: what a row holds."""
    rows = zip(radii.tolist(), lower.tolist(), upper.tolist(), strict=True)
    return json.dumps([[round(value, 6) for value in row] for row in rows])


def worst_class_coverage(sets, labels):
    """Return the least mean coverage of a class that was tested."""
    places, hits = torch.cat(sets.examples), torch.cat(sets.hits).double()
    classes = labels[places]
    return min(float(hits[classes == each].mean()) for each in classes.unique())


def set_shares(sets, classes):
    """Return the shares of empty, singleton and full sets."""
    sizes = torch.cat(sets.sizes)
    shares = {"empty": sizes == 0, "singleton": sizes == 1, "full": sizes == classes}
    return {f"{name}_share": float(each.double().mean()) for name, each in shares.items()}


UNKNOWN = math.nan
