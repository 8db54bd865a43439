"""Time a matrix against its size, on gaussian matrices: square ones, and those four times as wide as high."""

from benchopt import BasePlot

from orthobench.report.benchmarks import METRICS as LABELS
from orthobench.report.names import SQUARE, WIDE
from orthobench.report.page import draw, options, remember, safe
from orthobench.report.profiles import protocol, traces_by_size


class Plot(BasePlot):
    name = "time_against_size"
    type = "scatter"
    options = {"objective": lambda df: list(options(df, "objective_name")), "shape": [SQUARE, WIDE]}

    def plot(self, df, objective, shape):
        return draw(_traces(df, objective, shape), self.get_style)

    def get_metadata(self, df, objective, shape):
        return {
            "title": f"{safe(objective)}\ngaussian, {shape}\n{protocol(_traces(df, objective, shape))}",
            "xlabel": "size: square root of rows times columns",
            "ylabel": f"{LABELS['time_per_matrix_s'].label} (lower is better)",
            "scale": "loglog",
        }


@remember
def _traces(df, objective, shape):
    return traces_by_size(df, options(df, "objective_name")[objective], shape)
