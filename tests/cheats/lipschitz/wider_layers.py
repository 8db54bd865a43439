"""Makes layers of its own."""

import torch

from orthobench.harness.lipschitz import LOSS, LipschitzSolver


class Solver(LipschitzSolver):
    name = "wider_layers"
    parameters = {"learning_rate": [0.05], **LOSS}
    layer = "cayley"

    def _trainer(self, seed):
        trainer = super()._trainer(seed)
        trainer.model[-1] = torch.nn.Sequential(
            torch.nn.Linear(trainer.model[-1].in_features, 64), torch.nn.Linear(64, 10)
        )
        return trainer
