"""Certified accuracy of private models against radius: privacy and robustness at once."""

from benchopt import BasePlot

from orthobench.report.page import draw, options, remember, safe
from orthobench.report.privacy import certified_traces, protocol


class Plot(BasePlot):
    name = "certified_by_radius"
    type = "scatter"
    options = {
        "dataset": lambda df: list(options(df, "dataset_name")),
        "objective": lambda df: list(options(df, "objective_name")),
    }

    def plot(self, df, dataset, objective):
        return draw(_traces(df, dataset, objective), self.get_style)

    def get_metadata(self, df, dataset, objective):
        told = protocol(_traces(df, dataset, objective), "by each network's own bound; at 0 the accuracy")
        return {
            "title": f"{safe(objective)}\n{safe(dataset)}\n{told}",
            "xlabel": "radius (L2, 1/255, of inputs as the network gets them)",
            "ylabel": "certified accuracy (higher is better)",
            "scale": "linear",
        }


@remember
def _traces(df, dataset, objective):
    return certified_traces(df, options(df, "dataset_name")[dataset], options(df, "objective_name")[objective])
