"""Certified mIoU or class accuracy against radius, and above it the mIoU under attack."""

from benchopt import BasePlot

from orthobench.report.medians import MARKS, protocol
from orthobench.report.page import draw, options, remember, safe
from orthobench.report.segmentation import BY_CLASS, class_traces, ylabel


class Plot(BasePlot):
    name = "classes_by_radius"
    type = "scatter"
    options = {
        "dataset": lambda df: list(options(df, "dataset_name")),
        "objective": lambda df: list(options(df, "objective_name")),
        "metric": list(BY_CLASS),
    }

    def plot(self, df, dataset, objective, metric):
        return draw(_traces(df, dataset, objective, metric), self.get_style, MARKS)

    def get_metadata(self, df, dataset, objective, metric):
        told = protocol(_traces(df, dataset, objective, metric), "at 0 the clean figure; stars: under attack")
        return {
            "title": f"{safe(objective)}\n{safe(dataset)}\n{told}",
            "xlabel": "radius (L2, 1/255)",
            "ylabel": ylabel(metric),
            "scale": "linear",
        }


@remember
def _traces(df, dataset, objective, metric):
    return class_traces(df, options(df, "dataset_name")[dataset], options(df, "objective_name")[objective], metric)
