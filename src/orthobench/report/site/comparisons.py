"""Comparisons of all solvers of a board: the front of time and error, differences to a baseline, targets, profiles."""

from dataclasses import dataclass

import numpy as np

from orthobench.report import history, performance, stands, survival
from orthobench.report.benchmarks import HIGHER, METRICS
from orthobench.report.leaderboard import (
    NO_GUARANTEE,
    Row,
    axis,
    find_baseline,
    format_failures,
    format_seeds,
)
from orthobench.report.names import short_names, short_objectives, short_solvers
from orthobench.report.page import GREY, SYMBOLS, safe
from orthobench.report.site import boards
from orthobench.report.site.boards import leading, led_by, without_guarantee
from orthobench.report.site.figures import Figure, Plot, first_shown, number, opening, rgb
from orthobench.report.site.palette import dash
from orthobench.report.statistics import LEVEL, MIN_SEEDS

ALPHA = 0.05
FEWEST = 3  # data sets of a profile
_OPEN = 100  # added to a Plotly symbol: its outline
_RIGHT = 7  # a triangle that points to the right
_LINE = 24  # pixels of a row


def comparison_plots(result, own_boards, get_style):
    """Return the comparison plots of a result: differences, targets and profiles, those that its rows allow for."""
    found = [
        _differences(result, own_boards, get_style),
        _targets(result, own_boards, get_style),
        _profiles(result, own_boards, get_style),
    ]
    return [plot for plot in found if plot is not None]


def front_plots(result, own_boards, get_style):
    """Return the plot of time and error with its Pareto front, in a list; an empty one if the rows tell no times."""
    found = _fronts(result, own_boards, get_style)
    return [] if found is None else [found]


def _plot(name, title, options, figures, own_boards):
    shown = {choice: figure for choice, figure in figures.items() if not figure.empty}
    if not shown:
        return None
    return Plot(name, title, options, shown, opening(shown, options, own_boards[0].wanted))


def _labels(own_boards):
    """Map the names of data sets and of objectives to what menus show."""
    datasets = short_names(dict.fromkeys(each.setting.dataset for each in own_boards))
    objectives = short_objectives(dict.fromkeys(each.setting.objective for each in own_boards))
    return {
        "data set": {name: safe(short) for name, short in datasets.items()},
        "objective": {name: safe(short) for name, short in objectives.items()},
    }


def _final(result, own_boards):
    return [each for each in own_boards if result.is_evidence(each.setting.objective)]


# ----- time and error -----


@dataclass(frozen=True)
class Point:
    """A solver's time and another figure, means with their intervals; `off` says why it can't be on the front."""

    row: Row  # of the other figure
    time: Row
    off: str = ""


def points(board, metric, time, kind=""):
    """Return a `Point` for each solver with a mean of a metric and of a time.

    Parameters
    ----------
    board : boards.Board
    metric, time : str
        Of the board.
    kind : str
        That of the processes that the times are of, where compared rows are of several: these don't mix. Superseded
        rows are then left out where theirs is another one.
    """
    doubtful = without_guarantee(board)
    several = len(set(stands.kinds(board.result.rows(board.setting)))) > 1
    times = {
        (row.solver, _old(row)): row
        for row in board.rows[time]
        if row.stand == kind and not (_old(row) and several and not kind)
    }
    found = []
    for row in board.rows[metric]:
        own = times.get((row.solver, _old(row)))
        if own is not None and np.isfinite(row.mean) and own.mean > 0:
            off = history.SUPERSEDED if _old(row) else NO_GUARANTEE if row.solver in doubtful else ""
            found.append(Point(row, own, off or format_failures(row.failures | own.failures)))
    return found


def _old(row):
    return row.rank == history.SUPERSEDED


def front(found, higher=False):
    """Return the Pareto front of points, by time: no other one is as fast and as good, and better in one of the two.

    Points that have a reason to be off the front neither are on it nor keep others off.
    """
    sign = -1 if higher else 1
    fair = sorted((each for each in found if not each.off), key=lambda each: (each.time.mean, sign * each.row.mean))
    kept = []
    for each in fair:
        if not kept or sign * each.row.mean < sign * kept[-1].row.mean or _same(each, kept[-1]):
            kept.append(each)
    return kept


def _same(one, other):
    return (one.time.mean, one.row.mean) == (other.time.mean, other.row.mean)


