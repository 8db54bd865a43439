"""What the names of data sets, objectives and solvers say: ``spectrum[columns=128,count=4,kind=levy,rows=128]``."""

import math
import re
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal

SQUARE, WIDE, OTHER = "square", "1:4", "other"
_FAMILIES = ("gaussian", "spectrum", "momenta")
_NUMBER = re.compile(r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:e[-+]?[0-9]{1,3})?", re.IGNORECASE)


def family(name):
    """Return a name without its parameters."""
    return name.split("[")[0]


def parameters(name):
    """Return the parameters in a name's brackets, as text by key, numbers as `plain`; empty if there are none."""
    return {key: plain(value) for key, value in _as_written(name).items()}


def _as_written(name):
    _, _, inside = name.removesuffix("]").partition("[")
    return {key.strip(): value.strip() for key, found, value in (p.partition("=") for p in inside.split(",")) if found}


def plain(text):
    """Return a number in the one way in which names write it, as Python would; any other text as it is.

    >>> [plain(each) for each in ("100.0", "1e-2", "+.5", "1E5", "0.00001", "-0.0", "007", "float32")]
    ['100', '0.01', '0.5', '100000', '1e-05', '0', '007', 'float32']
    """
    if not _NUMBER.fullmatch(text):
        return text
    value = float(text)
    if not math.isfinite(value):
        return text
    written = str(int(value)) if value.is_integer() and abs(value) < 1e16 else repr(value)
    return written if Decimal(written) == Decimal(text) else text  # with more digits than a float has


def normalised(name):
    """Return a name with its numbers as `plain`: what names alike mean is the same.

    >>> normalised("AdamW[learning_rate=1e-2,warmup=100.0]")
    'AdamW[learning_rate=0.01,warmup=100]'
    """
    start, bracket, inside = name.partition("[")
    pairs = (each.partition("=") for each in inside.removesuffix("]").split(","))
    written = ",".join(key + found + plain(value) for key, found, value in pairs)
    return f"{start}{bracket}{written}{']' * inside.endswith(']')}"


def regime(name):
    """Return the kind of the data set's matrices: that of a spectrum, else the data set's family."""
    return parameters(name).get("kind", "spectrum") if family(name) == "spectrum" else family(name)


def shape(name):
    """Return (rows, columns), or None if the name does not tell."""
    given = parameters(name)
    try:
        rows, columns = int(given["rows"]), int(given["columns"])
    except (KeyError, ValueError):
        return None
    return (rows, columns) if rows > 0 and columns > 0 else None


def shape_class(name):
    """Return "square", "1:4" (four times as many columns as rows), or "other"."""
    rows, columns = shape(name) or (1, 0)
    return SQUARE if rows == columns else WIDE if 4 * rows == columns else OTHER


def size(name):
    """Return the square root of rows times columns; NaN if the name does not tell."""
    return math.sqrt(math.prod(shape(name) or (math.nan,)))


def in_order(names):
    """Sort data sets: gaussian, spectra, momenta by network and step, then the others in their order."""

    def key(name):
        given = parameters(name)
        step = given.get("step", "")
        rank = _FAMILIES.index(family(name)) if family(name) in _FAMILIES else len(_FAMILIES)
        return rank, given.get("network", ""), int(step) if step.isdecimal() else 0

    return sorted(names, key=key)


def short_names(names):
    """Map each data set to a short name, or to its own where the short one would mean two of them."""
    return _unless_ambiguous({name: _short(name, names) for name in names})


def selected(names, selector):
    """Return the names that a selector means, as Benchopt's ``-s`` reads one.

    That is the name itself, or else those of its family that have all of the selector's parameters.
    """
    if selector in names:
        return [selector]
    wanted = parameters(selector).items()
    return [name for name in names if family(name) == family(selector) and wanted <= parameters(name).items()]


def short_solvers(names):
    """Map each solver to its family and those of its parameters in which solvers of the family differ.

    What is left selects the solver among these names.
    """
    return _unless_ambiguous({name: _distinctive(name, names) for name in names})


