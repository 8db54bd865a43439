"""The loop of private training: a Poisson batch, a private step; the same for every solver."""

import torch

from ...privacy.sampling import PoissonLoader
from ...privacy.transcript import Transcript
from ..status import Diverged, InvalidResult
from ..training import guard
from ..training.schedule import warmup_stable_decay
from .mechanisms import Plan

# Noise and batches are drawn from generators of their own.
NOISE_STREAM = 2**31


class PrivateTrainer:
    """Trains a model on a task, one private step at a time.

    Parameters
    ----------
    task : PrivateTask
    model : torch.nn.Module
        On ``device``.
    make : callable
        ``make(optimizer, model, plan)`` returns a mechanism around what ``optimizer(parameters)`` returned.
    optimizer : callable
        Takes the model's parameters, returns an optimizer with the highest learning rate of the schedule.
    noise_multiplier : float
        Of each step.
    seed : int
        Decides batches and noise.
    device : torch.device
    canaries : orthobench.privacy.audit.Canaries, optional
        Added to the private gradients and scored, in a run that is audited.
    known : callable, optional
        Of a batch: what it adds to the private gradients, which the auditor takes off.

    Attributes
    ----------
    transcript : Transcript
        What the mechanism recorded.
    loader : PoissonLoader
    done : int
    """

    def __init__(self, task, model, make, optimizer, noise_multiplier, seed, device, canaries=None, known=None):
        self.task, self.model, self.device, self.seed = task, model.train(), device, seed
        self.part = task.parts.train.to(device)
        self._versions, self._global_seed = guard.versions(self.part), torch.initial_seed()
        self.transcript, self._canaries, self._known = Transcript(), canaries, known
        self.loader = PoissonLoader(
            (self.part.inputs, self.part.targets),
            task.batch_size,
            task.steps,
            generator=torch.Generator().manual_seed(seed),
            transcript=self.transcript,
        )
        self.plan = plan_of(task, noise_multiplier, self.transcript, device, seed)
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        self._optimizer = optimizer(model.parameters())
        guard.check_optimizers([self._optimizer], model)
        if canaries is not None:
            self._optimizer.register_step_pre_hook(self._add_canaries)
        self._rates = [float(group["lr"]) for group in self._optimizer.param_groups]
        self.mechanism = make(self._optimizer, model, self.plan)
        guard.check_unchanged(model, before)
        guard.check_seed(self._global_seed)
        self._losses, self.done = [], 0

    def step(self):
        """Draw a batch and do one step.

        Raises
        ------
        InvalidResult
            If a solver changed a learning rate or wrote to the data.
        """
        guard.check_versions(self.part, self._versions)
        inputs, targets = self.loader.draw()
        expected = self._set_rates()
        if self._canaries is not None:
            self._now = self.mechanism.blocks(), self._known(inputs, targets)
        self._losses.append((self.mechanism.step(inputs, targets), len(inputs)))
        if [group["lr"] for group in self._optimizer.param_groups] != expected:
            raise InvalidResult("an optimizer changed its learning rate: the shape of the schedule is the harness's")
        self.done += 1

    def check(self):
        """Check what a solver must leave alone while it trains.

        Raises
        ------
        InvalidResult
        """
        guard.check_shared()
        guard.check_seed(self._global_seed)
        guard.check_versions(self.part, self._versions)
        if len(self.loader.sizes) != self.done:
            raise InvalidResult("the solver drew from the batches: they belong to the harness")

    def take_losses(self):
        """Return the mean loss of the examples since the last call, NaN if there was none: no private figure.

        Raises
        ------
        Diverged
            If a loss isn't finite.
        """
        taken, self._losses = self._losses, []
        count = sum(size for _, size in taken)
        if not count:
            return float("nan")
        total = torch.stack([loss for loss, _ in taken]).double().sum()
        if not total.isfinite():
            raise Diverged(f"the training loss is {float(total):g} before step {self.done}: try a lower learning rate")
        return float(total) / count

    def _set_rates(self):
        factor = warmup_stable_decay(self.done, self.task.steps)
        groups = self._optimizer.param_groups
        if len(groups) != len(self._rates):
            raise InvalidResult(f"the optimizer has {len(groups)} groups and had {len(self._rates)}: keep them")
        for group, rate in zip(groups, self._rates, strict=True):
            group["lr"] = rate * factor
        return [rate * factor for rate in self._rates]

    def _add_canaries(self, *_):
        gradients = {name: each.grad for name, each in self.model.named_parameters() if each.requires_grad}
        self._canaries.add(gradients, *self._now)


def plan_of(task, noise_multiplier, transcript, device, seed):
    """Return the `Plan` of a run of a task.

    Parameters
    ----------
    task : PrivateTask
    noise_multiplier : float
    transcript : Transcript
    device : torch.device
    seed : int
        Of the noise.
    """
    return Plan(
        noise_multiplier=noise_multiplier,
        sampling_rate=task.sampling_rate,
        expected_batch_size=task.batch_size,
        steps=task.steps,
        input_norm=task.input_norm,
        classes=task.classes,
        transcript=transcript,
        generator=torch.Generator(device).manual_seed((seed + NOISE_STREAM) % 2**63),
    )
