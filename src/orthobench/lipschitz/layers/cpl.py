"""Convex potential layers: residual layers whose T is the square of the norm of W."""

import torch

from .residual import ResidualConv2d, ResidualLinear
from .spectra import largest_singular_value

FIRST_ITERATIONS = (
    30  # of the power iteration that starts afresh; afterwards one for each training step, as in the paper
)


class _PowerIteration:
    """T = ||W||^2, estimated by power iteration in training, and computed exactly in evaluation.

    An estimate is never above the norm, so a layer in training may have a Lipschitz constant a little above 1; in
    evaluation it has not. Only training changes the iteration's state: the vector it has reached, which is part of the
    state dict and depends on the size of the images.
    """

    _direction = torch.empty(0)

    def get_extra_state(self):
        return self._direction

    def set_extra_state(self, state):
        self._direction = state

    def inverse_scales(self, weight, size):
        """Return 1 / ||W||^2, (1)."""
        if self.training and weight.dtype == self.weight.dtype:
            squared = self._estimate(weight, size)
        else:
            squared = weight.new_tensor(self.norm(weight, size)) ** 2
        return 1 / squared.clamp_min(torch.finfo(weight.dtype).tiny).view(1)

    def _estimate(self, weight, size):
        """||W u||^2 for the vector u of the iteration, which is no part of the gradient."""
        with torch.no_grad():
            u, iterations = self._direction, 1
            if u.shape != self.direction_shape(size) or u.dtype != weight.dtype or u.device != weight.device:
                generator = torch.Generator().manual_seed(0)
                u = torch.randn(self.direction_shape(size), generator=generator).to(weight)
                iterations = FIRST_ITERATIONS
            for _ in range(iterations):
                u = self.pull_back(self.push(u, weight), weight)
                u = u / u.norm().clamp_min(torch.finfo(u.dtype).tiny)
            self._direction = u
        return self.push(u, weight).square().sum()


class CPLLinear(_PowerIteration, ResidualLinear):
    r"""y = x - 2 / ||W||^2 W^T relu(W x + b): a step of gradient descent on a convex potential.

    References
    ----------
    Meunier, Delattre, Araujo & Allauzen (2022), A dynamical system perspective for Lipschitz neural networks,
    arXiv:2110.12690.
    """

    def direction_shape(self, size):
        return (1, self.in_features)

    def push(self, u, weight):
        return self.apply_weight(u, weight)

    def pull_back(self, z, weight):
        return self.apply_transpose(z, weight)

    def norm(self, weight, size):
        """Return the largest singular value of W, computed in float64."""
        return largest_singular_value(weight.detach().double()[None])


class CPLConv2d(_PowerIteration, ResidualConv2d):
    r"""y = x - 2 / ||W||^2 W^T relu(W x + b) for a convolution W.

    ||W|| is that of the circular convolution on the image, or, for zero padding, on the image with its padding. In
    evaluation it is computed frequency by frequency, in float64: under ``parametrize.cached()``, once.

    References
    ----------
    Meunier, Delattre, Araujo & Allauzen (2022), A dynamical system perspective for Lipschitz neural networks,
    arXiv:2110.12690.
    """

    def direction_shape(self, size):
        return (1, self.in_channels, *self.torus(size))

    def push(self, u, weight):
        return self.apply_weight(u, weight, "circular")

    def pull_back(self, z, weight):
        return self.apply_transpose(z, weight, "circular")
