"""Leaderboard: one row a solver with n, interval, difference to the baseline, time and failures."""

from benchopt import BasePlot

from orthobench.report.benchmarks import PRIVACY
from orthobench.report.page import metric_menu, options, remember
from orthobench.report.tables import leaderboard_table


class Plot(BasePlot):
    name = "leaderboard"
    type = "table"
    options = {
        "dataset": lambda df: list(options(df, "dataset_name")),
        "objective": lambda df: list(options(df, "objective_name")),
        "metric": lambda df: metric_menu(df, PRIVACY.leaderboards),
    }

    def plot(self, df, dataset, objective, metric):
        return _table(df, dataset, objective, metric)[0]

    def get_metadata(self, df, dataset, objective, metric):
        return dict(_table(df, dataset, objective, metric)[1])


@remember
def _table(df, dataset, objective, metric):
    names = options(df, "dataset_name")[dataset], options(df, "objective_name")[objective]
    return leaderboard_table(df, *names, metric, PRIVACY.baseline)
