"""A toy benchmark in each sampling strategy, with places to plant faults.

The problem: return a vector of ones. The method has four steps, and ``plant`` runs at each of them.
"""

import textwrap

STRATEGIES = ("iteration", "callback", "run_once")
STEPS = 4

OBJECTIVE = """
import torch
from orthobench.harness import Objective as Base, Unsaved, check_tensors

class Objective(Base):
    name = "toy"
    parameters = {"size": [8]}

    def set_data(self, scale):
        self.scale = scale

    def get_objective(self):
        return {"size": self.size}

    def evaluate(self, x, drawn=0.0):
        check_tensors([x], [(self.size,)], torch.float32, torch.device("cpu"))
        return {"value": float((x - 1).abs().sum()), "drawn": float(drawn)}

    def get_one_result(self):
        return {"x": Unsaved(torch.ones(self.size))}
"""

DATASET = """
from benchopt import BaseDataset

class Dataset(BaseDataset):
    name = "simulated"

    def get_data(self):
        return {"scale": 1.0}
"""

SOLVER = """
import sys
import time

import torch
from orthobench.harness import CallbackSolver, IterationSolver, RunOnceSolver, Unsaved

STRATEGY = {strategy!r}
Base = {{"iteration": IterationSolver, "callback": CallbackSolver, "run_once": RunOnceSolver}}[STRATEGY]

class Solver(Base):
    name = {name!r}
    if STRATEGY == "iteration":
        steps = {steps}
    elif STRATEGY == "callback":
        evaluation_points = range({steps} + 1)

    def receive(self, size):
        self.size = size

    def prepare(self, stop_val):
        self.x, self.done, self.drawn = torch.zeros(self.size), 0, 0.0

    def result(self):
        return {{"x": Unsaved(self.x), "drawn": self.drawn}}

    def compute(self, steps={steps}):
        for _ in range(steps):
            self.step()

    def step(self):
        self.done += 1
        self.x = torch.full((self.size,), self.done / {steps})
        self.plant(self.done)

    def plant(self, step):
        pass

{extra}
"""


def solver(name, strategy, plant=None, extra=""):
    """Return the source of a toy solver; ``plant`` is the body of its method ``plant(self, step)``."""
    if plant is not None:
        extra = f"def plant(self, step):\n{textwrap.indent(textwrap.dedent(plant), '    ')}\n" + extra
    return SOLVER.format(name=name, strategy=strategy, steps=STEPS, extra=textwrap.indent(extra, "    "))


def toy(strategy, solvers):
    """Return the files of a toy benchmark with ``solvers``, a dict of name to ``(plant, extra)``."""
    files = {"objective.py": OBJECTIVE, "datasets/simulated.py": DATASET}
    for name, (plant, extra) in solvers.items():
        files[f"solvers/{name}.py"] = solver(name, strategy, plant, extra)
    return files


def points(strategy):
    """Return where the curve of an honest toy solver is sampled."""
    return {"iteration": [1, 2, 3, 4], "callback": [0, 1, 2, 3, 4], "run_once": [1]}[strategy]
