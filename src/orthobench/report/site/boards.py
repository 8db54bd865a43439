"""Leaderboards, rank overviews and paired differences of a result, as pages show them."""

import functools
from dataclasses import dataclass, replace

import numpy as np

from orthobench.report import history, stands
from orthobench.report import leaderboard as boards
from orthobench.report.benchmarks import HIGHER, METRICS
from orthobench.report.names import parameters, short_names, short_objectives, told_apart, without
from orthobench.report.site import glossary
from orthobench.report.site.results import Result
from orthobench.report.site.tables import Table, Td, number
from orthobench.report.sweep import LEARNING_RATE
from orthobench.report.tables import leaderboard_rows

COLUMNS = (*boards.COLUMNS, "first message")
FILTERS = ("failures",)
BEST = 6  # solvers that figures show at first, besides the baseline
HEAT = 5  # shades of ranks


@dataclass(frozen=True)
class Board:
    """The leaderboards of one setting: rows by metric, the metric that is shown first among them."""

    result: Result
    setting: object
    rows: dict  # list of leaderboard.Row by metric
    first: str

    @property
    def metrics(self):
        """The metrics, in the benchmark's order."""
        return list(self.rows)

    @property
    def current(self):
        """The rows that are compared, by metric."""
        return {metric: [row for row in own if row.rank != history.SUPERSEDED] for metric, own in self.rows.items()}

    @property
    def baseline(self):
        """The solver that the others are compared with; None where it was not run."""
        solvers = dict.fromkeys(row.solver for row in self.current[self.first])
        return boards.find_baseline(solvers, self.result.benchmark.baseline)

    @property
    def wanted(self):
        """What a figure that opens on this board shows, by option."""
        setting = self.setting
        return {"dataset": [setting.dataset], "data set": [setting.dataset], "objective": [setting.objective],
                "metric": [self.first], "baseline": [self.baseline]}  # fmt: skip


def boards_of(result):
    """Return the `Board` of each setting of a result.

    Where figures are not final (those of the tuning part), only the metric that is shown first has one.
    """
    return [_board(result, setting) for setting in result.settings]


def _board(result, setting):
    metrics, first = _metrics(result, setting)
    return Board(result, setting, _rows(result, setting, metrics), first)


def _metrics(result, setting):
    """Return the metrics of a setting that its rows have, and the one that is shown first."""
    frame, benchmark = result.rows(setting), result.benchmark
    first = benchmark.metric_for(parameters(setting.objective))
    metrics = list(benchmark.leaderboards) if result.is_evidence(setting.objective) else [first]
    metrics = [each for each in metrics if _has_values(frame, each) and each != "value"] or ["value"]
    return metrics, first if first in metrics else metrics[0]


def headline(result):
    """Return the `Board` that a page of a result begins with, with the metric that is shown first alone."""
    setting = result.settings[0]
    _, first = _metrics(result, setting)
    return Board(result, setting, _rows(result, setting, [first]), first)


def _rows(result, setting, metrics):
    place = setting.dataset, setting.objective
    return {
        metric: leaderboard_rows(result.current, *place, metric, result.benchmark.baseline)
        + boards.superseded(result.frame, *place, metric)
        for metric in metrics
    }


def without_guarantee(board):
    """Return the solvers of a board that claim nothing of what others guarantee, or were refuted."""
    return {row.solver for own in board.rows.values() for row in own if row.rank == boards.NO_GUARANTEE}


def leading(board, metric):
    """Return the solvers of a board that figures show at first: the baseline and the best others by a metric.

    None without a guarantee is among the best. Of a method that was run at several learning rates there is the best
    one; the baseline is then without it.
    """
    doubtful, best, usual = without_guarantee(board), {}, _usual(board)
    for row in board.current[metric]:
        if np.isfinite(row.mean) and row.solver not in doubtful:
            best.setdefault(without(row.solver, LEARNING_RATE), row.solver)
    others = [solver for method, solver in best.items() if usual not in (method, solver)]
    return {*others[:BEST], usual} - {None}


def led_by(board, metric):
    """Say which solvers are `leading`."""
    best = f"the baseline and the {BEST} best other solvers" if _usual(board) else f"the {BEST} best solvers"
    return f"{best} by {METRICS[metric].label}"


def _usual(board):
    if board.baseline or board.result.is_evidence(board.setting.objective):
        return board.baseline
    methods = dict.fromkeys(without(row.solver, LEARNING_RATE) for row in board.current[board.first])
    return boards.find_baseline(methods, board.result.benchmark.baseline)


def _has_values(frame, metric):
    column = f"objective_{metric}"
    return column in frame and bool(frame[column].notna().any())


def board_table(board, metric, key, solver_href, rows_href, compare_href=None):
    """Return the leaderboard of a metric as a `Table`.

    Parameters
    ----------
    solver_href, rows_href : callable
        Of a solver's name: the addresses of its page, and of its rows.
    compare_href : callable, optional
        Likewise, of its comparison with the baseline; None where there is none.
    """
    rows, benchmark = board.rows[metric], board.result.benchmark
    told = told_apart([row.solver for row in rows])
    hrefs = solver_href, rows_href, compare_href or (lambda solver: None)
    cells = [_cells(place, row, told, *hrefs) for place, row in enumerate(rows)]
    caption = boards.protocol(rows, metric, benchmark.baseline, benchmark.range_of(metric)) + _alike(told)
    return Table(key, caption, COLUMNS, tuple(cells), FILTERS, glossary.TABLE, METRICS[metric].label)


