"""Random matrices with the shapes of the layers that Muon trains in language models."""

from orthobench.data.spectra import KINDS, gaussian, with_spectrum
from orthobench.models.checks import check_integer

# (outputs, inputs) of the linear layers of one block. Those of `orthobench.models.gpt2`, whose queries, keys and values
# are layers of their own; and of Touvron et al. (2023), LLaMA, arXiv:2302.13971, table 2 and section 2.2.
LAYERS = {
    "gpt2_small": {
        "query": (768, 768),
        "key": (768, 768),
        "value": (768, 768),
        "projection": (768, 768),
        "mlp_in": (3072, 768),
        "mlp_out": (768, 3072),
    },
    "llama_7b": {
        "query": (4096, 4096),
        "key": (4096, 4096),
        "value": (4096, 4096),
        "projection": (4096, 4096),
        "mlp_gate": (11008, 4096),
        "mlp_in": (11008, 4096),
        "mlp_out": (4096, 11008),
    },
}


def layer_shapes(network, layer, blocks, kind, generator):
    """Random matrices with the shapes of a network's layers.

    Parameters
    ----------
    network : {"gpt2_small", "llama_7b"}
    layer : str
        The name of a layer, a key of ``LAYERS[network]``; or "all", for all those of a block.
    blocks : int
        How many blocks, at least 1. GPT-2 small has 12, Llama 7B 32.
    kind : str
        "gaussian", or a kind of `with_spectrum`.
    generator : torch.Generator
        Of the CPU. The matrices depend on it alone; it moves on.

    Returns
    -------
    dict of str to torch.Tensor
        Float32 matrices (outputs, inputs) by block and layer: ``"0.projection"``.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of those allowed.
    """
    if network not in tuple(LAYERS):
        raise ValueError(f"network is {network!r}: give one of {', '.join(LAYERS)}")
    layers = LAYERS[network]
    if layer not in ("all", *layers):
        raise ValueError(f"layer is {layer!r}: give one of all, {', '.join(layers)}")
    check_integer("blocks", blocks, 1)
    if kind not in ("gaussian", *KINDS):
        raise ValueError(f"kind is {kind!r}: give one of gaussian, {', '.join(KINDS)}")
    chosen = layers if layer == "all" else {layer: layers[layer]}
    return {
        f"{block}.{name}": _matrix(kind, shape, generator) for block in range(blocks) for name, shape in chosen.items()
    }


def _matrix(kind, shape, generator):
    (matrix,) = gaussian(shape, 1, generator) if kind == "gaussian" else with_spectrum(kind, shape, 1, generator)
    return matrix
