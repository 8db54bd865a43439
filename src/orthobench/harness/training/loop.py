"""The loop itself: batch, forward, backward, step; the same for every solver."""

import copy

import torch
import torch.distributed

from ...data.parts import send
from ...models.evaluation import rebuild, weights
from .. import namespaces
from ..processes import rank, world_size
from ..seeds import random_states, set_random_states
from ..status import Diverged, InvalidResult
from . import guard
from .batches import BatchOrder
from .phases import PhaseClock
from .recording import recorded_steps
from .schedule import warmup_stable_decay

# How far the loss of a step may be from that of a fresh model: rounding, of other kernels too on a GPU.
TOLERANCES = {"cpu": 1e-5, "cuda": 1e-3}
AUTOCAST_TOLERANCE = 1e-2


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
        If the optimizers are not as they should be, or making them changed the model.
    ValueError
        If `compile` isn't one of these, or steps are to be recorded elsewhere than on a CUDA device.
    """

    def __init__(self, task, model, make_optimizers, seed, device, autocast=False, compile=False, decays=True):
        if compile not in (False, True, "steps"):
            raise ValueError(f"compile={compile!r}: expected False, True or 'steps'")
        self.task, self.model = task, model.train()
        self.seed, self.device, self.autocast = seed, device, autocast
        namespaces.watch({kind for module in model.modules() for kind in type(module).__mro__[:-1]})
        self.take(task.parts.train)
        self._structure = guard.structure(model)
        self._global_seed = torch.initial_seed()
        # Compiled, a hook that counts would be compiled along.
        self._counted = None if compile else model
        self.optimizers = self._make_optimizers(make_optimizers)
        self._rates = [float(group["lr"]) for group in self._groups]
        self._forward = torch.compile(model) if compile else model
        self._recorded = recorded_steps(self.optimizers) if compile == "steps" else {}
        self._order = BatchOrder(len(self.part), task.batch_size, seed)
        self._augmentation = torch.Generator().manual_seed(seed)
        self._losses = []
        self._schedule = {} if decays else {"decay": 0.0}
        self._shown = False
        self.phases = PhaseClock(device)
        self.done = 0
        # What `check` looks at: of each step the checksum of its batch and a global random number; tensors that say
        # whether a rate was another one; the loss of a step, foretold and found.
        self._drawn, self._draws, self._deviations, self._foretold = [], [], [], []

    def _make_optimizers(self, make_optimizers):
        before = {name: tensor.clone() for name, tensor in weights(self.model).items()}
        with guard.Passes(self._counted) as passes:
            optimizers = make_optimizers(self.model)
        passes.check(0)
        guard.check_seed(self._global_seed)
        guard.check_structure(self.model, self._structure)
        guard.check_optimizers(optimizers, self.model)
        guard.check_unchanged(self.model, before)
        guard.check_versions(self.part, self._versions)
        return list(optimizers)

    def take(self, train):
        """Train on these examples, in place of as many others, from the next step on."""
        self.part = train.to(self.device)
        self._versions = guard.versions(self.part)

    def step(self):
        """Do one step.

        Raises
        ------
        InvalidResult
            If a solver changed a learning rate, wrote to the data, ran the model or called a step of its own.
        """
        self._hide_weights()
        guard.check_versions(self.part, self._versions)
        self._draws.append(guard.draw_global())
        self.phases.start()
        with guard.Passes(self._counted) as passes:
            inputs, targets = self._batch()
            passes.forget()
            self.phases.end("data")
            loss, count = self._accumulate(inputs, targets)
            self._step_optimizers()
            passes.check(count)
        self.phases.end("optimizer")
        self.done += 1
        if len(self._foretold) == 1:
            self._foretold.append(loss)

    def _accumulate(self, inputs, targets):
        """Compute the gradients of a batch; return its loss, and how many forward passes it took."""
        loss = torch.zeros((), device=self.device)
        micro_batches = list(zip(self._micro(inputs), self._micro(targets), strict=True))
        for some_inputs, some_targets in micro_batches:
            share = self._loss(self._forward, some_inputs, some_targets)
            self.phases.end("forward")
            share.backward()
            self.phases.end("backward")
            loss += share.detach()
        if world_size() > 1:
            self._sum_over_processes(loss)
            self.phases.end("backward")
        self._losses.append(loss)
        return loss, len(micro_batches)

    def _loss(self, model, inputs, targets):
        """Return what some examples add to the loss of the whole batch."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            return self.task.loss(model(inputs), targets) * (len(inputs) / self.task.batch_size)

    def _step_optimizers(self):
        factor = warmup_stable_decay(self.done, self.task.steps, **self._schedule)
        self._set_rates(factor)
        for optimizer in self.optimizers:
            self._step_optimizer(optimizer, factor)
        self._check_rates(factor)
        for optimizer in self.optimizers:
            self._recorded.get(optimizer, optimizer).zero_grad()

    def _step_optimizer(self, optimizer, factor):
        """Call an optimizer's step, and look at the rates when all its hooks are through with them."""
        if optimizer in self._recorded:  # it has no hooks
            self._recorded[optimizer]()
            return
        calls, inside = 0, 0

        def begin(*_):
            nonlocal calls, inside
            calls += not inside  # a step may call that of its base class
            inside += 1
            self._check_rates(factor)

        def end(*_):
            nonlocal inside
            inside -= 1

        # The last before a step and the first after it: what hooks of a solver's do is no part of the step.
        handles = [optimizer.register_step_pre_hook(begin), optimizer.register_step_post_hook(end)]
        optimizer._optimizer_step_post_hooks.move_to_end(handles[1].id, last=False)
        try:
            optimizer.step()
        finally:
            for handle in handles:
                handle.remove()
        if calls > 1:
            raise InvalidResult(
                f"the step of {type(optimizer).__name__} was called {calls} times where the harness calls it "
                "once: the number of steps belongs to the harness"
            )

    def show_weights(self):
        """Put the weights that are to be evaluated into the model, until the next step.

        An optimizer that evaluates other weights than it takes gradients at, such as an average, has methods ``eval``
        and ``train`` that switch between them (the convention of Schedule-Free).
        """
        with guard.Passes(self._counted) as passes:
            for optimizer in [] if self._shown else self._averaging():
                optimizer.eval()
        passes.check(0)
        self._shown = True

    def _hide_weights(self):
        with guard.Passes(self._counted) as passes:
            for optimizer in self._averaging() if self._shown else []:
                optimizer.train()
        passes.check(0)
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
        """Check what a solver must leave alone while it trains: see CONTRIBUTING.md. It waits for the device.

        Raises
        ------
        InvalidResult
        """
        guard.check_structure(self.model, self._structure)
        guard.check_seed(self._global_seed)
        guard.check_draws(self._draws, self._global_seed)
        guard.check_order(self._order, self.seed, self.done, self._drawn)
        guard.check_versions(self.part, self._versions)
        deviations, self._deviations = self._deviations, []
        if any(map(bool, deviations)):
            raise InvalidResult("an optimizer changed its learning rate: the shape of the schedule is the harness's")
        if len(self._foretold) == 2:
            expected, found = map(float, self._foretold)
            self._foretold = []
            tolerance = AUTOCAST_TOLERANCE if self.autocast else TOLERANCES.get(self.device.type, 1e-3)
            guard.check_foretold(expected, found, tolerance)

    def foretell(self):
        """Compute the loss of the next step with a fresh model, for :meth:`check` to compare when that step is done.

        It leaves no trace on the model or on random numbers. Not for compiled models, which may draw other random
        numbers, nor for several processes.
        """
        if self._counted is None or world_size() > 1 or self.done == self.task.steps:
            return
        self._hide_weights()
        fresh = rebuild(self.task.make_model, self.seed, weights(self.model), self.device)
        states, order = random_states(self.device), self._order.state_dict()
        augmentation, buffers = self._augmentation.get_state(), [each.clone() for each in self.model.buffers()]
        guard.draw_global()  # as a step does
        micro_batches = zip(*map(self._micro, self._batch()), strict=True)
        loss = torch.zeros((), device=self.device)
        for inputs, targets in micro_batches:
            loss += self._loss(fresh, inputs, targets).detach()
        self._foretold = [loss]
        set_random_states(states, self.device)
        self._order.load_state_dict(order)
        self._drawn.pop()
        self._augmentation.set_state(augmentation)
        for buffer, before in zip(self.model.buffers(), buffers, strict=True):
            buffer.copy_(before)

    def state_dict(self):
        """Return all that :meth:`load_state_dict` needs to go on bitwise as if there had been no break: a copy."""
        self._hide_weights()
        state = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "order": self._order.state_dict(),
            "drawn": self._drawn,
            "augmentation": self._augmentation.get_state(),
            "global": random_states(self.device),
            "losses": [loss.cpu() for loss in self._losses],
            "done": self.done,
        }
        return copy.deepcopy(state)

    def load_state_dict(self, state):
        """Go on from a state of :meth:`state_dict`, of a trainer made with the same arguments.

        It leaves the global generators of Python, NumPy and torch in the states they had then, and ``state`` as it is.
        """
        state = copy.deepcopy(state)  # optimizers go on with the very tensors
        self.model.load_state_dict(state["model"])
        for optimizer, own in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(own)
        self._order.load_state_dict(state["order"])
        self._augmentation.set_state(state["augmentation"])
        set_random_states(state["global"], self.device)
        self._losses = [loss.to(self.device) for loss in state["losses"]]
        self.done = state["done"]
        self._shown = False
        self._drawn, self._draws, self._deviations, self._foretold = state["drawn"], [], [], []

    def _batch(self):
        # Drawn and augmented whole by each process, so that the batch does not depend on their number.
        indices = self._order.draw()
        self._drawn.append(self._order.checksum(indices))
        inputs, targets = (send(each, self.device) for each in self.part[indices])
        if self.task.augment is not None:
            inputs = self.task.augment(inputs, self._augmentation)
        share = slice(rank(), None, world_size())
        return inputs[share], targets[share]

    def _micro(self, examples):
        return examples.split(self.task.micro_batch_size or len(examples))

    def _sum_over_processes(self, loss):
        torch.distributed.all_reduce(loss)
        for parameter in self.model.parameters():
            if parameter.grad is not None:
                torch.distributed.all_reduce(parameter.grad)

    @property
    def _groups(self):
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def _set_rates(self, factor):
        groups = self._groups
        if len(groups) != len(self._rates):
            raise InvalidResult(f"the optimizers have {len(groups)} groups and had {len(self._rates)}: keep them")
        for group, rate in zip(groups, self._rates, strict=True):
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(rate * factor)
            else:
                group["lr"] = rate * factor

    def _check_rates(self, factor):
        for group, rate in zip(self._groups, self._rates, strict=True):
            found, expected = group["lr"], rate * factor
            if isinstance(found, torch.Tensor):  # may be on the device: `check` looks at it, not to wait here
                self._deviations.append((found != torch.full_like(found, expected)).any())
            elif found != expected:
                raise InvalidResult(
                    f"an optimizer changed its learning rate from {expected:g} to {found:g}: the shape of the schedule "
                    "belongs to the harness"
                )
