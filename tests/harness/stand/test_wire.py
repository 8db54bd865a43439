"""What crosses the boundary arrives to the bit, or is refused before it is believed."""

import json
import math
import os
import pickle
import socket
import threading
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orthobench.harness.stand import wire

SHORT_S = 0.2


@pytest.fixture
def ends():
    ours, theirs = wire.pair()
    with ours, theirs:
        yield ours, theirs


def crossed(ends, tensors=(), fields=None, kind="kind", largest=2**30):
    """Return what arrives; whoever sends is another thread, for a channel holds little."""
    ours, theirs = ends
    failed = []

    def send():
        try:
            wire.send(theirs, kind, fields, tensors)
        except BaseException as error:
            failed.append(error)
            theirs.close()

    thread = threading.Thread(target=send)
    thread.start()
    try:
        return wire.receive(ours, largest)
    finally:
        thread.join()
        if failed:
            raise failed[0]


def bits(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def made(dtype, *shape):
    """Return a tensor of any bits that its type has, NaN among them."""
    size = torch.empty((), dtype=dtype).itemsize
    count = torch.Size(shape).numel()
    if dtype == torch.bool:
        return torch.arange(count).remainder(3).eq(0).reshape(shape)
    generator = torch.Generator().manual_seed(0)
    raw = torch.randint(256, (count * size,), generator=generator, dtype=torch.uint8)
    return raw.view(dtype).reshape(shape)


# --- what is sent -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0, 2), (5,), (7, 9), (2, 3, 4, 5), (300, 301)])
@pytest.mark.parametrize("name", wire.DTYPES)
def test_a_tensor_of_each_type_and_shape_arrives_to_the_bit(ends, name, shape):
    sent = made(wire.DTYPES[name], *shape)
    kind, fields, (got,) = crossed(ends, [sent])
    assert (kind, fields) == ("kind", {})
    assert (got.dtype, got.shape, got.stride()) == (sent.dtype, sent.shape, sent.stride())
    assert torch.equal(bits(got), bits(sent))


VIEWS = {
    "transposed": lambda x: x.mT,
    "permuted": lambda x: x.permute(2, 0, 1),
    "every other": lambda x: x[::2, :, 1::3],
    "a part": lambda x: x[1:, 2:, 3:],
    "of one": lambda x: x[:1].mT,
    "expanded": lambda x: x[:, :1].expand(4, 5, 6),
    "a parameter": lambda x: torch.nn.Parameter(x.mT),
    "of a gradient": lambda x: (x * torch.ones((), requires_grad=True)).mT,
    "negated by a flag": lambda x: torch.complex(x, x).conj().imag,
}


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_arrives_with_the_order_of_its_strides(ends, view):
    sent = VIEWS[view](torch.randn(4, 5, 6))
    (got,) = crossed(ends, [sent])[2]
    assert torch.equal(got, sent)
    assert type(got) is torch.Tensor
    assert not got.requires_grad

    def order(tensor):
        return sorted(range(tensor.dim()), key=lambda index: -tensor.stride(index))

    if view != "expanded":
        assert order(got) == order(sent)
    if view in ("transposed", "permuted", "a parameter", "of a gradient"):  # all of memory, which sums depend on
        assert got.stride() == sent.stride()


def test_many_tensors_keep_their_order_and_share_no_memory_with_what_was_sent(ends):
    sent = [torch.randn(3, 5), torch.zeros(0), torch.ones(2, dtype=torch.bool), torch.randn(200_000), torch.tensor(7)]
    sent.append(torch.empty_strided((0,), (0,), dtype=torch.int64))  # as NumPy's empty arrays may be
    got = crossed(ends, sent)[2]
    assert all(map(torch.equal, got, sent))
    sent[0].zero_()
    assert got[0].ne(0).all()


NUMBERS = st.floats() | st.sampled_from([math.inf, -math.inf, math.nan, -0.0, 5e-324])
FIELDS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | NUMBERS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(fields=st.dictionaries(st.text(), FIELDS))
@settings(max_examples=50, deadline=None)
def test_fields_arrive_as_they_are_and_are_strict_json_on_the_way(fields):
    ours, theirs = wire.pair()
    with ours, theirs:
        wire.send(theirs, "kind", fields)
        frame = ours.recv(2**20, socket.MSG_PEEK)
        json.loads(frame[wire.PREFIX.size :], parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))
        got = wire.receive(ours, 0)[1]
    assert repr(got) == repr(fields)  # NaN and -0.0 too
    assert repr(wire.carried(fields)) == repr(fields)


