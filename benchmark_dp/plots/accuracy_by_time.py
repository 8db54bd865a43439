"""Accuracy against the time of the private steps."""

from benchopt import BasePlot

from orthobench.report.leaderboard import axis
from orthobench.report.page import draw, options, remember, safe
from orthobench.report.privacy import protocol, time_traces


class Plot(BasePlot):
    name = "accuracy_by_time"
    type = "scatter"
    options = {
        "dataset": lambda df: list(options(df, "dataset_name")),
        "objective": lambda df: list(options(df, "objective_name")),
    }

    def plot(self, df, dataset, objective):
        return draw(_traces(df, dataset, objective), self.get_style)

    def get_metadata(self, df, dataset, objective):
        told = protocol(_traces(df, dataset, objective), "batches, gradients, noise and projections are on the clock")
        return {
            "title": f"{safe(objective)}\n{safe(dataset)}\n{told}",
            "xlabel": "time of the training steps (s)",
            "ylabel": axis("accuracy"),
            "scale": "linear",
        }


@remember
def _traces(df, dataset, objective):
    return time_traces(df, options(df, "dataset_name")[dataset], options(df, "objective_name")[objective])
