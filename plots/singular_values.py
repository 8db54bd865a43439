"""Singular values after a method against those before: which ones it brings to where they should be."""

from benchopt import BasePlot

from orthobench.report.page import draw, options, remember, safe
from orthobench.report.spectra import out_label, protocol, spectrum_traces


class Plot(BasePlot):
    name = "singular_values"
    type = "scatter"
    options = {
        "dataset": lambda df: list(options(df, "dataset_name")),
        "objective": lambda df: list(options(df, "objective_name")),
    }

    def plot(self, df, dataset, objective):
        return draw(_traces(df, dataset, objective), self.get_style)

    def get_metadata(self, df, dataset, objective):
        return {
            "title": f"{safe(objective)}\n{safe(dataset)}\n{safe(protocol(_traces(df, dataset, objective)))}",
            "xlabel": "singular value in, divided by the largest",
            "ylabel": out_label(objective),
            "scale": "semilog-x",
        }


@remember
def _traces(df, dataset, objective):
    return spectrum_traces(df, options(df, "dataset_name")[dataset], options(df, "objective_name")[objective])
