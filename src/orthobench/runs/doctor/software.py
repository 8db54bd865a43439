"""What software is here: Python, packages against the lock, torch, the harness and its stands."""

import os
import platform
import sys
import tempfile
import warnings
from pathlib import Path

from orthobench import __version__
from orthobench.runs.doctor.lines import MOST, Line, few, said, short


def version(root):
    """Say which version this package is of, and from which clone and commit."""
    if root is None:
        return [Line("OrthoBench", __version__)]
    try:
        from orthobench.provenance import UNKNOWN, environment  # imports torch

        found = environment(str(root))
        known = found["env_commit"] != UNKNOWN
    except Exception:
        known = False
    commit = f"commit {found['env_commit'][:7]}{' with changes' * found['env_dirty']}" if known else "unknown commit"
    return [Line("OrthoBench", f"{__version__}, {commit}, in {short(root)}")]


def system():
    """Say which Python, and which system."""
    place = short(Path(sys.prefix))
    return [Line("system", f"Python {platform.python_version()} of {place}; {platform.system()} {platform.release()}")]


def packages(wanted):
    """Say which packages are not as they should be.

    Parameters
    ----------
    wanted : Wanted
    """
    lines = [Line("packages", problem, fails=True) for problem in wanted.problems]
    for name, asked, found in wanted.unmet():
        state = f"{name} is {found}, and must be {asked}" if found else f"{name} is not installed"
        lines.append(Line("packages", f"{state}: {wanted.command([name])}", fails=True))
    if not wanted.pinned:
        return [*lines, Line("packages", "no requirements.lock to compare them with")]
    others, missing = wanted.differing()
    same = len(wanted.pinned) - len(others) - len(missing)
    text = f"{same} of {len(wanted.pinned)} are as in requirements.lock"
    if others:
        text += f"; others: {few(f'{name} {found} (there {pinned})' for name, found, pinned in others)}"
    lines.append(Line("packages", text))
    if missing:
        all_of_them = "pip install --requirement requirements.lock"
        command = wanted.command(missing) if len(missing) <= MOST else all_of_them
        lines.append(Line("", f"not installed: {few(missing)}: {command}"))
    return lines


def torch_build(wanted):
    """Say which torch, for which devices, or how to get one that works.

    Parameters
    ----------
    wanted : Wanted
    """
    try:
        import torch
    except Exception as error:  # a library of its own that can't be loaded is an OSError
        again = wanted.command(["torch"], again=True)
        return [Line("torch", f"can't be imported ({said(error)}): {again}", fails=True)]
    if not torch.version.cuda:
        return [Line("torch", f"{torch.__version__}, built without CUDA")]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        is_there = torch.cuda.is_available()
    reason = "".join(f" ({said(each.message)})" for each in caught[:1])
    return [Line("torch", f"{torch.__version__}, CUDA {torch.version.cuda}{'' if is_there else f', no GPU{reason}'}")]


def harness():
    """Say what keeps the harness from being imported, such as a number of threads that is none; else nothing."""
    try:
        from orthobench.harness import set_threads

        set_threads()  # as at its import
    except Exception as error:
        return [Line("harness", f"can't be imported: {said(error)}", fails=True)]
    return []


def stands():
    """Start what every cell needs, the server that forks the processes of solvers, and say what they are kept from."""
    from orthobench.device import resolve_device
    from orthobench.harness.stand import bench
    from orthobench.harness.status import StandFailed

    try:
        bench.memory_budget(resolve_device("cpu"))
        if bench.in_process():
            return [Line("stands", f"none: {bench.IN_PROCESS_VARIABLE}=1 has solvers run in the bench, to debug them")]
        bench.server()
    except ValueError as error:
        return [Line("stands", said(error), fails=True)]
    except (OSError, StandFailed) as error:
        remedy = f"{bench.IN_PROCESS_VARIABLE}=1 does without, for rows that aren't published"
        return [Line("stands", f"their server can't be started ({said(error)}): {remedy}", fails=True)]
    finally:
        bench.close_server()
    landlock = "Landlock keeps our caches from them" if denies_reading() else "no Landlock keeps our caches from them"
    return [Line("stands", f"their server starts; {landlock}")]


def denies_reading():
    """Return whether the system lets a stand be kept from a folder: a fork tries, for which that can't be undone."""
    from orthobench.harness.stand import confine

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns where there are threads; the fork touches none
        child = os.fork()
        if not child:
            try:
                os._exit(0 if confine.deny_reading([folder]) else 1)
            finally:
                os._exit(1)
        return os.waitpid(child, 0)[1] == 0


def settings():
    """Say which variables of ours are set."""
    found = [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith("ORTHOBENCH_")]
    return [Line("settings", " ".join(found))] if found else []
