"""FineWeb's shards: read as a plain text would be, never loaded whole, checked to the last byte, and trained on."""

import copy
import math
import os
import re
import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import orthobench.data
from orthobench.data import MappedWindows, Windows, digest, fineweb, map_tokens, shards_for
from orthobench.data.fineweb_files import FINEWEB
from orthobench.harness.training import Trainer, TrainingTask, evaluate_model
from orthobench.models import gpt2
from orthobench.studies.loopback import serving, source_of

ROOT = Path(__file__).resolve().parents[2]
VALIDATION, FIRST, SECOND = "fineweb_val_000000.bin", "fineweb_train_000001.bin", "fineweb_train_000002.bin"
CPU = torch.device("cpu")


def shard(tokens, magic=20240520, version=1, count=None):
    header = np.zeros(256, "<i4")
    header[:3] = magic, version, len(tokens) if count is None else count
    return header.tobytes() + np.asarray(tokens, "<u2").tobytes()


def numbers(length, seed, vocabulary=50257):
    return np.random.default_rng(seed).integers(vocabulary, size=length)


TEXTS = {VALIDATION: numbers(300, 0), FIRST: numbers(1000, 1), SECOND: numbers(650, 2)}
FILES = {name: shard(tokens) for name, tokens in TEXTS.items()}


@pytest.fixture
def folder(tmp_path):
    """A folder of data sets that has the files."""
    (tmp_path / "made-up").mkdir()
    for name, content in FILES.items():
        (tmp_path / "made-up" / name).write_bytes(content)
    return tmp_path


def mapped(path, *texts, context, vocabulary=50257):
    """Windows of texts, each in a file of its own."""
    stretches = []
    for place, tokens in enumerate(texts):
        file = path / f"{place}.bin"
        file.write_bytes(shard(tokens))
        stretches.append(map_tokens(file))
    return MappedWindows(tuple(stretches), context, vocabulary)


def everything(part):
    return part[torch.arange(len(part))]


def expected_windows(texts, context):
    """Inputs and targets, window by window, text by text."""
    windows = [
        text[start : start + context + 1].tolist() for text in texts for start in range(0, len(text) - context, context)
    ]
    return [each[:-1] for each in windows], [each[1:] for each in windows]


@given(
    lengths=st.lists(st.integers(2, 60), min_size=1, max_size=4),
    context=st.integers(1, 20),
    seed=st.integers(0, 1000),
)
@settings(max_examples=150, deadline=None)
def test_the_windows_are_those_of_each_text_one_after_the_other(tmp_path_factory, lengths, context, seed):
    texts = [numbers(length, seed + place) for place, length in enumerate(lengths)]
    folder = tmp_path_factory.mktemp("texts")
    if min(lengths) <= context:
        with pytest.raises(ValueError, match="shorten context"):
            mapped(folder, *texts, context=context)
        return
    part = mapped(folder, *texts, context=context)
    inputs, targets = expected_windows(texts, context)
    assert len(part) == len(inputs)
    order = torch.randperm(len(part), generator=torch.Generator().manual_seed(seed)).repeat(2)
    batch = part[order]
    assert batch[0].tolist() == [inputs[place] for place in order]
    assert batch[1].tolist() == [targets[place] for place in order]
    for side in batch:
        assert (side.dtype, side.device.type, side.is_contiguous()) == (torch.int64, "cpu", True)


def test_one_file_gives_the_windows_of_its_tokens(tmp_path):
    tokens = numbers(500, 3)
    part, plain = mapped(tmp_path, tokens, context=16), Windows(torch.from_numpy(tokens), 16, 16)
    assert len(part) == len(plain)
    for one, other in zip(everything(part), everything(plain), strict=True):
        assert torch.equal(one, other)


def test_no_window_goes_from_a_shard_to_the_next(tmp_path):
    part = mapped(tmp_path, np.full(40, 1), np.full(40, 2), context=13)
    inputs, targets = everything(part)
    assert torch.equal(inputs, targets)
    assert inputs[:, 0].tolist() == [1] * 3 + [2] * 3


