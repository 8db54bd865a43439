"""Whether our rows reproduce the published claims of a ``claims.toml``."""

from collections import Counter
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

import numpy as np
import pandas as pd

from orthobench.report import history, stands
from orthobench.report.benchmarks import BENCHMARKS, METRICS
from orthobench.report.cells import REQUIRED, cells, check_frame, used_of_stands
from orthobench.report.claims_file import CONFIGURATION, DTYPES, LAST, Claim, load_claims
from orthobench.report.leaderboard import format_number
from orthobench.report.names import family, in_order, parameters, selected, shape_class, short_names
from orthobench.report.statistics import LEVEL, MIN_SEEDS, holm, paired_comparison
from orthobench.report.survival import TO_TARGET, attempts, evaluation_grid, has_target

__all__ = ["Check", "Verdict", "check_claims", "load_claims"]

REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE, NOT_RUN = "reproduced", "not reproduced", "inconclusive", "not run here"
HOLDS, FAILS, UNTESTED = "holds", "fails", "untested"  # of a check, which may be INCONCLUSIVE too
ALPHA = 0.05

# A solver that returned no number, or whose claim the harness disproved: evidence, unlike a lack of time or memory.
_LOST = ("diverged", "refuted")


@dataclass(frozen=True)
class Check:
    """A claim on one data set and objective. `estimate` is a difference, or a ratio if the query has a factor."""

    dataset: str
    setting: str  # the dtype, or what else tells the checks of a data set apart
    outcome: str  # HOLDS, FAILS, INCONCLUSIVE or UNTESTED
    reason: str
    n: int
    estimate: float = np.nan
    low: float = np.nan
    high: float = np.nan
    bound: float = np.nan  # where the claim ends: the factor, or the difference that is allowed
    relation: str = ""  # of the true figure to the estimate, where cells that did not reach a target make it a bound
    p: float = np.nan  # of "no difference from the bound", Holm-adjusted over the claim's checks
    grid: str = ""  # of the evaluations, where it matters


@dataclass(frozen=True)
class Verdict:
    """A claim's verdict, with the checks behind it."""

    claim: Claim
    verdict: str  # REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE or NOT_RUN
    reason: str  # where it fails, what the rows can't decide, or what is missing
    checks: tuple
    elsewhere: tuple = ()  # checks on another device than the claim is about: no evidence, but a figure to show
    stand: str = ""  # the kind of process that it is on, of times and memory where there are several

    @property
    def tested(self):
        """The checks that tested something."""
        return tuple(check for check in self.checks if check.outcome != UNTESTED)

    @property
    def counts(self):
        """The number of those that hold, that fail and that are open, by outcome."""
        return {each: sum(check.outcome == each for check in self.tested) for each in (HOLDS, FAILS, INCONCLUSIVE)}

    @property
    def small(self):
        """Whether it rests on data sets of small scale alone."""
        names = [check.dataset for check in self.tested]
        patterns = BENCHMARKS[self.claim.query.benchmark].small
        return bool(names) and all(any(matches(name, each) for each in patterns) for name in names)

    @property
    def label(self):
        """The verdict, with the scale that it was reached at."""
        decided = self.verdict in (REPRODUCED, NOT_REPRODUCED)
        return f"{self.verdict} (small scale)" if decided and self.small else self.verdict

    @property
    def shown(self):
        """The checks, or those on another device."""
        return self.checks or self.elsewhere


def standing(verdicts):
    """Return which of a claim's verdicts, on several machines or kinds of process, stands for it.

    One that says something, with the most tests; of equals the first. The outcome has no part in it.
    """
    return max(verdicts, key=lambda each: (each.verdict != NOT_RUN, len(each.tested), len(each.checks)))


def by_claim(verdicts):
    """List the verdicts of each claim: that which is `standing`, and the others."""
    groups = {}
    for each in verdicts:
        groups.setdefault(each.claim.id, []).append(each)
    return [(standing(own), [each for each in own if each is not standing(own)]) for own in groups.values()]


def disagreement(judged):
    """Say where a claim is reproduced and where it is not, of pairs of a verdict and its place; empty if all agree."""
    places = {}
    for verdict, place in judged:
        places.setdefault(verdict.verdict, []).append(place)
    if not {REPRODUCED, NOT_REPRODUCED} <= places.keys():
        return ""
    return ", ".join(f"{each} on {' and '.join(places[each])}" for each in (REPRODUCED, NOT_REPRODUCED))


