"""A toy benchmark in each sampling strategy, with places to plant faults.

The problem: return a vector of ones. The method has four steps, and ``plant`` runs at each of them: in a stand (see
`toy_halves`), or in the bench, where the solvers of some benchmarks still run.
"""

import textwrap
from pathlib import Path

from toy_halves import STEPS

STRATEGIES = ("iteration", "callback", "run_once")
BASES = {"iteration": "Iteration", "callback": "Callback", "run_once": "RunOnce"}

OBJECTIVE = f"""
import sys
import torch
from orthobench.harness import Objective as Base, Unsaved, check_tensors
from orthobench.harness.stand import thin

sys.path.append({str(Path(__file__).parent)!r})  # also in a worker
thin.packages.add("toy_halves")

class Objective(Base):
    name = "toy"
    parameters = {{"size": [8]}}

    def set_data(self, scale):
        self.scale = scale

    def get_objective(self):
        return {{"size": self.size}}

    def evaluate(self, x, drawn=0.0, seconds=0.0):
        check_tensors([x], [(self.size,)], torch.float32, torch.device("cpu"))
        return {{"value": float((x - 1).abs().sum()), "seconds": seconds, "drawn": float(drawn)}}

    def get_one_result(self):
        return {{"x": Unsaved(torch.ones(self.size))}}
"""

DATASET = """
from benchopt import BaseDataset

class Dataset(BaseDataset):
    name = "simulated"

    def get_data(self):
        return {"scale": 1.0}
"""

IMPORTS = """
import ctypes
import os
import signal
import sys
import threading
import time

import torch
"""

SOLVER = """
from toy_halves import {base}Toy

class Solver({base}Toy):
    name = {name!r}
"""

IN_BENCH = """
from orthobench.harness import {base}Solver, Unsaved

class Solver({base}Solver):
    name = {name!r}
    {points}

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
"""
IN_BENCH_POINTS = {"iteration": f"steps = {STEPS}", "callback": f"evaluation_points = range({STEPS} + 1)"}


def solver(name, strategy, plant=None, extra="", in_bench=False):
    """Return the source of a toy solver; ``plant`` is the body of its method ``plant(self, step)``."""
    if plant is not None:
        extra = f"def plant(self, step):\n{textwrap.indent(textwrap.dedent(plant), '    ')}\n" + extra
    text = (IN_BENCH if in_bench else SOLVER).format(
        name=name, base=BASES[strategy], steps=STEPS, points=IN_BENCH_POINTS.get(strategy, "")
    )
    return f"{IMPORTS}{text}\n{textwrap.indent(extra, '    ')}"


def toy(strategy, solvers, in_bench=False):
    """Return the files of a toy benchmark with ``solvers``, a dict of name to ``(plant, extra)``."""
    files = {"objective.py": OBJECTIVE, "datasets/simulated.py": DATASET}
    for name, (plant, extra) in solvers.items():
        files[f"solvers/{name}.py"] = solver(name, strategy, plant, extra, in_bench)
    return files


def points(strategy):
    """Return where the curve of an honest toy solver is sampled."""
    return {"iteration": [1, 2, 3, 4], "callback": [0, 1, 2, 3, 4], "run_once": [1]}[strategy]
