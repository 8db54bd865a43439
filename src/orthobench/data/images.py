"""Labelled images: scikit-learn's digits, MNIST, Fashion-MNIST, CIFAR-10 and -100, from their makers' own files."""

import math
from typing import NamedTuple

import torch

from orthobench.data.archives import choose_members, gunzip, read_tar
from orthobench.data.download import Source, check_content, data_folder, fetch
from orthobench.data.embedded import digits
from orthobench.data.parts import Examples, Parts, remove_overlap, split_by_hash

TUNING_SHARE = 0.1
CIFAR10_TAIL = 5_000

IDX_FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "held_out": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
MNIST = Source(
    "mnist",
    ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
    {
        "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
    "CC BY-SA 3.0, as commonly given",
)
FASHION_MNIST = Source(
    "fashion-mnist",
    (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    {
        "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
    "MIT",
)
CIFAR10_ARCHIVE = "cifar-10-binary.tar.gz"
CIFAR10_TRAIN = tuple(f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6))
CIFAR10_TEST = "cifar-10-batches-bin/test_batch.bin"
CIFAR10 = Source(
    "cifar10",
    ("https://www.cs.toronto.edu/~kriz/",),
    {
        CIFAR10_ARCHIVE: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        CIFAR10_TRAIN[0]: "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
        CIFAR10_TRAIN[1]: "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
        CIFAR10_TRAIN[2]: "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
        CIFAR10_TRAIN[3]: "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
        CIFAR10_TRAIN[4]: "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
        CIFAR10_TEST: "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
    },
    "none stated by its makers",
)
CIFAR100_ARCHIVE = "cifar-100-binary.tar.gz"
CIFAR100_TRAIN = "cifar-100-binary/train.bin"
CIFAR100_TEST = "cifar-100-binary/test.bin"
CIFAR100 = Source(
    "cifar100",
    ("https://www.cs.toronto.edu/~kriz/",),
    {
        CIFAR100_ARCHIVE: "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        CIFAR100_TRAIN: "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29",
        CIFAR100_TEST: "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a",
    },
    "none stated by its makers",
)


class Pixels(NamedTuple):
    """Mean and standard deviation of a data set's pixels in [0, 1], one of each a channel."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]


# Of all official training images, those that a split sets aside included, to four digits.
MNIST_PIXELS = Pixels((0.1307,), (0.3081,))
FASHION_MNIST_PIXELS = Pixels((0.2860,), (0.3530,))
CIFAR10_PIXELS = Pixels((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
CIFAR100_PIXELS = Pixels((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))


def digits_parts():
    """Handwritten digits of scikit-learn, 1797 grey images: about 70 % train, 15 % tuning, 15 % held out, by hash.

    Returns
    -------
    Parts of Examples
        Images (n, 1, 8, 8), float32, in [0, 1]; labels (n,), int64, in 0..9.
    """
    return Parts(*split_by_hash(*digits(), (0.7, 0.15, 0.15)))


def mnist(folder=None, *, standardised=True, source=MNIST):
    """MNIST (LeCun, Cortes, Burges): handwritten digits, 60 000 training and 10 000 test images.

    Held out are the official test images; tuning is a tenth of the training images, chosen by a hash of the pixels.
    Images that are also in a later part, pixel by pixel, are dropped from the earlier one.

    Parameters
    ----------
    folder : str or path-like, optional
        The folder of all data sets, where `mnist/` has the four `.gz` files, or gets them; see `fetch`.
    standardised : bool
        Whether pixels are shifted and scaled to about zero mean and unit deviation; they are in [0, 1] if not.
    source : Source
        Where they come from.

    Returns
    -------
    Parts of Examples
        Images (n, 1, 28, 28), float32, standardised with `MNIST_PIXELS` or in [0, 1]; labels (n,), int64, in 0..9.

    Raises
    ------
    ValueError, ConnectionError, OSError
        As `fetch`; and ValueError if a file is not what its name says.
    """
    return _idx_parts(source, folder, MNIST_PIXELS if standardised else None)


def fashion_mnist(folder=None, *, standardised=True, source=FASHION_MNIST):
    """Fashion-MNIST (Xiao, Rasul, Vollgraf, arXiv 1708.07747): 60 000 training and 10 000 test images of clothes.

    Parts, parameters and errors are those of `mnist`; the folder is `fashion-mnist/`.

    Returns
    -------
    Parts of Examples
        Images (n, 1, 28, 28), float32, standardised with `FASHION_MNIST_PIXELS` or in [0, 1]; labels (n,), int64, in
        0..9.
    """
    return _idx_parts(source, folder, FASHION_MNIST_PIXELS if standardised else None)


def cifar10(folder=None, held_out="test", *, standardised=True, source=CIFAR10):
    """CIFAR-10 (Krizhevsky 2009), binary version: 50 000 training and 10 000 test images in ten classes.

    Tuning is a tenth of the training images that are not held out, chosen by a hash of the pixels. Images that are
    also in a later part, pixel by pixel, are dropped from the earlier one; near-duplicates are not sought.

    Parameters
    ----------
    folder : str or path-like, optional
        The folder of all data sets. If its `cifar10/cifar-10-batches-bin/` has the extracted files that are needed,
        they are checked and used, else `cifar10/cifar-10-binary.tar.gz`, which is downloaded if it is not there.
    held_out : {"test", "train_tail"}
        The official test images; or the last 5 000 training images, for which no test file is needed, and whose
        figures are not CIFAR-10 test figures.
    standardised : bool
        Whether pixels are shifted and scaled to about zero mean and unit deviation; they are in [0, 1] if not.
    source : Source
        Where the files come from.

    Returns
    -------
    Parts of Examples
        Images (n, 3, 32, 32), float32, standardised with `CIFAR10_PIXELS` or in [0, 1]; labels (n,), int64, in 0..9.

    Raises
    ------
    ValueError, ConnectionError, OSError
        As `fetch`; and ValueError if `held_out` is neither, or a file is not what its name says.
    """
    if held_out not in ("test", "train_tail"):
        raise ValueError(f"held_out is {held_out!r}: give test or train_tail")
    names = CIFAR10_TRAIN + ((CIFAR10_TEST,) if held_out == "test" else ())
    hint = "; held_out='train_tail' needs no test file"
    files = _cifar_files(source, names, CIFAR10_ARCHIVE, folder, hint)
    batches = [_parse_cifar(content, name, (10,)) for name, content in files.items()]
    train = _join(batches[: len(CIFAR10_TRAIN)])
    pixels = CIFAR10_PIXELS if standardised else None
    if held_out == "test":
        return image_parts(train, batches[-1], pixels)
    if len(train) <= CIFAR10_TAIL:
        raise ValueError(f"{len(train)} training images: held_out='train_tail' needs more than {CIFAR10_TAIL}")
    head, tail = (
        Examples(train.inputs[place], train.targets[place])
        for place in (slice(-CIFAR10_TAIL), slice(-CIFAR10_TAIL, None))
    )
    return image_parts(head, tail, pixels)


def cifar100(folder=None, *, standardised=True, source=CIFAR100):
    """CIFAR-100 (Krizhevsky 2009), binary version: 50 000 training and 10 000 test images, of their fine classes.

    Parts are those of `cifar10`, with the official test images held out.

    Parameters
    ----------
    folder : str or path-like, optional
        The folder of all data sets. If its `cifar100/cifar-100-binary/` has `train.bin` and `test.bin`, they are
        checked and used, else `cifar100/cifar-100-binary.tar.gz`, which is downloaded if it is not there.
    standardised : bool
        Whether pixels are shifted and scaled to about zero mean and unit deviation; they are in [0, 1] if not.
    source : Source
        Where the files come from.

    Returns
    -------
    Parts of Examples
        Images (n, 3, 32, 32), float32, standardised with `CIFAR100_PIXELS` or in [0, 1]; labels (n,), int64, in 0..99.

    Raises
    ------
    ValueError, ConnectionError, OSError
        As `fetch`; and ValueError if a file is not what its name says.
    """
    files = _cifar_files(source, (CIFAR100_TRAIN, CIFAR100_TEST), CIFAR100_ARCHIVE, folder)
    # Each record has a label of 20 coarse classes before the fine one.
    train, test = (_parse_cifar(content, name, (20, 100)) for name, content in files.items())
    return image_parts(train, test, CIFAR100_PIXELS if standardised else None)


def standardise(images, pixels):
    """Map bytes to float32 of about zero mean and unit deviation: (images / 255 - mean) / deviation.

    Parameters
    ----------
    images : torch.Tensor
        (n, channels, height, width), uint8.
    pixels : Pixels
        Mean and deviation of each channel.

    Returns
    -------
    torch.Tensor
        The same shape, float32.
    """
    mean, deviation = (
        torch.tensor(values, dtype=torch.float32, device=images.device).view(-1, 1, 1) for values in pixels
    )
    return images.to(torch.float32).div_(255).sub_(mean).div_(deviation)


def image_parts(official_train, held_out, pixels):
    """Make parts from images in bytes, whose hashes are the same on every machine.

    Parameters
    ----------
    official_train, held_out : Examples
        Images (n, channels, height, width), uint8.
    pixels : Pixels or None
        What they are standardised with; they become float32 in [0, 1] if None.

    Returns
    -------
    Parts of Examples
        Tuning is a tenth of the official training images; disjoint.
    """
    train, tuning = split_by_hash(
        official_train.inputs, official_train.targets, shares=(1 - TUNING_SHARE, TUNING_SHARE)
    )
    return disjoint_parts(Parts(train, tuning, held_out), pixels)


def disjoint_parts(parts, pixels):
    """Drop from each part the images that are in a later one, and scale the others, as `image_parts` does."""
    unit = Pixels((0.0,), (1.0,))
    return Parts(*(Examples(standardise(part.inputs, pixels or unit), part.targets) for part in remove_overlap(parts)))


def _join(batches):
    return Examples(*(torch.cat([getattr(batch, name) for batch in batches]) for name in ("inputs", "targets")))


def _idx_parts(source, folder, pixels):
    read = {part: _idx_examples(*(fetch(source, name, folder) for name in names)) for part, names in IDX_FILES.items()}
    return image_parts(read["train"], read["held_out"], pixels)


def _idx_examples(images_path, labels_path):
    images, labels = _parse_idx(images_path, 3), _parse_idx(labels_path, 1)
    if images.shape[1:] != (28, 28):
        raise ValueError(f"{images_path} has images of {tuple(images.shape[1:])}: they must be of (28, 28)")
    if len(images) != len(labels):
        raise ValueError(f"{images_path} has {len(images)} images, {labels_path} {len(labels)} labels")
    return Examples(images.unsqueeze(1), _check_labels(labels, labels_path, 10))


def _parse_idx(path, dimensions):
    """Read a compressed IDX file: bytes 0, 0, 8 (for uint8), number of dimensions; sizes, big-endian; values."""
    content = gunzip(path)
    magic = bytes([0, 0, 8, dimensions])
    header = 4 + 4 * dimensions
    if content[:4] != magic or len(content) < header:
        raise ValueError(
            f"{path} starts with {content[:header].hex()}: an IDX file of bytes has {magic.hex()} and sizes"
        )
    sizes = [int.from_bytes(content[place : place + 4], "big") for place in range(4, header, 4)]
    if not sizes[0] or len(content) - header != math.prod(sizes):
        raise ValueError(f"{path} has {len(content) - header} values and sizes {sizes}: not their product, or none")
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=header).view(sizes)


def _cifar_files(source, names, archive, folder, hint=""):
    """Read files by their exact names, extracted or from the archive, into memory alone."""
    here = data_folder(source, folder)
    if all((here / name).exists() for name in names):
        return {name: check_content(here / name, source.files[name]).read_bytes() for name in names}
    try:
        path = fetch(source, archive, folder)
    except ConnectionError as error:
        lacking = ", ".join(name for name in names if not (here / name).exists())
        raise ConnectionError(f"{error}; or extract into it what lacks: {lacking}{hint}") from error
    return choose_members(read_tar(path, names.__contains__), names, path)


def _parse_cifar(content, name, classes):
    """Records of labels, as many as `classes` has numbers, and 3 x 32 x 32 pixels; the last label is taken.

    The pixels are all red, then green, then blue ones, row by row.
    """
    record = len(classes) + 3 * 32 * 32
    if not content or len(content) % record:
        raise ValueError(f"{name} has {len(content)} bytes: they must be records of {record}")
    records = torch.frombuffer(bytearray(content), dtype=torch.uint8).view(-1, record)
    labels = [_check_labels(records[:, place], name, count) for place, count in enumerate(classes)]
    return Examples(records[:, len(classes) :].reshape(-1, 3, 32, 32), labels[-1])


def _check_labels(labels, name, classes):
    if int(labels.max()) >= classes:
        raise ValueError(f"{name} has a label {int(labels.max())}: they must be in 0..{classes - 1}")
    return labels.long()