# ----- checking -----


def check_claims(frame, claims):
    """Return the `Verdict` of each claim on the rows of a result, in the order of the claims.

    A claim about times or memory is judged on the rows of each kind of process that solvers ran in by itself, as the
    rows of each machine are: it has a verdict for each kind that can say something.

    A claim is checked on each of its data sets and objectives, on the seeds that both solvers finished well. It says on
    which side of a bound the solver is. The bound is the baseline, or with a factor ``factor`` times it; "not higher"
    and "not lower" without a factor allow for ``tolerance`` times the baseline's mean, or for ``margin``, "equal" in
    both directions. A paired t test at `ALPHA`, Holm-adjusted over those of the claim's checks that can be made,
    compares the solver with the bound:

    - the claim holds where the solver, with its whole interval, is separated from the bound on the side that it claims;
    - it fails where the solver is separated on the other side;
    - between these it is inconclusive.

    With a factor, the t test is that of the logarithms: it compares the geometric mean of the seeds' ratios.
    Fewer than `MIN_SEEDS` common seeds test nothing, nor does a baseline that is no opponent: one without the figures
    that the query `needs`. What is not tested is among the reasons, and moves no verdict. Where cells of its solver
    failed and the baseline's did not, a claim is inconclusive instead of holding; it fails where `MIN_SEEDS` of them
    diverged or were refuted.

    In place of a baseline, a claim may hold a metric against another `column` of the same rows, times a factor: the
    difference of the two is compared with 0, by its mean over seeds, and a cell that failed is one of the solver's. Or
    against its own rows on an objective with another value of a parameter, seed by seed: else as with a baseline.

    A good cell that did not reach a target counts with how far it got, less than it would have needed: the figure is
    then a bound of the true one. So a claim can't hold where its solver has such cells, and can't fail where the
    baseline has; "equal" is inconclusive with any.

    A claim about "all" its data sets is not reproduced if it fails on one that is tested, and reproduced if it holds on
    all that are and each pattern has rows. One about "any" is reproduced if it holds on one, and not reproduced if it
    fails on all. Otherwise it was not run here, for lack of rows or of the device that it is about; or, if nothing is
    missing, it is inconclusive. Superseded rows count as none.

    Raises
    ------
    ValueError
        If the frame is not a result of this suite, or holds a point twice.
    """
    check_frame(frame)
    frame = _needed(history.current(frame), claims)
    return [verdict for claim in claims for verdict in _verdicts(frame, claim)]


def _needed(frame, claims):
    """Return a frame without the columns that no claim needs: rows have many, and copies of these take time."""
    metrics = {name for claim in claims for name in (claim.query.metric, claim.query.column, *dict(claim.query.needs))}
    metrics |= {"held_out_loss", "target", "steps_to_target"} if metrics & set(TO_TARGET) else set()
    names = {*REQUIRED, *stands.USED, CONFIGURATION, "objective_env_device", *(f"objective_{each}" for each in metrics)}
    return frame[[name for name in frame if name in names]]


def _verdicts(frame, claim):
    parts = stands.apart(frame, METRICS[claim.query.metric].timed)
    found = [replace(_verdict(part, claim), stand=kind) for kind, part in parts.items()]
    said = [each for each in found if each.verdict != NOT_RUN]
    return said or [next((each for each in found if decisive(each)), found[0])]


