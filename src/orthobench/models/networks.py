"""The networks, each its input layers, then `blocks` (what Muon orthogonalises), then a `head`."""

from orthobench.models.airbench import airbench_cnn
from orthobench.models.convnets import convnet, digits_convnet
from orthobench.models.transformers import byte_transformer, vit

__all__ = ["airbench_cnn", "byte_transformer", "convnet", "digits_convnet", "hidden_weights", "vit"]


def hidden_weights(model):
    """Weights that Muon orthogonalises: the matrices and the convolutions of the model's `blocks`.

    The others are AdamW's: embeddings, first convolution, head, gains and biases. The split is that of
    https://github.com/KellerJordan/Muon.

    Parameters
    ----------
    model : torch.nn.Module
        A network of this package, or any other that keeps its hidden layers, and only them, in `model.blocks`.

    Returns
    -------
    dict of str to torch.nn.Parameter
        By layer, such as `blocks.0.query`, in the model's order.
    """
    parameters = model.blocks.named_parameters(prefix="blocks")
    return {name.removesuffix(".weight"): weight for name, weight in parameters if weight.ndim >= 2}
