"""The loop itself: batch, forward, backward, step; the same for every solver."""

import torch
import torch.distributed

from ...data.batches import BatchOrder
from ...data.parts import send
from ...device import PhaseClock
from ...optim.learning_rate import warmup_stable_decay
from ...optim.recording import recorded_steps
from ..checks import check_optimizers
from ..processes import rank, world_size
from ..status import Diverged, InvalidResult
from .task import PHASES

# One less than the steps of a throw-away copy, so that what the first recording of a process takes is not on the clock.
RECORDED_AFTER = 2


class Trainer:
    """Trains a model on a task, one step at a time.

    A step takes the task's whole batch: in micro-batches, whose gradients are accumulated, and with each process of
    `torch.distributed`, where that is in use, taking its share. Gradients are those of the whole batch to rounding,
    however it is divided (but for layers that mix examples, such as batch norm).

    Parameters
    ----------
    task : TrainingTask
    model : torch.nn.Module
        On ``device``.
    make_optimizers : callable
        Takes the model, returns a list of optimizers that together train each of its parameters once. Their learning
        rates are the highest of the schedule.
    seed : int
        Decides the batches. Torch's global generator, which dropout uses, is the caller's to seed.
    device : torch.device
    autocast : bool
        Forward passes in bfloat16, by `torch.autocast`.
    compile : {False, True, "steps"}
        True: compile the model. "steps": also replay CUDA graphs for the steps of optimizers that can be recorded.
    decays : bool
        Whether the learning rate falls at the end.

    Attributes
    ----------
    model : torch.nn.Module
    optimizers : list of torch.optim.Optimizer
    part : Examples or Windows
        The training examples, on ``device``.
    done : int
        Steps so far.
    phases : PhaseClock

    Raises
    ------
    InvalidResult
        If the optimizers are not as they should be.
    ValueError
        If `compile` isn't one of these, or steps are to be recorded elsewhere than on a CUDA device.
    """

    def __init__(self, task, model, make_optimizers, seed, device, autocast=False, compile=False, decays=True):
        if compile not in (False, True, "steps"):
            raise ValueError(f"compile={compile!r}: expected False, True or 'steps'")
        self.task, self.model = task, model.train()
        self.seed, self.device, self.autocast = seed, device, autocast
        self.take(task.parts.train)
        self.optimizers = self._make_optimizers(make_optimizers)
        self._rates = [float(group["lr"]) for group in self._groups]
        self._forward = torch.compile(model) if compile else model
        self._recorded = recorded_steps(self.optimizers, RECORDED_AFTER) if compile == "steps" else {}
        self._order = BatchOrder(len(self.part), task.batch_size, seed)
        self._augmentation = torch.Generator().manual_seed(seed)
        self._losses = []
        self._schedule = {} if decays else {"decay": 0.0}
        self._shown = False
        self.phases = PhaseClock(device, PHASES)
        self.done = 0

    def _make_optimizers(self, make_optimizers):
        optimizers = make_optimizers(self.model)
        check_optimizers(optimizers, self.model)
        return list(optimizers)

    def take(self, train):
        """Train on these examples, in place of as many others, from the next step on."""
        self.part = train.to(self.device)

    def step(self):
        """Do one step; return its loss."""
        self._hide_weights()
        self.phases.start()
        batch = self._batch()
        self.phases.end("data")
        loss = self._accumulate(batch)
        self._step_optimizers()
        self.phases.end("optimizer")
        self._losses.append(loss)
        self.done += 1
        return loss

    def check(self):
        """Look for what a solver must leave alone: nothing where no code of its runs."""

    def _batch(self):
        """Return the next batch in micro-batches: a list of (inputs, targets)."""
        # Drawn and augmented whole by each process, so that the batch does not depend on their number.
        inputs, targets = (send(each, self.device) for each in self.part[self._draw()])
        if self.task.augment is not None:
            inputs = self.task.augment(inputs, self._augmentation)
        share = slice(rank(), None, world_size())
        return self._micro_batches(inputs[share], targets[share])

    def _draw(self):
        return self._order.draw()

    def _micro_batches(self, *examples):
        size = self.task.micro_batch_size
        return list(zip(*(each.split(size or len(each)) for each in examples), strict=True))

    def _accumulate(self, micro_batches):
        """Compute the gradients of a batch; return its loss."""
        loss = torch.zeros((), device=self.device)
        for inputs, targets in micro_batches:
            share = self._loss(self._forward, inputs, targets)
            self.phases.end("forward")
            share.backward()
            self.phases.end("backward")
            loss += share.detach()
        if world_size() > 1:
            gradients = [each.grad for each in self.model.parameters() if each.grad is not None]
            for each in (loss, *gradients):
                torch.distributed.all_reduce(each)
            self.phases.end("backward")
        return loss

    def _loss(self, model, inputs, targets):
        """Return what some examples add to the loss of the whole batch."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            return self.task.loss(model(inputs), targets) * (len(inputs) / self.task.batch_size)

    def _step_optimizers(self):
        factor = warmup_stable_decay(self.done, self.task.steps, **self._schedule)
        groups = self._groups
        if len(groups) != len(self._rates):
            raise InvalidResult(f"the optimizers have {len(groups)} groups and had {len(self._rates)}: keep them")
        for group, rate in zip(groups, self._rates, strict=True):
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(rate * factor)
            else:
                group["lr"] = rate * factor
        for optimizer in self.optimizers:
            self._step_optimizer(optimizer, factor)
        for optimizer in self.optimizers:
            self._recorded.get(optimizer, optimizer).zero_grad()

    def _step_optimizer(self, optimizer, factor):
        """Call an optimizer's step; its rates are ``factor`` times the highest."""
        self._recorded.get(optimizer, optimizer.step)()

    @property
    def _groups(self):
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def show_weights(self):
        """Put the weights that are to be evaluated into the model, until the next step.

        An optimizer that evaluates other weights than it takes gradients at, such as an average, has methods ``eval``
        and ``train`` that switch between them (the convention of Schedule-Free).
        """
        self._switch(True)

    def _hide_weights(self):
        self._switch(False)

    def _switch(self, shown):
        for optimizer in self.optimizers if shown != self._shown else []:
            if hasattr(optimizer, "eval") and hasattr(optimizer, "train"):
                (optimizer.eval if shown else optimizer.train)()
        self._shown = shown

    def take_losses(self):
        """Return the mean training loss of the steps since the last call, NaN if there was none.

        Raises
        ------
        Diverged
            If a loss isn't finite; the message names its step. Looked for here, because looking at each step would
            wait for the device.
        """
        if not self._losses:
            return float("nan")
        losses, self._losses = torch.stack(self._losses).double().cpu(), []
        finite = losses.isfinite()
        if not finite.all():
            index = int(finite.logical_not().int().argmax())
            step = self.done - len(losses) + index + 1
            raise Diverged(f"the training loss is {losses[index]:g} at step {step}: try a lower learning rate")
        return float(losses.mean())
