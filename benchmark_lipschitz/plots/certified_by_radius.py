"""Certified accuracy (one class: certified AUROC) against radius, and above it the accuracy under attack."""

from benchopt import BasePlot

from orthobench.report.medians import MARKS, protocol
from orthobench.report.page import draw, options, remember, safe, says_errors
from orthobench.report.robustness import robustness_traces, ylabel


@says_errors
class Plot(BasePlot):
    name = "certified_by_radius"
    type = "scatter"
    options = {
        "dataset": lambda df: list(options(df, "dataset_name")),
        "objective": lambda df: list(options(df, "objective_name")),
    }

    def plot(self, df, dataset, objective):
        return draw(_traces(df, dataset, objective), self.get_style, MARKS)

    def get_metadata(self, df, dataset, objective):
        told = protocol(_traces(df, dataset, objective), "at 0 the clean figure; stars: accuracy under attack")
        return {
            "title": f"{safe(objective)}\n{safe(dataset)}\n{told}",
            "xlabel": "radius (L2, 1/255)",
            "ylabel": ylabel(options(df, "objective_name")[objective]),
            "scale": "linear",
        }


@remember
def _traces(df, dataset, objective):
    return robustness_traces(df, options(df, "dataset_name")[dataset], options(df, "objective_name")[objective])
