"""Tests of what a private mechanism claims: what one example adds to its sums, and that they are sums.

A mechanism here is ``ask(inputs, targets)``: for a batch it returns the sums, a dict of tensors by name, and a list of
`Block`, what is claimed of them, for weights that stay the same. A test can refute a claim, and prove none.
"""

import math
from typing import NamedTuple

import torch
from scipy import stats

from .release import effective_multiplier

# How often an honest mechanism is refuted by chance, for each test.
LEVEL = 1e-6

# Of differences between two sums, as a share of the bound: rounding in float32, of each example's share too.
ROUNDING, ROUNDING_OF_EXAMPLES = 1e-3, 1e-5

# An example is tried on its own, added to this many others, and to a batch.
COMPANY = 8

# Entries of the gradients of all examples that are computed at once.
LARGEST_GRADIENTS = 2**24


class Finding(NamedTuple):
    """What a test found: its name, whether the claim stands, the figure that decides, and what it means, in a line."""

    test: str
    passed: bool
    figure: float
    message: str


# ----- sensitivity -----


def sensitivity_test(ask, inputs, targets, batch):
    """Test that no example changes the sums by more than is claimed.

    Sums with and without the example differ by what it adds. Each is tried on its own, in the company of 8 of those
    given, and in that of a whole batch. What is claimed must not depend on the examples.

    Parameters
    ----------
    ask : callable
    inputs, targets : torch.Tensor
        Examples, such as those of `adversarial_examples`.
    batch : tuple of torch.Tensor
        Inputs and targets, as many as a step has.

    Returns
    -------
    Finding
        Its figure is the largest change over its bound.
    dict
        By sum: what each example added to it, on its own, as a list of norms.
    """
    worst, where, by_name = 0.0, "", {}
    nothing = inputs[:0], targets[:0]
    alone, full = ask(*nothing), ask(*batch)
    first, last = ((inputs[place], targets[place]) for place in (slice(COMPANY), slice(-COMPANY, None)))
    companies = [(first, ask(*first)), (last, ask(*last))]
    for index in range(len(inputs)):
        own = inputs[index : index + 1], targets[index : index + 1]
        few = companies[index < len(inputs) // 2]
        for without, answer in ((nothing, alone), few, (batch, full)):
            change = difference(ask(*_joined(without, own)), answer)
            if without is nothing:
                for name, each in change.items():
                    by_name.setdefault(name, []).append(float(each.norm()))
            for name, ratio in _ratios(change, answer[1]):
                if ratio > worst:
                    worst, where = ratio, name
    return _sensitivity(worst, where), by_name


def change_test(one, other):
    """Test that two answers, to batches that differ by one example, differ by no more than is claimed.

    Parameters
    ----------
    one, other : tuple of (dict of str to torch.Tensor, list of Block)

    Returns
    -------
    Finding
        As of `sensitivity_test`.
    """
    where, worst = max(_ratios(difference(one, other), other[1]), key=lambda each: each[1])
    return _sensitivity(worst, where)


def _sensitivity(worst, where):
    what = f"one example changes the sum of {where or 'nothing'} by {worst:.4g} of the bound that is claimed"
    if worst == math.inf:
        what = f"the bound of {where} depends on the examples, or is 0 for a sum that does"
    return Finding("sensitivity", worst <= 1 + ROUNDING, worst, what)


def _joined(*batches):
    return [torch.cat(parts) for parts in zip(*batches, strict=True)]


def difference(one, other):
    """Return the difference of two answers' sums, in float64; of infinite entries where their blocks differ."""
    (first, blocks), (second, others) = one, other
    same = blocks == others and list(first) == list(second)
    return {
        name: (first[name].double() - second[name].double()) if same else _infinite(second[name]) for name in second
    }


def _infinite(tensor):
    return torch.full_like(tensor, math.inf, dtype=torch.float64)


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
        if name not in covered:
            yield name, math.inf if bool(each.any()) else 0.0
    if len(blocks) > 1:
        yield "all", math.sqrt(total) * effective_multiplier(blocks) if total else 0.0


def _called(names):
    return ", ".join(names[:2]) + (" and others" if len(names) > 2 else "")


# ----- sums -----


def sum_test(ask, inputs, targets, answer):
    """Test that an answer to a batch is the sum over its examples, and depends on nothing else.

    The same batch must give the same; the sums of its two halves must add up to it. An answer that depends on what was
    asked before does not, nor one that divides by the number of examples.

    Parameters
    ----------
    ask : callable
        Of the same weights, such as by a process that has seen no other batch.
    inputs, targets : torch.Tensor
    answer : tuple of (dict of str to torch.Tensor, list of Block)
        The one to test.

    Returns
    -------
    Finding
        Its figure is the largest difference over the bound of one example.
    """
    half = len(inputs) // 2
    parts = [ask(inputs[place], targets[place]) for place in (slice(half), slice(half, None))]
    halves = {name: parts[0][0][name].double() + parts[1][0][name].double() for name in answer[0]}
    again = difference(ask(inputs, targets), answer)
    apart = difference((halves, parts[0][1] if parts[0][1] == parts[1][1] else []), answer)
    where, worst = max([*_ratios(again, answer[1]), *_ratios(apart, answer[1])], key=lambda each: each[1])
    what = (
        f"the sum of {where} over {len(inputs)} examples differs by {worst:.3g} bounds of one example from what the "
        "same examples give again, together or in halves"
    )
    return Finding("sum", worst <= ROUNDING + ROUNDING_OF_EXAMPLES * len(inputs), worst, what)


# ----- noise -----


class Independence:
    """Whether sums know the noise that they get: the inner products of both over a run, normal if they don't.

    Of each step it is that of the sums, divided by the standard deviations of their noise, with standard normal noise,
    over the norm of the former: a standard normal number, whatever came before.
    """

    def __init__(self):
        self._total, self._count = 0.0, 0

    def add(self, sums, noise, blocks):
        """Take in one step: sums and noise by name, and the blocks that the noise is for."""
        product = size = 0.0
        for block in blocks:
            for name in block.names if block.std > 0 else ():
                scaled = sums[name].double() / block.std
                product += float((scaled * noise[name].double()).sum()) / block.std
                size += float(scaled.square().sum())
        if size:
            self._total, self._count = self._total + product / math.sqrt(size), self._count + 1

    def test(self, level=LEVEL):
        """Return the `Finding`, whose figure is the p-value: 1 for a run without a sum."""
        score = self._total / math.sqrt(self._count) if self._count else 0.0
        p = float(2 * stats.norm.sf(abs(score)))
        what = f"the sums go with the noise that they get, by {score:.3g} standard deviations over {self._count} steps"
        return Finding("noise", p > level, p, what)


# ----- examples to try -----


def adversarial_examples(model, loss, inputs, targets, input_norm, count=4, steps=5):
    """Search for examples with a large gradient: gradient ascent on its norm, from the given ones and from constants.

    Parameters
    ----------
    model : torch.nn.Module
        Which doesn't mix examples.
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
