"""Text that is safe on a Benchopt page, which writes names into HTML and scripts as they are."""

import functools
import re

# Look-alikes, not entities: a menu's value must read the same before and after the browser has parsed it.
_LOOK_ALIKE = str.maketrans({"<": "‹", ">": "›", "&": "+", '"': "”", "'": "’", "`": "’"})  # noqa: RUF001

_FIGURE_SPACE = "\u2007"  # as wide as a digit, and not collapsed by HTML
_HYPHEN = "\u2011"  # does not break the line


def one_line(text):
    """Return the text on one line, without control characters."""
    return "".join(c if c.isprintable() else " " for c in " ".join(str(text).split()))


def shorten(text, length=80):
    """Return the text on one line, cut off if it is too long for a table."""
    line = one_line(text)
    return line if len(line) <= length else line[: length - 1] + "…"


def safe(text):
    """Return the text on one line with nothing in it that HTML or a script reads as its own."""
    return one_line(text).translate(_LOOK_ALIKE)


def options(frame, column):
    """Map the safe form of each name in the column, for a menu, to the name; in order of appearance."""
    names = {}
    for name in frame[column].unique():
        shown, copies = safe(name), 1
        while shown in names:
            copies += 1
            shown = f"{safe(name)} ({copies})"
        names[shown] = name
    return names


def table_cell(text):
    """Return the text of a table's cell, which Benchopt shows as it is.

    It shows the number 0.0000123 as 0.0000, but leaves one alone that has markup inside. The italic dot keeps our three
    significant digits, and the column still sorts as numbers.
    """
    try:
        float(text)
    except ValueError:
        return re.sub(r"([*_])", r"\\\1", safe(text))  # a name's own * and _ are no markup
    return text.replace(".", "*.*", 1)


def table_header(name):
    """Return a column's name with room for the sort arrow, which would hide its end."""
    return name + "\u00a0" * 7


def table(title, columns, rows, **metadata):
    """Return the cells and the metadata of a table as Benchopt's table plots take them; all of it is text.

    Parameters
    ----------
    title : list of str
        One line each.
    """
    cells = [[table_cell(text) for text in row] for row in rows]
    title = "\n".join(safe(line) for line in title if line)
    return cells, {"title": title, "columns": [table_header(name) for name in columns], **metadata}


def metric_menu(frame, metrics):
    """Return those metrics that the rows have, for a menu; the monitored value if they have none, as if all failed."""
    return [metric for metric in metrics if f"objective_{metric}" in frame] or ["value"]


def rank_cell(text, width):
    """Return a rank padded so that ranks sort as text: "2-3" before "10", and what is no rank after both."""
    digits = len(re.match(r"\d*", text)[0])
    return _FIGURE_SPACE * (width - digits if digits else 0) + table_cell(text.replace("-", _HYPHEN))


def remember(function):
    """Keep what a function of a frame and names returned for the last frame, by its names.

    Benchopt asks each plot for its data, then its title; a site shows the same figures in several places.
    """
    last = [None, {}]

    @functools.wraps(function)
    def remembering(frame, *names):
        if last[0] is not frame:
            last[:] = frame, {}
        if names not in last[1]:
            last[1][names] = function(frame, *names)
        return last[1][names]

    return remembering


def says_errors(plot_class):
    """Have a plot show nothing where rows allow for no figure, as those of an unknown task, and its title say why."""
    plot, get_metadata = plot_class.plot, plot_class.get_metadata

    @functools.wraps(plot)
    def plotting(self, df, *choice, **named):
        try:
            return plot(self, df, *choice, **named)
        except ValueError:
            return []

    @functools.wraps(get_metadata)
    def describing(self, df, *choice, **named):
        try:
            return get_metadata(self, df, *choice, **named)
        except ValueError as error:
            return {"title": safe(f"error: {error}"), "xlabel": "", "ylabel": "", "scale": "linear", "ncols": 1}

    plot_class.plot, plot_class.get_metadata = plotting, describing
    return plot_class


# Plotly's symbol numbers. The cross is for failures alone; 41 is invisible.
SYMBOLS = [0, 1, 2, 5, 6, 7, 8, 13, 14, 16, 19, 20, 21, 22, 23, 25, 26]
CROSS, NO_SYMBOL = 4, 41
GREY = (0.45, 0.45, 0.45, 1.0)  # what belongs to no solver


def draw(traces, get_style, marks=None):
    """Return traces as Benchopt's scatter plots take them.

    Parameters
    ----------
    traces : list of Trace
    get_style : callable
        That of the plot.
    marks : dict, optional
        Plotly's symbol numbers of further kinds of traces.
    """
    return [_draw(trace, get_style, marks or {}) for trace in traces]


def _draw(trace, get_style, marks):
    style = {"color": GREY, "marker": 0} if trace.solver is None else get_style(trace.solver)
    own = SYMBOLS[style["marker"] % len(SYMBOLS)]
    symbol = {"curve": own, "line": NO_SYMBOL, "dashed": NO_SYMBOL, "failed": CROSS, **marks}[trace.kind]
    drawn = {"x": trace.x, "y": trace.y, "label": safe(trace.label), "color": style["color"], "marker": symbol}
    if trace.solver is not None:
        drawn["solver"] = safe(trace.solver)  # Benchopt's page passes it by; ours groups traces by it
    if trace.kind == "dashed":
        drawn["dash"] = "dash"  # Benchopt's page passes this by, too
    if trace.y_low is not None:
        drawn |= {"y_low": trace.y_low, "y_high": trace.y_high}
    return drawn
