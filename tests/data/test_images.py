"""The image loaders, on small files of the official formats: every pixel, every label, every kind of damage."""

import gzip
import io
import re
import tarfile

import numpy as np
import pytest
import torch

from orthobench.data import Parts, check_disjoint, cifar10, cifar100, digits, digits_parts, fashion_mnist, images, mnist
from orthobench.data.download import data_folder
from orthobench.studies.loopback import serving, source_of

TRAIN_IMAGES, TRAIN_LABELS = images.IDX_FILES["train"]
TEST_IMAGES, TEST_LABELS = images.IDX_FILES["held_out"]
CIFAR_FILES = (*images.CIFAR10_TRAIN, images.CIFAR10_TEST)
CIFAR100_FILES = (images.CIFAR100_TRAIN, images.CIFAR100_TEST)
GREY_LOADERS = [(mnist, 0.1307, 0.3081), (fashion_mnist, 0.2860, 0.3530)]


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as server:
        yield server


def random_bytes(*shape, seed=0, high=256):
    return np.random.default_rng(seed).integers(high, size=shape, dtype=np.uint8)


def idx(values, magic=None):
    header = bytes([0, 0, 8, values.ndim]) if magic is None else magic
    return gzip.compress(header + b"".join(size.to_bytes(4, "big") for size in values.shape) + values.tobytes())


def grey_arrays(train=300, test=40):
    return {
        TRAIN_IMAGES: random_bytes(train, 28, 28),
        TRAIN_LABELS: random_bytes(train, seed=1, high=10),
        TEST_IMAGES: random_bytes(test, 28, 28, seed=2),
        TEST_LABELS: random_bytes(test, seed=3, high=10),
    }


def grey_files(**arrays):
    return {name: idx(values) for name, values in arrays.items()}


def write(folder, files):
    for name, content in files.items():
        path = folder / "made-up" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def cifar_arrays(count=40, test=30):
    """Labels and pixels of each file."""
    return {
        name: (random_bytes(size, seed=seed, high=10), random_bytes(size, 3, 32, 32, seed=100 + seed))
        for seed, (name, size) in enumerate(
            [(name, count) for name in images.CIFAR10_TRAIN] + [(CIFAR_FILES[-1], test)]
        )
    }


def cifar100_arrays(count=200, test=30):
    """Both labels and pixels of each file."""
    return {
        name: (
            np.stack([random_bytes(size, seed=seed, high=20), random_bytes(size, seed=50 + seed, high=100)], axis=1),
            random_bytes(size, 3, 32, 32, seed=100 + seed),
        )
        for seed, (name, size) in enumerate(zip(CIFAR100_FILES, (count, test), strict=True))
    }


def cifar_files(arrays):
    return {
        name: np.concatenate([labels.reshape(len(labels), -1), pixels.reshape(len(pixels), -1)], axis=1).tobytes()
        for name, (labels, pixels) in arrays.items()
    }


