"""Whether the rows of a file can be what a run gave: figures within their ranges, one commit, host and setting."""

import subprocess

import numpy as np
import pandas as pd

from orthobench.report.benchmarks import SHARED
from orthobench.report.page import one_line

STATUSES = ("ok", "diverged", "timeout", "out_of_memory", "error", "refuted")
ENV_COMMIT, ENV_HOST, ENV_DIRTY = "objective_env_commit", "objective_env_host", "objective_env_dirty"
SETTING = ("objective_env_threads", "objective_env_device", "objective_env_processes")  # of all rows of a file
NAMES = ("dataset_name", "objective_name", "solver_name")
_ROUNDING = 1e-6
_NO_SCALARS = (bytes, list, tuple, dict, np.ndarray)
_TEXTS = (str, *_NO_SCALARS)  # where numbers should be


def implausible(frame, benchmark):
    """Say what of a file's figures no run can have given.

    Parameters
    ----------
    frame : pandas.DataFrame
    benchmark : Benchmark
        Whose columns say which numbers are possible.

    Returns
    -------
    list of str
    """
    found = [f"{column} has values that are no text." for column in NAMES if not frame[column].map(_is_text).all()]
    if found:
        return found
    statuses = frame["objective_status"].astype(object)
    unknown = frame[~statuses.map(lambda status: isinstance(status, str) and status in STATUSES)]
    found = [_told(unknown, "objective_status", f"is none of {', '.join(STATUSES)}")] if len(unknown) else []
    for column, kind in frame.dtypes.items():
        if kind == "object" and frame[column].map(lambda value: isinstance(value, _NO_SCALARS)).any():
            found.append(f"{column} has values that are neither text nor numbers.")
    if "base_seed" in frame and (frame["base_seed"].notna() & _numbers(frame["base_seed"]).isna()).any():
        found.append("base_seed has values that are no numbers.")
    seeds = _numbers(frame["idx_rep"])
    strange = frame[~(seeds >= 0) | (seeds % 1 != 0)]
    if len(strange):
        found.append(_told(strange, "idx_rep", "is no repetition: these count from 0"))
    good = frame[statuses == "ok"]
    pointless = frame[~(_numbers(frame["stop_val"]) >= 0)]
    timeless = good[~_numbers(good["time"]).between(0, np.inf, inclusive="left")]
    rules = ((pointless, "stop_val", "is no point: these count from 0"), (timeless, "time", "is no number of seconds"))
    found += [_told(rows, column, rule) for rows, column, rule in rules if len(rows)]
    for columns in (*benchmark.columns, *SHARED):
        for name in columns.names:
            if f"objective_{name}" in good and (columns.metric or np.isfinite(columns.range).any()):
                found += _outside(good, f"objective_{name}", columns)
    return found + _monitored(good, benchmark)


def _outside(good, column, columns):
    numbers = _numbers(good[column]).to_numpy()
    low, high = columns.range
    text = np.isnan(numbers) & good[column].map(lambda value: isinstance(value, _TEXTS)).to_numpy(dtype=bool)
    outside = (numbers < low - _ROUNDING) | (numbers > high + _ROUNDING)
    infinite = np.isinf(numbers) & (not columns.infinite)
    rules = ((text, "is no number"), (outside, f"is outside of {low:g} to {high:g}"), (infinite, "is infinite"))
    return [_told(good[hit], column, rule) for hit, rule in rules if hit.any()]


def _numbers(series):
    """Return a column as numbers, NaN for what is none."""
    try:
        return pd.to_numeric(series, errors="coerce").astype(float)
    except TypeError:  # lists and the like
        return series.map(lambda value: value if isinstance(value, int | float) else np.nan).astype(float)


def _is_text(value):
    return isinstance(value, str)


