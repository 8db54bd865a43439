"""CPL: residual layers x - 2 W^T relu(W x) / |W|^2."""

from orthobench.harness.segmentation import LOSS, SegmentationSolver


class Solver(SegmentationSolver):
    """Convex potential layers (Meunier, Delattre, Araujo and Allauzen, 2022)."""

    name = "CPL"
    parameters = {"learning_rate": [0.03], **LOSS}
    layer = "cpl"
