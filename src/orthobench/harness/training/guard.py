"""What a solver must leave alone while it shares a process with the loop: model, schedule, seed, batches and data."""

import contextlib
from types import SimpleNamespace

import torch

from ...data.batches import BatchOrder
from ...models.evaluation import rebuild, weights
from .. import namespaces
from ..processes import world_size
from ..status import InvalidResult
from .loop import Trainer

# How far the loss of a step may be from that of a fresh model: rounding, of other kernels too on a GPU.
TOLERANCES = {"cpu": 1e-5, "cuda": 1e-3}
AUTOCAST_TOLERANCE = 1e-2


class WatchedTrainer(Trainer):
    """A `Trainer` that raises `InvalidResult` where a solver touches what isn't its own: see CONTRIBUTING.md."""

    def __init__(self, task, model, make_optimizers, seed, device, compile=False, **options):
        namespaces.watch({kind for module in model.modules() for kind in type(module).__mro__[:-1]})
        self._structure, self._global_seed = structure(model.train()), torch.initial_seed()
        # Compiled, a hook that counts would be compiled along.
        self._counted = None if compile else model
        # What `check` looks at: of each step the checksum of its batch and a global random number; tensors that say
        # whether a rate was another one; the loss of a step, foretold and found.
        self._drawn, self._draws, self._deviations, self._foretold = [], [], [], []
        super().__init__(task, model, make_optimizers, seed, device, compile=compile, **options)

    def _make_optimizers(self, make_optimizers):
        def watched(model):
            with self._passes():
                optimizers = make_optimizers(model)
            self._check_seed()
            check_structure(model, self._structure)
            return optimizers

        return super()._make_optimizers(watched)

    def take(self, train):
        super().take(train)
        self._versions = versions(self.part)

    def step(self):
        with self._passes():
            self._hide_weights()
        self._check_versions()
        self._draws.append((torch.initial_seed(), _random_number()))
        loss = super().step()
        if len(self._foretold) == 1:
            self._foretold.append(loss)
        return loss

    def _draw(self):
        indices = super()._draw()
        self._drawn.append(BatchOrder.checksum(indices))
        return indices

    def _accumulate(self, micro_batches):
        with self._passes(len(micro_batches)):
            return super()._accumulate(micro_batches)

    def _step_optimizers(self):
        with self._passes():
            super()._step_optimizers()

    def _step_optimizer(self, optimizer, factor):
        """Call an optimizer's step once, and look at the rates when all its hooks are through with them."""
        if optimizer in self._recorded:  # it has no hooks
            super()._step_optimizer(optimizer, factor)
            return self._check_rates(factor)
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
            super()._step_optimizer(optimizer, factor)
        finally:
            for handle in handles:
                handle.remove()
        if calls > 1:
            raise InvalidResult(
                f"the step of {type(optimizer).__name__} was called {calls} times where the harness calls it "
                "once: the number of steps belongs to the harness"
            )
        return self._check_rates(factor)

    def show_weights(self):
        with self._passes():
            super().show_weights()

    def check(self):
        """Look for what a solver changed since the last check, and foretell the next step. It waits for the device."""
        check_structure(self.model, self._structure)
        self._check_seed()
        self._check_draws()
        self._check_order()
        self._check_versions()
        deviations, self._deviations = self._deviations, []
        if any(map(bool, deviations)):
            raise InvalidResult("an optimizer changed its learning rate: the shape of the schedule is the harness's")
        if len(self._foretold) == 2:
            self._check_foretold(*map(float, self._foretold))
        self._foretold = []
        if self._counted is not None and world_size() == 1 and self.done < self.task.steps:
            self.foretell()

    def foretell(self):
        """Compute the loss of the next step with a fresh model, for :meth:`check` to compare when that step is done.

        It leaves no trace on the model or on random numbers. Not for compiled models, which may draw other random
        numbers, nor for several processes.
        """
        self._hide_weights()
        fresh = rebuild(self.task.make_model, self.seed, weights(self.model), self.device)
        order, augmentation = self._order.state_dict(), self._augmentation.get_state()
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            _random_number()  # as a step does
            self._foretold = [sum(self._loss(fresh, *each).detach() for each in self._batch())]
        self._order.load_state_dict(order)
        self._drawn.pop()
        self._augmentation.set_state(augmentation)

    @contextlib.contextmanager
    def _passes(self, expected=0):
        """Raise `InvalidResult` unless the model makes as many forward passes in the block."""
        if self._counted is None:
            yield
            return
        found = SimpleNamespace(passes=0)

        def add(*_):
            found.passes += 1

        # Only for the time of the block, so that a copy of the model has no such hook.
        with self._counted.register_forward_pre_hook(add):
            yield
        if found.passes != expected:
            raise InvalidResult(
                f"{found.passes} forward passes where the harness makes {expected}: the solver ran the model; it gets "
                "gradients from the harness alone"
            )

    def _check_seed(self):
        if torch.initial_seed() != self._global_seed:
            self._seeded_by_others(torch.initial_seed())

    def _check_draws(self):
        for seed, _ in self._draws:
            if seed != self._global_seed:
                self._seeded_by_others(seed)
        if len({number for _, number in self._draws}) < len(self._draws):
            raise InvalidResult(
                "the solver set torch's generator back: its random numbers repeat; leave it to the harness"
            )

    def _seeded_by_others(self, seed):
        raise InvalidResult(f"the solver seeded torch with {seed}: a repetition's seed is {self._global_seed}")

    def _check_order(self):
        """Look whether the order of batches is where so many draws lead, all of those that were drawn."""
        replayed = BatchOrder(self._order.count, self._order.batch_size, self.seed)
        as_drawn = [replayed.checksum(replayed.draw()) for _ in range(self.done)] == self._drawn
        expected, found = replayed.state_dict(), self._order.state_dict()
        if not as_drawn or not all(torch.equal(expected[name], found[name]) for name in expected):
            raise InvalidResult("the solver drew from the order of the batches: it belongs to the harness")

    def _check_versions(self):
        if versions(self.part) != self._versions:
            raise InvalidResult("the solver changed the training data: they belong to the harness")

    def _check_foretold(self, expected, found):
        tolerance = AUTOCAST_TOLERANCE if self.autocast else TOLERANCES.get(self.device.type, 1e-3)
        if not abs(expected - found) <= tolerance * max(1.0, abs(expected)):
            raise InvalidResult(
                f"a step's training loss is {found:.6g}, and {expected:.6g} of a fresh model with the same weights: "
                "the solver changed what the model computes (a hook may look, not alter), batch or random numbers"
            )

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


