"""Real momenta by layer: their spectra, the regime these resemble, and the errors of Muon and Turbo-Muon."""

from benchopt import BasePlot

from orthobench.report.layers import COLUMNS, format_layer, layers, protocol
from orthobench.report.page import options, remember, safe, table_cell, table_header


class Plot(BasePlot):
    name = "momenta_by_layer"
    type = "table"
    options = {"objective": lambda df: list(options(df, "objective_name"))}

    def plot(self, df, objective):
        return [[table_cell(text) for text in format_layer(row)] for row in _rows(df, objective)]

    def get_metadata(self, df, objective):
        lines = protocol(_rows(df, objective)).splitlines()
        return {
            "title": "\n".join([safe(objective), *map(safe, lines)]),
            "columns": [table_header(name) for name in COLUMNS],
        }


@remember
def _rows(df, objective):
    return layers(df, options(df, "objective_name")[objective])
