"""What the report knows of each benchmark: its ``benchmark.toml``, which each has in its folder of the repository."""

import math
import tomllib
from dataclasses import dataclass, field, fields

from orthobench.report.names import plain
from orthobench.report.repository import FILE, find_root

LOWER, HIGHER = "lower", "higher"


@dataclass(frozen=True)
class Metric:
    """A column ``objective_NAME``: how it is called, which way is better, and the scale of its axis."""

    label: str
    better: str = LOWER
    scale: str = "log"  # or "linear"
    counted: bool = False  # a number of things: where repetitions agree on a difference, chance has no part in it
    timed: bool = False  # a time, or memory in use: compares among solvers in processes of one kind, see `stands`


@dataclass(frozen=True)
class Columns:
    """Columns with one meaning."""

    names: tuple
    meaning: str  # Markdown
    range: tuple = (-math.inf, math.inf)  # of their numbers, both ends included
    infinite: bool = False  # whether infinity is among their numbers
    metric: Metric | None = None  # None where nothing is compared by them
    formula: str = ""  # of the first one, in TeX

    def metrics(self):
        """Map each name to its `Metric`; a label's ``{}`` is the number that the name ends in."""
        if self.metric is None:
            return {}
        given = vars(self.metric)
        return {name: Metric(**{**given, "label": given["label"].format(name.split("_")[-1])}) for name in self.names}


@dataclass(frozen=True)
class Benchmark:
    """What distinguishes a benchmark from the others in the report's tables, figures and claims."""

    folder: str  # in the repository
    question: str
    results: str  # its folder below ``results/``
    baseline: str  # chosen before any run
    monitored: tuple  # what `value` is: "NAME" or "1 - NAME", the first of these that a row has
    leaderboards: tuple  # metrics; the first is the default, and rows are recognised by its column
    claims: tuple  # metrics that a claim may be about
    evidence: dict  # which values of the objective's parameters claims are about
    columns: tuple = ()  # of Columns
    to_target: tuple = ()  # metrics that are censored where a fixed target is not reached: no mean makes sense of them
    exceptions: dict = field(default_factory=dict)  # by metric: values of parameters in place of those of `evidence`
    tuned_by: str = "loss"  # what the value is that learning rates are chosen by
    tuned: dict = field(default_factory=dict)  # by family whose value says nothing: "NAME" or "1 - NAME" instead
    small: tuple = ()  # patterns of data sets of small scale: a verdict on these alone says so
    guaranteed: tuple = ()  # metrics that compare only rows whose column `guaranteed` is true
    reading: str = ""  # what a reader of its leaderboards must know

    @property
    def metric(self):
        """The metric that is shown unless another is asked for."""
        return self.leaderboards[0]

    @property
    def reported(self):
        """The metrics that a report can be asked to show."""
        return self.leaderboards + self.to_target

    @property
    def asked(self):
        """The question as a sentence."""
        return self.question[:1].upper() + self.question[1:]

    @property
    def formulas(self):
        """The formulas of its columns, in TeX, by name."""
        return {each.names[0]: each.formula for each in self.columns if each.formula}

    def range_of(self, name):
        """Return the least and the greatest number that a column can hold; of ``value``, that what is monitored can."""
        if name != "value":
            return next((each.range for each in (*self.columns, *SHARED) if name in each.names), Columns.range)
        ends = []
        for each in self.monitored:
            low, high = self.range_of(each.removeprefix("1 - "))
            ends.append((1 - high, 1 - low) if each.startswith("1 - ") else (low, high))
        return min(low for low, _ in ends), max(high for _, high in ends)

    def evidence_for(self, metric):
        """Return which values of the objective's parameters a claim about a metric is about."""
        return {**self.evidence, **self.exceptions.get(metric, {})}

    def decided(self):
        """Map the objective's parameters that say which metrics apply to their values, those of `evidence` first."""
        found = {}
        for each in self.exceptions.values():
            for name, values in each.items():
                found.setdefault(name, dict.fromkeys(self.evidence.get(name, ()))).update(dict.fromkeys(values))
        return {name: tuple(values) for name, values in found.items()}

    def check_objective(self, given):
        """Raise ValueError if such a parameter has a value that no metric is about: a task that is unknown here."""
        for name, values in self.decided().items():
            if given.get(name, values[0]) not in values:
                raise ValueError(f"{name}={given[name]} is unknown: {FILE} has {', '.join(values)}.")

    def metric_for(self, given):
        """Return the metric that is shown of an objective with these parameters: the first that applies to it.

        Raises as `check_objective`.
        """
        self.check_objective(given)
        deciding = self.decided()

        def applies(metric):
            values = self.evidence_for(metric)
            return all(given.get(name, values[name][0]) in values[name] for name in deciding)

        return next(filter(applies, self.leaderboards), self.metric)

    def table(self):
        """Return the table of its columns as its README has it."""
        monitored = ", or ".join(each.replace(each.split()[-1], f"`{each.split()[-1]}`") for each in self.monitored)
        rows = [(("value",), f"what is monitored: {monitored}"), *((each.names, each.meaning) for each in self.columns)]
        if self.folder == ".":
            rows += [(each.names, each.meaning) for each in SHARED]
        else:
            names = tuple(name for each in SHARED for name in each.names)
            rows.append((names, "as in [every benchmark](../README.md#how-to-read-a-result)"))
        lines = [f"| {', '.join(f'`{name}`' for name in names)} | {meaning} |" for names, meaning in rows]
        return "\n".join(["| column | meaning |", "|---|---|", *lines])


