"""Benchopt's parallel backends, with one difference: a job that dies costs its own cell.

Benchopt gives up the whole run when the process of a cell is killed. ``orthobench run`` hands the cells to the same
engines (joblib's loky, Dask, submitit) through the functions below instead; the cell whose process died ends as a row.
"""

import contextlib
import functools
import importlib
import math
import time
from concurrent.futures import FIRST_COMPLETED, wait

import cloudpickle
from benchopt import parallel_backends
from benchopt.utils.sys_info import get_sys_info
from joblib import effective_n_jobs
from joblib.externals.loky import ProcessPoolExecutor

from ..harness.stand import front
from ..harness.status import ERROR
from ..provenance import UNKNOWN
from .store import checksums

CELL_SECONDS = "cell_seconds"  # a column: how long a cell took with all that it needs
ARRAY_SIZE = 1000  # jobs in a SLURM array; its MaxArraySize is 1001 unless it is set
LOOK_S = 1.0  # between two looks at jobs
PREEMPTED_S = 600.0  # by then a job that is queued again is so
# Where there is no SLURM, submitit starts processes, which it would stop after two minutes.
LOCAL_MINUTES = 7 * 24 * 60
# What the front process can't tell of the machine on which a cell was lost.
_ELSEWHERE = ("env_host", "env_device", "env_device_name", "env_driver", "env_cuda", "env_cudnn")


@contextlib.contextmanager
def replaced(owner, name, value):
    """Put a value in the place of an attribute inside the block."""
    original = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)


@contextlib.contextmanager
def contained_jobs():
    """Make Benchopt dispatch its cells through :func:`dispatch`, and keep a checksum of each, inside the block.

    Raises
    ------
    RuntimeError
        If this version of Benchopt dispatches them in another way.
    """
    if not hasattr(parallel_backends, "_dispatch"):
        raise RuntimeError("orthobench run needs Benchopt 1.10; with another version use `benchopt run`")
    with replaced(parallel_backends, "_dispatch", dispatch), checksums():
        yield


def dispatch(backend, benchmark, run, cells, config):
    """Run cells on a backend, and yield what they give as they end.

    Parameters
    ----------
    backend : str
        ``loky``, ``dask`` or ``submitit``.
    benchmark : benchopt.benchmark.Benchmark
    run : callable
        ``run(**cell)`` computes a cell, and returns rows, key, status and reason.
    cells : iterable of dict
        Benchopt's arguments for each.
    config : dict
        The rest of the file given as ``--parallel-config``, or ``n_jobs`` alone.

    Yields
    ------
    tuple
        As ``run`` returns it; for a cell whose process died or that raised, one row with the status ``error``.
    """
    run = functools.partial(_timed, run)
    if backend == "submitit":
        yield from _on_slurm(benchmark, run, cells, config)
    elif backend == "dask":
        yield from _on_dask(run, cells, config)
    else:
        yield from _on_this_machine(run, cells, effective_n_jobs(config.get("n_jobs") or 1))


def _timed(run, **cell):
    begin = time.monotonic()
    with checksums():
        rows, *others = run(**cell)
    seconds = time.monotonic() - begin
    return ([{**row, CELL_SECONDS: seconds} for row in rows], *others)


def _on_this_machine(run, cells, n_jobs):
    # One executor a process: if a process dies, its cell is known, and no other process is stopped.
    free, running = [_one_process() for _ in range(n_jobs)], {}
    executors = set(free)

    def ended():
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            cell, executor = running.pop(future)
            yield _outcome(future.exception(), future.result, cell)
            if future.exception() is not None:  # it may be broken
                executors.discard(executor)
                executor.shutdown(kill_workers=True)
                executor = _one_process()
                executors.add(executor)
            free.append(executor)

    try:
        for cell in cells:
            if not free:
                yield from ended()
            executor = free.pop()
            running[executor.submit(run, **cell)] = cell, executor
        while running:
            yield from ended()
    finally:
        for executor in executors:
            executor.shutdown(kill_workers=True)


