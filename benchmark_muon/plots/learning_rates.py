"""Loss against learning rate on the tuning part, the rate that is chosen, and what it gave on the held-out part."""

from benchopt import BasePlot

from orthobench.report.page import options, remember, safe
from orthobench.report.sweep import draw_sweep, figure_protocol, menu, sweep_traces


class Plot(BasePlot):
    name = "learning_rates"
    type = "scatter"
    options = {"dataset": lambda df: list(options(df, "dataset_name")), "objective": menu}

    def plot(self, df, dataset, objective):
        return draw_sweep(_figure(df, dataset, objective)[0], self.get_style)

    def get_metadata(self, df, dataset, objective):
        return {
            "title": f"{safe(objective)}\n{safe(dataset)}\n{safe(_figure(df, dataset, objective)[1])}",
            "xlabel": "learning rate",
            "ylabel": "loss at the end (nats, lower is better)",
            "scale": "loglog",
        }


@remember
def _figure(df, dataset, objective):
    names = options(df, "dataset_name")[dataset], options(df, "objective_name")[objective]
    try:
        traces = sweep_traces(df, *names)
    except ValueError as error:  # most results have no rows on the tuning part
        return [], str(error)
    return traces, figure_protocol(traces)
