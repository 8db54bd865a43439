"""Texts to predict byte by byte: Python's manual and Tiny Shakespeare."""

import hashlib

import numpy as np
import torch

from orthobench.data.download import Source, fetch
from orthobench.data.embedded import python_manual
from orthobench.data.parts import Parts, Windows, choose_parts

SHARES = (0.8, 0.1, 0.1)
BLOCK_BYTES = 2048
SHAKESPEARE_FILE = "input.txt"
SHAKESPEARE = Source(
    "shakespeare",
    ("https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/",),
    {SHAKESPEARE_FILE: "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"},
    "public domain",
)


def python_docs(context):
    """Text of the topics that Python's `help()` knows, each paragraph once, split by `split_text`.

    The topics quote each other at length: without care a third of what is held out could be found, word by word, in
    what is trained on. So only the first of equal paragraphs is kept, which leaves about 370 000 bytes. The text
    varies with Python's version: `python_docs_digest` tells which it is.

    Parameters
    ----------
    context : int
        Bytes in a window, at least 1.

    Returns
    -------
    Parts of Windows
        Of uint8 tokens. Training windows start at every byte, the others every `context` bytes.

    Raises
    ------
    TypeError, ValueError
        If `context` is not an integer, or as long as a part.
    """
    return _windows(_python_docs_text(), context)


def python_docs_digest():
    """Hash of the text of `python_docs`, before it is split: losses on texts of other hashes can't be compared.

    Returns
    -------
    str
        32 hexadecimal digits, BLAKE2b.
    """
    return hashlib.blake2b(_python_docs_text(), digest_size=16).hexdigest()


def shakespeare(context, folder=None, *, source=SHAKESPEARE):
    """Tiny Shakespeare (Karpathy 2015): 1.1 MB of the plays, split by `split_text`.

    Parameters
    ----------
    context : int
        Bytes in a window, at least 1.
    folder : str or path-like, optional
        The folder of all data sets, where `shakespeare/` has `input.txt`, or gets it; see `fetch`.
    source : Source
        Where it comes from.

    Returns
    -------
    Parts of Windows
        Of uint8 tokens. Training windows start at every byte, the others every `context` bytes.

    Raises
    ------
    TypeError, ValueError, ConnectionError, OSError
        As `fetch`, and as `python_docs`.
    """
    return _windows(fetch(source, SHAKESPEARE_FILE, folder).read_bytes(), context)


def split_text(text):
    """Split a text into about 80 % train, 10 % tuning and 10 % held out.

    It is cut into blocks, each of which ends with the first line that ends 2048 bytes after its start or later. Each
    goes to a part by its hash (see `split_by_hash`); the blocks of a part are joined in their order. So no window lies
    in two parts, but one may go from a block to the next of its part, between which the text may jump.

    Parameters
    ----------
    text : bytes
        The text.

    Returns
    -------
    list of bytes
        Train, tuning, held out.
    """
    blocks = list(_blocks(text))
    chosen = choose_parts(blocks, SHARES)
    return [
        b"".join(block for block, part in zip(blocks, chosen, strict=True) if part == index)
        for index in range(len(SHARES))
    ]


def _windows(text, context):
    tokens = (torch.from_numpy(np.frombuffer(part, np.uint8).copy()) for part in split_text(text))
    train, tuning, held_out = tokens
    return Parts(Windows(train, context, 1), Windows(tuning, context, context), Windows(held_out, context, context))


def _blocks(text):
    start = 0
    while start < len(text):
        line_end = text.find(b"\n", start + BLOCK_BYTES - 1)
        end = line_end + 1 or len(text)
        yield text[start:end]
        start = end


def _python_docs_text():
    paragraphs = python_manual().numpy().tobytes().split(b"\n\n")
    return b"\n\n".join(dict.fromkeys(paragraphs))
