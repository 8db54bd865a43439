"""One look for each method, the same in every figure: the colour of its family, a symbol, and a dash of its line.

Colours repeat where there are more families than colours. Methods of one colour that are shown together differ in
symbol and dash.
"""

from dataclasses import dataclass

import matplotlib

from orthobench.report.names import family, without
from orthobench.report.page import SYMBOLS
from orthobench.report.site.boards import headline
from orthobench.report.sweep import LEARNING_RATE

# Each stands out from the light and from the dark page, and any two differ for colour-blind readers, too: both are
# tested. What stands out from both pages is neither light nor dark, so that there is room for no more.
COLOURS = ("#0c54f0", "#d8780c", "#249c78", "#b40cb4", "#cc0c00", "#a878fc", "#486c54", "#fc3cc0")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


@dataclass(frozen=True)
class Look:
    """How a method is drawn. As symbols and dashes share no factor in number, one number stands for any pair."""

    colour: int  # its place in COLOURS
    number: int  # modulo their numbers, of its symbol in `page.SYMBOLS` and of its dash in DASHES


def method(solver):
    """Return a solver's name without its learning rate: what has one look."""
    return without(solver, LEARNING_RATE)


def looks(results):
    """Map each method of all results to its look.

    The first families of a benchmark differ in colour: its baseline, and those with the best figures on the first data
    set.

    Parameters
    ----------
    results : list of Result

    Returns
    -------
    dict
        `Look` by method.
    """
    shown = {}  # methods by benchmark
    for result in results:
        shown.setdefault(result.benchmark.folder, {}).update(dict.fromkeys(_in_order(result)))
    colours, found = {}, {}
    for methods in shown.values():
        for name in methods:
            own = family(name)
            if own not in colours:
                beside = [colours.get(each) for each in _beside(shown, own, family)]
                colours[own] = min(range(len(COLOURS)), key=lambda each: (beside.count(each), each))
            if name not in found:
                others = [found[each] for each in _beside(shown, name, str) if each in found]
                found[name] = Look(colours[own], _number(colours[own], others))
    return found


def _in_order(result):
    """List the methods of a result: the baseline, those with the best figures, then by name."""
    if not result.settings:
        return []
    board, others = headline(result), sorted(map(str, result.frame["solver_name"].unique()))
    best = [row.solver for row in board.rows[board.first]]
    return [method(name) for name in (board.baseline, *best, *others) if name]


def _beside(shown, name, part):
    """List what is shown beside a method, or beside a family: in benchmarks that have it."""
    parts = [dict.fromkeys(map(part, methods)) for methods in shown.values()]
    return dict.fromkeys(each for own in parts if name in own for each in own)


def _number(colour, others):
    """Return the number that tells a method from others of its colour; then a symbol that few have, and few gaps."""
    alike = [each.number for each in others if each.colour == colour]

    def clashes(number):
        symbol, dash = number % len(SYMBOLS), number % len(DASHES)
        return (
            sum(each % len(SYMBOLS) == symbol for each in alike),
            sum(each % len(DASHES) == dash for each in alike),
            sum(each.number % len(SYMBOLS) == symbol for each in others),
            dash,
            symbol,
        )

    return min(range(len(SYMBOLS) * len(DASHES)), key=clashes)


def dash(style):
    """Return the dash of a line, as Plotly calls it, from the style of its solver."""
    return DASHES[style["marker"] % len(DASHES)]


def style_of(looks_by_method):
    """Return the function that Benchopt's plots ask for the style of a solver, see `page.draw`."""

    known = dict(looks_by_method)

    def get_style(solver):
        look = known.setdefault(method(str(solver)), Look(len(known) % len(COLOURS), len(known)))
        return {"color": matplotlib.colors.to_rgba(COLOURS[look.colour]), "marker": look.number}

    return get_style
