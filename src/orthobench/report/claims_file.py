"""Published claims as ``claims.toml`` states them: what is compared with what, and in which direction."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orthobench.report.benchmarks import BENCHMARKS, HIGHER, METRICS, ORTHOGONALISATION
from orthobench.report.names import SQUARE, WIDE, plain
from orthobench.report.page import one_line

LAST = "last"
CONFIGURATION = "configuration"  # the column that says which of several files a row is from

# What a query may say of a metric of which the lower value is the better one, and of the others.
DIRECTIONS = ("lower", "not higher", "equal")
UPWARDS = ("higher", "not lower", "equal")
SCOPES = ("all", "any")
SHAPES = ("any", SQUARE, WIDE)
DEVICES = ("any", "cpu", "cuda")
DTYPES = ("float32", "bfloat16", "float64")


@dataclass(frozen=True)
class Query:
    """What to compare: `solver` with `baseline`, by `metric`, on each chosen data set and objective."""

    metric: str
    datasets: tuple  # patterns: * stands for any text, ? for one character, | divides alternatives
    solver: str  # as Benchopt's -s reads it: a name, or a name with some of its parameters
    baseline: str  # the solver itself where its own rows are what it is compared with
    direction: str
    benchmark: str = ORTHOGONALISATION.folder
    dtype: tuple = ()  # of the objective; any where the benchmark has none
    same: tuple = ()  # parameters: solvers are compared with those baselines that have the same values
    task: str = ""  # of the objective, where a metric is of several tasks; else the one that its benchmark.toml says
    steps: object = LAST  # or the numbers of iterations of the solver and of the baseline
    factor: float | None = None  # compare the ratio solver / baseline with it, instead of the difference with 0
    tolerance: float | None = None  # of "equal", "not higher" and "not lower": a share of the baseline's mean
    margin: float | None = None  # of the same: a difference, where no share of the baseline's mean makes sense
    scope: str = "all"
    shape: str = "any"
    device: str = "any"
    configuration: str = ""  # where files are read together, of which one
    needs: tuple = ()  # of (metric, least mean): what a baseline has that is an opponent
    no_opponent: str = ""  # why the baseline is none, whatever it has
    column: str = ""  # instead of a baseline: another column of the same rows, times the next
    times: float = 1.0
    objective: tuple = ()  # instead of a baseline: (parameter, value, other value) of the objective

    @property
    def wanted(self):
        """The side of the baseline on which the claim puts the solver, or on which it may be: "lower" or "higher"."""
        return "higher" if self.direction in ("higher", "not lower") else "lower"

    @property
    def opponent(self):
        """What the solver is compared with, in words."""
        if self.column:
            return self.column if self.times == 1 else f"{self.times:g} times {self.column}"
        return "{0}={2}".format(*self.objective) if self.objective else self.baseline


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
    top = _take(f"{path}:", content, {"solvers": _names, "claim": _tables}, {"benchmark": _one_of(tuple(BENCHMARKS))})
    benchmark = BENCHMARKS[top.get("benchmark", ORTHOGONALISATION.folder)]
    claims = [
        _claim(path, number, table, benchmark, top["solvers"]) for number, table in enumerate(top["claim"], start=1)
    ]
    ids = [claim.id for claim in claims]
    for name in ids:
        if ids.count(name) > 1:
            raise ValueError(f"{path}: claim {name!r}: key 'id' is there {ids.count(name)} times; allowed: once.")
    return claims


def _claim(path, number, table, benchmark, solvers):
    name = table.get("id")
    owner = f"{path}: claim {name!r}:" if isinstance(name, str) else f"{path}: claim number {number}:"
    fields = {"id": _identifier, "method": _text, "text": _text, "source": _table, "query": _table}
    given = _take(owner, table, fields, {"note": _text})
    source = _take(owner, given["source"], {"paper": _text, "where": _text}, {"arxiv": _arxiv, "url": _text}, "source.")
    if len({"arxiv", "url"} & set(source)) != 1:
        raise ValueError(f"{owner} key 'source.arxiv' or 'source.url': allowed: exactly one of the two.")
    reference = f"arXiv:{source['arxiv']}" if "arxiv" in source else source["url"]
    told = {key: given[key] for key in ("id", "method", "text")}
    return Claim(
        **told,
        paper=source["paper"],
        reference=reference,
        where=source["where"],
        note=given.get("note", ""),
        query=_query(owner, given["query"], benchmark, solvers),
    )


def _query(owner, table, benchmark, solvers):
    metric = table.get("metric")
    upwards = metric in benchmark.claims and METRICS[metric].better == HIGHER
    directions = UPWARDS if upwards else DIRECTIONS
    opponents = {
        "baseline": _one_of(solvers),
        "column": _one_of(tuple(name for each in benchmark.columns for name in each.names)),
        "objective": _two_values,
    }
    given = [name for name in opponents if name in table] or ["baseline"]
    if len(given) > 1:
        raise ValueError(f"{owner} keys 'query.{given[0]}' and 'query.{given[1]}'; allowed: one of the two.")
    required = {
        "metric": _one_of(benchmark.claims),
        "datasets": _names,
        "solver": _one_of(solvers),
        given[0]: opponents[given[0]],
        "direction": _one_of(directions),
    }
    optional = {
        **opponents,
        "same": _names,
        "factor": _positive,
        "tolerance": _positive,
        "margin": _positive,
        "scope": _one_of(SCOPES),
        "device": _one_of(DEVICES),
        "configuration": _text,
        "needs": _least,
        "task": _one_of(benchmark.decided().get("task", ())),
        "no_opponent": _text,
    }
    if benchmark is ORTHOGONALISATION:
        required["dtype"] = _some_of(DTYPES)
        optional |= {"steps": _steps, "shape": _one_of(SHAPES)}
    taken = _take(owner, table, required, optional, "query.")
    if "column" in taken:
        _check_column(owner, taken, directions)
        taken["times"] = taken.pop("factor", 1.0)
    query = Query(benchmark=benchmark.folder, **{"baseline": taken["solver"], **taken})
    if not query.column:
        _check_bound(owner, query, directions)
    return query


def _check_column(owner, taken, directions):
    """Raise ValueError unless a comparison with a column is one that a factor alone bounds."""
    direction = taken["direction"]
    if direction != directions[1] or {"tolerance", "margin"} & set(taken):
        raise ValueError(
            f"{owner} key 'query.column' with direction {direction!r}; "
            f"allowed: {directions[1]!r}, with a factor or none."
        )


def _check_bound(owner, query, directions):
    """Raise ValueError unless the query says how far apart the two may be, where the direction needs it, and once."""
    given = tuple(name for name in ("factor", "tolerance", "margin") if getattr(query, name) is not None)
    one = (("factor",), ("tolerance",), ("margin",))
    rules = (
        (((), ("factor",)), "a factor, or none"),
        (one, "exactly one of these, for no number of seeds shows that nothing is higher"),
        ((("tolerance",), ("margin",)), "a tolerance or a margin alone"),
    )
    allowed, told = dict(zip(directions, rules, strict=True))[query.direction]
    if given not in allowed:
        raise ValueError(
            f"{owner} keys 'query.factor', 'query.tolerance' and 'query.margin' with direction {query.direction!r}; "
            f"allowed: {told}."
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
    told = one_line(value).strip() if isinstance(value, str) else ""
    if not told:
        raise ValueError("some text")
    return told


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


def _two_values(value):
    ((name, values),) = value.items() if isinstance(value, dict) and len(value) == 1 else (("", None),)
    if not isinstance(values, list) or len(values) != 2 or len(set(map(str, values))) != 2:
        raise ValueError("a table of one parameter of the objective and two values of it")
    return name, *(plain(str(each)) for each in values)


def _steps(value):
    whole = isinstance(value, list) and all(type(each) is int and each >= 1 for each in value)
    if value != LAST and not (whole and len(value) == 2):
        raise ValueError("'last', or two numbers of iterations [of the solver, of the baseline]")
    return value if value == LAST else tuple(value)


def _positive(value):
    if type(value) not in (int, float) or not 0 < value < np.inf:
        raise ValueError("a number > 0")
    return float(value)


def _least(value):
    whole = isinstance(value, dict) and value and set(value) <= set(METRICS)
    if not whole or not all(type(each) in (int, float) and np.isfinite(each) for each in value.values()):
        raise ValueError("a table of metrics and numbers")
    return tuple(value.items())


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
