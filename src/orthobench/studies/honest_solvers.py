"""Are honest solvers left alone? A benchmark's own, in so many cells, none of which may end in another row than ``ok``.

``orthobench study honest-solvers benchmark_lipschitz --cells 100`` runs each of the benchmark's `CONTROLS` in
turn, with another seed each time, until there are so many cells.
"""

import itertools
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from .goals import Figure
from .stand import checkout, copy_checkout, not_ok, run_benchopt

CELL = ["dataset_name", "objective_name", "solver_name", "idx_rep"]


@dataclass(frozen=True)
class Control:
    """One run of honest solvers.

    Attributes
    ----------
    name : str
        What is special about it.
    options : tuple of str
        For ``benchopt run``.
    objective : str
        What is added to the benchmark's ``objective.py``, such as constants of the class.
    """

    name: str
    options: tuple
    objective: str = ""


def _quick(folder):
    return Control("quick configuration", ("--config", f"{folder}/configs/quick.yml"))


def _robust(name, data, task, solvers, repetitions, objective=""):
    options = ["-d", data, "-o", f"*[task={task}]", "-r", str(repetitions)]
    return Control(name, (*options, *(text for solver in solvers for text in ("-s", solver))), objective)


def _segmented(name, solvers, objective=""):
    options = ["-d", "digit_scenes[steps=10,width=8]", "-r", "2"]
    return Control(name, (*options, *(text for solver in solvers for text in ("-s", solver))), objective)


_SMOOTHING = "Smoothing[sigma={},n=100,correction=[holm,bonferroni]]"

# Dense orthogonal networks, whose constant is as large as they claim.
_TIGHT = ("Bjorck", "Cayley", "LOT", "Newton-Schulz")

CONTROLS = {
    "benchmark_lipschitz": (
        _quick("benchmark_lipschitz"),
        *(
            _robust(
                f"tight networks, attacked within {radius:g}/255",
                "digits[network=dense,steps=40]",
                "classification",
                _TIGHT,
                2,
                f"Objective.attacked_radius = {radius}\n",
            )
            for radius in (1e-3, 0.1, 255.0)
        ),
        _robust("one class", "digits[steps=10,width=8]", "one_class", ("AOC", "Cayley", "Plain", "SLL"), 2),
        _robust(
            "explanations",
            "digit_blocks[steps=10,width=8,explained=30]",
            "explanation",
            ("AOC", "Cayley", "Plain", "SLL"),
            2,
        ),
        _robust(
            "explanations of tight networks",
            "digit_blocks[network=dense,steps=40,explained=30]",
            "explanation",
            _TIGHT,
            2,
        ),
    ),
    "benchmark_rcp": (_quick("benchmark_rcp"),),
    "benchmark_crc": (_quick("benchmark_crc"),),
    "benchmark_dp": (_quick("benchmark_dp"),),
    "benchmark_segmentation": (
        _quick("benchmark_segmentation"),
        *(
            _segmented(
                f"orthogonal networks, attacked within {radius:g}/255",
                ("AOC", "Cayley", "LOT"),
                f"from orthobench.harness.segmentation import evaluation\n\nevaluation.HEADLINE = {radius}\n",
            )
            for radius in (1e-3, 0.1, 255.0)
        ),
        *(
            _segmented(f"noise of {sigma:g}, by Holm and Bonferroni", (_SMOOTHING.format(sigma),))
            for sigma in (0.25, 0.5)
        ),
    ),
}


def controls(benchmark, count):
    """Yield how many cells of a benchmark's controls have a row that isn't ``ok``.

    Parameters
    ----------
    benchmark : str
        A key of `CONTROLS`.
    count : int
        Cells at least, of all its controls together.

    Yields
    ------
    Figure or str
    """
    cells, bad = 0, []
    for seed in itertools.count():
        for control in CONTROLS[benchmark]:
            rows = run_control(benchmark, control, seed)
            done = len(rows[CELL].drop_duplicates())
            bad.append(rows[rows["objective_status"] != "ok"])
            failed = len(bad[-1][CELL].drop_duplicates())
            yield Figure(f"{control.name}, seed {seed}: cells that aren't ok, of {done}", failed, at_most=0.0)
            cells += done
        if cells >= count or not cells:
            break
    failed = sum(len(each[CELL].drop_duplicates()) for each in bad)
    yield Figure(f"{benchmark}: cells of honest solvers that aren't ok, of {cells}", failed, at_most=0.0)
    yield from not_ok(pd.concat(bad))


def run_control(benchmark, control, seed):
    """Return the rows of a control, run with a seed in a copy of this checkout; no cell is cached."""
    with tempfile.TemporaryDirectory() as folder:
        copy = copy_checkout(checkout(), Path(folder) / "here")
        objective = copy / benchmark / "objective.py"
        objective.write_text(f"{objective.read_text()}\n{control.objective}")
        # An option comes before what a configuration says.
        return run_benchopt(copy, benchmark, *control.options, "--no-timeout", "--seed", str(seed))[1]


def main(arguments):
    """Print the figures."""
    for figure in controls(arguments.benchmark, arguments.cells):
        print(figure.line() if isinstance(figure, Figure) else figure, flush=True)
