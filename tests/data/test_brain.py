"""The slices of a head, on made-up files in the layout of nilearn's: each pixel and label, and what is no such file."""

import gzip
import importlib.util
import re
import struct
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch

from orthobench.data import brain, check_disjoint, mni152
from orthobench.studies.loopback import source_of

X, Y, Z = brain.VOXELS
NAMES = tuple(brain.MNI152.files)  # the head, grey matter, white matter


def made_up():
    """Volumes (x, y, z): a head whose voxels below z = 30 have no signal, and maps of which a few have more than it."""
    x, y, z = np.ogrid[:X, :Y, :Z]
    head = (7 * x + 13 * y + 29 * z) % 251 + 1
    head[:, :, :30] = 0
    grey, white = (40 * (x // 9) + 50 * (y // 11) + 60 * (z // 7)) % 250, np.zeros_like(head)
    white[:] = 70 * ((x // 5 + y // 6 + z // 8) % 4)
    white = np.minimum(white, 250 - grey)
    return [volume.astype(np.uint8) for volume in (head, grey, white)]


VOLUMES = made_up()


def nifti(volume, shape=(X, Y, Z), kind=2, magic=b"n+1\0", extra=b""):
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<4h", header, 40, 3, *shape)
    struct.pack_into("<h", header, 70, kind)
    struct.pack_into("<f", header, 108, 352)
    header[344:348] = magic
    return gzip.compress(bytes(header) + volume.tobytes(order="F") + extra, compresslevel=1)


@pytest.fixture(scope="module")
def files():
    return {name: nifti(volume) for name, volume in zip(NAMES, VOLUMES, strict=True)}


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put files where nilearn would have them; importing it fails."""

    def install(files):
        folder = tmp_path / "nilearn" / "datasets" / "data"
        folder.mkdir(parents=True, exist_ok=True)
        (tmp_path / "nilearn" / "__init__.py").write_text("raise SystemExit('nilearn was imported')")
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return source_of(files)

    monkeypatch.delitem(sys.modules, "nilearn", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    return install


def slices(part):
    return [y for block in brain.SLICES[part] for y in range(*block)]


def expected(y, row, column, factor):
    """The value of a pixel and the shares of the four classes there, from the voxels, exactly."""
    left, top = 18 + factor * column, 159 - factor * row
    values = [
        tuple(Fraction(int(volume[x, y, z]), 255) for volume in VOLUMES)
        for x in range(left, left + factor)
        for z in range(top, top - factor, -1)
    ]
    shares = []
    for head, grey, white in values:
        inside = max(Fraction(int(head > 0)), grey + white)
        shares.append((1 - inside, inside - grey - white, grey, white))
    return sum(head for head, _, _ in values) / factor**2, [sum(each) / factor**2 for each in zip(*shares, strict=True)]


@pytest.mark.parametrize("factor", [1, 2, 5])
def test_a_pixel_is_an_average_and_its_label_the_likeliest_class_there(factor, files, install):
    parts = mni152(factor, source=install(files))
    assert [len(part) for part in parts] == [69, 12, 24]
    check_disjoint(parts)
    random, seen = np.random.default_rng(factor), set()
    for name, part in parts._asdict().items():
        side = 160 // factor
        assert part.inputs.shape[1:] == (1, side, side)
        assert part.inputs.dtype == torch.float32
        assert part.targets.dtype == torch.int64
        for _ in range(100):
            place, row, column = random.integers(len(part)), *random.integers(side, size=2)
            value, shares = expected(slices(name)[place], row, column, factor)
            assert abs(part.inputs[place, 0, row, column].double() - float(value)) < 1e-6
            first, second = sorted(shares)[:-3:-1]
            if first - second > 1e-6:
                label = int(part.targets[place, row, column])
                assert label == shares.index(first)
                seen.add(label)
    assert seen == {0, 1, 2, 3}


def test_eight_slices_or_more_lie_between_two_parts():
    owners = {y: part for part in brain.SLICES for y in slices(part)}
    assert len(owners) == 105
    for y, part in owners.items():
        assert {owners.get(y + step, part) for step in range(-8, 9)} == {part}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda volume: nifti(volume, shape=(X, Z, Y)), re.escape(f"has the shape {(X, Z, Y)} and type 2: expected")),
        (lambda volume: nifti(volume, kind=4), "and type 4: expected a NIfTI-1 file"),
        (lambda volume: nifti(volume, magic=b"ni1\0"), "expected a NIfTI-1 file"),
        (lambda volume: nifti(volume, extra=b"0"), "has 8675642 bytes: expected 352 and"),
        (lambda volume: gzip.compress(b""), "has 0 bytes: expected 352 and"),
        (lambda volume: nifti(volume)[:-100], "is not a whole gzip file"),
    ],
    ids=["another shape", "another type", "two files", "a byte too many", "empty", "cut off"],
)
def test_a_file_that_is_not_what_it_must_be_is_refused(change, message, files, install):
    """Even if its checksum is right."""
    damaged = files | {NAMES[2]: change(VOLUMES[2])}
    with pytest.raises(ValueError, match=message) as caught:
        mni152(source=install(damaged))
    assert NAMES[2] in str(caught.value)


def test_another_or_no_version_of_nilearn_is_told_from_the_right_one(files, install, tmp_path, monkeypatch):
    source = install(files)
    path = tmp_path / "nilearn" / "datasets" / "data" / NAMES[1]
    path.write_bytes(files[NAMES[0]])
    with pytest.raises(ValueError, match=r"its SHA-256 is .* \(pip install nilearn==0.14.1\)$"):
        mni152(source=source)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=rf"this version of nilearn has no .*{NAMES[1]}: pip install nilearn=="):
        mni152(source=source)
    monkeypatch.setitem(sys.modules, "nilearn", None)
    with pytest.raises(ImportError, match="in the package nilearn, which isn't installed: pip install nilearn=="):
        mni152(source=source)


@pytest.mark.parametrize("factor", [0, 3, 21, 2.0])
def test_another_factor_is_refused(factor):
    with pytest.raises((TypeError, ValueError), match=f"factor is {factor}: give"):
        mni152(factor)


def test_the_slices_of_the_official_head_are_those_with_more_than_a_fifth_of_brain():
    """For those who have nilearn: nothing of the brain is cropped, and each half is the other's mirror image."""
    if importlib.util.find_spec("nilearn") is None:
        pytest.skip("nilearn isn't installed")
    parts = mni152(1)
    for part in parts:
        assert (part.inputs > 0).double().mean((1, 2, 3)).min() * 160**2 / (X * Z) > 0.2
        assert part.targets.unique().tolist() == list(range(len(brain.TISSUES)))
        for border in (part.inputs[..., 0, :], part.inputs[..., 0], part.inputs[..., -1]):
            assert not border.any()
        assert torch.equal(part.inputs[..., 1:], part.inputs[..., 1:].flip(-1))
