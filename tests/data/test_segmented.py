"""Photographs with masks, on small archives and folders of the official layouts: pixels, labels, sizes, and damage."""

import gzip
import io
import re
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from test_images import tar, write
from test_photographs import decoded, jpeg, smooth
from torch.nn import functional

from orthobench.data import check_disjoint, cityscapes, oxford_pets, segmented, voc2012
from orthobench.data.download import Exactly, data_folder
from orthobench.data.segmented import IGNORED
from orthobench.studies.loopback import source_of

SIZES = ((61, 81), (91, 51), (65, 65))  # (height, width), odd: no pixel has two nearest ones


def png(values, colours=False):
    """A mask whose bytes are `values`, or indices of colours that have nothing to do with them."""
    image = Image.fromarray(values)
    if colours:
        image = image.convert("P")
        image.putdata(values.ravel().tolist())
        image.putpalette(np.random.default_rng(0).integers(256, size=768).tolist())
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def blocks(height, width, values, seed):
    """A mask of random values in blocks of 10 x 10 pixels."""
    coarse = np.random.default_rng(seed).choice(values, (height // 10 + 1, width // 10 + 1))
    return np.kron(coarse, np.ones((10, 10), int))[:height, :width].astype(np.uint8)


def pets(train=40, test=8):
    """Members of the two archives, and from each image's name to its pixels and values."""
    images, annotations = {"images/Abyssinian_100.mat": b"no image"}, {"annotations/trimaps/._a_0.png": b"no image"}
    lists, contents = {"trainval": [], "test": []}, {}
    for index in range(train + test):
        name, (height, width) = f"Pug_{index}", SIZES[index % 3]
        form = ("JPEG", "PNG", "GIF", "JPEG")[index % 4]
        content, values = jpeg(smooth(height, width, index), form=form), blocks(height, width, (1, 2, 3), index)
        images[f"images/{name}.jpg"], annotations[f"annotations/trimaps/{name}.png"] = content, png(values)
        lists["trainval" if index < train else "test"].append(name)
        contents[name] = decoded(content), values
    for name, names in lists.items():
        annotations[f"annotations/{name}.txt"] = "".join(f"{each} 1 2 3\n" for each in names).encode()
    return images, annotations, contents


def pets_files(images, annotations):
    return {segmented.PETS_IMAGES: tar(images), segmented.PETS_ANNOTATIONS: tar(annotations)}


def voc(train=40, val=8):
    """Members of the archive, and from each image's name to its pixels and values."""
    values = (*range(21), IGNORED)
    members, contents = {}, {}
    lists = [[f"{year}_{index:06}" for index in range(count)] for year, count in ((2007, train), (2011, val))]
    for index, name in enumerate(lists[0] + lists[1]):
        height, width = SIZES[index % 3]
        content, mask = jpeg(smooth(height, width, 500 + index)), blocks(height, width, values, index)
        members[segmented.VOC_IMAGE.format(name)], members[segmented.VOC_MASK.format(name)] = content, png(mask, True)
        contents[name] = decoded(content), mask
    members[segmented.VOC_IMAGE.format("2012_000000")] = b"of another task"
    for path, names in zip(segmented.VOC_LISTS, lists, strict=True):
        members[path] = "".join(f"{each}\n" for each in names).encode()
    return members, contents


def voc_files(members):
    return {segmented.VOC_ARCHIVE: gzip.decompress(tar(members))}


def resized(pixels, values, height, width):
    """Averages that torch computes (3, height, width), in 0..255, and the values of the nearest pixels."""
    whole = torch.from_numpy(pixels.copy()).permute(2, 0, 1).unsqueeze(0).float()
    image = functional.interpolate(whole, (height, width), mode="bilinear", antialias=True)[0]
    rows, columns = (
        ((np.arange(small) + 0.5) * large / small).astype(int)
        for small, large in zip((height, width), values.shape, strict=True)
    )
    return image, torch.from_numpy(values[rows][:, columns].astype(int))


def check_examples(part, expected):
    """The part has these (image in 0..255, labels), in this order; Pillow rounds twice."""
    assert len(part) == len(expected)
    for image, labels, (its_image, its_labels) in zip(part.inputs, part.targets, expected, strict=True):
        assert (255 * image - its_image).abs().max() < 1.01
        assert torch.equal(labels, its_labels)


def check_parts(parts, train, held_out):
    """Each is a list of (image in 0..255, labels); train and tuning share the training images, in their order."""
    for part in parts:
        assert part.inputs.dtype == torch.float32
        assert part.inputs.is_contiguous()
        assert part.targets.dtype == torch.int64
    check_disjoint(parts)
    check_examples(parts.held_out, held_out)
    keys = [[labels.numpy().tobytes() for labels in part.targets] for part in parts[:2]]
    for part, its in zip(parts[:2], keys, strict=True):
        check_examples(part, [pair for pair in train if pair[1].numpy().tobytes() in its])
    assert len(keys[0]) + len(keys[1]) == len(train)
    assert 0 < len(keys[1]) < 0.3 * len(train)


@pytest.mark.parametrize("size", [128, 32])
def test_pets_are_squares_with_the_classes_of_the_nearest_pixels(size, tmp_path):
    images, annotations, contents = pets()
    files = pets_files(images, annotations)
    write(tmp_path, files)
    parts = oxford_pets(tmp_path, size, source=source_of(files))
    pairs = [resized(pixels, values - 1, size, size) for pixels, values in contents.values()]
    check_parts(parts, pairs[:40], pairs[40:])
    assert parts.train.inputs.shape[1:] == (3, size, size)


def padded(pixels, values, size):
    height, width = values.shape
    scale = size / max(height, width)
    image, labels = torch.zeros(3, size, size), torch.full((size, size), IGNORED)
    small = resized(pixels, values, round(scale * height), round(scale * width))
    image[:, : len(small[1]), : small[1].shape[1]], labels[: len(small[1]), : small[1].shape[1]] = small
    return image, labels


@pytest.mark.parametrize("size", [100, 48])
def test_voc_images_keep_their_shape_and_what_pads_them_has_no_label(size, tmp_path):
    members, contents = voc()
    files = voc_files(members)
    write(tmp_path, files)
    parts = voc2012(tmp_path, size, source=source_of(files))
    pairs = [padded(pixels, values, size) for pixels, values in contents.values()]
    check_parts(parts, pairs[:40], pairs[40:])
    assert parts.train.targets.unique().tolist() == [*range(21), IGNORED]


@pytest.fixture
def streets(tmp_path, monkeypatch):
    """A folder of small streets, and from each of its parts to pixels and labels of the files."""
    monkeypatch.setattr(segmented, "CITYSCAPES_COUNTS", {"train": 9, "val": 3})
    monkeypatch.setattr(segmented, "CITYSCAPES_SIZE", (64, 128))
    contents = {"aachen": [], "weimar": [], "zurich": [], "lindau": []}
    for index in range(12):
        city = list(contents)[index // 3]
        part = "train" if index < 9 else "val"
        pixels, values = smooth(64, 128, index), blocks(64, 128, range(34), index)
        for kind, suffix, content in (
            ("leftImg8bit", "leftImg8bit", jpeg(pixels, form="PNG")),
            ("gtFine", "gtFine_labelIds", png(values)),
            ("gtFine", "gtFine_color", b"not to be read"),
        ):
            path = tmp_path / "cityscapes" / kind / part / city / f"{city}_{index:06}_000019_{suffix}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        contents[city].append((pixels, values))
    return tmp_path, contents


def reduced(pixels, values, factor):
    """Means over squares; of the values, that of the pixel after the middle, as a training identifier."""
    image = functional.avg_pool2d(torch.from_numpy(pixels.copy()).permute(2, 0, 1).float(), factor)
    identifiers = {value: label for label, value in enumerate(segmented.CITYSCAPES_CLASSES.values())}
    nearest = values[factor // 2 :: factor, factor // 2 :: factor]
    return image, torch.tensor([[identifiers.get(int(value), IGNORED) for value in row] for row in nearest])


@pytest.mark.parametrize("factor", [1, 4])
def test_streets_are_split_by_city_and_have_the_nineteen_classes(factor, streets):
    folder, contents = streets
    expected = {city: [reduced(*pair, factor) for pair in pairs] for city, pairs in contents.items()}
    for place in (folder, Exactly(folder / "cityscapes")):
        parts = cityscapes(place, factor)
        check_examples(parts.train, expected["aachen"])
        check_examples(parts.tuning, expected["weimar"] + expected["zurich"])
        check_examples(parts.held_out, expected["lindau"])
        assert parts.train.inputs.shape[1:] == (3, 64 // factor, 128 // factor)
        assert set(parts.tuning.targets.unique().tolist()) <= {*range(19), IGNORED}


def test_streets_that_are_not_all_there_are_refused_with_where_to_get_them(streets):
    folder, _ = streets
    here = folder / "cityscapes"
    (image,) = here.glob("leftImg8bit/val/lindau/*_000011_*")
    (mask,) = here.glob("gtFine/train/zurich/*_000006_*labelIds.png")
    with pytest.raises(FileNotFoundError, match=r"has {'train': 0, 'val': 0} images .* www\.cityscapes-dataset\.com"):
        cityscapes(folder / "elsewhere")
    content = mask.read_bytes()
    mask.unlink()
    with pytest.raises(FileNotFoundError, match=f"{mask} isn't there: extract gtFine_trainvaltest.zip"):
        cityscapes(folder)
    mask.write_bytes(content)
    image.write_bytes(jpeg(smooth(64, 64, 0), form="PNG"))
    with pytest.raises(ValueError, match=re.escape(f"{image} is of (64, 64) pixels, which become (8, 8): expected")):
        cityscapes(folder)
    image.unlink()
    with pytest.raises(ValueError, match=re.escape("has {'train': 9, 'val': 2} images where Cityscapes has")):
        cityscapes(folder)


def without(content):
    return None


PETS_IMAGE = segmented.PETS_IMAGE.format("Pug_3")
PETS_MASK = segmented.PETS_MASK.format("Pug_3")
PETS_DAMAGES = {
    "no list": ("annotations/trainval.txt", without, r"annotations\.tar\.gz lacks annotations/trainval\.txt$"),
    "an empty list": ("annotations/test.txt", lambda content: b"\n", "annotations/test.txt in .* has no names"),
    "no image": (PETS_IMAGE, without, rf"images\.tar\.gz lacks {PETS_IMAGE}$"),
    "no mask": (PETS_MASK, without, rf"annotations\.tar\.gz lacks {PETS_MASK}$"),
    "an image cut off": (
        PETS_IMAGE,
        lambda content: content[:300],
        f"{PETS_IMAGE} in .* is not the JPEG or PNG or GIF",
    ),
    "another format": (PETS_IMAGE, lambda _: jpeg(smooth(9, 9, 0), form="BMP"), f"{PETS_IMAGE} in .* is not the JPEG"),
    "a mask cut off": (PETS_MASK, lambda content: content[:60], f"the mask of {PETS_IMAGE} in .* is not the PNG image"),
    "a mask in colours": (PETS_MASK, lambda _: jpeg(smooth(60, 80, 0), form="PNG"), r"the mask .*its mode is RGB"),
    "a fourth class": (PETS_MASK, lambda _: png(np.full((60, 80), 4, np.uint8)), "has the value 4, which is no label"),
}


@pytest.mark.parametrize("damage", PETS_DAMAGES)
def test_pets_that_are_not_what_they_must_be_are_refused(damage, tmp_path):
    """Even if their checksums are right."""
    name, change, message = PETS_DAMAGES[damage]
    images, annotations, _ = pets(train=8, test=2)
    members = images if name in images else annotations
    content = change(members.pop(name))
    if content is not None:
        members[name] = content
    files = pets_files(images, annotations)
    write(tmp_path, files)
    with pytest.raises(ValueError, match=message):
        oxford_pets(tmp_path, 32, source=source_of(files))


def test_a_voc_archive_that_is_cut_off_or_lacks_an_image_is_refused(tmp_path):
    members, _ = voc(train=4, val=2)
    (content,) = voc_files(members).values()
    lacking = segmented.VOC_MASK.format("2011_000001")
    fewer = {name: its for name, its in members.items() if name != lacking}
    other = members | {lacking: png(np.full((60, 80), 21, np.uint8))}
    for archive, message in (
        (content[: len(content) // 2 + 100], "is not a whole tar archive"),
        (b"<html>", "is not a whole tar archive"),
        (voc_files(fewer)[segmented.VOC_ARCHIVE], f"lacks {lacking}$"),
        (voc_files(other)[segmented.VOC_ARCHIVE], "has the value 21, which is no label"),
    ):
        files = {segmented.VOC_ARCHIVE: archive}
        write(tmp_path, files)
        with pytest.raises(ValueError, match=message) as caught:
            voc2012(tmp_path, 32, source=source_of(files))
        assert segmented.VOC_ARCHIVE in str(caught.value)


def test_copies_of_a_held_out_image_are_not_trained_on(tmp_path):
    images, annotations, _ = pets(train=20, test=4)
    images["images/Pug_0.jpg"] = images["images/Pug_20.jpg"]
    files = pets_files(images, annotations)
    write(tmp_path, files)
    parts = oxford_pets(tmp_path, 32, source=source_of(files))
    assert [len(parts.train) + len(parts.tuning), len(parts.held_out)] == [19, 4]


@pytest.mark.parametrize(("load", "name"), [(oxford_pets, "size"), (voc2012, "size"), (cityscapes, "factor")])
def test_other_sizes_are_refused_and_pillow_is_asked_for_before_anything_is_downloaded(load, name, monkeypatch):
    for value in (0, 2.0):
        with pytest.raises((TypeError, ValueError), match=f"{name} is {value}: give an integer"):
            load(None, value)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match="pip install pillow"):
        load(None, 32)


@pytest.mark.parametrize("factor", [3, 65])
def test_a_factor_that_is_no_power_of_two_up_to_64_is_refused(factor):
    with pytest.raises(ValueError, match=rf"factor is {factor}: give a"):
        cityscapes(None, factor)


def test_the_official_sources_are_complete():
    for source, names in (
        (segmented.PETS, [segmented.PETS_IMAGES, segmented.PETS_ANNOTATIONS]),
        (segmented.VOC2012, [segmented.VOC_ARCHIVE]),
    ):
        assert list(source.files) == names
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in source.files.values())
        assert all(url.startswith("http") and url.endswith("/") for url in source.urls)
    assert len(segmented.VOC_CLASSES) == 21


def test_the_classes_of_cityscapes_are_those_that_its_authors_evaluate():
    classes = segmented.CITYSCAPES_CLASSES
    without_a_class = {*range(7), 9, 10, 14, 15, 16, 18, 29, 30}
    assert list(classes.values()) == [value for value in range(34) if value not in without_a_class]
    assert [classes[name] for name in ("road", "sky", "person", "rider", "car", "bicycle")] == [7, 23, 24, 25, 26, 33]


OFFICIAL = [
    (segmented.PETS, oxford_pets, [0, 1, 2], 3_680, 3_669),
    (segmented.VOC2012, voc2012, [*range(21), IGNORED], 1_464, 1_449),
]


@pytest.mark.parametrize(("source", "load", "labels", "train", "held_out"), OFFICIAL, ids=["pets", "voc2012"])
def test_the_official_images_are_all_there(source, load, labels, train, held_out):
    """For those who have the data."""
    folder = data_folder(source)
    if not all((folder / name).exists() for name in source.files):
        pytest.skip(f"no files in {folder}")
    parts = load(size=32)
    check_disjoint(parts)
    assert len(parts.held_out) == held_out
    assert 0 <= train - len(parts.train) - len(parts.tuning) < 0.01 * train  # copies of held-out images are dropped
    for part in parts:
        assert part.targets.unique().tolist() == labels
