"""Sandwich layers: a non-linearity between two matrices of a Cayley transform."""

from orthobench.harness.segmentation import LOSS, SegmentationSolver


class Solver(SegmentationSolver):
    """Direct parametrisation of Lipschitz-bounded networks (Wang and Manchester, 2023)."""

    name = "Sandwich"
    parameters = {"learning_rate": [0.03], **LOSS}
    layer = "sandwich"
