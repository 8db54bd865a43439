"""Brings an optimizer of its own."""

import torch

from orthobench.harness.segmentation import LOSS, SegmentationSolver


class Solver(SegmentationSolver):
    name = "own_optimizer"
    parameters = {"learning_rate": [0.03], **LOSS}
    layer = "cayley"

    def optimizers(self, model):
        return [torch.optim.SGD(model.parameters(), lr=0.01)]
