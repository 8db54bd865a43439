"""What a layer can't be made of, or can't be given: the error names it and what to do."""

import itertools

import pytest
import torch
from layer_cases import CONVOLUTIONS, VALUES, make, some_layers, supports

from orthobench.lipschitz.layers import LAYERS, export_plain, make_layer


@pytest.mark.parametrize("kind", ["caley", "", None, 3, ["plain"]])
def test_an_unknown_kind_is_named_with_the_known_ones(kind):
    with pytest.raises(ValueError, match=r"give one of 'plain', 'spectral', .*'newton_schulz'"):
        make_layer(kind, 4, 4)


@pytest.mark.parametrize("name", ["in_channels", "out_channels", "kernel_size", "stride", "dilation", "groups"])
@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (-2, ValueError), (1.5, TypeError), (True, TypeError)])
def test_a_number_that_is_no_positive_integer_is_named(name, value, error):
    options = {"in_channels": 4, "out_channels": 4, "kernel_size": 3, name: value}
    with pytest.raises(error, match=f"{name} is {value}: give an integer >= 1"):
        make_layer("plain", **options)


def test_a_kernel_that_is_not_square_is_refused():
    with pytest.raises(TypeError, match=r"kernel_size is \(3, 5\): give an integer"):
        make_layer("aoc_qr", 4, 4, (3, 5))


@pytest.mark.parametrize("name", [name for name in CONVOLUTIONS if LAYERS[name].grouped])
@pytest.mark.parametrize(("channels", "wrong"), [((6, 8), "in_channels is 6"), ((8, 6), "out_channels is 6")])
def test_channels_that_groups_do_not_divide_are_named(name, channels, wrong):
    if LAYERS[name].residual:
        channels, wrong = (6, 6), "in_channels is 6"
    with pytest.raises(ValueError, match=f"{wrong}, not a multiple of groups, 4"):
        make_layer(name, *channels, 3, groups=4)


@pytest.mark.parametrize("name", [name for name in CONVOLUTIONS if LAYERS[name].strided])
def test_a_stride_above_the_kernel_is_refused(name):
    with pytest.raises(ValueError, match="stride is 2, above kernel_size, 1"):
        make_layer(name, 4, 4, 1, stride=2)


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize(
    ("option", "value", "field"),
    [
        ("stride", 2, "strided"),
        ("groups", 2, "grouped"),
        ("dilation", 2, "dilated"),
        ("transposed", True, "transposed"),
    ],
)
def test_an_option_that_a_kind_does_not_support_is_refused(name, option, value, field):
    if getattr(LAYERS[name], field):
        make_layer(name, 4, 4, 3, **{option: value})
    else:
        with pytest.raises(ValueError, match=f"{option} is {value}: kind '{name}' supports {option}="):
            make_layer(name, 4, 4, 3, **{option: value})


@pytest.mark.parametrize("name", ["cayley", "lot", "sandwich"])
def test_a_padding_that_a_kind_does_not_support_is_refused(name):
    with pytest.raises(ValueError, match=f"'zeros': kind '{name}' supports 'circular'"):
        make_layer(name, 4, 4, 3, padding_mode="zeros")


def test_an_unknown_padding_is_refused():
    with pytest.raises(ValueError, match="'reflect': give 'circular', 'zeros' or 'valid'; others repeat pixels"):
        make_layer("plain", 4, 4, 3, padding_mode="reflect")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("aoc_qr", {"out_channels": 8}),
        ("aoc_qr", {"kernel_size": 2}),
        ("aoc_qr", {"transposed": True}),
        ("bjorck", {}),
    ],
)
def test_stride_and_dilation_together_are_refused_where_no_such_layer_is_orthogonal(name, options):
    with pytest.raises(ValueError, match="stride is 2 and dilation 2: such a kernel"):
        make_layer(name, 4, **{"out_channels": 4, "kernel_size": 3, "stride": 2, "dilation": 2, **options})


