"""Tests of a private mechanism as a black box: its noise, what one example changes, its batches, a repeated canary.

A mechanism here is an object with ``step(inputs, targets)``, which hands the private mean gradient of a batch to an
optimizer, and ``blocks()``, a list of `Block`: what it claims of the next step. A test makes its own: ``make(optimizer,
generator)`` returns a mechanism on a copy of one model, around what ``optimizer(parameters)`` returns, with noise from
the generator. Each test can refute a claim, at a level of error that is given, and prove none.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy import stats

from ..models.checks import check_integer
from .transcript import check_rate, combined

# How often an honest mechanism is refuted by chance, for each test.
LEVEL = 1e-6

# Of differences between two private gradients with the same noise, as a share of the bound: rounding in float32.
ROUNDING = 1e-3

# An example is tried on its own, and added to this many others.
COMPANY = 8

# Entries of the gradients of all examples that are computed at once.
LARGEST_GRADIENTS = 2**24

# Of a noise multiplier that is recorded without its last digits.
RECORDED = 1e-6


class Block(NamedTuple):
    """One Gaussian mechanism of a private step: the parameters that it covers, and how its noise is made.

    `bound` is the most that one example can add to their part of the mean gradient, as an L2 norm; the standard
    deviation of each entry's noise is `noise_multiplier * bound`.
    """

    names: tuple
    bound: float
    noise_multiplier: float

    @property
    def std(self):
        """Standard deviation of each entry's noise."""
        return self.bound * self.noise_multiplier


class Finding(NamedTuple):
    """What a test found: its name, whether the claim stands, the figure that decides, and what it means, in a line."""

    test: str
    passed: bool
    figure: float
    message: str


class Probe:
    """A mechanism whose private gradients are looked at and applied to nothing.

    Parameters
    ----------
    make : callable
        As the module describes it.
    device : torch.device
    """

    def __init__(self, make, device="cpu"):
        self.generator = torch.Generator(device).manual_seed(0)
        self._found = None
        self.mechanism = make(self._optimizer, self.generator)
        self.parameters = {name: each for name, each in self.mechanism.model.named_parameters() if each.requires_grad}

    def _optimizer(self, parameters):
        # Of torch's own type, with a rate of zero: some mechanisms take no other.
        self._listed = list(parameters)
        optimizer = torch.optim.SGD(self._listed, lr=0.0)
        optimizer.register_step_pre_hook(self._look)
        return optimizer

    def _look(self, *_):
        found = {id(each): each.grad.detach().clone() for each in self._listed}
        self._found = {name: found[id(each)] for name, each in self.parameters.items()}

    def gradient(self, inputs, targets, seed=None):
        """Return (private gradient, blocks) of one step: a dict of tensors, and what was claimed before the step.

        Parameters
        ----------
        inputs, targets : torch.Tensor
            Of the batch.
        seed : int, optional
            Of the noise; by default it goes on from the step before.
        """
        if seed is not None:
            torch.manual_seed(seed)
            self.generator.manual_seed(seed)
        blocks, self._found = self.mechanism.blocks(), None
        self.mechanism.step(inputs, targets)
        if self._found is None:
            raise ValueError("the mechanism made no step of its optimizer: each batch is a step, an empty one too")
        return self._found, blocks


def effective_multiplier(blocks):
    """Return the noise multiplier of all blocks together; blocks whose bound is 0 tell nothing, and need no noise."""
    noisy = [block.noise_multiplier for block in blocks if block.bound > 0]
    return combined(noisy) if noisy else math.inf


# ----- noise -----


