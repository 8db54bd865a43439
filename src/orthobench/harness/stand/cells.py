"""The bench's half of a cell: what Benchopt sees in a solver's place. It opens stands, asks, and judges the answers."""

import functools
import hashlib
import os
import statistics
import tempfile
from pathlib import Path

import torch
from benchopt.benchmark import get_running_benchmark
from tqdm import tqdm

from ...data.cache import cache_folder
from ...data.download import downloads_folder
from ...device import resolve_device
from ...provenance import package_hash
from ..solver import Contained
from ..status import BudgetExceeded, InvalidResult, Refuted
from ..stopping import RunToEnd
from . import clocks
from .bench import LOAD_LIMIT_S, LocalStand, memory_budget, new_stand
from .roles import pack
from .wire import expected_bytes

ECHOES = 5
# What a stand may compute between questions, such as to free memory: so much, and a share of the time it was asked.
IDLE_SLACK_S, IDLE_SHARE = 0.01, 0.02


class Cell(Contained):
    """A cell whose solver runs in a stand. A benchmark's cell is a subclass with one of the strategies below.

    Attributes
    ----------
    problem : str
        Why the solver's file is refused; empty if it isn't.
    file : str
        The solver's file, which stands alone run.
    imports : tuple of str
        Libraries that it names.
    role : str
        Where the stand's half is: ``package.module:Class``.
    stand : Stand
        The one in use.
    """

    problem, file, imports = "", "", ()
    role = None
    stand = None
    device = None
    _before = None

    # --- what a benchmark's cell implements --------------------------------------------------------------------------

    def hand_out(self, **problem):
        """Return what a stand gets of the problem, as a dict; all of it is plain data or factories of the harness's."""
        raise NotImplementedError

    def known(self, **problem):
        """Return what a solver is told before it says whether it applies: fields, no tensor that counts."""
        return {}

    def applies(self, answer):
        """Take what else the answer to ``skip`` says."""

    def seed_of_stands(self):
        """Return the seed that a solver is given: the repetition's."""
        return self.seed

    # --- what Benchopt calls -----------------------------------------------------------------------------------------

    def skip(self, **problem):
        """Open a stand, and ask the solver whether it applies."""
        self.close()
        self.device = resolve_device()
        self.seed = self.get_seed(use_repetition=True)
        self._handed_out = pack(**self.hand_out(**problem))
        self._known = self.known(**problem)
        self.stand, answer = self.open()
        if answer.fields.get("skip"):
            self.close()
            return True, answer.text("reason") if answer.fields.get("reason") else None
        self.applies(answer)
        return False, None

    def set_objective(self, **problem):
        """Do nothing: the stand has what it gets."""

    # --- stands ------------------------------------------------------------------------------------------------------

    def open(self, audit=False):
        """Return a fresh stand with the solver, and its answer to ``skip``; an audit needs no settings."""
        stand = new_stand(self.role, self.imports, memory_budget(self.device))
        self._stand_kind = stand.kind
        stand.ask("problem", self._handed_out, seed=self.seed_of_stands(), budget_s=LOAD_LIMIT_S)
        if not audit:
            self._before = stand.ask("settings").fields
        own = own_folder(self.file)
        os.makedirs(own, exist_ok=True)
        stand.folder = tempfile.mkdtemp(prefix="files_", dir=own)
        closed = closed_folders(self.file)
        stand.ask("confine", folders=closed, own=own, files=stand.folder, budget_s=LOAD_LIMIT_S)
        stand.ask("load", pack(**self._parameters), file=self.file, budget_s=LOAD_LIMIT_S)
        return stand, stand.ask("skip", budget_s=LOAD_LIMIT_S, **self._known)

    def close(self):
        """End the stand in use; return how many processes it had started that were still there."""
        stand, self.stand = self.stand, None
        return stand.end() if stand is not None else 0

    def check_settings(self, stand):
        """Raise `InvalidResult` if the solver left its process with other settings than it found."""
        if stand.pid is None:  # it is gone, or was this process
            return
        found = stand.ask("settings", budget_s=LOAD_LIMIT_S).fields
        if found.get("replaced"):
            raise InvalidResult(
                f"{self.name} replaced {found['replaced']}, which the harness uses too: change no function of others"
            )
        changed = [
            f"{name} from {was} to {found.get(name)}" for name, was in self._before.items() if found.get(name) != was
        ]
        if changed:
            raise InvalidResult(f"{self.name} changed {', '.join(changed)}: settings belong to the harness")

    def check_idle(self, stand):
        """Raise `Refuted` if the stand computed while nobody asked it: no clock would see that work."""
        spinning_s = stand.questions * (torch.get_num_threads() - 1) * clocks.SPIN_S
        if self.device.type == "cpu" and stand.idle_s > IDLE_SLACK_S + spinning_s + IDLE_SHARE * self._spent_s:
            raise Refuted(f"{self.name} computed for {1e3 * stand.idle_s:.0f} ms between the harness's questions")

    def check_ended(self, processes):
        """Raise `Refuted` if so many processes that the solver had started were there when its stand was ended."""
        if processes:
            raise Refuted(f"{self.name} started processes that went on when it was done: no clock sees their work")

    def _failed(self):
        self.close()

    def _check_rules(self):
        if self.problem:
            raise InvalidResult(self.problem)

    def __del__(self):
        self.close()

    # --- time --------------------------------------------------------------------------------------------------------

    def in_time(self, stand, kind, *tensors, **fields):
        """Ask what is not billed; it may take as long as the whole cell."""
        try:
            return stand.ask(kind, *tensors, budget_s=self.budget_s, **fields)
        except BudgetExceeded as error:
            raise self._budget_exceeded() from error

    def limited(self, stand, kind, *tensors, **fields):
        """Ask within what is left of the budget, and take it from there."""
        if self.budget_s is not None and self._spent_s >= self.budget_s:
            raise self._budget_exceeded()
        left = None if self.budget_s is None else self.budget_s - self._spent_s
        try:
            answer = stand.ask(kind, *tensors, budget_s=left, **fields)
        except BudgetExceeded as error:
            raise self._budget_exceeded() from error
        self._spent_s += answer.cost.wall_s
        return answer

    def _budget_exceeded(self):
        return BudgetExceeded(f"stopped: the time budget of {self.budget_s:g} s is spent; raise it with --timeout")

    def hidden(self, said_s, cost, sent, answered, calls=1):
        """Return why the time that a stand says can't be true, "" if it can: see `clocks.hidden`."""
        if self._stand_kind == LocalStand.kind:  # a debugger may be at work
            return ""
        on_cpu = self.device.type == "cpu"
        return clocks.hidden(said_s, cost, transport(sent, answered), torch.get_num_threads(), on_cpu, calls)