def test_the_parts_are_the_train_shards_their_tail_and_the_validation_tokens(folder):
    train, tuning, held_out = fineweb(10, folder, 2, source=source_of(FILES))
    # The second shard has 64 windows, of which a tenth tune.
    assert everything(train)[0].tolist() == expected_windows([TEXTS[FIRST], TEXTS[SECOND][:581]], 10)[0]
    assert everything(tuning)[0].tolist() == expected_windows([TEXTS[SECOND][580:]], 10)[0]
    assert everything(held_out)[0].tolist() == expected_windows([TEXTS[VALIDATION]], 10)[0]
    assert [len(part) for part in (train, tuning, held_out)] == [99 + 58, 6, 29]


def test_with_one_shard_its_tail_tunes_and_the_others_are_not_needed(folder):
    (folder / "made-up" / SECOND).unlink()
    train, tuning, _ = fineweb(10, folder, 1, source=source_of(FILES))
    assert (len(train), len(tuning)) == (90, 9)
    inputs = everything(train)[0].tolist() + everything(tuning)[0].tolist()
    assert inputs == expected_windows([TEXTS[FIRST]], 10)[0]


def test_no_more_than_the_official_tokens_are_held_out(folder, monkeypatch):
    monkeypatch.setitem(fineweb.__globals__, "HELD_OUT_TOKENS", 100)
    held_out = fineweb(10, folder, 1, source=source_of(FILES)).held_out
    assert everything(held_out)[1].flatten().tolist() == TEXTS[VALIDATION][1:101].tolist()


def test_the_official_held_out_tokens_are_the_tracks():
    assert fineweb.__globals__["HELD_OUT_TOKENS"] == 20 * 524_288


@pytest.mark.parametrize("context", [1, 100, 1024, 4096])
def test_as_many_shards_are_asked_for_as_windows_need(context):
    def windows_of(shards):
        in_a_shard = (100_000_000 - 1) // context
        return shards * in_a_shard - in_a_shard // 10

    for shards in (1, 2, 18, 102):
        assert shards_for(windows_of(shards), context) == shards
        assert shards_for(windows_of(shards) + 1, context) == shards + 1
    assert shards_for(1, context) == 1
    assert shards_for(10**11, context) == 103


def test_shards_are_downloaded_once_and_only_those_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as server:
        server.files = {f"web/{name}": content for name, content in FILES.items()}
        source = source_of(FILES, server.url("web"))
        fineweb(10, tmp_path, 1, source=source)
        assert {path for path, _ in server.asked} == {f"web/{VALIDATION}", f"web/{FIRST}"}
        parts = fineweb(10, tmp_path, 2, source=source)
        fineweb(10, tmp_path, 2, source=source)
        assert len(server.asked) == 3
    assert len(parts.train) == 157


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"starts with \[\]: give a file of tokens"),
        (FILES[FIRST][:1000], r"starts with \[20240520, 1\]: give a file of tokens, .* in a header of 256 int32"),
        (shard(TEXTS[FIRST], magic=20240521), r"starts with \[20240521, 1\]: .* which starts with \[20240520, 1\]"),
        (shard(TEXTS[FIRST], version=2), r"starts with \[20240520, 2\]"),
        (np.asarray([20240520, 1], ">i4").tobytes() + bytes(1100), r"starts with \[.*\]: give a file of tokens"),
        (FILES[FIRST][:-2], r"has 3022 bytes, and 1000 tokens by its header: 3024 bytes are expected"),
        (FILES[FIRST][:-1], "has 3023 bytes, and 1000 tokens"),
        (FILES[FIRST] + b"\0", "has 3025 bytes, and 1000 tokens"),
        (shard(TEXTS[FIRST], count=999), "has 3024 bytes, and 999 tokens"),
        (shard([], count=0), "has 1024 bytes, and 0 tokens"),
        (shard([], count=-1), "has 1024 bytes, and -1 tokens"),
    ],
)
def test_a_file_of_another_format_is_named_with_the_remedy(content, message, folder):
    path = folder / "made-up" / FIRST
    path.write_bytes(content)
    source = source_of({**FILES, FIRST: content})  # its checksum is right
    with pytest.raises(ValueError, match=re.escape(str(path)) + " " + message):
        fineweb(10, folder, 1, source=source)


