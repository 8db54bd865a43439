"""Real momenta, recorded while networks are trained on real data."""

from orthobench.data.momenta import record_momenta
from orthobench.harness import MatrixDataset

STEPS = (1, 20, 100)


class Dataset(MatrixDataset):
    """The momenta of all layers that Muon orthogonalises, at one training `step`.

    `convnet` learns scikit-learn's digits, `transformer` the next byte of Python's own documentation.
    """

    name = "momenta"
    parameters = {"network": ["convnet", "transformer"], "step": list(STEPS)}

    def matrices(self, seed):
        return record_momenta(self.network, STEPS, seed)[self.step]
