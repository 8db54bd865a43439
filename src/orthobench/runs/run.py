"""``orthobench run``: `benchopt run` that loses nothing, says how far it is, and ends with what came of it.

Benchopt plans and computes the cells, reads its options and draws its pages. What is here is around that: which of the
cells are run, where their rows go, the line of progress, the exit code.
"""

import contextlib
import signal
import sys
import threading
import traceback
from collections import Counter

import click
import pandas as pd
from benchopt import runner
from benchopt.cli import benchopt

from ..provenance import host
from ..report.names import family
from ..report.page import one_line
from ..report.terminal import columns, cut
from . import results
from .dispatch import CELL_SECONDS, contained_jobs, replaced
from .planned import plan
from .progress import Log, Progress, duration

RETRY = " | retry: "  # what follows it in a message is a command
INTERRUPTED = 130  # as a shell has it
STATUS, MESSAGE, HOST = "objective_status", "objective_message", "objective_env_host"
SKIP, NOT_RUN = "skip", "not run yet"  # as Benchopt has them
SHOWN = 10  # kinds of failures at the end


def main(arguments, options):
    """Run a benchmark.

    Parameters
    ----------
    arguments : argparse.Namespace
        Of `orthobench.runs.options.parser`.
    options : list of str
        What ``benchopt run`` takes.

    Returns
    -------
    int
        0 if no cell failed or was lost, or with ``--keep-going``; 1 otherwise; 2 if the run could not start, 130 if it
        was interrupted.
    """
    run = Run(arguments)
    with run.log, contained_jobs(), replaced(runner, "_run_benchmark", run.start), terminated_as_interrupted():
        try:
            benchopt(["run", *options], prog_name="orthobench", standalone_mode=False)
        except (KeyboardInterrupt, click.exceptions.Abort):
            run.interrupted = True
        except SystemExit as end:
            run.code = end.code or 0
        except Exception as error:  # whatever is wrong with options, files of the benchmark, or data
            run.problem = one_line(error.format_message() if isinstance(error, click.ClickException) else error)
            traceback.print_exc()  # to the log
    return run.end()


