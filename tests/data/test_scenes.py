"""Composed scenes: each shows objects of its own part alone, and its mask is exactly where they are."""

import numpy as np
import pytest
import torch
from test_images import TEST_IMAGES, TRAIN_IMAGES, grey_arrays, grey_files, write

from orthobench.data import digit_scenes, digits_parts, fashion_mnist, fashion_scenes, scenes
from orthobench.data.scenes import DIGIT_LABELS, GARMENT_LABELS
from orthobench.studies.loopback import source_of

COUNTS = {"train": 40, "tuning": 20, "held_out": 20}


@pytest.fixture
def without_noise(monkeypatch):
    monkeypatch.setattr(scenes, "NOISE", 0)


def cells(scene, size):
    """The square cells of a scene (..., side, side), row by row."""
    return [cell for rows in scene.split(size, -2) for cell in rows.split(size, -1)]


def shown(pixels, label, threshold):
    """What identifies an object in a scene: which of its pixels are shown, how bright, and its class."""
    mask = pixels >= threshold
    return torch.where(mask, pixels, 0).numpy().tobytes(), torch.where(mask, label + 1, 0).numpy().tobytes()


def check_scenes(part, objects, size, margin, threshold):
    """Every cell is empty or an object of `objects`, on a background of one level; return how many are filled."""
    inside = slice(margin, size - margin)
    known = {shown(image[0], label, threshold) for image, label in zip(objects.inputs, objects.targets, strict=True)}
    filled = []
    for image, labels in zip(part.inputs[:, 0], part.targets, strict=True):
        level = image[labels == 0]
        assert level.min() == level.max()
        assert 0 <= level[0] <= 0.25
        pairs = list(zip(cells(image, size), cells(labels, size), strict=True))
        objects_of_it = [(pixels, its) for pixels, its in pairs if its.any()]
        for pixels, its in objects_of_it:
            pixels = torch.where(its > 0, pixels, 0)
            assert (pixels[inside, inside].numpy().tobytes(), its[inside, inside].numpy().tobytes()) in known
            assert (its > 0).sum() == (its[inside, inside] > 0).sum()
        filled.append(len(objects_of_it))
    return filled


def test_a_scene_of_digits_shows_digits_of_its_part_where_its_mask_says(without_noise):
    parts, filled = digit_scenes(3, **COUNTS), []
    for part, objects in zip(parts, digits_parts(), strict=True):
        filled += check_scenes(part, objects, 8, 0, 0.25)
    assert set(filled) == {5, 6, 7, 8, 9}
    levels = torch.cat([part.inputs.flatten(1).amin(1) for part in parts])  # no digit is darker
    assert len(levels.unique()) == sum(COUNTS.values())


def test_the_default_scenes_have_every_class_and_two_thirds_of_background():
    parts = digit_scenes(0)
    assert [len(part) for part in parts] == [1000, 200, 200]
    for part in parts:
        assert part.inputs.shape[1:] == (1, 24, 24)
        assert part.inputs.dtype == torch.float32
        assert part.targets.dtype == torch.int64
        assert 0 <= part.inputs.min() <= part.inputs.max() <= 1
        assert part.targets.unique().tolist() == list(range(len(DIGIT_LABELS["digits"])))
        assert abs((part.targets == 0).double().mean() - 0.67) < 0.015


def test_noise_is_added_to_every_pixel_and_to_no_label(monkeypatch):
    noisy = digit_scenes(1, **COUNTS)
    monkeypatch.setattr(scenes, "NOISE", 0)
    for ours, clean in zip(noisy, digit_scenes(1, **COUNTS), strict=True):
        assert torch.equal(ours.targets, clean.targets)
        within = (clean.inputs > 0.15) & (clean.inputs < 0.85)  # which no noise of five deviations clips
        noise = (ours.inputs - clean.inputs)[within]
        assert abs(noise.mean()) < 0.001
        assert abs(noise.std() - 0.03) < 0.001
        assert abs((ours.inputs == 1).double().mean() / (clean.inputs == 1).double().mean() - 0.5) < 0.2


def test_a_scene_depends_on_the_seed_its_part_and_its_place_and_not_on_how_many_there_are():
    few, many = digit_scenes(5, train=3, tuning=2, held_out=2), digit_scenes(5, **COUNTS)
    for part, more in zip(few, many, strict=True):
        assert torch.equal(part.inputs, more.inputs[: len(part)])
        assert torch.equal(part.targets, more.targets[: len(part)])
    everything = [image.numpy().tobytes() for part in many for image in part.inputs]
    assert len(set(everything)) == len(everything)
    assert torch.equal(digit_scenes(5, **COUNTS).tuning.inputs, many.tuning.inputs)
    for part, other in zip(digit_scenes(6, **COUNTS), many, strict=True):
        assert not (part.inputs == other.inputs).flatten(1).all(1).any()


def test_the_foreground_is_every_digit_on_the_same_images():
    for digits, foreground in zip(
        digit_scenes(2, **COUNTS), digit_scenes(2, labels="foreground", **COUNTS), strict=True
    ):
        assert torch.equal(digits.inputs, foreground.inputs)
        assert torch.equal((digits.targets > 0).long(), foreground.targets)
    assert len(DIGIT_LABELS["foreground"]) == 2


@pytest.fixture
def garments(tmp_path):
    """Made-up ones, half of whose pixels are 0, of ten classes."""
    arrays = grey_arrays(train=200)
    for name in (TRAIN_IMAGES, TEST_IMAGES):
        arrays[name] *= np.random.default_rng(7).integers(2, size=arrays[name].shape, dtype=np.uint8)
        arrays[name][:, 0, 0] = 1  # the darkest pixel that is shown
    files = grey_files(**arrays)
    write(tmp_path, files)
    return {"folder": tmp_path, "source": source_of(files)}


def test_a_scene_of_garments_shows_garments_of_its_part_where_its_mask_says(garments, without_noise):
    parts = fashion_scenes(3, **COUNTS, **garments)
    filled = []
    for part, objects in zip(parts, fashion_mnist(standardised=False, **garments), strict=True):
        assert part.inputs.shape[1:] == (1, 64, 64)
        filled += check_scenes(part, objects, 32, 2, 1 / 512)
    assert set(filled) == {2, 3, 4}
    assert parts.train.targets.unique().tolist() == list(range(len(GARMENT_LABELS)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed is -1: give an integer >= 0"),
        ({"seed": 0.5}, "seed is 0.5: give an integer"),
        ({"seed": 0, "train": 0}, "train is 0: give an integer >= 1"),
        ({"seed": 0, "held_out": 1.0}, "held_out is 1.0: give an integer"),
        ({"seed": 0, "labels": "digit"}, "labels is 'digit': give digits or foreground"),
    ],
)
def test_other_arguments_are_refused(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        digit_scenes(**arguments)
