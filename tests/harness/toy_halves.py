"""The toy benchmark's halves: bases of its solvers, the role of its stand, and a cell for each sampling strategy."""

import os

import torch

from orthobench.harness import Unsaved
from orthobench.harness.seeds import seed_everything
from orthobench.harness.stand.cells import CallbackCell, IterationCell, RunOnceCell
from orthobench.harness.stand.roles import Role, Timer, check_plain
from orthobench.harness.stand.wire import expected_bytes
from orthobench.harness.status import BudgetExceeded

STEPS = 4
CPU = torch.device("cpu")


class IterationToy:
    """Makes ones in four steps; a solver plants at each of them. `signal` is sent to the bench, as others may."""

    cell = "toy_halves:IterationToyCell"
    yours = ("prepare", "plant", "skip")
    name = ""
    size, bench, repetition, signal = 0, 0, 0, 0
    device = None

    def skip(self, size):
        return False, None

    def prepare(self):
        """Warm up."""

    def begin(self):
        self.x, self.done, self.drawn = torch.zeros(self.size), 0, 0.0

    def go_on(self, steps):
        for _ in range(steps):
            self.done += 1
            self.x = torch.full((self.size,), self.done / STEPS)
            self.plant(self.done)

    def plant(self, step):
        """Do what it wants."""


class CallbackToy(IterationToy):
    cell = "toy_halves:CallbackToyCell"
    yours = (*IterationToy.yours, "points")
    points = tuple(range(STEPS + 1))


class RunOnceToy(IterationToy):
    cell = "toy_halves:RunOnceToyCell"


class ToyRole(Role):
    """Answers ``prepare`` and ``advance``."""

    def receive(self, **problem):
        self._problem = problem

    def prepare_solver(self):
        vars(self.solver).update(self._problem)
        self._timer = Timer(self.device)

    def skip(self, size):
        points = getattr(self.solver, "points", None)
        return super().skip(size=size) | {"points": None if points is None else list(points)}

    def prepare(self):
        self.solver.prepare()
        self.begin()

    def begin(self):
        """Start anew."""
        seed_everything(self.seed, self.device)
        self.solver.begin()

    def advance(self, steps):
        """Do some steps, on the clock."""
        _, seconds, _ = self._timer.run(self.solver.go_on, steps)
        check_plain([self.solver.x], self.device)
        told = {"seconds": seconds, "drawn": self.solver.drawn, "signal": int(self.solver.signal)}
        return told, [self.solver.x]


class ToyCell:
    """What the three strategies share."""

    role = "toy_halves:ToyRole"

    def hand_out(self, size):
        self._largest = expected_bytes([(size,)])
        return {"size": size, "bench": os.getpid(), "repetition": self._run_context.repetition}

    def known(self, size):
        return {"size": size}

    def go_on(self, steps):
        answer = self.limited(self.stand, "advance", steps=steps, largest=self._largest)
        (x,) = answer.tensors
        os.kill(os.getpid(), int(answer.number("signal")))  # 0 is none
        return {"x": Unsaved(x), "drawn": answer.number("drawn"), "seconds": answer.number("seconds")}


class PointsToyCell(ToyCell):
    def compute_points(self):
        outcomes = {}
        self.in_time(self.stand, "prepare")
        for point in self.evaluation_points:
            try:
                self.stand.ask("begin")
                outcomes[point] = self.go_on(self.steps_at(point))
            except (Exception, BudgetExceeded) as error:
                return outcomes | {point: error}
        if self.stand.kind != "in process":
            self.check_settings(self.stand)
        return outcomes


class IterationToyCell(PointsToyCell, IterationCell):
    evaluation_points = tuple(range(1, STEPS + 1))

    def steps_at(self, point):
        return point


class RunOnceToyCell(PointsToyCell, RunOnceCell):
    def steps_at(self, point):
        return STEPS


class CallbackToyCell(ToyCell, CallbackCell):
    def applies(self, answer):
        self.evaluation_points = tuple(answer.fields["points"])

    def begin(self):
        self._done = 0
        self.in_time(self.stand, "prepare")

    def advance(self, point):
        steps, self._done = point - self._done, point
        return self.go_on(steps)