def _alike(told):
    """Say which hyper-parameters the solvers of a table share."""
    usual = "where a method has such a parameter, and no other value below its name"
    texts = [f"; all with {', '.join(told.of_all)}"] if told.of_all else []
    texts += [f"; {usual}: {', '.join(told.usual)}"] if told.usual else []
    return "".join(texts)


def _solver(told, solver, href, stand=""):
    """Return the cell of a solver: its name, and below it what it does not share."""
    name, chips = told.own[solver]
    return Td(stands.marked(name, stand), href=href(solver), chips=chips)


def _cells(place, row, told, solver_href, rows_href, compare_href):
    rank, _, _, interval, difference, n, failures, time, spread = boards.format_row(row)
    failed = _mark(row)
    compared = row.difference.difference if row.difference is not None and row.difference.n else np.nan
    return (
        Td(rank, float(place), mark=failed),
        _solver(told, row.solver, solver_href, row.stand),
        number(boards.format_mean(row), row.mean),
        number(interval, row.low),
        replace(number(difference, compared), href=compare_href(row.solver)),
        Td(n, float(row.n), href=rows_href(row.solver)),
        Td(failures or "none", float(row.failures.total()), mark=failed),
        number(time, row.time),
        number(spread, row.time_low),
        Td(row.note, mark=failed),
    )


def overview_table(result, own_boards, key, solver_href, board_href):
    """Return the ranks of each solver on every setting whose figures are final, by the metric that is shown first.

    None if there are fewer than two such settings.
    """
    shown = [each for each in own_boards if result.is_evidence(each.setting.objective)]
    by_metric = {}
    for each in shown:
        by_metric.setdefault(each.first, []).append(each)
    tables = []
    for metric, group in by_metric.items():
        solvers = list(dict.fromkeys(row.solver for each in group for row in each.rows[metric]))
        told, datasets = told_apart(solvers), short_names(dict.fromkeys(each.setting.dataset for each in group))
        ranks = [{row.solver: row for row in reversed(each.rows[metric])} for each in group]
        solvers.sort(key=functools.partial(_middle_rank, ranks))
        rows = tuple(
            (_solver(told, solver, solver_href), *(_rank(own.get(solver), each, board_href)
                                                   for own, each in zip(ranks, group, strict=True)))
            for solver in solvers
        )  # fmt: skip
        objectives = short_objectives(dict.fromkeys(each.setting.objective for each in group))
        columns = ("solver", *(_column(each, datasets, objectives) for each in group))
        label = METRICS[metric]
        caption = (
            f"Rank by {label.label} ({label.better} is better) on each data set. A range is a tie: seeds can't tell "
            "the solvers in it apart. The stronger the shade, the better the fifth of its column that a rank is in. "
            "†: failed cells. A dash: not run, or skipped. Each rank leads to its figures" + _alike(told)
        )
        tables.append(Table(f"{key}-{metric}", caption, columns, rows, words=glossary.TABLE))
    return tables


def _column(board, datasets, objectives):
    name = datasets[board.setting.dataset]
    return f"{name}, {objectives[board.setting.objective]}" if len(objectives) > 1 else name


def _rank(row, board, board_href):
    if row is None:
        return Td("–")  # noqa: RUF001
    marks = filter(None, [_mark(row), _heat(row, board)])
    return Td(row.rank, _middle(row), href=board_href(board), mark=" ".join(marks) or None)


def _heat(row, board):
    """Return the classes of the fifth that a rank is in, ``heat-0`` for the best; None without a rank."""
    middle = _middle(row)
    if middle is None:
        return None
    ranked = sum(each.stand == row.stand and _middle(each) is not None for each in board.rows[board.first])
    return f"heat heat-{min(int(HEAT * (middle - 1) / max(ranked - 1, 1)), HEAT - 1)}"


def _mark(row):
    return history.SUPERSEDED if row.rank == history.SUPERSEDED else "failed" if row.failures else None


def _middle(row):
    """Return the middle of a row's ranks; None without any."""
    ends = row.rank.rstrip("†").split("-")
    return float(np.mean(list(map(int, ends)))) if ends[0].isdecimal() else None


def _middle_rank(ranks, solver):
    """Order solvers by their middle rank; those that were run on fewer settings come after those with as good ones."""
    found = [_middle(own[solver]) for own in ranks if solver in own]
    good = [each for each in found if each is not None]
    return (float(np.median(good)) if good else np.inf, -len(good), solver)


def differences(board, metric):
    """Return the function that compares a board's solvers with one of them.

    It maps solvers, each with the kind of its process (as `leaderboard.Row` has it), to a `statistics.Comparison`.
    """
    values = last_values(board, metric, history.current(board.result.rows(board.setting)))

    def compare(baseline):
        return {
            (solver, kind): test
            for kind, own in values.items()
            if baseline in own
            for solver, test in boards.differences(own, baseline, METRICS[metric].counted).items()
        }

    return compare


def last_values(board, metric, rows):
    """Map the kinds of process that some of a board's rows are of to `leaderboard.last_values` of these."""
    return {
        kind: boards.last_values(boards.cells_by_solver(part, board.setting.dataset, board.setting.objective, metric))
        for kind, part in stands.apart(rows, METRICS[metric].timed).items()
    }


def direction(metric):
    """Say which side of 0 is better."""
    return "right" if METRICS[metric].better == HIGHER else "left"