def _fronts(result, own_boards, get_style):
    own_boards = _final(result, own_boards)
    solvers = dict.fromkeys(row.solver for each in own_boards for row in each.rows[each.first])
    names, kinds, figures = short_solvers(list(solvers)), {}, {}
    for each in own_boards:
        times = list(filter(is_time, each.rows))
        for time in times:
            for kind in dict.fromkeys(row.stand for row in each.current[time]):
                kinds[kind] = safe(kind or "of one kind")
                for metric in _compared(each) if time == times[0] else [each.first]:
                    choice = each.setting.dataset, each.setting.objective, metric, time, kind
                    figures[choice] = _front_figure(each, metric, time, kind, names, get_style)
    options = _labels(own_boards) | {
        "metric": {metric: METRICS[metric].label for each in own_boards for metric in _compared(each)},
        "time": {metric: METRICS[metric].label for each in own_boards for metric in filter(is_time, each.rows)},
        "processes": kinds,
    }
    return _plot("front", "Time and error, with the Pareto front", options, figures, own_boards)


def is_time(metric):
    """Whether a metric is a time, by its unit: memory and shares depend on the kind of process as well."""
    return METRICS[metric].timed and metric.endswith(("_s", "_ms"))


def _compared(board):
    """List the metrics that time is drawn with, the first one of the board first: no costs, and no counts."""
    found = [each for each in board.rows if not (METRICS[each].timed or METRICS[each].counted)]
    return sorted(found, key=lambda each: each != board.first)


def _front_figure(board, metric, time, kind, names, get_style):
    found, label = points(board, metric, time, kind), METRICS[metric]
    if len(found) < 2:
        return Figure(())
    best, first = front(found, label.better == HIGHER), leading(board, metric)
    data, shown = [_staircase(best)] if best else [], []
    for each in found:
        solver, told = each.row.solver, f" ({each.off})" if each.off else ""
        data.append(_mark(each, metric, time, f"{names[solver]}{told}", get_style))
        if solver == board.baseline and not _old(each.row):
            data[-1] |= {"mode": "markers+text", "text": ["baseline"], "textposition": "top right"}
        if each in best or (solver in first and not _old(each.row)):
            shown.append(data[-1]["legendgroup"])
    aside = tuple(each["legendgroup"] for each in data[: bool(best)])
    layout = {
        "xaxis": {"title": {"text": safe(axis(time))}, "type": "log"},
        "yaxis": {
            "title": {"text": safe(axis(metric))},
            "type": label.scale if all(each.row.mean > 0 for each in found) else "linear",
        },
    }
    lost = [names[row.solver] for row in board.current[metric] if row.failures and not row.n]
    title = board.setting.objective, board.setting.dataset, _front_protocol(found, kind, lost)
    first = first_shown(tuple(shown), data, f"{led_by(board, metric)}; and the front", aside)
    return Figure(tuple(map(safe, title)), data, layout, **first)


def _mark(point, metric, time, shown, get_style):
    style, row, own = get_style(point.row.solver), point.row, point.time
    dot = _dot(point.row.solver, shown, own.mean, own.low, own.high, get_style)
    symbol = SYMBOLS[style["marker"] % len(SYMBOLS)]
    dot["marker"] |= {"symbol": symbol + _OPEN * bool(point.off)}
    dot |= {
        "y": [number(row.mean)],
        "error_y": {**dot["error_x"], **_arms(row.mean, row.low, row.high)},
        "showlegend": True,
        "customdata": [f"n = {row.n}"],
        "hovertemplate": "%{fullData.name}<br>%{x:.3~g}, %{y:.3~g}, %{customdata}<extra></extra>",
    }
    return dot


def _staircase(best):
    name = "front of the means"
    return {
        "type": "scatter",
        "name": name,
        "legendgroup": name,
        "x": [number(each.time.mean) for each in best],
        "y": [number(each.row.mean) for each in best],
        "mode": "lines",
        "line": {"color": f"rgb({rgb(GREY)})", "shape": "hv", "width": 1.5, "dash": "dot"},
        "hoverinfo": "skip",
    }


def _front_protocol(found, kind, lost):
    seeds = format_seeds(each.row.n for each in found)
    off = "; open: left off the front, for the reason beside the name" if any(each.off for each in found) else ""
    absent = f"; all cells failed: {', '.join(lost)}" if lost else ""
    apart = f"; solvers that ran in processes of one kind alone ({kind}), as times of several don't mix" if kind else ""
    return (
        f"means over seeds ({seeds}) with their {100 * LEVEL:.0f} % Student t intervals, of both; dotted: the Pareto "
        "front of these means, where no other solver is as fast and as good, whether or not seeds tell them apart"
        f"{off}{absent}{apart}"
    )


