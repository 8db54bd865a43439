"""How often the verdict on coverage, or on another risk, doubts a claim that holds, and refutes one that doesn't.

``orthobench study coverage-verdicts`` simulates methods that keep their level exactly, over random splits of pools.
It prints how often their p-values are small, each share beside its goal, and then how often a coverage that is two
points too low is refuted. It takes some minutes.
"""

import itertools
from dataclasses import dataclass, replace

import numpy as np

from ..conformal.quantile import conformal_rank
from ..conformal.verdicts import SPLITS, coverage_verdict, is_refuted, risk_verdict
from .goals import Figure

CALIBRATIONS, SPLIT_COUNTS = (50, 100, 400, 1000), (1, 2, 5, 20, 100)
ALPHA, TESTS, PART, LOSSES = 0.1, 200, 100, 4
# The largest share of p-values below a level.
ALARMS = {0.05: 0.09, 0.001: 0.003}
# What is refuted that often, with so many examples each to calibrate and test: coverage too low by so much. Where all
# splits test within the same half of them, its luck alone has a standard deviation of one point.
POWER, EXAMPLES = 0.9, 400
TOO_LOW = {None: 0.02, EXAMPLES: 0.1}
METHODS = ("exact", "noisy", "risk")


@dataclass(frozen=True)
class Setting:
    """A method on pools of ``calibration + tests`` examples, divided into these at random by each split.

    Attributes
    ----------
    calibration, splits : int
    part : int or None
        How many of the pool are tested, by every split in which they don't calibrate; None for all.
    method : {"exact", "noisy", "risk"}
        Scores without noise; scores that are nothing but noise, other ones at calibration than at prediction, each kept
        from split to split; the share of an example's objects that score too low.
    tests : int
    excess : float
        By how much the mean loss is above the claim.
    """

    calibration: int
    splits: int
    part: int | None = None
    method: str = "exact"
    tests: int = TESTS
    excess: float = 0.0

    def __str__(self):
        tested = f"{self.part} of {self.pool}" if self.part else "whole pool"
        return f"{self.method}, calibration {self.calibration}, splits {self.splits}, {tested}"

    @property
    def pool(self):
        """How many examples there are."""
        return self.calibration + self.tests

    @property
    def objects(self):
        """How many losses of 0 or 1 an example has the mean of."""
        return LOSSES if self.method == "risk" else 1

    @property
    def rank(self):
        """Which of the calibration's scores is the threshold of a method that is what it claims."""
        return conformal_rank(self.calibration * self.objects, ALPHA)

    @property
    def alpha(self):
        """What is claimed: the mean loss with that threshold."""
        return self.rank / (self.calibration * self.objects + 1)

    def p_value(self, random):
        """Return the p-value of one cell; ``random`` is a NumPy generator."""
        examples, losses = self.losses(random)
        options = {"part": self.part or self.pool, "pool": self.pool, "noisy": self.method == "noisy"}
        if self.method == "risk":
            return risk_verdict(examples, losses, self.alpha, **options).p_value
        return coverage_verdict(examples, losses, self.alpha, calibration=self.calibration, **options).p_value

    def losses(self, random):
        """Return for each split the examples that it tests and their losses."""
        scores = random.random((self.pool, self.objects))
        others = random.random((self.pool, self.objects)) if self.method == "noisy" else scores
        order = random.random((self.splits, self.pool))
        calibrates = order <= np.partition(order, self.calibration - 1, axis=1)[:, [self.calibration - 1]]
        own = np.where(calibrates[:, :, None], others, np.inf).reshape(self.splits, -1)
        rank = self.rank + round(self.excess * (self.calibration * self.objects + 1))
        thresholds = np.partition(own, rank - 1, axis=1)[:, rank - 1]
        examples = [np.flatnonzero(~row[: self.part]) for row in calibrates]
        return examples, [(scores[some] < bound).mean(1) for some, bound in zip(examples, thresholds, strict=True)]


def p_values(setting, cells, seed=0):
    """Return the p-values (cells,) of a `Setting`."""
    random = np.random.default_rng([seed, *str(setting).encode()])
    return np.array([setting.p_value(random) for _ in range(cells)])


def settings():
    """Return every `Setting` with the right level: all splits without noise, enough of them for the t test with it."""
    found = [
        Setting(calibration, splits, part)
        for calibration, splits, part in itertools.product(CALIBRATIONS, SPLIT_COUNTS, (None, PART))
    ]
    enough = [each for each in found if each.splits >= SPLITS]
    return found + [replace(each, method=method) for method in METHODS[1:] for each in enough]


def alarms(setting, p):
    """Return the `Figure` of each level: the share of p-values below it, NaN if one is NaN."""
    share = {level: float(np.where(np.isnan(p), np.nan, p < level).mean()) for level in ALARMS}
    return [Figure(f"{setting}: P(p < {level})", share[level], at_most=most) for level, most in ALARMS.items()]


def power(cells, seed=0):
    """Yield the `Figure` of how often coverage that is `TOO_LOW` is refuted: of all of the pool, and of a part."""
    for part, excess in TOO_LOW.items():
        setting = Setting(EXAMPLES, SPLITS, part, tests=EXAMPLES, excess=excess)
        refuted = float(np.mean(list(map(is_refuted, p_values(setting, cells, seed)))))
        yield Figure(f"{setting}: refuted, {excess:g} too low", refuted, at_least=POWER)


def main(arguments):
    """Print the report."""
    refuted = total = 0
    for setting in settings():
        p = p_values(setting, arguments.cells, arguments.seed)
        refuted, total = refuted + sum(map(is_refuted, p)), total + len(p)
        for figure in alarms(setting, p):
            print(figure.line(), flush=True)
    print(Figure(f"refuted of these {total} cells", refuted, at_most=0).line(), flush=True)
    for figure in power(arguments.cells, arguments.seed):
        print(figure.line(), flush=True)
