"""The home page's cards: what each benchmark asks, and its newest results."""

import io
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from orthobench.report.benchmarks import BENCHMARKS, METRICS
from orthobench.report.leaderboard import format_seeds
from orthobench.report.names import short_names, short_solvers
from orthobench.report.site.results import title_of

SHOWN = 7  # solvers in a picture
INK = "#808890"  # reads on light and on dark pages
STYLE = {"svg.hashsalt": "orthobench", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 8}


@dataclass(frozen=True)
class Card:
    """What the home page tells of a benchmark; one without published rows has no page."""

    title: str
    folder: str
    question: str
    page: str | None = None
    picture: str | None = None
    alternative: str = ""
    newest: str = ""
    machines: tuple = ()  # of text, one a machine
    badge: str = ""  # device, data set and number of seeds of the picture


def cards(site):
    """List the cards of a site: benchmarks with rows, then those that the documents tell of and that have none."""
    found = [_card(site, name, machines) for name, machines in site.benchmarks.items()]
    shown = {each.folder for each in found}
    waiting = [each for each in BENCHMARKS.values() if each.folder not in shown]
    return found + [Card(each.folder, each.folder, each.asked) for each in waiting]


def _card(site, name, machines):
    folder = machines[0].result.benchmark.folder
    newest = max(machines, key=lambda each: each.last_run)
    board = newest.boards[0]
    label = METRICS[board.first]
    return Card(
        title_of(newest.result.frame),
        folder,
        newest.result.benchmark.asked,
        f"{name}/index.html",
        f"assets/{name}.svg",
        f"{label.label} on {newest.labels[board.setting]}: {_told(board)}",
        newest.last_run[:10],
        tuple(_machine(each) for each in machines),
        f"{newest.result.device}, {newest.labels[board.setting]}, {format_seeds(_seeds(board))}",
    )


def _machine(machine):
    frame = machine.result.frame
    name = frame["objective_env_device_name"].dropna().unique() if "objective_env_device_name" in frame else []
    device = f" ({name[0]})" if len(name) else ""
    counts = [
        (frame["solver_name"].nunique(), "solver"),
        (frame["dataset_name"].nunique(), "data set"),
        (len(frame), "row"),
    ]
    told = ", ".join(f"{count:,} {noun}{'s' * (count != 1)}" for count, noun in counts)
    return f"{machine.result.machine}{device}: {told}"


def _seeds(board):
    return [row.n for row in board.rows[board.first] if row.n]


def _best(board):
    return [row for row in board.current[board.first] if np.isfinite(row.mean)][:SHOWN]


def _told(board):
    names = short_solvers([row.solver for row in board.rows[board.first]])
    return "; ".join(f"{names[row.solver]} rank {row.rank}" for row in _best(board)[:3]) or "no figures"


def picture(site, machines):
    """Return the picture of a card as SVG, that of its first data set."""
    return draw(max(machines, key=lambda each: each.last_run).boards[0], site.get_style)


def draw(board, get_style):
    """Return a board as SVG: the best solvers' means with their intervals."""
    rows = _best(board)
    names = short_solvers([row.solver for row in board.rows[board.first]])
    metric = METRICS[board.first]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.6, 1.9), layout="constrained", facecolor="none")
        axes = figure.subplots()
        axes.set_facecolor("none")
        for place, row in enumerate(rows):
            look = get_style(row.solver)["color"]
            if np.isfinite(row.low):
                axes.plot([row.low, row.high], [-place] * 2, color=look, linewidth=2)
            axes.plot([row.mean], [-place], "o", color=look, markersize=4)
        axes.set_yticks([-place for place in range(len(rows))], [cut(names[row.solver]) for row in rows])
        axes.tick_params(colors=INK, length=0)
        figure.supxlabel(f"{metric.label}, {metric.better} is better", color=INK, fontsize=8)
        axes.set_title(cut(short_names([board.setting.dataset])[board.setting.dataset], 48), color=INK, fontsize=8)
        return svg(figure, axes)


def svg(figure, axes):
    """Return a figure as SVG, with no more lines about its axes than it takes."""
    for side, spine in axes.spines.items():
        spine.set(visible=side == "bottom", color=INK)
    axes.grid(axis="x", color=INK, alpha=0.25, linewidth=0.5)
    file = io.BytesIO()
    FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None, "Creator": None})
    return file.getvalue()


def cut(text, length=26):
    """Return a text for a figure, cut off if it is too long."""
    line = text if len(text) <= length else text[: length - 1] + "…"
    return line.replace("$", r"\$")  # no mathematics in names


def claims_commands(site):
    """List the commands that print the verdicts, one a benchmark."""
    return [
        "orthobench report "
        + " ".join(f"results/{file.path.as_posix()}" for machine in machines for file in machine.result.files)
        + " --claims"
        for machines in site.benchmarks.values()
    ]
