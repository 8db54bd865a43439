"""Careless edits of published rows, one by one: `orthobench verify` names each, and `publish` refuses the file."""

import datetime
import os
import subprocess

import numpy as np
import published
import pyarrow
import pytest
from made_up import ADAMW, DIGITS, TRAINING, TURBO, training_frame
from pyarrow import parquet

from orthobench import cli
from orthobench.report import publish
from orthobench.report.command import main
from orthobench.report.site import render
from orthobench.report.verify import verify

PLACE = "training/one/cpu.parquet"


def rows(commit=published.COMMIT):
    frame = published.provenance(training_frame(solvers=(ADAMW, TURBO), datasets=(DIGITS,), seeds=3))
    return frame.assign(objective_env_commit=commit, objective_env_host="a1b2c3d4")


def written(folder, frame):
    return published.write(folder, {PLACE: frame})


def problems(results, **options):
    return [f"{each.where}: {each.what}" for each in verify(results, **options)[0]]


def put(column, value, places=(2,)):
    """Return the edit that puts a value into a column of some rows."""

    def edit(frame):
        kept = frame[column].astype(object)
        kept.iloc[list(places)] = value
        return frame.assign(**{column: kept.infer_objects()})

    return edit


EDITS = {
    "a negative time": (put("objective_step_time_ms", -1.0), "objective_step_time_ms is outside of 0 to inf"),
    "an accuracy of 1.7": (put("objective_held_out_accuracy", 1.7), "objective_held_out_accuracy is outside of 0 to 1"),
    "a negative share": (put("objective_optimizer_share", -0.1), "objective_optimizer_share is outside of 0 to 1"),
    "an infinite time": (put("objective_optimizer_time_ms", np.inf), "objective_optimizer_time_ms is infinite"),
    "a value unlike its metric": (put("objective_value", 0.123), "objective_value is not held_out_loss in 1 rows"),
    "a loss unlike its value": (
        put("objective_held_out_loss", 0.123),
        "objective_value is not held_out_loss in 1 rows",
    ),
    "no value though it is ok": (put("objective_value", np.nan), "objective_value is no number, though"),
    "a status that there isn't": (put("objective_status", "fine"), "objective_status is none of ok, diverged"),
    "no status": (put("objective_status", None), "objective_status is none of ok, diverged"),
    "a repetition before the first": (put("idx_rep", -1), "idx_rep is no repetition"),
    "half a repetition": (put("idx_rep", 0.5), "idx_rep is no repetition"),
    "two commits": (put("objective_env_commit", "f" * 40), "objective_env_commit has 2 values"),
    "two hosts": (put("objective_env_host", "deadbeef"), "objective_env_host has 2 values"),
    "two numbers of threads": (put("objective_env_threads", 2), "objective_env_threads has 2 values"),
    "uncommitted changes": (put("objective_env_dirty", True), "computed with uncommitted changes"),
    "changes that are a text": (lambda frame: frame.assign(objective_env_dirty="no"), "with uncommitted changes"),
    "a negative point": (put("stop_val", -1), "stop_val is no point"),
    "a negative time of Benchopt's": (put("time", -1.0), "time is no number of seconds"),
    "an endless time of Benchopt's": (put("time", np.inf), "time is no number of seconds"),
    "a list for a point": (lambda frame: frame.assign(stop_val=[[1]] * len(frame)), "stop_val has values that are nei"),
    "a date for a time": (lambda frame: frame.assign(time=datetime.date(2026, 1, 1)), "time is no number of seconds"),
    "bytes for a commit": (lambda frame: frame.assign(objective_env_commit=b"\xff"), "objective_env_commit has values"),
    "a text for a seed": (lambda frame: frame.assign(base_seed="x"), "base_seed has values that are no numbers"),
}


def test_rows_as_they_are_have_no_problem(tmp_path):
    assert problems(written(tmp_path, rows())) == []


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_row_is_named(tmp_path, name):
    edit, told = EDITS[name]
    found = problems(written(tmp_path, edit(rows())))
    assert [each for each in found if told in each], found


def test_a_text_among_numbers_is_named(tmp_path):
    frame = rows()
    column = frame["objective_step_time_ms"].astype(str)
    column.iloc[0] = "fast"
    (told,) = problems(written(tmp_path, frame.assign(objective_step_time_ms=column)))
    assert "objective_step_time_ms is no number in 1 rows, such as fast of AdamW" in told


def test_rows_stored_in_another_way_are_the_same_rows(tmp_path):
    names = dict.fromkeys(("dataset_name", "objective_name", "solver_name", "objective_status"), "category")
    results = written(tmp_path, rows().astype(names).set_index("dataset_name", drop=False))
    assert problems(results) == []
    assert main([str(results / PLACE)]) == 0