def _verdict(frame, claim):
    query = claim.query
    device = frame.get("objective_env_device", pd.Series("unknown", index=frame.index))
    if query.configuration and CONFIGURATION in frame:
        frame = frame[frame[CONFIGURATION] == query.configuration]
        device = device[frame.index]
    if query.no_opponent:
        return Verdict(claim, NOT_RUN, f"{query.baseline} is no opponent: {query.no_opponent}", ())
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
    holding, failing, undecided, untested = (
        [check for check in checks if check.outcome == outcome] for outcome in (HOLDS, FAILS, INCONCLUSIVE, UNTESTED)
    )
    gaps = [", ".join([f"no rows of {pattern.replace('|', ' or ')}", *_conditions(query)]) for pattern in missing]
    gaps += _by_reason(untested, checks)
    tested = [*holding, *failing, *undecided]
    told = [format_counts({HOLDS: len(holding), FAILS: len(failing), INCONCLUSIVE: len(undecided)})]
    if query.scope == "any" and holding:
        told.append(f"holds: {_places(holding, checks)}")
    told += [f"fails: {each}" for each in _by_reason(failing, checks)]
    told += [f"open: {each}" for each in _by_reason(undecided, checks)]
    told += [f"not tested: {each}" for each in gaps]
    deciding, verdict, other = (
        (failing, NOT_REPRODUCED, REPRODUCED) if query.scope == "all" else (holding, REPRODUCED, NOT_REPRODUCED)
    )
    if deciding:
        return verdict, "; ".join(told)
    if missing or not tested:
        return NOT_RUN, "; ".join(gaps if not tested else told)
    return INCONCLUSIVE if undecided else other, "; ".join(told)


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
    tested = [each.check.p for each in compared if each.right is not None]
    adjusted = iter(holm(tested) if tested else ())
    return tuple(
        each.check if each.right is None else _decide(each, float(next(adjusted)), query) for each in compared
    ), missing


def matches(name, pattern):
    """Whether a name matches one of the patterns that | divides; * and ? are special, and names have brackets."""
    return any(fnmatchcase(name, each.replace("[", "[[]")) for each in pattern.split("|"))


def _is_about(query, dataset, objective):
    given = parameters(objective)
    evidence = BENCHMARKS[query.benchmark].evidence_for(query.metric)
    if query.objective and given.get(query.objective[0]) != query.objective[1]:
        return False
    if query.task:  # an objective that names none isn't it
        given, evidence = {"task": "", **given}, {**evidence, "task": (query.task,)}
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
    usual = BENCHMARKS[query.benchmark].evidence_for(query.metric)
    options = {name: value for name, value in given.items() if name not in usual and value != "False"}
    return ", ".join(name if value == "True" else f"{name}={value}" for name, value in options.items())


def _pairs(solvers, query):
    """Return the (solver, baseline, shared values) to compare, or none and the reason."""
    chosen = [selected(solvers, name) for name in (query.solver, query.baseline)]
    absent = dict.fromkeys(n for n, found in zip((query.solver, query.baseline), chosen, strict=True) if not found)
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
    for cell in cells(
        rows.loc[
            rows["solver_name"] == solver,
            list(dict.fromkeys([*REQUIRED, *used_of_stands(rows), f"objective_{query.metric}"])),
        ],
        dataset,
        objective,
        query.metric,
    ):
        at = cell.stop_val[-1] if query.steps == LAST else query.steps[place]
        reached = cell.value[cell.stop_val == at]
        ends[cell.seed] = _End(cell.status, float(reached[-1]) if cell.ok and len(reached) else np.nan)
    return ends


def _opponents_ends(rows, dataset, objective, query, solver):
    """Return the ends, as `_ends` does, of what the claim's solver is compared with, on one data set."""
    if query.column:
        found = _ends(rows, dataset, objective, replace(query, metric=query.column, steps=LAST), solver, 1)
        # A cell that failed is a failure of the solver's, not of what it is held against.
        return {seed: _End("ok", query.times * end.value) for seed, end in found.items()}
    return _ends(rows, dataset, objective, query, solver, 1)


def _opponents_objective(rows, objective, query):
    """Return the objective that the solver's opponent has its rows on; None if the rows have none such."""
    if not query.objective:
        return objective
    name, _, value = query.objective
    wanted = family(objective), {**parameters(objective), name: value}
    return next((each for each in rows["objective_name"].unique() if (family(each), parameters(each)) == wanted), None)


# ----- one comparison -----


@dataclass(frozen=True)
class _Compared:
    """A check before its p-value is adjusted. Doubts map an outcome to why these rows can't show it."""

    check: Check
    right: bool | None = None  # whether the estimate is on the claim's side of the bound; None if all is said already
    doubts: dict = field(default_factory=dict)


