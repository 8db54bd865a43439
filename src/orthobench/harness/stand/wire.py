"""What bench and stand say to each other: a kind, plain fields and tensors as raw bytes. Nothing is unpickled here."""

import json
import math
import socket
import struct
import sys
import time

import numpy as np
import torch

MAGIC = b"OBS1"
PREFIX = struct.Struct("<4sIQ")  # magic, bytes of the header, bytes of the payload
LARGEST_HEADER = 4 * 2**20
ALIGNMENT = 64
LARGE = 2**16
SPARE = 2**16

_TYPES = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool"
DTYPES = {name: getattr(torch, name) for name in _TYPES.split()}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}

# A number that JSON has not is sent as a dict of this one key and a text.
_FLOAT = "\0float"
_NOT_IN_JSON = {str(each): each for each in (math.nan, math.inf, -math.inf)}


class Closed(ConnectionError):
    """The other side is gone."""


class Late(TimeoutError):
    """The time for a frame is over."""


class Malformed(ValueError):
    """What came is no frame, or a larger one than was asked for."""


def send(channel, kind, fields=None, tensors=(), deadline=None, patience=None):
    """Send one frame.

    Parameters
    ----------
    channel : socket.socket
        A stream.
    kind : str
    fields : dict, optional
        What JSON can hold, NaN, infinity, and scalars of NumPy's and torch's, which arrive as Python's.
    tensors : sequence of torch.Tensor
        Plain, of one of `DTYPES`. The order of their strides comes along, for sums depend on it.
    deadline : float, optional
        By `time.monotonic`.
    patience : callable, optional
        Called about once a second while nothing moves; what it raises ends the waiting.

    Raises
    ------
    Closed, Late
    TypeError
        If a tensor or a field can't be sent.
    """
    packed = [_pack(each) for each in tensors]
    header = json.dumps([kind, _plain(fields or {}), [entry for entry, _ in packed]], allow_nan=False).encode()
    if len(header) > LARGEST_HEADER:
        raise TypeError(f"fields of {len(header)} bytes: at most {LARGEST_HEADER} can be sent")
    payload = sum(_padded(len(content)) for _, content in packed)
    waiting = PREFIX.pack(MAGIC, len(header), payload) + header
    for _, content in packed:
        if len(content) >= LARGE:  # not worth a copy
            _exactly(channel, channel.send, waiting, deadline, patience)
            _exactly(channel, channel.send, content, deadline, patience)
            waiting = b""
        else:
            waiting += content
        waiting += bytes(_padded(len(content)) - len(content))
    _exactly(channel, channel.send, waiting, deadline, patience)


def receive(channel, largest, deadline=None, patience=None):
    """Receive one frame.

    Parameters
    ----------
    channel : socket.socket
    largest : int
        Bytes of tensors that are expected at most.
    deadline, patience
        As for `send`.

    Returns
    -------
    tuple of (str, dict, list of torch.Tensor)

    Raises
    ------
    Closed, Late, Malformed
        Before anything large is allocated.
    """
    take = channel.recv_into
    magic, header_size, payload = PREFIX.unpack(_exactly(channel, take, bytearray(PREFIX.size), deadline, patience))
    if magic != MAGIC or header_size > LARGEST_HEADER:
        raise Malformed("what came is no frame")
    if payload > largest:
        raise Malformed(f"{payload} bytes of tensors came where at most {largest} are expected")
    kind, fields, entries = _header(_exactly(channel, take, bytearray(header_size), deadline, patience))
    sizes = [_size(entry) for entry in entries]
    if sum(map(_padded, sizes)) != payload:
        raise Malformed(f"shapes of {sum(map(_padded, sizes))} bytes came with {payload}")
    content = torch.empty(payload, dtype=torch.uint8, device="cpu")  # whatever the default is
    if payload:
        _exactly(channel, take, content.numpy(), deadline, patience)
    tensors, start = [], 0
    for entry, size in zip(entries, sizes, strict=True):
        tensors.append(_unpack(entry, content[start : start + size]))
        start += _padded(size)
    return kind, fields, tensors


def check_silent(channel):
    """Raise `Malformed` if something waits to be read before a question: it would be taken for the answer."""
    channel.settimeout(0)
    try:
        waiting = channel.recv(1, socket.MSG_PEEK)
    except OSError:  # nothing, or the other side is gone, which the question will find out
        return
    if waiting:
        raise Malformed("it spoke before it was asked")


def expected_bytes(shapes, itemsize=8):
    """Return how many bytes tensors of these shapes take in a frame at most, of whatever type, and a few to spare."""
    return sum(_padded(math.prod(shape) * itemsize) for shape in shapes) + SPARE


