"""All data sets side by side at the last iteration: where a method's error depends on the spectrum."""

from benchopt import BasePlot

from orthobench.report.benchmarks import METRICS as LABELS
from orthobench.report.page import draw, options, remember, safe
from orthobench.report.profiles import numbered, protocol, traces_by_spectrum

METRICS = ("relative_error", "orthogonality_error", "lmo_gap")


class Plot(BasePlot):
    name = "error_by_spectrum"
    type = "scatter"
    options = {
        "objective": lambda df: list(options(df, "objective_name")),
        "metric": lambda df: [metric for metric in METRICS if f"objective_{metric}" in df],
    }

    def plot(self, df, objective, metric):
        return draw(_traces(df, objective, metric), self.get_style)

    def get_metadata(self, df, objective, metric):
        return {
            "title": f"{safe(objective)}\n{protocol(_traces(df, objective, metric))}",
            "xlabel": "data set: its number in the legend",
            "ylabel": f"{LABELS[metric].label} (lower is better)",
            "scale": "semilog-y",
            "places": numbered(_traces(df, objective, metric)),
        }


@remember
def _traces(df, objective, metric):
    return traces_by_spectrum(df, options(df, "objective_name")[objective], metric)
