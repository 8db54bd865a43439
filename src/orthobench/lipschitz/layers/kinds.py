"""The table of the kinds of layers: what each is, what it supports, and what makes it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from . import bcop, cayley, cpl, library, lot, plain, sandwich, sll, soc

BOTH = ("circular", "zeros")
ALL = (*BOTH, "valid")


@dataclass(frozen=True)
class LayerKind:
    """A way to parametrise a layer so that its Lipschitz constant is known.

    Attributes
    ----------
    name : str
        Identifier, as passed to `make_layer`.
    source : str
        Paper, or library.
    make_dense, make_convolution : callable or None
        Make the layer; None where the kind has no such form. Users call `make_layer`.
    residual : bool
        Whether it keeps the shape of its input.
    nonlinear : bool
        Whether it brings its own non-linearity: no activation is needed behind it.
    joint : bool
        Whether the constant is that of the whole map (of a linear one, the spectral norm); otherwise it is that of each
        output on its own.
    orthogonal : bool
        Whether it is orthogonal (with circular padding), not only 1-Lipschitz. Where it comes from an iteration of a
        fixed number of steps (Björck's, Newton's), as far as those get: from a matrix of parameters whose condition
        number is above some 100, or 10 for LOT, they leave small singular values below 1.
    strided, grouped, dilated, transposed : bool
        Which options of a convolution it supports. Of stride and dilation at once, "bjorck" and AOC support those
        without a common divisor, and AOC others where it has less outputs than inputs, and a kernel larger than the
        stride.
    odd_kernels : bool
        Whether its kernels must be of odd size.
    padding_modes : tuple of str
    """

    name: str
    source: str
    make_dense: Callable | None = None
    make_convolution: Callable | None = None
    residual: bool = False
    nonlinear: bool = False
    joint: bool = True
    orthogonal: bool = False
    strided: bool = False
    grouped: bool = False
    dilated: bool = False
    transposed: bool = False
    odd_kernels: bool = False
    padding_modes: tuple[str, ...] = ()

    @property
    def dense(self):
        """Whether there is a dense form."""
        return self.make_dense is not None

    @property
    def conv(self):
        """Whether there is a convolution."""
        return self.make_convolution is not None


def _newton_schulz(in_channels, out_channels, bias=True):
    from .newton_schulz_linear import NewtonSchulzLinear

    return NewtonSchulzLinear(in_channels, out_channels, bias=bias)


def _aoc(orthogonaliser, title):
    return LayerKind(
        f"aoc_{orthogonaliser}",
        f"Boissin et al. (2025), An adaptive orthogonal convolution scheme, arXiv:2501.07930, with {title} "
        "(Orthogonium)",
        partial(library.orthogonal_linear, orthogonaliser=orthogonaliser),
        partial(library.aoc_conv2d, orthogonaliser=orthogonaliser),
        orthogonal=True,
        strided=True,
        grouped=True,
        dilated=True,
        transposed=True,
        padding_modes=ALL,
    )


_KINDS = (
    LayerKind(
        "plain",
        "torch.nn",
        plain.Linear,
        plain.plain_conv2d,
        strided=True,
        grouped=True,
        dilated=True,
        transposed=True,
        padding_modes=ALL,
    ),
    LayerKind(
        "spectral",
        "Miyato et al. (2018), Spectral normalization, arXiv:1802.05957 (torch.nn.utils.parametrizations)",
        plain.spectral_linear,
        plain.spectral_conv2d,
        strided=True,
        grouped=True,
        dilated=True,
        transposed=True,
        padding_modes=ALL,
    ),
    LayerKind(
        "bjorck",
        "Anil, Lucas & Grosse (2019), Sorting out Lipschitz function approximation, arXiv:1811.05381; as a convolution "
        "reshaped kernel orthogonalisation: Serrurier et al. (2021), arXiv:2006.06520 (Orthogonium)",
        partial(library.orthogonal_linear, orthogonaliser="bjorck"),
        library.rko_conv2d,
        strided=True,
        grouped=True,
        dilated=True,
        padding_modes=ALL,
    ),
    _aoc("bjorck", "Björck's iteration"),
    _aoc("qr", "QR"),
    _aoc("exp", "the matrix exponential"),
    LayerKind(
        "bcop",
        "Li et al. (2019), Preventing gradient attenuation in Lipschitz constrained convolutional networks, "
        "arXiv:1911.00937",
        partial(library.orthogonal_linear, orthogonaliser="bjorck"),
        bcop.bcop_conv2d,
        orthogonal=True,
        strided=True,
        dilated=True,
        padding_modes=ALL,
    ),
    LayerKind(
        "soc",
        "Singla & Feizi (2021), Skew orthogonal convolutions, arXiv:2105.11417",
        partial(library.orthogonal_linear, orthogonaliser="exp"),
        soc.SOCConv2d,
        orthogonal=True,
        strided=True,
        dilated=True,
        odd_kernels=True,
        padding_modes=BOTH,
    ),
    LayerKind(
        "cayley",
        "Trockman & Kolter (2021), Orthogonalizing convolutional layers with the Cayley transform, arXiv:2104.07167",
        cayley.cayley_linear,
        cayley.CayleyConv2d,
        orthogonal=True,
        strided=True,
        grouped=True,
        dilated=True,
        padding_modes=("circular",),
    ),
    LayerKind(
        "cpl",
        "Meunier et al. (2022), A dynamical system perspective for Lipschitz neural networks, arXiv:2110.12690",
        cpl.CPLLinear,
        cpl.CPLConv2d,
        residual=True,
        nonlinear=True,
        grouped=True,
        dilated=True,
        padding_modes=BOTH,
    ),
    LayerKind(
        "sll",
        "Araujo et al. (2023), A unified algebraic perspective on Lipschitz neural networks, arXiv:2303.03169",
        sll.SLLLinear,
        sll.SLLConv2d,
        residual=True,
        nonlinear=True,
        grouped=True,
        dilated=True,
        padding_modes=BOTH,
    ),
    LayerKind(
        "lot",
        "Xu, Li & Li (2022), LOT: layer-wise orthogonal training on improving l2 certified robustness, "
        "arXiv:2210.11620",
        lot.lot_linear,
        lot.LOTConv2d,
        orthogonal=True,
        strided=True,
        grouped=True,
        dilated=True,
        padding_modes=("circular",),
    ),
    LayerKind(
        "aol",
        "Prach & Lampert (2022), Almost-orthogonal layers for efficient general-purpose Lipschitz networks, "
        "arXiv:2208.03160 (Orthogonium)",
        library.aol_linear,
        library.aol_conv2d,
        strided=True,
        grouped=True,
        dilated=True,
        transposed=True,
        padding_modes=ALL,
    ),
    LayerKind(
        "sandwich",
        "Wang & Manchester (2023), Direct parameterization of Lipschitz-bounded deep networks, arXiv:2301.11526",
        sandwich.SandwichLinear,
        sandwich.SandwichConv2d,
        nonlinear=True,
        strided=True,
        padding_modes=("circular",),
    ),
    LayerKind(
        "unit_norm",
        "Rows of norm 1: each output is 1-Lipschitz on its own (Orthogonium)",
        library.unit_norm_linear,
        joint=False,
    ),
    LayerKind(
        "newton_schulz",
        "Turbo-Muon's Newton-Schulz iteration as a parametrisation: Boissin et al. (2025), arXiv:2512.04632",
        _newton_schulz,
        orthogonal=True,
    ),
)

LAYERS = MappingProxyType({kind.name: kind for kind in _KINDS})
