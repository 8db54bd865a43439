"""Two small networks. Each is its input layers, then `blocks` (what Muon orthogonalises), then a `head`."""

import torch
from torch import nn
from torch.nn.functional import gelu, relu, scaled_dot_product_attention

from orthobench.models.reproducible import seeded


def digits_convnet(seed, *, width=32):
    """Make a small convolutional network for scikit-learn's digits, grey images of 8x8 pixels.

    Three 3x3 convolutions (1 to `width` to twice, twice that), each with a group norm.

    Parameters
    ----------
    seed : int
        Decides the initial weights, in 0..2**63 - 1.
    width : int
        Channels after the first convolution, a multiple of 8.

    Returns
    -------
    torch.nn.Module
        On the CPU, in float32. Maps images (batch, 1, 8, 8) to logits (batch, 10).
    """
    with seeded(seed):
        return DigitsConvNet(width)


def byte_transformer(seed, *, width=96, depth=2, heads=4, context=64):
    """Make a small causal transformer that predicts the next byte of a text.

    Parameters
    ----------
    seed : int
        Decides the initial weights, in 0..2**63 - 1.
    width : int
        Length of the vector that stands for a byte, a multiple of `heads`.
    depth : int
        Number of blocks.
    heads : int
        Attention heads in a block.
    context : int
        Longest text it reads, in bytes.

    Returns
    -------
    torch.nn.Module
        On the CPU, in float32. Maps bytes (batch, time), int64, to logits (batch, time, 256).
    """
    with seeded(seed):
        return ByteTransformer(width, depth, heads, context)


def hidden_weights(model):
    """Weights that Muon orthogonalises: the matrices and the convolutions of the model's `blocks`.

    The others are AdamW's: embeddings, first convolution, head, gains and biases. The split is that of
    https://github.com/KellerJordan/Muon.

    Parameters
    ----------
    model : torch.nn.Module
        A network of this file, or any other that keeps its hidden layers, and only them, in `model.blocks`.

    Returns
    -------
    dict of str to torch.nn.Parameter
        By layer, such as `blocks.0.query`, in the model's order.
    """
    parameters = model.blocks.named_parameters(prefix="blocks")
    return {name.removesuffix(".weight"): weight for name, weight in parameters if weight.ndim >= 2}


class ConvBlock(nn.Module):
    """3x3 convolution, group norm, ReLU: (batch, inputs, h, w) to (batch, outputs, h, w)."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm = nn.GroupNorm(8, outputs)

    def forward(self, images):
        return relu(self.norm(self.convolution(images)))


class DigitsConvNet(nn.Module):
    """The network of `digits_convnet`."""

    def __init__(self, width):
        super().__init__()
        self.stem = ConvBlock(1, width)
        self.pool = nn.MaxPool2d(2)
        self.blocks = nn.Sequential(ConvBlock(width, 2 * width), ConvBlock(2 * width, 2 * width))
        self.head = nn.Linear(2 * width, 10)

    def forward(self, images):
        features = self.blocks(self.pool(self.stem(images)))
        return self.head(features.mean(dim=(2, 3)))


class TransformerBlock(nn.Module):
    """Causal attention, then an MLP, each after a norm and added to its input: (batch, time, width) to the same."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.RMSNorm(width)
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.projection = nn.Linear(width, width, bias=False)
        self.mlp_norm = nn.RMSNorm(width)
        self.mlp_in = nn.Linear(width, 4 * width, bias=False)
        self.mlp_out = nn.Linear(4 * width, width, bias=False)

    def forward(self, x):
        x = x + self.attention(self.attention_norm(x))
        return x + self.mlp_out(gelu(self.mlp_in(self.mlp_norm(x))))

    def attention(self, x):
        query, key, value = (self.by_head(layer(x)) for layer in (self.query, self.key, self.value))
        mixed = scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.projection(mixed.transpose(1, 2).flatten(2))

    def by_head(self, x):
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class ByteTransformer(nn.Module):
    """The network of `byte_transformer`."""

    def __init__(self, width, depth, heads, context):
        super().__init__()
        self.byte_embedding = nn.Embedding(256, width)
        self.position_embedding = nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(TransformerBlock(width, heads) for _ in range(depth)))
        self.norm = nn.RMSNorm(width)
        self.head = nn.Linear(width, 256, bias=False)

    def forward(self, text):
        positions = torch.arange(text.shape[-1], device=text.device)
        x = self.byte_embedding(text) + self.position_embedding(positions)
        return self.head(self.norm(self.blocks(x)))
