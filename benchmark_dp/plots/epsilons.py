"""Claimed, recomputed and audited epsilon side by side."""

from benchopt import BasePlot

from orthobench.report.page import options, remember
from orthobench.report.privacy import epsilon_table


class Plot(BasePlot):
    name = "epsilons"
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
    return epsilon_table(df, options(df, "dataset_name")[dataset], options(df, "objective_name")[objective])
