"""The activation and the centring that 1-Lipschitz networks use."""

import torch
from torch import nn


class MaxMin(nn.Module):
    """Sort pairs of channels: (a, b) becomes (max(a, b), min(a, b)), for a in the first and b in the second half.

    A permutation of the channels for each input, it is 1-Lipschitz and keeps the norm of gradients.

    References
    ----------
    Anil, Lucas & Grosse (2019), Sorting out Lipschitz function approximation, arXiv:1811.05381.
    """

    def forward(self, x):
        """Sort the pairs of x (batch, channels, ...); raise ValueError for an odd number of channels."""
        if x.ndim < 2 or x.shape[1] % 2:
            raise ValueError(f"MaxMin got the shape {tuple(x.shape)}: give (batch, channels, ...), channels even")
        a, b = x.chunk(2, dim=1)
        return torch.cat([torch.maximum(a, b), torch.minimum(a, b)], dim=1)


class BatchCentering(nn.Module):
    """Subtract a running mean from each channel, and add a bias: batch normalisation without its scaling.

    The mean is updated by each batch in training, and what is subtracted is the running mean itself, a constant: for
    each sample the layer is 1-Lipschitz, in evaluation exactly a translation.

    Parameters
    ----------
    channels : int
    momentum : float
        Weight of a batch's mean in the running one.
    """

    def __init__(self, channels, momentum=0.1):
        super().__init__()
        self.momentum = momentum
        self.register_buffer("running_mean", torch.zeros(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        """Centre x (batch, channels, ...)."""
        if self.training:
            with torch.no_grad():
                mean = x.mean(dim=[axis for axis in range(x.ndim) if axis != 1])
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        shift = self.bias - self.running_mean
        return x + shift.to(x.dtype).view(-1, *(1 for _ in x.shape[2:]))