# ----- paired differences -----


def _differences(result, own_boards, get_style):
    own_boards = _final(result, own_boards)
    solvers = list(dict.fromkeys(row.solver for each in own_boards for row in each.current[each.first]))
    names = short_solvers(solvers)
    usual = find_baseline(solvers, result.benchmark.baseline)
    solvers.sort(key=lambda name: name != usual)
    options = _labels(own_boards) | {
        "metric": {metric: METRICS[metric].label for each in own_boards for metric in each.rows},
        "baseline": {name: safe(names[name]) for name in solvers},
    }
    figures = {}
    for each in own_boards:
        for metric, rows in each.current.items():
            compare = boards.differences(each, metric)
            for baseline in solvers if metric == each.first else [usual]:
                if baseline in {row.solver for row in rows}:
                    choice = each.setting.dataset, each.setting.objective, metric, baseline
                    figures[choice] = _difference_figure(
                        each, metric, rows, baseline, compare(baseline), names, get_style
                    )
    return _plot("differences", "Paired differences to a baseline", options, figures, own_boards)


def _difference_figure(board, metric, rows, baseline, compared, names, get_style):
    tests = {(row.solver, row.stand): compared.get((row.solver, row.stand)) for row in rows}
    least, most = board.result.benchmark.range_of(metric)
    data, shown = [], [row for row in reversed(rows) if (test := tests[row.solver, row.stand]) and test.n]
    for row in shown:
        test = tests[row.solver, row.stand]
        separated = test.p <= ALPHA  # False for NaN
        name = stands.marked(names[row.solver], row.stand)
        bounds = max(test.low, least - most), min(test.high, most - least)  # that of two shares is in [-1, 1]
        data.append(_dot(row.solver, name, test.difference, *bounds, get_style, _OPEN * (not separated)))
        data[-1]["customdata"] = [f"n = {test.n}, p = {test.p:.2g}"]
        data[-1]["hovertemplate"] = "%{y}<br>%{x:.3~g}, %{customdata}<extra></extra>"
    label = METRICS[metric]
    told = (
        f"{label.label}: solver minus {names[baseline]} on the same seeds, mean with its {100 * LEVEL:.0f} % Student t "
        f"interval; {boards.direction(metric)} of 0 is better; filled: separated from 0 (paired t test at "
        f"{100 * ALPHA:.0f} %, Holm-adjusted over all other solvers, n ≥ {MIN_SEEDS}); failed cells are left out"
    )
    title = board.setting.objective, board.setting.dataset, stands.noted(told, [row.stand for row in rows])
    layout = _dot_layout(f"difference in {label.label}", len(shown))
    layout["shapes"] = [_vertical(0.0)]
    return Figure(tuple(map(safe, title)), data, layout)


def _dot(solver, shown, middle, low, high, get_style, shift=0):
    style = get_style(solver)
    colour = f"rgb({rgb(style['color'])})"
    return {
        "type": "scatter",
        "name": safe(shown),
        "legendgroup": safe(shown),
        "x": [number(middle)],
        "y": [safe(shown)],
        "mode": "markers",
        "showlegend": False,
        "marker": {"color": colour, "symbol": shift, "size": 10, "line": {"color": colour, "width": 2}},
        "error_x": {"type": "data", "symmetric": False, **_arms(middle, low, high), "color": colour, "thickness": 1.5,
                    "width": 5},
    }  # fmt: skip


def _arms(middle, low, high):
    up, down = (max(each, 0.0) if np.isfinite(each) else 0.0 for each in (high - middle, middle - low))
    return {"array": [number(up)], "arrayminus": [number(down)]}


def _dot_layout(label, count):
    return {
        "xaxis": {"title": {"text": safe(label)}, "zeroline": False},
        "yaxis": {"type": "category", "automargin": True, "tickfont": {"size": 11}},
        "height": 130 + _LINE * count,
    }


def _vertical(at):
    return {"type": "line", "x0": at, "x1": at, "y0": 0, "y1": 1, "yref": "paper", "line": {"width": 1, "dash": "dot"}}


# ----- targets -----


def _targets(result, own_boards, get_style):
    metrics = result.benchmark.to_target
    figures = {}
    for each in _final(result, own_boards):
        for metric in metrics:
            figures[each.setting.dataset, each.setting.objective, metric] = _target_figure(each, metric, get_style)
    options = _labels(_final(result, own_boards)) | {"metric": {each: METRICS[each].label for each in metrics}}
    return _plot("targets", "Steps or time to a fixed target", options, figures, own_boards)


