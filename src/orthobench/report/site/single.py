"""One page of some results, whole in itself: it needs no script, no network and no other file."""

import base64
from importlib import resources

from markupsafe import Markup

from orthobench.report.benchmarks import METRICS
from orthobench.report.names import short_names
from orthobench.report.site import cards, palette, rows
from orthobench.report.site.boards import board_table, boards_of
from orthobench.report.site.documents import prose
from orthobench.report.site.environment import environment


def single(results, title):
    """Return a page of the results of a run.

    Parameters
    ----------
    results : list of Result
    title : str

    Returns
    -------
    str
        HTML: for each benchmark its question, and for each data set the leaderboard by the metric that is shown first,
        with a picture of it, the failures and the commands that run their cells again.
    """
    style = (resources.files(__package__) / "static" / "site.css").read_text(encoding="utf-8")
    sections = [_section(result) for result in results]
    template = environment().get_template("single.html")
    return template.render(title=title, style=Markup(style), sections=sections, prose=prose)  # noqa: S704 - our own file


def _section(result):
    get_style = palette.style_of(palette.looks([result]))
    boards = []
    for board in boards_of(result):
        setting, frame = board.setting, result.rows(board.setting)
        failed = frame.loc[frame["objective_status"] != "ok", "solver_name"].unique()
        boards.append(
            {
                "label": short_names([setting.dataset])[setting.dataset],
                "objective": setting.objective,
                "picture": base64.b64encode(cards.draw(board, get_style)).decode(),
                "table": board_table(board, board.first, f"board-{setting.number}-{board.first}", _nowhere, _nowhere),
                "commands": [
                    rows.command(result.benchmark, setting, frame[frame["solver_name"] == each]) for each in failed
                ],
            }
        )
    benchmark = result.benchmark
    return {"title": result.title, "question": benchmark.asked, "reading": benchmark.reading, "boards": boards,
            "metrics": {name: METRICS[name] for name in benchmark.leaderboards}}  # fmt: skip


def _nowhere(_):
    return None