def test_fields_of_other_types_arrive_as_the_plain_ones(ends):
    class Odd(float):
        def __repr__(self):
            return "1e999"

    got = crossed(ends, fields={"b": (1.5, True), 3: Odd(0.25), "d": Odd("inf")})[1]
    assert repr(got) == repr({"b": [1.5, True], "3": 0.25, "d": math.inf})


REAL = [getattr(np, name) for name in ("float16", "float32", "float64", "longdouble", "int8", "uint64", "bool_")]


@pytest.mark.parametrize("value", [0.5, 2, math.inf, -math.inf, math.nan, True])
def test_scalars_of_libraries_arrive_as_python_has_them(ends, value):
    whole = math.isfinite(value) and value == int(value)
    tensors = [dtype for dtype in wire.DTYPES.values() if dtype.is_floating_point or whole]
    scalars = [torch.tensor(value, dtype=dtype) for dtype in tensors] + [torch.tensor(value)]
    scalars += [kind(value) for kind in REAL if whole or issubclass(kind, np.floating)] + [np.array(value)]
    got = crossed(ends, fields={"all": scalars})[1]["all"]
    assert {type(each) for each in got} <= {int, float, bool}
    for sent, each in zip(scalars, got, strict=True):
        assert isinstance(each, bool) == ("bool" in str(sent.dtype))
        assert repr(float(each)) == repr(float(sent))
        assert wire.is_number(each) == (not isinstance(each, bool))
        assert repr(wire.claim(sent)) == (repr(each) if wire.is_number(each) else repr(repr(each)))


@pytest.mark.parametrize("value", [True, None, "1", [1.0], {}, 10**400, -(10**400), torch.ones(2), object()])
def test_what_is_no_number_is_claimed_as_text(value):
    assert not wire.is_number(value)
    assert wire.claim(value) == repr(value)[:80]


@pytest.mark.parametrize(
    ("tensor", "why"),
    [
        (torch.zeros(2, dtype=torch.complex64), "a tensor of torch.complex64 can't be sent"),
        (torch.eye(2).to_sparse(), "can't be sent: a plain tensor can"),
        (torch.zeros(2).to(torch.float8_e4m3fn), "a tensor of torch.float8_e4m3fn can't be sent"),
        (torch.zeros(2).as_subclass(type("Own", (torch.Tensor,), {})), "a Own can't be sent"),
        ([1.0], "a list can't be sent"),
    ],
)
def test_what_is_no_plain_tensor_is_not_sent(ends, tensor, why):
    with pytest.raises(TypeError, match=why):
        wire.send(ends[1], "kind", tensors=[tensor])
    ends[1].close()
    with pytest.raises(wire.Closed):  # nor a part of it
        wire.receive(ends[0], 2**20)


@pytest.mark.parametrize("fields", [{"a": object()}, {"a": b"bytes"}, {"a": {1, 2}}, {"a": "x" * 2**23}])
def test_fields_that_json_has_not_or_too_large_ones_are_not_sent(ends, fields):
    with pytest.raises(TypeError):
        wire.send(ends[1], "kind", fields)
    ends[1].close()
    with pytest.raises(wire.Closed):
        wire.receive(ends[0], 2**20)


# --- what a hostile side sends ----------------------------------------------------------------------------------------


class Runs:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return os.mkdir, (self.mark,)


def frame(header, payload=b"", magic=wire.MAGIC, header_size=None, payload_size=None):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    sizes = len(header) if header_size is None else header_size, len(payload) if payload_size is None else payload_size
    return wire.PREFIX.pack(magic, *sizes) + header + payload


def entry(name="float32", shape=(2,), order=(0,)):
    return frame(["done", {}, [[name, list(shape), list(order)]]], bytes(64))


