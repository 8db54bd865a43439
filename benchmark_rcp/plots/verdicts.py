"""Verdicts: what coverage each method claims, what it has, and whether chance explains the difference."""

from benchopt import BasePlot

from orthobench.report.conformal import verdicts_table
from orthobench.report.page import remember


class Plot(BasePlot):
    name = "verdicts"
    type = "table"
    options = {}

    def plot(self, df):
        return _table(df)[0]

    def get_metadata(self, df):
        return dict(_table(df)[1])


@remember
def _table(df):
    return verdicts_table(df)
