"""Is evaluated where it likes, and never at the end."""

import torch

from orthobench.harness.training import TrainingSolver


class Solver(TrainingSolver):
    name = "chooses_evaluations"
    evaluation_points = property(lambda self: (0, 5, 40), lambda self, points: None)

    def optimizers(self, model):
        return [torch.optim.SGD(model.parameters(), lr=0.1)]
