"""The loop of private training, the bench's: a Poisson batch, its sums, noise, a step; the same for every solver."""

import math
import secrets
import time
from typing import NamedTuple

import torch

from ...optim.learning_rate import warmup_stable_decay
from ...privacy.mechanism_tests import Independence
from ...privacy.release import Block, add_noise, draw_noise, effective_multiplier
from ...privacy.sampling import PoissonLoader
from ...privacy.sums import Summed, blocks_of_parameters, size_test
from ...privacy.transcript import Transcript
from ..stand.wire import is_number
from ..status import Diverged, InvalidResult, Refuted

# Noise and batches are drawn from generators of their own.
NOISE_STREAM = 2**31

# Steps that are asked again of another process, drawn anew for each run; the last is, too.
ASKED_AGAIN = 8


class Question(NamedTuple):
    """What sums are asked for: weights by name, the mechanism's state, and a batch."""

    weights: dict
    state: dict
    inputs: torch.Tensor
    targets: torch.Tensor


class PrivateRun:
    """Trains a model on a task, one private step at a time, with stands for the sums and for the optimizer.

    Parameters
    ----------
    task : PrivateTask
    plan : Plan
        Without a noise multiplier the run isn't private: nothing is added or recorded.
    question : Question
        Weights and state to begin with, and an empty batch.
    query : callable
        Takes a `Question`, returns the loss and `Summed`.
    apply : callable
        Takes noisy sums and a share of the highest learning rate, returns weights, state and the probability that a
        bound failed so far.
    seed : int
        Decides batches and noise.
    make_canaries : callable, optional
        Takes the first step's blocks of parameters, returns `orthobench.privacy.audit.Canaries`, which are added to the
        private gradients and scored.

    Attributes
    ----------
    question : Question
        The last one, with the weights and the state as they are now.
    summed : Summed
        Its answer.
    transcript : Transcript
    done : int
    own_s : float
        That the batches and the noise took.
    kept : list of tuple of (Question, Summed)
        Of the last step and those that were drawn to be asked again.

    Raises
    ------
    Refuted
        If the sums over an empty batch aren't 0.
    """

    def __init__(self, task, plan, question, query, apply, seed, make_canaries=None):
        self.task, self.plan, self.question = task, plan, question
        self._query, self._apply, self._make_canaries = query, apply, make_canaries
        self.transcript, self.independence, self.canaries = Transcript(), Independence(), None
        part = task.parts.train
        generator = torch.Generator().manual_seed(seed)
        self.loader = PoissonLoader(
            (part.inputs, part.targets), task.batch_size, task.steps, generator, transcript=self.transcript
        )
        self._noise = torch.Generator().manual_seed((seed + NOISE_STREAM) % 2**63)
        # Not by the seed, which a solver may know; and the last, of which there is a figure.
        drawn = secrets.SystemRandom().sample(range(task.steps), min(ASKED_AGAIN, task.steps))
        self._drawn = {*drawn, task.steps - 1}
        self.kept, self._losses, self.done, self.own_s = [], [], 0, 0.0
        _, (nothing, _) = query(question)
        self._form = form(nothing)
        moved = [name for name, each in nothing.items() if bool(each.any())]
        if moved:
            raise Refuted(f"sum: that of {moved[0]} over no example isn't 0")

    def step(self):
        """Draw a batch and do one step.

        Raises
        ------
        Diverged
            If the weights aren't finite any more.
        InvalidResult
            If the sums have another form than before.
        """
        started = time.perf_counter()
        inputs, targets = self.loader.draw()
        self.own_s += time.perf_counter() - started
        self.question = self.question._replace(inputs=inputs, targets=targets)
        loss, self.summed = self._query(self.question)
        # Names and shapes go on to the optimizer.
        if form(self.summed.sums) != self._form:
            raise InvalidResult("sums have other names, shapes or types than those over no example: keep to these")
        size = size_test(self.summed, len(inputs))
        if not size.passed:
            raise Refuted(f"{size.test}: {size.message}")
        if self.done in self._drawn:
            self.kept.append((self.question, self.summed))
        noisy = self._noisy(*self.summed) if self.plan.noise_multiplier else self.summed.sums
        weights, state, failure = self._apply(noisy, warmup_stable_decay(self.done, self.task.steps))
        self.question = self.question._replace(weights=weights, state=state)
        if failure > self.transcript.extra_delta:
            self.transcript.add_failure_probability(failure - self.transcript.extra_delta)
        self._losses.append((loss, len(inputs)))
        self.done += 1
        if not all(bool(each.isfinite().all()) for each in weights.values()):
            raise Diverged(f"weights hold NaN or infinity after step {self.done}: try a lower learning rate")

    def _noisy(self, sums, blocks):
        started = time.perf_counter()
        noise = draw_noise(sums, blocks, self._noise)
        noisy = add_noise(sums, noise)
        self.own_s += time.perf_counter() - started
        nominal = self.plan.noise_multiplier
        self.transcript.record(self.task.sampling_rate, [effective_multiplier(blocks, nominal)])
        self.independence.add(sums, noise, blocks)
        if self._make_canaries is not None:
            blocks = blocks_of_parameters(blocks, self.question.weights)
            self.canaries = self.canaries or self._make_canaries(blocks)
            self.canaries.add(noisy, blocks, known=sums)
        return noisy

    def take_loss(self):
        """Return the mean loss of the examples since the last call, NaN if there was none: no private figure."""
        taken, self._losses = self._losses, []
        count = sum(size for _, size in taken)
        return sum(loss for loss, _ in taken) / count if count else math.nan


