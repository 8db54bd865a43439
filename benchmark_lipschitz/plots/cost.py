"""Certified accuracy against what it costs: time of a step or of inference, memory, parameters."""

from benchopt import BasePlot

from orthobench.report.leaderboard import axis
from orthobench.report.medians import point_traces, protocol
from orthobench.report.page import draw, metric_menu, options, remember, safe, says_errors
from orthobench.report.robustness import COSTS, headline


@says_errors
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
        told = protocol(_traces(df, dataset, objective, metric), "one point a solver; costs compare within one run")
        return {
            "title": f"{safe(objective)}\n{safe(dataset)}\n{told}",
            "xlabel": axis(metric),
            "ylabel": axis(headline(options(df, "objective_name")[objective])),
            "scale": "semilog-x",
        }


@remember
def _traces(df, dataset, objective, metric):
    name = options(df, "objective_name")[objective]
    return point_traces(df, options(df, "dataset_name")[dataset], name, metric, headline(name))
