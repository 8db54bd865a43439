"""Published claims, read from ``claims.toml``, and whether our rows reproduce them."""

import re
import tomllib
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pandas as pd

from orthobench.report.cells import cells, check_frame
from orthobench.report.leaderboard import find_baseline, format_interval, format_number
from orthobench.report.names import SQUARE, WIDE, in_order, parameters, shape_class, short_names
from orthobench.report.statistics import LEVEL, MIN_SEEDS, holm, paired_comparison

REPRODUCED, NOT_REPRODUCED, NOT_RUN = "reproduced", "not reproduced", "not run here"
HOLDS, FAILS, UNTESTED = "holds", "fails", "untested"
ALPHA = 0.05
LAST = "last"

# What a query may say. Lower is better for each metric.
METRICS = ("relative_error", "orthogonality_error", "lmo_gap", "time_per_matrix_s", "flops", "matmul_count")
DIRECTIONS = ("lower", "not higher", "equal")
SCOPES = ("all", "any")
SHAPES = ("any", SQUARE, WIDE)
DEVICES = ("any", "cpu", "cuda")
DTYPES = ("float32", "bfloat16", "float64")

# A solver that returned no number, or whose claim the harness disproved: evidence, unlike a lack of time or memory.
_LOST = ("diverged", "refuted")


@dataclass(frozen=True)
class Query:
    """What to compare: `solver` with `baseline`, by `metric`, on each chosen data set and type."""

    metric: str
    datasets: tuple  # patterns: * stands for any text, ? for one character
    dtype: tuple
    solver: str
    baseline: str
    direction: str
    steps: object = LAST  # or the numbers of iterations of the solver and of the baseline
    factor: float | None = None  # compare the ratio solver / baseline with it, instead of the difference with 0
    tolerance: float | None = None  # of "equal": a share of the baseline's mean
    scope: str = "all"
    shape: str = "any"
    device: str = "any"


@dataclass(frozen=True)
class Claim:
    """A published claim and the query that checks it."""

    id: str
    method: str
    text: str
    paper: str
    reference: str  # an arXiv identifier or an address
    where: str
    note: str  # where our check differs from the publication's setting
    query: Query


@dataclass(frozen=True)
class Check:
    """A claim on one data set and type. `estimate` is a difference, or a ratio if the query has a factor."""

    dataset: str
    dtype: str
    outcome: str  # HOLDS, FAILS or UNTESTED
    reason: str
    n: int
    estimate: float = np.nan
    low: float = np.nan
    high: float = np.nan
    p: float = np.nan  # of "no difference from the bound", Holm-adjusted over the claim's checks


@dataclass(frozen=True)
class Verdict:
    """A claim's verdict, with the checks behind it."""

    claim: Claim
    verdict: str  # REPRODUCED, NOT_REPRODUCED or NOT_RUN
    reason: str  # where it fails, or what is missing
    checks: tuple
    elsewhere: tuple = ()  # checks on another device than the claim is about: no evidence, but a figure to show


# ----- reading -----


