"""Certified accuracy against saturation: do networks certify more whose gradients are as long as they can be?"""

from benchopt import BasePlot

from orthobench.report.explanations import objectives, saturation_traces
from orthobench.report.leaderboard import axis
from orthobench.report.medians import protocol
from orthobench.report.page import draw, options, remember, safe, says_errors
from orthobench.report.robustness import headline


@says_errors
class Plot(BasePlot):
    name = "saturation"
    type = "scatter"
    options = {
        "dataset": lambda df: list(options(df, "dataset_name")),
        "objective": lambda df: list(objectives(df)),
    }

    def plot(self, df, dataset, objective):
        return draw(_traces(df, dataset, objective), self.get_style)

    def get_metadata(self, df, dataset, objective):
        told = protocol(_traces(df, dataset, objective), "one point a solver")
        labels = {"xlabel": axis("saturation"), "ylabel": axis(headline(objectives(df)[objective]))}
        return {"title": f"{safe(objective)}\n{safe(dataset)}\n{told}", **labels, "scale": "linear"}


@remember
def _traces(df, dataset, objective):
    return saturation_traces(df, options(df, "dataset_name")[dataset], objectives(df)[objective])
