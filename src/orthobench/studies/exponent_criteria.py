"""What the criteria for the exponent of U S^e V^T are worth, on least squares with exact line search.

``orthobench study exponent-criteria`` prints, for layers with inputs of seven kinds, how much of the loss the
direction of each method takes in the first step, and what is left after 10 and 60 steps. The criteria choose the best
next step; that need not be the best way to the end, and a line for each case and criterion says whether it was.

The last lines compare with what is claimed for the criteria. Two of the claims depend on the random numbers, so that
the report counts for how many of 8 seeds they hold. The decrease that "tightness" predicts for an exponent is exact,
whichever criterion chose it; what "bound" and "momentum" maximise is a lower bound of it.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch

from ..linalg import polar_factor, schatten_power
from ..optim import (
    bound_exponent,
    momentum_exponent,
    predicted_decrease,
    tightness_exponent,
    two_direction_step,
)

OUTPUTS, INPUTS, SAMPLES = 96, 128, 1024
NOISE = 0.1
STEPS = (10, 60)
MOMENTUM = 0.5
# A gap below this share of the first one is rounding: who gets there has solved the problem.
SOLVED = 1e-12
# The difference of two losses is rounding where it is a smaller share of them.
VISIBLE = 1e-6
LEAST_SHARE, LEAST_CASES = 0.99, 5


@dataclass(frozen=True)
class Case:
    """A least-squares problem W A = Y, with Y = W* A + 0.1 E, E normal: without noise a gradient has the rank of W*.

    Attributes
    ----------
    name : str
    features : callable
        Takes a generator, returns A (inputs, samples), float64.
    rank : int
        Of W*.
    """

    name: str
    features: Callable
    rank: int = OUTPUTS


def white(generator):
    """Independent normal features: C is near the identity."""
    return _normal(generator, INPUTS, SAMPLES)


def relu(generator):
    """Random features max(0, R x) of a normal x with as many entries: their mean dominates."""
    return (_normal(generator, INPUTS, INPUTS) / INPUTS**0.5 @ _normal(generator, INPUTS, SAMPLES)).relu()


def relu_centred(generator):
    """The same without their mean."""
    features = relu(generator)
    return features - features.mean(dim=1, keepdim=True)


def power_law(generator):
    """Normal features of variance 1, 2^-1.5, 3^-1.5, ..., rotated."""
    scale = torch.arange(1, INPUTS + 1, dtype=torch.float64) ** -0.75
    rotation = torch.linalg.qr(_normal(generator, INPUTS, INPUTS)).Q
    return rotation @ (scale.unsqueeze(1) * white(generator))


def spike(generator):
    """Normal features with a common mean of 4."""
    return white(generator) + 4


CASES = (
    Case("white", white),
    Case("relu", relu),
    Case("relu centred", relu_centred),
    Case("power law", power_law),
    Case("spike", spike),
    Case("relu, rank 8", relu, rank=8),
    Case("power law, rank 8", power_law, rank=8),
)


class Proposal(NamedTuple):
    """A direction, the decrease by the best step along it, and a lower bound of that if the method has one."""

    direction: torch.Tensor
    decrease: torch.Tensor
    guaranteed: torch.Tensor | None = None


def _given(D, G, C):
    return Proposal(D, predicted_decrease(G, D, C).decrease)


def _chosen(choice, G, M, C):
    """What is predicted is that of "tightness" for the exponent; what the criterion predicts itself is at most that."""
    e = float(choice.exponent)
    return Proposal(schatten_power(M, e, "svd"), tightness_exponent(G, M, C, e, e).decrease, choice.decrease)


def _tight(choice, M):
    return Proposal(schatten_power(M, float(choice.exponent), "svd"), choice.decrease)


def _mixed(combination):
    return Proposal(combination.direction, combination.decrease)


# Proposals, from the gradient G, the average M of gradients and the second moment C of the inputs.
METHODS = {
    "SGD": lambda G, M, C: _given(G, G, C),
    "Muon": lambda G, M, C: _given(polar_factor(G), G, C),
    "tightness": lambda G, M, C: _tight(tightness_exponent(G, G, C), G),
    "bound": lambda G, M, C: _chosen(bound_exponent(G, C), G, G, C),
    "momentum": lambda G, M, C: _chosen(momentum_exponent(G, M, C), G, M, C),
    "two_directions": lambda G, M, C: _mixed(two_direction_step(G, C)),
}
CRITERIA = ("bound", "momentum", "tightness", "two_directions")


@dataclass(frozen=True)
class Descent:
    """What a method did to a case.

    Attributes
    ----------
    gaps : tuple of float
        The loss above the least possible one, at the start and after each step.
    worst_prediction : float
        The largest relative difference of the predicted and the actual decrease of a step.
    worst_guarantee : float
        The largest share of the actual decrease of a step that was guaranteed; 0 for methods that guarantee nothing.
    """

    gaps: tuple[float, ...]
    worst_prediction: float
    worst_guarantee: float = 0.0

    @property
    def first_decrease(self):
        """Of the first step."""
        return self.gaps[0] - self.gaps[1]

    @property
    def end(self):
        """The last gap, 0 if it is rounding."""
        return self.gaps[-1] if self.gaps[-1] > SOLVED * self.gaps[0] else 0.0


def descend(case, method, seed, steps):
    """Take steps from W = 0 along a method's directions, each as long as is best for the loss.

    Parameters
    ----------
    case : Case
    method : callable
        Takes G, M and C, returns a `Proposal`; see METHODS.
    seed : int
        Of A, W* and E.
    steps : int

    Returns
    -------
    Descent
    """
    A, Y = _problem(case, seed)
    C, best = A @ A.T / SAMPLES, torch.linalg.lstsq(A.T, Y.T).solution.T
    W = torch.zeros(OUTPUTS, INPUTS, dtype=torch.float64)
    M, loss, gaps, worst, guaranteed = None, _loss(W, A, Y), [_gap(W - best, C)], 0.0, 0.0
    for _ in range(steps):
        G = (W @ A - Y) @ A.T / SAMPLES
        M = G if M is None else MOMENTUM * M + (1 - MOMENTUM) * G
        proposal = method(G, M, C)
        W = W - predicted_decrease(G, proposal.direction, C).size * proposal.direction
        before, loss = loss, _loss(W, A, Y)
        if float(proposal.decrease) > VISIBLE * before:
            worst = max(worst, abs((before - loss) / float(proposal.decrease) - 1))
            if proposal.guaranteed is not None:
                guaranteed = max(guaranteed, float(proposal.guaranteed) / (before - loss))
        gaps.append(_gap(W - best, C))
    return Descent(tuple(gaps), worst, guaranteed)


def study(seed=0, steps=None):
    """Return the `Descent` of methods on every case, by the names of the case and of the method.

    Parameters
    ----------
    seed : int
    steps : dict of str to int, optional
        The methods, and how many steps each takes; by default all, to the end.
    """
    steps = dict.fromkeys(METHODS, STEPS[-1]) if steps is None else steps
    return {
        case.name: {name: descend(case, METHODS[name], seed, count) for name, count in steps.items()} for case in CASES
    }


def claims_by_seed(seeds):
    """Say for each seed whether the claims about the bound and about two directions hold: a list of (bool, bool)."""
    steps = {"bound": 1, "tightness": 1, **dict.fromkeys(("SGD", "Muon", "two_directions"), STEPS[-1])}
    return [_claims(study(seed, steps)) for seed in seeds]


def _claims(results):
    return worst_bound(results) >= LEAST_SHARE, sum(map(two_directions_hold, results.values())) >= LEAST_CASES


def better_than(descents, criterion):
    """Return the methods that end below a criterion, best first."""
    names = [name for name in descents if descents[name].end < descents[criterion].end]
    return sorted(names, key=lambda name: descents[name].end)


def two_directions_hold(descents):
    """Whether the mix of two directions ends at least as well as the better of the two alone."""
    return descents["two_directions"].end <= min(descents["SGD"].end, descents["Muon"].end)


def worst_prediction(results):
    """Return the largest relative difference of the predicted and the actual decrease of a step."""
    return max(each.worst_prediction for descents in results.values() for each in descents.values())


def worst_guarantee(results):
    """Return the largest share of the actual decrease of a step that "bound" or "momentum" guaranteed."""
    return max(each.worst_guarantee for descents in results.values() for each in descents.values())


def worst_bound(results):
    """Return the least share of the best first decrease that the choice of "bound" attains."""
    return min(descents["bound"].first_decrease / descents["tightness"].first_decrease for descents in results.values())


def report(results):
    """Yield the lines of the report.

    Parameters
    ----------
    results : dict
        Of `study`.

    Yields
    ------
    str
    """
    first, last = STEPS
    for name, descents in results.items():
        best = descents["tightness"].first_decrease
        yield f"{name}: gap {descents['SGD'].gaps[0]:.3g} at the start"
        for method, descent in descents.items():
            yield (
                f"  {method:14}  first decrease / tightness {descent.first_decrease / best:.3f}, "
                f"gap after {first} steps {descent.gaps[first]:.2e}, after {last} {descent.gaps[last]:.2e}"
            )
        for criterion in CRITERIA:
            better = better_than(descents, criterion)
            ends = f"not the best end, lower: {', '.join(better)}" if better else "no method ends lower"
            yield f"  {criterion}, greedy: {ends}"
    holds = sum(map(two_directions_hold, results.values()))
    difference, share, guaranteed = worst_prediction(results), worst_bound(results), worst_guarantee(results)
    yield f"predicted against actual decrease of a step: within {difference:.0e} (1e-8 {_mark(difference < 1e-8)})"
    yield (
        "what bound and momentum maximise, a lower bound, over the actual decrease: "
        f"{guaranteed:.3f} or less (1 {_mark(guaranteed <= 1 + 1e-8)})"
    )
    yield (
        f"first decrease of bound over that of tightness: {share:.4f} or more "
        f"({LEAST_SHARE} {_mark(share >= LEAST_SHARE)})"
    )
    yield (
        "two_directions ends at least as well as the better of SGD and Muon: "
        f"in {holds} of {len(results)} cases ({LEAST_CASES} {_mark(holds >= LEAST_CASES)})"
    )


def report_seeds(seeds):
    """Yield a line: for how many of some seeds each claim holds that depends on them."""
    bounds, mixes = zip(*claims_by_seed(seeds), strict=True)
    of = f"of {len(seeds)}"
    yield (
        f"seeds {seeds[0]} to {seeds[-1]}: bound attains {LEAST_SHARE} for {sum(bounds)} {of}, "
        f"two_directions {LEAST_CASES} cases for {sum(mixes)} {of}"
    )


def _mark(holds):
    return "holds" if holds else "DOES NOT HOLD"


def _problem(case, seed):
    """Return A and Y."""
    generator = torch.Generator().manual_seed(seed)
    A = case.features(generator)
    target = _normal(generator, OUTPUTS, case.rank) @ _normal(generator, case.rank, INPUTS)
    target *= OUTPUTS**0.5 / target.norm()  # the norm of a matrix with entries of variance 1 / inputs
    return A, target @ A + NOISE * _normal(generator, OUTPUTS, SAMPLES)


def _loss(W, A, Y):
    return float((W @ A - Y).square().sum() / (2 * SAMPLES))


def _gap(difference, C):
    """The loss above the least one, without the rounding of a difference of losses."""
    return float((difference * (difference @ C)).sum() / 2)


def _normal(generator, *shape):
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def main(arguments):
    """Print the report."""
    seeds = report_seeds(range(arguments.seeds)) if arguments.seeds else []
    for line in itertools.chain(report(study(arguments.seed)), seeds):
        print(line, flush=True)
