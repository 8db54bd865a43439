"""The rows behind a figure: every metric of each repetition, its environment, and the command that repeats it."""

import shlex

import numpy as np
import pandas as pd

from orthobench.report import history, stands
from orthobench.report.leaderboard import format_number
from orthobench.report.page import one_line
from orthobench.report.site import glossary
from orthobench.report.site.tables import Table, Td, number

ENV = "objective_env_"
# What the keys of an environment mean, where their names don't say it.
MEANINGS = {"stand": stands.MEANING}
# What an environment says besides the harness's own columns, as Benchopt calls it.
SYSTEM = ("platform", "platform-release", "platform-architecture", "system-processor", "system-cpus",
          "system-ram (GB)", "version-numpy", "version-scipy")  # fmt: skip
_FIRST = ("repetition", "status", "last point", "method time (s)")
_LONG = 100  # characters: a text above is in the download alone


def last_rows(rows):
    """Return the last row of each repetition of each solver; a failure comes after the good rows before it."""
    cell = ["solver_name", "idx_rep"]
    order = rows.assign(_failed=rows["objective_status"] != "ok")
    return order.sort_values([*cell, "_failed", "stop_val"], kind="stable").groupby(cell).tail(1)


def metric_columns(rows):
    """List the columns of metrics that a setting's rows have values of."""
    left_out = ("objective_name", "objective_status", "objective_message")
    return [
        name
        for name in rows
        if name.startswith("objective_")
        and not name.startswith(ENV)
        and name not in left_out
        and rows[name].notna().any()
        and not is_long(rows[name])
    ]


def is_long(column):
    """Whether a column holds long texts."""
    return not pd.api.types.is_numeric_dtype(column) and bool((column.dropna().astype(str).str.len() > _LONG).any())


def words(benchmark, columns):
    """Return the part of the glossary that explains the columns of `rows_tables`."""
    own = glossary.columns(benchmark, [name.removeprefix("objective_") for name in columns])
    return glossary.terms([*_FIRST, "message"]) | own


def rows_tables(rows, columns, keys):
    """Return the last row of each repetition, a `Table` for each solver; ``keys`` are their keys by solver."""
    header = (*_FIRST, *(name.removeprefix("objective_") for name in columns), "message")
    cells = {solver: [] for solver in keys}
    needed = ["solver_name", "idx_rep", "objective_status", "stop_val", "time", "objective_message", *columns]
    needed += [history.SUPERSEDED] if history.SUPERSEDED in rows else []
    timed = rows.assign(time=stands.method_time(rows))
    needed = list(dict.fromkeys(needed))
    runs = [history.current(timed), *history.generations(timed)]
    for row in (row for run in runs for row in last_rows(run[needed]).to_dict("records")):
        failed, told = "failed" if row["objective_status"] != "ok" else None, _message(row["objective_message"])
        reason = _message(row.get(history.SUPERSEDED))
        if reason:
            failed, told = history.SUPERSEDED, ". ".join(filter(None, [f"{history.SUPERSEDED}: {reason}", told]))
        cells[row["solver_name"]].append(
            (
                Td(str(row["idx_rep"]), float(row["idx_rep"])),
                Td(one_line(row["objective_status"]), mark=failed),
                number(str(row["stop_val"]), float(row["stop_val"])),
                number(format_number(row["time"]), row["time"]),
                *(_value(row[name]) for name in columns),
                Td(told, mark=failed),
            )
        )
    caption = "The last row of each repetition; rows before it are in the download."
    return {
        solver: Table(keys[solver], caption, header, tuple(own), words=glossary.COLUMN) for solver, own in cells.items()
    }


def _message(value):
    return one_line(value) if isinstance(value, str) else ""


def _value(value):
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number):
        return Td("" if value is None or value is pd.NA or value != value else one_line(value))
    if float(value).is_integer() and abs(value) < 1e9:
        return Td(str(int(value)), float(value))
    return number(format_number(value), value)


def environments(frame, by_solver):
    """Map solvers to the environment of their rows that count, if any; ``frame`` holds all of ``by_solver``."""
    names = [name for name in frame if name.startswith(ENV) or name in SYSTEM]
    if len(frame[names].drop_duplicates()) <= 1:
        return dict.fromkeys(by_solver, environment(frame))
    return {solver: environment(history.standing(own)) for solver, own in by_solver.items()}


def environment(rows):
    """Map what is told of the environment of rows to its values, several where rows differ."""
    names = [name for name in rows if name.startswith(ENV)] + [name for name in SYSTEM if name in rows]
    found = {}
    for name in names:
        values = [one_line(each) for each in rows[name].dropna().unique()]
        if values:
            found[name.removeprefix(ENV)] = ", ".join(values)
    return found


def meanings(environments):
    """Map those keys of environments to what they mean that have no plain name, of `MEANINGS`."""
    told = {key for each in environments for key in each}
    return {key: text for key, text in MEANINGS.items() if key in told}


def commits(rows):
    """List the commits that rows were computed at; none where they do not tell."""
    column = f"{ENV}commit"
    found = rows[column].dropna().astype(str).unique().tolist() if column in rows else []
    return [each for each in found if each != "unknown"]


def command(benchmark, setting, rows):
    """Return the shell commands that compute the rows of one solver again, one a line; of those that count, if any."""
    rows = history.standing(rows)
    solver = history.ran_as(rows).iloc[-1]
    number_of = int(rows["idx_rep"].max()) + 1
    lines = [f"git checkout {each}" for each in commits(rows)[-1:]]
    variables = [
        f"{variable}={shlex.quote(one_line(values[0]))}"
        for variable, column in (("ORTHOBENCH_DEVICE", "device"), ("ORTHOBENCH_THREADS", "threads"))
        if f"{ENV}{column}" in rows and len(values := rows[f"{ENV}{column}"].dropna().unique())
    ]
    words = ["benchopt", "run", benchmark.folder, "-o", setting.objective, "-d", setting.dataset, "-s", solver]
    words += ["-r", str(number_of)]
    seed = rows["base_seed"].dropna().unique() if "base_seed" in rows else []
    words += ["--seed", str(int(seed[0]))] if len(seed) else []
    words += ["--no-timeout", "--no-cache"]
    lines.append(" ".join([*variables, *(shlex.quote(one_line(word)) for word in words)]))
    return "\n".join(lines)


def configuration_command(folder, benchmark, name):
    """Return the command that runs the configuration a file is named after; None if there is no such one."""
    if folder is None or not (folder / "configs" / f"{name}.yml").is_file():
        return None
    place = "" if benchmark.folder == "." else f"{benchmark.folder}/"
    return f"benchopt run {benchmark.folder} --config {place}configs/{name}.yml --output {name}"
