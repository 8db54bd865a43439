"""Has a layer that answers otherwise while it trains, and stays so."""

import torch

from orthobench.harness.segmentation import LOSS, SegmentationSolver


class Solver(SegmentationSolver):
    name = "stays_in_training_mode"
    parameters = {"learning_rate": [0.03], **LOSS}
    layer = "cayley"

    def lipschitz_constant(self, model, input_shape):
        model.append(torch.nn.Dropout2d(0.5))
        model.train()
        model.eval = lambda: model
        return 1.0
