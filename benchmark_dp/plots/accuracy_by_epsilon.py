"""Accuracy against epsilon, with intervals; what isn't private is a line across."""

from benchopt import BasePlot

from orthobench.report.leaderboard import axis
from orthobench.report.page import draw, options, remember, safe
from orthobench.report.privacy import epsilon_menu, epsilon_traces, protocol

METRICS = ("accuracy", "certified_accuracy_8", "gradient_to_noise")


class Plot(BasePlot):
    name = "accuracy_by_epsilon"
    type = "scatter"
    options = {
        "dataset": lambda df: list(options(df, "dataset_name")),
        "objective": lambda df: list(epsilon_menu(df)),
        "metric": list(METRICS),
    }

    def plot(self, df, dataset, objective, metric):
        return draw(_traces(df, dataset, objective, metric), self.get_style)

    def get_metadata(self, df, dataset, objective, metric):
        told = protocol(_traces(df, dataset, objective, metric), "at equal delta, add or remove one")
        return {
            "title": f"{safe(objective)}\n{safe(dataset)}\n{told}",
            "xlabel": "epsilon",
            "ylabel": axis(metric),
            "scale": "semilog-x",
        }


@remember
def _traces(df, dataset, objective, metric):
    return epsilon_traces(df, options(df, "dataset_name")[dataset], epsilon_menu(df)[objective], metric)
