"""Error against floating-point operations: what a method buys with the work it does, whatever the machine."""

from benchopt import BasePlot

from orthobench.report.benchmarks import METRICS as LABELS
from orthobench.report.curves import AGAINST, error_traces, protocol
from orthobench.report.page import draw, options, remember, safe

METRICS = ("relative_error", "orthogonality_error", "lmo_gap")


class Plot(BasePlot):
    name = "error_against_flops"
    type = "scatter"
    options = {
        "dataset": lambda df: list(options(df, "dataset_name")),
        "objective": lambda df: list(options(df, "objective_name")),
        "metric": lambda df: [metric for metric in METRICS if f"objective_{metric}" in df],
    }

    def plot(self, df, dataset, objective, metric):
        return draw(_traces(df, dataset, objective, metric), self.get_style)

    def get_metadata(self, df, dataset, objective, metric):
        traces = _traces(df, dataset, objective, metric)
        return {
            "title": f"{safe(objective)}\n{safe(dataset)}\n{protocol(traces, 'flops')}",
            "xlabel": AGAINST["flops"],
            "ylabel": f"{LABELS[metric].label} (lower is better)",
            "scale": "loglog",
        }


@remember
def _traces(df, dataset, objective, metric):
    names = options(df, "dataset_name")[dataset], options(df, "objective_name")[objective]
    return error_traces(df, *names, metric, against="flops")
