"""Photographs with a class for each pixel: Oxford-IIIT Pet, Pascal VOC 2012, Cityscapes, from their makers' own files.

They are JPEG and PNG files, read with Pillow. A pixel without a class has the label `IGNORED`.
"""

from typing import NamedTuple

import numpy as np
import torch

from orthobench.data.archives import choose_members, read_tar
from orthobench.data.decoding import decode, pillow
from orthobench.data.download import Source, data_folder, fetch
from orthobench.data.images import TUNING_SHARE, disjoint_parts
from orthobench.data.parts import Examples, Parts, choose_parts
from orthobench.models.checks import check_integer

IGNORED = 255

# The SHA-256 of archives are those of torchvision's `prototype.datasets`.
PETS_IMAGES, PETS_ANNOTATIONS = "images.tar.gz", "annotations.tar.gz"
PETS_LISTS = ("annotations/trainval.txt", "annotations/test.txt")
PETS_IMAGE, PETS_MASK = "images/{}.jpg", "annotations/trimaps/{}.png"
PETS_CLASSES = ("pet", "background", "border")
PETS = Source(
    "oxford-pets",
    ("https://thor.robots.ox.ac.uk/pets/", "https://www.robots.ox.ac.uk/~vgg/data/pets/data/"),
    {
        PETS_IMAGES: "67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d",
        PETS_ANNOTATIONS: "52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91",
    },
    "CC BY-SA 4.0",
)

VOC_ARCHIVE = "VOCtrainval_11-May-2012.tar"
VOC_LISTS = tuple(f"VOCdevkit/VOC2012/ImageSets/Segmentation/{name}.txt" for name in ("train", "val"))
VOC_IMAGE, VOC_MASK = "VOCdevkit/VOC2012/JPEGImages/{}.jpg", "VOCdevkit/VOC2012/SegmentationClass/{}.png"
VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "dining table",
    "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train", "TV monitor",
)  # fmt: skip
VOC2012 = Source(
    "voc2012",
    ("https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/", "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/"),
    {VOC_ARCHIVE: "e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb"},
    "Flickr's terms of use: research; its photographs are not to be shown",
)

# From the 19 classes that are evaluated, in the order of their training identifiers, to their labels in the files.
CITYSCAPES_CLASSES = {
    "road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17, "traffic light": 19,
    "traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23, "person": 24, "rider": 25, "car": 26, "truck": 27,
    "bus": 28, "train": 31, "motorcycle": 32, "bicycle": 33,
}  # fmt: skip
CITYSCAPES_COUNTS = {"train": 2975, "val": 500}
CITYSCAPES_SIZE = (1024, 2048)
CITYSCAPES_TUNING = ("weimar", "zurich")
CITYSCAPES = Source(
    "cityscapes", (), {}, "non-commercial research, after a registration; its photographs are not to be shown"
)


class Pair(NamedTuple):
    """An image and its mask: what they are, for messages, and the content of their files."""

    name: str
    image: bytes
    mask: bytes


def oxford_pets(folder=None, size=128, *, source=PETS):
    """Oxford-IIIT Pet (Parkhi et al. 2012): 3 680 training and 3 669 test images of cats and dogs, with trimaps.

    Held out are the images of `test.txt`, tuning is a tenth of those of `trainval.txt`, chosen by a hash of the image
    files. Images are resized to squares (with Pillow's bilinear filter, which averages where it shrinks), whatever
    their shape, and trimaps to the nearest pixel. Images that are also in a later part, pixel by pixel, are dropped
    from the earlier one. Some files named .jpg are PNG or GIF files, and are read as such.

    The licence, CC BY-SA 4.0, lets anybody show the images, if their source is named.

    Parameters
    ----------
    folder : str or path-like, optional
        The folder of all data sets, where `oxford-pets/` has the two `.tar.gz` files, or gets them; see `fetch`.
    size : int
        Height and width of the images, in pixels.
    source : Source
        Where they come from.

    Returns
    -------
    Parts of Examples
        Images (n, 3, size, size), float32, in [0, 1]; labels (n, size, size), int64, in 0..2: `PETS_CLASSES` has their
        names. 2.4 GB in all at 128 pixels; unpacking takes about 3 GB before.

    Raises
    ------
    ImportError
        If Pillow isn't there.
    TypeError, ValueError, ConnectionError, OSError
        As `fetch`; and if `size` is no positive integer, or a file is not what its name says.
    """
    size = check_integer("size", size, 1)
    pillow()
    images, annotations = (fetch(source, name, folder) for name in (PETS_IMAGES, PETS_ANNOTATIONS))
    masks = read_tar(annotations, lambda name: name.startswith("annotations/trimaps/") or name in PETS_LISTS)
    lists = [_names(masks, name, annotations) for name in PETS_LISTS]
    wanted = {PETS_IMAGE.format(name) for names in lists for name in names}
    pixels = read_tar(images, wanted.__contains__)
    official = (_pairs(names, (pixels, PETS_IMAGE, images), (masks, PETS_MASK, annotations)) for names in lists)
    labels = {label + 1: label for label in range(len(PETS_CLASSES))}
    return _parts(*official, _resized, (size, size), _lookup(labels))


