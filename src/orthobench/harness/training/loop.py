"""The loop itself: batch, forward, backward, step; the same for every solver."""

import torch
import torch.distributed

from ..status import Diverged, InvalidResult
from . import guard
from .batches import BatchOrder
from .phases import PhaseClock
from .schedule import warmup_stable_decay


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
    compile : bool
        Compile the model.
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
        If the optimizers are not as they should be, or making them changed the model.
    """

    def __init__(self, task, model, make_optimizers, seed, device, autocast=False, compile=False, decays=True):
        self.task, self.model = task, model.train()
        self.seed, self.device, self.autocast = seed, device, autocast
        self._structure = guard.structure(model)
        self._global_seed = torch.initial_seed()
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        self.optimizers = make_optimizers(model)
        guard.check_seed(self._global_seed)
        guard.check_structure(model, self._structure)
        guard.check_optimizers(self.optimizers, model)
        guard.check_unchanged(model, before)
        self._groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]
        self._rates = [float(group["lr"]) for group in self._groups]
        self._forward = torch.compile(model) if compile else model
        self.part = task.parts.train.to(device)
        self._order = BatchOrder(len(self.part), task.batch_size, seed)
        self._augmentation = torch.Generator().manual_seed(seed)
        self._losses = []
        self._schedule = {} if decays else {"decay": 0.0}
        self._shown = False
        self.phases = PhaseClock(device)
        self.done = 0

    def step(self):
        """Do one step.

        Raises
        ------
        InvalidResult
            If an optimizer changed its learning rate.
        """
        self._hide_weights()
        self.phases.start()
        inputs, targets = self._batch()
        self.phases.end("data")
        loss = torch.zeros((), device=self.device)
        for some_inputs, some_targets in zip(self._micro(inputs), self._micro(targets), strict=True):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
                outputs = self._forward(some_inputs)
                share = self.task.loss(outputs, some_targets) * (len(some_inputs) / self.task.batch_size)
            self.phases.end("forward")
            share.backward()
            self.phases.end("backward")
            loss += share.detach()
        if _world() > 1:
            self._sum_over_processes(loss)
            self.phases.end("backward")
        self._losses.append(loss)
        factor = warmup_stable_decay(self.done, self.task.steps, **self._schedule)
        self._set_rates(factor)
        for optimizer in self.optimizers:
            optimizer.step()
        self._check_rates(factor)
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        self.phases.end("optimizer")
        self.done += 1

    def show_weights(self):
        """Put the weights that are to be evaluated into the model, until the next step.

        An optimizer that evaluates other weights than it takes gradients at, such as an average, has methods ``eval``
        and ``train`` that switch between them (the convention of Schedule-Free).
        """
        for optimizer in [] if self._shown else self._averaging():
            optimizer.eval()
        self._shown = True

    def _hide_weights(self):
        for optimizer in self._averaging() if self._shown else []:
            optimizer.train()
        self._shown = False

    def _averaging(self):
        return [each for each in self.optimizers if hasattr(each, "eval") and hasattr(each, "train")]

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

    def check(self):
        """Check what a solver must leave alone while it trains: structure, seed, order of the batches.

        Raises
        ------
        InvalidResult
        """
        guard.check_structure(self.model, self._structure)
        guard.check_seed(self._global_seed)
        guard.check_order(self._order, self.seed, self.done)

    def state_dict(self):
        """Return all that :meth:`load_state_dict` needs to go on bitwise as if there had been no break."""
        self._hide_weights()
        return {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "order": self._order.state_dict(),
            "augmentation": self._augmentation.get_state(),
            "global": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
            "losses": [loss.cpu() for loss in self._losses],
            "done": self.done,
        }

    def load_state_dict(self, state):
        """Go on from a state of :meth:`state_dict`, of a trainer made with the same arguments.

        It leaves torch's global generator in the state it had then.
        """
        self.model.load_state_dict(state["model"])
        for optimizer, own in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(own)
        self._groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]
        self._order.load_state_dict(state["order"])
        self._augmentation.set_state(state["augmentation"])
        torch.set_rng_state(state["global"])
        if state["cuda"] is not None:
            torch.cuda.set_rng_state(state["cuda"], self.device)
        self._losses = [loss.to(self.device) for loss in state["losses"]]
        self.done = state["done"]

    def _batch(self):
        # Drawn and augmented whole by each process, so that the batch does not depend on their number.
        inputs, targets = (each.to(self.device) for each in self.part[self._order.draw()])
        if self.task.augment is not None:
            inputs = self.task.augment(inputs, self._augmentation)
        share = slice(_rank(), None, _world())
        return inputs[share], targets[share]

    def _micro(self, examples):
        return examples.split(self.task.micro_batch_size or len(examples))

    def _sum_over_processes(self, loss):
        torch.distributed.all_reduce(loss)
        for parameter in self.model.parameters():
            if parameter.grad is not None:
                torch.distributed.all_reduce(parameter.grad)

    def _set_rates(self, factor):
        for group, rate in zip(self._groups, self._rates, strict=True):
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(rate * factor)
            else:
                group["lr"] = rate * factor

    def _check_rates(self, factor):
        for group, rate in zip(self._groups, self._rates, strict=True):
            # A rate on the device is believed: looking at it would wait for the device.
            if not isinstance(group["lr"], torch.Tensor) and group["lr"] != rate * factor:
                raise InvalidResult(
                    f"an optimizer changed its learning rate from {rate * factor:g} to {group['lr']:g}: the shape of "
                    "the schedule belongs to the harness"
                )


def _world():
    return torch.distributed.get_world_size() if _distributed() else 1


def _rank():
    return torch.distributed.get_rank() if _distributed() else 0


def _distributed():
    return torch.distributed.is_available() and torch.distributed.is_initialized()