class PointsCell(Cell):
    """A cell whose points are computed at once, before Benchopt asks for the first.

    Then another stand can look at any of them before it has seen the others. A subclass implements
    :meth:`compute_points`.
    """

    _outcomes = None

    def compute_points(self):
        """Return for each evaluation point what `Objective.evaluate` takes, or the error that ended the cell there."""
        raise NotImplementedError

    def skip(self, **problem):
        """Begin a cell."""
        self._outcomes = None
        return super().skip(**problem)

    def run(self, stop_val):
        """Compute the points if they aren't yet, and choose one."""
        if self._outcomes is None:
            try:
                self._outcomes = self.compute_points()
            finally:
                self.close()
        points = list(self.evaluation_points)
        self._chosen = self._outcomes[stop_val if stop_val in points else points[-1]]

    def get_result(self):
        """Return the chosen point's result, or raise what ended it."""
        if isinstance(self._chosen, BaseException):
            raise self._chosen
        return {**self._chosen, "stand": self._stand_kind}


class IterationCell(PointsCell):
    """Of a method that is run from scratch for 1, 2, ... steps."""

    stopping_criterion = RunToEnd(strategy="iteration")


class RunOnceCell(PointsCell):
    """Of a direct method: one point."""

    stopping_criterion = RunToEnd(strategy="run_once")


