"""Matrices with independent normal entries."""

import torch

from orthobench.data.spectra import gaussian
from orthobench.harness import MatrixDataset


class Dataset(MatrixDataset):
    """`count` matrices of standard normal entries: what a gradient of pure noise looks like."""

    name = "gaussian"
    parameters = {"rows, columns": [(128, 128), (64, 256)], "count": [4]}
    test_parameters = {"rows, columns": [(16, 24)]}

    def matrices(self, seed):
        return gaussian((self.rows, self.columns), self.count, torch.Generator().manual_seed(seed))
