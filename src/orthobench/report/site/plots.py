"""The benchmarks' own plots: the adapters in ``plots/``, asked for each choice of their options."""

import importlib.util
import itertools
import re
import sys
from dataclasses import dataclass

import yaml

from orthobench.report import pictures, stands
from orthobench.report.benchmarks import METRICS
from orthobench.report.names import short_names, short_objectives, short_solvers
from orthobench.report.page import safe
from orthobench.report.site.boards import leading, led_by
from orthobench.report.site.figures import Figure, Plot, is_part, opening, scatter
from orthobench.report.site.palette import method
from orthobench.report.site.tables import Table, slug, texts

# What the pages show in their own way.
OWN = ("leaderboard", "claims")


@dataclass(frozen=True)
class Drawn:
    """An adapter of a benchmark with all that it draws of a result."""

    name: str
    type: str  # as Benchopt calls it
    values: dict  # list of values by option
    made: dict  # (data, metadata) by the tuple of values


def draw_all(folder, frame, get_style):
    """Ask each adapter of a benchmark's folder for its plot of each choice, in the order of ``config.yml``.

    Parameters
    ----------
    folder : pathlib.Path or None
        The benchmark's; None if its repository is not at hand: then there are none.
    frame : pandas.DataFrame
        All rows of a result.
    get_style : callable
        See `palette.style_of`.

    Returns
    -------
    list of Drawn
    """
    if folder is None:
        return []
    adapters = [(path.stem, _load(path, get_style)) for path in sorted((folder / "plots").glob("*.py"))]
    order = list(_views(configuration(folder)))
    adapters.sort(key=lambda pair: (order.index(pair[0]) if pair[0] in order else len(order), pair[0]))
    return [_drawn(name, adapter, frame) for name, adapter in adapters if adapter.type in ("scatter", "table", "image")]


def benchmark_plots(drawn, configuration, own_boards, get_style):
    """Return what our pages show of `draw_all`'s plots, a list of `Plot`; their names are in the configuration.

    Each opens on what the first board shows; what that leaves open, the first view of it in the configuration decides.
    """
    views = _views(configuration)
    found = [_plot(each, views.get(each.name, {}), own_boards, get_style) for each in drawn if each.name not in OWN]
    return [plot for plot in found if plot is not None]


def configuration(folder):
    """Return what a benchmark's ``config.yml`` says; nothing if its repository is not at hand."""
    path = folder / "config.yml" if folder else None
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path and path.is_file() else {}


def _views(configuration):
    """Map the kind of a plot to the first view of it in a configuration, its title included."""
    views = {}
    for title, view in configuration.get("plot_configs", {}).items():
        views.setdefault(view.get("plot_kind"), {**view, "title": title})
    return views


def _load(path, get_style):
    """Return an instance of a file's plot, which asks us for the styles of solvers."""
    name = f"orthobench_plot_{slug(str(path.resolve())).replace('-', '_')}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    plot = module.Plot.get_instance()
    plot.get_style = get_style
    return plot


def _drawn(name, adapter, frame):
    values = {key: _values(key, options, frame) for key, options in adapter.options.items()}
    choices = itertools.product(*values.values())
    made = {choice: _made(adapter, frame, dict(zip(values, choice, strict=True))) for choice in choices}
    return Drawn(name, adapter.type, values, made)


def _made(adapter, frame, choice):
    """Return the data and the metadata of a plot; where the rows allow for none, its title says why."""
    try:
        return adapter.plot(frame, **choice), adapter.get_metadata(frame, **choice)
    except ValueError as error:
        return [], {"title": safe(f"error: {error}"), "columns": ["error"]}


