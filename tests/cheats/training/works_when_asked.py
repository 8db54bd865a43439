"""Works while it is asked how much memory its state takes."""

import time
from collections import defaultdict

import torch

from orthobench.harness.training import TrainingSolver


class State(defaultdict):
    def values(self):
        end = time.process_time() + 0.3
        while time.process_time() < end:
            pass
        return super().values()


class Solver(TrainingSolver):
    name = "works_when_asked"

    def optimizers(self, model):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        optimizer.state = State(dict)
        return [optimizer]
