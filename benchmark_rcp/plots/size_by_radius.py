"""Mean size of the sets against the radius that they are guaranteed for."""

from benchopt import BasePlot

from orthobench.report.conformal import protocol, radius_menu, size_traces
from orthobench.report.page import draw, options, remember, safe


class Plot(BasePlot):
    name = "size_by_radius"
    type = "scatter"
    options = {
        "dataset": lambda df: list(radius_menu(df)),
        "objective": lambda df: list(options(df, "objective_name")),
    }

    def plot(self, df, dataset, objective):
        return draw(_traces(df, dataset, objective), self.get_style)

    def get_metadata(self, df, dataset, objective):
        told = protocol(_traces(df, dataset, objective), "methods whose guarantee stands")
        return {
            "title": f"{safe(objective)}\n{safe(dataset)}\n{told}",
            "xlabel": "radius (L2, pixels in [0, 1])",
            "ylabel": "mean size of the sets, clean (lower is better)",
            "scale": "linear",
        }


@remember
def _traces(df, dataset, objective):
    return size_traces(df, radius_menu(df)[dataset], options(df, "objective_name")[objective])
