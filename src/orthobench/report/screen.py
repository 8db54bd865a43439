"""What a run found, on one screen of the terminal: a few lines a benchmark."""

import numpy as np

from orthobench.report.benchmarks import METRICS
from orthobench.report.leaderboard import NO_GUARANTEE, find_baseline, format_mean, format_number
from orthobench.report.names import parameters, short_names, short_solvers
from orthobench.report.page import one_line
from orthobench.report.site.results import CELL
from orthobench.report.site.rows import command
from orthobench.report.statistics import MIN_SEEDS
from orthobench.report.tables import leaderboard_rows
from orthobench.report.terminal import cut, length, pad, shortened

FAILURES = 1


def screen(results, width=80):
    """Say what results are, on lines of at most so many characters but for commands to copy.

    Parameters
    ----------
    results : list of Result
    width : int

    Returns
    -------
    list of str
        A line about all cells, four a benchmark (its question, the two best solvers and the baseline, on its first
        data set), and for the first failures what failed and the command that runs it again.
    """
    failed = [each for result in results for each in _failures(result)]
    lines = [_truth(results, len(failed)), *(line for result in results for line in _benchmark(result, width))]
    for told, again in failed[:FAILURES]:
        lines += [f"! {told}", again]
    if len(failed) > FAILURES:
        lines.append(f"! and {len(failed) - FAILURES} cells more failed: the page lists them.")
    commands = {again for _, again in failed}
    return [line if line in commands else cut(line, width) for line in lines]


def _truth(results, failures):
    cells = sum(len(result.frame.groupby(CELL, sort=False)) for result in results)
    seeds = max((int(result.frame["idx_rep"].nunique()) for result in results), default=0)
    few = f"; n < {MIN_SEEDS}: no evidence, no ranks" if seeds < MIN_SEEDS else ""
    return f"{cells} cells, {failures} failed{few}"


def _failures(result):
    """Return what failed and its command, cell by cell."""
    found = []
    for setting in result.settings:
        rows = result.rows(setting)
        for (solver, seed), own in rows[rows["objective_status"] != "ok"].groupby(["solver_name", "idx_rep"]):
            last = own.iloc[-1]
            place = f"{solver}, repetition {seed}, {setting.dataset}"
            told = f"{last['objective_status']}: {place}: {last['objective_message']}"
            again = command(result.benchmark, setting, rows[rows["solver_name"] == solver])
            found.append((one_line(told), again.splitlines()[-1]))  # without the checkout of the commit
    return found


def _benchmark(result, width):
    benchmark, setting = result.benchmark, result.settings[0]
    metric = benchmark.metric_for(parameters(setting.objective))
    yield benchmark.asked
    if f"objective_{metric}" not in result.frame:
        yield "  no figures: every cell failed"
        return
    rows = leaderboard_rows(result.frame, setting.dataset, setting.objective, metric, benchmark.baseline)
    names = {name: one_line(short) for name, short in short_solvers([row.solver for row in rows]).items()}
    theirs = find_baseline(dict.fromkeys(names), benchmark.baseline)
    baseline = next((row for row in rows if row.solver == theirs), None)
    best = [row for row in rows if np.isfinite(row.mean) and row.rank != NO_GUARANTEE and row is not baseline][:2]
    dataset = one_line(short_names([setting.dataset])[setting.dataset].partition("[")[0])
    notes = METRICS[metric].label, f"on {dataset}, {METRICS[metric].better} is better", ""
    shown = [row for row in rows if row in best or row is baseline]
    room = max(20, min(max((length(names[row.solver]) for row in shown), default=0), width - 90))
    for row, note in zip(shown, notes, strict=False):
        name, beside = shortened(names[row.solver], room), "baseline" if row is baseline else _ratio(row, baseline)
        figure = format_mean(row) + ("" if np.isfinite(row.high) else f" (n = {row.n})")
        yield f"  {pad(name, room)} {figure:<19}{beside:<8} {_time(row):<9} {note}".rstrip()


def _ratio(row, baseline):
    return f"x{format_number(row.mean / baseline.mean)}" if baseline is not None and baseline.mean else ""


def _time(row):
    return f"{format_number(row.time)} s" if np.isfinite(row.time) else ""
