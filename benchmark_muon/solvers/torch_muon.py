"""torch.optim.Muon as torch ships it, with AdamW for what it doesn't take."""

import torch

from orthobench.harness.training import MatrixSolver


class Solver(MatrixSolver):
    """Muon (Jordan et al., 2024) from torch for hidden matrices, AdamW for the rest, convolution kernels included."""

    name = "torch.optim.Muon"
    parameters = {"learning_rate": [0.05], "adamw_learning_rate": [0.01], "weight_decay": [0.01]}
    kernels = False
    test_config = {"dataset": {"name": "python_docs", "steps": 2}}  # a network with hidden matrices

    def matrix_optimizer(self, parameters, model):
        return torch.optim.Muon(parameters, lr=self.learning_rate, weight_decay=self.weight_decay)