def _pack(tensor):
    """Return a tensor's entry in the header, and its bytes in the order of its strides."""
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter) or tensor.layout != torch.strided:
        raise TypeError(f"a {type(tensor).__name__} can't be sent: a plain tensor can")
    if tensor.dtype not in _NAMES:
        raise TypeError(f"a tensor of {tensor.dtype} can't be sent: use one of {', '.join(DTYPES)}")
    # Dimensions by falling stride: of a transposed matrix, the bytes as they lie.
    order = sorted(range(tensor.dim()), key=lambda index: (-tensor.stride(index), index))
    flat = tensor.detach().resolve_conj().resolve_neg().permute(order).contiguous().cpu().reshape(-1)
    if not len(flat):  # one of NumPy's may have a stride of 0
        flat = flat.new_empty(0)
    return [_NAMES[tensor.dtype], list(tensor.shape), order], memoryview(flat.view(torch.uint8).numpy())


def _header(content):
    try:
        kind, fields, entries = json.loads(bytes(content), parse_constant=_refuse, object_hook=_number)
    except (ValueError, TypeError, RecursionError) as error:
        raise Malformed("the header of a frame is no JSON of three parts") from error
    if not isinstance(kind, str) or not isinstance(fields, dict) or not isinstance(entries, list):
        raise Malformed("the header of a frame has other types than kind, fields and tensors")
    return kind, fields, entries


def _refuse(constant):
    raise ValueError(f"{constant} is no number")


def _size(entry):
    """Return the bytes of the tensor that an entry describes, once it is known to be one."""
    match entry:
        case [str(name), list(shape), list(order)] if name in DTYPES and len(shape) == len(order) <= 16:
            whole = all(type(each) is int and 0 <= each < 2**48 for each in (*shape, *order))
            if whole and sorted(order) == list(range(len(order))):
                return math.prod(shape) * DTYPES[name].itemsize
    raise Malformed("the header of a frame describes no tensor")


def _unpack(entry, content):
    name, shape, order = entry
    dtype = DTYPES[name]
    # Any byte that isn't 0 is true; as the value of a bool it would be none that torch knows.
    flat = content.ne(0) if dtype == torch.bool else content.view(dtype)
    inverse = sorted(range(len(order)), key=order.__getitem__)
    return flat.reshape([shape[index] for index in order]).permute(inverse)


def _exactly(channel, call, buffer, deadline, patience):
    """Return a buffer, all bytes of which a call of the channel has moved."""
    view, done = memoryview(buffer).cast("B"), 0
    while done < len(view):
        count = _in_time(channel, call, view[done:], deadline, patience)
        if count == 0:
            raise Closed("the other side is gone")
        done += count or 0
    return buffer


def _in_time(channel, call, view, deadline, patience):
    """Return how many bytes a call of the channel moved, None if there was none for a while and there is time left."""
    left = None if deadline is None else deadline - time.monotonic()
    if left is not None and left <= 0:
        raise Late("the time for a frame is over")
    limits = [each for each in (left, 1.0 if patience else None) if each is not None]
    try:
        channel.settimeout(min(limits) if limits else None)
        return call(view)
    except TimeoutError:
        if patience:
            patience()
        return None
    except OSError as error:
        raise Closed("the other side is gone") from error


def _padded(size):
    return -(-size // ALIGNMENT) * ALIGNMENT


def carried(value):
    """Return a field as it arrives."""
    return json.loads(json.dumps(_plain(value), allow_nan=False), object_hook=_number)


def _plain(value):
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    value = _scalar(value)
    return {_FLOAT: str(value)} if isinstance(value, float) and not math.isfinite(value) else value


def _scalar(value):
    """Return a scalar as Python has it."""
    if isinstance(value, np.generic | np.ndarray | torch.Tensor) and value.ndim == 0:
        value = value.item()
    return float(value) if isinstance(value, float | np.floating) else value  # a subclass may have a text of its own


def is_number(value):
    """Return whether a field is a number that a float can be; a bool is none."""
    return type(value) is float or (type(value) is int and abs(value) <= sys.float_info.max)


def claim(value):
    """Return what a solver claims, if it is a number, else its text, for the bench to name."""
    value = _scalar(value)
    return value if is_number(value) else repr(value)[:80]


def _number(found):
    return _NOT_IN_JSON.get(found[_FLOAT], found) if found.keys() == {_FLOAT} else found


def pair():
    """Return the two ends of a channel."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