NESTED = b"[" * 100_000 + b"]" * 100_000
HOSTILE = {
    "another magic": frame(["done", {}, []], magic=b"OBS0"),
    "text": b"HTTP/1.1 200 OK\r\n\r\n",
    "a pickle": pickle.dumps({"seconds": 0.0}) + bytes(64),
    "a header over the limit": frame(b"[]", header_size=wire.LARGEST_HEADER + 1),
    "the largest header": frame(b"[]", header_size=2**32 - 1),
    "a payload over the limit": frame(["done", {}, []], payload_size=2**20 + 1),
    "the largest payload": frame(["done", {}, []], payload_size=2**64 - 1),
    "fewer bytes than the shapes": entry(shape=(100, 100), order=(0, 1)),
    "more bytes than the shapes": frame(["done", {}, [["float32", [2], [0]]]], bytes(128)),
    "bytes for no tensor": frame(["done", {}, []], bytes(64)),
    "a negative size": entry(shape=(-2,)),
    "two negative sizes": entry(shape=(-2, -1), order=(0, 1)),
    "a huge size": entry(shape=(2**62,)),
    "sizes whose product overflows": entry(shape=(2**40,) * 4, order=range(4)),
    "a size that is none": entry(shape=(2.0,)),
    "a size that is a boolean": entry(shape=(True,)),
    "a size that is text": entry(shape=("2",)),
    "a size that is null": entry(shape=(None,)),
    "another type": entry("complex64"),
    "a type of objects": entry("object"),
    "an attribute as type": entry("__class__"),
    "no order": entry(order=()),
    "an order of others": entry(order=(1,)),
    "an order with one twice": entry(shape=(1, 2), order=(0, 0)),
    "a negative order": entry(shape=(1, 2), order=(-1, 0)),
    "an order in text": entry(order=("0",)),
    "an order of booleans": entry(shape=(1, 2), order=(False, True)),
    "an order of fractions": entry(order=(0.0,)),
    "many dimensions": entry(shape=(1,) * 17, order=range(17)),
    "an entry of two parts": frame(["done", {}, [["float32", [2]]]], bytes(64)),
    "a number as fields": frame(["done", {"\0float": "inf"}, []]),
    "a number of no name": frame(["done", {"a": {"\0float": []}}, []]),
    "an entry that is a dict": frame(["done", {}, [{"dtype": "float32"}]], bytes(64)),
    "an entry that is text": frame(["done", {}, ["abc"]], bytes(64)),
    "two parts": frame(["done", {}]),
    "four parts": frame(["done", {}, [], []]),
    "a number as kind": frame([1, {}, []]),
    "a list as fields": frame(["done", [], []]),
    "a dict as tensors": frame(["done", {}, {}]),
    "a string of three": frame(b'"abc"'),
    "NaN": frame(b'["done", {"seconds": NaN}, []]'),
    "infinity": frame(b'["done", {"seconds": -Infinity}, []]'),
    "a number of many digits": frame(b'["done", {"seconds": ' + b"9" * 10_000 + b"}, []]"),
    "deep nesting": frame(NESTED),
    "deep nesting in fields": frame(b'["done", {"a": ' + NESTED + b"}, []]"),
    "no JSON": frame(b"{'a': 1}"),
    "bytes that are no text": frame(b"\xff\xfe\xfa\x00"),
    "nothing": frame(b""),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_frame_is_refused(ends, name):
    ends[1].sendall(HOSTILE[name])
    ends[1].shutdown(socket.SHUT_WR)
    with pytest.raises(wire.Malformed):
        wire.receive(ends[0], 2**20)


def test_the_frames_of_these_tests_are_right_where_nothing_is_wrong(ends):
    ends[1].sendall(entry() + entry(shape=(1, 2), order=(1, 0)) + entry(shape=(1,) * 16, order=range(16)))
    for shape in ((2,), (1, 2), (1,) * 16):
        assert wire.receive(ends[0], 64)[2][0].shape == shape


def test_nothing_is_unpickled(ends, tmp_path):
    mark = tmp_path / "it ran"
    pickle.loads(pickle.dumps(Runs(tmp_path / "control")))  # noqa: S301 - the control
    assert (tmp_path / "control").exists()
    payload = pickle.dumps(Runs(mark))
    ends[1].sendall(frame(payload))
    with pytest.raises(wire.Malformed):
        wire.receive(ends[0], 2**20)
    # As a tensor, and as text, they are data like any other.
    sent = torch.frombuffer(bytearray(payload), dtype=torch.uint8)
    _, fields, (got,) = crossed(ends, [sent], {"text": payload.hex()})
    assert bytes(got.tolist()) == bytes.fromhex(fields["text"]) == payload
    assert not mark.exists()


def test_a_bool_of_any_bits_is_one(ends):
    ends[1].sendall(frame(["done", {}, [["bool", [4], [0]]]], bytes([0, 1, 2, 255]) + bytes(60)))
    (got,) = wire.receive(ends[0], 2**20)[2]
    assert bits(got).tolist() == [0, 1, 1, 1]


def test_nothing_large_is_allocated_before_a_frame_is_checked(ends, monkeypatch):
    monkeypatch.setattr(torch, "empty", lambda *_, **__: pytest.fail("allocated"))
    for name in ("a payload over the limit", "the largest payload", "fewer bytes than the shapes", "a negative size"):
        ours, theirs = wire.pair()
        with ours, theirs:
            theirs.sendall(HOSTILE[name])
            with pytest.raises(wire.Malformed):
                wire.receive(ours, 2**20)


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("already", [0, 3, wire.PREFIX.size, wire.PREFIX.size + 5, -10])
def test_what_stops_in_the_middle_meets_the_deadline(ends, already):
    whole = entry()
    ends[1].sendall(whole[: already % len(whole)])
    started = time.monotonic()
    with pytest.raises(wire.Late):
        wire.receive(ends[0], 2**20, started + SHORT_S)
    assert time.monotonic() - started >= SHORT_S


def test_a_slow_sender_meets_the_deadline_although_it_never_stops(ends):
    """Each part comes well within the limit; all together they would take twenty times as long."""
    over = threading.Event()

    def drip():
        for byte in entry():
            if over.wait(SHORT_S / 4):
                return
            ends[1].sendall(bytes([byte]))

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        with pytest.raises(wire.Late):
            wire.receive(ends[0], 2**20, time.monotonic() + SHORT_S)
        assert not over.is_set()
        assert thread.is_alive()
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("size", [2**10, 2**24])
def test_who_takes_nothing_meets_the_deadline_of_a_sender(ends, size):
    big = torch.zeros(size, dtype=torch.uint8)

    def fill():
        for _ in range(10_000):
            wire.send(ends[1], "kind", tensors=[big], deadline=time.monotonic() + SHORT_S)

    with pytest.raises(wire.Late):
        fill()


def test_a_deadline_in_the_past_is_over_at_once(ends):
    ends[1].sendall(entry())
    with pytest.raises(wire.Late):
        wire.receive(ends[0], 2**20, time.monotonic() - 1)
    with pytest.raises(wire.Late):
        wire.send(ends[1], "kind", deadline=time.monotonic() - 1)


@pytest.mark.parametrize("already", [0, 3, wire.PREFIX.size, -1])
def test_a_closed_peer_is_told_from_a_late_one(ends, already):
    whole = entry()
    ends[1].sendall(whole[: already % len(whole)])
    ends[1].close()
    with pytest.raises(wire.Closed):
        wire.receive(ends[0], 2**20, time.monotonic() + 60)
    with pytest.raises(wire.Closed):
        wire.send(ends[0], "kind", tensors=[torch.zeros(2**20)], deadline=time.monotonic() + 60)


@pytest.mark.parametrize("already", [0, wire.PREFIX.size + 5, -10])
def test_patience_is_asked_while_nothing_comes_and_ends_the_waiting(ends, already):
    whole = entry()
    ends[1].sendall(whole[: already % len(whole)])
    asked = []

    def patience():
        asked.append(True)
        if len(asked) == 2:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        wire.receive(ends[0], 2**20, patience=patience)
    assert len(asked) == 2
