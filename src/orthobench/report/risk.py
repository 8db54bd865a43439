"""Figures of `benchmark_crc`: risks and sizes against the levels asked for, verdicts, closed forms, scenes."""

import math
import re
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pandas as pd
from scipy.stats import t

from orthobench.report import pictures
from orthobench.report.cells import check_frame
from orthobench.report.conformal import REFUTED_BELOW, adjusted, guaranteed
from orthobench.report.curves import Trace
from orthobench.report.leaderboard import cells_by_solver, format_number
from orthobench.report.medians import failed_cells, median_curve
from orthobench.report.names import family, parameters, short_solvers, without
from orthobench.report.page import options, table

ALPHAS = "alphas"
# As columns call the risks.
RISKS = {"localisation": "loc", "classification": "cls", "maximum": "max", "joint": "joint", "confidence": "cnf"}
# Metrics of size, with the risk whose level decides most of them.
SIZES = {
    "volume_ratio": "maximum",
    "boxes_per_image": "confidence",
    "stretch": "localisation",
    "class_set_size": "classification",
}
CHANCE = 0.99
SHOWN = (
    "true boxes in green, the detector's boxes that are kept in white, their outer boxes in orange, and the classes in "
    "the set of each"
)


def levels(objective):
    """Map each risk to the level that an objective asks of it, exactly; empty if its name doesn't tell.

    Of the maximum and of the joint loss this is the sum of those of localisation and classification.
    """
    told = parameters(objective).get(ALPHAS, "").split("/")
    if len(told) != 3 or not all(re.fullmatch(r"[0-9]?\.?[0-9]{1,17}(e-[0-9]{1,2})?", each) for each in told):
        return {}
    confidence, localisation, classification = asked = list(map(Fraction, told))
    if not all(0 < each < 1 for each in asked):
        return {}
    both = localisation + classification
    return {"cnf": confidence, "loc": localisation, "cls": classification, "max": both, "joint": both}


def level_menu(frame):
    """Map what a menu shows of objectives without their levels to these names."""
    check_frame(frame)
    names = sorted({without(name, ALPHAS) for name in frame["objective_name"]})
    return options(pd.DataFrame({"objective": names}), "objective")


# ----- against the level -----


def risk_traces(frame, dataset, objective, risk):
    """Return a risk against the level asked of it, with the level itself and what chance allows.

    Per solver: the median over seeds of its mean risk over splits; and dashed, where it is judged and claims an
    expectation, up to where chance alone takes the mean of so many splits, 99 % of the time, if the risk is its level.
    A solver with failed cells, refuted ones among them, has a cross.

    Parameters
    ----------
    objective : str
        An objective's name without its levels, as `level_menu` has it.
    risk : str
        A key of `RISKS`.

    Raises
    ------
    ValueError
        For the reasons given in `cells`.
    """
    rows, risk = _rows(frame, dataset, objective), RISKS[risk]
    traces = _curves(rows, dataset, risk, f"risk_{risk}")
    names = short_solvers(sorted(rows["solver_name"].unique()))
    limits = [_limit(own, names[solver], dataset, risk) for solver, own in _good(rows).groupby("solver_name")]
    asked = [x for trace in traces if trace.kind == "curve" for x in trace.x]
    level = [Trace(None, "the level", "line", [0.0, max(asked)], [0.0, max(asked)], 0)] if asked else []
    return level + [limit for limit in limits if limit] + traces


def size_traces(frame, dataset, objective, metric):
    """Return a metric of size against the level that decides it, of methods whose guarantee stands.

    Parameters
    ----------
    objective : str
        As of `risk_traces`.
    metric : str
        A key of `SIZES`.

    Raises
    ------
    ValueError
        For the reasons given in `cells`.
    """
    return _curves(_rows(guaranteed(frame), dataset, objective), dataset, RISKS[SIZES[metric]], metric)


def _rows(frame, dataset, objective):
    check_frame(frame)
    alike = frame["objective_name"].map(lambda name: without(name, ALPHAS)) == objective
    return frame[alike & (frame["dataset_name"] == dataset)]


def _good(rows):
    return rows[rows["objective_status"] == "ok"]


