"""The benchmarks' own plots: the adapters in ``plots/``, asked for each choice of their options."""

import importlib.util
import itertools
import re
import sys

import yaml

from orthobench.report.names import short_names, short_solvers
from orthobench.report.page import safe
from orthobench.report.site.figures import Figure, Plot, scatter
from orthobench.report.site.tables import Table, slug, texts

# What the pages show in their own way.
OWN = ("leaderboard", "claims")


def benchmark_plots(folder, result, get_style):
    """Return the plots that a benchmark's folder has for its pages, in the order of its ``config.yml``.

    Parameters
    ----------
    folder : pathlib.Path or None
        The benchmark's; None if its repository is not at hand: then there are none.
    result : Result
    get_style : callable
        See `palette.style_of`.

    Returns
    -------
    list of Plot
    """
    if folder is None:
        return []
    views = _views(folder)
    adapters = [(path.stem, _load(path, get_style)) for path in sorted((folder / "plots").glob("*.py"))]
    order = list(views)
    adapters.sort(key=lambda pair: (order.index(pair[0]) if pair[0] in order else len(order), pair[0]))
    found = [
        _plot(name, adapter, views.get(name, {}), result.frame)
        for name, adapter in adapters
        if name not in OWN and adapter.type in ("scatter", "table")
    ]
    return [plot for plot in found if plot is not None]


def _views(folder):
    """Map the kind of a plot to the first view of it in ``config.yml``, its title included."""
    path = folder / "config.yml"
    configs = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("plot_configs", {}) if path.is_file() else {}
    views = {}
    for title, view in configs.items():
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


def _plot(name, adapter, view, frame):
    values = {key: _values(key, options, frame) for key, options in adapter.options.items()}
    figures = {}
    for choice in itertools.product(*values.values()):
        figure = _figure(name, adapter, frame, dict(zip(values, choice, strict=True)))
        if not figure.empty:
            figures[choice] = figure
    if not figures:
        return None
    options = {_shown(key): _menu(key, own) for key, own in values.items()}
    wanted = [view.get(f"{name}_{key}") for key in values]
    return Plot(
        name,
        view.get("title", name.replace("_", " ").capitalize()),
        options,
        figures,
        max(figures, key=lambda choice: sum(map(str.__eq__, map(str, choice), map(str, wanted)))),
        adapter.type == "scatter",
    )


def _values(key, options, frame):
    if options is ...:
        return list(frame[f"{key}_name"].unique())
    return list(options(frame) if callable(options) else options)


def _shown(key):
    return {"dataset": "data set"}.get(key, key.replace("_", " "))


def _menu(key, values):
    shorten = {"dataset": short_names, "solver": short_solvers, "objective": short_solvers}.get(key)
    return shorten(values) if shorten else {value: str(value).replace("_", " ") for value in values}


def _figure(name, adapter, frame, choice):
    try:
        drawn, metadata = adapter.plot(frame, **choice), adapter.get_metadata(frame, **choice)
    except ValueError as error:
        return Figure((safe(f"error: {error}"),))
    if adapter.type == "scatter":
        return scatter(drawn, metadata)
    title = tuple(metadata.get("title", "").splitlines())
    columns = tuple(header.rstrip("\u00a0") for header in metadata["columns"])
    key = "-".join([name, *(slug(str(value)) for value in choice.values())])
    return Figure(title, table=Table(key, " ".join(title), columns, texts([map(plain, row) for row in drawn])))


def plain(cell):
    r"""Return the text of a cell that `page.table_cell` made for Benchopt's tables: without its markup.

    >>> plain(r"0*.*12"), plain(r"a\*b\_c")
    ('0.12', 'a*b_c')
    """
    text = str(cell).replace("*.*", ".").lstrip("\u2007").replace("\u2011", "-")
    return re.sub(r"\\([*_])", r"\1", text)
