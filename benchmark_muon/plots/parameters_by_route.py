"""Which optimizer trains how many of the model's parameters."""

from benchopt import BasePlot

from orthobench.report.page import options, remember
from orthobench.report.tables import routes_table


class Plot(BasePlot):
    name = "parameters_by_route"
    type = "table"
    options = {
        "dataset": lambda df: list(options(df, "dataset_name")),
        "objective": lambda df: list(options(df, "objective_name")),
    }

    def plot(self, df, dataset, objective):
        return _table(df, dataset, objective)[0]

    def get_metadata(self, df, dataset, objective):
        return dict(_table(df, dataset, objective)[1])


@remember
def _table(df, dataset, objective):
    return routes_table(df, options(df, "dataset_name")[dataset], options(df, "objective_name")[objective])
