"""Where the time of a step goes: data, forward, backward, optimizer."""

from benchopt import BasePlot

from orthobench.report.page import options, remember
from orthobench.report.tables import step_time_table


class Plot(BasePlot):
    name = "step_time"
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
    return step_time_table(df, options(df, "dataset_name")[dataset], options(df, "objective_name")[objective])
