"""Matrices with the shapes of the layers of language models."""

import torch

from orthobench.data.layer_shapes import layer_shapes
from orthobench.harness import MatrixDataset


class Dataset(MatrixDataset):
    """What Muon orthogonalises in a step: `layer`, or all, in so many `blocks` of GPT-2 small or Llama 7B."""

    name = "layer_shapes"
    parameters = {
        "network, layer": [("gpt2_small", "projection")],
        "blocks": [1],
        "kind": ["gaussian"],
    }

    def matrices(self, seed):
        generator = torch.Generator().manual_seed(seed)
        return layer_shapes(self.network, self.layer, self.blocks, self.kind, generator)
