"""Certified lower and upper coverage of vanilla sets under attack, for all radii at once, and the attacked coverage."""

from benchopt import BasePlot

from orthobench.report.conformal import MARKS, certified_traces, protocol
from orthobench.report.page import draw, options, remember, safe


class Plot(BasePlot):
    name = "certified_coverage"
    type = "scatter"
    options = {
        "dataset": lambda df: list(options(df, "dataset_name")),
        "objective": lambda df: list(options(df, "objective_name")),
    }

    def plot(self, df, dataset, objective):
        return draw(_traces(df, dataset, objective), self.get_style, MARKS)

    def get_metadata(self, df, dataset, objective):
        shown = "bounds: means over splits; circles: clean; stars: under attack"
        return {
            "title": f"{safe(objective)}\n{safe(dataset)}\n{protocol(_traces(df, dataset, objective), shown)}",
            "xlabel": "radius (L2, pixels in [0, 1])",
            "ylabel": "coverage of vanilla sets",
            "scale": "linear",
        }


@remember
def _traces(df, dataset, objective):
    return certified_traces(df, options(df, "dataset_name")[dataset], options(df, "objective_name")[objective])