def voc2012(folder=None, size=256, *, source=VOC2012):
    """Pascal VOC 2012 (Everingham et al. 2015), segmentation: 1 464 training and 1 449 validation images, 21 classes.

    Held out are the official validation images: the labels of its test images were never published. Tuning is a tenth
    of the training images, chosen by a hash of the image files. Images are scaled so that their longer side is `size`
    (with Pillow's bilinear filter, which averages where it shrinks), and padded to squares with black pixels below or
    on the right, which have no label; masks are scaled to the nearest pixel. Images that are also in a later part,
    pixel by pixel, are dropped from the earlier one.

    The photographs are from Flickr, whose terms apply: they may be used for research and must not be shown.

    Parameters
    ----------
    folder : str or path-like, optional
        The folder of all data sets, where `voc2012/` has the `.tar` file of 2 GB, or gets it; see `fetch`.
    size : int
        Height and width of the images, in pixels.
    source : Source
        Where they come from.

    Returns
    -------
    Parts of Examples
        Images (n, 3, size, size), float32, in [0, 1]; labels (n, size, size), int64, in 0..20 or `IGNORED`, which
        outlines are too: `VOC_CLASSES` has their names. 3.8 GB in all at 256 pixels.

    Raises
    ------
    ImportError
        If Pillow isn't there.
    TypeError, ValueError, ConnectionError, OSError
        As `fetch`; and if `size` is no positive integer, or a file is not what its name says.
    """
    size = check_integer("size", size, 1)
    pillow()
    path = fetch(source, VOC_ARCHIVE, folder)
    members = read_tar(path, VOC_LISTS.__contains__)
    lists = [_names(members, name, path) for name in VOC_LISTS]
    wanted = {pattern.format(name) for names in lists for name in names for pattern in (VOC_IMAGE, VOC_MASK)}
    members = read_tar(path, wanted.__contains__)
    official = (_pairs(names, (members, VOC_IMAGE, path), (members, VOC_MASK, path)) for names in lists)
    labels = {label: label for label in range(len(VOC_CLASSES))} | {IGNORED: IGNORED}
    return _parts(*official, _padded, (size, size), _lookup(labels))


