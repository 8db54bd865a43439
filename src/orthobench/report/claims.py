"""Whether our rows reproduce the published claims of a ``claims.toml``."""

from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

import numpy as np
import pandas as pd

from orthobench.report.benchmarks import BENCHMARKS
from orthobench.report.cells import cells, check_frame
from orthobench.report.claims_file import DTYPES, LAST, Claim, load_claims
from orthobench.report.leaderboard import format_interval, format_number
from orthobench.report.names import in_order, parameters, selected, shape_class, short_names
from orthobench.report.statistics import LEVEL, MIN_SEEDS, holm, paired_comparison
from orthobench.report.survival import TO_TARGET, attempts, has_target

__all__ = ["Check", "Verdict", "check_claims", "load_claims"]

REPRODUCED, NOT_REPRODUCED, NOT_RUN = "reproduced", "not reproduced", "not run here"
HOLDS, FAILS, UNTESTED = "holds", "fails", "untested"
ALPHA = 0.05

# A solver that returned no number, or whose claim the harness disproved: evidence, unlike a lack of time or memory.
_LOST = ("diverged", "refuted")


@dataclass(frozen=True)
class Check:
    """A claim on one data set and objective. `estimate` is a difference, or a ratio if the query has a factor."""

    dataset: str
    setting: str  # the dtype, or what else tells the checks of a data set apart
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


# ----- checking -----


def check_claims(frame, claims):
    """Return the `Verdict` of each claim on the rows of a result.

    A claim is checked on each of its data sets and objectives, on the seeds that both solvers finished well, by paired
    t tests at `ALPHA`, Holm-adjusted over these checks (one that can't be made counts with p = 1):

    - "lower" holds where the solver is separated below the baseline (below ``factor`` times it, if there is one);
    - "not higher" fails where the solver is separated above; a tie counts for the claim;
    - "higher" and "not lower" are the same the other way round;
    - "equal" holds where the interval of the difference lies within ``tolerance`` times the baseline's mean.

    With a factor, the t test is that of the logarithms: it compares the geometric mean of the seeds' ratios.
    Fewer than `MIN_SEEDS` common seeds test nothing. A claim can't hold where cells of its solver failed and the
    baseline's did not; it fails where `MIN_SEEDS` of them diverged or were refuted.

    A good cell that did not reach a target counts with how far it got, less than it would have needed. So a claim can't
    hold where its solver has such cells, and can't fail where the baseline has; "equal" is untested with any.

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
    elsewhere, _ = _checks(frame, replace(query, dtype=DTYPES if query.dtype else ()))
    there = ", ".join(sorted(set(device.dropna().astype(str)))) or "unknown"
    return Verdict(claim, NOT_RUN, f"it is about {query.device}, and these rows are from: {there}", (), elsewhere)


def _conclude(checks, missing, query):
    """Return the verdict and its reason."""
    by_outcome = {outcome: [c for c in checks if c.outcome == outcome] for outcome in (HOLDS, FAILS, UNTESTED)}
    holding, failing, untested = by_outcome.values()
    gaps = [", ".join([f"no rows of {pattern.replace('|', ' or ')}", *_conditions(query)]) for pattern in missing]
    gaps += _by_reason(untested, checks)
    if query.scope == "all" and failing:
        where = "; ".join(_by_reason(failing, checks))
        gap = f"; not tested: {'; '.join(gaps)}" if gaps else ""
        return NOT_REPRODUCED, f"fails on {len(failing)} of {len(checks)}: {where}{gap}"
    if query.scope == "any" and holding:
        return REPRODUCED, f"holds on {_places(holding, checks)}"
    if gaps or not checks:
        return NOT_RUN, "; ".join(gaps)
    if query.scope == "any":
        return NOT_REPRODUCED, f"holds on none of {len(checks)}"
    return REPRODUCED, f"holds on all {len(checks)}"


def _conditions(query):
    dtype = [f"dtype {' or '.join(query.dtype)}"] if query.dtype else []
    return dtype if query.shape == "any" else [*dtype, f"shape {query.shape}"]


def _by_reason(checks, every):
    """Return one text a reason: where it applies."""
    groups = {}
    for check in checks:
        groups.setdefault(check.reason, []).append(check)
    return [
        f"{reason}: {'everywhere' if len(group) == len(every) > 1 else _places(group, every)}"
        for reason, group in groups.items()
    ]


def _places(checks, every):
    """Name the data sets and settings of checks, so that they are told apart among all the checks of a claim."""
    names = short_names(dict.fromkeys(check.dataset for check in every))
    return ", ".join(names[c.dataset] + (f" ({c.setting})" if c.setting else "") for c in checks)


# ----- what is compared -----


def _checks(frame, query):
    """Return the checks of a query and the patterns that match no data set."""
    rows = frame[["dataset_name", "objective_name"]].drop_duplicates()
    chosen = {}
    for dataset, objective in rows.itertuples(index=False, name=None):
        patterns = [pattern for pattern in query.datasets if matches(dataset, pattern)]
        if patterns and _is_about(query, dataset, objective):
            chosen[dataset, objective] = patterns
    matched = {pattern for patterns in chosen.values() for pattern in patterns}
    missing = [pattern for pattern in query.datasets if pattern not in matched]
    order = {name: place for place, name in enumerate(in_order(dict.fromkeys(name for name, _ in chosen)))}
    compared = [
        each
        for dataset, objective in sorted(chosen, key=lambda pair: (order[pair[0]], pair[1]))
        for each in _compare_pairs(frame, dataset, objective, query)
    ]
    adjusted = holm([1.0 if np.isnan(each.check.p) else each.check.p for each in compared])
    return tuple(_decide(each, float(p), query) for each, p in zip(compared, adjusted, strict=True)), missing


def matches(name, pattern):
    """Whether a name matches one of the patterns that | divides; * and ? are special, and names have brackets."""
    return any(fnmatchcase(name, each.replace("[", "[[]")) for each in pattern.split("|"))


def _is_about(query, dataset, objective):
    given = parameters(objective)
    evidence = BENCHMARKS[query.benchmark].evidence
    return (
        query.shape in ("any", shape_class(dataset))
        and all(given.get(name, values[0]) in values for name, values in evidence.items())
        and (not query.dtype or given.get("dtype") in query.dtype)
    )


def _setting(query, objective):
    """Say what tells a check from others on its data set: the dtype, or the objective's options that are on."""
    given = parameters(objective)
    if query.dtype:
        return given["dtype"]
    usual = BENCHMARKS[query.benchmark].evidence
    options = {name: value for name, value in given.items() if name not in usual and value != "False"}
    return ", ".join(name if value == "True" else f"{name}={value}" for name, value in options.items())


