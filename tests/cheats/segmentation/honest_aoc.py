"""AOC's layers, by the rules."""

from orthobench.harness.segmentation import LOSS, SegmentationSolver


class Solver(SegmentationSolver):
    name = "honest_aoc"
    parameters = {"learning_rate": [0.03], **LOSS}
    layer = "aoc_qr"
