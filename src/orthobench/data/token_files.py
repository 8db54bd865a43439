"""Long texts as files of tokens, in the format of llm.c: never loaded; their windows are read when asked for."""

import hashlib
import mmap
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from orthobench.data.parts import check_indices
from orthobench.models.checks import check_integer

HEADER_LENGTH, HEADER_BYTES = 256, 1024  # 256 int32: magic number, version, number of tokens, zeros
MAGIC, VERSION = 20240520, 1
SAMPLE = 1024  # tokens of a file that a digest reads


def map_tokens(path):
    """Map the tokens of a file into memory, read-only, after a check of its header and its size.

    Parameters
    ----------
    path : pathlib.Path
        A header of 256 little-endian int32 (20240520, 1, the number of tokens, zeros), then the tokens as little-endian
        uint16: what llm.c and modded-nanogpt write and read.

    Returns
    -------
    numpy.memmap
        (tokens,), uint16. Nothing but the header has been read.

    Raises
    ------
    ValueError
        If the file is of another format, or shorter or longer than its header says.
    """
    header = np.fromfile(path, "<i4", HEADER_LENGTH)
    if len(header) < HEADER_LENGTH or tuple(header[:2]) != (MAGIC, VERSION):
        raise ValueError(
            f"{path} starts with {header[:2].tolist()}: give a file of tokens, which starts with {[MAGIC, VERSION]} "
            f"in a header of {HEADER_LENGTH} int32"
        )
    count = int(header[2])
    expected, found = HEADER_BYTES + 2 * count, path.stat().st_size
    if count < 1 or found != expected:
        raise ValueError(
            f"{path} has {found} bytes, and {count} tokens by its header: {expected} bytes are expected; "
            "move it away to have it downloaded again, or put the right file there"
        )
    return np.memmap(path, "<u2", "r", HEADER_BYTES, (count,))


@dataclass(frozen=True, eq=False)
class MappedWindows:
    """Windows of several stretches of tokens on disk, a context apart; none goes from one stretch to the next.

    `windows[indices]` is (inputs, targets), both (len(indices), context), int64, both copied, on the CPU. In a stretch
    every token but the first is a target once (up to the end, where less than a window may be left over).

    The tokens stay in their files, wherever the part is asked `to`: move the batches. They can't be changed through
    the part, so that a copy of it shares them. Whoever writes into the files themselves is found out by their checksums
    when they are next fetched.

    Parameters
    ----------
    stretches : tuple of numpy.memmap
        Results of `map_tokens`, or slices of them, each at least context + 1 long.
    context : int
        Tokens in a window, at least 1.
    vocabulary : int
        The tokens must be below it: checked in each window that is read, because on a GPU a token that an embedding
        lacks would end the process.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of those allowed. Indexing: as `Examples`, and ValueError for a token that is not
        below `vocabulary`.
    """

    stretches: tuple[np.memmap, ...]
    context: int
    vocabulary: int

    def __post_init__(self):
        context = check_integer("context", self.context, 1)
        check_integer("vocabulary", self.vocabulary, 1)
        for tokens in self.stretches:
            if len(tokens) <= context:
                raise ValueError(
                    f"{len(tokens)} tokens of {tokens.filename} have no window of {context} and its targets: "
                    "shorten context"
                )

    @cached_property
    def _ends(self):
        """Number of windows in each stretch and those before it."""
        return np.cumsum([(len(tokens) - 1) // self.context for tokens in self.stretches])

    def __len__(self):
        return int(self._ends[-1])

    def __getitem__(self, indices):
        chosen = check_indices(indices, len(self)).cpu().numpy()
        owners = np.searchsorted(self._ends, chosen, side="right")
        excerpts = np.empty((len(chosen), self.context + 1), np.int64)
        for owner in np.unique(owners):
            here = owners == owner
            places = chosen[here] - (self._ends[owner - 1] if owner else 0)
            excerpts[here] = self._read(self.stretches[owner], places)
        return torch.from_numpy(excerpts[:, :-1].copy()), torch.from_numpy(excerpts[:, 1:].copy())

    def _read(self, tokens, places):
        windows = np.lib.stride_tricks.sliding_window_view(tokens, self.context + 1)[:: self.context]
        excerpts = np.asarray(windows[places])
        if excerpts.max() >= self.vocabulary:
            raise ValueError(
                f"{tokens.filename} holds token {excerpts.max()}: the vocabulary's are in 0..{self.vocabulary - 1}; "
                "give the files of that vocabulary"
            )
        return excerpts

    def __reduce__(self):
        # Another process maps the files itself: they may be larger than what two can hold.
        return _map_again, (tuple(map(_place, self.stretches)), self.context, self.vocabulary)

    def __deepcopy__(self, memo):
        return MappedWindows(tuple(tokens[:] for tokens in self.stretches), self.context, self.vocabulary)

    def to(self, device):
        """Return the same windows: only batches are moved to a device."""
        return self

    def digest(self):
        """Hash of the lengths and of an even sample of the tokens; all of them could take minutes to read."""
        state = hashlib.blake2b(f"{type(self).__name__} {self.context} {self.vocabulary}".encode(), digest_size=16)
        for tokens in self.stretches:
            state.update(f" {len(tokens)} ".encode())
            state.update(tokens[:: -(-len(tokens) // SAMPLE)].tobytes())
        return state.hexdigest()


def _place(tokens):
    """Return where the tokens of a memory map, or of a slice of one, are: path, first byte, number."""
    whole = np.frombuffer(tokens._mmap, np.uint8)  # the map begins at a page, the file's offset is within it
    begin = tokens.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    return str(tokens.filename), begin + tokens.offset - tokens.offset % mmap.ALLOCATIONGRANULARITY, len(tokens)


def _map_again(places, context, vocabulary):
    stretches = tuple(np.memmap(path, "<u2", "r", begin, (count,)) for path, begin, count in places)
    return MappedWindows(stretches, context, vocabulary)
