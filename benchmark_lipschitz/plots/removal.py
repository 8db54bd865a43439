"""The margin as pixels are taken away, or put in, in a map's order, and in random orders of the same network."""

from benchopt import BasePlot

from orthobench.report.explanations import CURVES, MAPS, objectives, removal_traces
from orthobench.report.medians import protocol
from orthobench.report.page import draw, options, remember, safe, says_errors

TOLD = "dashed: random orders; deletion is good where it falls fast, insertion where it rises fast"


@says_errors
class Plot(BasePlot):
    name = "removal"
    type = "scatter"
    options = {
        "dataset": lambda df: list(options(df, "dataset_name")),
        "objective": lambda df: list(objectives(df)),
        "curve": list(CURVES),
        "map": list(MAPS),
    }

    def plot(self, df, dataset, objective, curve, map):
        return draw(_traces(df, dataset, objective, curve, map), self.get_style)

    def get_metadata(self, df, dataset, objective, curve, map):
        told = protocol(_traces(df, dataset, objective, curve, map), TOLD)
        title = f"{safe(objective)}\n{safe(dataset)}\n{told}"
        xlabel, ylabel = "share of the pixels", "margin, as a share of that of the image above that of the baseline"
        return {"title": title, "xlabel": xlabel, "ylabel": ylabel, "scale": "linear"}


@remember
def _traces(df, dataset, objective, curve, name):
    return removal_traces(df, options(df, "dataset_name")[dataset], objectives(df)[objective], curve, name)
