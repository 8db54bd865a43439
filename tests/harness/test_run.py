"""`orthobench run` loses nothing, runs what is left, and its exit code says what came of it."""

import errno
import multiprocessing
import os

import pandas as pd
import pytest
from benchopt.results import read_results
from joblib._store_backends import FileSystemStoreBackend
from toys import solver, toy

from orthobench import cli, files
from orthobench.runs import results, run
from orthobench.runs.dispatch import CELL_SECONDS
from orthobench.runs.progress import Progress, _Screen, duration
from orthobench.runs.store import ITEM, SUM, checksums

CELL = results.CELL


@pytest.fixture
def command(small_benchmark, capfd):
    """Return a function that gives ``orthobench run`` on a toy benchmark: its exit code and what it shows."""
    small_benchmark.write(toy("run_once", {"good": ("pass", ""), "fails": ('raise ValueError("planted")', "")}))

    def give(*options):
        capfd.readouterr()
        code = cli.main(["run", str(small_benchmark.folder), "--no-plot", *options])
        return code, capfd.readouterr()

    give.folder = small_benchmark.folder
    return give


def rows(command, name="out"):
    return read_results(command.folder / "outputs" / f"{name}.parquet").set_index(CELL).sort_index()


def test_a_run_tells_what_failed_and_what_is_missing_or_failed_is_run_again(command):
    code, shown = command("-r", "2", "--output", "run.1")
    assert code == 1
    *_, counted, failed, where, log = shown.out.splitlines()
    assert counted.startswith("2 done, 2 failed, 0 left, in ")
    assert failed == "! fails (2 cells): error: ValueError: planted"
    assert where == f"Rows: {command.folder / 'outputs' / 'run.1.parquet'}"
    assert log == f"Log:  {command.folder / 'outputs' / 'run.1.log'}"
    told = (command.folder / "outputs" / "run.1.log").read_text()
    assert "Benchopt is running!" in told
    assert "raise ValueError" in told
    first = rows(command, "run.1")
    assert (first[CELL_SECONDS] > 0).all()

    # The same again, from the cache: nothing is overwritten.
    assert command("-r", "2", "--output", "run.1", "--keep-going")[0] == 0
    again = rows(command, "run.1_1")
    pd.testing.assert_series_equal(again["objective_value"], first["objective_value"])

    # One cell is lost from the file, another damaged in the cache: both are there afterwards.
    path = command.folder / "outputs" / "run.1.parquet"
    whole = read_results(path)
    gone = (whole["solver_name"] == "good") & (whole["idx_rep"] == 1)
    whole[~gone].to_parquet(path)
    for item in command.folder.rglob(ITEM):
        if b"good" in (content := item.read_bytes()):
            item.write_bytes(content[:-40] + bytes([content[-40] ^ 1]) + content[-39:])
    code, shown = command("-r", "2", "--output", "run.1", "--only-missing")
    assert code == 1  # the others still failed
    assert "1 done, 0 failed, 0 left" in shown.out
    assert "is not what was written there" in (command.folder / "outputs" / "run.1.log").read_text()
    pd.testing.assert_series_equal(rows(command, "run.1")["objective_value"], first["objective_value"])
    assert rows(command, "run.1").index.is_unique

    # What failed is mended.
    (command.folder / "solvers" / "fails.py").write_text(solver("fails", "run_once"))
    code, shown = command("-r", "2", "--output", "run.1", "--only-failed")
    assert code == 0
    assert "2 done, 0 failed, 0 left" in shown.out
    mended = rows(command, "run.1")
    assert mended["objective_status"].tolist() == ["ok"] * 4
    assert mended.loc[mended.index.get_level_values("solver_name") == "good", "time"].tolist() == (
        rows(command, "run.1").query("solver_name == 'good'")["time"].tolist()
    )
    code, shown = command("-r", "2", "--output", "run.1", "--only-failed")
    assert code == 0
    assert "0 done, 0 failed, 0 left" in shown.out

    code, shown = command("-r", "3", "--output", "run.1", "--only-missing", "--dry-run")
    assert code == 0
    assert "  good: 1 of 3, " in shown.out
    assert shown.out.splitlines()[-1].startswith("2 cells: about ")
    assert len(rows(command, "run.1")) == 4


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--output", "."], "--output '.' is no name of a file"),
        (["--output", "somewhere/"], "'somewhere/' is no name of a file"),
        (["--only-failed"], "need --output NAME"),
        (["--only-failed", "--output", "other"], "run without --only-failed first"),
        (["-s", "nosuch"], "'nosuch'"),
        (["--nonsense"], "No such option '--nonsense'"),
        (["--output", "a_file/rows"], "can't be written to"),
        (["--only-missing", "--output", "broken"], "no result that can be read"),
        (["--pdb"], "use `benchopt run --pdb`"),
        (["-r", "0"], "-r 0 plans no cell"),
        (["--output", ""], "'' is no name of a file"),
    ],
)
def test_a_run_that_cannot_start_says_why_runs_no_cell_and_leaves_nothing(command, options, told, monkeypatch):
    monkeypatch.chdir(command.folder)
    (command.folder / "a_file").touch()
    (command.folder / "outputs").mkdir()
    (command.folder / "outputs" / "broken.parquet").write_bytes(b"PAR1")
    code, shown = command(*options)
    assert code == 2
    assert shown.err.startswith("error: ")
    assert told in shown.err
    assert len(shown.err.splitlines()) == 1
    assert not shown.out
    assert [path.name for path in (command.folder / "outputs").iterdir()] == ["broken.parquet"]