@dataclass(frozen=True)
class Told:
    """What a table tells of its solvers' hyper-parameters, each ``key=value``."""

    of_all: tuple  # what all solvers have
    usual: tuple  # what most have of those that have such a parameter: of these a solver's own name others alone
    own: dict  # by solver: its name, and its own hyper-parameters


def told_apart(names):
    """Divide the hyper-parameters of the solvers of a table into what many share and each solver's own.

    A solver's family and its own hyper-parameters select it among these names.

    Returns
    -------
    Told
    """
    given = {name: parameters(name) for name in dict.fromkeys(names)}
    having, shared, of_all = {}, {}, {}
    for name, own in given.items():
        for key in own:
            having.setdefault(key, []).append(name)
    for key, its in having.items():
        families = {family(name) for name in its}
        (value, count), *_ = Counter(given[name][key] for name in its).most_common()
        if len(its) < sum(family(name) in families for name in given) or len(given) == 1:
            continue  # without it, a solver would seem to have the usual value
        if count == len(given):
            of_all[key] = value
        elif 2 * count > len(its) and len(families) > 1:
            shared[key] = value
    common = of_all | shared
    own = {
        name: (family(name), tuple(f"{key}={value}" for key, value in its.items() if common.get(key) != value))
        for name, its in given.items()
    }
    shown = list(own.values())
    return Told(
        *(tuple(f"{key}={value}" for key, value in each.items()) for each in (of_all, shared)),
        {name: each if each[0] and shown.count(each) == 1 else (name, ()) for name, each in own.items()},
    )


def short_objectives(names):
    """Map each objective to those of its parameters in which they differ, in words: ``epsilon=1, tuning part``."""
    given = {name: parameters(name) for name in names}
    differing = {
        name: [(key, value) for key, value in own.items() if any(other.get(key) != value for other in given.values())]
        for name, own in given.items()
    }
    told = {
        name: ", ".join(f"{value.replace('_', '-')} part" if key == "part" else f"{key}={value}" for key, value in own)
        for name, own in differing.items()
    }
    return _unless_ambiguous(told)


def shortest_selector(name, names, *always):
    """Return the shortest text that selects a solver among names: its family and what tells it from others of it.

    The parameters `always` are named in any case. Numbers are as the name has them: Benchopt runs 1.0 as 1.0.
    """
    text = _distinctive(name, names, always, _as_written)
    return text if selected(names, text) == [name] else name


def without(name, key):
    """Return a name without one of its parameters."""
    start, _, inside = name.removesuffix("]").partition("[")
    kept = [each for each in inside.split(",") if each.partition("=")[0].strip() != key]
    return f"{start}[{','.join(kept)}]" if any(kept) else start


def with_value(name, key, value):
    """Return a name with this value of a parameter; in the order of the alphabet, as Benchopt writes them."""
    given = parameters(name) | {key: plain(value)}
    return f"{family(name)}[{','.join('='.join(pair) for pair in sorted(given.items()))}]"


def _distinctive(name, names, always=(), written=parameters):
    own, siblings = parameters(name), [parameters(other) for other in names if family(other) == family(name)]
    differing = [
        f"{key}={value}"
        for key, value in written(name).items()
        if key in always or any(other.get(key) != own[key] for other in siblings)
    ]
    return f"{family(name)}[{','.join(differing)}]" if differing else family(name)


def _unless_ambiguous(short):
    """Replace each short name that is empty, or would mean two, by the whole one."""
    texts = list(short.values())
    return {name: text if text and texts.count(text) == 1 else name for name, text in short.items()}


def _short(name, names):
    given, dimensions = parameters(name), shape(name)
    if family(name) in ("gaussian", "spectrum") and dimensions:
        return f"{regime(name)} {dimensions[0]}x{dimensions[1]}"
    if family(name) == "momenta" and {"network", "step"} <= set(given):
        return f"{given['network']} momenta, step {given['step']}"
    return name if family(name) in _FAMILIES else _distinctive(name, names)