def cityscapes(folder=None, factor=8, *, source=CITYSCAPES):
    """Cityscapes (Cordts et al. 2016), finely labelled: 2 975 training and 500 validation images in 19 classes.

    Nothing is downloaded, for it takes a registration: extract `leftImg8bit_trainvaltest.zip` and
    `gtFine_trainvaltest.zip` into one folder. Its files have no published checksums; their numbers are checked. Held
    out are the official validation images: the labels of its test images are not published. Tuning are the training
    images of two of the 18 cities, Weimar and Zurich (264, 9 %), as neighbouring frames of a drive are alike. A pixel
    is the average of `factor` x `factor` ones, its label that of the nearest one.

    The licence allows research alone: the images must not be shown.

    Parameters
    ----------
    folder : str or path-like, optional
        The folder of all data sets, where `cityscapes/` has `leftImg8bit/` and `gtFine/`.
    factor : int
        A power of two up to 64.
    source : Source
        Of which only the name counts.

    Returns
    -------
    Parts of Examples
        Images (n, 3, 1024 / factor, 2048 / factor), float32, in [0, 1]; labels (n, 1024 / factor, 2048 / factor),
        int64, in 0..18 or `IGNORED`: `CITYSCAPES_CLASSES` has their names. In memory at once, 2.3 GB at a factor of 8
        and four times that at half the factor. Reading the files takes minutes.

    Raises
    ------
    ImportError
        If Pillow isn't there.
    FileNotFoundError
        If a folder or a mask isn't there.
    TypeError, ValueError
        If `factor` is not one of those allowed, or the files are not what they must be.
    """
    factor = check_integer("factor", factor, 1, 64)
    if factor & (factor - 1):
        raise ValueError(f"factor is {factor}: give a power of two up to 64")
    pillow()
    here = data_folder(source, folder)
    images = {part: sorted((here / "leftImg8bit" / part).glob("*/*_leftImg8bit.png")) for part in CITYSCAPES_COUNTS}
    found = {part: len(paths) for part, paths in images.items()}
    if found != CITYSCAPES_COUNTS:
        raise (ValueError if any(found.values()) else FileNotFoundError)(
            f"{here}/leftImg8bit has {found} images where Cityscapes has {CITYSCAPES_COUNTS}: register at "
            "www.cityscapes-dataset.com and extract leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip there, or "
            "set ORTHOBENCH_DATA to the folder that has cityscapes/"
        )
    tuning = [path for path in images["train"] if path.parent.name in CITYSCAPES_TUNING]
    train = [path for path in images["train"] if path.parent.name not in CITYSCAPES_TUNING]
    lookup = _lookup({file: label for label, file in enumerate(CITYSCAPES_CLASSES.values())}, others=IGNORED)
    size = tuple(side // factor for side in CITYSCAPES_SIZE)
    parts = Parts(
        *(
            _examples((_street(here, path) for path in paths), len(paths), _reduced, size, lookup)
            for paths in (train, tuning, images["val"])
        )
    )
    return disjoint_parts(parts, None)


def _names(members, name, path):
    """Return the names that a list of them has, one a line, the first word."""
    lines = choose_members(members, [name], path)[name].decode(errors="replace").splitlines()
    names = [line.split()[0] for line in lines if line.strip()]
    if not names:
        raise ValueError(f"{name} in {path} has no names")
    return names


def _street(here, path):
    """Read an image of Cityscapes and its mask."""
    name = path.name.replace("_leftImg8bit", "_gtFine_labelIds")
    mask = here / "gtFine" / path.parent.parent.name / path.parent.name / name
    if not mask.exists():
        raise FileNotFoundError(f"{mask} isn't there: extract gtFine_trainvaltest.zip into {here}")
    return Pair(str(path), path.read_bytes(), mask.read_bytes())


def _pairs(names, images, masks):
    """Pair images with masks, which are given as (members of an archive, pattern of their names, path of it)."""
    files, its_masks = (
        choose_members(members, [pattern.format(name) for name in names], path)
        for members, pattern, path in (images, masks)
    )
    both = zip(files.items(), its_masks.values(), strict=True)
    return [Pair(f"{name} in {images[-1]}", image, mask) for (name, image), mask in both]


def _parts(official_train, held_out, fit, size, lookup):
    """Make parts of lists of pairs; the other arguments are those of `_examples`."""
    chosen = choose_parts((pair.image for pair in official_train), (1 - TUNING_SHARE, TUNING_SHARE))
    train, tuning = ([pair for pair, its in zip(official_train, chosen, strict=True) if its == part] for part in (0, 1))
    parts = (_examples(part, len(part), fit, size, lookup) for part in (train, tuning, held_out))
    return disjoint_parts(Parts(*parts), None)


def _examples(pairs, count, fit, size, lookup):
    """Decode `count` pairs to examples of bytes, (count, 3, *size), with labels of `_lookup`.

    `fit` makes, of an image and a mask of Pillow, two of the given height and width.
    """
    pixels = torch.empty(count, 3, *size, dtype=torch.uint8)
    labels = torch.empty(count, *size, dtype=torch.int64)
    for place, (name, image, mask) in enumerate(pairs):
        image = decode(image, name, ("JPEG", "PNG", "GIF"), lambda opened: opened.convert("RGB"))
        mask = decode(mask, f"the mask of {name}", ("PNG",), _indices)
        before, (image, mask) = image.size, fit(image, mask, size)
        if image.size != size[::-1]:
            raise ValueError(f"{name} is of {before} pixels, which become {image.size}: expected {size[::-1]}")
        pixels[place] = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        found = lookup[np.asarray(mask)]
        if found.min() < 0:
            raise ValueError(f"the mask of {name} has the value {np.asarray(mask)[found < 0][0]}, which is no label")
        labels[place] = torch.from_numpy(found)
    return Examples(pixels, labels)


def _lookup(labels, others=-1):
    """Return the labels (256,) of the values of a mask; a negative one is an error."""
    table = np.full(256, others, np.int64)
    table[list(labels)] = list(labels.values())
    return table


def _indices(mask):
    """Return a mask whose grey levels are its values, which its colours may be an index of."""
    if mask.mode not in ("L", "P"):
        raise ValueError(f"its mode is {mask.mode}: expected L or P, one byte a pixel")
    return pillow().fromarray(np.array(mask))


def _resized(image, mask, size):
    """`size` is (height, width)."""
    kinds = pillow().Resampling
    return image.resize(size[::-1], kinds.BILINEAR), mask.resize(size[::-1], kinds.NEAREST)


def _padded(image, mask, size):
    scale = min(size[0] / image.height, size[1] / image.width)
    scaled = _resized(image, mask, [max(1, round(scale * side)) for side in (image.height, image.width)])
    canvases = pillow().new("RGB", size[::-1]), pillow().new("L", size[::-1], IGNORED)
    for canvas, part in zip(canvases, scaled, strict=True):
        canvas.paste(part)
    return canvases


def _reduced(image, mask, size):
    return image.reduce(CITYSCAPES_SIZE[0] // size[0]), _resized(image, mask, size)[1]
