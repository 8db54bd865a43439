"""A dense layer with an orthogonal weight, by the suite's own orthogonaliser."""

from numbers import Integral

from torch import nn
from torch.nn.utils import parametrize

from ...linalg.differentiable import orthonormal_factor
from .statement import stated


class OrthonormalFactor(nn.Module):
    """The parametrisation: a weight is the polar factor of the parameter behind it (see `orthonormal_factor`)."""

    def forward(self, original):
        return orthonormal_factor(original)

    def right_inverse(self, weight):
        """Return `weight`, its own polar factor if its rows or columns are orthonormal."""
        return weight


class NewtonSchulzLinear(nn.Linear):
    """A dense layer y = W x + b whose W has orthonormal rows, or columns if it has more rows than columns.

    W is the polar factor of the trainable ``parametrizations.weight.original``, by products of matrices: Newton-Schulz
    steps to rounding forwards, and conjugate gradients on the equation of the polar factor backwards, for a few
    products each while the original is well conditioned. It starts orthonormal, and training moves it away slowly.

    Parameters
    ----------
    in_features, out_features : int
        At least 1.
    bias : bool

    Attributes
    ----------
    lipschitz_bound : float
        1: the largest singular value of W is at most 1 + 1e-6 in float32 and float64. Of W rounded to float16 or
        bfloat16 (``layer.half()``) it is that of W as it is.
    joint : bool
        True: the bound is one on the spectral norm.

    Raises
    ------
    ValueError
        If a number of features is below 1.

    Notes
    -----
    ``torch.nn.utils.parametrize.cached()`` computes W once for several uses. Assigning ``layer.weight = M`` makes W the
    polar factor of M. ``layer.weight.detach()`` is all that a plain `torch.nn.Linear` needs.

    The gradient for the original is orthogonal to it and inversely proportional to its scale, so weight decay changes
    the effective learning rate, not W. What the map does on rank-deficient originals is told at `orthonormal_factor`.

    References
    ----------
    Anil, Lucas & Grosse (2019), Sorting out Lipschitz function approximation, arXiv:1811.05381; Boissin et al. (2025),
    Turbo-Muon: accelerating orthogonality-based optimization with pre-conditioning, arXiv:2512.04632.
    """

    def __init__(self, in_features, out_features, bias=True):
        for name, value in (("in_features", in_features), ("out_features", out_features)):
            if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
                raise ValueError(
                    f"{name} must be an integer >= 1, got {value!r}; an orthogonal weight has no empty side."
                )
        super().__init__(in_features, out_features, bias=bias)
        nn.init.orthogonal_(self.weight)
        parametrize.register_parametrization(self, "weight", OrthonormalFactor())
        stated(self)