def form(sums):
    """Return what must not depend on examples: names, shapes and types of sums, in order."""
    return [(name, each.shape, each.dtype) for name, each in sums.items()]


def read_sums(answer, weights, private):
    """Return the loss and the `Summed` of a stand's answer.

    Parameters
    ----------
    answer : orthobench.harness.stand.bench.Answer
    weights : dict of str to torch.Tensor
        The trained parameters: each needs a sum of its shape.
    private : bool
        Whether each sum needs a block, with noise if it has a bound above 0.

    Raises
    ------
    InvalidResult
        If it isn't of that form.
    Diverged
        If a number isn't finite.
    Refuted
        If a sum has no noise, in a private run.
    """
    names = answer.fields.get("names")
    if not _are_names(names) or len(names) != len(answer.tensors):
        raise InvalidResult(f"the sums are called {str(names)[:80]}: expected a name of its own for each")
    sums = dict(zip(names, answer.tensors, strict=True))
    for name, weight in weights.items():
        if name not in sums or sums[name].shape != weight.shape or sums[name].dtype != weight.dtype:
            found = f"{sums[name].dtype} of shape {tuple(sums[name].shape)}" if name in sums else "missing"
            raise InvalidResult(f"the sum for {name} is {found}, expected {weight.dtype} of {tuple(weight.shape)}")
    if not all(each.is_floating_point() for each in sums.values()):
        raise InvalidResult("a sum is of whole numbers: expected floating-point ones, which noise can be added to")
    loss = answer.number("loss")
    if not math.isfinite(loss) or not all(bool(each.isfinite().all()) for each in sums.values()):
        raise Diverged(f"sums of gradients hold NaN or infinity, or the loss is {loss:g}: try a lower learning rate")
    blocks = answer.fields.get("blocks") if private else []
    blocks = [_block(each) for each in (blocks if isinstance(blocks, list) else [blocks])]
    covered = [name for block in blocks for name in block.names]
    if len(set(covered)) < len(covered) or not set(covered) <= set(sums):
        raise InvalidResult(f"the blocks are of {str(covered)[:80]}: expected each sum in one")
    bare = [name for name in sums if name not in covered]
    silent = [block for block in blocks if not block.std > 0]
    bare += [name for block in silent for name in block.names if block.bound > 0 or bool(sums[name].any())]
    if private and bare:
        raise Refuted(f"noise: {bare[0]} has none, so that nothing is private")
    return loss, Summed(sums, blocks)


def _are_names(found):
    return isinstance(found, list) and all(isinstance(each, str) for each in found) and len({*found}) == len(found) > 0


def _block(found):
    match found:
        case {"names": names, "bound": bound, "std": std} if _are_names(names):
            if all(is_number(each) and 0 <= each < math.inf for each in (bound, std)):
                return Block(tuple(names), float(bound), float(std))
    raise InvalidResult(f"a block is {str(found)[:120]}: expected names, a finite bound and std, both >= 0")


def read_weights(answer, weights):
    """Return the weights, the state and the failure probability of a stand's answer to ``apply``.

    Raises
    ------
    InvalidResult
        If the weights have other shapes or types than those before, or the state isn't a dict.
    """
    found, before = answer.tensors, list(weights.values())
    if [(each.shape, each.dtype) for each in found] != [(each.shape, each.dtype) for each in before]:
        raise InvalidResult("a step gave weights of other shapes or types: the model belongs to the harness")
    failure = answer.number("failure_probability")
    if not 0 <= failure < 1:
        raise InvalidResult(f"failure_probability is {failure!r}: expected one in [0, 1)")
    return dict(zip(weights, found, strict=True)), read_state(answer), failure


def read_state(answer):
    """Return the state of a mechanism; raise InvalidResult if it isn't a dict."""
    state = answer.fields.get("state")
    if not isinstance(state, dict):
        raise InvalidResult(f"the state is {str(state)[:80]!r}: expected a dict of numbers")
    return state
