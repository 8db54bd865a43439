"""SLL: residual layers with a bound by semidefinite programming, from Orthogonium."""

from orthobench.harness.segmentation import LOSS, SegmentationSolver


class Solver(SegmentationSolver):
    """SDP-based Lipschitz layers (Araujo, Havens, Delattre, Allauzen and Hu, 2023)."""

    name = "SLL"
    requirements = ["pip::orthogonium"]
    parameters = {"learning_rate": [0.03], **LOSS}
    layer = "sll"