def noise_test(make, inputs, targets, draws=80_000, level=LEVEL, device="cpu"):
    """Test that the noise of each block has at least the variance that is claimed.

    Half of the draws are of an empty batch, whose gradients are zero, half of the given one. Around the mean of its
    kind, the squares of n draws of p entries, over the claimed variance, add up to chi^2 with (n - 1) p degrees of
    freedom. The same noise in each step has no variance around its mean.

    Parameters
    ----------
    make : callable
    inputs, targets : torch.Tensor
        A batch.
    draws : int
        Random numbers to look at, of the smallest block, at least; rounded up to whole steps, 8 or more.
    level : float
    device : torch.device

    Returns
    -------
    Finding
        Its figure is the least variance over the claimed one.
    """
    check_integer("draws", draws, 1)
    with _own_seed():
        probe = Probe(make, device)
        probe.gradient(inputs, targets, seed=1)
        sizes = [_size(block, probe) for block in probe.mechanism.blocks() if block.bound > 0]
        steps = max(4, math.ceil(draws / (2 * min(sizes)))) if sizes else 4
        found = {}
        for batch in ((inputs[:0], targets[:0]), (inputs, targets)):
            for names, (variance, freedom) in _variances(probe, batch, steps).items():
                total = found.setdefault(names, [0.0, 0])
                total[0], total[1] = total[0] + variance, total[1] + freedom
    if not found:
        return Finding("noise", False, 0.0, "no block has noise: nothing is private")
    names, (squares, freedom) = min(found.items(), key=lambda each: each[1][0] / each[1][1])
    ratio = squares / freedom
    passed = bool(stats.chi2.cdf(squares, freedom) > level)
    what = f"the noise on {_called(names)} has {ratio:.3g} of the variance that is claimed ({freedom} draws)"
    return Finding("noise", passed, ratio, what)


def _variances(probe, batch, steps):
    """Return by block the sum of squares around the mean, over the claimed variance, and its degrees of freedom."""
    seen = {}
    for _ in range(steps):
        gradient, blocks = probe.gradient(*batch)
        for block in blocks:
            if block.bound > 0:
                flat = torch.cat([gradient[name].flatten() for name in block.names]).double() / block.std
                seen.setdefault(block.names, []).append(flat)
    sums = {}
    for names, draws in seen.items():
        if len(draws) > 1:
            stacked = torch.stack(draws)
            squares = float((stacked - stacked.mean(0)).square().sum())
            sums[names] = squares, (len(draws) - 1) * stacked.shape[1]
    return sums


# ----- sensitivity -----


def sensitivity_test(make, inputs, targets, device="cpu"):
    """Test that no example changes the private gradient by more than is claimed, and the weights by nothing else.

    Private gradients with and without the example, with the same noise, differ by what it adds. Each is tried on its
    own, and in the company of up to 8 of the others.

    Parameters
    ----------
    make : callable
    inputs, targets : torch.Tensor
        Examples, such as those of `adversarial_examples`.
    device : torch.device

    Returns
    -------
    Finding
        Its figure is the largest change over its bound.
    dict
        By parameter: what each example added to its gradient, on its own, as a list of norms.
    """
    worst, where, by_parameter = 0.0, "", {}
    with _own_seed():
        for index in range(len(inputs)):
            own = slice(index, index + 1)
            others = torch.tensor([i for i in range(len(inputs)) if i != index][:COMPANY], dtype=torch.int64)
            for kept in (others[:0], others):
                without = inputs[kept.to(inputs.device)], targets[kept.to(targets.device)]
                added = [
                    torch.cat([own_part[own], rest]) for own_part, rest in zip((inputs, targets), without, strict=True)
                ]
                change, blocks = _change(make, added, without, device)
                if not len(kept):
                    for name, each in change.items():
                        by_parameter.setdefault(name, []).append(float(each.norm()))
                for name, ratio in _ratios(change, blocks):
                    if ratio > worst:
                        worst, where = ratio, name
    what = f"one example changes the gradient of {where or 'no parameter'} by {worst:.4g} of the bound that is claimed"
    return Finding("sensitivity", worst <= 1 + ROUNDING, worst, what), by_parameter


def _change(make, added, without, device):
    """Return what one example adds to the private gradient, and the blocks.

    Raises
    ------
    ValueError
        If the noise isn't that of the generator, or the batch changes the weights past the optimizer.
    """
    results, weights = [], []
    for batch in (without, without, added):
        probe = Probe(make, device)
        results.append(probe.gradient(*batch, seed=2))
        weights.append([each.detach().clone() for each in probe.parameters.values()])
    (first, blocks), (second, _), (third, _) = results
    if not all(torch.equal(first[name], second[name]) for name in first):
        raise ValueError("two steps with the same noise differ: take the noise from the generator that is given")
    if not all(map(torch.equal, weights[0], weights[2])):
        raise ValueError("a batch changed the weights without the optimizer: only the private gradient may reach them")
    return {name: third[name].double() - first[name].double() for name in first}, blocks


