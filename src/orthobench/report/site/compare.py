"""The page that compares two solvers of a benchmark, and the values of each seed that a script does so from.

The pairs are too many for their figures to be computed beforehand. The script takes the same tests as the leaderboards.
"""

from urllib.parse import urlencode

from orthobench.report import history, stands
from orthobench.report.benchmarks import METRICS
from orthobench.report.leaderboard import NO_GUARANTEE, format_failures
from orthobench.report.names import short_solvers
from orthobench.report.site import boards
from orthobench.report.site.comparisons import ALPHA
from orthobench.report.statistics import LEVEL, MIN_SEEDS, quantile

FILE = "compare.html"


def address(name, solver, baseline):
    """Return where the page of a benchmark compares a solver with the baseline, from the root of the site."""
    return f"{name}/{FILE}#{urlencode({'a': solver, 'b': baseline})}"


def href(site, machine, board, metric, up):
    """Return the function that gives where a solver of a leaderboard is compared with the baseline.

    It gives None where there is no such comparison: of the baseline, or of figures that are not final.
    """
    compared = {row.solver for row in board.rows[metric] if row.difference is not None and row.difference.n}
    name, benchmark = site.slug(machine.result), machine.result.benchmark
    final = machine.result.is_evidence(board.setting.objective)
    return lambda solver: up + address(name, solver, benchmark.baseline) if final and solver in compared else None


def final_boards(machines):
    """List the boards whose figures are final, each with its machine."""
    return [
        (machine, board)
        for machine in machines
        for board in machine.boards
        if machine.result.is_evidence(board.setting.objective)
    ]


def page(name, machines):
    """Return (path, title, template, context) of the page."""
    title = machines[0].result.title
    context = {
        "name": name,
        "heading": title,
        "baseline": machines[0].result.benchmark.baseline,
        "places": [(machine, board.setting) for machine, board in final_boards(machines)],
        "stands": stands.sentence(kind for machine in machines for kind in machine.kinds),
    }
    return f"{name}/{FILE}", f"Compare two solvers | {title}: OrthoBench", "compare", context


def data(machines):
    """Return what the script of the page reads."""
    own = final_boards(machines)
    solvers = list(dict.fromkeys(row.solver for _, board in own for rows in board.rows.values() for row in rows))
    places = {solver: place for place, solver in enumerate(solvers)}
    metrics = dict.fromkeys(metric for _, board in own for metric in board.rows)
    settings = [_setting(machine, board, places) for machine, board in own]
    most = max(len(each["seeds"]) for each in settings)
    return {
        "baseline": machines[0].result.benchmark.baseline,
        "level": LEVEL,
        "alpha": ALPHA,
        "fewest": MIN_SEEDS,
        "quantiles": [None, *(float(quantile(LEVEL, freedom)) for freedom in range(1, most))],
        "solvers": list(short_solvers(solvers).items()),
        "metrics": {
            metric: {name: getattr(METRICS[metric], name) for name in ("label", "better", "counted")}
            for metric in metrics
        },
        "settings": settings,
    }


def _setting(machine, board, places):
    rows = machine.result.rows(board.setting)
    seeds = sorted(map(int, rows["idx_rep"].unique()))
    return {
        "machine": machine.result.machine,
        "label": machine.labels[board.setting],
        "seeds": seeds,
        "rows": {
            places[solver]: machine.rows_path(board.setting, solver).partition("/")[2]
            for solver in rows["solver_name"].unique()
        },
        "metrics": {metric: _entries(board, metric, rows, seeds, places) for metric in board.rows},
    }


def _entries(board, metric, rows, seeds, places):
    """Return what is told of each row of a leaderboard."""
    values = {False: _values(board, metric, [history.current(rows)])}
    values[True] = _values(board, metric, history.generations(rows))
    found = []
    for row in board.rows[metric]:
        runs = values[row.rank == history.SUPERSEDED][row.solver, row.stand]
        found.append(_entry(row, runs.pop(0), seeds, places))
    return found


def _values(board, metric, parts):
    """Map solvers, each with a kind of process, to the values of each of their runs, in the leaderboard's order."""
    values = {}
    for part in parts:
        for kind, found in boards.last_values(board, metric, part).items():
            for solver, own in found.items():
                values.setdefault((solver, kind), []).append(own)
    return values


def _entry(row, values, seeds, places):
    """Return a row's values in the order of the seeds, and what is special about it."""
    own = values.to_dict()
    told = {
        "kind": row.stand,
        "failures": format_failures(row.failures),
        "superseded": row.note if row.rank == history.SUPERSEDED else "",
        "unguaranteed": row.rank == NO_GUARANTEE,
    }
    found = [own.get(seed) for seed in seeds] if own else []
    return {"solver": places[row.solver], "values": found} | {name: value for name, value in told.items() if value}
