"""AOC: orthogonal convolutions with any stride, groups and dilation, from Orthogonium."""

from orthobench.harness.segmentation import LOSS, SegmentationSolver


class Solver(SegmentationSolver):
    """Adaptive orthogonal convolution (Boissin et al., 2025), with one of three ways to make a matrix orthogonal."""

    name = "AOC"
    requirements = ["pip::orthogonium"]
    parameters = {"parametrisation": ["bjorck", "qr", "exp"], "learning_rate": [0.003], **LOSS}

    @property
    def layer(self):
        return f"aoc_{self.parametrisation}"
