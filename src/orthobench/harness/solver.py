"""The bases of every solver, one for each of Benchopt's sampling strategies.

They own the clock, the seeds, the device and the budget, and turn each failure into a status. Benchopt drops the rows
of a solver that raises; here none of the calls it makes ever does, so that each planned cell ends as rows.
"""

import contextlib
import functools

import torch
from benchopt import BaseSolver

from .clock import Stopwatch, budget_exceeded, check_clock, peak_memory_bytes, reset_peak_memory, time_limit
from .device import resolve_device
from .seeds import seed_everything
from .status import InvalidResult
from .stopping import RunToEnd
from .strict import contain

OWNED = ("set_objective", "warm_up", "pre_run_hook", "run", "get_result")
GUARDED = ("skip", *OWNED)


class Contained(BaseSolver):
    """What Benchopt calls of a cell never raises: the first failure becomes the cell's last row.

    Attributes
    ----------
    budget_s : float or None
        Seconds the method may take in one cell, all its points together.
    evaluation_points : sequence of int
        Where the curve is sampled, fixed before the run.
    failure : tuple of (str, str) or None
        Status and message, once something failed.
    """

    budget_s = None
    evaluation_points = (1,)
    failure = None
    _stand_kind = "none"
    _spent_s = 0.0

    def __new__(cls, *args, **kwargs):
        self = super().__new__(cls)
        # On the instance, so that what a subclass overrides is guarded too.
        for name in GUARDED:
            object.__setattr__(self, name, functools.partial(self._contained, name))
        return self

    def set_budget(self, seconds):
        """Start a cell with a time budget of ``seconds`` (None: no limit)."""
        self.budget_s = seconds
        self._spent_s = 0.0
        self._objective.set_budget(seconds)

    def planned_points(self):
        """Return the evaluation points as a list; a plan that can't be followed is a failure like any other."""
        return self._contained("_plan") or [1]

    def _plan(self):
        points = list(self.evaluation_points)
        if not points or points != sorted(set(points)) or points[0] < 0:
            raise InvalidResult(f"evaluation_points {points} must be increasing, not negative, and not empty")
        return points

    def _contained(self, name, *args, **kwargs):
        """Call the method ``name``; an exception becomes ``self.failure``, and the cell goes on to its failure row."""
        if name == "skip":  # Benchopt's first call in each cell
            self.failure = None
        if self.failure is None:
            try:
                if name == "skip":
                    self._check_rules()
                return getattr(type(self), name)(self, *args, **kwargs)
            except BaseException as error:
                self.failure = contain(error)
                self._failed()
        if name == "skip":
            return False, None
        if name == "run" and args and callable(args[0]):
            while args[0]():  # on to the next evaluation, which writes the failure row
                pass
        if name == "get_result":
            return {**dict(zip(("status", "message"), self.failure, strict=True)), "stand": self._stand_kind}
        return None

    def _check_rules(self):
        """Raise what is wrong with the solver by itself."""

    def _failed(self):
        """Free what the cell held."""


