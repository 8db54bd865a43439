"""Learning curves: loss or accuracy against steps or time, as medians over seeds, and where cells failed."""

from benchopt import BasePlot

from orthobench.report.benchmarks import METRICS
from orthobench.report.learning import AGAINST, METRICS_OF_CURVES, learning_traces, protocol, scale
from orthobench.report.page import draw, metric_menu, options, remember, safe


class Plot(BasePlot):
    name = "learning_curve"
    type = "scatter"
    options = {
        "dataset": lambda df: list(options(df, "dataset_name")),
        "objective": lambda df: list(options(df, "objective_name")),
        "metric": lambda df: metric_menu(df, METRICS_OF_CURVES),
        "against": list(AGAINST),
    }

    def plot(self, df, dataset, objective, metric, against):
        return draw(_traces(df, dataset, objective, metric, against), self.get_style)

    def get_metadata(self, df, dataset, objective, metric, against):
        traces = _traces(df, dataset, objective, metric, against)
        return {
            "title": f"{safe(objective)}\n{safe(dataset)}\n{protocol(traces)}",
            "xlabel": AGAINST[against],
            "ylabel": f"{METRICS[metric].label} ({METRICS[metric].better} is better)",
            "scale": scale(metric),
        }


@remember
def _traces(df, dataset, objective, metric, against):
    names = options(df, "dataset_name")[dataset], options(df, "objective_name")[objective]
    return learning_traces(df, *names, metric, against)
