"""AdaMuon, from pytorch-optimizer."""

from pytorch_optimizer import AdaMuon

from orthobench.harness.training import MatrixSolver


class Solver(MatrixSolver):
    """Muon with a second moment of its update (Si et al., 2025), AdamW for the rest."""

    name = "AdaMuon"
    requirements = ["pip::pytorch-optimizer"]
    parameters = {"learning_rate": [0.2], "adamw_learning_rate": [0.01], "weight_decay": [0.01]}

    def matrix_optimizer(self, parameters, model):
        groups = [{"params": parameters, "use_muon": True}]
        return AdaMuon(groups, lr=self.learning_rate, weight_decay=self.weight_decay)