def _compare_pairs(frame, dataset, objective, query):
    """Return what is compared on one data set and objective: a pair, or one for each set of shared parameters."""
    rows = frame[frame["dataset_name"] == dataset]
    here = rows[rows["objective_name"] == objective]
    setting, opponents = _setting(query, objective), _opponents_objective(rows, objective, query)
    pairs, lack = _pairs(list(here["solver_name"].unique()), query)
    if query.metric in TO_TARGET:
        lack = lack if has_target(here, dataset, objective) else "no target"
    elif opponents is None:
        lack = f"no rows with {query.opponent}"
    else:
        columns = [each for each in (query.metric, query.column) if each and f"objective_{each}" not in frame]
        lack = f"no column {columns[0]}" if columns else lack
    if lack:
        return [_Compared(Check(dataset, setting, UNTESTED, lack, 0))]
    found = []
    for ours, theirs, shared in pairs:
        alike = [f"{name}={value}" for name, value in zip(query.same, shared, strict=True)] if len(pairs) > 1 else []
        grid = evaluation_grid(here, dataset, objective) if query.metric in TO_TARGET else ""
        blank = Check(dataset, ", ".join(filter(None, [setting, *alike])), UNTESTED, "", 0, grid=grid)
        lack = _no_opponent(here, dataset, objective, query, theirs)
        if lack:
            found.append(_Compared(replace(blank, reason=lack)))
            continue
        ends = _ends(here, dataset, objective, query, ours, 0), _opponents_ends(rows, dataset, opponents, query, theirs)
        found.append(_compare(blank, *ends, query))
    return found


def _no_opponent(rows, dataset, objective, query, baseline):
    """Say what a baseline lacks to be an opponent; nothing if it is one."""
    for metric, least in query.needs:
        if f"objective_{metric}" not in rows:
            return f"{query.baseline} is no opponent: no column {metric}"
        ends = _ends(rows, dataset, objective, replace(query, metric=metric, steps=LAST), baseline, 1)
        reached = np.mean([end.value for end in ends.values() if np.isfinite(end.value)] or [np.nan])
        if not reached >= least:
            return f"{query.baseline} is no opponent: {metric} {format_number(reached)}, {format_number(least)} needed"
    return ""


def _compare(blank, ours, theirs, query):
    """Return the figures of one pair, or why it is untested."""

    def untested(reason, n=0):
        return _Compared(replace(blank, reason=reason, n=n))

    finished = [seed for seed, end in theirs.items() if end.status == "ok"]
    failed = [ours[seed].status for seed in finished if seed in ours and ours[seed].status != "ok"]
    lost = [status for status in failed if status in _LOST]
    if len(lost) >= MIN_SEEDS:
        told = f"{query.solver} {' or '.join(sorted(set(lost)))}{_where(query)}"
        return _Compared(replace(blank, outcome=FAILS, reason=told, n=len(lost)))
    values = [pd.Series({seed: end.value for seed, end in ends.items()}, dtype=float) for ends in (ours, theirs)]
    a, b = (each[np.isfinite(each)] for each in values)
    common = a.index.intersection(b.index)
    if len(common) < MIN_SEEDS:
        points = "" if query.steps == LAST else f" at {query.steps[0]} and {query.steps[1]} iterations"
        lack = f", {len(failed)} of {query.solver} failed" if failed else ""
        return untested(f"{len(common)} common seeds{points}{lack}, {MIN_SEEDS} needed", len(common))
    if query.factor is not None and not ((a[common] > 0).all() and (b[common] > 0).all()):
        return untested(f"a ratio needs {query.metric} > 0", len(common))
    unreached = [sum(ends[seed].bound for seed in common) for ends in (ours, theirs)]
    check = replace(_with_interval(blank, a[common], b[common], query, *unreached), n=len(common))
    p, right = _beside_bound(a[common], b[common], query)
    return _Compared(replace(check, p=p), right, _doubts(query, len(failed), *unreached))


def _with_interval(blank, a, b, query, unreached, baseline_unreached):
    """Return a check with its figure, an end of whose interval is open where cells did not reach the target."""
    shown = _paired(a, b, query)
    low = -np.inf if baseline_unreached else shown.low
    high = np.inf if unreached else shown.high
    estimate = np.nan if unreached and baseline_unreached else shown.difference
    bound = query.factor or (-1 if query.direction == "not lower" else 1) * _margin(b, query)
    if query.factor is not None:
        estimate, low, high = (float(np.exp(x)) for x in (estimate, low, high))
    relation = "≥" if unreached else "≤" if baseline_unreached else ""
    return replace(blank, estimate=estimate, low=low, high=high, bound=bound, relation=relation)


