"""NorMuon, from pytorch-optimizer."""

from pytorch_optimizer import NorMuon

from orthobench.harness.training import MatrixSolver

ALGORITHMS = {"released": {}, "paper": {"update_scale": "match_rms", "nesterov": False}}


class Solver(MatrixSolver):
    """Muon whose update is normalised by neuron (Li et al., 2025), AdamW for the rest.

    `algorithm` is "released": the authors' code, with Nesterov's step and the norm of Muon's update; or "paper":
    Algorithm 1, without that step, whose updates have a root mean square of 0.2.
    """

    name = "NorMuon"
    requirements = ["pip::pytorch-optimizer"]
    parameters = {
        "learning_rate": [0.05],
        "algorithm": ["released"],
        "adamw_learning_rate": [0.01],
        "weight_decay": [0.01],
    }

    def matrix_optimizer(self, parameters, model):
        groups = [{"params": parameters, "use_muon": True}]
        settings = {"lr": self.learning_rate, "weight_decay": self.weight_decay}
        return NorMuon(groups, **settings, **ALGORITHMS[self.algorithm])