def test_rows_in_the_folder_of_another_benchmark_are_named(tmp_path):
    (told,) = problems(published.write(tmp_path, {"privacy/one/cpu.parquet": rows()}))
    assert "privacy/one/cpu.parquet: holds rows of another benchmark, whose folder is results/training" in told


def test_a_solver_with_more_repetitions_than_planned_is_named(tmp_path):
    class Plan:
        dataset, objective, solver, seeds = DIGITS, TRAINING, ADAMW, (0, 1)

    (tmp_path / "benchmark_muon" / "configs").mkdir(parents=True)
    (tmp_path / "benchmark_muon" / "configs" / "cpu.yml").write_text("")
    results = written(tmp_path / "results", rows())
    found = problems(results, root=tmp_path, planned=lambda folder, configuration: [Plan])
    assert any(f"1 solvers have more than planned: {ADAMW} on {DIGITS}" in each for each in found)


def test_lost_changed_and_added_files_are_named(tmp_path):
    results = written(tmp_path, rows())
    path = results / PLACE
    path.with_name("more.parquet").write_bytes(path.read_bytes())
    rows().assign(run_date="2027-01-01").to_parquet(path)
    assert set(publish.compare_sums(results)) == {PLACE, "training/one/more.parquet"}
    path.unlink()
    assert publish.compare_sums(results)[PLACE].startswith("is gone")
    path.mkdir()
    path.with_name("link.parquet").symlink_to(tmp_path / "nowhere")
    found = problems(results)
    assert all(any(name in each for each in found) for name in (PLACE, "more.parquet", "link.parquet"))
    for sums in (b"\xff\n", b"0123  cpu.parquet\n", ("0" * 64 + " *cpu.parquet\n").encode()):
        (results / publish.SUMS).write_bytes(sums)
        assert "which is no sum" in publish.compare_sums(results)[publish.SUMS]
    (results / publish.SUMS).unlink()
    assert list(publish.compare_sums(results)) == [publish.SUMS]


def twice(table):
    return table.append_column("time", table["time"])


GARBAGE = {
    "bytes": lambda path: path.write_bytes(b"PAR1" + bytes(range(256)) + b"PAR1"),
    "half a file": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "nothing": lambda path: path.write_bytes(b""),
    "texts for figures": lambda path: rows().assign(objective_held_out_loss="low").to_parquet(path),
    "lists for names": lambda path: rows().assign(solver_name=[[["a"], ["b"]]] * len(rows())).to_parquet(path),
    "bytes for names": lambda path: rows().assign(dataset_name=b"\xff\xfe").to_parquet(path),
    "infinite figures": lambda path: (
        rows().assign(objective_held_out_loss=np.inf, objective_value=np.inf).to_parquet(path)
    ),
    "no repetitions": lambda path: rows().drop(columns="idx_rep").to_parquet(path),
    "no figures": lambda path: rows().drop(columns="objective_value").to_parquet(path),
    "no rows": lambda path: rows().iloc[:0].to_parquet(path),
    "no columns": lambda path: rows()[[]].to_parquet(path),
    "a column twice": lambda path: parquet.write_table(twice(pyarrow.Table.from_pandas(rows())), path),
    "lists for figures": lambda path: rows().assign(objective_value=[[0.1]] * len(rows())).to_parquet(path),
    "lists of lists for messages": lambda path: (
        rows().assign(objective_message=[[["a"], ["b"]]] * len(rows())).to_parquet(path)
    ),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "texts for repetitions": lambda path: rows().assign(idx_rep="first").to_parquet(path),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_a_file_that_is_wrong_is_named_and_costs_nothing_else(tmp_path, name, capsys):
    results = written(tmp_path, rows())
    bad = results / "training" / "two" / "cpu.parquet"
    bad.parent.mkdir()
    rows().to_parquet(bad)
    GARBAGE[name](bad)
    (results / publish.SUMS).write_text(publish.sums(results))
    found = problems(results)
    assert found
    assert all(each.startswith("training/two/cpu.parquet: ") for each in found)
    files, told = render(results, root=published.ROOT)
    assert [each.where for each in told] == ["training/two/cpu.parquet"]
    assert "training/two/cpu.parquet" in files["index.html"].decode()
    assert "training/one/board" in " ".join(files)

    assert main([str(results / PLACE), str(bad)]) == 1
    printed = capsys.readouterr()
    assert "AdamW" in printed.out
    assert printed.err.startswith(f"error: {bad}: ")
    assert printed.err.count("\n") == 1


@pytest.fixture
def repository(tmp_path):
    """A repository with one commit, and its name."""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run([*git, *command], check=True)
    done = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return tmp_path, done.stdout.strip()


def test_a_commit_that_there_is_not_is_named_and_no_history_is_said(repository, tmp_path_factory):
    root, commit = repository
    assert problems(written(root / "results", rows(commit)), root=root) == []
    (told,) = problems(written(root / "results", rows()), root=root)
    assert f"commit {published.COMMIT[:10]} is not in the history" in told
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    found, notes = verify(written(elsewhere, rows()), root=elsewhere)
    assert found == []
    assert "not checked" in notes[0].what


def test_publish_puts_a_file_in_its_place_and_renews_the_sums(repository, capsys):
    root, commit = repository
    rows(commit).to_parquet(root / "run.parquet")
    (root / "claims.toml").write_text("")  # by which a repository of this suite is known
    results = root / "results"
    results.mkdir()
    command = ["publish", str(root / "run.parquet"), "--machine", "one", "--results", str(results)]
    assert cli.main([*command, "--name", "cpu"]) == 0
    assert (results / PLACE).read_bytes() == (root / "run.parquet").read_bytes()
    assert problems(results, root=root) == []
    kept = (results / publish.SUMS).read_text()
    capsys.readouterr()

    assert cli.main([*command, "--name", "again"]) == 2  # the same cells twice
    assert "publish each cell of a machine once" in capsys.readouterr().err
    put("objective_held_out_accuracy", 1.7)(rows(commit)).to_parquet(root / "run.parquet")
    assert cli.main([*command, "--name", "cpu"]) == 2
    assert "objective_held_out_accuracy is outside of 0 to 1" in capsys.readouterr().err
    rows(commit).to_parquet(root / "run.parquet")
    assert cli.main([*command[:3], "../two", *command[4:]]) == 2
    assert "no name of a folder" in capsys.readouterr().err
    assert (results / publish.SUMS).read_text() == kept
    assert sorted(each.name for each in results.rglob("*") if each.is_file()) == [publish.SUMS, "cpu.parquet"]


def published_as(root, frame, **options):
    frame.to_parquet(root / "run.parquet")
    (root / "results").mkdir(exist_ok=True)
    return publish.publish(root / "run.parquet", root / "results", **{"machine": "one", "name": "cpu", **options})


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        ({"objective_env_dirty": True}, "uncommitted changes"),
        ({"objective_env_commit": "unknown"}, "unknown commit"),
        ({"objective_env_stand": "in process"}, "without ORTHOBENCH_IN_PROCESS"),
    ],
)
def test_publish_refuses_what_verify_would(tmp_path, edit, told):
    with pytest.raises(ValueError, match=told):
        published_as(tmp_path, rows().assign(**edit))
    assert list((tmp_path / "results").iterdir()) == []