def load_claims(path):
    """Read the claims of a TOML file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If something in it is not as it should be. The message names the file, the claim, the key and what is allowed.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file. Give the claims.toml of the benchmark.")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # also what is not UTF-8
        raise ValueError(f"{path}: not a TOML file ({error}).") from error
    top = _take(f"{path}:", content, {"solvers": _names, "claim": _tables})
    claims = [_claim(path, number, table, top["solvers"]) for number, table in enumerate(top["claim"], start=1)]
    ids = [claim.id for claim in claims]
    for name in ids:
        if ids.count(name) > 1:
            raise ValueError(f"{path}: claim {name!r}: key 'id' is there {ids.count(name)} times; allowed: once.")
    return claims


def _claim(path, number, table, solvers):
    name = table.get("id")
    owner = f"{path}: claim {name!r}:" if isinstance(name, str) else f"{path}: claim number {number}:"
    fields = {"id": _identifier, "method": _text, "text": _text, "source": _table, "query": _table}
    given = _take(owner, table, fields, {"note": _text})
    source = _take(owner, given["source"], {"paper": _text, "where": _text}, {"arxiv": _arxiv, "url": _text}, "source.")
    if len({"arxiv", "url"} & set(source)) != 1:
        raise ValueError(f"{owner} key 'source.arxiv' or 'source.url': allowed: exactly one of the two.")
    query = Query(
        **_take(
            owner,
            given["query"],
            {
                "metric": _one_of(METRICS),
                "datasets": _names,
                "dtype": _some_of(DTYPES),
                "solver": _one_of(solvers),
                "baseline": _one_of(solvers),
                "direction": _one_of(DIRECTIONS),
            },
            {
                "steps": _steps,
                "factor": _positive,
                "tolerance": _positive,
                "scope": _one_of(SCOPES),
                "shape": _one_of(SHAPES),
                "device": _one_of(DEVICES),
            },
            "query.",
        )
    )
    if (query.direction == "equal") != (query.tolerance is not None):
        raise ValueError(f"{owner} key 'query.tolerance': allowed: with direction 'equal', and only with it.")
    if query.direction == "equal" and query.factor is not None:
        raise ValueError(f"{owner} key 'query.factor': allowed: with direction 'lower' or 'not higher'.")
    reference = f"arXiv:{source['arxiv']}" if "arxiv" in source else source["url"]
    told = {key: given[key] for key in ("id", "method", "text")}
    return Claim(
        **told,
        paper=source["paper"],
        reference=reference,
        where=source["where"],
        note=given.get("note", ""),
        query=query,
    )


def _take(owner, table, required, optional=(), prefix=""):
    """Return the checked values of a table; ``required`` and ``optional`` map keys to what checks a value."""
    checks = {**required, **dict(optional)}
    for key in table:
        if key not in checks:
            raise ValueError(f"{owner} unknown key {prefix + key!r}; allowed: {', '.join(checks)}.")
    for key in required:
        if key not in table:
            raise ValueError(f"{owner} key {prefix + key!r} is missing; required: {', '.join(required)}.")
    taken = {}
    for key, value in table.items():
        try:
            taken[key] = checks[key](value)
        except ValueError as error:
            raise ValueError(f"{owner} key {prefix + key!r} is {value!r}; allowed: {error}.") from None
    return taken


# Each of these returns the value, or raises a ValueError that says what is allowed.


def _text(value):
    if not isinstance(value, str) or not value.strip():
        raise ValueError("some text")
    return value


def _identifier(value):
    if not isinstance(value, str) or not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", value):
        raise ValueError("lower-case letters and digits, in words joined by hyphens")
    return value


def _arxiv(value):
    if not isinstance(value, str) or not re.fullmatch(r"\d{4}\.\d{4,5}(v\d+)?", value):
        raise ValueError("an arXiv identifier such as 2512.04632")
    return value


def _table(value):
    if not isinstance(value, dict):
        raise ValueError("a table")
    return value


def _tables(value):
    if not isinstance(value, list) or not value or not all(isinstance(each, dict) for each in value):
        raise ValueError("one or more tables [[claim]]")
    return value


def _names(value):
    if not isinstance(value, list) or not value or not all(isinstance(each, str) and each for each in value):
        raise ValueError("a list of texts")
    return tuple(value)


def _steps(value):
    whole = isinstance(value, list) and all(type(each) is int and each >= 1 for each in value)
    if value != LAST and not (whole and len(value) == 2):
        raise ValueError("'last', or two numbers of iterations [of the solver, of the baseline]")
    return value if value == LAST else tuple(value)


def _positive(value):
    if type(value) not in (int, float) or not 0 < value < np.inf:
        raise ValueError("a number > 0")
    return float(value)


def _one_of(allowed):
    def check(value):
        if value not in allowed:
            raise ValueError(", ".join(allowed))
        return value

    return check


def _some_of(allowed):
    def check(value):
        if not isinstance(value, list) or not value or not set(map(str, value)) <= set(allowed):
            raise ValueError(f"a list of some of {', '.join(allowed)}")
        return tuple(value)

    return check


# ----- checking -----


def check_claims(frame, claims):
    """Return the `Verdict` of each claim on the rows of a result.

    A claim is checked on each of its data sets and types, on the seeds that both solvers finished well, by paired t
    tests at `ALPHA`, Holm-adjusted over these checks (one that can't be made counts with p = 1):

    - "lower" holds where the solver is separated below the baseline (below ``factor`` times it, if there is one);
    - "not higher" fails where the solver is separated above; a tie counts for the claim;
    - "equal" holds where the interval of the difference lies within ``tolerance`` times the baseline's mean.

    With a factor, the t test is that of the logarithms: it compares the geometric mean of the seeds' ratios.
    Fewer than `MIN_SEEDS` common seeds test nothing. A claim can't hold where cells of its solver failed and the
    baseline's did not; it fails where `MIN_SEEDS` of them diverged or were refuted.

    A claim about "all" its data sets is not reproduced if it fails on one, and reproduced if it holds on all and each
    pattern has rows. One about "any" is reproduced if it holds on one. Otherwise it was not run here: for lack of
    rows, or of the device that it is about.

    Raises
    ------
    ValueError
        If the frame is not a result of this suite, or holds a point twice.
    """
    check_frame(frame)
    return [_verdict(frame, claim) for claim in claims]


def _verdict(frame, claim):
    query = claim.query
    device = frame.get("objective_env_device", pd.Series("unknown", index=frame.index))
    right = device == query.device if query.device != "any" else pd.Series(True, index=frame.index)
    if right.any() or not len(frame):
        checks, missing = _checks(frame[right], query)
        return Verdict(claim, *_conclude(checks, missing, query), checks)
    # A figure to show, not to judge by: of whatever type these rows have.
    elsewhere, _ = _checks(frame, replace(query, dtype=DTYPES))
    there = ", ".join(sorted(set(device.dropna().astype(str)))) or "unknown"
    return Verdict(claim, NOT_RUN, f"it is about {query.device}, and these rows are from: {there}", (), elsewhere)


def _conclude(checks, missing, query):
    """Return the verdict and its reason."""
    by_outcome = {outcome: [c for c in checks if c.outcome == outcome] for outcome in (HOLDS, FAILS, UNTESTED)}
    holding, failing, untested = by_outcome.values()
    gaps = [f"no rows of {pattern}, {_conditions(query)}" for pattern in missing]
    gaps += _by_reason(untested, len(checks))
    if query.scope == "all" and failing:
        where = "; ".join(_by_reason(failing, len(checks)))
        gap = f"; not tested: {'; '.join(gaps)}" if gaps else ""
        return NOT_REPRODUCED, f"fails on {len(failing)} of {len(checks)}: {where}{gap}"
    if query.scope == "any" and holding:
        return REPRODUCED, f"holds on {_places(holding)}"
    if gaps or not checks:
        return NOT_RUN, "; ".join(gaps)
    if query.scope == "any":
        return NOT_REPRODUCED, f"holds on none of {len(checks)}"
    return REPRODUCED, f"holds on all {len(checks)}"


def _conditions(query):
    shape = "" if query.shape == "any" else f", shape {query.shape}"
    return f"dtype {' or '.join(query.dtype)}{shape}"


def _by_reason(checks, total):
    """Return one text a reason: where it applies."""
    groups = {}
    for check in checks:
        groups.setdefault(check.reason, []).append(check)
    return [
        f"{reason}: {'everywhere' if len(group) == total > 1 else _places(group)}" for reason, group in groups.items()
    ]


def _places(checks):
    names = short_names(dict.fromkeys(check.dataset for check in checks))
    return ", ".join(f"{names[check.dataset]} ({check.dtype})" for check in checks)


def _checks(frame, query):
    """Return the checks of a query and the patterns that match no data set."""
    rows = frame[["dataset_name", "objective_name"]].drop_duplicates()
    chosen = {}
    for dataset, objective in rows.itertuples(index=False, name=None):
        given = parameters(objective)
        patterns = [pattern for pattern in query.datasets if matches(dataset, pattern)]
        fits = query.shape in ("any", shape_class(dataset)) and given.get("exponent", "0") in ("0", "0.0")
        if patterns and fits and given.get("dtype") in query.dtype:
            chosen[dataset, objective] = patterns
    matched = {pattern for patterns in chosen.values() for pattern in patterns}
    missing = [pattern for pattern in query.datasets if pattern not in matched]
    order = {name: place for place, name in enumerate(in_order(dict.fromkeys(name for name, _ in chosen)))}
    checks = [
        _compare(frame, dataset, objective, query)
        for dataset, objective in sorted(chosen, key=lambda pair: (order[pair[0]], pair[1]))
    ]
    adjusted = holm([1.0 if np.isnan(check.p) else check.p for check in checks])
    return tuple(_decide(check, float(p), query) for check, p in zip(checks, adjusted, strict=True)), missing


def matches(name, pattern):
    """Whether a name matches a pattern, in which only * and ? are special: names have brackets of their own."""
    return fnmatchcase(name, pattern.replace("[", "[[]"))


def _compare(frame, dataset, objective, query):
    """Return the check of one data set: its figures, with the unadjusted p, or why it is untested."""
    dtype = parameters(objective)["dtype"]

    def untested(reason, n=0):
        return Check(dataset, dtype, UNTESTED, reason, n)

    if f"objective_{query.metric}" not in frame:
        return untested(f"no column {query.metric}")
    here = frame[(frame["dataset_name"] == dataset) & (frame["objective_name"] == objective)]
    found = {name: find_baseline(here["solver_name"].unique(), name) for name in (query.solver, query.baseline)}
    absent = [name for name, solver in found.items() if solver is None]
    if absent:
        return untested(f"no rows of {' and '.join(absent)}")

    ours, theirs = _last_values(here, dataset, objective, query)
    failed = {seed: status for seed, status in ours.items() if isinstance(status, str)}
    failed = {seed: status for seed, status in failed.items() if not isinstance(theirs.get(seed, ""), str)}
    lost = [status for status in failed.values() if status in _LOST]
    if len(lost) >= MIN_SEEDS:
        statuses = " or ".join(sorted(set(lost)))
        return Check(dataset, dtype, FAILS, f"{query.solver} {statuses} where {query.baseline} did not", len(lost))
    values = [
        pd.Series({s: v for s, v in each.items() if not isinstance(v, str)}, dtype=float) for each in (ours, theirs)
    ]
    a, b = (each[np.isfinite(each)] for each in values)
    common = a.index.intersection(b.index)
    if len(common) < MIN_SEEDS:
        points = "" if query.steps == LAST else f" at {query.steps[0]} and {query.steps[1]} iterations"
        lack = f", {len(failed)} of {query.solver} failed" if failed else ""
        return untested(f"{len(common)} common seeds{points}{lack}, {MIN_SEEDS} needed", len(common))
    a, b = a[common], b[common]
    # Survivors alone can show that a claim fails, never that it holds.
    reason = f"{len(failed)} cells of {query.solver} failed where {query.baseline} did not" if failed else ""
    if query.factor is None:
        test = paired_comparison(a, b)
        shown = (test.difference, test.low, test.high)
    elif (a > 0).all() and (b > 0).all():
        ratio = paired_comparison(np.log(a), np.log(b))
        test = paired_comparison(np.log(a), np.log(b) + np.log(query.factor))
        shown = tuple(float(np.exp(x)) for x in (ratio.difference, ratio.low, ratio.high))
    else:
        return untested(f"a ratio needs {query.metric} > 0", len(common))
    if query.direction == "equal":
        margin = query.tolerance * float(b.abs().mean())
        if -margin <= test.low and test.high <= margin:
            outcome, told = HOLDS, "equal within the tolerance"
        else:
            outcome, told = FAILS, "not equal within the tolerance"
        return _guarded(Check(dataset, dtype, outcome, told, len(common), *shown), reason)
    # _decide looks at the sign and the adjusted p-value.
    side = "higher" if test.difference > 0 else "lower" if test.difference < 0 else ""
    return Check(dataset, dtype, side, reason, len(common), *shown, test.p)


def _last_values(rows, dataset, objective, query):
    """Return, for the solver and for the baseline, by seed: the value, NaN without one, or the status of a failure."""
    by_name = {}
    for cell in cells(rows, dataset, objective, query.metric):
        by_name.setdefault(cell.solver, []).append(cell)
    found = []
    for name, place in ((query.solver, 0), (query.baseline, 1)):
        values = {}
        for cell in by_name[find_baseline(by_name, name)]:
            at = cell.stop_val[-1] if query.steps == LAST else query.steps[place]
            reached = cell.value[cell.stop_val == at]
            values[cell.seed] = (float(reached[-1]) if len(reached) else np.nan) if cell.ok else cell.status
        found.append(values)
    return found


def _decide(check, p, query):
    """Return a compared check with its outcome by the adjusted p-value."""
    if check.outcome not in ("higher", "lower", ""):
        return check
    separated = p <= ALPHA and check.outcome != ""
    bound = "" if query.factor is None else f" than {format_number(query.factor)} times {query.baseline}"
    told = f"{check.outcome}{bound}" if separated else "no difference found"
    if query.direction == "lower":
        outcome = HOLDS if separated and check.outcome == "lower" else FAILS
    else:
        outcome = FAILS if separated and check.outcome == "higher" else HOLDS
    return _guarded(replace(check, outcome=outcome, reason=told, p=p), check.reason)


def _guarded(check, failures):
    """Return the check, untested if it would hold on survivors alone."""
    return replace(check, outcome=UNTESTED, reason=failures) if failures and check.outcome == HOLDS else check


# ----- text -----

COLUMNS = ("verdict", "method", "claim", "source", "our figure", "where it fails, or what is missing")
CHECK_COLUMNS = ("data set", "dtype", "outcome", "n", "our figure", "p", "reason")


def decisive(verdict):
    """Return the check whose figure stands for a claim: the worst of "all", the best of "any"; None without one."""
    query = verdict.claim.query
    checks = [c for c in verdict.checks or verdict.elsewhere if np.isfinite(c.estimate)]
    size = (lambda c: abs(c.estimate)) if query.direction == "equal" else (lambda c: c.estimate)
    return (max if query.scope == "all" else min)(checks, key=size, default=None)


def format_figure(check, query):
    """Return a check's figure with its interval; "n/a" without one."""
    if not np.isfinite(check.estimate):
        return "n/a"
    figure = f"{format_number(check.estimate)} {format_interval(check.low, check.high)}"
    quantity = f"{query.metric} of {query.solver}"
    return f"{quantity} / {query.baseline}: {figure}" if query.factor else f"{quantity} - {query.baseline}: {figure}"


def format_verdict(verdict):
    """Return the cells of a verdict as text, in the order of `COLUMNS`."""
    claim, check = verdict.claim, decisive(verdict)
    figure = "n/a"
    if check:
        rank = (
            ""
            if len(verdict.checks or verdict.elsewhere) == 1
            else "worst: "
            if claim.query.scope == "all"
            else "best: "
        )
        figure = f"{rank}{format_figure(check, claim.query)}, n = {check.n}, {_places([check])}"
    if verdict.elsewhere:
        figure = f"no evidence, on another device: {figure}"
    note = f" ({claim.note})" if claim.note else ""
    return [
        verdict.verdict,
        claim.method,
        f"{claim.text}{note}",
        f"{claim.paper}, {claim.reference}, {claim.where}",
        figure,
        verdict.reason,
    ]


def format_check(check, query):
    """Return the cells of a check as text, in the order of `CHECK_COLUMNS`."""
    figure, p = format_figure(check, query), format_number(check.p)
    return [check.dataset, check.dtype, check.outcome, str(check.n), figure, p, check.reason]


def protocol():
    """Say in one line by which rules a claim is judged."""
    return (
        f"on each data set and type: paired by seed, n ≥ {MIN_SEEDS} common seeds, {100 * LEVEL:.0f} % Student t "
        f"intervals, p Holm-adjusted over the claim's data sets, separated at {100 * ALPHA:.0f} %; where a claim is "
        "that something is not higher, a tie counts for it; ratios are geometric means over seeds; failed cells are no "
        f"evidence for a claim, and against it where {MIN_SEEDS} diverge or are refuted"
    )