def _pairs(solvers, query):
    """Return the (solver, baseline, shared values) to compare, or none and the reason."""
    chosen = [selected(solvers, name) for name in (query.solver, query.baseline)]
    absent = [name for name, found in zip((query.solver, query.baseline), chosen, strict=True) if not found]
    if absent:
        return [], f"no rows of {' and '.join(absent)}"
    groups = {}
    for place, found in enumerate(chosen):
        for name in found:
            given = parameters(name)
            if all(each in given for each in query.same):
                groups.setdefault(tuple(given[each] for each in query.same), ([], []))[place].append(name)
    # Values that only one of the two was run with say nothing about the claim.
    groups = {shared: pair for shared, pair in groups.items() if all(pair)}
    if not groups:
        return [], f"no rows of {query.solver} and {query.baseline} with the same {', '.join(query.same)}"
    for place, name in enumerate((query.solver, query.baseline)):
        if any(len(pair[place]) > 1 for pair in groups.values()):
            return [], f"several solvers are {name}: run or report on one"
    return [(ours, theirs, shared) for shared, ((ours,), (theirs,)) in sorted(groups.items())], ""


@dataclass(frozen=True)
class _End:
    """How a cell ended: its value, NaN without one; a failure's has none. A bound is less than what it would be."""

    status: str
    value: float = np.nan
    bound: bool = False


