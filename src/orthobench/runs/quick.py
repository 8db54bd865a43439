"""The quick configuration of every benchmark: a line of progress each, then a screen and a page of what they found."""

import re
import subprocess
import sys
import time
from pathlib import Path

from orthobench.report.benchmarks import BENCHMARKS, ROOT
from orthobench.report.page import one_line
from orthobench.report.screen import screen
from orthobench.report.site.results import File, Result
from orthobench.report.site.single import single
from orthobench.report.terminal import columns
from orthobench.report.text import read_frame

NAME = "quick"
# What Benchopt writes of a solver, when it is through with it on a data set.
_THROUGH = re.compile(rb"\|--[^\r\n]*?:\S*\s+(?:\S*(?:done|diverged|error|interrupted|skip|not installed))")
_BAR = 20


def run(folders=None, out=None):
    """Run them, one after the other, and print what they found.

    Parameters
    ----------
    folders : list of str, optional
        Of benchmarks, as `BENCHMARKS` has them; by default all.
    out : pathlib.Path, optional
        The folder of the page and the log; by default ``outputs/`` of the repository.

    Returns
    -------
    int
        0, or 1 where a cell failed or a benchmark did not end.

    Raises
    ------
    ValueError
        If there is no such benchmark.
    """
    folders = list(dict.fromkeys(Path(each).as_posix() for each in folders or BENCHMARKS))  # as a shell completes them
    unknown = [each for each in folders if each not in BENCHMARKS]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no benchmark: choose of {', '.join(BENCHMARKS)}.")
    out = Path(out) if out else ROOT / "outputs"
    out.mkdir(parents=True, exist_ok=True)
    log, page = out / f"{NAME}.log", out / f"{NAME}.html"
    results, broken = [], []
    with log.open("wb") as file:
        for number, folder in enumerate(folders, start=1):
            rows, code = _run(folder, f"[{number}/{len(folders)}] {folder}", file, log)
            if code:
                broken.append(f"{folder} ended with exit code {code}: see the log.")
            try:
                frame = read_frame(rows) if rows.is_file() else None
            except ValueError as error:
                broken.append(one_line(error))
                continue
            if frame is not None and len(frame):
                results.append(Result(BENCHMARKS[folder], "here", (File(rows, frame),), frame))
            elif not code:
                broken.append(f"{folder} has no rows: see the log.")
    page.write_text(single(results, "OrthoBench: a quick run"), encoding="utf-8")
    print()
    for line in screen(results, columns()):
        print(line)
    for line in broken:
        print(f"! {line}")
    print(f"Few steps on small data: how to run all of it is in README.md.\nPage: {page}\nLog:  {log}")
    failed = any((result.frame["objective_status"] != "ok").any() for result in results)
    return 1 if failed or broken else 0


def _run(folder, title, file, log):
    """Run a benchmark's quick configuration; return its rows' path and the exit code."""
    where = ROOT / folder
    rows = where / "outputs" / f"{NAME}.parquet"
    for earlier in where.glob(f"outputs/{NAME}*.parquet"):
        earlier.unlink()
    planned = _planned(where)
    begin, start = time.monotonic(), log.stat().st_size
    configuration = str(where / "configs" / f"{NAME}.yml")
    command = [sys.executable, "-P", "-m", "benchopt", "run", str(where), "--config", configuration]
    command += ["--output", NAME, "--no-display"]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)
    try:
        while process.poll() is None:
            _show(title, _through(log, start) / planned, time.monotonic() - begin)
            time.sleep(0.5)
    except BaseException:
        process.terminate()
        process.wait()
        raise
    _show(title, 1.0, time.monotonic() - begin, end="\n")
    return rows, process.returncode


def _planned(where):
    """Return how many solvers, each on its data sets and objectives, are planned."""
    from orthobench.runs.planned import planned_cells  # loads Benchopt

    return max(1, len(planned_cells(where, where / "configs" / f"{NAME}.yml")))


def _through(log, start):
    with log.open("rb") as file:
        file.seek(start)
        return len(_THROUGH.findall(file.read()))


def _show(title, share, seconds, end=""):
    """Write a line of progress over the one before; without a terminal only the last one."""
    share = min(share, 1.0)
    if end:
        told = f"{seconds:.0f} s"
    elif not sys.stdout.isatty():
        return
    else:
        told = f"{seconds / share * (1 - share):.0f} s left" if share > 0.05 else ""
    bar = "#" * round(share * _BAR)
    print(f"\r{title:<32}{bar:-<{_BAR}} {100 * share:3.0f} % {told:<12}", end=end, flush=True)