@pytest.mark.parametrize("name", ["", ".hidden", "..", "../cpu", "a/b", "/a", "a\nb", "a\0b", "a\u2028b", "a b", "<b>"])
def test_publish_takes_plain_names_alone(tmp_path, name):
    for option in ("machine", "name"):
        with pytest.raises(ValueError, match=f"--{option} .* is no name of a "):
            published_as(tmp_path, rows(), **{option: name})
    assert list((tmp_path / "results").iterdir()) == []


def test_a_file_that_is_wrong_keeps_no_other_from_being_published(tmp_path):
    bad = tmp_path / "results" / "training" / "one" / "bad.parquet"
    bad.parent.mkdir(parents=True)
    bad.write_bytes(b"bad")
    bad.with_stem("loop").symlink_to("loop.parquet")
    published_as(tmp_path, rows())
    wrong = ["training/one/bad.parquet", "training/one/loop.parquet"]
    assert [each.partition(":")[0] for each in problems(tmp_path / "results")] == wrong


def test_publish_knows_a_cell_under_its_earlier_name(tmp_path):
    published_as(tmp_path, rows())
    (tmp_path / "results" / "history.toml").write_text(
        '[[alias]]\nbenchmark = "benchmark_muon"\nsolver = "AdamW"\nnow = "Adam"\nreason = "shorter"\n'
    )
    again = rows()[lambda frame: frame["solver_name"] == ADAMW].assign(solver_name=ADAMW.replace("AdamW", "Adam"))
    with pytest.raises(ValueError, match="publish each cell of a machine once"):
        published_as(tmp_path, again, name="other")


def test_a_publication_that_is_broken_off_is_named_and_can_be_repeated(tmp_path, monkeypatch):
    published_as(tmp_path, rows())
    replace = os.replace

    def broken(source, target):
        if target.name == publish.SUMS:
            raise OSError("no space left")
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", broken)
        with pytest.raises(OSError, match="no space"):
            published_as(tmp_path, rows().assign(run_date="2027-01-01"))
    (told,) = problems(tmp_path / "results")
    assert "is not the file that was published" in told
    assert [each.name for each in (tmp_path / "results").iterdir() if each.is_file()] == [publish.SUMS]
    published_as(tmp_path, rows().assign(run_date="2027-01-01"))
    assert problems(tmp_path / "results") == []
