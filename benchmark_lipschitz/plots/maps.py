"""Images with their maps by four methods, by network."""

from benchopt import BasePlot

from orthobench.report.explanations import MAPS_SHOWN, maps, objectives
from orthobench.report.page import options, remember, safe, says_errors


@says_errors
class Plot(BasePlot):
    name = "maps"
    type = "image"
    options = {
        "dataset": lambda df: list(options(df, "dataset_name")),
        "objective": lambda df: list(objectives(df)),
    }

    def plot(self, df, dataset, objective):
        return [dict(each) for each in _maps(df, dataset, objective)]

    def get_metadata(self, df, dataset, objective):
        told = f"from left to right {MAPS_SHOWN}; of a solver's first repetition with a picture"
        # In one line: Benchopt's page shows the break of a picture's title as text.
        return {"title": f"{safe(objective)}, {safe(dataset)}: {told}", "ncols": 1}


@remember
def _maps(df, dataset, objective):
    return maps(df, options(df, "dataset_name")[dataset], objectives(df)[objective])
