"""Size of the sets against what they cost: forward passes, time, memory."""

from benchopt import BasePlot

from orthobench.report.conformal import COSTS, guaranteed
from orthobench.report.leaderboard import axis
from orthobench.report.medians import point_traces, protocol
from orthobench.report.page import draw, metric_menu, options, remember, safe


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
        shown = "methods whose guarantee stands; costs compare within one run"
        told = protocol(_traces(df, dataset, objective, metric), shown)
        return {
            "title": f"{safe(objective)}\n{safe(dataset)}\n{told}",
            "xlabel": axis(metric),
            "ylabel": axis("set_size"),
            "scale": "semilog-x",
        }


@remember
def _traces(df, dataset, objective, metric):
    names = options(df, "dataset_name")[dataset], options(df, "objective_name")[objective]
    return point_traces(guaranteed(df), *names, metric, "set_size")
