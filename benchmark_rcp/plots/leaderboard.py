"""Leaderboard: one row a solver with n, interval and difference to the baseline; sizes of guarantees alone."""

from benchopt import BasePlot

from orthobench.report.benchmarks import CONFORMAL
from orthobench.report.conformal import comparable
from orthobench.report.page import metric_menu, options, remember
from orthobench.report.tables import leaderboard_table


class Plot(BasePlot):
    name = "leaderboard"
    type = "table"
    options = {
        "dataset": lambda df: list(options(df, "dataset_name")),
        "objective": lambda df: list(options(df, "objective_name")),
        "metric": lambda df: metric_menu(df, CONFORMAL.leaderboards),
    }

    def plot(self, df, dataset, objective, metric):
        return _table(df, dataset, objective, metric)[0]

    def get_metadata(self, df, dataset, objective, metric):
        return dict(_table(df, dataset, objective, metric)[1])


@remember
def _table(df, dataset, objective, metric):
    names = options(df, "dataset_name")[dataset], options(df, "objective_name")[objective]
    return leaderboard_table(comparable(df, metric), *names, metric, CONFORMAL.baseline)
