"""Error against method time: the median over seeds with its interval, and where cells failed."""

from benchopt import BasePlot

from orthobench.report.benchmarks import METRICS as LABELS
from orthobench.report.curves import AGAINST, error_traces, protocol
from orthobench.report.page import draw, options, remember, safe

METRICS = ("relative_error", "orthogonality_error", "lmo_gap")


class Plot(BasePlot):
    name = "error_against_time"
    type = "scatter"
    options = {
        "dataset": lambda df: list(options(df, "dataset_name")),
        "objective": lambda df: list(options(df, "objective_name")),
        "metric": lambda df: [metric for metric in METRICS if f"objective_{metric}" in df],
    }

    def plot(self, df, dataset, objective, metric):
        return draw(_traces(df, dataset, objective, metric), self.get_style)

    def get_metadata(self, df, dataset, objective, metric):
        return {
            "title": f"{safe(objective)}\n{safe(dataset)}\n{protocol(_traces(df, dataset, objective, metric))}",
            "xlabel": AGAINST["time"],
            "ylabel": f"{LABELS[metric].label} (lower is better)",
            "scale": "loglog",
        }


@remember
def _traces(df, dataset, objective, metric):
    names = options(df, "dataset_name")[dataset], options(df, "objective_name")[objective]
    return error_traces(df, *names, metric)
