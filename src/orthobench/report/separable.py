"""Which pairs of solvers the seeds can tell apart, in plain sentences."""

from orthobench.report import stands
from orthobench.report.benchmarks import HIGHER, METRICS
from orthobench.report.leaderboard import cells_by_solver, format_number, format_seeds, last_values, to_rank
from orthobench.report.names import short_solvers
from orthobench.report.statistics import MIN_SEEDS, gaps

ALPHA = 0.05


def separable(frame, dataset, objective, metric):
    """Say which gaps of the leaderboard are separable, and which are not: a list of lines.

    By the tests behind the leaderboard's ranks, see `statistics.gaps`. A solver is called by its family and those of
    its parameters in which it differs from others of it. Times and memory are compared within each kind of process that
    solvers ran in, and their lines are then under the kind.

    Raises
    ------
    ValueError
        For the reasons given in `cells`.
    """
    parts = stands.apart(frame, METRICS[metric].timed, dataset_name=dataset, objective_name=objective)
    lines = []
    for kind, part in parts.items():
        own = _lines(cells_by_solver(part, dataset, objective, metric), metric)
        lines += [f"{kind}: {line}" for line in own] if kind else own
    return [*lines, *filter(None, [stands.note(parts)])]


def _lines(by_solver, metric):
    values = last_values(by_solver)
    names = short_solvers(list(values))
    # Best first, so that pairs come in the order of the leaderboard.
    table = to_rank(values, metric)
    table = table[table.mean().sort_values(kind="stable").index]
    sign = ">" if METRICS[metric].better == HIGHER else "<"

    told_apart, tied, untested = [], [], []
    for gap in gaps(table, ALPHA, METRICS[metric].counted):
        better, worse = (gap.one, gap.other) if gap.difference <= 0 else (gap.other, gap.one)
        p = format_number(gap.p)
        if gap.separated:
            told_apart.append((gap.p, f"{names[better]} {sign} {names[worse]} (p = {p})"))
        elif gap.n >= MIN_SEEDS:
            tied.append((gap.p, f"{names[better]} and {names[worse]} (p = {p})"))
        else:
            untested.append((gap.n, f"{names[gap.one]} and {names[gap.other]} (n = {gap.n})"))
    if untested and not (told_apart or tied):
        few = format_seeds(n for n, _ in untested)
        lines = [f"not tested: every pair has fewer than {MIN_SEEDS} common seeds ({few})"]
    else:
        rule = f"paired t tests at {100 * ALPHA:.0f} %, Holm-adjusted over all pairs"
        lines = [f"separable ({rule}): {_listed(told_apart)}", f"not separable: {_listed(tied)}"]
        if untested:
            lines.append(f"not tested, for fewer than {MIN_SEEDS} common seeds: {_listed(untested)}")
    without = [names[solver] for solver, own in values.items() if not len(own)]
    return [*lines, f"no figure: {', '.join(without)}"] if without else lines


def _listed(pairs):
    """Return the texts in the order of their numbers, the surest first."""
    return ", ".join(text for _, text in sorted(pairs, key=lambda pair: pair[0])) or "none"