def _load(path):
    """Return the `Benchmark` of a file, and the columns that it declares for all of them."""
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
        shared = tuple(_columns(each) for each in told.pop("shared", ()))
        exceptions = {}
        for each in told.pop("exceptions", ()):
            metrics = each.pop("metrics")
            exceptions |= {metric: _evidence(each) for metric in metrics}
        told["evidence"] = _evidence(told.get("evidence", {}))
        columns = tuple(_columns(each) for each in told.pop("columns"))
        told = {key: tuple(value) if isinstance(value, list) else value for key, value in told.items()}
        return _checked(Benchmark(path.parent.name, columns=columns, exceptions=exceptions, **told)), shared
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}: see the other {FILE} for what it holds.") from error


def _evidence(told):
    if not isinstance(told, dict) or not all(isinstance(each, list) for each in told.values()):
        raise TypeError(f"evidence is {told!r}, not a table of lists")
    return {key: tuple(plain(value) for value in values) for key, values in told.items()}


def _columns(told):
    metric = {name: told.pop(name) for name in ("label", "better", "scale", "counted", "timed") if name in told}
    if metric.get("better", LOWER) not in (LOWER, HIGHER) or metric.get("scale", "log") not in ("log", "linear"):
        raise ValueError(f"{told['names'][0]}: better is {LOWER} or {HIGHER}, and scale log or linear")
    told = {key: tuple(value) if isinstance(value, list) else value for key, value in told.items()}
    made = _checked(Columns(metric=_checked(Metric(**metric)) if metric else None, **told))
    if len(made.range) != 2 or not made.range[0] <= made.range[1]:
        raise ValueError(f"{made.names[0]}: range is {list(made.range)}, not two numbers in ascending order")
    return made


def _checked(made):
    """Return a part of a file, whose values are of the types of its fields; raise TypeError if one isn't."""
    for each in fields(made):
        value, of = getattr(made, each.name), {"columns": Columns, "range": int | float}.get(each.name, str)
        listed = each.type is not tuple or (isinstance(value, tuple) and all(isinstance(one, of) for one in value))
        needed = each.name in ("names", "monitored", "leaderboards")
        if not isinstance(value, each.type) or not listed or (needed and not value):
            lists = "list of texts" if of is str else "list of numbers"
            kind = lists if each.type is tuple else each.type.__name__
            raise TypeError(f"{each.name} is {value!r}, not a {kind}{' with one or more' if needed else ''}")
    return made


def _declared(root):
    """Return the benchmarks by folder, what all have, and the metrics of all; one name means one thing."""
    benchmarks, shared, metrics = {}, (), {"value": Metric("monitored value")}
    for path in [root / FILE, *sorted(root.glob(f"benchmark_*/{FILE}"))]:
        benchmark, own = _load(path)
        if path.parent == root:
            benchmark, shared = Benchmark(**{**vars(benchmark), "folder": "."}), own
        for each in (*benchmark.columns, *own):
            for name, metric in each.metrics().items():
                if metrics.setdefault(name, metric) != metric:
                    raise ValueError(f"{path}: {name} is {metric}, and {metrics[name]} elsewhere: declare it equally.")
        benchmarks[benchmark.folder] = benchmark
    for benchmark in benchmarks.values():
        names = {name for each in (*benchmark.columns, *shared) for name in each.names}
        for name in (*benchmark.monitored, *benchmark.tuned.values()):
            if name.removeprefix("1 - ") not in names:
                path = root / benchmark.folder / FILE
                raise ValueError(f"{path}: {name!r} is no column, nor '1 - ' one.")
        for name in (*benchmark.leaderboards, *benchmark.claims, *benchmark.to_target, *benchmark.guaranteed):
            if name not in metrics:
                raise ValueError(f"{root / benchmark.folder / FILE}: {name!r} is no column with a label.")
    return benchmarks, shared, metrics


ROOT = find_root()
BENCHMARKS, SHARED, METRICS = _declared(ROOT)
ORTHOGONALISATION = BENCHMARKS["."]


def radii(benchmark, prefix):
    """Return the radii, in 1/255, of a benchmark's metrics ``PREFIX_RADIUS`` above 0, ascending."""
    found = (name.removeprefix(f"{prefix}_") for name in benchmark.leaderboards if name.startswith(f"{prefix}_"))
    return tuple(sorted(int(each) for each in found if int(each)))


def recognise(frame):
    """Return the `Benchmark` whose rows these are, by the column of its first metric.

    Rows without any such column (every cell failed before it had a figure) are read as those of the repository root.

    Raises
    ------
    ValueError
        If rows of several benchmarks are in one frame.
    """
    found = [benchmark for benchmark in BENCHMARKS.values() if f"objective_{benchmark.metric}" in frame]
    if len(found) > 1:
        folders = " and ".join(benchmark.folder for benchmark in found)
        raise ValueError(f"rows of several benchmarks ({folders}) in one file; report on one file at a time.")
    return found[0] if found else ORTHOGONALISATION
