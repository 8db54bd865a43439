"""Certified pixel accuracy against radius: how many pixels stay right, which ones, and what an attack leaves."""

from benchopt import BasePlot

from orthobench.report.medians import MARKS, protocol
from orthobench.report.page import draw, options, remember, safe
from orthobench.report.segmentation import PIXELS, pixel_traces, ylabel

TOLD = "at 0 the clean figure; symbols: how many pixels stay right; lines without: which ones; stars: under attack"


class Plot(BasePlot):
    name = "pixels_by_radius"
    type = "scatter"
    options = {
        "dataset": lambda df: list(options(df, "dataset_name")),
        "objective": lambda df: list(options(df, "objective_name")),
    }

    def plot(self, df, dataset, objective):
        return draw(_traces(df, dataset, objective), self.get_style, MARKS)

    def get_metadata(self, df, dataset, objective):
        return {
            "title": f"{safe(objective)}\n{safe(dataset)}\n{protocol(_traces(df, dataset, objective), TOLD)}",
            "xlabel": "radius (L2, 1/255)",
            "ylabel": ylabel(PIXELS),
            "scale": "linear",
        }


@remember
def _traces(df, dataset, objective):
    return pixel_traces(df, options(df, "dataset_name")[dataset], options(df, "objective_name")[objective])