def _monitored(good, benchmark):
    """Compare `value` with what it should be: the first of the monitored metrics that a row has."""
    column = "objective_value"
    if column not in good:
        return [f"has no column {column}: run the benchmark again."]
    value = _numbers(good[column])
    lost = good[value.isna()]
    found = [_told(lost, column, "is no number, though the status is ok")] if len(lost) else []
    metrics = {told: f"objective_{told.removeprefix('1 - ')}" for told in benchmark.monitored}
    if not any(name in good for name in metrics.values()):
        return found
    wanted = pd.Series(np.nan, index=good.index)
    for told, name in metrics.items():
        if name in good:
            metric = _numbers(good[name])
            wanted = wanted.fillna(1 - metric if told.startswith("1 - ") else metric)
    unlike = good[value.notna() & ~np.isclose(value, wanted, rtol=1e-9, atol=1e-12)]
    if len(unlike):
        found.append(_told(unlike, column, f"is not {' or '.join(benchmark.monitored)}"))
    return found


def _told(rows, column, rule):
    first = rows.iloc[0]
    place = f"{one_line(first['solver_name'])}, repetition {first['idx_rep']}, on {one_line(first['dataset_name'])}"
    return f"{column} {rule} in {len(rows)} rows, such as {one_line(first[column])[:60]} of {place}."


def provenance(frame):
    """Say which rows don't come from a commit without changes; a list of str."""
    if ENV_COMMIT not in frame or ENV_DIRTY not in frame:
        return [f"its rows tell no commit ({ENV_COMMIT}, {ENV_DIRTY}): run the benchmark again."]
    found = []
    clean = frame[ENV_DIRTY].map(lambda value: isinstance(value, int | float | np.bool_ | np.number) and value == 0)
    if not clean.all():
        count = f"{len(frame) - int(clean.sum())} of {len(frame)} rows"
        found.append(f"{count} were computed with uncommitted changes: commit, and run again.")
    unknown = frame[frame[ENV_COMMIT].isna() | (frame[ENV_COMMIT].map(str) == "unknown")]
    if len(unknown):
        found.append(f"{len(unknown)} of {len(frame)} rows come from an unknown commit: run them in a repository.")
    return found


def one_run(frame, repository):
    """Say which rows come from a commit that there isn't, and what is mixed that one run has one of.

    Parameters
    ----------
    frame : pandas.DataFrame
    repository : pathlib.Path or None
        Whose history is asked for the commits.

    Returns
    -------
    problems : list of str
    notes : list of str
        What can't be checked, and what files from before hosts were written have.
    """
    problems, notes = [], []
    before = ENV_HOST not in frame
    for column in (ENV_COMMIT, ENV_HOST, *SETTING):
        values = sorted(frame[column].dropna().map(str).unique()) if column in frame else []
        if len(values) > 1:
            told = f"{column} has {len(values)} values, {', '.join(value[:10] for value in values[:3])}"
            if before and column == ENV_COMMIT:
                notes.append(f"{told}: it is from before rows named their host, and stays.")
            else:
                problems.append(f"{told}: one file is one run.")
    for commit in sorted(frame[ENV_COMMIT].dropna().map(str).unique()) if ENV_COMMIT in frame else []:
        known = _knows(repository, commit)
        if known is None:
            notes.append("commits not checked: there is no history of git here.")
            break
        if not known and commit != "unknown":
            problems.append(f"commit {commit[:10]} is not in the history: run again from one that is.")
    return problems, notes


def _knows(repository, commit):
    """Return whether a repository has a commit; None without a whole history."""
    if repository is None:
        return None
    try:
        shallow = _git(repository, "rev-parse", "--is-shallow-repository")
        if shallow.returncode or shallow.stdout.strip() != "false":
            return None
        return _git(repository, "cat-file", "-e", f"{commit}^{{commit}}").returncode == 0
    except OSError:
        return None


def _git(repository, *arguments):
    return subprocess.run(["git", "-C", str(repository), *arguments], capture_output=True, text=True)
