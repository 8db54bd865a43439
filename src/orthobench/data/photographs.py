"""Photographs of ImageNet, fewer and smaller: Tiny ImageNet and Imagenette, from their makers' own files.

They are JPEG files, read with Pillow.
"""

import re
from typing import NamedTuple

import torch

from orthobench.data.archives import choose_members, read_tar, read_zip
from orthobench.data.decoding import decode, pillow
from orthobench.data.download import Source, fetch
from orthobench.data.images import TUNING_SHARE, Pixels, disjoint_parts
from orthobench.data.parts import Examples, Parts, choose_parts
from orthobench.models.checks import check_integer

TINY_ARCHIVE = "tiny-imagenet-200.zip"
TINY_SIDE = 64
TINY_CLASSES = "tiny-imagenet-200/wnids.txt"
TINY_ANNOTATIONS = "tiny-imagenet-200/val/val_annotations.txt"
TINY_TRAIN = re.compile(r"tiny-imagenet-200/train/(n\d{8})/images/[^/]+\.JPEG")
TINY_VAL = re.compile(r"tiny-imagenet-200/val/images/([^/]+\.JPEG)")
TINY_IMAGENET = Source(
    "tiny-imagenet",
    ("https://cs231n.stanford.edu/", "http://cs231n.stanford.edu/"),
    {TINY_ARCHIVE: "6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821"},
    "none stated by its makers; ImageNet's images: non-commercial research and education",
)

IMAGENETTE_ARCHIVE = "imagenette2-160.tgz"
IMAGENETTE_SIDE = 160
IMAGENETTE_CLASSES = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}
IMAGENETTE_FILE = re.compile(r"imagenette2-160/(train|val)/(n\d{8})/[^/]+\.JPEG")
IMAGENETTE = Source(
    "imagenette",
    ("https://s3.amazonaws.com/fast-ai-imageclas/",),
    {IMAGENETTE_ARCHIVE: "64d0c4859f35a461889e0147755a999a48b49bf38a7e0f9bd27003f10db02fe5"},
    "Apache 2.0; ImageNet's images: non-commercial research and education",
)

