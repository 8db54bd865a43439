"""When a cell ends: at the solver's own last evaluation, or at its first failure."""

from benchopt.stopping_criterion import StoppingCriterion

from .status import OK

NO_LIMIT = 10**9


class RunToEnd(StoppingCriterion):
    """Follows the solver's evaluation points to the end or to the first status other than ``ok``.

    One instance per sampling strategy (a shared one raises when strategies differ). ``--max-runs`` is ignored;
    ``--timeout`` is handed to the solver as its time budget, which it turns into a ``timeout`` row.
    """

    def get_runner_instance(self, max_runs=1, timeout=None, solver=None, **kwargs):
        criterion = super().get_runner_instance(max_runs=NO_LIMIT, timeout=None, solver=solver, **kwargs)
        solver.set_budget(timeout)
        criterion.points = solver.planned_points()
        criterion.get_next_stop_val = criterion.next_point
        return criterion

    def init_stop_val(self):
        super().init_stop_val()
        return self.points[0]

    def next_point(self, stop_val):
        """Return the evaluation point after ``stop_val``."""
        return self.points[self.points.index(stop_val) + 1]

    def check_convergence(self, curve):
        last = curve[-1]
        done = self.points.index(last["stop_val"]) + 1
        return last["objective_status"] != OK or done == len(self.points), done / len(self.points)
