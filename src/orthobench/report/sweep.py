"""Learning rates by equal tuning: as many for each method, compared on the tuning part alone."""

import json
import math
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from orthobench.report.benchmarks import recognise
from orthobench.report.cells import check_frame
from orthobench.report.curves import Trace
from orthobench.report.leaderboard import (
    cells_by_solver,
    format_failures,
    format_interval,
    format_number,
    format_seeds,
)
from orthobench.report.names import family, in_order, parameters, short_names, short_solvers, shortest_selector, without
from orthobench.report.page import GREY, draw, metric_menu, one_line, options
from orthobench.report.statistics import LEVEL, Interval, interval, interval_told

LEARNING_RATE = "learning_rate"
TUNING, HELD_OUT = "tuning", "held_out"  # the objective's `part`
REMEDY = "Give a result of a benchmark's configs/tune.yml, and one of its objectives."
AT_THE_EDGE = "at the edge of the grid: the optimum may lie outside"


@dataclass(frozen=True)
class Outcome:
    """The ends of some cells on one data set. NaN stands for what can't be computed."""

    losses: tuple  # of the good cells, by seed
    mean: float
    low: float
    high: float
    failures: Counter  # of statuses; also "no value", and "missing" for a seed that other solvers have
    note: str  # the message of the first failure

    @property
    def n(self):
        """The number of good cells."""
        return len(self.losses)


@dataclass(frozen=True)
class Rate:
    """One learning rate of a method, on each data set that the method has rows on."""

    rate: float
    solver: str
    outcomes: dict  # Outcome by data set

    @property
    def eligible(self):
        """Whether no cell failed on any data set."""
        return not any(outcome.failures for outcome in self.outcomes.values())

    @property
    def score(self):
        """The sum over the data sets of log(mean loss), whatever their order; only an eligible rate has one."""
        means = [outcome.mean for outcome in self.outcomes.values()]
        return math.fsum(math.log(mean) if mean > 0 else -math.inf for mean in means)


@dataclass(frozen=True)
class Method:
    """A solver's name with everything but its learning rate, and what the sweep says of it."""

    name: str
    rates: tuple  # ascending; empty if the name holds no learning rate
    chosen: Rate | None
    flags: tuple  # of text
    note: str  # the message of the first failure


def sweep(frame, objective):
    """Choose a learning rate for each method from the rows of one objective on the tuning part.

    That is the rate with the smallest sum over the data sets of log(mean loss at the end), the smaller one of a tie. A
    rate with a failed cell on any data set is not eligible. A seed that other solvers have and it has not counts as
    failed, unless the method has no rows on the data set at all: a network may have nothing for it.

    Returns
    -------
    list of Method
        By name.

    Raises
    ------
    ValueError
        If the objective is not on the tuning part, or for the reasons given in `cells`.
    """
    known = tuning_objectives(frame)
    if objective not in known:
        raise ValueError(
            f"{objective!r}: learning rates are chosen from objectives with part=tuning alone, and this result has "
            f"{_listed(known)}. {REMEDY}"
        )
    datasets = in_order(frame.loc[frame["objective_name"] == objective, "dataset_name"].unique())
    found = {dataset: _cells(frame, dataset, objective) for dataset in datasets}
    seeds = {dataset: {cell.seed for own in found[dataset].values() for cell in own} for dataset in datasets}
    grids = {}
    for solver in set().union(*found.values()):
        method, rate = method_and_rate(solver)
        grids.setdefault(method, []).extend([] if rate is None else [(rate, solver)])
    longest, within = max(map(len, grids.values())), _possible(frame)

    methods = []
    for method, grid in sorted(grids.items()):
        own = [dataset for dataset in datasets if any(solver in found[dataset] for _, solver in grid)]
        rates = [
            Rate(rate, solver, {name: _outcome(found[name].get(solver, []), seeds[name], within) for name in own})
            for rate, solver in sorted(grid)
        ]
        absent = [dataset for dataset in datasets if grid and dataset not in own]
        instead = recognise(frame).tuned.get(family(method))
        methods.append(_method(method, tuple(rates), longest, absent, [f"chosen by {instead}"] if instead else []))
    return methods


def _cells(frame, dataset, objective):
    """Map each solver to its cells, with what rates are chosen by as their value: of some, not what is monitored."""
    found = cells_by_solver(frame, dataset, objective, _metric(frame))
    for name, told in recognise(frame).tuned.items():
        own = [solver for solver in found if family(solver) == name]
        other = cells_by_solver(frame, dataset, objective, told.removeprefix("1 - ")) if own else {}
        for solver in own:
            found[solver] = [
                replace(cell, value=1 - cell.value if told.startswith("1 - ") else cell.value) for cell in other[solver]
            ]
    return found


def _metric(frame):
    return metric_menu(frame, ["held_out_loss"])[0]


def _possible(frame):
    return recognise(frame).range_of(_metric(frame))


def tuning_objectives(frame):
    """List the objectives of a result that are on the tuning part, in order of appearance; raises as `cells` does."""
    check_frame(frame)
    return [name for name in frame["objective_name"].unique() if parameters(name).get("part") == TUNING]


