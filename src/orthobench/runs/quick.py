"""The quick configurations of every benchmark: a line of progress each, then a screen and a page of what they found.

A benchmark has ``configs/quick.yml``, and ``configs/quick_*.yml`` for what its solvers aren't all run on.
"""

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
from orthobench.report.text import read_frame, together
from orthobench.runs import QUICK

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
    planned = [(folder, name) for folder in folders for name in _configurations(folder)]
    found, broken = {}, []
    with log.open("wb") as file:
        for number, (folder, name) in enumerate(planned, start=1):
            rows, code = _run(folder, name, f"[{number}/{len(planned)}] {folder}", file, log)
            if code:
                broken.append(f"{folder} ended with exit code {code}: see the log.")
            try:
                frame = read_frame(rows) if rows.is_file() else None
            except ValueError as error:
                broken.append(one_line(error))
                continue
            if frame is not None and len(frame):
                found.setdefault(folder, []).append(File(rows, frame))
            elif not code:
                broken.append(f"{folder} has no rows: see the log.")
    results = [_result(folder, files) for folder, files in found.items()]
    page.write_text(single(results, "OrthoBench: a quick run"), encoding="utf-8")
    print()
    for line in screen(results, columns()):
        print(line)
    for line in broken:
        print(f"! {line}")
    print(f"Few steps on small data: how to run all of it is in README.md.\nPage: {page}\nLog:  {log}")
    failed = any((result.frame["objective_status"] != "ok").any() for result in results)
    return 1 if failed or broken else 0


def _configurations(folder):
    """List the names of a benchmark's quick configurations."""
    return sorted(path.stem for path in (ROOT / folder / "configs").glob(QUICK))


def _result(folder, files):
    frame = together([(each.name, each.frame) for each in files])
    return Result(BENCHMARKS[folder], "here", tuple(files), frame)


def _run(folder, name, title, file, log):
    """Run a quick configuration of a benchmark; return its rows' path and the exit code."""
    where = ROOT / folder
    rows, configuration = where / "outputs" / f"{name}.parquet", str(where / "configs" / f"{name}.yml")
    for earlier in where.glob(f"outputs/{name}*.parquet"):
        earlier.unlink()
    planned = _planned(where, configuration)
    begin, start = time.monotonic(), log.stat().st_size
    command = [sys.executable, "-P", "-m", "benchopt", "run", str(where), "--config", configuration]
    command += ["--output", name, "--no-display"]
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


def _planned(where, configuration):
    """Return how many solvers, each on its data sets and objectives, are planned."""
    from orthobench.runs.planned import planned_cells  # loads Benchopt

    return max(1, len(planned_cells(where, configuration)))


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