def test_a_token_above_the_vocabulary_is_found_before_a_network_sees_it(folder):
    tokens = TEXTS[FIRST].copy()
    tokens[105] = 50257
    content = shard(tokens)
    (folder / "made-up" / FIRST).write_bytes(content)
    train = fineweb(10, folder, 1, source=source_of({**FILES, FIRST: content})).train
    train[torch.tensor([9, 11])]
    with pytest.raises(ValueError, match=rf"{FIRST} holds token 50257: the vocabulary's are in 0\.\.50256"):
        train[torch.tensor([11, 10])]


def test_the_last_token_of_the_vocabulary_is_allowed(tmp_path):
    part = mapped(tmp_path, np.full(9, 50256), context=4)
    assert everything(part)[0].unique().tolist() == [50256]


@pytest.mark.parametrize("name", [VALIDATION, FIRST, SECOND])
def test_a_damaged_shard_is_refused_and_left_as_it_is(name, folder):
    path = folder / "made-up" / name
    damaged = bytearray(FILES[name])
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match="damaged or another file") as caught:
        fineweb(10, folder, 2, source=source_of(FILES))
    assert str(path) in str(caught.value)
    assert path.read_bytes() == damaged


@pytest.mark.parametrize("name", [VALIDATION, FIRST, SECOND])
def test_a_missing_shard_is_named(name, folder):
    (folder / "made-up" / name).unlink()
    with pytest.raises(ConnectionError, match=name):
        fineweb(10, folder, 2, source=source_of(FILES))


@pytest.mark.parametrize(
    ("context", "shards", "error", "message"),
    [
        (0, 1, ValueError, "context is 0: give an integer >= 1"),
        (10.0, 1, TypeError, "context is 10.0"),
        (10, 0, ValueError, r"shards is 0: give an integer in 1\.\.103"),
        (10, 104, ValueError, "shards is 104"),
        (10, "2", TypeError, "shards is '2'"),
        (300, 1, ValueError, rf"300 tokens of .*{VALIDATION} have no window of 300 and its targets: shorten context"),
        (600, 2, ValueError, rf"{SECOND} has 650 tokens, less than two windows of 600, .*: shorten context"),
        (1000, 1, ValueError, f"{FIRST} has 1000 tokens, less than two windows of 1000"),
        (5000, 1, ValueError, f"{FIRST} has 1000 tokens, less than two windows of 5000"),
    ],
)
def test_arguments_that_cannot_be_are_named(context, shards, error, message, folder):
    with pytest.raises(error, match=message):
        fineweb(context, folder, shards, source=source_of(FILES))


@pytest.mark.parametrize(
    ("indices", "error"),
    [(torch.tensor([0, 6]), IndexError), (torch.tensor([-1]), IndexError), (torch.tensor([1.0]), TypeError),
     (torch.tensor([[1]]), TypeError), (1, TypeError)],
)  # fmt: skip
def test_wrong_indices_are_refused(indices, error, tmp_path):
    part = mapped(tmp_path, np.arange(13), np.arange(13), context=4)
    assert len(part) == 6
    with pytest.raises(error, match="indices"):
        part[indices]


def test_no_indices_give_an_empty_batch(tmp_path):
    inputs, targets = mapped(tmp_path, np.arange(13), context=4)[torch.arange(0)]
    assert inputs.shape == targets.shape == (0, 4)


def test_a_batch_can_be_overwritten_and_the_data_stays(tmp_path):
    part = mapped(tmp_path, np.arange(13), context=4)
    inputs, targets = everything(part)
    expected = targets.clone()
    inputs.fill_(99)
    assert torch.equal(targets, expected)
    targets.fill_(99)
    assert torch.equal(everything(part)[1], expected)


