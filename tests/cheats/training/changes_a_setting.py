"""Normalises by fewer groups: an attribute, no parameter and no module."""

import torch

from orthobench.harness.training import TrainingSolver


class Solver(TrainingSolver):
    name = "changes_a_setting"

    def optimizers(self, model):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        optimizer.register_step_post_hook(lambda *_: setattr(model.stem.norm, "num_groups", 1))
        return [optimizer]
