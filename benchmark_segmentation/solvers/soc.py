"""SOC: the exponential of a skew-symmetric convolution, from Orthogonium."""

from orthobench.harness.segmentation import LOSS, SegmentationSolver


class Solver(SegmentationSolver):
    """Skew orthogonal convolutions (Singla and Feizi, 2021)."""

    name = "SOC"
    requirements = ["pip::orthogonium"]
    parameters = {"learning_rate": [0.03], **LOSS}
    layer = "soc"
