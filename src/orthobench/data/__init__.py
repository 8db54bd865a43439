"""Data for the benchmarks: synthetic matrices, recorded momenta, data sets to train on, and the cache of references."""

from orthobench.data.adult import adult
from orthobench.data.augment import flip_and_shift
from orthobench.data.blocks import digit_blocks, null_block_mask
from orthobench.data.boxes import digit_boxes, fashion_boxes
from orthobench.data.brain import mni152
from orthobench.data.cache import cached
from orthobench.data.detections_file import stored_detections
from orthobench.data.download import Source, fetch
from orthobench.data.embedded import digits, python_manual
from orthobench.data.fineweb import fineweb, shards_for
from orthobench.data.images import cifar10, cifar100, digits_parts, fashion_mnist, mnist
from orthobench.data.layer_shapes import layer_shapes
from orthobench.data.markov_chains import Markov, markov
from orthobench.data.momenta import record_momenta
from orthobench.data.parts import (
    Examples,
    Parts,
    Windows,
    check_disjoint,
    class_pair,
    digest,
    remove_overlap,
    split_by_hash,
)
from orthobench.data.photographs import imagenette, tiny_imagenet
from orthobench.data.scenes import digit_scenes, fashion_scenes
from orthobench.data.segmented import cityscapes, oxford_pets, voc2012
from orthobench.data.spectra import gaussian, with_spectrum
from orthobench.data.texts import python_docs, python_docs_digest, shakespeare
from orthobench.data.token_files import MappedWindows, map_tokens

__all__ = [
    "Examples",
    "MappedWindows",
    "Markov",
    "Parts",
    "Source",
    "Windows",
    "adult",
    "cached",
    "check_disjoint",
    "cifar10",
    "cifar100",
    "cityscapes",
    "class_pair",
    "digest",
    "digit_blocks",
    "digit_boxes",
    "digit_scenes",
    "digits",
    "digits_parts",
    "fashion_boxes",
    "fashion_mnist",
    "fashion_scenes",
    "fetch",
    "fineweb",
    "flip_and_shift",
    "gaussian",
    "imagenette",
    "layer_shapes",
    "map_tokens",
    "markov",
    "mni152",
    "mnist",
    "null_block_mask",
    "oxford_pets",
    "python_docs",
    "python_docs_digest",
    "python_manual",
    "record_momenta",
    "remove_overlap",
    "shakespeare",
    "shards_for",
    "split_by_hash",
    "stored_detections",
    "tiny_imagenet",
    "voc2012",
    "with_spectrum",
]
