"""AOL: kernels rescaled by channel until their norm is at most 1, from Orthogonium."""

from orthobench.harness.segmentation import LOSS, SegmentationSolver


class Solver(SegmentationSolver):
    """Almost-orthogonal layers (Prach and Lampert, 2022)."""

    name = "AOL"
    requirements = ["pip::orthogonium"]
    parameters = {"learning_rate": [0.03], **LOSS}
    layer = "aol"