@pytest.mark.parametrize("option", [{"stride": 2}, {"dilation": 2}, {"groups": 2}, {"transposed": True}])
def test_options_of_convolutions_are_refused_for_a_dense_layer(option):
    with pytest.raises(ValueError, match="without a kernel_size"):
        make_layer("plain", 4, 4, **option)


@pytest.mark.parametrize("name", ["unit_norm", "newton_schulz"])
def test_a_kind_without_convolutions_says_so(name):
    with pytest.raises(ValueError, match="has the dense form only"):
        make_layer(name, 4, 4, 3)


@pytest.mark.parametrize("kernel_size", [None, 3])
@pytest.mark.parametrize("name", ["cpl", "sll"])
def test_a_residual_layer_of_unequal_widths_is_refused(name, kernel_size):
    with pytest.raises(ValueError, match="in_channels is 4 and out_channels 8"):
        make_layer(name, 4, 8, kernel_size)


def test_an_even_kernel_of_a_skew_convolution_is_refused():
    with pytest.raises(ValueError, match="kernel_size is 4: kind 'soc' supports odd ones, give 5"):
        make_layer("soc", 4, 4, 4)


def test_an_even_transposed_kernel_with_zeros_is_refused():
    with pytest.raises(ValueError, match="kernel_size is 4 with transposed=True"):
        make_layer("plain", 4, 4, 4, transposed=True, padding_mode="zeros")


@pytest.mark.parametrize(("name", "channels", "groups"), [("aoc_qr", 1, 1), ("aoc_bjorck", 4, 4), ("bcop", 1, 1)])
def test_a_kernel_with_one_channel_to_mix_is_refused(name, channels, groups):
    options = {} if groups == 1 else {"groups": groups}
    with pytest.raises(ValueError, match="give 2 or more"):
        make_layer(name, channels, channels, 3, **options)


def test_groups_that_do_not_divide_the_channels_between_two_factors_are_refused():
    with pytest.raises(ValueError, match="6 channels between its two factors, which groups, 4"):
        make_layer("aoc_qr", 4, 24, 3, stride=2, groups=4)


@pytest.mark.parametrize("name", [name for name in CONVOLUTIONS if LAYERS[name].strided])
def test_an_image_that_the_stride_does_not_divide_is_refused(name):
    layer = make_layer(name, 4, 8, 3, stride=2)
    with pytest.raises((ValueError, RuntimeError), match=r"multiple|divisible"):
        layer(torch.zeros(1, 4, 7, 8))


@pytest.mark.parametrize(("make", "shape"), [pytest.param(*rest, id=name) for name, *rest in some_layers()])
def test_a_wrong_number_of_channels_is_refused(make, shape):
    for layer in (make(), export_plain(make())):
        for channels in {1, 2, shape[0] - 1, shape[0] + 1, 4 * shape[0]} - {shape[0]}:
            with pytest.raises((ValueError, RuntimeError), match=r"channels|shape"):
                layer(torch.zeros(2, channels, *shape[1:]))


@pytest.mark.parametrize("name", ["cayley", "lot", "soc", "sandwich"])
@pytest.mark.parametrize("shape", [(4, 6, 6), (2, 5, 6, 6), (2, 4, 6)])
def test_an_input_that_is_no_batch_of_images_is_named(name, shape):
    with pytest.raises(ValueError, match=r"give \(batch, 4, height, width\)"):
        make_layer(name, 4, 6, 3)(torch.zeros(shape))


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_every_combination_of_options_is_made_or_refused_with_a_reason(name):
    for values in itertools.product(*VALUES.values()):
        case = dict(zip(VALUES, values, strict=True))
        sampled = case["kernel_size"] in (2, 3) and case["channels"] != (4, 4) and not LAYERS[name].residual
        if sampled and not supports(LAYERS[name], case):
            with pytest.raises(ValueError, match=r"give|supports"):
                make(name, case)
