"""Coverage, clean and attacked, against the size of the sets, with the target and the band of chance."""

from benchopt import BasePlot

from orthobench.report.conformal import MARKS, coverage_traces, protocol
from orthobench.report.page import draw, options, remember, safe


class Plot(BasePlot):
    name = "coverage"
    type = "scatter"
    options = {
        "dataset": lambda df: list(options(df, "dataset_name")),
        "objective": lambda df: list(options(df, "objective_name")),
    }

    def plot(self, df, dataset, objective):
        return draw(_traces(df, dataset, objective), self.get_style, MARKS)

    def get_metadata(self, df, dataset, objective):
        shown = "circles: clean; stars: under attack, an upper bound of the worst case; grey: target and band of chance"
        return {
            "title": f"{safe(objective)}\n{safe(dataset)}\n{protocol(_traces(df, dataset, objective), shown)}",
            "xlabel": "mean size of the sets (lower is better)",
            "ylabel": "coverage",
            "scale": "linear",
        }


@remember
def _traces(df, dataset, objective):
    return coverage_traces(df, options(df, "dataset_name")[dataset], options(df, "objective_name")[objective])