def test_the_tokens_cannot_be_changed_through_the_part(tmp_path):
    part = mapped(tmp_path, np.arange(13), context=4)
    (tokens,) = part.stretches
    with pytest.raises(ValueError, match="read-only"):
        tokens[0] = 5
    with pytest.raises(ValueError, match="WRITEABLE"):
        tokens.setflags(write=True)
    with pytest.raises(AttributeError):
        part.context = 2


def test_a_copy_shares_the_tokens_and_nothing_that_can_be_changed(tmp_path):
    part = mapped(tmp_path, np.arange(40), np.arange(7, 50), context=4)
    expected, before = everything(part), digest(part)
    duplicate = copy.deepcopy(part)
    for own, other in zip(part.stretches, duplicate.stretches, strict=True):
        assert np.shares_memory(own, other)
    assert digest(duplicate) == before
    duplicate.stretches[0].shape = (20, 2)
    object.__setattr__(duplicate, "stretches", duplicate.stretches[1:])
    object.__setattr__(duplicate, "context", 2)
    assert digest(duplicate) != before
    assert digest(part) == before
    assert all(torch.equal(one, other) for one, other in zip(everything(part), expected, strict=True))


def test_to_a_device_leaves_the_tokens_where_they_are(tmp_path):
    part = mapped(tmp_path, np.arange(13), context=4)
    assert part.to("meta") is part


def test_the_digest_is_of_lengths_context_and_tokens(tmp_path):
    texts = numbers(40, 0), numbers(50, 1)
    parts = []
    for place, (some, context) in enumerate(
        [(texts, 4), (texts, 5), (texts[::-1], 4), (texts[:1], 4), ((texts[0], texts[1][:-1]), 4)]
    ):
        (tmp_path / str(place)).mkdir()
        parts.append(mapped(tmp_path / str(place), *some, context=context))
    assert len({digest(part) for part in parts}) == len(parts)
    (tmp_path / "again").mkdir()
    assert digest(mapped(tmp_path / "again", *texts, context=4)) == digest(parts[0])
    for place in (0, 20, 39):
        changed = texts[0].copy()
        changed[place] = (changed[place] + 1) % 50257
        assert digest(mapped(tmp_path / "again", changed, texts[1], context=4)) != digest(parts[0])