# Of all official training images, as public code has it; Imagenette's are those of ImageNet.
TINY_IMAGENET_PIXELS = Pixels((0.4802, 0.4481, 0.3975), (0.2770, 0.2691, 0.2821))
IMAGENET_PIXELS = Pixels((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Photograph(NamedTuple):
    """A JPEG file: its name in the archive, its content, and its label."""

    name: str
    content: bytes
    label: int


def tiny_imagenet(folder=None, *, standardised=True, source=TINY_IMAGENET):
    """Tiny ImageNet (Stanford's CS231n): 100 000 training and 10 000 validation images of 64 x 64 in 200 classes.

    Held out are the official validation images: the labels of its test images were never published. Tuning is a tenth
    of the training images, chosen by a hash of the JPEG files, for decoders differ by a bit. Images that are also in a
    later part, pixel by pixel, are dropped from the earlier one. Grey images get three equal channels.

    Parameters
    ----------
    folder : str or path-like, optional
        The folder of all data sets, where `tiny-imagenet/` has `tiny-imagenet-200.zip`, or gets it; see `fetch`.
    standardised : bool
        Whether pixels are shifted and scaled to about zero mean and unit deviation; they are in [0, 1] if not.
    source : Source
        Where it comes from.

    Returns
    -------
    Parts of Examples
        Images (n, 3, 64, 64), float32, standardised with `TINY_IMAGENET_PIXELS` or in [0, 1], 5.4 GB in all; labels
        (n,), int64, in 0..199, in the alphabetical order of the WordNet identifiers.

    Raises
    ------
    ImportError
        If Pillow isn't there.
    ValueError, ConnectionError, OSError
        As `fetch`; and ValueError if a file is not what its name says.
    """
    pillow()
    path = fetch(source, TINY_ARCHIVE, folder)
    members = read_zip(
        path,
        lambda name: name in (TINY_CLASSES, TINY_ANNOTATIONS) or TINY_TRAIN.fullmatch(name) or TINY_VAL.fullmatch(name),
    )
    classes, annotations = (
        content.decode(errors="replace").splitlines()
        for content in choose_members(members, (TINY_CLASSES, TINY_ANNOTATIONS), path).values()
    )
    labels = {identifier: label for label, identifier in enumerate(sorted(classes))}
    of_file = dict(line.split("\t")[:2] for line in annotations if line.count("\t"))
    train, held_out = [], []
    for name, content in members.items():
        if found := TINY_TRAIN.fullmatch(name):
            train.append(Photograph(name, content, _label(labels, found[1], name, path)))
        elif found := TINY_VAL.fullmatch(name):
            held_out.append(Photograph(name, content, _label(labels, of_file.get(found[1]), name, path)))
    return _parts(train, held_out, path, _whole, TINY_SIDE, TINY_IMAGENET_PIXELS if standardised else None)


def imagenette(folder=None, size=IMAGENETTE_SIDE, *, standardised=True, source=IMAGENETTE):
    """Imagenette (Howard, fast.ai), version 2 at 160 pixels: 9 469 training and 3 925 validation images in ten classes.

    Held out are the official validation images. Tuning is a tenth of the training images, chosen by a hash of the JPEG
    files, for decoders differ by a bit. Of each image the central square is taken, and resized (with Pillow's bilinear
    filter, which averages where it shrinks) to the same size; that is all. Images that are also in a later part, pixel
    by pixel, are dropped from the earlier one.

    Parameters
    ----------
    folder : str or path-like, optional
        The folder of all data sets, where `imagenette/` has `imagenette2-160.tgz`, or gets it; see `fetch`.
    size : int
        Height and width of the images, in pixels, at most 160.
    standardised : bool
        Whether pixels are shifted and scaled to about zero mean and unit deviation; they are in [0, 1] if not.
    source : Source
        Where it comes from.

    Returns
    -------
    Parts of Examples
        Images (n, 3, size, size), float32, standardised with `IMAGENET_PIXELS` or in [0, 1], 4.1 GB in all at 160
        pixels; labels (n,), int64, in 0..9, in the order of `IMAGENETTE_CLASSES`.

    Raises
    ------
    ImportError
        If Pillow isn't there.
    TypeError, ValueError, ConnectionError, OSError
        As `fetch`; and ValueError if ``size`` is out of its range, or a file is not what its name says.
    """
    size = check_integer("size", size, 1, IMAGENETTE_SIDE)
    pillow()
    path = fetch(source, IMAGENETTE_ARCHIVE, folder)
    labels = {identifier: label for label, identifier in enumerate(IMAGENETTE_CLASSES)}
    files = {"train": [], "val": []}
    for name, content in read_tar(path, IMAGENETTE_FILE.fullmatch).items():
        part, identifier = IMAGENETTE_FILE.fullmatch(name).groups()
        files[part].append(Photograph(name, content, _label(labels, identifier, name, path)))
    return _parts(files["train"], files["val"], path, _central_square, size, IMAGENET_PIXELS if standardised else None)


def _label(labels, identifier, name, path):
    if identifier not in labels:
        raise ValueError(f"{name} in {path} is of class {identifier}: it must be one of {len(labels)} that are listed")
    return labels[identifier]


def _parts(official_train, held_out, path, fit, size, pixels):
    for count, what in ((len(official_train), "training"), (len(held_out), "validation")):
        if not count:
            raise ValueError(f"{path} has no {what} images")
    chosen = choose_parts((photograph.content for photograph in official_train), (1 - TUNING_SHARE, TUNING_SHARE))
    parts = [
        [photograph for photograph, its in zip(official_train, chosen, strict=True) if its == part] for part in (0, 1)
    ]
    return disjoint_parts(Parts(*(_decode(part, path, fit, size) for part in (*parts, held_out))), pixels)


def _decode(photographs, path, fit, size):
    """Decode to examples of bytes; `fit` makes an image of Pillow (size, size)."""
    pixels = torch.empty(len(photographs), 3, size, size, dtype=torch.uint8)
    for place, (name, content, _) in enumerate(photographs):
        decoded = decode(content, f"{name} in {path}", ("JPEG",), lambda opened: fit(opened.convert("RGB"), size))
        pixels[place] = (
            torch.frombuffer(bytearray(decoded.tobytes()), dtype=torch.uint8).view(size, size, 3).permute(2, 0, 1)
        )
    return Examples(pixels, torch.tensor([photograph.label for photograph in photographs], dtype=torch.int64))


def _whole(image, size):
    if image.size != (size, size):
        raise ValueError(f"it is of {image.width} x {image.height} pixels, not {size} x {size}")
    return image


def _central_square(image, size):
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))  # with resize's `box` the filter would see what is beyond
    return square.resize((size, size), pillow().Resampling.BILINEAR)
