"""SOC: the exponential of a skew-symmetric convolution, from Orthogonium."""

from orthobench.harness.lipschitz import LOSS, LipschitzSolver


class Solver(LipschitzSolver):
    """Skew orthogonal convolutions (Singla and Feizi, 2021)."""

    name = "SOC"
    requirements = ["pip::orthogonium"]
    parameters = {"learning_rate": [0.3], **LOSS}
    convolutional = True
    layer = "soc"
