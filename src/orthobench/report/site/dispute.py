"""A link that opens an issue about a result, with all that it takes to compute it again filled in."""

from urllib.parse import quote

from orthobench.report import history
from orthobench.report.benchmarks import METRICS
from orthobench.report.leaderboard import format_interval, format_number
from orthobench.report.page import one_line
from orthobench.report.site import rows as site_rows

MOST = 6000  # characters of an address: servers refuse those above 8,000 or so


def dispute(site, machine, setting, frame, row=None, metric=None):
    """Return the address of a new issue about the rows of a solver on a data set.

    Parameters
    ----------
    site : Site
    machine : Machine
    setting : Setting
    frame : pandas.DataFrame
        The rows.
    row : leaderboard.Row, optional
        What is said of them by the metric.
    metric : str, optional
    """
    frame = history.standing(frame)
    result, solver = machine.result, str(frame["solver_name"].iloc[0])
    told = {
        "benchmark": result.benchmark.folder,
        "data set": setting.dataset,
        "objective": setting.objective,
        "solver": solver,
        "machine": result.machine,
        "commits": ", ".join(site_rows.commits(frame)),
        "page": machine.rows_path(setting, solver),
    }
    if row is not None:
        interval = format_interval(row.low, row.high)
        told["figure"] = f"{METRICS[metric].label} {format_number(row.mean)}, interval {interval}, n = {row.n}"
    facts = [f"{name}: {one_line(value)}" for name, value in told.items() if value]
    commands = site_rows.command(result.benchmark, setting, frame).splitlines()
    # Indented, so that nothing in it is read as Markdown.
    quoted = "\n".join(f"    {line}" for line in [*facts, "", *commands])
    body = (
        f"What is wrong, and how do you know?\n\n\n\nThe result, and the commands that compute it again:\n\n{quoted}\n"
    )
    title = f"Dispute: {solver} on {machine.labels[setting]} ({result.machine})"
    return issue(site.documents.address, title, body)


def issue(address, title, body):
    """Return the address of a repository's form for a new issue, with title and body filled in; cut to `MOST`."""
    start = f"{address}/issues/new?title={_encoded(one_line(title), 600)}&body="
    return start + _encoded(body, MOST - len(start))


def _encoded(text, most):
    """Return a text as a part of an address, cut off if it takes more characters there."""
    encoded = quote(text, safe="")
    while len(encoded) > most:
        text = text[: len(text) * 9 // 10]
        encoded = quote(f"{text}…", safe="")
    return encoded
