"""What faults around a run cost: kills, bad servers, clocks that jump, caches and disks that can't be written to.

``orthobench study faults`` injects each of `FAULTS`, and prints how many of a kind were injected and survived, and
what was lost: rows, figures or bytes, which must be nothing.
"""

import os
import random
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pandas as pd

from ..data import download
from .goals import Figure
from .killed_runs import COMMANDS, TARGETS, Runs, write_benchmark
from .loopback import serving, source_of
from .stand import differences

COMMAND = COMMANDS["orthobench run -j 2"]
REPETITIONS = 2
STALL_S = 0.2
DISK = "8m"  # of the full one
_JUMPS = """
import random, time
_time, _begin, _random = time.time, time.time(), random.Random({seed})
_jumps = sorted((_random.uniform(0, {within}), _random.choice([-86400.0, -3600.0, 3600.0, 86400.0])) for _ in range(6))
time.time = lambda: _time() + sum(by for after, by in _jumps if _time() - _begin > after)
"""


class Bench:
    """A small benchmark, what an undisturbed run gives, and how long that takes."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.benchmark = self.folder / "benchmark_tiny"
        write_benchmark(self.benchmark)
        start = time.monotonic()
        self.rows = self.runs("undisturbed").finish()
        self.duration_s = time.monotonic() - start

    def runs(self, name):
        """Return runs in a folder of their own."""
        return Runs(self.benchmark, self.folder / name, COMMAND, REPETITIONS)

    def lost(self, rows):
        """Say what rows lack of the undisturbed ones, or have otherwise; "" for nothing."""
        apart = differences(rows, self.rows)
        told = [f"{apart.lost} rows lost, {apart.doubled} doubled"] if apart.lost or apart.doubled else []
        return "; ".join(told + ([f"{apart.count} figures differ"] if apart.count else []))


def killed(bench, name, generator):
    """SIGKILL at a random moment, then the same command again."""
    runs = bench.runs(name)
    left = runs.kill(generator.uniform(0.0, bench.duration_s), generator.choice(TARGETS))
    runs.end_all(left or ())
    return bench.lost(runs.finish())


def server(bench, name, generator):
    """A server that drops the connection, ends too early, stalls, or sends wrong bytes, before it answers well."""
    content = generator.randbytes(300_000)
    kind = generator.choice(["drops", "truncates", "stalls", "sends wrong bytes"])
    with serving() as loopback:
        loopback.files["a/file"] = content
        source = source_of({"file": content}, loopback.url("a"))
        if kind in ("drops", "truncates"):
            loopback.breaks = [0 if kind == "drops" else generator.randrange(1, len(content)) for _ in range(2)]
        elif kind == "stalls":
            stalls = iter([2 * STALL_S])
            loopback.before_the_end = lambda: time.sleep(next(stalls, 0.0))
        else:
            place = generator.randrange(len(content))
            wrong = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
            answers = iter([wrong])
            loopback.before_the_answer = lambda: loopback.files.update({"a/file": next(answers, content)})
        limits, download.TIMEOUT_S = download.TIMEOUT_S, (STALL_S, STALL_S)
        try:
            path = download.fetch(source, "file", bench.folder / name)
        except (ConnectionError, ValueError) as error:
            # It may give up. What it must not do is to leave another file than the right one.
            there = (bench.folder / name / source.name / "file").exists()
            return f"a wrong file is left after {error}" if there else ""
        finally:
            download.TIMEOUT_S = limits
        return "" if path.read_bytes() == content else "wrong bytes were taken"


def clock(bench, name, generator):
    """The wall clock jumps by an hour or a day, forward and back, in every process of the run."""
    runs = bench.runs(name)
    module = runs.folder / "jumps"
    module.mkdir()
    text = _JUMPS.format(seed=generator.randrange(2**32), within=bench.duration_s)
    (module / "sitecustomize.py").write_text(text)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(module), before]))
    try:
        rows = runs.finish()
    finally:
        os.environ["PYTHONPATH"] = before or ""
    strange = rows["time"].dropna()
    if (strange < 0).any() or (strange > 60).any():
        return f"times of {strange.min():.0f} to {strange.max():.0f} s"
    return bench.lost(rows)


def cache(bench, name, generator):
    """No cache can be written to: a file is where its folder should be."""
    runs = bench.runs(name)
    for each in generator.sample(["benchopt_cache", "orthobench_cache"], 1):
        (runs.folder / each).touch()
    process = runs.start()
    process.wait()
    if process.returncode == 2:  # it says so, and runs no cell
        told = (runs.folder / "log.txt").read_text()
        return "" if "error: " in told and not runs.output.exists() else "it ended without a reason"
    return bench.lost(pd.read_parquet(runs.output))


def disk(bench, name, generator):
    """The disk of the results is full: a small one in memory, which needs a name space of our own."""
    runs = bench.runs(name)
    place = runs.folder / "disk"
    place.mkdir()
    fill = generator.randrange(0, 4000)
    script = f"""
        mount -t tmpfs -o size={DISK} tmpfs {place}
        head -c $(( $(df --output=avail -B1 {place} | tail -1) - {fill} )) /dev/zero > {place}/full
        TMPDIR={runs.folder} {sys.executable} -P -m orthobench run {bench.benchmark} -r {REPETITIONS} \\
            --keep-going --no-timeout --no-plot --output {place}/rows > {runs.folder}/told.txt 2>&1
        echo $? > {runs.folder}/code
        ls -A {place} > {runs.folder}/left
    """
    unshare = ["unshare", "--map-root-user", "--mount", "sh", "-c", textwrap.dedent(script)]
    environment = {
        "BENCHOPT_CACHE": str(runs.folder / "benchopt_cache"),
        "ORTHOBENCH_CACHE": str(runs.folder / "orthobench_cache"),
        "ORTHOBENCH_DEVICE": "cpu",
    }
    if subprocess.run(unshare, env=os.environ | environment, check=False).returncode:
        raise NotImplementedError("no name spaces or tmpfs here")
    left = set((runs.folder / "left").read_text().split()) - {"full", "rows.log"}
    if left:
        return f"half-written: {', '.join(sorted(left))}"
    told = (runs.folder / "told.txt").read_text()
    if (runs.folder / "code").read_text().strip() == "2":  # there was no room for a first file
        return "" if "can't be written to" in told else f"it ended without a reason: {told}"
    return bench.lost(pd.read_parquet(runs.folder / "rows.parquet")) or ("" if "Rows: " in told else "nothing was told")


def two(bench, name, generator):
    """Two runs at once with one cache, and one name of a result."""
    runs = bench.runs(name)
    first = runs.start()
    time.sleep(generator.uniform(0.0, bench.duration_s / 2))
    second = runs.start()
    codes = first.wait(), second.wait()
    found = sorted(runs.folder.glob("rows*.parquet"))
    if codes != (0, 0) or len(found) != 2:
        return f"exit codes {codes}, {len(found)} files"
    return "; ".join(filter(None, (bench.lost(pd.read_parquet(path)) for path in found)))


FAULTS = {
    "SIGKILL at a random moment": killed,
    "a server that misbehaves": server,
    "a wall clock that jumps": clock,
    "a cache that can't be written to": cache,
    "a full disk": disk,
    "two runs at once": two,
}


def study(each, seed, names=tuple(FAULTS)):
    """Yield a line for each fault that costs something, then a figure for each kind: what was lost.

    Parameters
    ----------
    each : int
        How many of each kind.
    seed : int
        Of moments, bytes and kinds.
    names : collection of str
        Of `FAULTS`.

    Yields
    ------
    str or Figure
    """
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(folder)
        yield f"undisturbed: {len(bench.rows)} rows in {bench.duration_s:.1f} s"
        for kind in names:
            lost = 0
            for number in range(each):
                name = f"{FAULTS[kind].__name__}_{number}"
                try:
                    told = FAULTS[kind](bench, name, random.Random(f"{seed} {kind} {number}"))
                except NotImplementedError as error:
                    yield f"{kind}: not injected, {error}"
                    break
                finally:
                    shutil.rmtree(bench.folder / name, ignore_errors=True)
                lost += bool(told)
                if told:
                    yield f"{kind} {number}: {told}"
            else:
                yield f"{kind}: {each} injected, {each - lost} survived, {lost} lost"
                yield Figure(f"lost to {kind}", lost, at_most=0.0)


def main(arguments):
    """Print the report; return 1 if something was lost."""
    holds = True
    for line in study(arguments.each, arguments.seed):
        holds &= not isinstance(line, Figure) or line.holds
        print(line.line() if isinstance(line, Figure) else line, flush=True)
    return 0 if holds else 1
