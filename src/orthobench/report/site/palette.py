"""One look for each method, the same in every figure: a colour that colour-blind readers can tell, and a symbol."""

import matplotlib

from orthobench.report.names import family, without
from orthobench.report.sweep import LEARNING_RATE

# Okabe and Ito (2008), but for its yellow and black, which white and dark pages hide; then two of Tol's "muted".
# As many as share no factor with the number of symbols in `page.SYMBOLS`: together they tell 8 * 17 methods apart.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#999933", "#AA4499")


def method(solver):
    """Return a solver's name without its learning rate: what has one look."""
    return without(solver, LEARNING_RATE)


def looks(results):
    """Map each method of all results to its number: baselines first, then by benchmark and name.

    Parameters
    ----------
    results : list of Result

    Returns
    -------
    dict
    """
    order = {}
    for result in results:
        methods = sorted({method(str(name)) for name in result.frame["solver_name"].unique()})
        methods.sort(key=lambda name: family(name) != family(result.benchmark.baseline))
        for name in methods:
            order.setdefault(name, len(order))
    return order


def colour(number):
    """Return the colour of a method's number, as ``#RRGGBB``."""
    return COLOURS[number % len(COLOURS)]


def style_of(order):
    """Return the function that Benchopt's plots ask for the style of a solver, see `page.draw`."""

    order = dict(order)

    def get_style(solver):
        number = order.setdefault(method(str(solver)), len(order))
        return {"color": matplotlib.colors.to_rgba(colour(number)), "marker": number}

    return get_style
