"""Matrices with the shapes of layers: those of the networks, and each another matrix."""

import math

import pytest
import torch

from orthobench.data import layer_shapes, with_spectrum
from orthobench.data.layer_shapes import LAYERS
from orthobench.models import gpt2, hidden_weights


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_layers_of_gpt2_are_those_that_muon_trains():
    weights = hidden_weights(gpt2(0, depth=1, vocabulary=8))
    shapes = {name.removeprefix("blocks.0."): tuple(weight.shape) for name, weight in weights.items()}
    assert shapes == LAYERS["gpt2_small"]


@pytest.mark.parametrize(
    ("network", "parameters", "blocks"), [("gpt2_small", 84_934_656, 12), ("llama_7b", 6_476_005_376, 32)]
)
def test_the_blocks_have_as_many_parameters_as_published(network, parameters, blocks):
    # Llama 7B has 6,738,415,616: also two matrices (32000, 4096), and gains (4096) of 65 norms.
    assert blocks * sum(map(math.prod, LAYERS[network].values())) == parameters
    assert 6_738_415_616 - 2 * 32000 * 4096 - 65 * 4096 == 6_476_005_376


def test_a_whole_network_is_every_layer_of_every_block_and_no_two_are_alike():
    matrices = layer_shapes("gpt2_small", "all", 2, "gaussian", generator())
    assert list(matrices) == [f"{block}.{layer}" for block in range(2) for layer in LAYERS["gpt2_small"]]
    assert all(matrix.dtype == torch.float32 for matrix in matrices.values())
    squares = torch.stack([matrix for matrix in matrices.values() if matrix.shape == (768, 768)]).flatten(1)
    assert (torch.corrcoef(squares) - torch.eye(8)).abs().max() < 0.01
    assert squares.std() == pytest.approx(1, rel=0.01)


def test_one_layer_of_a_kind_depends_on_the_generator_alone():
    (matrix,) = layer_shapes("gpt2_small", "projection", 1, "low_rank", generator(3)).values()
    assert torch.equal(matrix, with_spectrum("low_rank", (768, 768), 1, generator(3))[0])
    (other,) = layer_shapes("gpt2_small", "projection", 1, "low_rank", generator(4)).values()
    assert not torch.equal(matrix, other)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gpt3", "all", 1, "gaussian"), r"^network is 'gpt3': give one of gpt2_small, llama_7b$"),
        (("gpt2_small", "mlp_gate", 1, "gaussian"), r"^layer is 'mlp_gate': give one of all, query, key, value, "),
        (("gpt2_small", "all", 0, "gaussian"), r"^blocks is 0: give an integer >= 1$"),
        (("gpt2_small", "query", 1, "flat"), r"^kind is 'flat': give one of gaussian, log_uniform, power_law, "),
    ],
)
def test_what_is_not_allowed_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        layer_shapes(*arguments, generator())
