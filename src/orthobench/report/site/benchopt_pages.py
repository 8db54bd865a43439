"""Benchopt's own page of a result, as `benchopt generate-results` makes one, from the plots that ours show too.

What it needs of Benchopt is the template and the styles; its `Benchmark` would import the objective, and torch.
"""

from dataclasses import dataclass
from html import escape
from types import SimpleNamespace

import benchopt
from benchopt.plotting import generate_html

from orthobench.report import pictures
from orthobench.report.names import short_solvers
from orthobench.report.page import safe
from orthobench.report.site import vendor
from orthobench.report.site.figures import number, rgb
from orthobench.report.site.offline import Replaced, rehome

FOLDER = "assets/benchopt"  # of the scripts that were inside of the pages
DATA = "orthobench.plots"  # where a page's data are, by assets/benchopt.js
_NOTE = """
<p style="margin: 0; padding: .5rem 1rem; background: #fff8c5; color: #1b1f24">Benchopt's own page of these rows, with
the plots of this suite. Benchopt's built-in views (bar chart, box plot, objective curve, table) are left out: they hide
failed cells and the number of seeds. <a href="{home}" style="color: #0a5cad; text-decoration: underline">Leaderboards,
claims and rows</a></p>
"""
_LETTERS = ("https://fonts.googleapis.com", "https://fonts.gstatic.com",
            "https://fonts.googleapis.com/css2?family=Kanit:wght@300&display=swap")  # fmt: skip
_LINES = ("x", "y", "x_low", "x_high", "y_low", "y_high")


@dataclass(frozen=True)
class Content:
    """What Benchopt's page of a result shows, made once."""

    plots: dict  # by kind, then by the key that the page's script asks for
    options: dict  # values by option, by kind
    views: dict


def content(drawn, configuration):
    """Return the `Content` of a page, with those of its configuration's plots that the rows give; None without any.

    Parameters
    ----------
    drawn : list of plots.Drawn
    configuration : dict
        That of the benchmark's ``config.yml``.
    """
    listed = configuration.get("plots") or [each.name for each in drawn]
    shown = [each for each in drawn if each.name in listed and any(data for data, _ in each.made.values())]
    views = {
        title: view
        for title, view in configuration.get("plot_configs", {}).items()
        if view.get("plot_kind") in [each.name for each in shown]
    }
    if not shown:
        return None
    return Content({each.name: _plots(each) for each in shown}, {each.name: each.values for each in shown}, views)


def _plots(drawn):
    return {"_".join([drawn.name, *map(str, choice)]): _plot(drawn, *made) for choice, made in drawn.made.items()}


def _plot(drawn, data, metadata):
    title = str(metadata.get("title", "")).replace("\n", "<br />")
    if drawn.type == "scatter":
        data = [_trace(each) for each in data]
    if drawn.type == "image":
        data = [{**each, "image": pictures.source(each["image"])} for each in data]
    return {**metadata, "title": title, "type": drawn.type, "data": data}


def _trace(trace):
    numbers = {name: [number(each) for each in trace[name]] for name in _LINES if name in trace}
    return {**trace, **numbers, "color": f"rgb({rgb(trace['color'])})", "marker": int(trace["marker"])}


def page(own, frame, title, up, home, data):
    """Return Benchopt's page of a result, and the scripts it had inside.

    Parameters
    ----------
    own : Content
    frame : pandas.DataFrame
    title : str
    up, home, data : str
        Addresses from the page: of the site, of our page of the benchmark, and of the page's data.

    Returns
    -------
    html : bytes
    files : dict
        Content by path in the site.

    Raises
    ------
    RuntimeError
        If Benchopt's template loads something from outside for which nothing of ours stands.
    """
    result = {
        "fname": f"{home}#downloads",
        "kinds": list(own.plots),
        "plot_options": {
            kind: {name: [escape(str(value)) for value in values] for name, values in options.items()}
            for kind, options in own.options.items()
        },
        "sysinfo": _system(frame),
        "metadata": {"plot_configs": _safe(own.views), "solvers_description": _descriptions(frame)},
        "json_plots": DATA,
    }
    named = SimpleNamespace(pretty_name=escape(title))
    (html,) = generate_html.render_all_results([result], named, home=home)
    ours = "".join(f'<script src="{each}"></script>\n' for each in (f"{up}assets/benchopt.js", data))
    replaced, note = _replaced(f"{up}assets/"), _NOTE.format(home=home)
    try:
        html, files = rehome(html, replaced, f"{up}{FOLDER}/", ours, note, without=("return exportHTML()",))
    except RuntimeError as error:
        raise RuntimeError(
            f"Benchopt {benchopt.__version__}'s page can't be published: {error} Add it to `_replaced` in "
            f"{__name__}, and the file to `vendor.SCRIPTS`; or install the Benchopt of requirements.lock."
        ) from error
    return html.encode(), {f"{FOLDER}/{name}": text for name, text in files.items()}


def _replaced(assets):
    plotly, grid = f"{vendor.PLOTLY.version}.min.js", f"gridjs@{vendor.GRID.version}"
    return {
        f"https://cdn.plot.ly/plotly-{plotly}": Replaced(assets + vendor.PLOTLY.name),
        f"https://cdn.jsdelivr.net/npm/{grid}/dist/gridjs.umd.js": Replaced(
            assets + vendor.GRID.name, (f"{assets}grid.js",)
        ),
        f"https://cdn.jsdelivr.net/npm/{grid}/dist/theme/mermaid.min.css": Replaced(assets + vendor.GRID_STYLE.name),
        f"https://cdnjs.cloudflare.com/ajax/libs/animejs/{vendor.ANIME.version}/anime.min.js": Replaced(
            assets + vendor.ANIME.name
        ),
        **dict.fromkeys(_LETTERS, Replaced()),  # the system's own
    }


def _system(frame):
    """Return what Benchopt tells of a machine, as HTML; its own function needs columns that rows may lack."""
    return {
        level: {name: escape(_first(frame, column)) for column, name in columns}
        for level, columns in generate_html.SYS_INFO.items()
    }


def _first(frame, column):
    values = frame[column].dropna() if column in frame else ()
    return str(values.iloc[0]) if len(values) else ""


def _safe(views):
    """Return views whose texts mean nothing to HTML or a script; those that name options are such already."""
    return {
        safe(title): {safe(key): safe(value) if isinstance(value, str) else value for key, value in view.items()}
        for title, view in views.items()
    }


def _descriptions(frame):
    """Map the labels that a solver can have in a legend to its description as HTML, which the page takes it for."""
    if "solver_description" not in frame:
        return {}
    told = frame.groupby("solver_name", sort=True)["solver_description"].first().dropna()
    short = short_solvers(list(told.index))
    return {safe(label): escape(str(text)) for name, text in told.items() for label in (name, short[name])}
