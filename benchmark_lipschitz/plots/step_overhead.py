"""Time (or memory) of a training step over that of plain convolutions, by batch size."""

from benchopt import BasePlot

from orthobench.report.benchmarks import METRICS as LABELS
from orthobench.report.medians import protocol
from orthobench.report.page import draw, metric_menu, options, remember, safe
from orthobench.report.robustness import UNCONSTRAINED, overhead_menu, overhead_traces

METRICS = ("step_time_ms", "peak_memory_bytes")


class Plot(BasePlot):
    name = "step_overhead"
    type = "scatter"
    options = {
        "dataset": lambda df: list(overhead_menu(df)),
        "objective": lambda df: list(options(df, "objective_name")),
        "metric": lambda df: metric_menu(df, METRICS),
    }

    def plot(self, df, dataset, objective, metric):
        return draw(_traces(df, dataset, objective, metric), self.get_style)

    def get_metadata(self, df, dataset, objective, metric):
        told = protocol(_traces(df, dataset, objective, metric), f"over {UNCONSTRAINED}, on the same seeds")
        return {
            "title": f"{safe(objective)}\n{safe(dataset)}\n{told}",
            "xlabel": "batch size",
            "ylabel": f"{LABELS[metric].label} / that of {UNCONSTRAINED} (lower is better)",
            "scale": "loglog",
        }


@remember
def _traces(df, dataset, objective, metric):
    return overhead_traces(df, overhead_menu(df)[dataset], options(df, "objective_name")[objective], metric)
