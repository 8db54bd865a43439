"""Comparisons that depend on no one else in the table: differences to a baseline, targets, profiles."""

import numpy as np

from orthobench.report import history, performance, stands, survival
from orthobench.report.benchmarks import METRICS
from orthobench.report.leaderboard import find_baseline, format_failures
from orthobench.report.names import short_names, short_objectives, short_solvers
from orthobench.report.page import safe
from orthobench.report.site import boards
from orthobench.report.site.figures import Figure, Plot, number, rgb
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


def _plot(name, title, options, figures):
    shown = {choice: figure for choice, figure in figures.items() if not figure.empty}
    if not shown:
        return None
    return Plot(name, title, options, shown, next(iter(shown)))


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
    return _plot("differences", "Paired differences to a baseline", options, figures)


def _difference_figure(board, metric, rows, baseline, compared, names, get_style):
    tests = {(row.solver, row.stand): compared.get((row.solver, row.stand)) for row in rows}
    data, shown = [], [row for row in reversed(rows) if (test := tests[row.solver, row.stand]) and test.n]
    for row in shown:
        test = tests[row.solver, row.stand]
        separated = test.p <= ALPHA  # False for NaN
        name = stands.marked(names[row.solver], row.stand)
        data.append(_dot(row.solver, name, test.difference, test.low, test.high, get_style, _OPEN * (not separated)))
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
    up, down = (max(each, 0.0) if np.isfinite(each) else 0.0 for each in (high - middle, middle - low))
    return {
        "type": "scatter",
        "name": safe(shown),
        "legendgroup": safe(shown),
        "x": [number(middle)],
        "y": [safe(shown)],
        "mode": "markers",
        "showlegend": False,
        "marker": {"color": colour, "symbol": shift, "size": 10, "line": {"color": colour, "width": 2}},
        "error_x": {"type": "data", "symmetric": False, "array": [number(up)], "arrayminus": [number(down)],
                    "color": colour, "thickness": 1.5, "width": 5},
    }  # fmt: skip


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
    return _plot("targets", "Steps or time to a fixed target", options, figures)


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
            figures[objective,] = _profile_figure(found, objective, metric, baseline, len(datasets), get_style)
    options = {"objective": {objective: safe(objective) for objective, _ in groups}}
    return _plot("profiles", "Performance profiles over data sets", options, figures)


def _profile_figure(found, objective, metric, baseline, count, get_style):
    names = short_solvers([each.solver for each in found])
    data = []
    for each in found:
        colour, symbol = rgb(get_style(each.solver)["color"]), get_style(each.solver)["marker"]
        few = f" ({each.datasets} of {count} data sets)" if each.datasets < count else ""
        label = safe(stands.marked(f"{names[each.solver]}{few}", each.stand))
        common = {"type": "scatter", "name": label, "legendgroup": label}
        x, y = list(map(number, each.factors)), list(map(number, each.share))
        if each.low is not None:
            low, high = list(map(number, each.low)), list(map(number, each.high))
            data.append({**common, "x": x + x[::-1], "y": high + low[::-1], "fill": "toself", "mode": "lines",
                         "fillcolor": f"rgba({colour}, 0.06)", "line": {"width": 0}, "hoverinfo": "skip",
                         "showlegend": False})  # fmt: skip
        dashes = ("solid", "dash", "dot", "dashdot")
        data.append({**common, "x": x, "y": y, "mode": "lines",
                     "line": {"color": f"rgb({colour})", "shape": "hv", "dash": dashes[symbol % len(dashes)]},
                     "hovertemplate": "%{fullData.name}<br>factor %{x:.3~g}: %{y:.2~f}<extra></extra>"})  # fmt: skip
    layout = {
        "xaxis": {"title": {"text": safe(f"factor of {baseline}'s {METRICS[metric].label}")}, "type": "log"},
        "yaxis": {"title": {"text": "share of the data sets"}, "range": [-0.02, 1.02]},
        "shapes": [_vertical(1.0)],
    }
    told = stands.noted(performance.protocol(metric, baseline), [each.stand for each in found])
    return Figure((safe(objective), safe(told)), data, layout)
