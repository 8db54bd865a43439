"""A risk against the level alpha that is asked of it, with what chance allows."""

from benchopt import BasePlot

from orthobench.report.medians import protocol
from orthobench.report.page import draw, options, remember, safe
from orthobench.report.risk import RISKS, level_menu, risk_traces


class Plot(BasePlot):
    name = "risk_by_alpha"
    type = "scatter"
    options = {
        "dataset": lambda df: list(options(df, "dataset_name")),
        "objective": lambda df: list(level_menu(df)),
        "risk": list(RISKS),
    }

    def plot(self, df, dataset, objective, risk):
        return draw(_traces(df, dataset, objective, risk), self.get_style)

    def get_metadata(self, df, dataset, objective, risk):
        shown = "grey: the level; dashed: up to where chance takes a mean over so many splits, 99 % of the time"
        return {
            "title": f"{safe(objective)}\n{safe(dataset)}\n{protocol(_traces(df, dataset, objective, risk), shown)}",
            "xlabel": f"level asked of the risk, {risk}",
            "ylabel": f"mean risk over the splits, {risk}",
            "scale": "linear",
        }


@remember
def _traces(df, dataset, objective, risk):
    return risk_traces(df, options(df, "dataset_name")[dataset], level_menu(df)[objective], risk)
