"""The ICBM152 average head by MRI, with its tissues: real, and shipped with nilearn, whose files alone are used."""

import importlib.util
import math
import struct
from pathlib import Path

import torch
from torch.nn.functional import avg_pool2d

from orthobench.data.archives import gunzip
from orthobench.data.download import Source, check_content
from orthobench.data.parts import Examples, Parts
from orthobench.models.checks import check_integer

NILEARN = "0.14.1"
MNI152 = Source(
    "mni152",
    (),
    {
        "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz": (
            "421a10e872fd6cadae7f61d358dffbcc1795a497d61ee76c5dda2503e1a1e9e6"
        ),
        "mni_icbm152_gm_tal_nlin_sym_09a_converted.nii.gz": (
            "97a5ca69bd24db37a9cb7b32525e1733a209af904129bf1cd36da06d24243bed"
        ),
        "mni_icbm152_wm_tal_nlin_sym_09a_converted.nii.gz": (
            "382d92812de4744f9c86c7a0e4f680dc317a0a50e4da1f0153618a6798c7b7db"
        ),
    },
    "any use, copy and change, with the notice: Copyright (C) 1993-2009 Louis Collins, McConnell Brain Imaging Centre, "
    "Montreal Neurological Institute, McGill University",
)
TISSUES = ("outside", "other tissue", "grey matter", "white matter")

# In voxels of 1 mm: from the left to the right, from the back to the front, from below to above.
VOXELS = (197, 233, 189)
# What a slice is cropped to: the head is in columns 26..170, and below row 155.
SIDE = 160
COLUMNS, ROWS = slice(18, 18 + SIDE), slice(0, SIDE)
# Of the 129 coronal slices, 48..176, with more than 20 % of brain.
SLICES = {"train": [(48, 80), (140, 177)], "tuning": [(88, 100)], "held_out": [(108, 132)]}

NIFTI_START = 352  # of the voxels, after a header of 348 bytes and four that say that nothing extends it


def mni152(factor=2, *, source=MNI152):
    """The ICBM152 2009a symmetric T1-weighted average (Fonov et al. 2011), in coronal slices with four tissues.

    It is the average of 152 heads: one head, whose left and right half are mirror images, so that figures say nothing
    of other heads. Neighbouring slices are alike (of the pixels of the brain, 90 % have the same class 1 mm further,
    59 % at 8 mm). Held out is therefore a block of 24 slices, tuning one of 12, and 8 slices on either side of each are
    in no part; the other 69 are trained on. Images are averages over squares of `factor` x `factor` voxels, labels the
    class that is the likeliest there by the atlas' own maps: they are probabilities turned into masks, drawn by nobody.
    White and grey matter have a map; what is left of the voxels with a signal is other tissue, such as fluid.

    The licence lets anybody show the images, with its notice: see `MNI152.licence`.

    Parameters
    ----------
    factor : int
        Voxels that become a pixel, in each direction: 1, 2, 4, 5, 10 or 20, for sides of 160, 80, 40, 32, 16 or 8.
    source : Source
        The files and their SHA-256.

    Returns
    -------
    Parts of Examples
        Images (n, 1, side, side), float32, in [0, 1], the head upright; labels (n, side, side), int64, in 0..3:
        `TISSUES` has their names.

    Raises
    ------
    ImportError
        If nilearn isn't there.
    FileNotFoundError, ValueError
        If it lacks a file, or one is not what it must be.
    TypeError, ValueError
        If `factor` is not one of those allowed.
    """
    factor = check_integer("factor", factor, 1, SIDE // 8)
    if SIDE % (8 * factor):
        allowed = ", ".join(str(each) for each in range(1, SIDE // 8 + 1) if SIDE % (8 * each) == 0)
        raise ValueError(f"factor is {factor}: give one of {allowed}, which leave sides that are multiples of 8")
    head, grey, white = (_read(name, digest) for name, digest in source.files.items())
    # The maps add up to 1 at most, and reach a little beyond the voxels with a signal.
    inside = torch.maximum((head > 0).float(), grey + white)
    shares = torch.stack([1 - inside, inside - grey - white, grey, white], dim=1)
    images, labels = avg_pool2d(head.unsqueeze(1), factor), avg_pool2d(shares, factor).argmax(1)
    chosen = {name: torch.cat([torch.arange(*block) for block in blocks]) for name, blocks in SLICES.items()}
    return Parts(**{name: Examples(images[places], labels[places]) for name, places in chosen.items()})


def _read(name, digest):
    """Return the coronal slices (233, SIDE, SIDE) of a NIfTI-1 file of bytes, in [0, 1], the head upright."""
    path = _file(name, digest)
    content = gunzip(path)
    if len(content) != NIFTI_START + math.prod(VOXELS):
        raise ValueError(f"{path} has {len(content)} bytes: expected {NIFTI_START} and {VOXELS} voxels of one byte")
    (size,), (dimensions, *shape), (kind,), (start,) = (
        struct.unpack_from(form, content, place) for form, place in (("<i", 0), ("<4h", 40), ("<h", 70), ("<f", 108))
    )
    magic = content[344:348]
    if (size, dimensions, tuple(shape), kind, start, magic) != (348, 3, VOXELS, 2, NIFTI_START, b"n+1\0"):
        raise ValueError(f"{path} has the shape {tuple(shape)} and type {kind}: expected a NIfTI-1 file, {VOXELS}, 2")
    values = torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=NIFTI_START).view(VOXELS[::-1])  # (z, y, x)
    return values[ROWS, :, COLUMNS].flip(0).transpose(0, 1).float() / 255


def _file(name, digest):
    found = importlib.util.find_spec("nilearn")  # which imports nothing
    remedy = f"pip install nilearn=={NILEARN}"
    if found is None:
        raise ImportError(f"the data set mni152 is in the package nilearn, which isn't installed: {remedy}")
    path = Path(found.submodule_search_locations[0]) / "datasets" / "data" / name
    if not path.exists():
        raise FileNotFoundError(f"this version of nilearn has no {path}: {remedy}")
    try:
        return check_content(path, digest)
    except ValueError as error:
        raise ValueError(f"{error} ({remedy})") from error
