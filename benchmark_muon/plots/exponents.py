"""Exponents by layer and step, of the solvers that choose them: between SGD (1) and Muon (0)."""

from benchopt import BasePlot

from orthobench.report.exponents import exponent_traces, layer_styles, protocol, solver_menu, ylabel
from orthobench.report.learning import AGAINST
from orthobench.report.page import draw, options, remember, safe


class Plot(BasePlot):
    name = "exponents"
    type = "scatter"
    options = {
        "dataset": lambda df: list(options(df, "dataset_name")),
        "objective": lambda df: list(options(df, "objective_name")),
        "solver": lambda df: list(solver_menu(df)),
    }

    def plot(self, df, dataset, objective, solver):
        traces, _ = _traces(df, dataset, objective, solver)
        return draw(traces, layer_styles(traces).get)

    def get_metadata(self, df, dataset, objective, solver):
        _, told = _traces(df, dataset, objective, solver)
        return {
            "title": "\n".join(map(safe, [objective, dataset, solver, told])),
            "xlabel": AGAINST["steps"],
            "ylabel": ylabel(solver_menu(df)[solver]),
            "scale": "linear",
        }


@remember
def _traces(df, dataset, objective, solver):
    """Return the traces, and what they show; rows that tell no exponents, or wrong ones, give none, and the reason."""
    names = options(df, "dataset_name")[dataset], options(df, "objective_name")[objective], solver_menu(df)[solver]
    try:
        traces, failures = exponent_traces(df, *names)
    except ValueError as error:
        return [], f"error: {error}"
    return traces, protocol(traces, failures)