class Solver(Contained):
    """What the solvers share that run in the bench.

    A benchmark's base solver implements :meth:`receive`, :meth:`prepare` and :meth:`result` on top of one of the three
    strategies below; a solver implements its method alone.

    Attributes
    ----------
    device : torch.device
    stopwatch : Stopwatch
        Time of the method since the last ``pre_run_hook``.
    owned : tuple of str
        The methods that a solver must not override.
    """

    owned = OWNED
    device = None
    stopwatch = None

    # --- what a benchmark's base solver implements -------------------------------------------------------------------

    def receive(self, **problem):
        """Take the problem, as ``Objective.get_objective`` hands it out."""
        raise NotImplementedError

    def prepare(self, stop_val):
        """Do what must not be billed: warm up on throw-away inputs, make fresh ones for the timed part."""

    def result(self):
        """Return what ``Objective.evaluate`` takes, as a dict; matrices and models inside `Unsaved`."""
        raise NotImplementedError

    # --- what Benchopt calls -----------------------------------------------------------------------------------------

    def set_objective(self, **problem):
        """Choose the device and take the problem."""
        self.device = resolve_device()
        self.receive(**problem)

    def pre_run_hook(self, stop_val):
        """Seed, warm up, seed again, and reset the clocks: what follows is the timed part."""
        seed = self.get_seed(use_repetition=True)
        seed_everything(seed)
        with time_limit(self.budget_s, self.budget_s):
            self.prepare(stop_val)
        seed_everything(seed)
        self.stopwatch = Stopwatch(self.device)
        reset_peak_memory(self.device)

    def get_result(self):
        """Return the result with the peak memory of the timed part."""
        peak = peak_memory_bytes(self.device)
        check_clock()
        return {**self.result(), "peak_memory_bytes": peak}

    # --- time --------------------------------------------------------------------------------------------------------

    def remaining_s(self):
        """Return what is left of the budget, None if there is no limit.

        Raises
        ------
        BudgetExceeded
            If nothing is left.
        """
        if self.budget_s is None:
            return None
        remaining = self.budget_s - self._spent_s - self.stopwatch.reading_s()
        if remaining <= 0:
            raise budget_exceeded(self.budget_s)
        return remaining

    def timed(self, method, *args):
        """Run ``method(*args)`` on the clock and within the budget, and return what it returns."""
        with time_limit(self.remaining_s(), self.budget_s):
            try:
                self.stopwatch.start()
                output = method(*args)
            finally:
                self.stopwatch.stop()
        self.remaining_s()  # a call that no timer could interrupt
        self._spent_s += self.stopwatch.elapsed_s
        return output

    # --- failures ----------------------------------------------------------------------------------------------------

    def __setattr__(self, name, value):
        if name in GUARDED:
            raise InvalidResult(f"{self.name} replaces `{name}`, which the harness owns")
        super().__setattr__(name, value)

    def _failed(self):
        _free_device_memory()

    def _check_rules(self):
        for owned in self.owned:
            module = getattr(getattr(type(self), owned), "__module__", "")
            if not module.startswith(("orthobench.harness", "benchopt.")):
                raise InvalidResult(
                    f"{self.name} overrides `{owned}`, which the harness owns: implement the method that its base "
                    "class names instead (see CONTRIBUTING.md)"
                )
        for parameter in self._parameters:
            if hasattr(type(self), parameter):
                raise InvalidResult(
                    f"the class attribute `{parameter}` of {self.name} hides the parameter of that name, so that "
                    "every value would run as the same one: rename or remove the attribute"
                )


class IterationSolver(Solver):
    """A method that is run from scratch for 1, 2, ... ``steps`` iterations: one point each.

    A subclass sets ``steps`` and implements :meth:`compute`.
    """

    stopping_criterion = RunToEnd(strategy="iteration")
    steps = 1

    @property
    def evaluation_points(self):
        """Every number of iterations from 1 to ``steps``."""
        return range(1, self.steps + 1)

    def compute(self, steps):
        """Run ``steps`` iterations, on the clock."""
        raise NotImplementedError

    def run(self, steps):
        """Time :meth:`compute`."""
        self.timed(self.compute, steps)


class RunOnceSolver(Solver):
    """A direct method: one run, one point. A subclass implements :meth:`compute`."""

    stopping_criterion = RunToEnd(strategy="run_once")

    def compute(self):
        """Run the method, on the clock."""
        raise NotImplementedError

    def run(self, _):
        """Time :meth:`compute`; Benchopt's argument means nothing here."""
        self.timed(self.compute)


class CallbackSolver(Solver):
    """A method that advances step by step, evaluated along the way at ``evaluation_points`` (0 is the start).

    A subclass sets ``evaluation_points`` and implements :meth:`step`. The device is waited for at the evaluation
    points alone: waiting at each step would slow it down.
    """

    stopping_criterion = RunToEnd(strategy="callback")
    evaluation_points = (0, 1)

    def step(self):
        """Advance by one step, on the clock."""
        raise NotImplementedError

    def run(self, callback):
        """Step until Benchopt's callback says stop, on the clock and within the budget."""
        points = frozenset(self.evaluation_points)
        done = 0
        try:
            while True:
                if done in points:
                    self.stopwatch.stop()  # Benchopt reads its clock next, then evaluates
                if not callback():
                    return
                if done in points:
                    self.stopwatch.start()
                with time_limit(self.remaining_s(), self.budget_s):
                    self.step()
                done += 1
        finally:
            self.stopwatch.stop()


def _free_device_memory():
    # After an out-of-memory the next solver must find the device empty. A device that is beyond use raises even here:
    # that must not cost this cell its row.
    with contextlib.suppress(RuntimeError):
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
