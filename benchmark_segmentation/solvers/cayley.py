"""The Cayley transform of a skew-symmetric convolution, in the Fourier domain."""

from orthobench.harness.segmentation import LOSS, SegmentationSolver


class Solver(SegmentationSolver):
    """Orthogonal convolutions by the Cayley transform (Trockman and Kolter, 2021)."""

    name = "Cayley"
    parameters = {"learning_rate": [0.01], **LOSS}
    layer = "cayley"