@contextlib.contextmanager
def terminated_as_interrupted():
    """Have SIGTERM, by which clusters and supervisors end a run, do what an interrupt does, inside the block."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Run:
    """What becomes of the cells of one run.

    Parameters
    ----------
    arguments : argparse.Namespace
        Of `orthobench.runs.options.parser`.
    """

    def __init__(self, arguments):
        self.arguments, self.log = arguments, Log()
        self.progress = self.path = self.saved = self.page = None
        self.code, self.problem, self.interrupted = 0, "", False
        self.planned, self.wanted, self.begun = [], set(), set()
        self.without = {}  # by data set, objective and solver: why there are no rows
        self.earlier, self.frame, self.rows = pd.DataFrame(), pd.DataFrame(), []
        self.completes = arguments.only_missing or arguments.only_failed
        self.cached = True

    # --- in the place of parts of Benchopt's runner ------------------------------------------------------------------

    def start(self, benchmark, solvers, forced_solvers, *, datasets, objectives, n_repetitions, output_file, **options):
        """Plan the cells, and hand them to Benchopt's runner."""
        if options.get("pdb"):
            raise ValueError("--pdb needs the terminal, which this command keeps: use `benchopt run --pdb`")
        if self.completes and output_file == "None":
            raise ValueError("--only-missing and --only-failed need --output NAME: the result that they complete")
        repetitions = 1 if n_repetitions is None else n_repetitions
        if repetitions < 1:
            raise ValueError(f"-r {repetitions} plans no cell: give 1 or more repetitions")
        # Not `get_output_folder`, which makes it.
        self.path = results.result_path(benchmark.benchmark_dir / "outputs", output_file)
        self.cached = not benchmark.no_cache
        self.planned = plan(datasets, objectives, solvers, repetitions)
        self.earlier = self._read_earlier(benchmark.seed)
        self.wanted = self._choose()
        if self.arguments.dry_run:
            self._show_plan()
            return 0, None
        results.check_writable(self.path)
        self.log.to(self.path.with_suffix(".log"))
        installed = [cell for each in self.planned if each.installed for cell in each.cells() if cell in self.wanted]
        self.progress = Progress(len(installed), self.log.screen)
        self.progress.show()
        with (
            replaced(runner, "parallel_run", self._watched(runner.parallel_run)),
            replaced(runner, "save_results", self._save),
        ):
            code, path = original_run(
                benchmark,
                solvers,
                forced_solvers,
                datasets=datasets,
                objectives=objectives,
                n_repetitions=n_repetitions,
                output_file=str(self.path),
                **options,
            )
        # As Benchopt names it, if it has drawn one.
        self.page = path and path.with_name(f"{benchmark.name}_{path.stem}.html")
        # Benchopt's code is 1 where there are no rows; that there are none to add is no failure.
        return (code if self.begun else 0), path

    def _watched(self, original):
        def parallel_run(benchmark, run, cells, config, collect=False):
            for rows, key, status, reason, cached in original(benchmark, run, self._chosen(cells), config, collect):
                self.rows += rows
                if not rows:
                    self.without[key] = status
                if status in (SKIP, NOT_RUN):
                    self.progress.left_out()
                else:
                    failed = not rows or any(row.get(STATUS, "ok") != "ok" for row in rows)
                    self.progress.ended(failed, not cached)
                yield rows, key, status, reason, cached

        return parallel_run

    def _chosen(self, cells):
        for cell in cells:
            meta = cell["meta"]
            identity = tuple(meta[name] for name in results.CELL)
            if identity in self.wanted:
                self.begun.add(identity)
                yield {**cell, "force": cell["force"] or self.arguments.only_failed}

    def _save(self, frame, path):
        self.frame = frame
        self.saved = (results.complete if self.completes else results.save)(frame, self.path)
        return self.saved

    # --- which cells -------------------------------------------------------------------------------------------------

    def _read_earlier(self, seed):
        if self.arguments.only_failed and not self.path.exists():
            raise ValueError(f"{self.path} is not there: run without --only-failed first")
        frame = results.read_rows(self.path) if self.completes and self.path.exists() else pd.DataFrame()
        if frame.empty:
            return frame
        seeds = sorted(frame["base_seed"].dropna().unique()) if "base_seed" in frame else [seed]
        if list(map(str, seeds)) != [str(seed)]:
            told = ", ".join(map(str, seeds))
            raise ValueError(f"{self.path} has rows of --seed {told}, and this run has {seed}: give the same one")
        return frame

    def _choose(self):
        cells = {cell for each in self.planned for cell in each.cells()}
        if self.arguments.only_failed:
            return cells & set(failures(self.earlier))
        return cells - cells_of(self.earlier)

    # --- what is told ------------------------------------------------------------------------------------------------

    def _show_plan(self):
        seconds = times(self.path.parent)
        total, unknown = 0.0, 0
        there = cells_of(self.earlier)
        heading = None
        for each in self.planned:
            if (each.dataset, each.objective) != heading:
                heading = each.dataset, each.objective
                self._tell(f"{each.dataset} | {each.objective}")
            left = [cell for cell in each.cells() if cell in self.wanted]
            if not each.installed:
                told = "not installed"
            elif not left:
                told = "nothing to run"
            else:
                one = estimate(seconds, each)
                unknown += len(left) * (one is None)
                total += len(left) * (one or 0.0)
                again = f" ({len(there & set(left))} again)" if there & set(left) else ""
                told = f"{len(left)} of {len(each.seeds)}{again}" + (f", {duration(one)} each" if one else "")
            self._tell(f"  {each.solver}: {told}")
        cells = sum(cell in self.wanted for each in self.planned if each.installed for cell in each.cells())
        told = f"about {duration(total)} one after the other" if unknown < cells else "no earlier rows tell how long"
        if 0 < unknown < cells:
            told += f", and {unknown} of which no earlier rows tell how long"
        self._tell(f"{cells} cells: {told}; less for what the cache has")

    def _tell(self, line):
        print(line, file=self.log.screen, flush=True)

    def end(self):
        """Say what came of the run; return the exit code."""
        if self.progress is not None:
            self.progress.show(end=True)
        if self.problem and not self.begun:
            print(f"error: {self.problem}", file=sys.stderr)
            return 2
        if self.arguments.dry_run:
            return self.code
        if self.rows and self.frame.empty and (self.completes or not self.cached):  # it ended early
            try:
                self._save(pd.DataFrame(self.rows), self.path)
            except OSError as error:
                self.problem = self.problem or one_line(error)
        frame = results.merged(self.earlier, self.frame)
        lost = self._lost()
        told = failures(frame) | lost
        for line in grouped(told):
            self._tell(cut(f"! {line}", columns()))
        others = set(failures(frame)) - {cell for each in self.planned for cell in each.cells()}
        if others:
            self._tell(f"! {len(others)} of these are cells of {self.path.name} that this command does not plan")
        if self.problem:
            self._tell(f"! the run ended early: {self.problem}")
        if self.interrupted:
            self._tell(
                "! interrupted: finished cells are in the cache, and the same command goes on from there"
                if self.cached
                else "! interrupted: with --no-cache, the same command begins anew"
            )
        if self.saved and self.saved.resolve().parent != self.path.resolve().parent:
            self._tell(f"! {self.path} can't be written: move the rows there when there is room")
        if self.saved or (len(self.earlier) and not self.begun):
            self._tell(f"Rows: {self.saved or self.path}")
        if self.page and self.page.exists():
            self._tell(f"Page: {self.page}")
        if self.log.problem:
            self._tell(f"! the log is not whole: {self.log.problem}")
        self._tell(f"Log:  {self.log.path}")
        if self.interrupted:
            return INTERRUPTED
        if self.problem:
            return 1
        return 0 if self.arguments.keep_going else int(bool(told or self.code))

    def _lost(self):
        rows = cells_of(self.frame)
        lost = {}
        for each in self.planned:
            for cell in each.cells():
                why = self.without.get(cell[:3], "no rows, see the log")
                if cell not in self.wanted or cell in rows or why == SKIP:
                    continue
                if not each.installed:
                    lost[cell] = "not installed: `orthobench doctor` says what is missing"
                elif cell in self.begun and not self.interrupted:
                    lost[cell] = why
        return lost


