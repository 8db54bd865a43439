"""Scenes by solver: the true boxes, the detector's, their outer boxes and the classes in the set of each."""

from benchopt import BasePlot

from orthobench.report.page import options, remember, safe
from orthobench.report.risk import SHOWN, scenes


class Plot(BasePlot):
    name = "scene"
    type = "image"
    options = {
        "dataset": lambda df: list(options(df, "dataset_name")),
        "objective": lambda df: list(options(df, "objective_name")),
    }

    def plot(self, df, dataset, objective):
        return [dict(each) for each in _scenes(df, dataset, objective)]

    def get_metadata(self, df, dataset, objective):
        told = f"{SHOWN}; of a solver's first repetition with a picture"
        # In one line: Benchopt's page shows the break of a picture's title as text.
        return {"title": f"{safe(objective)}, {safe(dataset)}: {safe(told)}", "ncols": 1}


@remember
def _scenes(df, dataset, objective):
    return scenes(df, options(df, "dataset_name")[dataset], options(df, "objective_name")[objective])