def resident_bytes():
    """Memory of this process, shared pages of files included."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="asks Linux for the process's memory")
def test_a_shard_of_four_gigabytes_is_never_read_whole(tmp_path):
    path = tmp_path / "large.bin"
    count = 2**31 - 1
    path.write_bytes(shard([], count=count))
    os.truncate(path, 1024 + 2 * count)
    with open(path, "r+b") as file:
        file.seek(1024 + 2 * (1024 * ((count - 1) // 1024) - 2))
        file.write(np.asarray([11, 12, 13], "<u2").tobytes())  # the last targets
    before = resident_bytes()
    tracemalloc.start()
    part = MappedWindows((map_tokens(path),), 1024, 50257)
    digest(part)
    copy.deepcopy(part)
    last = part[torch.linspace(0, len(part) - 1, 100, dtype=torch.float64).long()][1][-1]
    allocated = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(part) == (count - 1) // 1024
    assert last[-3:].tolist() == [11, 12, 13]
    assert allocated < 2**24
    assert resident_bytes() - before < 2**28


def make_task(parts, **options):
    make_model = partial(gpt2, width=16, depth=1, heads=1, context=8, vocabulary=64)
    return TrainingTask(make_model, parts, batch_size=8, steps=3, target=3.28, **options)


def train(task):
    """Train for three steps; returns the losses at the start and of each step, and the weights."""
    model = task.make_model(0)
    trainer = Trainer(task, model, lambda model: [torch.optim.AdamW(model.parameters(), lr=0.05)], 0, CPU)
    losses = [evaluate_model(model, task.parts.held_out, task.loss, CPU)[0]]
    for _ in range(task.steps):
        trainer.step()
        losses.append(trainer.take_losses())
    trainer.check()
    losses.append(evaluate_model(model, task.parts.held_out, task.loss, CPU)[0])
    return losses, torch.nn.utils.parameters_to_vector(model.parameters())


def small_parts(folder, files, names):
    for name, content in files.items():
        (folder / "made-up" / name).write_bytes(content)
    return fineweb(8, folder, len(names) - 1, source=source_of(files))


def test_training_is_that_on_the_plain_text(folder):
    texts = {name: numbers(400, place, vocabulary=3) for place, name in enumerate((VALIDATION, FIRST))}
    parts = small_parts(folder, {name: shard(tokens) for name, tokens in texts.items()}, list(texts))
    plain = parts._replace(train=Windows(torch.from_numpy(texts[FIRST])[: 8 * len(parts.train) + 1], 8, 8))
    assert len(plain.train) == len(parts.train) == 45
    (losses, weights), (others, other_weights) = train(make_task(parts)), train(make_task(plain))
    assert losses == others
    assert torch.equal(weights, other_weights)
    assert losses[0] == pytest.approx(math.log(64), rel=1e-6)
    assert losses[1] == pytest.approx(math.log(64), rel=1e-6)
    assert losses[-1] < losses[0] - 0.5


def test_micro_batches_change_rounding_alone(folder):
    names = (VALIDATION, FIRST, SECOND)
    files = {name: shard(numbers(400, place, vocabulary=3)) for place, name in enumerate(names)}
    parts = small_parts(folder, files, names)
    (losses, _), (others, _) = train(make_task(parts)), train(make_task(parts, micro_batch_size=3))
    assert losses == pytest.approx(others, rel=1e-4)


def test_the_data_set_of_the_benchmark_trains_gpt2(small_benchmark, folder, monkeypatch):
    files = {name: shard(numbers(200, place)) for place, name in enumerate((VALIDATION, FIRST))}
    for name, content in files.items():
        (folder / "made-up" / name).write_bytes(content)
    monkeypatch.setenv("ORTHOBENCH_DATA", str(folder))
    monkeypatch.setattr(orthobench.data, "fineweb", partial(fineweb, source=source_of(files)))
    names = ("objective.py", "datasets/fineweb.py", "solvers/adamw.py")
    small_benchmark.write({name: (ROOT / "benchmark_muon" / name).read_text() for name in names})
    sizes = "fineweb[batch_size=4,context=8,depth=1,micro_batch_size=2,steps=3,width=8]"
    rows = small_benchmark.run(dataset_names=[sizes], repetitions=2)
    assert rows["objective_status"].tolist() == ["ok"] * 4, rows["objective_message"].tolist()
    assert rows["objective_steps"].tolist() == [0, 3, 0, 3]
    assert rows["objective_target"].unique().tolist() == [3.28]
    for repetition in (rows[:2], rows[2:]):
        first, last = repetition["objective_held_out_loss"]
        assert first == pytest.approx(math.log(50304), rel=1e-5)
        assert last != first
    assert rows["objective_held_out_loss"].iloc[1] != rows["objective_held_out_loss"].iloc[3]


def test_the_defaults_are_the_tracks(small_benchmark):
    from benchopt.benchmark import Benchmark

    names = ("objective.py", "datasets/fineweb.py")
    small_benchmark.write({name: (ROOT / "benchmark_muon" / name).read_text() for name in names})
    (dataset,) = Benchmark(small_benchmark.folder).get_datasets()
    (batch_size,), (context,), (steps,) = (dataset.parameters[name] for name in ("batch_size", "context", "steps"))
    assert batch_size * context == 524_288
    assert shards_for(steps * batch_size, context) == fineweb.__defaults__[1] == 18


def test_the_official_source_is_complete():
    names = [VALIDATION, *(f"fineweb_train_{number:06d}.bin" for number in range(1, 104))]
    assert list(FINEWEB.files) == names
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in FINEWEB.files.values())
    assert len(set(FINEWEB.files.values())) == len(names)
    (url,) = FINEWEB.urls
    assert re.fullmatch(r"https://huggingface\.co/datasets/kjj0/fineweb10B-gpt2/resolve/[0-9a-f]{40}/", url)
