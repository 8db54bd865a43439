"""LOT: convolutions divided by the root of their own square, in the Fourier domain."""

from orthobench.harness.segmentation import LOSS, SegmentationSolver


class Solver(SegmentationSolver):
    """Layer-wise orthogonal training (Xu, Li and Li, 2022)."""

    name = "LOT"
    parameters = {"learning_rate": [0.03], **LOSS}
    layer = "lot"
