"""Error against method time: the median over seeds with its interval, and where cells failed."""

from benchopt import BasePlot

from orthobench.report.curves import error_traces, protocol
from orthobench.report.leaderboard import METRICS as LABELS
from orthobench.report.page import options, safe

METRICS = ("relative_error", "orthogonality_error", "lmo_gap")
# Plotly's symbol numbers. The cross is for failures alone; 41 is invisible.
SYMBOLS = [0, 1, 2, 5, 6, 7, 8, 13, 14, 16, 19, 20, 21, 22, 23, 25, 26]
CROSS, NO_SYMBOL = 4, 41


class Plot(BasePlot):
    name = "error_against_time"
    type = "scatter"
    options = {
        "dataset": lambda df: list(options(df, "dataset_name")),
        "objective": lambda df: list(options(df, "objective_name")),
        "metric": lambda df: [metric for metric in METRICS if f"objective_{metric}" in df],
    }

    def plot(self, df, dataset, objective, metric):
        return [self._style(trace) for trace in _traces(df, dataset, objective, metric)]

    def _style(self, trace):
        style = self.get_style(trace.solver)
        symbol = {"curve": SYMBOLS[style["marker"] % len(SYMBOLS)], "line": NO_SYMBOL, "failed": CROSS}[trace.kind]
        drawn = {"x": trace.x, "y": trace.y, "label": safe(trace.label), "color": style["color"], "marker": symbol}
        if trace.y_low is not None:
            drawn |= {"y_low": trace.y_low, "y_high": trace.y_high}
        return drawn

    def get_metadata(self, df, dataset, objective, metric):
        return {
            "title": f"{safe(objective)}\n{safe(dataset)}\n{protocol(_traces(df, dataset, objective, metric))}",
            "xlabel": "method time (s)",
            "ylabel": f"{LABELS[metric]} (lower is better)",
            "scale": "loglog",
        }


def _traces(df, dataset, objective, metric):
    names = options(df, "dataset_name")[dataset], options(df, "objective_name")[objective]
    return error_traces(df, *names, metric)