def _beside_bound(a, b, query):
    """Return the p-value of "no difference from the bound", and whether the estimate is on the claim's side of it."""
    if query.factor is not None:
        bounds = {query.wanted: np.log(query.factor)}
    else:
        bounds = {"lower": _margin(b, query), "higher": -_margin(b, query)}
        bounds = bounds if query.direction == "equal" else {query.wanted: bounds[query.wanted]}
    tests = {side: _paired(a, b, query, bound) for side, bound in bounds.items()}
    beyond = [test.p for side, test in tests.items() if (test.difference > 0) == (side == "lower")]
    return (min(beyond), False) if beyond else (max(test.p for test in tests.values()), True)


def _margin(b, query):
    """Return the difference from the baseline's values that the query allows for."""
    if query.margin is not None:
        return query.margin
    return (query.tolerance or 0.0) * float(b.abs().mean())


def _paired(a, b, query, bound=0.0):
    """Compare a with b + bound, by their logarithms if the query has a factor."""
    if query.factor is not None:
        a, b = np.log(a), np.log(b)
    return paired_comparison(a, b + bound, counted=METRICS[query.metric].counted)


def _doubts(query, failed, unreached, baseline_unreached):
    """Map outcomes to why the rows can't show them: survivors alone can show that a claim fails, not that it holds."""
    doubts = {HOLDS: [], FAILS: []}
    if failed:
        doubts[HOLDS].append(f"{failed} cells of {query.solver} failed{_where(query)}")
    for count, name, outcome in ((unreached, query.solver, HOLDS), (baseline_unreached, query.opponent, FAILS)):
        for each in (HOLDS, FAILS) if query.direction == "equal" else (outcome,):
            if count:
                doubts[each].append(f"{count} cells of {name} did not reach the target")
    return {outcome: " and ".join(reasons) for outcome, reasons in doubts.items() if reasons}


def _where(query):
    """Say where else a solver's cells were run that failed, if its opponent has cells of its own."""
    return "" if query.column else f" where {query.opponent} did not"


def _decide(compared, p, query):
    """Return the check with its outcome by the adjusted p-value."""
    outcome = HOLDS if compared.right else FAILS
    if outcome in compared.doubts:
        return replace(compared.check, outcome=INCONCLUSIVE, reason=compared.doubts[outcome], p=np.nan)
    outcome = outcome if p <= ALPHA else INCONCLUSIVE
    return replace(compared.check, outcome=outcome, reason=_reason(query, outcome), p=p)


def _reason(query, outcome):
    """Say on which side of the bound the solver is, or that no side was found."""
    other = "higher" if query.wanted == "lower" else "lower"
    if query.tolerance is not None or query.margin is not None:
        allowed = f"{100 * query.tolerance:g} %" if query.margin is None else format_number(query.margin)
        equal = f"within {allowed} of {query.opponent}"
        more = f"more than {allowed} {'off' if query.direction == 'equal' else other}"
        within = equal if query.direction == "equal" else f"at most {allowed} {other}"
        return {HOLDS: within, FAILS: more, INCONCLUSIVE: f"may be {more}, or not"}[outcome]
    bound = query.opponent if query.column else ""
    if query.factor is not None:
        bound = f"{format_number(query.factor)} times {query.opponent}"
    if outcome == INCONCLUSIVE:
        return f"not separated from {bound}" if bound else "no difference found"
    side = query.wanted if outcome == HOLDS else other
    return f"{side} than {bound}" if bound else side


# ----- text -----

COLUMNS = ("verdict", "method", "claim", "source", "our figure", "where it fails, or what is open or missing")
_BOUNDS = {
    "lower": "below ",
    "not higher": "at most ",
    "higher": "above ",
    "not lower": "at least ",
    "equal": "within ±",
}
CHECK_COLUMNS = ("data set", "dtype", "outcome", "n", "our figure", "p", "reason")


def check_columns(query):
    """Return the columns of the table of a claim's checks."""
    return CHECK_COLUMNS if query.dtype else tuple("setting" if name == "dtype" else name for name in CHECK_COLUMNS)


def decisive(verdict):
    """Return the check whose figure stands for a verdict; None without one.

    That is the worst of "all", the best of "any", among those that gave the verdict.
    """
    query = verdict.claim.query
    giving = {REPRODUCED: HOLDS, NOT_REPRODUCED: FAILS, INCONCLUSIVE: INCONCLUSIVE}.get(verdict.verdict)
    checks = [c for c in verdict.shown if np.isfinite(c.estimate)]
    sign = -1 if query.wanted == "higher" else 1
    size = (lambda c: abs(c.estimate)) if query.direction == "equal" else (lambda c: sign * c.estimate)
    worst = max if query.scope == "all" else min
    return worst([c for c in checks if c.outcome == giving] or checks, key=size, default=None)


