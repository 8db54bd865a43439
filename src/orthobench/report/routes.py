"""Which optimizer trains how many parameters: the JSON of the column ``objective_parameters_by_route``."""

import json
from dataclasses import dataclass

from orthobench.report.cells import check_frame

COLUMN = "objective_parameters_by_route"


@dataclass(frozen=True)
class Route:
    """Parameters that one of a solver's optimizers trains, in ``n`` cells."""

    solver: str
    optimizer: str
    parameters: int
    total: int  # of the solver's optimizers together
    n: int


def routes(frame, dataset, objective):
    """List how many parameters each optimizer of a solver trains on one data set and objective.

    Rows that tell none are left out, such as those of failures and those before the first step.

    Raises
    ------
    ValueError
        If the frame is not a result of this suite.
    """
    check_frame(frame)
    if COLUMN not in frame:
        return []
    rows = frame[(frame["dataset_name"] == dataset) & (frame["objective_name"] == objective)]
    seeds = {}
    for solver, seed, text in rows[["solver_name", "idx_rep", COLUMN]].itertuples(index=False, name=None):
        counts = parse(text)
        for optimizer, count in counts.items():
            seeds.setdefault((str(solver), sum(counts.values()), optimizer, count), set()).add(seed)
    return [
        Route(solver, optimizer, count, total, len(found))
        for (solver, total, optimizer, count), found in sorted(seeds.items())
    ]


def parse(text):
    """Return the counts by optimizer that a text describes; empty if it is not such a text."""
    try:
        counts = json.loads(text)
    except (TypeError, ValueError):  # JSONDecodeError is a ValueError
        return {}
    whole = isinstance(counts, dict) and all(type(count) is int and count >= 0 for count in counts.values())
    return counts if whole else {}


# ----- text -----

COLUMNS = ("solver", "optimizer", "parameters", "share", "n")


def format_route(route):
    """Return the cells of a row as text, in the order of `COLUMNS`."""
    share = f"{100 * route.parameters / route.total:.1f} %" if route.total else "n/a"
    return [route.solver, route.optimizer, str(route.parameters), share, str(route.n)]


def protocol(found):
    """Say in one line what the table shows."""
    if not found:
        return "no row tells which optimizer trains which parameters"
    return "parameters that each optimizer of a solver trains, and their share of all; n: repetitions"
