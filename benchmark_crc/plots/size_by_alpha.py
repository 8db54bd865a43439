"""Volume, boxes, stretch or class sets against the level alpha that decides them."""

from benchopt import BasePlot

from orthobench.report.leaderboard import axis
from orthobench.report.medians import protocol
from orthobench.report.page import draw, options, remember, safe
from orthobench.report.risk import SIZES, level_menu, size_traces


class Plot(BasePlot):
    name = "size_by_alpha"
    type = "scatter"
    options = {
        "dataset": lambda df: list(options(df, "dataset_name")),
        "objective": lambda df: list(level_menu(df)),
        "metric": list(SIZES),
    }

    def plot(self, df, dataset, objective, metric):
        return draw(_traces(df, dataset, objective, metric), self.get_style)

    def get_metadata(self, df, dataset, objective, metric):
        told = protocol(_traces(df, dataset, objective, metric), "methods whose guarantee stands")
        return {
            "title": f"{safe(objective)}\n{safe(dataset)}\n{told}",
            "xlabel": f"level asked of the risk, {SIZES[metric]}",
            "ylabel": axis(metric),
            "scale": "linear",
        }


@remember
def _traces(df, dataset, objective, metric):
    return size_traces(df, options(df, "dataset_name")[dataset], level_menu(df)[objective], metric)