def _target_figure(board, metric, get_style):
    frame, place = history.current(board.result.rows(board.setting)), (board.setting.dataset, board.setting.objective)
    try:
        rows = survival.to_target(frame, *place, metric)
    except ValueError as error:
        return Figure((safe(f"error: {error}"),))
    told = survival.protocol(
        rows, survival.levels(frame, *place, "target"), metric, survival.evaluation_grid(frame, *place)
    )
    names = short_solvers([row.solver for row in rows])
    finite = [x for row in rows for x in (row.median.estimate, row.median.low, row.median.high) if np.isfinite(x)]
    edge = 1.08 * max(finite, default=1.0)  # where what was not reached is drawn, with its own symbol
    data, ticks = [], []
    for row in reversed(rows):
        reached = np.isfinite(row.median.estimate)
        middle = row.median.estimate if reached else edge
        high = row.median.high if np.isfinite(row.median.high) else edge
        low = row.median.low if np.isfinite(row.median.low) else middle
        shown = stands.marked(names[row.solver], row.stand)
        dot = _dot(row.solver, shown, middle, low, high, get_style, 0 if reached else _RIGHT)
        failed = f", {format_failures(row.failures)}" if row.failures else ""
        ticks.append(safe(f"{shown} · {row.reached} of {row.n}{failed}"))
        dot["y"] = ticks[-1:]
        data.append(dot)
    layout = _dot_layout(METRICS[metric].label, len(rows))
    title = (
        place[1],
        place[0],
        f"{told}; triangles: the median is not reached; beside the name: seeds that reached it",
    )
    return Figure(tuple(map(safe, title)), data, layout)


# ----- profiles -----


def _profiles(result, own_boards, get_style):
    groups = {}
    for each in _final(result, own_boards):
        groups.setdefault((each.setting.objective, each.first), []).append(each.setting.dataset)
    baseline, figures = result.benchmark.baseline, {}
    for (objective, metric), datasets in groups.items():
        if len(datasets) >= FEWEST:
            found = performance.profiles(result.current, datasets, objective, metric, baseline)
            doubtful = {solver for each in own_boards for solver in without_guarantee(each)}
            usual = find_baseline([each.solver for each in found], baseline)
            best = [each.solver for each in found if each.solver not in {*doubtful, usual}]
            first = {*best[: boards.BEST], usual}
            figures[objective,] = _profile_figure(found, objective, metric, baseline, len(datasets), get_style, first)
    options = {"objective": {objective: safe(objective) for objective, _ in groups}}
    return _plot("profiles", "Performance profiles over data sets", options, figures, own_boards)


def _profile_figure(found, objective, metric, baseline, count, get_style, first):
    names = short_solvers([each.solver for each in found])
    data, shown = [], []
    for each in found:
        style = get_style(each.solver)
        colour = rgb(style["color"])
        few = f" ({each.datasets} of {count} data sets)" if each.datasets < count else ""
        label = safe(stands.marked(f"{names[each.solver]}{few}", each.stand))
        common = {"type": "scatter", "name": label, "legendgroup": label}
        x, y = list(map(number, each.factors)), list(map(number, each.share))
        if each.low is not None:
            low, high = list(map(number, each.low)), list(map(number, each.high))
            data.append({**common, "x": x + x[::-1], "y": high + low[::-1], "fill": "toself", "mode": "lines",
                         "fillcolor": f"rgba({colour}, 0.06)", "line": {"width": 0}, "hoverinfo": "skip",
                         "showlegend": False})  # fmt: skip
        if each.solver in first:
            shown.append(label)
        data.append({**common, "x": x, "y": y, "mode": "lines",
                     "line": {"color": f"rgb({colour})", "shape": "hv", "dash": dash(style)},
                     "hovertemplate": "%{fullData.name}<br>factor %{x:.3~g}: %{y:.2~f}<extra></extra>"})  # fmt: skip
    layout = {
        "xaxis": {"title": {"text": safe(f"factor of {baseline}'s {METRICS[metric].label}")}, "type": "log"},
        "yaxis": {"title": {"text": "share of the data sets"}, "range": [-0.02, 1.02]},
        "shapes": [_vertical(1.0)],
    }
    told = stands.noted(performance.protocol(metric, baseline), [each.stand for each in found])
    led = f"the baseline and the {boards.BEST} best other solvers by their share at the factor 1"
    return Figure((safe(objective), safe(told)), data, layout, **first_shown(tuple(shown), found, led))
