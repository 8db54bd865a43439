"""torch's spectral normalisation, by the rules."""

from orthobench.harness.lipschitz import LOSS, LipschitzSolver


class Solver(LipschitzSolver):
    name = "honest_spectral"
    parameters = {"learning_rate": [0.05], **LOSS}
    layer = "spectral"
