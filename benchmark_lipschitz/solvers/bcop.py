"""BCOP: kernels composed of orthogonal 2x2 blocks, from Orthogonium."""

from orthobench.harness.lipschitz import LOSS, LipschitzSolver


class Solver(LipschitzSolver):
    """Block convolution orthogonal parametrisation (Li et al., 2019)."""

    name = "BCOP"
    requirements = ["pip::orthogonium"]
    parameters = {"learning_rate": [0.1], **LOSS}
    convolutional = True
    layer = "bcop"