def _curves(rows, dataset, risk, metric):
    """Return the curve of each solver against the level of a risk, and a cross for each with failed cells."""
    names = short_solvers(sorted(rows["solver_name"].unique()))
    found = {solver: _points(own, risk, metric) for solver, own in _good(rows).groupby("solver_name")}
    traces = [median_curve(solver, names[solver], points) for solver, points in found.items() if points]
    left = min((x for trace in traces for x in trace.x), default=0.0)
    for name in rows["objective_name"].unique():
        traces += failed_cells(cells_by_solver(rows, dataset, name, "value"), names, left, 0.0)
    return traces


def _points(rows, risk, metric):
    """Map the levels asked of a risk, ascending, to the finite values of a metric."""
    found = {}
    for objective, own in rows.groupby("objective_name"):
        values, level = _numbers(own, metric), levels(objective).get(risk)
        if level is not None and len(values):
            found.setdefault(float(level), []).append(values)
    return {level: pd.concat(found[level]) for level in sorted(found)}


def _numbers(rows, metric):
    if f"objective_{metric}" not in rows:
        return pd.Series(dtype=float)
    numbers = pd.to_numeric(rows[f"objective_{metric}"], errors="coerce").astype(float)
    return numbers[np.isfinite(numbers)]


def _limit(rows, name, dataset, risk):
    """Return up to where chance takes the mean of a solver's splits at the level; None where nothing tells."""
    splits, judged, kind = _count(dataset, "splits"), f"objective_judged_{risk}", "objective_claimed_kind"
    if splits < 2 or judged not in rows or kind not in rows:
        return None
    spreads = _points(rows[rows[judged].eq(True) & rows[kind].eq("expectation")], risk, f"risk_sd_{risk}")
    if not spreads:
        return None
    reach = t.isf((1 - CHANCE) / 2, splits - 1) / math.sqrt(splits)
    y = [level + float(reach * values.median()) for level, values in spreads.items()]
    n = len(next(iter(spreads.values())))
    return Trace(rows["solver_name"].iloc[0], f"{name}: what chance allows", "dashed", list(spreads), y, n)


def _count(dataset, name):
    """Return a whole number of a data set's parameters; 0 if it has none such."""
    told = parameters(dataset).get(name, "")
    return int(told) if re.fullmatch(r"[0-9]{1,9}", told) else 0


# ----- verdicts -----


@dataclass(frozen=True)
class RiskVerdict:
    """One test of a claim: that of one risk in one cell."""

    dataset: str
    objective: str
    solver: str
    seed: int
    risk: str
    level: float
    measured: float
    p: float
    adjusted: float  # Holm's, over the file

    @property
    def refuted(self):
        """Whether the risk is larger than chance allows."""
        return self.adjusted < REFUTED_BELOW


def risk_verdicts(frame):
    """Return a `RiskVerdict` for each claim that the rows of a file test, most doubtful first.

    What a method doesn't claim isn't judged, nor what its row has no test of.
    """
    check_frame(frame)
    found = []
    for risk, short in RISKS.items():
        columns = [f"objective_{name}_{short}" for name in ("claimed", "risk", "p_value")]
        if not {f"objective_judged_{short}", *columns} <= set(frame):
            continue
        judged = frame[frame[f"objective_judged_{short}"].eq(True) & frame[columns[-1]].notna()]
        names = judged[["dataset_name", "objective_name", "solver_name", "idx_rep"]].itertuples(index=False)
        figures = zip(*(judged[each] for each in columns), strict=True)
        found += [(*name, risk, *map(float, each)) for name, each in zip(names, figures, strict=True)]
    return adjusted(RiskVerdict, found)


def verdicts_table(frame):
    """Return the verdicts as a table of the page: title, columns and rows."""
    verdicts = risk_verdicts(frame)
    names = short_solvers(sorted({each.solver for each in verdicts}))
    refuted = sum(each.refuted for each in verdicts)
    title = [
        f"{len(verdicts)} claims of a risk tested, {refuted} refuted",
        "one-sided p of so large a mean risk over the splits at the claimed level, Holm-adjusted over the file; "
        f"refuted below {REFUTED_BELOW:g}",
    ]
    rows = [
        [
            each.dataset, each.objective, names[each.solver], str(each.seed), each.risk, f"{each.level:g}",
            f"{each.measured:.4f}", format_number(each.p), format_number(each.adjusted),
            "refuted" if each.refuted else "stands",
        ]
        for each in verdicts
    ]  # fmt: skip
    columns = ["data set", "objective", "solver", "seed", "risk", "level", "measured", "p", "adjusted p", "claim"]
    return table(title, columns, rows)


# ----- closed forms -----