def format_figure(check, query):
    """Return a check's figure with its interval and the bound of the claim; "n/a" without one."""
    if not np.isfinite(check.estimate):
        return "n/a"
    figure = " ".join(filter(None, [check.relation, format_number(check.estimate), _format_ends(check)]))
    bound = f"bound: {_BOUNDS[query.direction]}{format_number(check.bound)}"
    relation = "/" if query.factor else "-"
    grid = f" ({check.grid})" if check.grid else ""
    return f"{query.metric} of {query.solver} {relation} {query.opponent}: {figure}, {bound}{grid}"


def _format_ends(check):
    ends = [("-∞" if x < 0 else "∞") if np.isinf(x) else format_number(x) for x in (check.low, check.high)]
    return f"[{', '.join(ends)}]"


def summary(verdicts):
    """Count the verdicts: ``13 claims: 2 reproduced, 1 not reproduced, 0 inconclusive, 10 not run here``."""
    counts = Counter(verdict.verdict for verdict in verdicts)
    told = ", ".join(f"{counts[each]} {each}" for each in (REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE, NOT_RUN))
    return f"{_count(verdicts, 'claim')}: {told}"


def format_counts(counts):
    """Return a verdict's counts in words: ``holds on 12, fails on 6, open on 0 of 18``."""
    told = f"holds on {counts[HOLDS]}, fails on {counts[FAILS]}, open on {counts[INCONCLUSIVE]}"
    return f"{told} of {sum(counts.values())}"


def _count(things, name):
    return f"{len(things)} {name}{'s' * (len(things) != 1)}"


def format_verdict(verdict):
    """Return the cells of a verdict as text, in the order of `COLUMNS`."""
    claim, check, checks = verdict.claim, decisive(verdict), verdict.shown
    figure = "n/a"
    if check:
        rank = "" if len(checks) == 1 else "worst: " if claim.query.scope == "all" else "best: "
        figure = f"{rank}{format_figure(check, claim.query)}, n = {check.n}, {_places([check], checks)}"
        if np.isfinite(check.p):
            tested = [each for each in checks if np.isfinite(each.p)]
            figure += f", p = {format_number(check.p)} (Holm-adjusted over the claim's {_count(tested, 'check')})"
        figure = stands.marked(figure, verdict.stand)
    if verdict.elsewhere:
        figure = f"no evidence, on another device: {figure}"
    note = f" ({claim.note})" if claim.note else ""
    return [
        verdict.label,
        claim.method,
        f"{claim.text}{note}",
        f"{claim.paper}, {claim.reference}, {claim.where}",
        figure,
        verdict.reason,
    ]


def format_check(check, query, stand=""):
    """Return the cells of a check as text, in the order of `CHECK_COLUMNS`; ``stand`` is its verdict's."""
    figure, p = format_figure(check, query), format_number(check.p)
    figure = stands.marked(figure, stand if np.isfinite(check.estimate) else "")
    return [check.dataset, check.setting, check.outcome, str(check.n), figure, p, check.reason]


def protocol(listed=()):
    """Say in one line by which rules these claims are judged."""
    queries = [claim.query for claim in listed]
    unit = "type" if all(query.dtype for query in queries) else "objective"
    unreached = (
        "; a cell that did not reach a target counts with how far it got, which makes the figure a bound (≤ or ≥): "
        "with one of its solver's a claim can't hold, with one of its baseline's it can't fail"
        if any(query.metric in TO_TARGET for query in queries)
        else ""
    )
    return (
        f"on each data set and {unit}: paired by seed, n ≥ {MIN_SEEDS} common seeds, {100 * LEVEL:.0f} % Student t "
        "intervals; a claim holds where the whole interval is on its side of the bound, fails where it is on the "
        f"other, and is inconclusive between these, each at {100 * ALPHA:.0f} % by a paired t test against the bound, "
        "p Holm-adjusted over the tested checks of the one claim (a leaderboard's over its own pairs); what is not "
        "tested moves no verdict; ratios are geometric "
        "means over seeds; failed cells are no evidence for a claim, and against it where "
        f"{MIN_SEEDS} diverge or are refuted{unreached}"
    )
