"""Layers by their formulas, with nothing but sums and products: what the networks are compared with, in float64."""

import math

import torch


def convolve(images, kernel, stride=1, padding=1):
    """Sum over the kernel's places of a shifted image times a matrix, with zeros around the image."""
    height, width = kernel.shape[2:]
    images = torch.nn.functional.pad(images, (padding,) * 4)
    rows, columns = images.shape[2] - height + 1, images.shape[3] - width + 1
    places = [(row, column) for row in range(height) for column in range(width)]
    result = sum(
        torch.einsum(
            "oi,nihw->nohw", kernel[:, :, row, column], images[:, :, row : row + rows, column : column + columns]
        )
        for row, column in places
    )
    return result[:, :, ::stride, ::stride]


def group_norm(images, gain, bias, groups=8, eps=1e-5):
    """Shift and scale each image's groups of channels to mean 0 and variance 1."""
    parts = images.unflatten(1, (groups, -1))
    parts = standardised(parts, (2, 3, 4), eps)
    return parts.flatten(1, 2) * gain[:, None, None] + bias[:, None, None]


def standardised(x, dims, eps=1e-5):
    """Shift and scale to mean 0 and variance 1 over dims."""
    centred = x - x.mean(dims, keepdim=True)
    return centred / (centred.square().mean(dims, keepdim=True) + eps).sqrt()


def max_pool(images):
    """Largest of each 2x2 pixels; an odd last row or column is left out."""
    corners = [images[:, :, row::2, column::2] for row in (0, 1) for column in (0, 1)]
    height, width = corners[-1].shape[2:]
    return torch.stack([corner[:, :, :height, :width] for corner in corners]).amax(0)


def gelu(x):
    """Multiply x by the normal distribution function at x."""
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def rms_norm(x, gain, eps):
    """Divide each vector by its root mean square."""
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * gain


def attend(query, key, value, heads, causal):
    """Attention, head by head and position by position."""
    time, width = query.shape[1:]
    size = width // heads
    result = torch.zeros_like(query)
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        for position in range(time):
            seen = position + 1 if causal else time
            scores = (key[:, :seen, part] @ query[:, position, part, None])[:, :, 0] / math.sqrt(size)
            shares = scores.exp() / scores.exp().sum(1, keepdim=True)
            result[:, position, part] = (shares[:, :, None] * value[:, :seen, part]).sum(1)
    return result


def projections(model):
    """Sum, absolute sum and a weighted sum of a model's parameters, in their order: what no other weights share."""
    weights = torch.cat([weight.detach().double().flatten() for weight in model.parameters()])
    return [
        float(weights.sum()),
        float(weights.abs().sum()),
        float(weights @ torch.arange(len(weights)).double().sin()),
    ]
