"""One function that makes every kind of layer, and says what is wrong with what it is asked for."""

import operator

from .kinds import LAYERS


def make_layer(
    kind,
    in_channels,
    out_channels,
    kernel_size=None,
    *,
    stride=1,
    dilation=1,
    groups=1,
    padding_mode="circular",
    transposed=False,
    bias=True,
):
    """Make a layer whose Lipschitz constant is known.

    A dense layer maps (..., in_channels) to (..., out_channels). A convolution maps (batch, in_channels, height, width)
    to (batch, out_channels, height / stride, width / stride), or height * stride and width * stride if it is
    transposed; the stride must divide both.

    Parameters
    ----------
    kind : str
        A key of `LAYERS`, which says what each supports.
    in_channels, out_channels : int
        Equal for a residual kind.
    kernel_size : int, optional
        Of the square kernel of a convolution; by default the layer is dense.
    stride : int
        At most `kernel_size`. AOC and RKO have a stride of their own; of AOL and our own kinds, each stride by stride
        block of pixels becomes that many channels, and the convolution has no stride.
    dilation, groups : int
        As in `torch.nn.Conv2d`.
    padding_mode : {"circular", "zeros", "valid"}
        How the image goes on beyond its border; "valid" is without padding (``padding=0``), so that the result is
        smaller by dilation * (kernel_size - 1), or larger if it is transposed. Only with "circular" are the orthogonal
        kinds orthogonal there. torch's "reflect" and "replicate" repeat pixels, by which a norm may double: no kind
        has them.
    transposed : bool
        Make the transpose of a convolution from `out_channels` to `in_channels`.
    bias : bool
        Whether there is one.

    Returns
    -------
    nn.Module
        With a `lipschitz_bound` (float): the constant that the layer states, for evaluation mode, in exact arithmetic
        with its weights as they are, in half precision too (reading it is a ValueError if they aren't finite); and
        `joint` (bool), false if it is that of each output on its own. Those that aren't torch's own operation have a
        method ``certified_bound(input_shape)``, a bound computed in float64 from the weights.

    Raises
    ------
    TypeError
        If a number is not an integer.
    ValueError
        If the kind is unknown, or doesn't support an option; or numbers are out of their range or don't fit together.
    ImportError
        If the kind needs Orthogonium and it isn't installed.
    """
    kind = _known(kind)
    in_channels = _integer("in_channels", in_channels)
    out_channels = _integer("out_channels", out_channels)
    stride, dilation, groups = (
        _integer(name, value) for name, value in (("stride", stride), ("dilation", dilation), ("groups", groups))
    )
    if padding_mode not in ("circular", "zeros", "valid"):
        raise ValueError(
            f"padding_mode is {padding_mode!r}: give 'circular', 'zeros' or 'valid'; others repeat pixels, which the "
            "bounds don't hold for"
        )
    if kind.residual and in_channels != out_channels:
        raise ValueError(
            f"in_channels is {in_channels} and out_channels {out_channels}: kind {kind.name!r} keeps "
            "the shape, give equal ones"
        )
    if kernel_size is None:
        _check_dense(kind, stride, dilation, groups, transposed)
        return kind.make_dense(in_channels, out_channels, bias=bias)
    kernel_size = _integer("kernel_size", kernel_size)
    _check_convolution(kind, kernel_size, stride, dilation, groups, padding_mode, transposed)
    _check_groups(in_channels, out_channels, groups)
    options = {"bias": bias}
    if len(kind.padding_modes) > 1:
        options["padding_mode"] = padding_mode
    if kind.strided:
        options["stride"] = stride
    if kind.grouped:
        options["groups"] = groups
    if kind.dilated:
        options["dilation"] = dilation
    if kind.transposed:
        options["transposed"] = transposed
    return kind.make_convolution(in_channels, out_channels, kernel_size, **options)


def _known(name):
    if not isinstance(name, str) or name not in LAYERS:
        raise ValueError(f"kind is {name!r}: give one of {', '.join(map(repr, LAYERS))}")
    return LAYERS[name]


def _integer(name, value):
    """Return a positive integer argument as an int."""
    try:
        integer = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        integer = None
    if integer is None:
        raise TypeError(f"{name} is {value!r}: give an integer >= 1")
    if integer < 1:
        raise ValueError(f"{name} is {integer}: give an integer >= 1")
    return integer


def _check_dense(kind, stride, dilation, groups, transposed):
    if not kind.dense:
        raise ValueError(f"kernel_size is None: kind {kind.name!r} has no dense form, give a kernel_size >= 1")
    for name, value, default in (
        ("stride", stride, 1),
        ("dilation", dilation, 1),
        ("groups", groups, 1),
        ("transposed", transposed, False),
    ):
        if value != default:
            raise ValueError(
                f"{name} is {value} without a kernel_size: a dense layer has none, give a kernel_size >= 1"
            )


def _check_convolution(kind, kernel_size, stride, dilation, groups, padding_mode, transposed):
    """Raise ValueError unless the kind supports each option, and they fit together."""
    if not kind.conv:
        raise ValueError(f"kernel_size is {kernel_size}: kind {kind.name!r} has the dense form only, leave it out")
    for name, value, default, supported in (
        ("stride", stride, 1, kind.strided),
        ("dilation", dilation, 1, kind.dilated),
        ("groups", groups, 1, kind.grouped),
        ("transposed", transposed, False, kind.transposed),
    ):
        if value != default and not supported:
            raise ValueError(f"{name} is {value}: kind {kind.name!r} supports {name}={default} only")
    if padding_mode not in kind.padding_modes:
        allowed = " or ".join(map(repr, kind.padding_modes))
        raise ValueError(f"padding_mode is {padding_mode!r}: kind {kind.name!r} supports {allowed}")
    if stride > kernel_size:
        raise ValueError(
            f"stride is {stride}, above kernel_size, {kernel_size}: pixels would be left out, give a stride "
            f"<= {kernel_size}"
        )
    if kind.odd_kernels and kernel_size % 2 == 0:
        raise ValueError(f"kernel_size is {kernel_size}: kind {kind.name!r} supports odd ones, give {kernel_size + 1}")


def _check_groups(in_channels, out_channels, groups):
    for name, value in (("in_channels", in_channels), ("out_channels", out_channels)):
        if value % groups:
            raise ValueError(f"{name} is {value}, not a multiple of groups, {groups}: give a multiple of it")