def _ratios(change, blocks):
    """Yield (what, change over its bound) of each block, and of all together where there are several."""
    total = 0.0
    for block in blocks:
        size = math.sqrt(sum(float(change[name].square().sum()) for name in block.names))
        if block.bound > 0:
            total += (size / block.std) ** 2
        yield _called(block.names), size / block.bound if block.bound > 0 else (0.0 if size == 0 else math.inf)
    covered = {name for block in blocks for name in block.names}
    for name, each in change.items():
        if name not in covered and bool(each.any()):
            yield name, math.inf
    if len(blocks) > 1:
        yield "all parameters", math.sqrt(total) * effective_multiplier(blocks)


def adversarial_examples(model, loss, inputs, targets, input_norm, count=4, steps=5):
    """Search for examples with a large gradient: gradient ascent on its norm, from the given ones and from constants.

    Parameters
    ----------
    model : torch.nn.Module
    loss : callable
        Of outputs and targets; returns the loss of each example.
    inputs : torch.Tensor
        (n, ...), of norm at most `input_norm`, n >= 1.
    targets : torch.Tensor
        (n,), int64.
    input_norm : float
        That examples keep to.
    count : int
        How many to return at most.
    steps : int
        Of the ascent.

    Returns
    -------
    inputs : torch.Tensor
        (count, ...), those with the largest norms.
    targets : torch.Tensor
        (count,).
    """
    constant = torch.ones_like(inputs[:1])
    tried = torch.cat([inputs, constant.expand(len(targets), *inputs.shape[1:]), torch.randn_like(inputs)])
    labels = targets.repeat(3)
    parameters = {name: each.detach() for name, each in model.named_parameters() if each.requires_grad}

    def norm(example, label):
        def value(own):
            outputs = torch.func.functional_call(model, own, (example[None],))
            return loss(outputs, label[None])[0]

        gradients = torch.func.grad(value)(parameters)
        return torch.stack([each.square().sum() for each in gradients.values()]).sum()

    tried = _within(tried, input_norm, scale=True)
    # Gradients of each example take memory: of few at once where the network is large.
    at_once = max(1, LARGEST_GRADIENTS // sum(each.numel() for each in parameters.values()))
    slope = torch.func.vmap(torch.func.grad(norm), chunk_size=at_once)
    for _ in range(steps):
        moved = slope(tried, labels).nan_to_num()
        tried = _within(tried + _within(moved, input_norm / 2, scale=True), input_norm)
    best = torch.func.vmap(norm, chunk_size=at_once)(tried, labels).nan_to_num().topk(min(count, len(labels))).indices
    return tried[best].detach(), labels[best]


def _within(examples, norm, scale=False):
    """Scale examples down to a norm; with `scale`, up to it too, unless they are zero."""
    norms = torch.linalg.vector_norm(examples.flatten(1), dim=1).clamp(min=1e-12)
    factors = norm / norms if scale else (norm / norms).clamp(max=1)
    return examples * factors.view(-1, *[1] * (examples.ndim - 1))


# ----- batches -----


def batch_size_test(sizes, count, sampling_rate, level=LEVEL):
    """Test that sizes of batches are those of Poisson sampling: Binomial(N, q), independent.

    The total is Binomial(NT, q), exactly; the squares around Nq, over their variance, add up to about chi^2 with T
    degrees of freedom: batches of a fixed size have none. Both sides count, each with half of the level.

    Parameters
    ----------
    sizes : sequence of int
    count : int
        N, of the examples.
    sampling_rate : float
        q.
    level : float

    Returns
    -------
    Finding
        Its figure is the lesser of the two p-values.

    Raises
    ------
    ValueError
        If there is no batch, or the rate is none.
    """
    rate, count = check_rate(sampling_rate), check_integer("count", count, 1)
    sizes = np.asarray(sizes, dtype=np.int64)
    if not len(sizes):
        raise ValueError("no batch to test: give the sizes of those that were drawn")
    if rate == 1:
        p = 1.0 if (sizes == count).all() else 0.0
        return Finding("batch sizes", p > level, p, f"{int((sizes != count).sum())} batches lack examples, at rate 1")
    expected, variance = count * rate, count * rate * (1 - rate)
    total = stats.binomtest(int(sizes.sum()), count * len(sizes), rate).pvalue
    squares = float(((sizes - expected) ** 2).sum() / variance)
    spread = 2 * min(stats.chi2.cdf(squares, len(sizes)), stats.chi2.sf(squares, len(sizes)))
    p = float(min(total, spread, 1.0))
    what = (
        f"{len(sizes)} batches of {sizes.mean():.4g} examples with variance {squares * variance / len(sizes):.3g}: "
        f"Binomial({count}, {rate:.4g}) has {expected:.4g} and {variance:.3g}"
    )
    return Finding("batch sizes", p > level / 2, p, what)


# ----- the transcript -----


def transcript_test(transcript, blocks, batches, sampling_rate):
    """Test that a transcript holds a step for each batch, at the rate of the batches, and no more noise than there is.

    Parameters
    ----------
    transcript : Transcript
    blocks : sequence of Block
        Of one step.
    batches : int
        That were drawn.
    sampling_rate : float
        At which.

    Returns
    -------
    Finding
        Its figure is the largest recorded noise multiplier over that of the blocks; or the share of the batches that
        was recorded, if that isn't 1.
    """
    if transcript.steps != batches:
        what = f"{transcript.steps} steps are recorded, and {batches} batches were drawn"
        return Finding("transcript", False, transcript.steps / batches, what)
    rates = {event.sampling_rate for event in transcript.events}
    if rates != {sampling_rate}:
        what = f"steps are recorded at the rates {sorted(rates)}, and batches were drawn at {sampling_rate:g}"
        return Finding("transcript", False, min(rates) / sampling_rate, what)
    recorded, claimed = max(event.noise_multiplier for event in transcript.events), effective_multiplier(blocks)
    ratio = recorded / claimed
    what = f"a noise multiplier of {recorded:.4g} is recorded, and the blocks of a step have {claimed:.4g} together"
    return Finding("transcript", ratio <= 1 + RECORDED, ratio, what)


# ----- a repeated canary -----


def canary_test(make, example, target, repetitions=500, level=LEVEL, device="cpu"):
    """Test, by many single steps with and without one example, that they are as hard to tell apart as is claimed.

    At a sampling rate of 1, private gradients with and without the example, projected on what it adds, are normal with
    a distance of at most 1 / s deviations, for the claimed noise multiplier s. How often each is above a threshold
    that is fixed beforehand bounds the distance from below (Clopper-Pearson; Nasr et al., 2023), whatever the
    mechanism does.

    Parameters
    ----------
    make : callable
    example, target : torch.Tensor
        (1, ...) and (1,).
    repetitions : int
        Of each kind of step, at least 10.
    level : float
    device : torch.device

    Returns
    -------
    Finding
        Its figure is the lower bound of the distance, over the claimed one.
    """
    check_integer("repetitions", repetitions, 10)
    nothing = example[:0], target[:0]
    with _own_seed():
        change, blocks = _change(make, (example, target), nothing, device)
        claimed = 1 / effective_multiplier(blocks)
        length = math.sqrt(sum(_inner(change, change, block) for block in blocks)) or 1.0
        probe = Probe(make, device)
        probe.generator.manual_seed(3)
        torch.manual_seed(3)
        above = []
        for batch in (nothing, (example, target)):
            drawn = [_score(probe.gradient(*batch), change) / length for _ in range(repetitions)]
            above.append(sum(each > claimed / 2 for each in drawn))
    false, true = above
    high = stats.beta.ppf(1 - level / 2, false + 1, repetitions - false) if false < repetitions else 1.0
    low = stats.beta.ppf(level / 2, true, repetitions - true + 1) if true else 0.0
    distance = max(0.0, float(stats.norm.ppf(low) - stats.norm.ppf(high)))
    ratio = distance / claimed if claimed else math.inf
    what = (
        f"an example is {distance:.3g} deviations away or more, where {claimed:.3g} is claimed "
        f"({repetitions} repetitions)"
    )
    return Finding("canary", ratio <= 1, ratio, what)


def _score(gradient_and_blocks, change):
    gradient, blocks = gradient_and_blocks
    return sum(_inner(gradient, change, block) for block in blocks)


def _inner(first, second, block):
    if not block.bound > 0:
        return 0.0
    return sum(float((first[name].double() * second[name].double()).sum()) for name in block.names) / block.std**2


# ----- helpers -----


def _size(block, probe):
    return sum(probe.parameters[name].numel() for name in block.names)


def _called(names):
    return ", ".join(names[:2]) + (" and others" if len(names) > 2 else "")


def _own_seed():
    return torch.random.fork_rng(devices=range(torch.cuda.device_count()))
