"""AdaMuon, and AdamW for what is no hidden matrix."""

from orthobench.harness.training import MatrixSolver
from orthobench.optim import AdaMuon


class Solver(MatrixSolver):
    """Muon of signs with a second moment of its update (Si et al., 2025), AdamW for the rest."""

    name = "AdaMuon"
    parameters = {"learning_rate": [0.02], "adamw_learning_rate": [0.01], "weight_decay": [0.01]}

    def matrix_optimizer(self, parameters, model):
        settings = {"lr": self.learning_rate, "weight_decay": self.weight_decay}
        return AdaMuon(parameters, **settings, process_group=self.process_group)
