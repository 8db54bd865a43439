"""Certified against clean accuracy: solvers that differ in their loss alone are joined by a line."""

from benchopt import BasePlot

from orthobench.report.leaderboard import axis
from orthobench.report.medians import point_traces, protocol
from orthobench.report.page import draw, options, remember, safe, says_errors
from orthobench.report.robustness import clean, headline


@says_errors
class Plot(BasePlot):
    name = "accuracy_robustness"
    type = "scatter"
    options = {
        "dataset": lambda df: list(options(df, "dataset_name")),
        "objective": lambda df: list(options(df, "objective_name")),
    }

    def plot(self, df, dataset, objective):
        return draw(_traces(df, dataset, objective), self.get_style)

    def get_metadata(self, df, dataset, objective):
        told = protocol(_traces(df, dataset, objective), "lines: one solver as the options of its loss vary")
        name = options(df, "objective_name")[objective]
        return {
            "title": f"{safe(objective)}\n{safe(dataset)}\n{told}",
            "xlabel": axis(clean(name)),
            "ylabel": axis(headline(name)),
            "scale": "linear",
        }


@remember
def _traces(df, dataset, objective):
    name = options(df, "objective_name")[objective]
    return point_traces(df, options(df, "dataset_name")[dataset], name, clean(name), headline(name), joined=True)
