"""BCOP: kernels composed of orthogonal 2x2 blocks, from Orthogonium."""

from orthobench.harness.segmentation import LOSS, SegmentationSolver


class Solver(SegmentationSolver):
    """Block convolution orthogonal parametrisation (Li et al., 2019)."""

    name = "BCOP"
    requirements = ["pip::orthogonium"]
    parameters = {"learning_rate": [0.03], **LOSS}
    layer = "bcop"
