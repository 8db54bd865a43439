"""Two small transformers with the same blocks: one predicts the next byte of a text, one classifies images."""

import torch
from torch import nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from orthobench.models.checks import check_integer, check_multiple
from orthobench.models.reproducible import seeded


def byte_transformer(seed, *, width=96, depth=2, heads=4, context=64, vocabulary=256):
    """Make a small causal transformer that predicts the next byte of a text, or the next token of any other sequence.

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
    vocabulary : int
        Number of different tokens, 256 for bytes.

    Returns
    -------
    torch.nn.Module
        On the CPU, in float32. Maps bytes (batch, time), int64 below `vocabulary`, to logits (batch, time, vocabulary).

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of those allowed; ValueError from the network if a text is longer than `context`.
    """
    sizes = _check_sizes(width, depth, heads)
    context = check_integer("context", context, 1)
    vocabulary = check_integer("vocabulary", vocabulary, 1)
    with seeded(seed):
        return ByteTransformer(*sizes, context, vocabulary)


def vit(seed, *, size=32, channels=3, patch=4, width=192, depth=6, heads=3, classes=10):
    """Make a small vision transformer, after Dosovitskiy et al., "An image is worth 16x16 words", 2021.

    As there, a convolution embeds the patches, positions are learned, and norms come before attention and MLP. Unlike
    there, the head reads the mean over the patches, not a class token; norms are RMS norms; the blocks have no biases.

    Parameters
    ----------
    seed : int
        Decides the initial weights, in 0..2**63 - 1.
    size : int
        Height and width of the images, a multiple of `patch`.
    channels : int
        Channels of the images.
    patch : int
        Height and width of a patch.
    width : int
        Length of the vector that stands for a patch, a multiple of `heads`.
    depth : int
        Number of blocks.
    heads : int
        Attention heads in a block.
    classes : int
        Number of classes.

    Returns
    -------
    torch.nn.Module
        On the CPU, in float32. Maps images (batch, channels, size, size) to logits (batch, classes).

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of those allowed; ValueError from the network if images are of another size.
    """
    sizes = _check_sizes(width, depth, heads)
    size = check_integer("size", size, 1)
    channels = check_integer("channels", channels, 1)
    patch = check_integer("patch", patch, 1)
    classes = check_integer("classes", classes, 1)
    check_multiple("size", size, patch, "patch")
    with seeded(seed):
        return VisionTransformer(*sizes, size, channels, patch, classes)


def _check_sizes(width, depth, heads):
    width = check_integer("width", width, 1)
    depth = check_integer("depth", depth, 1)
    heads = check_integer("heads", heads, 1)
    check_multiple("width", width, heads, "heads")
    return width, depth, heads


class TransformerBlock(nn.Module):
    """Attention, then an MLP, each after a norm and added to its input: (batch, time, width) to the same.

    If it is causal, each position sees itself and those before it, else all.
    """

    def __init__(self, width, heads, causal):
        super().__init__()
        self.heads = heads
        self.causal = causal
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
        mixed = scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        return self.projection(mixed.transpose(1, 2).flatten(2))

    def by_head(self, x):
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class ByteTransformer(nn.Module):
    """The network of `byte_transformer`."""

    def __init__(self, width, depth, heads, context, vocabulary):
        super().__init__()
        self.context = context
        self.byte_embedding = nn.Embedding(vocabulary, width)
        self.position_embedding = nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(TransformerBlock(width, heads, causal=True) for _ in range(depth)))
        self.norm = nn.RMSNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, text):
        # On a GPU, a position that the table lacks would end the process, not raise.
        if text.shape[-1] > self.context:
            raise ValueError(f"a text has length {text.shape[-1]}: give at most the network's context, {self.context}")
        positions = torch.arange(text.shape[-1], device=text.device)
        x = self.byte_embedding(text) + self.position_embedding(positions)
        return self.head(self.norm(self.blocks(x)))


class VisionTransformer(nn.Module):
    """The network of `vit`."""

    def __init__(self, width, depth, heads, size, channels, patch, classes):
        super().__init__()
        self.size = size
        self.patch_embedding = nn.Conv2d(channels, width, patch, stride=patch)
        self.position_embedding = nn.Parameter(0.02 * torch.randn((size // patch) ** 2, width))
        self.blocks = nn.Sequential(*(TransformerBlock(width, heads, causal=False) for _ in range(depth)))
        self.norm = nn.RMSNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, images):
        # Slightly larger images would be cut without a word.
        if images.shape[-2:] != (self.size, self.size):
            raise ValueError(f"images has the shape {tuple(images.shape)}: give (..., {self.size}, {self.size})")
        patches = self.patch_embedding(images).flatten(2).transpose(1, 2)
        features = self.blocks(patches + self.position_embedding)
        return self.head(self.norm(features.mean(dim=1)))
