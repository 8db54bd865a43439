"""The texts: nothing lost, nothing in two parts, and the held-out text not to be found in the training text."""

import random
import re

import pytest
import torch

from orthobench.data import python_docs, python_docs_digest, python_manual, shakespeare, texts
from orthobench.studies.loopback import serving, source_of

# Lines of many lengths, some longer than a block.
TEXT = b"".join(
    bytes(random.Random(line).choices(b"abcdef gh", k=random.Random(-line).choice([0, 20, 60, 3000]))) + b"\n"
    for line in range(1000)
)


def parts_as_bytes(parts):
    return [bytes(part.tokens.tolist()) for part in parts]


def windows(text, length):
    return {text[start : start + length] for start in range(len(text) - length + 1)}


def test_the_parts_hold_the_whole_text_in_blocks_of_whole_lines():
    parts = texts.split_text(TEXT)
    blocks = list(texts._blocks(TEXT))
    assert b"".join(blocks) == TEXT
    assert sum(len(part) for part in parts) == len(TEXT)
    assert len(blocks) > 100
    for block in blocks[:-1]:
        assert len(block) >= texts.BLOCK_BYTES
        # The first line end at or after the size asked for is the last.
        assert block.find(b"\n", texts.BLOCK_BYTES - 1) == len(block) - 1
    remaining = list(parts)
    for block in blocks:
        (owner,) = [index for index, part in enumerate(remaining) if part.startswith(block)]
        remaining[owner] = remaining[owner].removeprefix(block)
    assert remaining == [b"", b"", b""]


def test_the_shares_are_about_eight_one_and_one_tenths():
    for part, share in zip(texts.split_text(TEXT), (0.8, 0.1, 0.1), strict=True):
        assert abs(len(part) / len(TEXT) - share) < 0.1


def test_a_block_stays_in_its_part_when_text_comes_before_it():
    new = b"x" * texts.BLOCK_BYTES + b"\n"
    assert new not in TEXT
    for before, after in zip(texts.split_text(TEXT), texts.split_text(new + TEXT), strict=True):
        assert after in (before, new + before)


def test_a_block_ends_where_its_size_is_reached_if_a_line_ends_there():
    whole, longer = b"a" * (texts.BLOCK_BYTES - 1) + b"\n", b"b" * texts.BLOCK_BYTES + b"\n"
    assert list(texts._blocks(whole + longer + b"c")) == [whole, longer, b"c"]


@pytest.mark.parametrize("text", [b"", b"no line end", b"\n", b"a\n" * 3000 + b"no line end"])
def test_any_text_can_be_split(text):
    assert sum(len(part) for part in texts.split_text(text)) == len(text)


def test_training_windows_start_anywhere_and_the_others_a_context_apart():
    parts = python_docs(50)
    for part, stride in zip(parts, (1, 50, 50), strict=True):
        assert (part.context, part.stride) == (50, stride)
        text = bytes(part.tokens.tolist())
        last = len(part) - 1
        inputs, targets = part[torch.tensor([0, last])]
        assert bytes(inputs[1].tolist()) == text[last * stride : last * stride + 50]
        assert bytes(targets[1].tolist()) == text[last * stride + 1 : last * stride + 51]
        assert len(text) - (last * stride + 51) < stride


def test_the_manual_is_there_with_each_paragraph_once():
    paragraphs = bytes(python_manual().tolist()).split(b"\n\n")
    kept = texts._python_docs_text().split(b"\n\n")
    assert len(kept) == len(set(kept))
    assert set(kept) == set(paragraphs)
    assert kept == sorted(kept, key=paragraphs.index)
    assert sum(len(part) for part in parts_as_bytes(python_docs(8))) == len(texts._python_docs_text())


def test_what_is_held_out_of_the_manual_is_not_in_what_is_trained_on():
    """A third of the held-out text would be, if repeated paragraphs stayed."""

    def share_found(parts, length=128):
        train, _, held_out = parts
        known = windows(train, length)
        starts = range(0, len(held_out) - length, 16)
        return sum(held_out[start : start + length] in known for start in starts) / len(starts)

    assert share_found(parts_as_bytes(python_docs(8))) < 0.05
    assert share_found(texts.split_text(bytes(python_manual().tolist()))) > 0.15


def test_the_digest_names_the_text(monkeypatch):
    digest = python_docs_digest()
    assert re.fullmatch("[0-9a-f]{32}", digest)
    assert python_docs_digest() == digest
    changed = python_manual()
    changed[1000] ^= 1
    monkeypatch.setattr(texts, "python_manual", lambda: changed)
    assert python_docs_digest() != digest


def test_shakespeare_is_downloaded_once_and_split(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as server:
        server.files = {f"plays/{texts.SHAKESPEARE_FILE}": TEXT}
        source = source_of({texts.SHAKESPEARE_FILE: TEXT}, server.url("plays"))
        parts = shakespeare(16, tmp_path, source=source)
        assert parts_as_bytes(parts) == texts.split_text(TEXT)
        assert [part.stride for part in parts] == [1, 16, 16]
        shakespeare(16, tmp_path, source=source)
        assert len(server.asked) == 1


def test_a_damaged_text_is_refused(tmp_path):
    (tmp_path / "made-up").mkdir()
    (tmp_path / "made-up" / texts.SHAKESPEARE_FILE).write_bytes(TEXT[1:])
    with pytest.raises(ValueError, match="damaged or another file"):
        shakespeare(16, tmp_path, source=source_of({texts.SHAKESPEARE_FILE: TEXT}))


def test_a_text_too_short_for_the_context_is_refused(tmp_path):
    (tmp_path / "made-up").mkdir()
    (tmp_path / "made-up" / texts.SHAKESPEARE_FILE).write_bytes(b"short\n")
    with pytest.raises(ValueError, match="no window of 16"):
        shakespeare(16, tmp_path, source=source_of({texts.SHAKESPEARE_FILE: b"short\n"}))
    with pytest.raises(ValueError, match="shorten context"):
        python_docs(10**6)
    with pytest.raises(TypeError, match=r"context is 8\.0"):
        python_docs(8.0)


def test_the_official_source_is_complete():
    assert list(texts.SHAKESPEARE.files) == [texts.SHAKESPEARE_FILE]
    assert re.fullmatch("[0-9a-f]{64}", texts.SHAKESPEARE.files[texts.SHAKESPEARE_FILE])
    assert all(url.startswith("https://") and url.endswith("/") for url in texts.SHAKESPEARE.urls)