def _plot(drawn, view, own_boards, get_style):
    name = drawn.name
    figures = {}
    for choice, made in drawn.made.items():
        about = _board_of(dict(zip(drawn.values, choice, strict=True)), own_boards)
        figures[choice] = _figure(drawn, choice, *made, about, get_style)
    figures = {choice: figure for choice, figure in figures.items() if not figure.empty}
    if not figures:
        return None
    wanted = own_boards[0].wanted
    for key in drawn.values:
        wanted[key] = [*wanted.get(key, ()), *([view[f"{name}_{key}"]] if f"{name}_{key}" in view else ())]
    return Plot(
        name,
        view.get("title", name.replace("_", " ").capitalize()),
        {_shown(key): _menu(key, own) for key, own in drawn.values.items()},
        figures,
        opening(figures, drawn.values, wanted),
        drawn.type == "scatter",
    )


def _board_of(choice, own_boards):
    """Return the board that a figure is about, and the metric: the first ones of those that its choice allows for."""

    def fits(board):
        names = {"dataset": board.setting.dataset, "objective": board.setting.objective}
        return all(is_part(choice[key], name) for key, name in names.items() if key in choice)

    board = next(filter(fits, own_boards), own_boards[0])
    return board, choice["metric"] if choice.get("metric") in board.rows else board.first


def _leading(board, metric):
    """Return the function that says whether a solver is among those that a figure shows at first, and which these are.

    On the tuning part it is its method that is. What is no solver of the board is shown.
    """
    part = str if board.result.is_evidence(board.setting.objective) else method
    known = {safe(part(row.solver)) for row in board.rows[metric]}
    chosen = {safe(part(solver)) for solver in leading(board, metric)}
    return lambda solver: part(solver) in chosen or part(solver) not in known, led_by(board, metric)


def _values(key, options, frame):
    if options is ...:
        return list(frame[f"{key}_name"].unique())
    return list(options(frame) if callable(options) else options)


def _shown(key):
    return {"dataset": "data set"}.get(key, key.replace("_", " "))


def _menu(key, values):
    shorten = {"dataset": short_names, "solver": short_solvers, "objective": short_objectives}.get(key)
    if shorten:
        return shorten(values)
    return {value: METRICS[value].label if value in METRICS else str(value).replace("_", " ") for value in values}


def _figure(drawn, choice, data, metadata, about, get_style):
    if drawn.type == "scatter":
        places = {x for trace in data for x in trace["x"]}  # one alone shows less than the leaderboard of its metric
        return scatter(data if len(places) > 1 else [], metadata, *_leading(*about), get_style)
    title = tuple(metadata.get("title", "").splitlines())
    if drawn.type == "image":
        return Figure(title, pictures=tuple(map(_picture, data)))
    columns = tuple(header.rstrip("\u00a0") for header in metadata["columns"])
    key = "-".join([drawn.name, *(slug(str(value)) for value in choice)])
    rows = _shortened(columns, [list(map(plain, row)) for row in data])
    return Figure(title, table=Table(key, " ".join(title), columns, texts(rows)))


def _picture(told):
    """Return a picture of Benchopt's kind with its address; one without words that say what it shows has none."""
    shown = {"source": pictures.source(told["image"]), "alt": told["alt"]} if told["alt"] else {}
    return {"label": told["label"], **shown}


def _shortened(columns, rows):
    """Return rows with the names of solvers as short as the other solvers among them allow."""
    if "solver" in columns:
        place = columns.index("solver")
        told = [stands.unmarked(row[place]) for row in rows]
        names = short_solvers(list(dict.fromkeys(name for name, _ in told)))
        rows = [
            [*row[:place], stands.marked(names[name], kind), *row[place + 1 :]]
            for row, (name, kind) in zip(rows, told, strict=True)
        ]
    return rows


def plain(cell):
    r"""Return the text of a cell that `page.table_cell` made for Benchopt's tables: without its markup.

    >>> plain(r"0*.*12"), plain(r"a\*b\_c")
    ('0.12', 'a*b_c')
    """
    text = str(cell).replace("*.*", ".").lstrip("\u2007").replace("\u2011", "-")
    return re.sub(r"\\([*_])", r"\1", text)
