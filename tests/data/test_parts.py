"""The parts of a data set: what an index gives, which part an example goes to, and that parts share nothing."""

import dataclasses
import hashlib
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orthobench.data import (
    Examples,
    Parts,
    Windows,
    check_disjoint,
    class_pair,
    digest,
    digits_parts,
    remove_overlap,
    split_by_hash,
)

THIRDS = (0.5, 0.3, 0.2)


def bytes_images(count, values=256, seed=0):
    """Images of 2x2 bytes, and targets that number them."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(values, (count, 1, 2, 2), generator=generator, dtype=torch.uint8), torch.arange(count)


def contents(part):
    return [row.numpy().tobytes() for row in part.inputs]


def test_examples_give_inputs_and_targets_in_the_order_asked():
    inputs, targets = bytes_images(10)
    part = Examples(inputs, targets)
    chosen = torch.tensor([7, 0, 7, 9])
    assert len(part) == 10
    assert torch.equal(part[chosen][0], torch.stack([inputs[place] for place in chosen]))
    assert part[chosen][1].tolist() == [7, 0, 7, 9]
    assert part[torch.tensor([], dtype=torch.int64)][0].shape == (0, 1, 2, 2)


@given(
    length=st.integers(2, 40),
    context=st.integers(1, 12),
    stride=st.integers(1, 15),
    dtype=st.sampled_from([torch.uint8, torch.int16, torch.int32, torch.int64]),
)
@settings(max_examples=200, deadline=None)
def test_windows_are_the_excerpts_and_what_follows(length, context, stride, dtype):
    text = [(7 * place + place**2) % 100 for place in range(length)]
    starts = [start for start in range(0, length, stride) if start + context < length]
    if not starts:
        with pytest.raises(ValueError, match="shorten context"):
            Windows(torch.tensor(text, dtype=dtype), context, stride)
        return
    part = Windows(torch.tensor(text, dtype=dtype), context, stride)
    inputs, targets = part[torch.arange(len(part))]
    assert inputs.dtype == targets.dtype == torch.int64
    assert inputs.is_contiguous()
    assert targets.is_contiguous()
    assert inputs.tolist() == [text[start : start + context] for start in starts]
    assert targets.tolist() == [text[start + 1 : start + 1 + context] for start in starts]


def test_windows_a_context_apart_have_each_token_as_a_target_once():
    part = Windows(torch.arange(31), 6, 6)
    assert part[torch.arange(len(part))][1].flatten().tolist() == list(range(1, 31))


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(
    "part", [Examples(torch.arange(8.0), torch.arange(8)), Windows(torch.arange(8), 3, 1)], ids=["examples", "windows"]
)
def test_a_batch_can_be_overwritten_and_the_data_stays(part, count):
    before = digest(part)
    inputs, targets = part[torch.arange(count)]
    expected = targets.clone()
    inputs.fill_(99)
    assert torch.equal(targets, expected)
    targets.fill_(99)
    assert digest(part) == before


@pytest.mark.parametrize(
    ("indices", "error", "message"),
    [
        (torch.tensor([0, 8]), IndexError, "indices are in 0..8: give some in 0..7"),
        (torch.tensor([-1]), IndexError, "indices are in -1..-1"),
        (torch.tensor([1.0]), TypeError, "torch.float32"),
        (torch.tensor([True] * 8), TypeError, "torch.bool"),
        (torch.tensor([[1]]), TypeError, re.escape("(1, 1)")),
        (torch.tensor(1), TypeError, "1-D"),
        (1, TypeError, "int"),
        (slice(2), TypeError, "slice"),
    ],
)
def test_wrong_indices_are_refused(indices, error, message):
    for part in (Examples(torch.arange(8.0), torch.arange(8)), Windows(torch.arange(11), 3, 1)):
        assert len(part) == 8
        with pytest.raises(error, match=message):
            part[indices]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Examples(torch.zeros(3), torch.zeros(2)), ValueError, "3 inputs and 2 targets"),
        (lambda: Examples([1], torch.zeros(1)), TypeError, "inputs is of type list"),
        (lambda: Examples(torch.zeros(1), torch.tensor(1)), TypeError, "targets is a tensor"),
        (lambda: Examples(torch.zeros(1), torch.zeros(1, device="meta")), ValueError, "one device"),
        (lambda: Windows(torch.zeros(9), 2, 1), TypeError, "give a 1-D tensor of uint8"),
        (lambda: Windows(torch.zeros(9, 1).long(), 2, 1), TypeError, re.escape("(9, 1)")),
        (lambda: Windows(torch.arange(4), 4, 1), ValueError, "a text of 4 tokens has no window of 4"),
        (lambda: Windows(torch.arange(4), 0, 1), ValueError, "context is 0"),
        (lambda: Windows(torch.arange(4), 2, 0), ValueError, "stride is 0"),
        (lambda: Windows(torch.arange(4), 2.0, 1), TypeError, "context is 2.0"),
    ],
)
def test_wrong_contents_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_parts_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Examples(torch.zeros(1), torch.zeros(1)).inputs = torch.ones(1)


def test_to_moves_everything_and_keeps_the_digest():
    for device in ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]:
        for part in (Examples(torch.arange(8.0), torch.arange(8)), Windows(torch.arange(8), 3, 2)):
            moved = part.to(device)
            assert {each.device.type for each in moved[torch.tensor([1, 0])]} == {device}
            assert torch.equal(moved[torch.tensor([1, 0])][1].cpu(), part[torch.tensor([1, 0])][1])
            assert digest(moved) == digest(part)


def test_the_digest_is_of_values_types_and_shapes():
    numbers = torch.arange(8)
    parts = [
        Examples(numbers, numbers),
        Examples(numbers, numbers.flip(0)),
        Examples(numbers.flip(0), numbers),
        Examples(numbers.view(8, 1), numbers),
        Examples(numbers.int(), numbers),
        Examples(numbers.double(), numbers),
        Examples(numbers.bfloat16(), numbers),
        Windows(numbers, 3, 1),
        Windows(numbers, 3, 2),
        Windows(numbers, 2, 2),
    ]
    assert len({digest(part) for part in parts}) == len(parts)
    assert digest(Examples(numbers.clone(), numbers.view(8, 1).flatten())) == digest(parts[0])


def test_the_digest_sees_one_changed_bit():
    part = Examples(torch.zeros(1000), torch.arange(1000))
    before = digest(part)
    part.inputs.view(torch.int32)[700] ^= 1
    assert digest(part) != before


def test_the_split_follows_the_hash_of_the_input():
    inputs, targets = bytes_images(500)
    parts = split_by_hash(inputs, targets, THIRDS)
    expected = [[], [], []]
    for row, target in zip(inputs, targets, strict=True):
        number = int.from_bytes(hashlib.blake2b(row.numpy().tobytes(), digest_size=16).digest()[:8], "big") / 2**64
        expected[0 if number < 0.5 else 1 if number < 0.8 else 2].append(int(target))
    assert [part.targets.tolist() for part in parts] == expected
    for part in parts:
        assert torch.equal(part.inputs, inputs[part.targets])


def test_the_split_is_the_same_on_every_machine():
    assert [len(part) for part in digits_parts()] == [1231, 276, 290]


def test_the_shares_are_kept_up_to_chance():
    inputs = torch.arange(20_000).view(-1, 1)
    for part, share in zip(split_by_hash(inputs, inputs, THIRDS), THIRDS, strict=True):
        assert abs(len(part) / 20_000 - share) < 5 * (share * (1 - share) / 20_000) ** 0.5


@given(st.lists(st.integers(0, 5), max_size=30), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_copies_stay_together_whatever_the_order_and_the_others(values, random):
    def where(numbers):
        inputs = torch.tensor(numbers, dtype=torch.uint8).view(-1, 1)
        parts = split_by_hash(inputs, torch.zeros(len(numbers)), THIRDS)
        return [sorted(part.inputs.flatten().tolist()) for part in parts]

    alone = where(range(6))
    random.shuffle(values)
    assert where(values) == [sorted(value for value in values if value in part) for part in alone]


@pytest.mark.parametrize("shares", [(), (0.5, 0.4), (1.2, -0.2), (1.0, 0.0), (float("nan"),)])
def test_wrong_shares_are_refused(shares):
    with pytest.raises(ValueError, match="give positive numbers of sum 1"):
        split_by_hash(torch.zeros(2), torch.zeros(2), shares)


def test_overlap_is_removed_from_the_earlier_part_alone():
    # Few values: about half of the images are elsewhere too, and some twice in one part.
    parts = Parts(*(Examples(*bytes_images(count, values=3, seed=count)) for count in (60, 50, 40)))
    train, tuning, held_out = (contents(part) for part in parts)
    result = remove_overlap(parts)
    assert contents(result.train) == [each for each in train if each not in tuning + held_out]
    assert contents(result.tuning) == [each for each in tuning if each not in held_out]
    assert contents(result.held_out) == held_out
    assert 0 < len(result.train) < 60
    for before, after in zip(parts, result, strict=True):
        assert torch.equal(before.inputs[after.targets], after.inputs)
    check_disjoint(result)


def test_an_overlap_is_found_between_any_two_parts():
    for first, second in ((0, 1), (0, 2), (1, 2)):
        inputs = list(torch.arange(12).view(3, 4, 1))
        check_disjoint(Parts(*(Examples(each, each) for each in inputs)))
        inputs[second] = inputs[second].clone()
        inputs[second][2:] = inputs[first][1]
        parts = Parts(*(Examples(each, torch.zeros(4)) for each in inputs))
        names = Parts._fields[first], Parts._fields[second]
        message = f"1 inputs are in {names[0]} and in {names[1]}, such as {names[0]} 1 which is {names[1]} 2"
        with pytest.raises(ValueError, match=message):
            check_disjoint(parts)


def test_texts_are_not_compared_by_window():
    windows = Windows(torch.arange(9), 2, 1)
    for function in (check_disjoint, remove_overlap):
        with pytest.raises(TypeError, match="train is of type Windows"):
            function(Parts(windows, windows, windows))


def labelled(*targets):
    return Examples(torch.arange(float(len(targets))).view(-1, 1), torch.tensor(targets))


def test_two_classes_are_kept_in_order_and_numbered_as_given():
    parts = Parts(labelled(5, 0, 3, 5), labelled(0, 5), labelled(1, 5, 5, 0, 0))
    for pair, first in (((0, 5), 0), ((5, 0), 5)):
        kept = class_pair(parts, pair)
        for before, after in zip(parts, kept, strict=True):
            places = [place for place, label in enumerate(before.targets.tolist()) if label in pair]
            assert torch.equal(after.inputs, before.inputs[places])
            assert after.targets.tolist() == [int(before.targets[place] != first) for place in places]
            assert after.targets.dtype == torch.int64
    assert [len(part) for part in class_pair(digits_parts(), (0, 5))] == [
        int(((part.targets == 0) | (part.targets == 5)).sum()) for part in digits_parts()
    ]


@pytest.mark.parametrize(
    ("pair", "error", "message"),
    [
        ((0, 0), ValueError, re.escape("pair is (0, 0): give two different classes")),
        ((0,), ValueError, re.escape("pair is (0,): give two classes, such as (0, 5)")),
        (3, ValueError, "pair is 3: give two classes"),
        ((0, "5"), TypeError, re.escape("pair[1] is '5': give an integer >= 0")),
        ((0, 7), ValueError, "train has no example of class 7: its classes are 0, 1, 5"),
        ((0, 5), ValueError, "tuning has no example of class 5: its classes are 0, 1"),
    ],
)
def test_a_pair_that_is_none_is_refused(pair, error, message):
    with pytest.raises(error, match=message):
        class_pair(Parts(labelled(0, 5, 1), labelled(0, 1), labelled(0, 5)), pair)


def test_a_pair_is_of_examples_with_integer_targets():
    part = labelled(0, 1)
    with pytest.raises(TypeError, match="held_out are a tensor"):
        class_pair(Parts(part, part, Examples(torch.zeros(2), torch.zeros(2))), (0, 1))
    with pytest.raises(TypeError, match="tuning is of type Windows"):
        class_pair(Parts(part, Windows(torch.arange(9), 2, 1), part), (0, 1))
