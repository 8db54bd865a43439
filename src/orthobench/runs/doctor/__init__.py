"""`orthobench doctor`: what is here, what each benchmark can run here, what is missing and the command that gets it.

Each part of the screen is found out by itself: one that can't be says so in its line, and the others still come.
Nothing is imported before it is looked for, since what is broken may be a package.
"""

import contextlib

from orthobench.report.repository import find_root
from orthobench.report.terminal import columns
from orthobench.runs.doctor import benchmarks, folders, machine, software
from orthobench.runs.doctor.lines import Line, attempt, part
from orthobench.runs.doctor.packages import Wanted


def run():
    """Print what is found, on one screen.

    Returns
    -------
    int
        0, or 1 if `make run` would fail in this environment.
    """
    width, failing = columns(), 0
    for line in examine():
        print(*line.printed(width), sep="\n", flush=True)
        failing += line.fails
    if failing:
        print(f"`make run` would fail here: mend what has an exclamation mark ({failing}).")
        return 1
    print("`make run` can run here.")
    return 0


def examine():
    """Yield each `Line` of what is found, once it is."""
    root = None
    with contextlib.suppress(FileNotFoundError):
        root = find_root()
    wanted = Wanted(root)
    yield from part("OrthoBench", software.version, root)
    yield from part("system", software.system)
    if root is None:
        text = "neither this package nor this folder is in a clone of OrthoBench: get one, and work there"
        yield Line("clone", text, fails=True)
    yield from part("packages", software.packages, wanted, fails=True)
    torch = part("torch", software.torch_build, wanted)
    yield from torch
    harness = [] if _failing(torch) else part("harness", software.harness)
    yield from harness
    works = not _failing([*torch, *harness])
    if works:
        yield from part("devices", machine.devices)
    yield from part("threads", machine.threads)
    if works:
        yield from part("stands", software.stands)
    yield from part("settings", software.settings)
    found = attempt(benchmarks.look, root) if works and root is not None else {}
    yield from part("folders", folders.lines, root, {} if isinstance(found, Exception) else found)
    if not works:
        yield Line("benchmarks", "not looked at: they need what is marked above")
    elif root is not None:
        yield from part("benchmarks", benchmarks.lines, found, wanted, fails=True)


def _failing(lines):
    return any(line.fails for line in lines)
