"""Certified class accuracy against what it costs: forward passes, times of certificates, inference and steps."""

from benchopt import BasePlot

from orthobench.report.leaderboard import axis
from orthobench.report.medians import point_traces, protocol
from orthobench.report.page import draw, metric_menu, options, remember, safe
from orthobench.report.segmentation import COSTS, HEADLINE


class Plot(BasePlot):
    name = "cost"
    type = "scatter"
    options = {
        "dataset": lambda df: list(options(df, "dataset_name")),
        "objective": lambda df: list(options(df, "objective_name")),
        "metric": lambda df: metric_menu(df, COSTS),
    }

    def plot(self, df, dataset, objective, metric):
        return draw(_traces(df, dataset, objective, metric), self.get_style)

    def get_metadata(self, df, dataset, objective, metric):
        told = protocol(_traces(df, dataset, objective, metric), "one point a solver; times compare within one run")
        title = f"{safe(objective)}\n{safe(dataset)}\n{told}"
        return {"title": title, "xlabel": axis(metric), "ylabel": axis(HEADLINE), "scale": "semilog-x"}


@remember
def _traces(df, dataset, objective, metric):
    names = options(df, "dataset_name")[dataset], options(df, "objective_name")[objective]
    return point_traces(df, *names, metric, HEADLINE)
