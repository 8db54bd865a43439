"""What a data set is: three disjoint parts, each a function from indices to (inputs, targets)."""

import hashlib
import itertools
import math
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch

from orthobench.models.checks import check_integer

TOKEN_TYPES = (torch.uint8, torch.int16, torch.int32, torch.int64)


class Parts(NamedTuple):
    """A data set: what is trained on, what hyper-parameters may be chosen on, and what is reported."""

    train: "Examples | Windows"
    tuning: "Examples | Windows"
    held_out: "Examples | Windows"


@dataclass(frozen=True, eq=False)
class Examples:
    """Independent examples: `examples[indices]` is (inputs, targets), both copied.

    Parameters
    ----------
    inputs : torch.Tensor
        (n, ...).
    targets : torch.Tensor
        (n, ...), on the same device.

    Raises
    ------
    TypeError, ValueError
        If they are not two tensors of equal length on one device.
    TypeError, IndexError
        When indexed, if the indices are not a 1-D int64 tensor of values in 0..n - 1. Keep the indices on the CPU: to
        check those on a GPU is to wait for it.
    """

    inputs: torch.Tensor
    targets: torch.Tensor

    def __post_init__(self):
        for name in ("inputs", "targets"):
            value = getattr(self, name)
            if not isinstance(value, torch.Tensor) or value.ndim == 0:
                raise TypeError(f"{name} is {_describe(value)}: give a tensor (n, ...)")
        if len(self.inputs) != len(self.targets):
            raise ValueError(f"{len(self.inputs)} inputs and {len(self.targets)} targets: give one target an input")
        if self.inputs.device != self.targets.device:
            raise ValueError(f"inputs on {self.inputs.device}, targets on {self.targets.device}: give one device")

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, indices):
        chosen = send(check_indices(indices, len(self)), self.inputs.device)
        return self.inputs.index_select(0, chosen), self.targets.index_select(0, chosen)

    def to(self, device):
        """Return the same examples on a device."""
        return Examples(self.inputs.to(device), self.targets.to(device))


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of a text: the i-th is tokens i * stride .. i * stride + context - 1, its targets the next tokens.

    `windows[indices]` is (inputs, targets), both (len(indices), context), int64, both copied. With stride = context
    every token but the first is a target once (up to the end, where less than a window may be left over).

    Parameters
    ----------
    tokens : torch.Tensor
        (length,), uint8, int16, int32 or int64, at least context + 1 long.
    context : int
        Tokens in a window, at least 1.
    stride : int
        Tokens from the start of a window to the start of the next, at least 1.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of those allowed.
    TypeError, IndexError
        When indexed, as `Examples`.
    """

    tokens: torch.Tensor
    context: int
    stride: int

    def __post_init__(self):
        tokens = self.tokens
        if not isinstance(tokens, torch.Tensor) or tokens.ndim != 1 or tokens.dtype not in TOKEN_TYPES:
            allowed = ", ".join(str(dtype).removeprefix("torch.") for dtype in TOKEN_TYPES)
            raise TypeError(f"tokens is {_describe(tokens)}: give a 1-D tensor of {allowed}")
        context = check_integer("context", self.context, 1)
        check_integer("stride", self.stride, 1)
        if len(tokens) <= context:
            raise ValueError(
                f"a text of {len(tokens)} tokens has no window of {context} and its targets: shorten context"
            )

    def __len__(self):
        return (len(self.tokens) - self.context - 1) // self.stride + 1

    def __getitem__(self, indices):
        chosen = send(check_indices(indices, len(self)), self.tokens.device)
        excerpts = self.tokens.unfold(0, self.context + 1, self.stride).index_select(0, chosen).long()
        return tuple(side.clone(memory_format=torch.contiguous_format) for side in (excerpts[:, :-1], excerpts[:, 1:]))

    def to(self, device):
        """Return the same windows on a device."""
        return Windows(self.tokens.to(device), self.context, self.stride)


def digest(part):
    """Hash of what a part holds, wherever it is: equal before and after a run if nothing has changed the data.

    Parameters
    ----------
    part : Examples, Windows or MappedWindows
        On any device.

    Returns
    -------
    str
        32 hexadecimal digits: BLAKE2b of the values, types and shapes. A part with a method `digest` says it itself.
    """
    if hasattr(part, "digest"):
        return part.digest()
    state = hashlib.blake2b(type(part).__name__.encode(), digest_size=16)
    for field in fields(part):
        value = getattr(part, field.name)
        if isinstance(value, torch.Tensor):
            state.update(f"{field.name} {value.dtype} {tuple(value.shape)} ".encode())
            state.update(_bytes_of(value))
        else:
            state.update(f"{field.name} {int(value)} ".encode())
    return state.hexdigest()


def resembling(part, seed):
    """Return a part of the same kind, length, shapes and types, from which nothing of this one can be learned.

    Parameters
    ----------
    part : Examples, Windows or MappedWindows
        In memory, or mapped.
    seed : int

    Returns
    -------
    Examples, Windows or MappedWindows
        Its values are uniform between the least and the largest of this one's; a mapped part is returned as it is.
    """
    generator = torch.Generator().manual_seed(seed)
    if isinstance(part, Examples):
        return Examples(*(_uniform(each, generator) for each in (part.inputs, part.targets)))
    if isinstance(part, Windows):
        return Windows(_uniform(part.tokens, generator), part.context, part.stride)
    return part


def _uniform(tensor, generator):
    low, high = (each.item() for each in tensor.aminmax()) if tensor.numel() else (0, 0)
    like = torch.empty(tensor.shape, dtype=tensor.dtype)
    if tensor.dtype == torch.bool:
        return like.random_(0, 2, generator=generator)
    if not tensor.is_floating_point():
        return like.random_(low, high + 1, generator=generator)
    return like.uniform_(low, high, generator=generator)


def split_by_hash(inputs, targets, shares):
    """Split examples by a hash of their inputs.

    Where an example goes depends on the bytes of its input alone (and on the shares), not on its place, its target,
    a seed or the other examples: copies of an input land together, and an example keeps its part when others come or
    go. The hash is BLAKE2b; types wider than a byte are hashed as little-endian machines store them.

    Parameters
    ----------
    inputs, targets : torch.Tensor
        (n, ...), on the CPU.
    shares : sequence of float
        Expected share of each result, positive, of sum 1. The sizes vary by chance.

    Returns
    -------
    tuple of Examples
        One for each share, in the order of `inputs`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of those allowed.
    """
    whole = Examples(inputs, targets)
    chosen = torch.tensor(choose_parts(_rows(inputs), shares), dtype=torch.int64)
    return tuple(Examples(*whole[(chosen == index).nonzero().flatten()]) for index in range(len(shares)))


def choose_parts(contents, shares):
    """Choose a part for each content, by its hash.

    Parameters
    ----------
    contents : iterable of bytes-like
        What to hash.
    shares : sequence of float
        Expected share of each part, positive, of sum 1.

    Returns
    -------
    list of int
        For each content its part, in 0..len(shares) - 1.

    Raises
    ------
    ValueError
        If the shares are not positive or their sum is not 1.
    """
    if not shares or not all(share > 0 for share in shares) or not math.isclose(sum(shares), 1, abs_tol=1e-9):
        raise ValueError(f"shares is {shares!r}: give positive numbers of sum 1")
    bounds = [round(bound * 2**64) for bound in itertools.accumulate(shares)][:-1]
    numbers = (int.from_bytes(_key(content)[:8], "big") for content in contents)
    return [sum(number >= bound for bound in bounds) for number in numbers]


def remove_overlap(parts):
    """Drop from each part the examples whose input, byte for byte, is also that of an example in a later part.

    Only earlier parts lose examples: what is reported stays the official test set, if it is one. Copies within a
    part stay.

    Parameters
    ----------
    parts : Parts of Examples
        On the CPU.

    Returns
    -------
    Parts
        The same, with fewer examples in `train` and in `tuning` if there was overlap.
    """
    keys = _keys(parts)
    kept = []
    for index, part in enumerate(parts):
        later = set().union(*keys[index + 1 :])
        remaining = [place for place, key in enumerate(keys[index]) if key not in later]
        kept.append(
            part if len(remaining) == len(part) else Examples(*part[torch.tensor(remaining, dtype=torch.int64)])
        )
    return Parts(*kept)


def check_disjoint(parts):
    """Check that no input, byte for byte, is in two parts.

    Parameters
    ----------
    parts : Parts of Examples
        On the CPU.

    Raises
    ------
    ValueError
        If one is.
    """
    keys = _keys(parts)
    for (first, second), (ones, others) in zip(
        itertools.combinations(Parts._fields, 2), itertools.combinations(keys, 2), strict=True
    ):
        common = set(ones) & set(others)
        if common:
            place = next(place for place, key in enumerate(ones) if key in common)
            raise ValueError(
                f"{len(common)} inputs are in {first} and in {second}, such as {first} {place} which is "
                f"{second} {others.index(ones[place])}: call remove_overlap"
            )


def class_pair(parts, pair):
    """Keep two classes of a data set, for what is known of two alone.

    Parameters
    ----------
    parts : Parts of Examples
        With targets (n,) that are integers.
    pair : (int, int)
        Two classes, such as (0, 5).

    Returns
    -------
    Parts of Examples
        Those of the two, in the same order; targets, int64, are 0 for the first and 1 for the second.

    Raises
    ------
    TypeError, ValueError
        If the parts are no such examples, the classes aren't two different integers, or a part has none of one.
    """
    try:
        first, second = pair
    except (TypeError, ValueError):
        raise ValueError(f"pair is {pair!r}: give two classes, such as (0, 5)") from None
    first, second = check_integer("pair[0]", first, 0), check_integer("pair[1]", second, 0)
    if first == second:
        raise ValueError(f"pair is {pair!r}: give two different classes")
    _check_examples(parts)
    kept = []
    for name, part in zip(Parts._fields, parts, strict=True):
        targets = part.targets
        if targets.ndim != 1 or targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool:
            raise TypeError(f"the targets of {name} are {_describe(targets)}: give integers (n,)")
        for label in (first, second):
            if not (targets == label).any():
                found = ", ".join(str(each) for each in targets.unique().tolist())
                raise ValueError(f"{name} has no example of class {label}: its classes are {found}")
        chosen = ((targets == first) | (targets == second)).nonzero().flatten()
        kept.append(Examples(part.inputs[chosen], (targets[chosen] == second).long()))
    return Parts(*kept)


def check_pixels(**parts):
    """Raise ValueError unless the pixels of all parts, `Examples` of images, are in [0, 1]."""
    for name, part in parts.items():
        low, high = (float(bound) for bound in part.inputs.aminmax())
        if not (low >= 0 and high <= 1):
            raise ValueError(f"the pixels of {name} are in {low:g}..{high:g}: give them in 0..1, not standardised")


def distinct(examples):
    """Return examples without those whose input, byte for byte, came before."""
    rows = examples.inputs.flatten(1).contiguous().numpy()
    first = {}
    for place, row in enumerate(rows):
        first.setdefault(row.tobytes(), place)
    return Examples(*examples[torch.tensor(sorted(first.values()), dtype=torch.int64)])


def _check_examples(parts):
    for name, part in zip(Parts._fields, parts, strict=True):
        if not isinstance(part, Examples):
            raise TypeError(f"{name} is {_describe(part)}: give Examples (windows of a text may repeat by nature)")


def _keys(parts):
    _check_examples(parts)
    return [[_key(row) for row in _rows(part.inputs)] for part in parts]


def _key(content):
    return hashlib.blake2b(content, digest_size=16).digest()


def _rows(inputs):
    content = _bytes_of(inputs)
    return content.reshape(len(inputs), content.size // max(1, len(inputs)))


def _bytes_of(tensor):
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()


def check_indices(indices, length):
    """Return the indices of some of `length` examples, if they are a 1-D int64 tensor of values in 0..length - 1.

    Raises
    ------
    TypeError, IndexError
        If they are not.
    """
    if not isinstance(indices, torch.Tensor) or indices.dtype != torch.int64 or indices.ndim != 1:
        raise TypeError(f"indices is {_describe(indices)}: give a 1-D tensor of int64")
    if len(indices):
        low, high = (int(bound) for bound in torch.aminmax(indices))
        if low < 0 or high >= length:
            raise IndexError(f"indices are in {low}..{high}: give some in 0..{length - 1}")
    return indices


def send(tensor, device):
    """Return a tensor on a device; from the CPU to a GPU without waiting for what that has still to do."""
    # The other way, the values could be read before they are there.
    return tensor.to(device, non_blocking=device.type == "cuda" and tensor.device.type == "cpu")


def _describe(value):
    if isinstance(value, torch.Tensor):
        return f"a tensor of {value.dtype} and shape {tuple(value.shape)}"
    return f"of type {type(value).__name__}"