def _random_number():
    return float(torch.rand((), dtype=torch.float64))


def versions(part):
    """Return how often each tensor of a part was written to, as torch counts it: nothing is read of the data."""
    tensors = [value for value in vars(part).values() if isinstance(value, torch.Tensor)]
    return [id(part), *((id(each), each._version) for each in tensors)]


def structure(model):
    """Describe a model: its modules with type and settings, its parameters and buffers with shape and type."""
    modules = [(name, type(module), _settings(module), _overridden(module)) for name, module in model.named_modules()]
    tensors = [
        (name, id(tensor) if isinstance(tensor, torch.nn.Parameter) else None, tuple(tensor.shape), tensor.dtype)
        for name, tensor in [*model.named_parameters(remove_duplicate=False), *model.named_buffers()]
    ]
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    return modules, tensors, trained


def _settings(module):
    """Return a module's plain attributes: its mode, the groups of a norm, the stride of a convolution..."""
    return tuple((name, value) for name, value in vars(module).items() if name[0] != "_" and _is_plain(value))


def _is_plain(value):
    return isinstance(value, bool | int | float | str) or (isinstance(value, tuple) and all(map(_is_plain, value)))


def _overridden(module):
    """Return the methods that a module has of its own, instead of its type's."""
    return tuple(name for name in vars(module) if callable(getattr(type(module), name, None)))


def check_structure(model, before):
    """Raise `InvalidResult` unless the model is built as ``before``, a result of :func:`structure`, says."""
    for what, was, now in zip(("modules", "parameters", "trained parameters"), before, structure(model), strict=True):
        if was != now:
            names = [each if isinstance(each, str) else each[0] for each in set(was) ^ set(now)]
            changed = sorted({name or "the model itself" for name in names})
            raise InvalidResult(
                f"the solver changed the model's {what} ({', '.join(changed[:3]) or 'their order'}): the model belongs "
                "to the harness; change it by optimizer steps alone"
            )