def _ends(rows, dataset, objective, query, solver, place):
    """Return how each cell of a solver ended, by seed; ``place`` is 0 for the claim's solver, 1 for its baseline."""
    if query.metric in TO_TARGET:
        found = attempts(rows, dataset, objective, query.metric)
        return {
            each.seed: _End(each.status, each.at, not each.reached) if each.status == "ok" else _End(each.status)
            for each in found
            if each.solver == solver
        }
    ends = {}
    for cell in cells(rows[rows["solver_name"] == solver], dataset, objective, query.metric):
        at = cell.stop_val[-1] if query.steps == LAST else query.steps[place]
        reached = cell.value[cell.stop_val == at]
        ends[cell.seed] = _End(cell.status, float(reached[-1]) if cell.ok and len(reached) else np.nan)
    return ends


# ----- one comparison -----


@dataclass(frozen=True)
class _Compared:
    """A check before its p-value is adjusted. Doubts map an outcome to why these rows can't show it."""

    check: Check
    side: str | None = None  # of the bound on which the solver is; None if the check is as it should be
    doubts: dict = field(default_factory=dict)


def _compare_pairs(frame, dataset, objective, query):
    """Return what is compared on one data set and objective: a pair, or one for each set of shared parameters."""
    here = frame[(frame["dataset_name"] == dataset) & (frame["objective_name"] == objective)]
    setting = _setting(query, objective)
    pairs, lack = _pairs(list(here["solver_name"].unique()), query)
    if query.metric in TO_TARGET:
        lack = lack if has_target(here, dataset, objective) else "no target"
    elif f"objective_{query.metric}" not in frame:
        lack = f"no column {query.metric}"
    if lack:
        return [_Compared(Check(dataset, setting, UNTESTED, lack, 0))]
    found = []
    for *solvers, shared in pairs:
        alike = [f"{name}={value}" for name, value in zip(query.same, shared, strict=True)] if len(pairs) > 1 else []
        blank = Check(dataset, ", ".join(filter(None, [setting, *alike])), UNTESTED, "", 0)
        ends = [_ends(here, dataset, objective, query, solver, place) for place, solver in enumerate(solvers)]
        found.append(_compare(blank, *ends, query))
    return found


def _compare(blank, ours, theirs, query):
    """Return the figures of one pair, or why it is untested."""

    def untested(reason, n=0):
        return _Compared(replace(blank, reason=reason, n=n))

    finished = [seed for seed, end in theirs.items() if end.status == "ok"]
    failed = [ours[seed].status for seed in finished if seed in ours and ours[seed].status != "ok"]
    lost = [status for status in failed if status in _LOST]
    if len(lost) >= MIN_SEEDS:
        told = f"{query.solver} {' or '.join(sorted(set(lost)))} where {query.baseline} did not"
        return _Compared(replace(blank, outcome=FAILS, reason=told, n=len(lost)))
    values = [pd.Series({seed: end.value for seed, end in ends.items()}, dtype=float) for ends in (ours, theirs)]
    a, b = (each[np.isfinite(each)] for each in values)
    common = a.index.intersection(b.index)
    if len(common) < MIN_SEEDS:
        points = "" if query.steps == LAST else f" at {query.steps[0]} and {query.steps[1]} iterations"
        lack = f", {len(failed)} of {query.solver} failed" if failed else ""
        return untested(f"{len(common)} common seeds{points}{lack}, {MIN_SEEDS} needed", len(common))
    a, b = a[common], b[common]
    doubts = _doubts(query, len(failed), *(sum(ends[seed].bound for seed in common) for ends in (ours, theirs)))
    if query.factor is None:
        test = paired_comparison(a, b)
        shown = (test.difference, test.low, test.high)
    elif (a > 0).all() and (b > 0).all():
        ratio = paired_comparison(np.log(a), np.log(b))
        test = paired_comparison(np.log(a), np.log(b) + np.log(query.factor))
        shown = tuple(float(np.exp(x)) for x in (ratio.difference, ratio.low, ratio.high))
    else:
        return untested(f"a ratio needs {query.metric} > 0", len(common))
    estimate, low, high = shown
    check = replace(blank, n=len(common), estimate=estimate, low=low, high=high)
    if query.direction == "equal":
        margin = query.tolerance * float(b.abs().mean())
        within = -margin <= test.low and test.high <= margin
        told = f"{'' if within else 'not '}equal within the tolerance"
        return _Compared(_guarded(replace(check, outcome=HOLDS if within else FAILS, reason=told), doubts))
    side = "higher" if test.difference > 0 else "lower" if test.difference < 0 else ""
    return _Compared(replace(check, p=test.p), side, doubts)