def _one_process():
    # It watches the front process from its start, not from its first cell.
    return ProcessPoolExecutor(max_workers=1, initializer=importlib.import_module, initargs=(front.__name__,))


def _on_dask(run, cells, config):
    import dask
    from benchopt.parallel_backends.dask_backend import check_dask_config
    from distributed import wait as wait_for

    # A cell that killed its worker would kill the next, too. A scheduler elsewhere has a setting of its own.
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}), check_dask_config(config)["client"] as client:
        running = {}

        def ended():
            for future in wait_for(list(running), return_when="FIRST_COMPLETED").done:
                cell = running.pop(future)
                yield _outcome(future.exception(), future.result, cell)

        for cell in cells:
            # No cell waits on a worker, where it would share the fate of the one that runs there.
            while len(running) >= max(1, sum(client.nthreads().values())):
                yield from ended()
            running[client.submit(_unpack, cloudpickle.dumps((run, cell)), pure=False)] = cell
        while running:
            yield from ended()


def _unpack(payload):
    run, cell = cloudpickle.loads(payload)  # noqa: TID251 - the front process's own bytes
    return run(**cell)


def _on_slurm(benchmark, run, cells, config):
    from benchopt.parallel_backends.slurm_executor import get_slurm_executor, get_solver_slurm_config

    settings = {}  # of a solver's jobs: a list of (parameters, cells)
    for cell in cells:
        parameters = get_solver_slurm_config(cell["solver"], config)
        settings.setdefault(repr(sorted(parameters.items())), (parameters, []))[1].append(cell)
    jobs = {}
    for parameters, same in settings.values():
        executor = get_slurm_executor(benchmark, parameters, timeout=same[0]["timeout"])
        if executor.cluster == "local":
            executor.update_parameters(timeout_min=LOCAL_MINUTES)
        for start in range(0, len(same), ARRAY_SIZE):
            with executor.batch():
                chunk = [(executor.submit(run, **cell), cell) for cell in same[start : start + ARRAY_SIZE]]
            jobs |= dict(chunk)
    for job, error in _ended(jobs):
        yield _outcome(error or job.exception(), job.result, jobs[job])


def _ended(jobs):
    """Yield jobs as they end, and None; with an error those that are preempted and not queued again.

    Submitit counts a preempted job as one that runs, for it may be queued again: one that stays preempted is not.
    """
    left, since = list(jobs), {}
    while left:
        for job in tuple(left):
            preempted = job.state.upper().startswith("PREEMPTED") and not job.done()
            since[job] = (since.get(job) or time.monotonic()) if preempted else None
            if preempted and time.monotonic() - since[job] >= PREEMPTED_S:
                error = RuntimeError(f"SLURM preempted job {job.job_id} and did not queue it again")
            elif preempted or not job.done():
                continue
            else:
                error = None
            left.remove(job)
            yield job, error
        if left:
            time.sleep(LOOK_S)


def _outcome(error, result, cell):
    if error is None:
        return result()
    if isinstance(error, KeyboardInterrupt):
        raise error
    return lost(cell, error)


def lost(cell, error):
    """Return what stands for a cell without a result, as ``run`` would: its row says why, and how to retry.

    Parameters
    ----------
    cell : dict
        Benchopt's arguments for the cell.
    error : BaseException
        How the engine says that it was lost.

    Returns
    -------
    tuple
        One row in a list, key, status and reason.
    """
    reason = f"the cell's process ended without a result: {_last_words(error)}"
    meta, objective = cell["meta"], cell["objective"]
    cell["run_context"].attach(objective, cell["dataset"], cell["solver"])
    (figures,) = objective({"status": ERROR, "message": reason})
    figures |= {f"objective_{name}": UNKNOWN for name in _ELSEWHERE}
    row = {**meta, "stop_val": 0, "time": math.nan, **figures, **get_sys_info()}
    return [row], tuple(meta[f"{name}_name"] for name in ("dataset", "objective", "solver")), "error", reason


def _last_words(error):
    # Engines append whole logs; what ended the process stands in the first sentence.
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
