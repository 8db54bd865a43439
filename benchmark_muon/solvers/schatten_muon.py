"""Schatten-p: steps along U S^e V^T, with an exponent between SGD's and Muon's."""

from orthobench.harness.training import MatrixSolver
from orthobench.optim import ActivationMoments, SchattenMuon, dynmuon_schedule


class Solver(MatrixSolver):
    """Schatten-p ("From SGD to Muon", 2026) for hidden matrices and convolution kernels, AdamW for the rest.

    `exponent` is a criterion by which it is chosen for each layer ("tightness", "momentum", "bound", or
    "two_directions", which mixes gradient and polar factor), DynMuon's schedule ("dynmuon"), or a number.
    """

    name = "Schatten-Muon"
    parameters = {
        "learning_rate": [0.05],
        "exponent": ["tightness", "two_directions", "dynmuon"],
        "adamw_learning_rate": [0.01],
        "weight_decay": [0.01],
    }

    def matrix_optimizer(self, parameters, model):
        own = {id(each) for each in parameters}
        named = [(name, each) for name, each in model.named_parameters() if id(each) in own]
        settings = {"lr": self.learning_rate, "weight_decay": self.weight_decay, "exponent": self.exponent}
        if self.exponent == "dynmuon":
            settings["exponent"] = dynmuon_schedule(self.steps)
        elif isinstance(self.exponent, str):
            settings |= {"activations": ActivationMoments(model, parameters), "refresh_every": 20}
        return SchattenMuon(named, **settings)