def test_rows_of_another_seed_are_not_completed(command):
    assert command("-s", "good", "--output", "out")[0] == 0
    code, shown = command("-s", "good", "--output", "out", "--only-missing", "--seed", "5", "-r", "2")
    assert code == 2
    assert "give the same one" in shown.err
    assert len(rows(command)) == 1


def test_a_solver_file_that_cannot_be_imported_has_its_rows_and_a_missing_library_is_told(command):
    for name, line in {
        "torn": "def half(:",
        "wrong": "from orthobench.linalg import nothing",
        "lacks": "import nowhere",
    }.items():
        (command.folder / "solvers" / f"{name}.py").write_text(f"{line}\n{solver(name, 'run_once')}")
    code, shown = command("-s", "good", "-s", "torn", "-s", "wrong", "-s", "lacks", "--output", "out")
    assert code == 1
    found = rows(command).reset_index().set_index("solver_name")["objective_status"].to_dict()
    assert found == {"good": "ok", "torn": "error", "wrong": "error"}
    assert "1 done, 2 failed, 0 left" in shown.out
    assert "! lacks (1 cell): not installed: `orthobench doctor` says what is missing" in shown.out


def test_an_interrupted_run_says_so_and_goes_on_where_it_was(command, monkeypatch):
    ended = Progress.ended

    def interrupts(self, failed, computed):
        ended(self, failed, computed)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "ended", interrupts)
        code, shown = command("-s", "good", "-r", "2", "--output", "out")
        assert code == run.INTERRUPTED
        assert "! interrupted" in shown.out
        assert not (command.folder / "outputs" / "out.parquet").exists()
        # Where there is no cache, what was computed is written.
        code, shown = command("-s", "good", "-r", "2", "--output", "out", "--no-cache")
        assert code == run.INTERRUPTED
        assert "begins anew" in shown.out
        assert len(rows(command)) == 1
    (command.folder / "outputs" / "out.parquet").unlink()
    assert command("-s", "good", "-r", "2", "--output", "out")[0] == 0
    assert len(rows(command)) == 2


# --- parts -----------------------------------------------------------------------------------------------------------

FRAME = pd.DataFrame(
    {"dataset_name": "d", "objective_name": "o", "solver_name": ["a", "b"], "idx_rep": [0, 0], "x": 1.0}
)


def _save(folder, number, begin):
    begin.wait()
    results.save(FRAME.assign(x=float(number)), folder / "out.parquet")


def test_runs_that_end_at_once_lose_nothing(tmp_path):
    context = multiprocessing.get_context("fork")
    begin = context.Barrier(6)
    processes = [context.Process(target=_save, args=(tmp_path, number, begin)) for number in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "out.parquet",
        *(f"out_{number}.parquet" for number in range(1, 6)),
    ]
    assert sorted(read_results(path)["x"].iloc[0] for path in tmp_path.iterdir()) == [0, 1, 2, 3, 4, 5]


def test_what_another_run_added_meanwhile_is_kept(tmp_path):
    path = tmp_path / "out.parquet"
    results.save(FRAME, path)
    results.complete(FRAME.assign(solver_name=["c", "b"], x=2.0), path)
    found = read_results(path).set_index("solver_name")["x"].to_dict()
    assert found == {"a": 1.0, "b": 2.0, "c": 2.0}


def test_completed_rows_are_dated_and_a_link_stays_one(tmp_path):
    real, link = tmp_path / "real.parquet", tmp_path / "out.parquet"
    results.save(FRAME.assign(run_date="2020-01-01"), real)
    link.symlink_to(real)
    results.complete(FRAME.assign(solver_name=["c", "d"]), link)
    assert link.is_symlink()
    dates = read_results(real).set_index("solver_name")["run_date"]
    assert dates[["a", "b"]].tolist() == ["2020-01-01"] * 2
    assert (dates[["c", "d"]] > "2020-01-01").all()


def test_what_is_no_result_is_told_and_an_empty_one_is_completed(tmp_path):
    path = tmp_path / "out.parquet"
    pd.DataFrame({"other": [1]}).to_parquet(path)
    with pytest.raises(ValueError, match="no result of a run, it has no dataset_name"):
        results.read_rows(path)
    pd.DataFrame().to_parquet(path)
    results.complete(FRAME, path)
    assert len(read_results(path)) == 2


