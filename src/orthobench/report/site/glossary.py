"""What the words of pages mean: columns of tables are explained here, once, and metrics in each ``benchmark.toml``."""

from markdown_it import MarkdownIt
from markupsafe import Markup

from orthobench.report.benchmarks import METRICS, SHARED

# Where a word is: the parts of a page's glossary.
TABLE, COLUMN, METRIC = "table", "column", "metric"
TERMS = {
    "rank": (
        "place among the solvers of the table, 1 for the best. a-b: a tie, for the seeds can't tell the solvers with "
        "these ranks apart (paired t tests at 5 %, Holm-adjusted over all pairs). †: some of its cells failed"
    ),
    "solver": "the method, under its published name; below it those of its hyper-parameters in which rows differ",
    "mean": "mean over the seeds of the figure at the last point, ± half the width of its 95 % interval",
    "95 % interval": (
        "where the mean of any number of seeds is expected: Student's t interval of the mean over these, cut at what "
        "the figure can be, such as 0 and 1 for a share"
    ),
    "difference, interval, p": (
        "this solver minus the baseline, mean over their common seeds, with its 95 % interval; p: how probable so "
        "large a difference is where there is none (paired t test, Holm-adjusted over all other solvers)"
    ),
    "n": "how many seeds the figures are from",
    "failures": (
        "how many cells did not end well, and how; a cell is one solver with one seed on one data set. No mean counts"
        " them"
    ),
    "time (s)": "seconds of the method alone, without evaluation and warm-up: the median of its cells",
    "time range": "seconds of its fastest and its slowest cell",
    "first message": "what the first cell that failed said",
    "variant": "the hyper-parameters of the solver in which its rows differ",
    "data set": "what the solver ran on; its rows are behind the link",
    "metric": "what is measured: the page explains each metric below",
    "machine": "what the rows ran on; times compare on one machine alone",
    "repetition": "the number of the seed, which sets data, initial weights and order, the same for every solver",
    "status": "`ok`, or how the cell failed",
    "last point": "after how many iterations or steps the figures are from",
    "method time (s)": "seconds of the method alone, without evaluation and warm-up",
    "message": "what a failed cell said",
    "verdict": (
        "whether our rows reproduce the claim: yes or no where the whole interval of our figure is on one side of the"
        " claim's bound, inconclusive where it holds the bound"
    ),
    "method": "what the claim is about",
    "claim": "what was published",
    "source": "where it was published",
    "our figure": "what our rows say, with its 95 % interval and the number of seeds",
    "where it fails, or what is open or missing": (
        "data sets on which the claim does not hold, and why others decide nothing"
    ),
    "rows and command": "the checks behind the verdict, with their rows",
    "outcome": "whether the claim holds on this data set, fails, or stays open",
    "dtype": "the type of the numbers that the solver computed with",
    "setting": "the parameters of the objective that tell this check from others on its data set",
    "p": (
        "how probable so large a distance from the claim's bound is where there is none, Holm-adjusted over the checks"
    ),
    "reason": "why there is this outcome",
}
_INLINE = MarkdownIt("zero").enable(["backticks", "escape"])  # names have underscores, and formulas have stars


def terms(columns):
    """Map those columns of tables that are explained to their meaning, as HTML."""
    return {name: _html(TERMS[name]) for name in columns if name in TERMS}


def columns(benchmark, names):
    """Map those columns of a benchmark's rows that it declares, without ``objective_``, to their meaning, as HTML."""
    told = {name: each.meaning for each in (*benchmark.columns, *SHARED) for name in each.names}
    told["value"] = f"what is monitored: {' or '.join(f'`{each}`' for each in benchmark.monitored)}"
    return {name: _html(told[name]) for name in names if name in told}


def metrics(benchmark, names):
    """Map the labels of metrics to their meaning and the better direction, as HTML."""
    told = columns(benchmark, names)
    return {METRICS[name].label: told[name] + f"; {METRICS[name].better} is better" for name in names if name in told}


def _html(text):
    return Markup(_INLINE.renderInline(text))  # noqa: S704 - its parser lets no HTML through
