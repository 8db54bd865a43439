"""Kernels orthogonalised as matrices, by Bjorck's iteration, from Orthogonium."""

from orthobench.harness.segmentation import LOSS, SegmentationSolver


class Solver(SegmentationSolver):
    """Reshaped kernels orthogonalised by Bjorck's iteration (Anil, Lucas and Grosse, 2019; Serrurier et al., 2021)."""

    name = "Bjorck"
    requirements = ["pip::orthogonium"]
    parameters = {"learning_rate": [0.03], **LOSS}
    layer = "bjorck"
