"""Figures as dictionaries that Plotly draws, and the choices that a reader has."""

import math
from dataclasses import dataclass, field

from orthobench.report import stands
from orthobench.report.names import family, parameters
from orthobench.report.page import NO_SYMBOL, safe
from orthobench.report.site.palette import dash

NAMED = ("dataset", "data set", "objective")  # options whose values are names with parameters
_AXES = {"loglog": ("log", "log"), "semilog-x": ("log", "linear"), "semilog-y": ("linear", "log")}
_BAND = 0.15  # opacity


@dataclass(frozen=True)
class Figure:
    """What Plotly draws, without looks that depend on the page; or a table or pictures in its place."""

    title: tuple  # lines of text
    data: list = field(default_factory=list)
    layout: dict = field(default_factory=dict)
    table: object = None
    pictures: tuple = ()  # of dict: a label, and a source and what it shows, unless there is none
    leading: tuple = ()  # the groups of traces that are shown at first; all of them where it is empty
    led: str = ""  # what these are
    aside: tuple = ()  # groups of no solver, such as a target

    @property
    def empty(self):
        """Whether there is nothing to show."""
        return not (self.data or self.pictures or (self.table is not None and self.table.rows))

    def as_json(self):
        """Return what a script needs to draw the figure."""
        told = {"title": list(self.title)}
        if self.table is not None:
            return {**told, "table": self.table.as_json()}
        if self.pictures:
            return {**told, "pictures": list(self.pictures)}
        if self.leading:
            told |= {"leading": list(self.leading), "led": self.led, "aside": list(self.aside)}
        return {**told, "data": self.data, "layout": self.layout}


@dataclass(frozen=True)
class Plot:
    """A kind of figure on a page: one figure for each choice of its options."""

    name: str
    title: str
    options: dict  # by name: label by value
    figures: dict  # Figure by the tuple of values
    first: tuple  # the choice that is shown first
    downloadable: bool = True


def number(value):
    """Return a number of six digits as JSON has it; None for what is not finite."""
    value = float(value)
    return float(f"{value:.6g}") if math.isfinite(value) else None


def opening(choices, options, wanted):
    """Return the choice that a plot opens on: the one that has most of what is wanted, the first option first.

    Parameters
    ----------
    choices : iterable of tuple
    options : iterable of str
        Whose values these are, in their order.
    wanted : dict
        By option a list of values, the one that is preferred first.
    """
    named = list(options)

    def agreement(choice):
        return [_agreement(option, value, wanted.get(option, ())) for option, value in zip(named, choice, strict=True)]

    return max(choices, key=agreement)


def _agreement(option, value, wishes):
    """Return how well a value of an option meets wishes, the first of which counts most; 0 if it meets none."""
    for place, wish in enumerate(map(str, wishes)):
        if str(value) in (wish, safe(wish)):
            return 2 * (len(wishes) - place)
        if option in NAMED and is_part(value, wish):
            return 2 * (len(wishes) - place) - 1
    return 0


def is_part(value, name):
    """Whether a menu's value is a name without some of its parameters: what a figure has on its axis."""
    name = safe(name)
    return family(value) == family(name) and parameters(value).items() <= parameters(name).items()


def grouped(traces):
    """Return the group of each trace: one a solver and kind of process, called by what its labels have in common.

    Parameters
    ----------
    traces : list of dict
        As Benchopt takes them. Of several labels, such as "AOC" and "AOC: attacked", one may begin with another.
    """
    keys, heads = [], {}
    for trace in traces:
        text, kind = stands.unmarked(trace["label"])
        keys.append((trace.get("solver"), kind, text))
        heads.setdefault((trace.get("solver"), kind), set()).add(text.partition(": ")[0])
    return [
        stands.marked(min((each for each in heads[solver, kind] if text.startswith(each)), key=len), kind)
        if solver
        else stands.marked(text, kind)
        for solver, kind, text in keys
    ]


def first_shown(leading, groups, led, aside=()):
    """Return what a `Figure` has of what it shows at first: nothing if that is all, or no solver."""
    return {"leading": leading, "led": led, "aside": aside} if 0 < len(leading) < len(groups) - len(aside) else {}


def scatter(traces, metadata, leads=None, led="", get_style=None):
    """Return a `Figure` from what a scatter plot of Benchopt's kind hands out: its traces and its metadata.

    Where only some solvers are shown at first, ``leads`` tells of each whether it is, and ``led`` which these are.
    With ``get_style``, that of the traces, their lines without symbols have the dashes of their solvers.
    Metadata may have ``places``, names by number of what is side by side: no lines then join what is of different ones,
    and the axis has their names, for which Benchopt's page needs entries of its legend.
    """
    places = metadata.get("places", {})
    named = {f"{number}: {name}" for number, name in places.items()}
    traces = [trace for trace in traces if trace["label"] not in named]
    drawn, last, groups = [], {}, grouped(traces)
    solvers = {group: trace.get("solver") for group, trace in zip(groups, traces, strict=True)}
    leading = tuple(group for group, solver in solvers.items() if solver and leads and leads(solver))
    aside = tuple(group for group, solver in solvers.items() if not solver)
    for place, trace in enumerate(traces):
        last[trace["label"]] = place
    for place, trace in enumerate(traces):
        colour = rgb(trace["color"])
        common = {"name": trace["label"], "legendgroup": groups[place], "type": "scatter"}
        x, y = [number(each) for each in trace["x"]], [number(each) for each in trace["y"]]
        if "y_low" in trace:
            low, high = ([number(each) for each in trace[name]] for name in ("y_low", "y_high"))
            drawn.append(
                {
                    **common,
                    "x": x + x[::-1],
                    "y": high + low[::-1],
                    "fill": "toself",
                    "fillcolor": f"rgba({colour}, {_BAND})",
                    "line": {"width": 0},
                    "mode": "lines",
                    "hoverinfo": "skip",
                    "showlegend": False,
                }
            )
        line = trace["marker"] == NO_SYMBOL
        bar = len(set(x)) == 1 or len(set(y)) == 1
        styled = line and not bar and get_style and trace.get("solver")
        dashed = {"dash": trace.get("dash") or dash(get_style(trace["solver"]))} if styled else {}
        drawn.append(
            {
                **common,
                "x": x,
                "y": y,
                "mode": "lines" if line else "lines+markers" if len(x) > 1 and not places else "markers",
                "line": {"color": f"rgb({colour})", "width": 1.5, **dashed},
                "marker": {"color": f"rgb({colour})", "symbol": int(trace["marker"]), "size": 8},
                "showlegend": last[trace["label"]] == place,
                "hovertemplate": "%{fullData.name}<br>%{x:.3~g}, %{y:.3~g}<extra></extra>",
            }
        )
    across, up = _AXES.get(metadata.get("scale"), ("linear", "linear"))
    xaxis = {"title": {"text": safe(metadata.get("xlabel", ""))}, "type": across}
    if places:
        shown = {"tickvals": list(map(float, places)), "ticktext": list(places.values()), "tickangle": -45}
        xaxis |= {"title": {"text": ""}, **shown}
    layout = {
        "xaxis": xaxis,
        "yaxis": {"title": {"text": safe(metadata.get("ylabel", ""))}, "type": up},
    }
    return Figure(
        tuple(metadata.get("title", "").splitlines()), drawn, layout, **first_shown(leading, solvers, led, aside)
    )


def rgb(colour):
    """Return a colour of numbers from 0 to 1 as ``R, G, B``."""
    return ", ".join(str(round(255 * float(part))) for part in colour[:3])
