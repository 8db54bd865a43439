"""Leaderboard: one row a solver with n, interval, difference to the baseline, time and failures."""

from benchopt import BasePlot

from orthobench.report.leaderboard import BASELINE, COLUMNS, METRICS, format_row, leaderboard, protocol
from orthobench.report.page import options, rank_cell, remember, safe, shorten, table_cell, table_header


class Plot(BasePlot):
    name = "leaderboard"
    type = "table"
    options = {
        "dataset": lambda df: list(options(df, "dataset_name")),
        "objective": lambda df: list(options(df, "objective_name")),
        "metric": lambda df: [metric for metric in METRICS if metric != "value" and f"objective_{metric}" in df],
    }

    def plot(self, df, dataset, objective, metric):
        table = []
        for row in _rows(df, dataset, objective, metric):
            rank, *others = format_row(row)
            table.append([rank_cell(rank, width=2), *map(table_cell, others), table_cell(shorten(row.note))])
        return table

    def get_metadata(self, df, dataset, objective, metric):
        rows = _rows(df, dataset, objective, metric)
        return {
            "title": f"{safe(objective)}\n{safe(dataset)}\n{safe(protocol(rows, metric, BASELINE))}",
            "columns": [table_header(name) for name in (*COLUMNS, "first message")],
            "default_order_column": COLUMNS.index("mean"),
        }


@remember
def _rows(df, dataset, objective, metric):
    names = options(df, "dataset_name")[dataset], options(df, "objective_name")[objective]
    return leaderboard(df, *names, metric, BASELINE)
