"""How a solver that trains goes from step to step: warm-up, seeds and progress bar."""

import sys

from torch.nn import functional
from tqdm import tqdm

from .. import namespaces
from ..seeds import seed_everything
from ..solver import CallbackSolver
from .solver import WARM_UP_STEPS


class SteppingSolver(CallbackSolver):
    """Trains by a trainer. A subclass has a ``_task`` with ``steps`` and implements ``_trainer(seed)``, a fresh one.

    Attributes
    ----------
    warm_up_steps : int
        Steps on the throw-away copy: more than the few for a method with work that comes first in a later step, which
        would otherwise have its first-use costs on the clock.
    """

    warm_up_steps = WARM_UP_STEPS

    def prepare(self, stop_val):
        namespaces.restore()  # what a cell before left
        seed = self.get_seed(use_repetition=True)
        throw_away = self._trainer(seed)
        for _ in range(min(self.warm_up_steps, self._task.steps)):
            throw_away.step()
        throw_away.take_losses()
        del throw_away
        seed_everything(seed)
        self.trainer = self._trainer(seed)
        # Shown on a terminal only, and removed when done.
        self._bar = tqdm(total=self._task.steps, desc=str(self), unit="step", leave=False, disable=None)

    def run(self, callback):
        """Run as `CallbackSolver` does; the progress bar ends with it, however it ends."""
        try:
            super().run(callback)
        finally:
            self._bar.close()

    def step(self):
        self.trainer.step()
        self._bar.update()


# At import, before the code of any solver.
namespaces.watch_networks()
namespaces.watch(
    module for name, module in list(sys.modules.items()) if name.startswith(("orthobench.models", __package__))
)
namespaces.watch([functional])
