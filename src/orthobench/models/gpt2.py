"""GPT-2 with 124M parameters in the form in which modded-nanogpt compares optimizers."""

import math

import torch
from torch import nn
from torch.nn.functional import rms_norm, scaled_dot_product_attention

from orthobench.models.checks import check_integer, check_multiple
from orthobench.models.reproducible import seeded

VARIANCE = 0.33  # of the initial weights, times the number of inputs
ATTENTION_SCALE = 0.12
LOGIT_CAP = 15.0
SLOWEST = 1 / 1024  # least rotation, in radians a token
EPS = torch.finfo(torch.float32).eps  # of the norms, in every type: a type changes rounding alone


def gpt2(seed, *, width=768, depth=12, heads=6, context=1024, vocabulary=50304):
    """Make GPT-2 as track 3 of modded-nanogpt fixes it ("records/track_3_optimization/train_gpt_simple.py").

    A norm follows the token embedding. Each block adds attention, then an MLP with relu(x)^2 between its two layers,
    each after a norm. Queries and keys are divided by their root mean square and rotated by their position: entry i of
    a head's first half with entry i of its second, for the first half of these pairs only, by angles from 1 to 1/1024
    radians a token; scores are scaled by 0.12. The head is not tied to the embedding, and its logits z are capped to
    15 z / sqrt(z^2 + 15^2). Norms are RMS norms with gains, and linear layers have biases. Initially gains are 1,
    biases 0, embeddings standard normal, the layers that write to the residual stream and the head 0, and other weights
    normal with variance 0.33 / inputs.

    By default 162,354,816 parameters: 85,036,032 in the blocks (84,934,656 of them in matrices), 38,633,472 in the
    embedding, 38,683,776 in the head, 1,536 in two norms; 123,671,040 without the head, the usual count of GPT-2, which
    has one matrix for both.

    Parameters
    ----------
    seed : int
        Decides the initial weights, in 0..2**63 - 1.
    width : int
        Length of the vector that stands for a token, a multiple of 4 `heads`.
    depth : int
        Number of blocks.
    heads : int
        Attention heads in a block.
    context : int
        Longest text it reads, in tokens.
    vocabulary : int
        Number of different tokens. GPT-2's are 50,257; the others, up to a multiple of 128, never occur.

    Returns
    -------
    torch.nn.Module
        On the CPU, in float32. Maps tokens (batch, time), int64 below `vocabulary`, to logits
        (batch, time, vocabulary), which are float32 under autocast too.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of those allowed; ValueError from the network if a text is longer than `context`.
    """
    width = check_integer("width", width, 1)
    depth = check_integer("depth", depth, 1)
    heads = check_integer("heads", heads, 1)
    check_multiple("width", width, 4 * heads, "4 heads")
    context = check_integer("context", context, 1)
    vocabulary = check_integer("vocabulary", vocabulary, 1)
    with seeded(seed):
        return GPT2(width, depth, heads, context, vocabulary)


class GPT2(nn.Module):
    """The network of `gpt2`."""

    def __init__(self, width, depth, heads, context, vocabulary):
        super().__init__()
        self.context = context
        self.head_size = width // heads
        self.embedding = nn.Embedding(vocabulary, width)
        self.embedding_norm = nn.RMSNorm(width, eps=EPS)
        self.blocks = nn.ModuleList(GPT2Block(width, heads) for _ in range(depth))
        self.norm = nn.RMSNorm(width, eps=EPS)
        self.head = _linear(width, vocabulary, variance=0)

    def forward(self, text):
        if text.shape[-1] > self.context:
            raise ValueError(f"a text has length {text.shape[-1]}: give at most the network's context, {self.context}")
        x = self.embedding_norm(self.embedding(text))
        rotation = _rotation(text.shape[-1], self.head_size, _at_least_float32(x.dtype), x.device)
        for block in self.blocks:
            x = block(x, *rotation)
        logits = self.head(self.norm(x))
        logits = logits.to(_at_least_float32(logits.dtype))
        return logits * torch.rsqrt(1 + (logits / LOGIT_CAP).square())


class GPT2Block(nn.Module):
    """Attention, then an MLP, each after a norm and added to its input: (batch, time, width) to the same."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.RMSNorm(width, eps=EPS)
        self.query = _linear(width, width, VARIANCE)
        self.key = _linear(width, width, VARIANCE)
        self.value = _linear(width, width, VARIANCE)
        self.projection = _linear(width, width, variance=0)
        self.mlp_norm = nn.RMSNorm(width, eps=EPS)
        self.mlp_in = _linear(width, 4 * width, VARIANCE)
        self.mlp_out = _linear(4 * width, width, variance=0)

    def forward(self, x, cosine, sine):
        x = x + self.attention(self.attention_norm(x), cosine, sine)
        return x + self.mlp_out(self.mlp_in(self.mlp_norm(x)).relu().square())

    def attention(self, x, cosine, sine):
        query, key, value = (self.by_head(layer(x)) for layer in (self.query, self.key, self.value))
        query, key = (
            _rotate(rms_norm(each, each.shape[-1:], eps=EPS), cosine, sine).to(value.dtype) for each in (query, key)
        )
        mixed = scaled_dot_product_attention(query, key, value, is_causal=True, scale=ATTENTION_SCALE)
        return self.projection(mixed.transpose(1, 2).flatten(2))

    def by_head(self, x):
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def _linear(inputs, outputs, variance):
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=math.sqrt(variance / inputs))
    nn.init.zeros_(layer.bias)
    return layer


def _rotation(time, size, dtype, device):
    """Cosine and sine, (time, size / 2), of the angles by which the pairs of a head's entries are turned."""
    speeds = SLOWEST ** torch.linspace(0, 1, size // 4, dtype=dtype, device=device)
    speeds = torch.cat((speeds, speeds.new_zeros(size // 2 - size // 4)))
    angles = torch.arange(time, dtype=dtype, device=device)[:, None] * speeds
    return angles.cos(), angles.sin()


def _rotate(x, cosine, sine):
    first, second = x.to(cosine.dtype).chunk(2, dim=-1)
    return torch.cat((first * cosine + second * sine, second * cosine - first * sine), dim=-1)


def _at_least_float32(dtype):
    return torch.promote_types(dtype, torch.float32)
