"""A toy benchmark in each sampling strategy, with places to plant faults.

The problem: return a vector of ones. The method has four steps, and ``plant`` runs at each of them (see `toy_halves`).
"""

import textwrap
from pathlib import Path

from toy_halves import STEPS  # noqa: F401 - for tests

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


def solver(name, strategy, plant=None, extra=""):
    """Return the source of a toy solver; ``plant`` is the body of its method ``plant(self, step)``."""
    if plant is not None:
        extra = f"def plant(self, step):\n{textwrap.indent(textwrap.dedent(plant), '    ')}\n" + extra
    text = SOLVER.format(name=name, base=BASES[strategy])
    return f"{IMPORTS}{text}\n{textwrap.indent(extra, '    ')}"


def toy(strategy, solvers):
    """Return the files of a toy benchmark with ``solvers``, a dict of name to ``(plant, extra)``."""
    files = {"objective.py": OBJECTIVE, "datasets/simulated.py": DATASET}
    for name, (plant, extra) in solvers.items():
        files[f"solvers/{name}.py"] = solver(name, strategy, plant, extra)
    return files


def points(strategy):
    """Return where the curve of an honest toy solver is sampled."""
    return {"iteration": [1, 2, 3, 4], "callback": [0, 1, 2, 3, 4], "run_once": [1]}[strategy]
