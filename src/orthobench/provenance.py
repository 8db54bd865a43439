"""Where a figure comes from: versions, machine, commit, and a hash of the source."""

import functools
import hashlib
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import torch

from .device import resolve_device

PACKAGE = Path(__file__).resolve().parent
UNKNOWN = "unknown"
# What changes no figure of a cell: who edits it finds every cell in the cache again.
NOT_HASHED = ("report", "runs", "studies")


@functools.cache
def package_hash():
    """Return a hash of the source of ``orthobench``, without `NOT_HASHED`."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE)
        if name.parts[0] not in NOT_HASHED:
            digest.update(f"{name.as_posix()}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@functools.cache
def environment(benchmark_dir):
    """Return the columns ``env_*`` of every row: versions, device, commit and hashes.

    Computed once a process: a row keeps the provenance of the run that computed it.

    Parameters
    ----------
    benchmark_dir : str or pathlib.Path
        The folder of the benchmark, whose repository is asked for its commit.

    Returns
    -------
    dict
        Scalars only. ``unknown`` where something can't be found out, ``none`` where there is nothing.
    """
    device = _device()
    cuda = device is not None and device.type == "cuda"
    commit = _git(benchmark_dir, "rev-parse", "HEAD")
    return {
        "env_python": platform.python_version(),
        "env_benchopt": metadata.version("benchopt"),
        "env_torch": torch.__version__,
        "env_cuda": torch.version.cuda or "none",
        "env_cudnn": str(torch.backends.cudnn.version() or "none"),
        "env_driver": _driver() if cuda else "none",
        "env_host": host(),
        "env_device": "none" if device is None else device.type,
        "env_device_name": torch.cuda.get_device_name(device) if cuda else _processor(),
        "env_threads": torch.get_num_threads(),
        "env_commit": commit or UNKNOWN,
        # Without a commit there is nothing to be clean against.
        "env_dirty": commit is None or _git(benchmark_dir, "status", "--porcelain") != "",
        "env_package": package_hash(),
        "env_lock": _lock_hash(benchmark_dir),
    }


def host():
    """Return a hash of this machine's name: it tells machines apart in published rows, and names none."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _device():
    try:
        return resolve_device()
    except ValueError:  # the cell's own row says so
        return None


def _git(folder, *arguments):
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _lock_hash(benchmark_dir):
    folder = Path(benchmark_dir).resolve()
    for parent in (folder, *folder.parents):
        lock = parent / "requirements.lock"
        if lock.is_file():
            return hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    return "none"


def _driver():
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return UNKNOWN
    return done.stdout.splitlines()[0].strip() if done.returncode == 0 and done.stdout.strip() else UNKNOWN


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or UNKNOWN
