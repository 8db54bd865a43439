"""Verdicts: which risks each method claims, what they are, and whether chance explains the difference."""

from benchopt import BasePlot

from orthobench.report.page import remember
from orthobench.report.risk import verdicts_table


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