def tar(files, *more):
    """A .tar.gz of files, then of further members: (TarInfo, content)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member, content in more:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def pairs(part, mean, deviation):
    """The examples of a part as (bytes of the image, label), from the standardised values."""
    mean, deviation = (torch.tensor(values, dtype=torch.float64).view(-1, 1, 1) for values in (mean, deviation))
    pixels = (part.inputs.double() * deviation + mean) * 255
    assert (pixels - pixels.round()).abs().max() < 1e-3
    return [
        (image.numpy().tobytes(), int(label)) for image, label in zip(pixels.round().byte(), part.targets, strict=True)
    ]


def expected_pairs(pixels, labels):
    return [(image.tobytes(), int(label)) for image, label in zip(pixels, labels, strict=True)]


def check_official_parts(parts, train, test, mean, deviation):
    """Each is a list of (bytes, label): train and tuning share the training images, held out is the test set."""
    assert pairs(parts.held_out, mean, deviation) == test
    ours = pairs(parts.train, mean, deviation), pairs(parts.tuning, mean, deviation)
    for part in ours:
        assert part == [each for each in train if each in part]
    assert sorted(ours[0] + ours[1]) == sorted(train)
    assert 0 < len(ours[1]) < 0.2 * len(train)
    check_disjoint(parts)


@pytest.mark.parametrize(("load", "mean", "deviation"), GREY_LOADERS)
def test_grey_images_and_labels_arrive_as_they_are_in_the_files(load, mean, deviation, tmp_path, server):
    arrays = grey_arrays()
    files = grey_files(**arrays)
    server.files = {f"here/{name}": content for name, content in files.items()}
    parts = load(tmp_path, source=source_of(files, server.url("here")))
    for part in parts:
        assert part.inputs.dtype == torch.float32
        assert part.inputs.shape[1:] == (1, 28, 28)
        assert part.inputs.is_contiguous()
        assert part.targets.dtype == torch.int64
    train = expected_pairs(arrays[TRAIN_IMAGES], arrays[TRAIN_LABELS])
    test = expected_pairs(arrays[TEST_IMAGES], arrays[TEST_LABELS])
    check_official_parts(parts, train, test, [mean], [deviation])


def test_nothing_is_downloaded_twice_and_what_is_missing_is(tmp_path, server):
    files = grey_files(**grey_arrays())
    server.files = {f"here/{name}": content for name, content in files.items()}
    source = source_of(files, server.url("here"))
    first = mnist(tmp_path, source=source)
    assert len(server.asked) == 4
    mnist(tmp_path, source=source)
    assert len(server.asked) == 4
    (tmp_path / "made-up" / TRAIN_LABELS).unlink()
    again = mnist(tmp_path, source=source)
    assert server.asked[4:] == [(f"here/{TRAIN_LABELS}", None)]
    assert torch.equal(first.train.inputs, again.train.inputs)


def test_standardised_values_are_those_of_the_formula():
    pixels = torch.from_numpy(random_bytes(5, 3, 4, 6))
    constants = images.CIFAR10_PIXELS
    mean, deviation = (np.array(values)[:, None, None] for values in constants)
    expected = (pixels.double().numpy() / 255 - mean) / deviation
    np.testing.assert_allclose(images.standardise(pixels, constants).numpy(), expected, atol=1e-6)


def test_a_test_image_among_the_training_images_is_dropped_from_those(tmp_path):
    arrays = grey_arrays()
    arrays[TRAIN_IMAGES][17] = arrays[TEST_IMAGES][5]
    arrays[TRAIN_IMAGES][18] = arrays[TRAIN_IMAGES][19]  # a copy within the training images stays
    files = grey_files(**arrays)
    write(tmp_path, files)
    parts = mnist(tmp_path, source=source_of(files))
    assert len(parts.held_out) == 40
    assert len(parts.train) + len(parts.tuning) == 299
    check_disjoint(parts)


DAMAGES = {
    "truncated": (TRAIN_IMAGES, lambda content, _: content[:-500], "is not a whole gzip file"),
    "not gzip": (TEST_LABELS, lambda content, _: b"<html>" + content, "is not a whole gzip file"),
    "altered": (TRAIN_LABELS, lambda content, _: content[:20] + b"\xff" * 9 + content[29:], "is not a whole gzip file"),
    "empty": (TEST_IMAGES, lambda *_: gzip.compress(b""), "an IDX file of bytes has 00000803"),
    "header alone": (TEST_IMAGES, lambda *_: gzip.compress(bytes([0, 0, 8, 3, 0, 0])), "has 00000803"),
    "other type": (TRAIN_LABELS, lambda _, values: idx(values, bytes([0, 0, 13, 1])), "starts with 00000d01"),
    "labels for images": (TRAIN_IMAGES, lambda _, values: idx(values[:, 0, 0]), "starts with 00000801"),
    "other size": (TRAIN_IMAGES, lambda _, values: idx(values[:, :27]), re.escape("must be of (28, 28)")),
    "no images": (TEST_IMAGES, lambda _, values: idx(values[:0]), "or none"),
    "too few values": (TEST_IMAGES, lambda content, _: recompress(content, lambda raw: raw[:-1]), "not their product"),
    "too many values": (
        TEST_LABELS,
        lambda content, _: recompress(content, lambda raw: raw + b"0"),
        "not their product",
    ),
    "one label less": (TRAIN_LABELS, lambda _, values: idx(values[:-1]), "has 300 images, .* 299 labels"),
    "an eleventh class": (TEST_LABELS, lambda _, values: idx(values + 1), r"a label 10: they must be in 0\.\.9"),
}


def recompress(content, change):
    return gzip.compress(change(gzip.decompress(content)))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_that_is_not_what_its_name_says_is_refused(damage, tmp_path):
    """Even if its checksum is right."""
    name, change, message = DAMAGES[damage]
    arrays = grey_arrays()
    files = grey_files(**arrays)
    files[name] = change(files[name], arrays[name])
    write(tmp_path, files)
    with pytest.raises(ValueError, match=message) as caught:
        mnist(tmp_path, source=source_of(files))
    assert str(tmp_path / "made-up" / name) in str(caught.value)


def test_a_file_with_another_checksum_is_refused(tmp_path):
    files = grey_files(**grey_arrays())
    source = source_of(files)
    files[TEST_IMAGES] += b"0"
    write(tmp_path, files)
    with pytest.raises(ValueError, match="move it away"):
        mnist(tmp_path, source=source)


def cifar_pairs(arrays, names):
    """Of several labels the last counts."""
    return [
        pair
        for name in names
        for pair in expected_pairs(arrays[name][1], arrays[name][0].reshape(len(arrays[name][0]), -1)[:, -1])
    ]


@pytest.mark.parametrize("form", ["downloaded archive", "local archive", "extracted"])
def test_cifar_images_and_labels_arrive_as_they_are_in_the_files(form, tmp_path, server):
    arrays = cifar_arrays()
    files = cifar_files(arrays)
    archive = {images.CIFAR10_ARCHIVE: tar(files)}
    source = source_of(files | archive, *([server.url("here")] if form.startswith("downloaded") else []))
    if form.startswith("downloaded"):
        server.files = {f"here/{images.CIFAR10_ARCHIVE}": archive[images.CIFAR10_ARCHIVE]}
    else:
        write(tmp_path, archive if form.startswith("local") else files)
    parts = cifar10(tmp_path, source=source)
    train, test = cifar_pairs(arrays, images.CIFAR10_TRAIN), cifar_pairs(arrays, [images.CIFAR10_TEST])
    check_official_parts(parts, train, test, *images.CIFAR10_PIXELS)
    assert parts.train.inputs.shape[1:] == (3, 32, 32)
    assert parts.train.targets.dtype == torch.int64
    assert not any(path.suffix == ".bin" for path in tmp_path.rglob("*")) or form == "extracted"


@pytest.mark.parametrize("form", ["downloaded archive", "local archive", "extracted"])
def test_cifar100_images_and_fine_labels_arrive_as_they_are_in_the_files(form, tmp_path, server):
    arrays = cifar100_arrays()
    files = cifar_files(arrays)
    archive = {images.CIFAR100_ARCHIVE: tar(files)}
    source = source_of(files | archive, *([server.url("here")] if form.startswith("downloaded") else []))
    if form.startswith("downloaded"):
        server.files = {f"here/{images.CIFAR100_ARCHIVE}": archive[images.CIFAR100_ARCHIVE]}
    else:
        write(tmp_path, archive if form.startswith("local") else files)
    parts = cifar100(tmp_path, source=source)
    train, test = cifar_pairs(arrays, CIFAR100_FILES[:1]), cifar_pairs(arrays, CIFAR100_FILES[1:])
    check_official_parts(parts, train, test, *images.CIFAR100_PIXELS)
    assert parts.train.inputs.shape[1:] == (3, 32, 32)
    assert parts.train.targets.max() > 20


def test_cifar100_files_that_are_damaged_truncated_or_missing_are_refused(tmp_path, server):
    files = cifar_files(cifar100_arrays())
    whole = tar(files)
    coarse = {**files, images.CIFAR100_TRAIN: bytes([20]) + files[images.CIFAR100_TRAIN][1:]}
    fine = {**files, images.CIFAR100_TEST: bytes([0, 100]) + files[images.CIFAR100_TEST][2:]}
    of_cifar10 = {**files, images.CIFAR100_TEST: files[images.CIFAR100_TEST][1:]}
    for archive, message in (
        (whole[:-3000], "is not a whole gzip file"),
        (tar({images.CIFAR100_TRAIN: files[images.CIFAR100_TRAIN]}), r"lacks cifar-100-binary/test\.bin$"),
        (tar(coarse), r"train\.bin has a label 20: they must be in 0\.\.19"),
        (tar(fine), r"test\.bin has a label 100: they must be in 0\.\.99"),
        (tar(of_cifar10), r"test\.bin has 92219 bytes: they must be records of 3074"),
    ):
        write(tmp_path, {images.CIFAR100_ARCHIVE: archive})
        with pytest.raises(ValueError, match=message):
            cifar100(tmp_path, source=source_of({images.CIFAR100_ARCHIVE: archive}))
    source = source_of(files | {images.CIFAR100_ARCHIVE: whole}, server.url("here"))
    with pytest.raises(ValueError, match="move it away"):  # what the last of those left
        cifar100(tmp_path, source=source)
    (tmp_path / "made-up" / images.CIFAR100_ARCHIVE).unlink()
    with pytest.raises(ConnectionError, match=r"extract into it what lacks: .*train\.bin, .*test\.bin$"):
        cifar100(tmp_path, source=source)
    server.files, server.breaks = {f"here/{images.CIFAR100_ARCHIVE}": whole}, [1000]
    assert len(cifar100(tmp_path, source=source).held_out) == 30  # the download went on where it broke


SMALL_SETS = {
    "mnist": (mnist, lambda: grey_files(**grey_arrays()), images.MNIST_PIXELS),
    "fashion_mnist": (fashion_mnist, lambda: grey_files(**grey_arrays()), images.FASHION_MNIST_PIXELS),
    "cifar10": (cifar10, lambda: cifar_files(cifar_arrays()), images.CIFAR10_PIXELS),
    "cifar100": (cifar100, lambda: cifar_files(cifar100_arrays()), images.CIFAR100_PIXELS),
}


@pytest.mark.parametrize("name", SMALL_SETS)
def test_without_standardisation_the_same_images_are_in_0_to_1(name, tmp_path):
    load, make, (mean, deviation) = SMALL_SETS[name]
    files = make()
    write(tmp_path, files)
    standardised = load(tmp_path, source=source_of(files))
    unit = load(tmp_path, standardised=False, source=source_of(files))
    for ours, theirs in zip(unit, standardised, strict=True):
        assert torch.equal(ours.targets, theirs.targets)
        assert ours.inputs.dtype == torch.float32
        assert ours.inputs.min() == 0
        assert ours.inputs.max() == 1
        assert (255 * ours.inputs - (255 * ours.inputs).round()).abs().max() < 1e-4
        again = (ours.inputs - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(deviation).view(-1, 1, 1)
        torch.testing.assert_close(again, theirs.inputs)


def test_the_train_tail_of_cifar10_can_be_had_in_0_to_1(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "CIFAR10_TAIL", 25)
    files = cifar_files(cifar_arrays())
    write(tmp_path, files)
    parts = cifar10(tmp_path, held_out="train_tail", standardised=False, source=source_of(files))
    assert len(parts.held_out) == 25
    assert all(part.inputs.aminmax() == (0, 1) for part in parts)


def test_red_comes_first_and_rows_before_columns(tmp_path):
    files = cifar_files(cifar_arrays())
    red, green, blue = np.full(1024, 255, np.uint8), np.zeros(1024, np.uint8), np.zeros(1024, np.uint8)
    blue[1] = 255  # the second pixel of the first row
    files[images.CIFAR10_TEST] = bytes([3]) + np.concatenate([red, green, blue]).tobytes()
    write(tmp_path, files)
    image = cifar10(tmp_path, source=source_of(files)).held_out.inputs[0]
    low, high = (
        [(value - mean) / deviation for mean, deviation in zip(*images.CIFAR10_PIXELS, strict=True)] for value in (0, 1)
    )
    expected = torch.tensor([high[0], low[1], low[2]]).view(3, 1, 1).repeat(1, 32, 32)
    expected[2, 0, 1] = high[2]
    torch.testing.assert_close(image, expected)


def test_the_train_tail_needs_no_test_file(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "CIFAR10_TAIL", 25)
    arrays = cifar_arrays()
    files = cifar_files(arrays)
    write(tmp_path, {name: files[name] for name in images.CIFAR10_TRAIN})
    everything = cifar_pairs(arrays, images.CIFAR10_TRAIN)
    parts = cifar10(tmp_path, held_out="train_tail", source=source_of(files))
    check_official_parts(parts, everything[:-25], everything[-25:], *images.CIFAR10_PIXELS)


def test_a_tail_as_long_as_the_training_set_is_refused(tmp_path):
    files = cifar_files(cifar_arrays())
    write(tmp_path, files)
    with pytest.raises(ValueError, match="200 training images: held_out='train_tail' needs more than 5000"):
        cifar10(tmp_path, held_out="train_tail", source=source_of(files))


def test_without_the_test_file_the_error_says_what_does_without(tmp_path):
    files = cifar_files(cifar_arrays())
    write(tmp_path, {name: files[name] for name in images.CIFAR10_TRAIN})
    with pytest.raises(ConnectionError, match=r"test_batch\.bin; held_out='train_tail' needs no test file"):
        cifar10(tmp_path, source=source_of(files | {images.CIFAR10_ARCHIVE: b""}))


def test_only_regular_members_of_the_exact_names_are_read_and_nothing_is_written(tmp_path):
    files = cifar_files(cifar_arrays())
    outside, link = tarfile.TarInfo("../outside"), tarfile.TarInfo(images.CIFAR10_TEST)
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
    similar = tarfile.TarInfo("./" + images.CIFAR10_TEST)
    archive = tar(files, (outside, b"x"), (similar, b"x"), (link, b""))
    folder = tmp_path / "data"
    write(folder, {images.CIFAR10_ARCHIVE: archive})
    before = sorted(tmp_path.rglob("*"))
    parts = cifar10(folder, source=source_of({images.CIFAR10_ARCHIVE: archive}))
    assert len(parts.held_out) == 30
    assert sorted(tmp_path.rglob("*")) == before


def test_an_archive_that_is_incomplete_is_refused(tmp_path):
    files = cifar_files(cifar_arrays())
    whole = tar(files)
    fewer = tar({name: content for name, content in files.items() if name != images.CIFAR10_TRAIN[2]})
    for archive, message in (
        (whole[:-5000], "is not a whole gzip file"),
        (whole[:5000] + bytes(100) + whole[5100:], "is not a whole gzip file"),
        (b"<html>", "is not a whole gzip file"),
        (gzip.compress(b"<html>"), "is not a whole tar archive"),
        (recompress(whole, lambda raw: raw[:200_000]), "is not a whole tar archive"),
        (fewer, r"lacks cifar-10-batches-bin/data_batch_3\.bin$"),
    ):
        write(tmp_path, {images.CIFAR10_ARCHIVE: archive})
        with pytest.raises(ValueError, match=message):
            cifar10(tmp_path, source=source_of({images.CIFAR10_ARCHIVE: archive}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content[:-1], "122919 bytes: they must be records of 3073"),
        (lambda content: b"", "0 bytes"),
        (lambda content: b"\x0a" + content[1:], r"a label 10: they must be in 0\.\.9"),
    ],
)
def test_damaged_records_are_refused_even_if_the_checksum_is_right(change, message, tmp_path):
    files = cifar_files(cifar_arrays())
    files[images.CIFAR10_TRAIN[3]] = change(files[images.CIFAR10_TRAIN[3]])
    write(tmp_path, files)
    with pytest.raises(ValueError, match=f"data_batch_4.bin has {message}"):
        cifar10(tmp_path, source=source_of(files))


def test_an_extracted_file_with_another_checksum_is_refused(tmp_path):
    files = cifar_files(cifar_arrays())
    source = source_of(files)
    files[images.CIFAR10_TEST] = files[images.CIFAR10_TEST][::-1]
    write(tmp_path, files)
    with pytest.raises(ValueError, match=r"test_batch\.bin is damaged or another file"):
        cifar10(tmp_path, source=source)


def test_another_held_out_is_refused(tmp_path):
    with pytest.raises(ValueError, match="held_out is 'tail': give test or train_tail"):
        cifar10(tmp_path, held_out="tail")


def test_the_official_sources_are_complete():
    for source, names in (
        (images.MNIST, [*images.IDX_FILES["train"], *images.IDX_FILES["held_out"]]),
        (images.FASHION_MNIST, [*images.IDX_FILES["train"], *images.IDX_FILES["held_out"]]),
        (images.CIFAR10, [images.CIFAR10_ARCHIVE, *CIFAR_FILES]),
        (images.CIFAR100, [images.CIFAR100_ARCHIVE, *CIFAR100_FILES]),
    ):
        assert sorted(source.files) == sorted(names)
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in source.files.values())
        assert len(set(source.files.values())) == len(names)
        assert all(url.startswith("http") and url.endswith("/") for url in source.urls)


IDX_NAMES = [*images.IDX_FILES["train"], *images.IDX_FILES["held_out"]]
OFFICIAL = [
    (images.MNIST, mnist, IDX_NAMES, ["train", "tuning"], 60_000),
    (images.FASHION_MNIST, fashion_mnist, IDX_NAMES, ["train", "tuning"], 60_000),
    (images.CIFAR10, lambda: cifar10(held_out="train_tail"), images.CIFAR10_TRAIN, Parts._fields, 50_000),
    (images.CIFAR100, cifar100, CIFAR100_FILES, ["train", "tuning"], 50_000),
]
COPIES_OF_TEST_IMAGES = {"cifar100": 500}  # at most so many of its training images are dropped


@pytest.mark.parametrize(
    ("source", "load", "files", "names", "count"), OFFICIAL, ids=["mnist", "fashion", "cifar10", "cifar100"]
)
def test_the_official_training_images_have_zero_mean_and_unit_deviation(source, load, files, names, count):
    """For those who have the data; the constants have four digits."""
    folder = data_folder(source)
    if not all((folder / name).exists() for name in files):
        pytest.skip(f"no files in {folder}")
    parts = load()
    check_disjoint(parts)
    assert 0 <= count - sum(len(getattr(parts, name)) for name in names) <= COPIES_OF_TEST_IMAGES.get(source.name, 0)
    for channel in range(parts.train.inputs.shape[1]):
        values = torch.cat([getattr(parts, name).inputs[:, channel].double() for name in names])
        assert abs(values.mean()) < 3e-4
        assert abs(values.std() - 1) < 3e-4


def test_the_digits_are_all_there_once_with_their_labels():
    parts = digits_parts()
    check_disjoint(parts)
    pixels, labels = digits()
    theirs = sorted((image.numpy().tobytes(), int(label)) for image, label in zip(pixels, labels, strict=True))
    ours = [(i.numpy().tobytes(), int(t)) for part in parts for i, t in zip(part.inputs, part.targets, strict=True)]
    assert sorted(ours) == theirs
    for part, share in zip(parts, (0.7, 0.15, 0.15), strict=True):
        assert abs(len(part) / 1797 - share) < 0.03
