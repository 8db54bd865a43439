"""Risks of a second step on simulated images, beside the closed forms of three ways to compose it with the first."""

from benchopt import BasePlot

from orthobench.report.page import remember
from orthobench.report.risk import composition_table


class Plot(BasePlot):
    name = "composition"
    type = "table"
    options = {}

    def plot(self, df):
        return _table(df)[0]

    def get_metadata(self, df):
        return dict(_table(df)[1])


@remember
def _table(df):
    return composition_table(df)