@dataclass(frozen=True)
class ClosedForms:
    """The exact risks of a second step, with one object an image, losses of 0 and 1, and independent parameters."""

    sequential: Fraction  # of SeqCRC
    same_threshold: Fraction  # if the second step took the threshold that the prediction has
    detected_alone: Fraction  # if detected objects alone calibrated the second step


def closed_forms(images, first, second):
    """Return the `ClosedForms` of two steps; None where too few images calibrate them.

    Parameters
    ----------
    images : int
        n, of the calibration.
    first, second : Fraction
        The levels of the two steps.

    Notes
    -----
    With k = floor(first (n + 1)) - 1 and m = floor(second (n + 1)), k images are lost at the threshold of the
    prediction, k + 1 at that of the second step. The parameters are order statistics of uniform variables, whose means
    are ratios of ranks: the risk is 1 - E[a] E[b], with the first parameter a and the second one b.

        m / (n + 1)                                                    SeqCRC;
        (m + 1 - (m - k) / (n - k + 1)) / (n + 1)                      the same threshold;
        (k + 1) / (n + 1) + (n - k) / (n + 1) x j / (n - k + 1)        detected alone, j = floor(second (n - k + 1)).
    """
    n = images
    k, m = math.floor(first * (n + 1)) - 1, math.floor(second * (n + 1))
    if k < 0 or m < k + 2:
        return None
    j = math.floor(second * (n - k + 1))
    return ClosedForms(
        Fraction(m, n + 1),
        (m + 1 - Fraction(m - k, n - k + 1)) / (n + 1),
        Fraction(k + 1, n + 1) + Fraction(n - k, n + 1) * Fraction(j, n - k + 1),
    )


@dataclass(frozen=True)
class Composition:
    """A risk of the second step on simulated images, with what the closed forms have for it."""

    dataset: str
    objective: str
    solver: str
    risk: str
    level: float
    measured: float  # mean over splits and seeds of exact risks
    error: float  # its standard error
    n: int  # seeds
    forms: ClosedForms


def compositions(frame):
    """Return a `Composition` for each solver's risks of the second step that the closed forms are about, of 0 and 1."""
    check_frame(frame)
    found = []
    for (dataset, objective, solver), own in _good(frame).groupby(["dataset_name", "objective_name", "solver_name"]):
        splits, asked = _count(dataset, "splits"), levels(objective)
        simulated = family(dataset) == "simulated" and parameters(dataset).get("duplicates", "False") == "False"
        if not (simulated and splits and asked):
            continue
        for risk, short in (("localisation", "loc"), ("classification", "cls")):
            measured, spreads = _numbers(own, f"risk_{short}"), _numbers(own, f"risk_sd_{short}")
            forms = closed_forms(_count(dataset, "calibration"), asked["cnf"], asked[short])
            steps = risk == "classification" or parameters(objective).get("localisation") != "pixel_wise"
            if not len(measured) or forms is None or not steps:
                continue
            error = math.sqrt((spreads**2).mean() / (splits * len(measured))) if len(spreads) else math.nan
            place = dataset, objective, solver, risk, float(asked[short])
            found.append(Composition(*place, float(measured.mean()), error, len(measured), forms))
    return found


def composition_table(frame):
    """Return the closed forms beside measured risks as a table of the page: title, columns and rows."""
    found = compositions(frame)
    names = short_solvers(sorted({each.solver for each in found}))
    title = [
        "What composing two steps costs, on simulated images with losses of 0 and 1",
        "measured: mean of exact risks over splits and seeds, with its standard error; beside it the closed forms of "
        "SeqCRC, and of two careless ones: a second step that takes the prediction's threshold, and one that detected "
        "objects alone calibrate",
    ]
    rows = [
        [
            each.dataset, parameters(each.objective)[ALPHAS], names[each.solver], each.risk, f"{each.level:g}",
            f"{each.measured:.4f} ({format_number(each.error)})",
            *(f"{float(form):.4f}" for form in vars(each.forms).values()), str(each.n),
        ]
        for each in found
    ]  # fmt: skip
    columns = [
        "data set", "levels", "solver", "risk", "level", "measured (standard error)", "SeqCRC, exactly",
        "with the same threshold", "with detected ones alone", "n",
    ]  # fmt: skip
    return table(title, columns, rows)


# ----- scenes -----


def scenes(frame, dataset, objective):
    """Return a picture of scenes by solver; see `pictures.by_solver`."""
    return pictures.by_solver(frame, dataset, objective, SHOWN)
