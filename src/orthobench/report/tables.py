"""Tables of a page, as Benchopt's table plots take them."""

from orthobench.report import claims, leaderboard, routes, stands, steps, survival, sweep
from orthobench.report.benchmarks import HIGHER, METRICS, recognise
from orthobench.report.claims_file import load_claims
from orthobench.report.page import rank_cell, remember, safe, shorten, table

ALL = "all"
leaderboard_rows = remember(leaderboard.leaderboard)  # a site shows them in two places


def leaderboard_table(frame, dataset, objective, metric, baseline):
    """Return the cells and the metadata of a leaderboard; raises as `leaderboard` does."""
    rows = leaderboard_rows(frame, dataset, objective, metric, baseline)
    # By rank where higher is better: in falling order, what has no mean would come first.
    order = leaderboard.COLUMNS.index("rank" if METRICS[metric].better == HIGHER else "mean")
    cells, metadata = table(
        [objective, dataset, leaderboard.protocol(rows, metric, baseline, recognise(frame).range_of(metric))],
        [*leaderboard.COLUMNS, "first message"],
        [[*leaderboard.format_row(row), shorten(row.note)] for row in rows],
        default_order_column=order,
    )
    return [[rank_cell(row.rank, width=2), *others] for row, (_, *others) in zip(rows, cells, strict=True)], metadata


def claims_menu(path):
    """Return what a page offers: all claims of a file, or one."""
    return [ALL, *(claim.id for claim in _load(path)[0])]


def claims_table(frame, path, chosen):
    """Return the cells and the metadata of the verdicts of a file's claims, or of the checks of one claim."""
    listed, error = _load(path)
    # Each by itself: a page asks for all of them, then for one after the other.
    verdicts = [each for claim in listed if chosen in (ALL, claim.id) for each in _verdicts(frame, path, claim.id)]
    errors = [each for each in verdicts if isinstance(each, str)]
    if errors:
        verdicts, error = [], errors[0]
    if chosen == ALL or not verdicts:
        told = stands.noted(claims.protocol(listed), [each.stand for each in verdicts])
        counted = claims.summary([first for first, _ in claims.by_claim(verdicts)])
        title = [error or f"Published claims, {counted}", told]
        return table(title, claims.COLUMNS, map(claims.format_verdict, verdicts))
    claim, query = verdicts[0].claim, verdicts[0].claim.query
    reasons = [stands.marked(f"{each.verdict}: {each.reason}", each.stand) for each in verdicts]
    title = [claim.text, *reasons, stands.noted(claims.protocol([claim]), [each.stand for each in verdicts])]
    checks = [claims.format_check(check, query, each.stand) for each in verdicts for check in each.shown]
    return table(title, claims.check_columns(query), checks)


@remember
def _verdicts(frame, path, name):
    """Return the verdicts on one claim of a file, or the reason why there is none."""
    try:
        return claims.check_claims(frame, [claim for claim in _load(path)[0] if claim.id == name])
    except ValueError as reason:
        return [f"error: {reason}"]


def _load(path):
    """Return the claims, or none and the reason: a mistake in their file must not cost the page of a long run."""
    try:
        return load_claims(path), ""
    except (OSError, ValueError) as error:
        return [], f"error: {error}"


def to_target_table(frame, dataset, objective, metric):
    """Return the cells and the metadata of steps or time to the target; rows that contradict themselves give none."""
    title = [objective, dataset]
    try:
        rows = survival.to_target(frame, dataset, objective, metric)
        grid = survival.evaluation_grid(frame, dataset, objective)
        title.append(survival.protocol(rows, survival.levels(frame, dataset, objective, "target"), metric, grid))
    except ValueError as error:
        rows, title = [], [*title, f"error: {error}"]
    cells = [[*survival.format_row(row, metric), shorten(row.note)] for row in rows]
    return table(title, [*survival.COLUMNS, "first message"], cells)


def step_time_table(frame, dataset, objective):
    """Return the cells and the metadata of the parts of a step's time."""
    rows = steps.step_times(frame, dataset, objective)
    return table([objective, dataset, steps.protocol(rows)], steps.COLUMNS, map(steps.format_row, rows))


def routes_table(frame, dataset, objective):
    """Return the cells and the metadata of the parameters by route."""
    rows = routes.routes(frame, dataset, objective)
    return table([objective, dataset, routes.protocol(rows)], routes.COLUMNS, map(routes.format_route, rows))


def learning_rates_table(frame, objective):
    """Return the cells and the metadata of the chosen learning rates; a result without tuning rows gives none."""
    try:
        methods = sweep.sweep(frame, objective)
    except ValueError as error:
        return table([objective, str(error)], [*sweep.columns([]), "first message"], [])
    cells = [[*sweep.format_method(method, methods), shorten(method.note)] for method in methods]
    quantity = recognise(frame).tuned_by
    columns = [safe(name) for name in sweep.columns(methods, quantity)]  # the data sets' names are among them
    return table([objective, sweep.protocol(methods, quantity)], [*columns, "first message"], cells)
