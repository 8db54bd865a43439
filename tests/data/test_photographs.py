"""The loaders of JPEG files, on small archives of the official layouts: pixels, labels, crops, and damage."""

import io
import re
import sys
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from orthobench.data import check_disjoint, imagenette, photographs, tiny_imagenet
from orthobench.data.download import data_folder
from orthobench.studies.loopback import serving, source_of

WNIDS = ("n09000003", "n01000002", "n05000001")  # neither in order nor adjacent
IDENTIFIERS = tuple(photographs.IMAGENETTE_CLASSES)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as server:
        yield server


def smooth(height, width, seed):
    """Random colours that vary slowly, (height, width, 3) in bytes: what JPEG keeps well."""
    coarse = torch.rand(1, 3, 5, 4, generator=torch.Generator().manual_seed(seed))
    fine = functional.interpolate(coarse, (height, width), mode="bilinear", align_corners=True)
    return (255 * fine[0].permute(1, 2, 0)).round().byte().numpy()


def jpeg(pixels, mode="RGB", form="JPEG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, form, quality=95)
    return buffer.getvalue()


def decoded(content):
    return np.array(Image.open(io.BytesIO(content)).convert("RGB"))


def tiny_files(train=40, val=20):
    """An archive's members: of each class `train` images, and `val` in all; the annotations give the boxes too."""
    files = {"tiny-imagenet-200/wnids.txt": "".join(f"{wnid}\n" for wnid in WNIDS).encode()}
    for number, wnid in enumerate(WNIDS):
        files[f"tiny-imagenet-200/train/{wnid}/{wnid}_boxes.txt"] = b"boxes"
        for index in range(train):
            name = f"tiny-imagenet-200/train/{wnid}/images/{wnid}_{index}.JPEG"
            files[name] = jpeg(smooth(64, 64, 1000 * number + index))
    annotations = [f"val_{index}.JPEG\t{WNIDS[index % 3]}\t0\t32\t44\t62\n" for index in range(val)]
    files["tiny-imagenet-200/val/val_annotations.txt"] = "".join(annotations).encode()
    for index in range(val):
        files[f"tiny-imagenet-200/val/images/val_{index}.JPEG"] = jpeg(smooth(64, 64, 5000 + index))
    files["tiny-imagenet-200/test/images/test_0.JPEG"] = b"without a label"
    return files


def zipped(files, method=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return {photographs.TINY_ARCHIVE: buffer.getvalue()}


def imagenette_files(train=12, val=3, sizes=((160, 160), (160, 213), (220, 160), (161, 160))):
    files = {"imagenette2-160/noisy_imagenette.csv": b"path,noisy_labels_0\n"}
    seed = 0
    for part, count in (("train", train), ("val", val)):
        for identifier in IDENTIFIERS:
            for index in range(count):
                height, width = sizes[seed % len(sizes)]
                name = f"imagenette2-160/{part}/{identifier}/ILSVRC2012_val_{index:08}.JPEG"
                files[name] = jpeg(smooth(height, width, seed))
                seed += 1
    return files


def tarred(files, *links):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name in links:
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
            archive.addfile(link)
    return {photographs.IMAGENETTE_ARCHIVE: buffer.getvalue()}


def write(folder, files):
    (folder / "made-up").mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / "made-up" / name).write_bytes(content)
    return source_of(files)


def pairs(part):
    pixels = (255 * part.inputs).round().byte().permute(0, 2, 3, 1)
    return [(image.numpy().tobytes(), int(label)) for image, label in zip(pixels, part.targets, strict=True)]


def expected_tiny(files, pattern, label_of):
    """(bytes, label) of each member that fits a pattern, in the archive's order."""
    found = ((re.fullmatch(pattern, name), content) for name, content in files.items())
    return [(decoded(content).tobytes(), label_of(match)) for match, content in found if match]


def check_parts(parts, train, held_out):
    """Each is a list of (bytes, label): train and tuning share the training images, in their order."""
    assert pairs(parts.held_out) == held_out
    ours = pairs(parts.train), pairs(parts.tuning)
    for part in ours:
        assert part == [each for each in train if each in part]
    assert sorted(ours[0] + ours[1]) == sorted(train)
    assert 0 < len(ours[1]) < 0.25 * len(train)
    check_disjoint(parts)


@pytest.mark.parametrize("form", ["downloaded", "local", "compressed"])
def test_tiny_imagenet_arrives_as_it_is_in_the_archive(form, tmp_path, server):
    files = tiny_files()
    archive = zipped(files, zipfile.ZIP_DEFLATED if form == "compressed" else zipfile.ZIP_STORED)
    if form == "downloaded":
        server.files = {f"here/{name}": content for name, content in archive.items()}
        source = source_of(archive, server.url("here"))
    else:
        source = write(tmp_path, archive)
    parts = tiny_imagenet(tmp_path, standardised=False, source=source)
    labels = {wnid: label for label, wnid in enumerate(sorted(WNIDS))}
    train = expected_tiny(files, r".*/train/(n\d+)/images/.*\.JPEG", lambda match: labels[match[1]])
    val = expected_tiny(files, r".*/val/images/val_(\d+)\.JPEG", lambda match: labels[WNIDS[int(match[1]) % 3]])
    check_parts(parts, train, val)
    assert parts.train.inputs.shape[1:] == (3, 64, 64)
    for part in parts:
        assert part.inputs.dtype == torch.float32
        assert part.inputs.is_contiguous()
        assert part.targets.dtype == torch.int64
    if form == "downloaded":
        assert len(server.asked) == 1
        tiny_imagenet(tmp_path, source=source)
        assert len(server.asked) == 1


def central_square(pixels):
    """By slices: half of what is too much is cut off on either side, the odd pixel on the right or below."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return pixels[top : top + side, left : left + side]


@pytest.mark.parametrize("form", ["downloaded", "local"])
def test_imagenette_arrives_as_the_central_squares_of_its_images(form, tmp_path, server):
    files = imagenette_files()
    archive = tarred(files)
    if form == "downloaded":
        server.files = {f"here/{name}": content for name, content in archive.items()}
        source = source_of(archive, server.url("here"))
    else:
        source = write(tmp_path, archive)
    parts = imagenette(tmp_path, standardised=False, source=source)
    expected = {"train": [], "val": []}
    for name, content in files.items():
        if name.endswith(".JPEG"):
            _, part, identifier, _ = name.split("/")
            expected[part].append((central_square(decoded(content)).tobytes(), IDENTIFIERS.index(identifier)))
    check_parts(parts, expected["train"], expected["val"])
    assert parts.train.inputs.shape[1:] == (3, 160, 160)


@pytest.mark.parametrize("size", [80, 64, 31])
def test_smaller_images_are_the_averages_that_torch_computes(size, tmp_path):
    files = imagenette_files(train=2, val=1)
    source = write(tmp_path, tarred(files))
    held_out = imagenette(tmp_path, size, standardised=False, source=source).held_out
    squares = [central_square(decoded(content)) for name, content in files.items() if "/val/" in name]
    for image, square in zip(held_out.inputs, squares, strict=True):
        whole = torch.from_numpy(square.copy()).permute(2, 0, 1).unsqueeze(0).float()
        expected = functional.interpolate(whole, (size, size), mode="bilinear", antialias=True)[0]
        assert (255 * image - expected).abs().max() < 1.01  # Pillow rounds twice
    assert held_out.inputs.shape == (10, 3, size, size)


def test_images_that_are_smaller_than_asked_for_are_enlarged(tmp_path):
    files = imagenette_files(train=2, val=1, sizes=((100, 90),))
    parts = imagenette(tmp_path, 128, standardised=False, source=write(tmp_path, tarred(files)))
    assert parts.held_out.inputs.shape == (10, 3, 128, 128)


def test_red_comes_first_rows_before_columns_and_grey_has_three_channels(tmp_path):
    files = tiny_files(train=8, val=2)
    half = np.zeros((64, 64, 3), np.uint8)
    half[:, :32, 0] = 255  # the left half is red
    grey = np.full((64, 64, 3), 100, np.uint8)
    for index, content in enumerate((jpeg(half), jpeg(grey, "L"))):
        files[f"tiny-imagenet-200/val/images/val_{index}.JPEG"] = content
    first, second = tiny_imagenet(tmp_path, standardised=False, source=write(tmp_path, zipped(files))).held_out.inputs
    assert first[0, :, :24].min() > 0.95
    assert first[1:, :, :24].max() < 0.05
    assert first[:, :, 40:].max() < 0.05
    torch.testing.assert_close(second, torch.full((3, 64, 64), 100 / 255), atol=1.1 / 255, rtol=0)


@pytest.mark.parametrize("name", ["tiny_imagenet", "imagenette"])
def test_standardised_images_are_those_of_the_formula(name, tmp_path):
    load, archive, (mean, deviation) = {
        "tiny_imagenet": (tiny_imagenet, zipped(tiny_files(10, 3)), photographs.TINY_IMAGENET_PIXELS),
        "imagenette": (imagenette, tarred(imagenette_files(2, 1)), photographs.IMAGENET_PIXELS),
    }[name]
    source = write(tmp_path, archive)
    unit, standardised = (load(tmp_path, standardised=value, source=source) for value in (False, True))
    for ours, theirs in zip(unit, standardised, strict=True):
        assert 0 <= ours.inputs.min() < ours.inputs.max() <= 1
        assert torch.equal(ours.targets, theirs.targets)
        expected = (ours.inputs - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(deviation).view(-1, 1, 1)
        torch.testing.assert_close(theirs.inputs, expected)
    assert torch.equal(load(tmp_path, source=source).train.inputs, standardised.train.inputs)


def test_a_training_image_keeps_its_part_when_others_come(tmp_path):
    few, many = tiny_files(train=20), tiny_files(train=40)
    parts = [
        tiny_imagenet(tmp_path / str(index), source=write(tmp_path / str(index), zipped(files)))
        for index, files in enumerate((few, many))
    ]
    for name in ("train", "tuning"):
        before, after = ({image.numpy().tobytes() for image in getattr(each, name).inputs} for each in parts)
        assert before < after


def test_images_of_equal_pixels_are_in_one_part_alone_the_latest(tmp_path):
    """Even if their files differ, and only where the squares are equal."""
    files = imagenette_files(train=4, val=1, sizes=((160, 160),))
    val = f"imagenette2-160/val/{IDENTIFIERS[0]}/ILSVRC2012_val_00000000.JPEG"
    train = f"imagenette2-160/train/{IDENTIFIERS[1]}/ILSVRC2012_val_00000002.JPEG"
    flat = np.full((160, 160, 3), 128, np.uint8)
    files[val], files[train] = jpeg(flat), jpeg(np.concatenate([flat, flat], axis=1))
    parts = imagenette(tmp_path, standardised=False, source=write(tmp_path, tarred(files)))
    assert len(parts.held_out) == 10
    assert len(parts.train) + len(parts.tuning) == 39
    check_disjoint(parts)


def test_only_regular_members_of_official_names_are_read_and_nothing_is_written(tmp_path):
    files = imagenette_files(train=2, val=1)
    others = {
        f"imagenette2-160/train/{IDENTIFIERS[0]}/../../outside.JPEG": b"x",
        f"./imagenette2-160/train/{IDENTIFIERS[0]}/other.JPEG": b"x",
        f"imagenette2-160/train/{IDENTIFIERS[0]}/other.png": b"x",
    }
    link = f"imagenette2-160/val/{IDENTIFIERS[0]}/link.JPEG"
    source = write(tmp_path / "data", tarred(files | others, link))
    before = sorted(tmp_path.rglob("*"))
    parts = imagenette(tmp_path / "data", source=source)
    assert sum(len(part) for part in parts) == 30
    assert sorted(tmp_path.rglob("*")) == before


VAL = "tiny-imagenet-200/val/images/val_1.JPEG"
TRAIN = f"tiny-imagenet-200/train/{WNIDS[1]}/images/{WNIDS[1]}_3.JPEG"
TINY_DAMAGES = {
    "an image cut off": ({TRAIN: lambda content: content[:300]}, f"{TRAIN} in .* is not the JPEG image"),
    "an empty image": ({VAL: lambda content: b""}, f"{VAL} in .* is not the JPEG image"),
    "another format": (
        {VAL: lambda content: jpeg(smooth(64, 64, 0), form="PNG")},
        f"{VAL} in .* is not the JPEG image",
    ),
    "another size": ({TRAIN: lambda content: jpeg(smooth(64, 63, 0))}, "it is of 63 x 64 pixels, not 64 x 64"),
    "no list of classes": ({"tiny-imagenet-200/wnids.txt": None}, r"lacks tiny-imagenet-200/wnids\.txt$"),
    "a class too few": (
        {"tiny-imagenet-200/wnids.txt": lambda content: content[:20]},
        f"is of class {WNIDS[2]}: it must be one of 2 that are listed",
    ),
    "no annotations": ({photographs.TINY_ANNOTATIONS: None}, r"lacks tiny-imagenet-200/val/val_annotations\.txt$"),
    "an annotation too few": (
        {photographs.TINY_ANNOTATIONS: lambda content: content[content.index(b"\n") + 1 :]},
        r"val_0\.JPEG in .* is of class None",
    ),
}


@pytest.mark.parametrize("damage", TINY_DAMAGES)
def test_a_tiny_imagenet_that_is_not_what_it_must_be_is_refused(damage, tmp_path):
    """Even if its checksum is right."""
    changes, message = TINY_DAMAGES[damage]
    files = tiny_files(train=5, val=3)
    for name, change in changes.items():
        content = files.pop(name)
        if change is not None:
            files[name] = change(content)
    with pytest.raises(ValueError, match=message) as caught:
        tiny_imagenet(tmp_path, source=write(tmp_path, zipped(files)))
    assert photographs.TINY_ARCHIVE in str(caught.value)


def without(files, part):
    return {name: content for name, content in files.items() if part not in name}


def test_an_archive_that_is_truncated_altered_or_empty_is_refused(tmp_path):
    tiny, small = tiny_files(train=5, val=3), imagenette_files(train=2, val=1)
    zip_file, tar_file = (next(iter(archive.values())) for archive in (zipped(tiny), tarred(small)))
    of_another_class = {"imagenette2-160/val/n00000000/a.JPEG": jpeg(smooth(160, 160, 0))}
    place = zip_file.index(tiny[TRAIN]) + 200
    for load, archive, message in (
        (tiny_imagenet, zip_file[:-300], "is not a whole zip archive"),
        (tiny_imagenet, zip_file[:place] + b"altered" + zip_file[place + 7 :], "is not a whole zip archive"),
        (tiny_imagenet, b"<html>", "is not a whole zip archive"),
        (tiny_imagenet, next(iter(zipped(without(tiny, "val/images")).values())), "has no validation images"),
        (tiny_imagenet, next(iter(zipped(without(tiny, "/train/")).values())), "has no training images"),
        (imagenette, tar_file[:-3000], "is not a whole gzip file"),
        (imagenette, tar_file[:9000] + bytes(100) + tar_file[9100:], "is not a whole gzip file"),
        (imagenette, b"<html>", "is not a whole gzip file"),
        (imagenette, next(iter(tarred(without(small, "/val/")).values())), "has no validation images"),
        (imagenette, next(iter(tarred(without(small, "/train/")).values())), "has no training images"),
        (imagenette, next(iter(tarred(small | of_another_class).values())), "class n00000000: .* one of 10"),
    ):
        name = photographs.TINY_ARCHIVE if load is tiny_imagenet else photographs.IMAGENETTE_ARCHIVE
        with pytest.raises(ValueError, match=message) as caught:
            load(tmp_path, source=write(tmp_path, {name: archive}))
        assert name in str(caught.value)


LOADERS = {
    "tiny_imagenet": (tiny_imagenet, photographs.TINY_ARCHIVE, lambda: zipped(tiny_files(5, 3))),
    "imagenette": (imagenette, photographs.IMAGENETTE_ARCHIVE, lambda: tarred(imagenette_files(2, 1))),
}


@pytest.mark.parametrize("name", LOADERS)
def test_a_missing_or_other_archive_is_refused_and_a_broken_download_goes_on(name, tmp_path, server):
    load, file, make = LOADERS[name]
    archive = make()
    source = source_of(archive, server.url("here"))
    with pytest.raises(ConnectionError, match="put it into"):
        load(tmp_path, source=source)
    server.files = {f"here/{file}": archive[file][::-1]}
    with pytest.raises(ConnectionError):
        load(tmp_path, source=source)
    server.files, server.breaks = {f"here/{file}": archive[file]}, [1000]
    parts = load(tmp_path, source=source)
    assert server.asked[-1] == (f"here/{file}", "bytes=1000-")
    assert len(parts.held_out) in (3, 10)
    (tmp_path / "made-up" / file).write_bytes(archive[file] + b"0")
    with pytest.raises(ValueError, match="move it away"):
        load(tmp_path, source=source)


@pytest.mark.parametrize("name", LOADERS)
def test_without_pillow_the_error_says_what_to_install_before_anything_is_downloaded(
    name, tmp_path, server, monkeypatch
):
    load, file, make = LOADERS[name]
    archive = make()
    server.files = {f"here/{file}": archive[file]}
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match="pip install pillow"):
        load(tmp_path, source=source_of(archive, server.url("here")))
    assert not server.asked


@pytest.mark.parametrize("size", [0, 161, 64.0])
def test_another_size_is_refused(size, tmp_path):
    with pytest.raises((TypeError, ValueError), match=f"size is {size}: give an integer in 1..160"):
        imagenette(tmp_path, size)


def test_the_official_sources_are_complete():
    for source, name in (
        (photographs.TINY_IMAGENET, photographs.TINY_ARCHIVE),
        (photographs.IMAGENETTE, photographs.IMAGENETTE_ARCHIVE),
    ):
        assert list(source.files) == [name]
        assert re.fullmatch("[0-9a-f]{64}", source.files[name])
        assert all(url.startswith("http") and url.endswith("/") for url in source.urls)
    assert list(IDENTIFIERS) == sorted(IDENTIFIERS)
    assert len(IDENTIFIERS) == 10


OFFICIAL = [
    (photographs.TINY_IMAGENET, tiny_imagenet, (3, 64, 64), 200, 100_000, 10_000),
    (photographs.IMAGENETTE, lambda **options: imagenette(size=32, **options), (3, 32, 32), 10, 9_469, 3_925),
]


@pytest.mark.parametrize(
    ("source", "load", "shape", "classes", "train", "held_out"), OFFICIAL, ids=["tiny_imagenet", "imagenette"]
)
def test_the_official_images_are_all_there(source, load, shape, classes, train, held_out):
    """For those who have the data."""
    folder = data_folder(source)
    if not all((folder / name).exists() for name in source.files):
        pytest.skip(f"no files in {folder}")
    parts = load(standardised=False)
    check_disjoint(parts)
    assert len(parts.held_out) == held_out
    assert 0 <= train - len(parts.train) - len(parts.tuning) < 0.01 * train  # copies of held-out images are dropped
    for part in parts:
        assert part.inputs.shape[1:] == shape
        assert part.targets.unique().tolist() == list(range(classes))
