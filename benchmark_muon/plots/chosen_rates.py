"""The learning rate that the tuning part chooses for each method, and what to doubt about it."""

from benchopt import BasePlot

from orthobench.report.page import options, remember
from orthobench.report.sweep import menu
from orthobench.report.tables import learning_rates_table


class Plot(BasePlot):
    name = "chosen_rates"
    type = "table"
    options = {"objective": menu}

    def plot(self, df, objective):
        return _table(df, objective)[0]

    def get_metadata(self, df, objective):
        return dict(_table(df, objective)[1])


@remember
def _table(df, objective):
    return learning_rates_table(df, options(df, "objective_name")[objective])