def test_a_file_system_without_links_has_free_names_too(tmp_path, monkeypatch):
    def refuses(*_):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(results.os, "link", refuses)
    for name in ("out.parquet", "out_1.parquet", "out_2.parquet"):
        assert results.save(FRAME, tmp_path / "out.parquet") == tmp_path / name
    assert all(len(read_results(path)) == 2 for path in tmp_path.iterdir())


def test_a_name_that_is_too_long_is_told_before_the_first_cell(tmp_path):
    with pytest.raises(OSError, match="File name too long; no cell was run"):
        results.check_writable(tmp_path / f"{'x' * 250}.parquet")


def test_rows_that_are_elsewhere_are_told_with_why(command, monkeypatch, tmp_path):
    (tmp_path / "other").mkdir()
    settle = files.settle

    def no_room(path):
        if path.parent == command.folder / "outputs":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        settle(path)

    monkeypatch.setattr(results, "settle", no_room)
    monkeypatch.setattr(results.tempfile, "gettempdir", lambda: str(tmp_path / "other"))
    code, shown = command("-s", "good", "--output", "out")
    assert code == 0
    assert f"! {command.folder / 'outputs' / 'out.parquet'} can't be written: move the rows there" in shown.out
    assert f"Rows: {tmp_path / 'other' / 'out.parquet'}" in shown.out


def test_a_run_goes_on_when_nobody_looks_any_more():
    read, write = os.pipe()
    os.close(read)
    screen = _Screen(os.fdopen(write, "w", buffering=1))
    progress = Progress(2, screen)
    progress.show(end=True)
    print("more", file=screen, flush=True)
    assert not screen.isatty()


@pytest.mark.parametrize("writes", [results.save, results.complete])
def test_a_full_disk_leaves_no_half_written_file_and_no_row_behind(tmp_path, monkeypatch, capsys, writes):
    full, other = tmp_path / "full", tmp_path / "other"
    full.mkdir(), other.mkdir()
    settle = files.settle

    def no_room(path):
        if path.parent == full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        settle(path)

    monkeypatch.setattr(results, "settle", no_room)
    monkeypatch.setattr(results.tempfile, "gettempdir", lambda: str(other))
    path = writes(FRAME, full / "out.parquet")
    assert path == other / "out.parquet"
    assert len(read_results(path)) == 2
    assert [each.name for each in full.iterdir() if each.suffix != ".lock"] == []
    assert f"No space left on device): the rows are in {path}" in capsys.readouterr().out
    monkeypatch.setattr(results.tempfile, "gettempdir", lambda: str(full))
    with pytest.raises(OSError, match="make room, and give the same command again"):
        writes(FRAME, full / "out.parquet")


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("run.1", "run.1.parquet"), ("cpu", "cpu.parquet"), ("cpu.csv", "cpu.csv"), ("a.parquet", "a.parquet")],
)
def test_a_result_has_the_name_that_was_asked_for(tmp_path, name, wanted):
    assert results.result_path(tmp_path, name) == tmp_path / wanted
    assert results.result_path(tmp_path, str(tmp_path / "x" / name)) == tmp_path / "x" / wanted


def test_every_flipped_bit_in_a_cached_cell_is_noticed(tmp_path):
    store = FileSystemStoreBackend()
    store.configure(str(tmp_path), verbose=0)
    cell = ("function", "arguments")
    item = tmp_path.joinpath(*cell, ITEM)
    with checksums():
        store.dump_item(cell, [{"value": 0.125}], verbose=0)
        assert store.contains_item(cell)
        content = item.read_bytes()
        for place in range(len(content)):
            item.write_bytes(content[:place] + bytes([content[place] ^ (1 << place % 8)]) + content[place + 1 :])
            assert not store.contains_item(cell)
        store.dump_item(cell, [{"value": 0.25}], verbose=0)  # computed again
        assert store.contains_item(cell)
    item.write_bytes(content)
    assert store.contains_item(cell)  # Benchopt's own look
    item.with_name(SUM).unlink()
    with checksums():
        assert store.contains_item(cell)  # as `benchopt run` leaves it


def test_failures_of_a_kind_are_one_line():
    told = {("d", "o", "A[x=1]", seed): f"error: it broke | retry: benchopt run -f {seed}" for seed in range(3)}
    told |= {("d", "o", f"B{number}", 0): "timeout: too long" for number in range(12)}
    lines = run.grouped(told)
    assert lines[0] == "A (3 cells): error: it broke"
    assert lines[1] == "B0 (1 cell): timeout: too long"
    assert lines[-1] == "and 3 kinds of failures more"
    assert len(lines) == run.SHOWN + 1


@pytest.mark.parametrize(
    ("seconds", "told"), [(0, "0 s"), (99, "99 s"), (100, "2 min"), (3599, "1 h 0 min"), (7500, "2 h 5 min")]
)
def test_durations(seconds, told):
    assert duration(seconds) == told
