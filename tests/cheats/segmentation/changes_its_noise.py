"""Is certified under the noise of its row, and would train with next to none."""

from orthobench.harness.segmentation import LOSS, SMOOTHING, SegmentationSolver


class Solver(SegmentationSolver):
    name = "changes_its_noise"
    parameters = {"learning_rate": [0.03], **SMOOTHING, "n": [60], **LOSS}
    layer = "plain"

    def skip(self, task):
        self.sigma, self.n = 1e-3, 10**5
        return super().skip(task)
