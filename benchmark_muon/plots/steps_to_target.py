"""Steps, or time, to the target: median with its interval, and the share of repetitions that reached it."""

from benchopt import BasePlot

from orthobench.report.benchmarks import BENCHMARKS
from orthobench.report.page import options, remember
from orthobench.report.tables import to_target_table


class Plot(BasePlot):
    name = "steps_to_target"
    type = "table"
    options = {
        "dataset": lambda df: list(options(df, "dataset_name")),
        "objective": lambda df: list(options(df, "objective_name")),
        "metric": list(BENCHMARKS["benchmark_muon"].to_target),
    }

    def plot(self, df, dataset, objective, metric):
        return _table(df, dataset, objective, metric)[0]

    def get_metadata(self, df, dataset, objective, metric):
        return dict(_table(df, dataset, objective, metric)[1])


@remember
def _table(df, dataset, objective, metric):
    names = options(df, "dataset_name")[dataset], options(df, "objective_name")[objective]
    return to_target_table(df, *names, metric)
