"""NorMuon, from pytorch-optimizer."""

from pytorch_optimizer import NorMuon

from orthobench.harness.training import MatrixSolver


class Solver(MatrixSolver):
    """Muon whose update is normalised by neuron (Li et al., 2025), AdamW for the rest."""

    name = "NorMuon"
    requirements = ["pip::pytorch-optimizer"]
    parameters = {"learning_rate": [0.05], "adamw_learning_rate": [0.01], "weight_decay": [0.01]}

    def matrix_optimizer(self, parameters, model):
        groups = [{"params": parameters, "use_muon": True}]
        return NorMuon(groups, lr=self.learning_rate, weight_decay=self.weight_decay)
