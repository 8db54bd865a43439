"""What Benchopt sees in each solver's place: it turns each failure into a status.

Benchopt drops the rows of a solver that raises; here none of the calls it makes ever does, so that each planned cell
ends as rows.
"""

import functools

from benchopt import BaseSolver

from .status import InvalidResult
from .strict import contain

GUARDED = ("skip", "set_objective", "warm_up", "pre_run_hook", "run", "get_result")


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
