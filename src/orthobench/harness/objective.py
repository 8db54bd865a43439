"""The base of every benchmark's objective: contains failures, records provenance, keys the cache."""

import math
import os
import shlex

import torch
from benchopt import BaseObjective

from ..device import requested_device
from ..provenance import environment, package_hash
from .processes import shared, world_size
from .stand import thin
from .status import OK, Diverged
from .strict import contain
from .unsaved import unwrap

# Hyper-parameters are chosen on the second.
PARTS = ("held_out", "tuning")

# Benchopt imports the objective first, in every process: from then on, solvers' files are read and not run.
thin.install()


class Objective(BaseObjective):
    """Turns whatever a solver returns, or how it failed, into one row.

    A subclass implements ``set_data``, ``get_objective`` and :meth:`evaluate`. Every row has ``value``, ``status``,
    ``message``, ``peak_memory_bytes`` and ``env_*``; a failed row has NaN for all other metrics.
    """

    min_benchopt_version = "1.10"
    budget_s = None
    _identity = None

    def evaluate(self, **result):
        """Compute the metrics of a result that came through without a failure.

        Parameters
        ----------
        **result
            What the solver's ``result`` returned, `Unsaved` wrappers taken off.

        Returns
        -------
        dict
            Python scalars; ``value`` among them. It may hold ``status`` and ``message`` (say, ``refuted`` with the
            figures that refute). NaN where a metric doesn't apply.

        Raises
        ------
        Exception
            Whatever is raised becomes the row's status and message.
        """
        raise NotImplementedError

    def evaluate_result(self, status=OK, message="", peak_memory_bytes=math.nan, stand="none", **result):
        """Return one row, whatever happened: see the class."""
        figures = {}
        if status == OK:
            status, message, figures = shared(lambda: self._evaluated(result))
        if status != OK:
            message = f"{message} | retry: {self.retry_command()}"
        return {
            "value": math.nan,
            **figures,
            "peak_memory_bytes": peak_memory_bytes,
            "status": status,
            "message": message,
            **environment(str(self._benchmark_dir)),
            "env_processes": world_size(),
            "env_stand": stand,
        }

    def _evaluated(self, result):
        try:
            figures = checked_figures(self.evaluate(**{name: unwrap(value) for name, value in result.items()}))
        except BaseException as error:
            return *contain(error), {}
        return figures.pop("status", OK), figures.pop("message", ""), figures

    def part_of(self, task):
        """Return the part of a task's data that metrics are of, by the parameter ``part``."""
        if self.part not in PARTS:
            raise ValueError(f"part={self.part!r}: expected {' or '.join(PARTS)}")
        return getattr(task.parts, self.part)

    def set_budget(self, seconds):
        """Note the time budget of this cell: with another one, its points must be computed again."""
        self.budget_s = seconds

    def retry_command(self):
        """Return the command that computes this cell again."""
        context = self._run_context
        # The root benchmark is the folder that holds the project.
        folder = "." if (self._benchmark_dir / "pyproject.toml").is_file() else self._benchmark_dir.name
        options = ["-o", context.objective_name, "-d", context.dataset_name, "-f", context.solver_name]
        options += ["-r", str((context.repetition or 0) + 1)]
        if context.base_seed not in ("", "0"):
            options += ["--seed", context.base_seed]
        return shlex.join(["benchopt", "run", folder, *options])

    # Benchopt pickles an objective into the key of its cache, and sends it so to its workers, which must keep the
    # front process's key.
    def _get_state(self):
        return {"identity": self._identity or cache_identity(), "budget_s": self.budget_s}

    def __setstate__(self, state):
        self._identity = state["identity"]
        self.budget_s = state["budget_s"]


def checked_figures(figures):
    """Return ``figures`` if they can be stored and the monitored value is a number.

    Raises
    ------
    TypeError
        If a figure isn't a Python scalar: a tensor would make the result file unreadable.
    Diverged
        If ``value`` is NaN or infinite although the status is ``ok``.
    """
    for name, figure in figures.items():
        if not isinstance(figure, bool | int | float | str):
            raise TypeError(f"metric {name!r} is a {type(figure).__name__}: return a Python number, such as float(x)")
    if figures.get("status", OK) == OK and not math.isfinite(figures["value"]):
        raise Diverged(f"the objective's value is {figures['value']}")
    return figures


def cache_identity():
    """Return what the cache key must hold besides Benchopt's own: code, torch, device, threads, processes, stands."""
    return {
        "package": package_hash(),
        "torch": torch.__version__,
        "device": requested_device(),
        "threads": torch.get_num_threads(),
        "processes": world_size(),
        "in process": os.environ.get("ORTHOBENCH_IN_PROCESS", "0"),
    }