def method_and_rate(solver):
    """Split a solver's name into its method and its learning rate, None where it has no positive one."""
    try:
        rate = float(parameters(solver)[LEARNING_RATE])
    except (KeyError, ValueError):
        return solver, None
    return (without(solver, LEARNING_RATE), rate) if 0 < rate < math.inf else (solver, None)


def choices(frame, objective=None):
    """Map each method to the learning rate that the tuning rows choose, None if they choose none; see `sweep`.

    Parameters
    ----------
    objective : str, optional
        Needed only where a result has several objectives on the tuning part.

    Raises
    ------
    ValueError
        If it has none, or several and none is given, or for the reasons given in `cells`.
    """
    known = tuning_objectives(frame)
    if objective is None and len(known) != 1:
        raise ValueError(f"expected one objective with part=tuning, this result has {_listed(known)}. {REMEDY}")
    methods = sweep(frame, objective or known[0])
    return {method.name: method.chosen.rate if method.chosen else None for method in methods}


def _listed(names):
    return ", ".join(map(repr, names)) or "none"


def _outcome(own, seeds, within):
    """Sum up the cells of one solver on one data set; `seeds` are those that it should have."""
    values, failures, notes = [], Counter(), []
    for cell in own:
        if cell.ok and np.isfinite(cell.value[-1]):
            values.append(float(cell.value[-1]))
        else:
            failures["no value" if cell.ok else cell.status] += 1
            notes.append(cell.message)
    if len(own) < len(seeds):
        failures["missing"] = len(seeds) - len(own)
    mean = interval(values, within=within) if values else Interval(math.nan, math.nan, math.nan, 0)
    note = next(filter(None, notes), "")
    return Outcome(tuple(values), mean.estimate, mean.low, mean.high, failures, note)


def _method(name, rates, longest, absent, flags):
    chosen = min((each for each in rates if each.eligible), key=lambda each: (each.score, each.rate), default=None)
    if not rates:
        flags.append("no choice: its name holds no positive learning rate")
    elif chosen is None:
        flags.append("no choice: every rate has failed cells")
    elif chosen.rate in (rates[0].rate, rates[-1].rate):
        flags.append(AT_THE_EDGE)
    if rates and len(rates) < longest:
        flags.append(f"unequal tuning: the longest grid has {longest} rates, this one {len(rates)}")
    for each in rates:
        if not each.eligible:
            failures = sum((outcome.failures for outcome in each.outcomes.values()), Counter())
            flags.append(f"not eligible: {each.rate:g} ({format_failures(failures)})")
    flags += [f"no rows on {dataset}" for dataset in absent]
    notes = (outcome.note for each in rates for outcome in each.outcomes.values())
    return Method(name, rates, chosen, tuple(flags), next(filter(None, notes), ""))


# ----- text -----


def columns(methods, quantity="loss"):
    """Return the columns of the table: the data sets of the sweep are among them."""
    losses = [f"{quantity} on {one_line(name)}" for name in short_names(_datasets(methods)).values()]
    return ["method", "learning rates", "chosen", *losses, "flags"]


def format_method(method, methods):
    """Return the cells of a method's row as text, in the order of `columns`."""
    outcomes = method.chosen.outcomes if method.chosen else {}
    return [
        method.name,
        ", ".join(f"{each.rate:g}" for each in method.rates),
        f"{method.chosen.rate:g}" if method.chosen else "none",
        *(_format_mean(outcomes.get(dataset)) for dataset in _datasets(methods)),
        "; ".join(method.flags),
    ]


def _datasets(methods):
    found = {dataset for method in methods for each in method.rates for dataset in each.outcomes}
    return in_order(sorted(found))


def _format_mean(outcome):
    return f"{format_number(outcome.mean)} {format_interval(outcome.low, outcome.high)}" if outcome else "n/a"


def protocol(methods, quantity="loss"):
    """Say in one line what the table shows and by which rules."""
    seeds = format_seeds(o.n for method in methods if method.chosen for o in method.chosen.outcomes.values())
    return (
        f"chosen on the tuning part: the smallest sum over the data sets of log(mean {quantity} at the end), no cell "
        f"failed, the smaller rate of a tie; {quantity} at the chosen rate: mean over seeds ({seeds}), "
        f"{interval_told()}"
    )


def solver_lines(methods):
    """Return the lines of a configuration's ``solver`` list: each method at its chosen rate, or why it is not there.

    A line names the learning rate, and the other parameters in which the solvers of these rows differ.
    """
    names = [each.solver for method in methods for each in method.rates]
    lines = ["solver:  # what a line does not name is left to the solver's file"]
    for method in methods:
        if method.chosen:
            selector = shortest_selector(method.chosen.solver, names, LEARNING_RATE)
            lines.append(f"  - {json.dumps(one_line(selector), ensure_ascii=False)}")
        else:
            lines.append(f"  # {one_line(method.name)}: {method.flags[0]}")
    return lines


# ----- figure -----