def _doubts(query, failed, unreached, baseline_unreached):
    """Map outcomes to why the rows can't show them: survivors alone can show that a claim fails, not that it holds."""
    doubts = {HOLDS: [], FAILS: []}
    if failed:
        doubts[HOLDS].append(f"{failed} cells of {query.solver} failed where {query.baseline} did not")
    for count, name, outcome in ((unreached, query.solver, HOLDS), (baseline_unreached, query.baseline, FAILS)):
        for each in (HOLDS, FAILS) if query.direction == "equal" else (outcome,):
            if count:
                doubts[each].append(f"{count} cells of {name} did not reach the target")
    return {outcome: " and ".join(reasons) for outcome, reasons in doubts.items() if reasons}


def _decide(compared, p, query):
    """Return the check with its outcome by the adjusted p-value."""
    if compared.side is None:
        return compared.check
    separated = p <= ALPHA and compared.side != ""
    bound = "" if query.factor is None else f" than {format_number(query.factor)} times {query.baseline}"
    told = f"{compared.side}{bound}" if separated else "no difference found"
    right = compared.side == query.wanted
    outcome = (HOLDS if right else FAILS) if separated else FAILS if query.strict else HOLDS
    return _guarded(replace(compared.check, outcome=outcome, reason=told, p=p), compared.doubts)


def _guarded(check, doubts):
    """Return the check, untested if these rows can't show its outcome."""
    return replace(check, outcome=UNTESTED, reason=doubts[check.outcome]) if check.outcome in doubts else check


# ----- text -----

COLUMNS = ("verdict", "method", "claim", "source", "our figure", "where it fails, or what is missing")
CHECK_COLUMNS = ("data set", "dtype", "outcome", "n", "our figure", "p", "reason")


def check_columns(query):
    """Return the columns of the table of a claim's checks."""
    return CHECK_COLUMNS if query.dtype else tuple("setting" if name == "dtype" else name for name in CHECK_COLUMNS)


def decisive(verdict):
    """Return the check whose figure stands for a claim: the worst of "all", the best of "any"; None without one."""
    query = verdict.claim.query
    checks = [c for c in verdict.checks or verdict.elsewhere if np.isfinite(c.estimate)]
    sign = -1 if query.wanted == "higher" else 1
    size = (lambda c: abs(c.estimate)) if query.direction == "equal" else (lambda c: sign * c.estimate)
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
    claim, check, checks = verdict.claim, decisive(verdict), verdict.checks or verdict.elsewhere
    figure = "n/a"
    if check:
        rank = "" if len(checks) == 1 else "worst: " if claim.query.scope == "all" else "best: "
        figure = f"{rank}{format_figure(check, claim.query)}, n = {check.n}, {_places([check], checks)}"
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
    return [check.dataset, check.setting, check.outcome, str(check.n), figure, p, check.reason]


def protocol(listed=()):
    """Say in one line by which rules these claims are judged."""
    queries = [claim.query for claim in listed]
    unit = "type" if all(query.dtype for query in queries) else "objective"
    unreached = (
        "; a cell that did not reach a target counts with how far it got: with one of its solver's a claim can't hold, "
        "with one of its baseline's it can't fail"
        if any(query.metric in TO_TARGET for query in queries)
        else ""
    )
    return (
        f"on each data set and {unit}: paired by seed, n ≥ {MIN_SEEDS} common seeds, {100 * LEVEL:.0f} % Student t "
        f"intervals, p Holm-adjusted over the claim's data sets, separated at {100 * ALPHA:.0f} %; where a claim is "
        "that something is not higher, a tie counts for it; ratios are geometric means over seeds; failed cells are no "
        f"evidence for a claim, and against it where {MIN_SEEDS} diverge or are refuted{unreached}"
    )
