"""Flips and shifts: a result is one of the images that flipping, padding and cropping can give, all equally often."""

import itertools

import pytest
import torch
from scipy import stats
from torch.nn.functional import pad

from orthobench.data import flip_and_shift

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


def variants(image, shift):
    """All results for one image (channels, height, width), by (flip, down, right)."""
    _, height, width = image.shape
    result = {}
    for flip, down, right in itertools.product((False, True), range(-shift, shift + 1), range(-shift, shift + 1)):
        source = image.flip(-1) if flip else image
        padded = pad(source[None], (shift,) * 4, mode="reflect")[0]
        result[flip, down, right] = padded[:, shift - down :, shift - right :][:, :height, :width]
    return result


def numbered(count=1, channels=2, height=5, width=7):
    """Images in which all values differ."""
    return torch.arange(count * channels * height * width, dtype=torch.float32).view(count, channels, height, width)


@pytest.mark.parametrize("shift", [0, 1, 2, 4])
def test_every_result_is_a_flip_a_reflect_padding_and_a_crop(shift):
    images = numbered(40)
    results = flip_and_shift(images, torch.Generator().manual_seed(0), shift)
    seen = set()
    for image, result in zip(images, results, strict=True):
        found = [key for key, variant in variants(image, shift).items() if torch.equal(variant, result)]
        assert found
        seen.add(found[0])
    assert len(seen) > (1 if shift == 0 else 12)


def test_all_flips_and_shifts_are_equally_likely():
    images = numbered().expand(10_000, -1, -1, -1)
    results = flip_and_shift(images, torch.Generator().manual_seed(1), shift=2).flatten(1)
    expected = torch.stack([variant.flatten() for variant in variants(images[0], 2).values()])
    equal = (results[:, None] == expected).all(-1)
    assert (equal.sum(1) == 1).all()
    assert stats.chisquare(equal.sum(0)).pvalue > 0.001


def test_images_are_changed_one_by_one():
    results = flip_and_shift(numbered().repeat(100, 1, 1, 1), torch.Generator().manual_seed(2))
    assert len({result.numpy().tobytes() for result in results}) > 20


def test_channels_move_together():
    one = torch.rand(30, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    results = flip_and_shift(one.expand(-1, 3, -1, -1), torch.Generator().manual_seed(3))
    assert torch.equal(results[:, 0], results[:, 1])
    assert torch.equal(results[:, 0], results[:, 2])


def test_the_generator_decides_and_moves_on_and_the_input_stays():
    images = numbered(50)
    generator, state = torch.Generator().manual_seed(4), torch.get_rng_state()
    first, second = flip_and_shift(images, generator), flip_and_shift(images, generator)
    assert not torch.equal(first, second)
    assert torch.equal(flip_and_shift(images, torch.Generator().manual_seed(4)), first)
    assert torch.equal(images, numbered(50))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.uint8])
def test_types_devices_and_layouts_change_nothing(device, dtype):
    images = (numbered(20) % 200).to(dtype)
    expected = flip_and_shift(images, torch.Generator().manual_seed(5))
    assert expected.dtype == dtype
    for layout in (torch.contiguous_format, torch.channels_last):
        given = images.to(device).contiguous(memory_format=layout)
        result = flip_and_shift(given, torch.Generator().manual_seed(5))
        assert result.device == given.device
        assert torch.equal(result.cpu(), expected)


def test_the_default_device_does_not_matter():
    images = numbered(9)
    with torch.device("meta"):
        result = flip_and_shift(images, torch.Generator("cpu").manual_seed(6))
    assert torch.equal(result, flip_and_shift(images, torch.Generator().manual_seed(6)))


def test_no_images_give_no_images():
    assert flip_and_shift(torch.zeros(0, 3, 8, 8), torch.Generator()).shape == (0, 3, 8, 8)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((torch.zeros(3, 8, 8), torch.Generator()), TypeError, r"images is \(3, 8, 8\)"),
        (([1], torch.Generator()), TypeError, r"images is \[1\]"),
        ((torch.zeros(1, 3, 8, 6), torch.Generator(), 6), ValueError, r"shift is 6: give an integer in 0\.\.5"),
        ((torch.zeros(1, 3, 8, 8), torch.Generator(), -1), ValueError, "shift is -1"),
        ((torch.zeros(1, 3, 8, 8), torch.Generator(), 1.5), TypeError, r"shift is 1\.5"),
        ((torch.zeros(1, 3, 8, 8), None), TypeError, "generator is None: give a torch.Generator of the CPU"),
    ],
)
def test_wrong_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        flip_and_shift(*arguments)
