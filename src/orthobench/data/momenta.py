"""Momenta as Muon meets them: averages of gradients, recorded while small networks train on real data."""

import itertools

import torch
from torch.nn.functional import cross_entropy

from orthobench.data.cache import cached
from orthobench.data.embedded import digits, python_manual
from orthobench.models.checks import check_integer
from orthobench.models.networks import byte_transformer, digits_convnet, hidden_weights
from orthobench.models.reproducible import LARGEST_SEED, seeded

LAST_STEP = 10_000
MOMENTUM = 0.95


def record_momenta(network, steps=(1, 20, 100), seed=0):
    """Momenta of the layers that Muon orthogonalises, recorded during a real training.

    The network is trained by AdamW, whose first moment is the average of gradients that Muon also keeps,
    M <- 0.95 M + 0.05 G from M = 0, before any Nesterov step. Training is on the CPU with one thread, so that a
    record is the same to the last bit in any process of one machine. Records are kept in the cache.

    Parameters
    ----------
    network : {"convnet", "transformer"}
        `digits_convnet` on scikit-learn's digits, or `byte_transformer` on the text of Python's manual.
    steps : sequence of int
        When to record: after how many updates, each in 1..10000.
    seed : int
        Decides the initial weights and the batches, in 0..2**63 - 1.

    Returns
    -------
    dict of int to dict of str to torch.Tensor
        By step, ascending, then by layer: matrices, float32, one row an output; (C_out, C_in * 3 * 3) for convolutions.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of those allowed.
    """
    if network not in tuple(TASKS):
        raise ValueError(f"network is {network!r}: give one of {', '.join(TASKS)}")
    return _record(network, _check_steps(steps), check_integer("seed", seed, 0, LARGEST_SEED))


@cached
def _record(network, steps, seed):
    with seeded(seed):
        states = enumerate(itertools.islice(training(network, seed), max(steps)), start=1)
        return {step: _momenta(model, optimizer) for step, (_, model, optimizer) in states if step in steps}


def training(network, seed):
    """Train without end; to be run inside `seeded`.

    Parameters
    ----------
    network : {"convnet", "transformer"}
        What to train.
    seed : int
        Decides the initial weights and the batches.

    Yields
    ------
    loss : float
        Cross-entropy of the step's batch before the step, in nats.
    model : torch.nn.Module
        After the step, still with the step's gradients.
    optimizer : torch.optim.AdamW
        After the step.
    """
    make_model, batches = TASKS[network]
    model = make_model(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(MOMENTUM, 0.99))
    for inputs, targets in batches(torch.Generator().manual_seed(seed)):
        loss = cross_entropy(model(inputs).flatten(0, -2), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.item(), model, optimizer


def _momenta(model, optimizer):
    return {
        name: optimizer.state[weight]["exp_avg"].flatten(1).clone() for name, weight in hidden_weights(model).items()
    }


def _digit_batches(generator, size=128):
    images, labels = digits()
    while True:
        chosen = torch.randint(len(images), (size,), generator=generator)
        yield images[chosen], labels[chosen]


def _text_batches(generator, size=8, context=64):
    text = python_manual().long()
    while True:
        starts = torch.randint(len(text) - context, (size, 1), generator=generator)
        excerpts = text[starts + torch.arange(context + 1)]
        yield excerpts[:, :-1], excerpts[:, 1:]


TASKS = {"convnet": (digits_convnet, _digit_batches), "transformer": (byte_transformer, _text_batches)}


def _check_steps(steps):
    try:
        steps = tuple(steps)
    except TypeError:
        raise TypeError(f"steps is {steps!r}: give a sequence of integers in 1..{LAST_STEP}") from None
    if not steps:
        raise ValueError(f"steps is empty: give one or more integers in 1..{LAST_STEP}")
    return tuple(sorted({check_integer("step", step, 1, LAST_STEP) for step in steps}))