original_run = runner._run_benchmark


def cells_of(frame):
    """Return the set of cells that a frame has rows of."""
    return set(frame[results.CELL].itertuples(index=False, name=None)) if len(frame) else set()


def failures(frame):
    """Map cells with another status than ``ok`` to their status and message."""
    if STATUS not in frame:
        return {}
    bad = frame[frame[STATUS].fillna("ok") != "ok"]  # Benchopt's own rows have none
    messages = bad[MESSAGE] if MESSAGE in bad else [""] * len(bad)
    cells = bad[results.CELL].itertuples(index=False, name=None)
    return {cell: f"{status}: {text}" for cell, status, text in zip(cells, bad[STATUS], messages, strict=True)}


def grouped(told):
    """List lines for what happened to cells: one for each solver and reason."""
    groups = Counter((family(cell[2]), one_line(reason).split(RETRY)[0]) for cell, reason in told.items())
    lines = [f"{name} ({count} cell{'s' * (count != 1)}): {reason}" for (name, reason), count in groups.items()]
    more = [f"and {len(lines) - SHOWN} kinds of failures more"] if len(lines) > SHOWN else []
    return lines[:SHOWN] + more


def times(folder):
    """Return how long cells took on this machine, of all result files in a folder: seconds by data set and solver."""
    found = []
    for path in sorted(folder.glob("*.parquet")):
        try:
            frame = results.read_rows(path)
        except ValueError:
            continue
        if CELL_SECONDS in frame and HOST in frame:
            own = frame[frame[CELL_SECONDS].notna() & (frame[HOST] == host())]
            found.append(own.drop_duplicates(results.CELL)[["dataset_name", "solver_name", CELL_SECONDS]])
    return pd.concat(found, ignore_index=True) if found else None


def estimate(seconds, planned):
    """Return the median of what is most like a cell: the same, its solver, or any; None if there is nothing."""
    if seconds is None or seconds.empty:
        return None
    solver = seconds["solver_name"].map(family) == family(planned.solver)
    dataset = seconds["dataset_name"].map(family) == family(planned.dataset)
    exact = (seconds["dataset_name"] == planned.dataset) & (seconds["solver_name"] == planned.solver)
    like = next((each for each in (exact, solver & dataset, solver) if each.any()), slice(None))
    return float(seconds.loc[like, CELL_SECONDS].median())
