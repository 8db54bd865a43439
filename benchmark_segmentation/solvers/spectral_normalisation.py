"""Spectral normalisation, from torch."""

from orthobench.harness.segmentation import LOSS, SegmentationSolver


class Solver(SegmentationSolver):
    """Weights divided by their norm as a matrix (Miyato et al., 2018), which is no bound of a convolution."""

    name = "Spectral normalisation"
    parameters = {"learning_rate": [0.003], **LOSS}
    layer = "spectral"
