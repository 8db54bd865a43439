"""Matrices with a chosen spectrum, or with heavy tails."""

import torch

from orthobench.data.spectra import with_spectrum
from orthobench.harness import MatrixDataset


class Dataset(MatrixDataset):
    """`count` matrices of one `kind`: where published figures differ most."""

    name = "spectrum"
    parameters = {
        "kind": ["log_uniform", "power_law", "low_rank", "levy", "row_scaled"],
        "rows, columns": [(128, 128)],
        "count": [4],
    }
    test_parameters = {"rows, columns": [(16, 24)]}

    def matrices(self, seed):
        generator = torch.Generator().manual_seed(seed)
        return with_spectrum(self.kind, (self.rows, self.columns), self.count, generator)
