"""Figures as dictionaries that Plotly draws, and the choices that a reader has."""

import math
from dataclasses import dataclass, field

from orthobench.report.page import NO_SYMBOL, safe

_AXES = {"loglog": ("log", "log"), "semilog-x": ("log", "linear"), "semilog-y": ("linear", "log")}
_BAND = 0.15  # opacity


@dataclass(frozen=True)
class Figure:
    """What Plotly draws, without looks that depend on the page; or a table in its place."""

    title: tuple  # lines of text
    data: list = field(default_factory=list)
    layout: dict = field(default_factory=dict)
    table: object = None

    @property
    def empty(self):
        """Whether there is nothing to show."""
        return not (self.data or (self.table is not None and self.table.rows))

    def as_json(self):
        """Return what a script needs to draw the figure."""
        told = {"title": list(self.title)}
        if self.table is not None:
            return {**told, "table": self.table.as_json()}
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


def scatter(traces, metadata):
    """Return a `Figure` from what a scatter plot of Benchopt's kind hands out: its traces and its metadata.

    Metadata may have ``places``, names by number of what is side by side: no lines then join what is of different ones,
    and the axis has their names, for which Benchopt's page needs entries of its legend.
    """
    places = metadata.get("places", {})
    named = {f"{number}: {name}" for number, name in places.items()}
    traces = [trace for trace in traces if trace["label"] not in named]
    drawn, last = [], {}
    for place, trace in enumerate(traces):
        last[trace["label"]] = place
    for place, trace in enumerate(traces):
        colour = rgb(trace["color"])
        common = {"name": trace["label"], "legendgroup": trace["label"], "type": "scatter"}
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
        drawn.append(
            {
                **common,
                "x": x,
                "y": y,
                "mode": "lines" if line else "lines+markers" if len(x) > 1 and not places else "markers",
                "line": {"color": f"rgb({colour})", "width": 1.5},
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
    return Figure(tuple(metadata.get("title", "").splitlines()), drawn, layout)


def rgb(colour):
    """Return a colour of numbers from 0 to 1 as ``R, G, B``."""
    return ", ".join(str(round(255 * float(part))) for part in colour[:3])
