"""Step time and memory over those of DP-SGD with ghost clipping, by batch size or by width."""

from benchopt import BasePlot

from orthobench.report.benchmarks import METRICS as LABELS
from orthobench.report.page import draw, metric_menu, options, remember, safe
from orthobench.report.privacy import REFERENCE, SIZES, cost_traces, protocol

METRICS = ("step_time_ms", "peak_memory_bytes")


class Plot(BasePlot):
    name = "cost_by_size"
    type = "scatter"
    options = {
        "dataset": lambda df: list(options(df, "dataset_name")),
        "objective": lambda df: list(options(df, "objective_name")),
        "metric": lambda df: metric_menu(df, METRICS),
        "along": list(SIZES),
    }

    def plot(self, df, dataset, objective, metric, along):
        return draw(_traces(df, dataset, objective, metric, along), self.get_style)

    def get_metadata(self, df, dataset, objective, metric, along):
        told = protocol(_traces(df, dataset, objective, metric, along), f"over {REFERENCE}, on the same seeds")
        return {
            "title": f"{safe(objective)}\n{safe(dataset)}\n{told}",
            "xlabel": SIZES[along],
            "ylabel": f"{LABELS[metric].label} / that of {REFERENCE} (lower is better)",
            "scale": "loglog",
        }


@remember
def _traces(df, dataset, objective, metric, along):
    names = options(df, "dataset_name")[dataset], options(df, "objective_name")[objective]
    return cost_traces(df, *names, metric, along)
