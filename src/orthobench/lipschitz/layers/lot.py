"""Layer-wise orthogonal training: the inverse square root of the Gram matrix by Newton's iteration."""

import torch
from torch import nn
from torch.nn.utils import parametrize

from .bjorck import bjorck_iteration
from .fourier import FourierConv2d
from .precision import in_full_precision
from .statement import stated

STEPS = 10  # as in the paper


def newton_orthogonal(matrices, steps=STEPS):
    r"""Compute (V V^H)^(-1/2) V of each matrix V, up to what `steps` of Newton's iteration leave.

    From V / ||V||_F, each step maps each singular value s to s (3 - s^2) / 2. The paper iterates on the inverse square
    root Z_k and multiplies V by it in the end; here Z_k V itself is iterated, which is the same in exact arithmetic,
    and does not let rounding errors grow. The norm is <= 1 after any number of steps.

    Parameters
    ----------
    matrices : Tensor (..., m, n)
        Real or complex.
    steps : int

    Returns
    -------
    Tensor (..., m, n)
        Differentiable.

    References
    ----------
    Xu, Li & Li (2022), LOT: layer-wise orthogonal training on improving l2 certified robustness, arXiv:2210.11620.
    """
    norm = torch.linalg.matrix_norm(matrices, keepdim=True)
    return bjorck_iteration(matrices / norm.clamp_min(torch.finfo(norm.dtype).tiny), steps)


class LOTConv2d(FourierConv2d):
    """A circular convolution that is made orthogonal by Newton's iteration, at each frequency.

    Its kernel starts as an orthogonal matrix in the centre: the iteration converges from there in a few steps, at every
    frequency.

    References
    ----------
    Xu, Li & Li (2022), LOT: layer-wise orthogonal training on improving l2 certified robustness, arXiv:2210.11620.
    """

    def reset_parameters(self):
        """Draw the parameters anew."""
        super().reset_parameters()
        centre = (self.kernel_size - 1) // 2
        with torch.no_grad():
            self.weight.zero_()
            for part in self.weight[..., centre, centre].chunk(self.groups):
                part.copy_(nn.init.orthogonal_(torch.empty(part.shape, dtype=part.dtype, device=part.device)))

    def orthogonal(self, spectrum):
        """Make the matrices of a spectrum orthogonal."""
        return newton_orthogonal(spectrum)


class LOTWeight(nn.Module):
    """Parametrisation of a matrix by `newton_orthogonal`."""

    def forward(self, weight):
        return newton_orthogonal(weight)


def lot_linear(in_channels, out_channels, bias=True):
    """Make a `torch.nn.Linear` whose weight is made orthogonal by Newton's iteration."""
    layer = nn.Linear(in_channels, out_channels, bias=bias)
    nn.init.orthogonal_(layer.weight)
    parametrize.register_parametrization(layer, "weight", LOTWeight())
    return stated(in_full_precision(layer))