class CallbackCell(Cell):
    """Of a method that goes on from point to point. A subclass implements :meth:`begin`, :meth:`advance`."""

    stopping_criterion = RunToEnd(strategy="callback")
    _bar = None

    def begin(self):
        """Do what must not be billed."""

    def advance(self, point):
        """Go on to an evaluation point, and return what `Objective.evaluate` takes there."""
        raise NotImplementedError

    def pre_run_hook(self, callback):
        """Begin."""
        self.begin()

    def run(self, callback):
        """Go from point to point until Benchopt's callback says stop."""
        calls = 0
        try:
            for point in self.evaluation_points:
                self._result = self.advance(point)
                while calls <= point:  # Benchopt counts the steps; it evaluates at the points
                    if not callback():
                        return
                    calls += 1
        finally:
            self.close()

    def show_progress(self, steps):
        """Have ``self._bar`` count steps, on a terminal alone; it is removed when the stands are closed."""
        self._bar = tqdm(total=steps, desc=str(self), unit="step", leave=False, disable=None)

    def close(self):
        """End the stand in use and the progress bar."""
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.close()
        return super().close()

    def get_result(self):
        """Return the result at the last point."""
        return {**self._result, "stand": self._stand_kind}


class RefusedCell(RunOnceCell):
    """Of a file whose base can't be told: it has a row, which says so."""

    def compute_points(self):
        """Fail: the file broke a rule, and `_check_rules` has said so."""
        raise Refuted("unreachable")


def own_folder(file):
    """Return where a solver's compilers keep what they made: by file and package, or one would read another's."""
    key = hashlib.sha256(f"{file} {package_hash()}".encode()).hexdigest()[:16]
    return os.path.join(tempfile.gettempdir(), f"orthobench_{os.getuid() if hasattr(os, 'getuid') else 0}", key)


def closed_folders(file):
    """Return the folders that no solver may read: our caches, with the answers, and Benchopt's, with the rows.

    Not one that holds the solver's own file, which could not be loaded then.
    """
    folders = [cache_folder(), downloads_folder()]
    benchmark = get_running_benchmark()
    if benchmark is not None:
        folders.append(benchmark.get_cache_location())
    own = Path(file).resolve()
    return [str(folder) for folder in folders if os.path.isdir(folder) and Path(folder).resolve() not in own.parents]


def transport(sent, answered):
    """Return what a question costs by itself that sends and is answered tensors like these: a `Cost`.

    Measured once by each process, with a stand that has no solver.

    Parameters
    ----------
    sent, answered : list of torch.Tensor
    """
    kinds = [tuple((tuple(each.shape), each.dtype) for each in tensors) for tensors in (sent, answered)]
    return _transport(os.getpid(), *kinds)


@functools.lru_cache(maxsize=256)
def _transport(process, sent, answered):
    stand = new_stand("orthobench.harness.stand.roles:Role")
    one_way, other_way = ([torch.zeros(shape, dtype=dtype) for shape, dtype in kinds] for kinds in (sent, answered))
    largest = expected_bytes([shape for shape, _ in answered])
    try:
        costs = []
        for _ in range(ECHOES):
            stand.ask("keep", *other_way)
            there = stand.ask("echo", *one_way, measured=True).cost
            costs.append(there + stand.ask("kept", largest=largest, measured=True).cost)
    finally:
        stand.end()
    known = all(cost.processor_s is not None for cost in costs)
    # A stand's first question meets fresh memory, as those do that are judged; its processor's time is the most.
    return clocks.Cost(
        statistics.median(cost.wall_s - cost.waited_s for cost in costs),
        max(cost.processor_s for cost in costs) if known else None,
    )