_FEW = 6  # values without a 95 % interval free of assumptions: the range instead, as in the other figures
# Plotly's symbol numbers, which no curve has: a star, and a hexagram.
_MARKS = {"chosen": {"marker": 17, "color": GREY}, "final": {"marker": 18}}


def menu(frame):
    """Return the names that a page offers: the objectives on the tuning part; all of them if there is none."""
    names, tuning = options(frame, "objective_name"), tuning_objectives(frame)
    return [shown for shown, name in names.items() if name in tuning] or list(names)


def sweep_traces(frame, dataset, objective):
    """Return the traces of loss against learning rate on one data set; their kinds are also "chosen" and "final".

    Per method: the curve of means over the rates of which no cell failed, with a band; a mark at the chosen rate, which
    is chosen for all data sets together; and a cross, at the worst value of the figure, for each rate with failed
    cells. If the result also holds rows of the chosen solver on the held-out part, under an objective that is the same
    otherwise, their mean is a mark of its own with a bar: the final figure. The method then has the colour that this
    solver has in other figures.

    Raises
    ------
    ValueError
        As for `sweep`.
    """
    methods = [method for method in sweep(frame, objective) if method.rates]
    names = short_solvers([method.name for method in methods])
    finals = _finals(frame, dataset, objective, methods)
    traces, failed = [], []
    for method in methods:
        name, final = names[method.name], finals.get(method.name)
        owner = method.chosen.solver if final else method.name
        points = [(each.rate, each.outcomes[dataset]) for each in method.rates if dataset in each.outcomes]
        good = [(rate, outcome) for rate, outcome in points if not outcome.failures]
        if good:
            traces.append(_curve(owner, name, good))
        if method.chosen and dataset in method.chosen.outcomes:
            at = method.chosen.outcomes[dataset]
            traces.append(Trace(None, "chosen", "chosen", [method.chosen.rate], [at.mean], at.n))
        failed += [(owner, f"{name}, at {rate:g}", rate, outcome) for rate, outcome in points if outcome.failures]
        if final:
            traces += _final(owner, name, method.chosen.rate, final)
            if final.failures:
                failed.append((owner, f"{name}, final figure", method.chosen.rate, final))
    top = max((y for trace in traces for y in [*trace.y, *(trace.y_high or [])] if y > 0), default=1.0)
    return traces + [
        Trace(owner, f"{label}: {format_failures(outcome.failures)}", "failed", [rate], [top], outcome.failures.total())
        for owner, label, rate, outcome in failed
    ]


def _finals(frame, dataset, objective, methods):
    """Map methods to the outcome of their chosen solver on the held-out part, where there are rows of it."""
    wanted = {**parameters(objective), "part": HELD_OUT}
    same = [
        name
        for name in frame["objective_name"].unique()
        if family(name) == family(objective) and parameters(name) == wanted
    ]
    if not same:
        return {}
    found = _cells(frame, dataset, same[0])
    chosen = {method.name: found.get(method.chosen.solver) for method in methods if method.chosen}
    within = _possible(frame)
    return {name: _outcome(own, {cell.seed for cell in own}, within) for name, own in chosen.items() if own}


def _curve(owner, name, good):
    bounds = [_bounds(outcome) for _, outcome in good]
    n = min(outcome.n for _, outcome in good)
    curve = Trace(owner, name, "curve", [rate for rate, _ in good], [outcome.mean for _, outcome in good], n)
    if all(outcome.n == 1 for _, outcome in good):  # nothing to estimate a spread from
        return curve
    return replace(curve, y_low=[low for low, _ in bounds], y_high=[high for _, high in bounds])


def _final(owner, name, rate, outcome):
    """Return the bar, then the mark: the legend takes its symbol from the last trace of a label."""
    if not outcome.n:
        return []
    label = f"{name}, final figure: held-out part, n = {outcome.n}"
    return [
        Trace(owner, label, "line", [rate] * 2, [*_bounds(outcome)], outcome.n),
        Trace(owner, label, "final", [rate], [outcome.mean], outcome.n),
    ]


def _bounds(outcome):
    """Return the ends of a bar; the axis is logarithmic, so one that is not positive gives way to the least value."""
    least = min(outcome.losses)
    if outcome.n < _FEW:
        return least, max(outcome.losses)
    return outcome.low if outcome.low > 0 else least, outcome.high


def draw_sweep(traces, get_style):
    """Return the traces as Benchopt's scatter plots take them; as `page.draw`, with symbols for the two marks."""
    drawn = draw([replace(each, kind="curve") if each.kind in _MARKS else each for each in traces], get_style)
    return [{**each, **_MARKS.get(trace.kind, {})} for trace, each in zip(traces, drawn, strict=True)]


def figure_protocol(traces, quantity="loss"):
    """Say in one line what the figure shows."""
    seeds = format_seeds(trace.n for trace in traces if trace.kind == "curve")
    return (
        f"{quantity} at the end on the tuning part: mean over seeds ({seeds}); bands and bars: its {100 * LEVEL:.0f} % "
        f"Student t interval, the range below {_FEW} seeds; stars: chosen for all data sets together; crosses, at the "
        "worst value: rates with failed cells"
    )
