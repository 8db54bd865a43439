"""The picture of a solver's page: its paired difference to the baseline on each data set."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from orthobench.report.benchmarks import METRICS
from orthobench.report.leaderboard import format_number
from orthobench.report.site import advice, boards
from orthobench.report.site.cards import INK, STYLE, cut, svg
from orthobench.report.statistics import LEVEL

SHOWN = 12  # data sets
_WITH_DIFFERENCE = (advice.BETTER, advice.WORSE, advice.OPEN, advice.FEW)


def shown(against):
    """List the data sets of the picture: the first ones with a difference, by the metric that is shown first."""
    return _drawable(against)[:SHOWN]


def _drawable(against):
    found = [each for each in against.compared if each.outcome in _WITH_DIFFERENCE]
    return [each for each in found if each.metric == found[0].metric and each.row.difference.n > 1]


def scaled(found):
    """Return the differences (difference, low, high) in percent of the baseline's means, and what to call them.

    They are as they are where a mean is not positive.
    """
    factors = [100 * each.share for each in found]
    if not np.isfinite(factors).all():
        factors = [1.0] * len(found)
    tests = [each.row.difference for each in found]
    values = [
        tuple(factor * value for value in (test.difference, test.low, test.high))
        for factor, test in zip(factors, tests, strict=True)
    ]
    return values, "" if factors == [1.0] * len(found) else " %"


def alternative(against):
    """Say what the picture shows."""
    found = shown(against)
    values, unit = scaled(found)
    told = "; ".join(
        f"{each.label} {format_number(middle)}{unit}, from {format_number(low)} to {format_number(high)}"
        for each, (middle, low, high) in zip(found, values, strict=True)
    )
    return f"Difference to {against.baseline} in {METRICS[found[0].metric].label}: {told}."


def caption(against):
    """Say what the picture is of, and by which rules."""
    found, metric = shown(against), METRICS[shown(against)[0].metric].label
    _, unit = scaled(found)
    total = len(_drawable(against))
    first = f", the first {len(found)} of {total} data sets" if total > len(found) else ""
    several = against.variants > 1
    variant = f" Of {against.variants} variants: {against.variant}, the best by its rank." if several else ""
    return (
        f"{metric[:1].upper()}{metric[1:]} minus that of {against.baseline} on the same seeds"
        + (f", in % of {against.baseline}'s mean" if unit else "")
        + f"{first}; {100 * LEVEL:.0f} % interval; {boards.direction(found[0].metric)} of 0 is better; "
        + f"filled: told apart.{variant}"
    )


def draw(against, look):
    """Return the picture as SVG, in a colour."""
    found = shown(against)
    values, unit = scaled(found)
    label = METRICS[found[0].metric].label
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.6, 0.75 + 0.19 * len(found)), layout="constrained", facecolor="none")
        axes = figure.subplots()
        axes.set_facecolor("none")
        axes.axvline(0, color=INK, linewidth=1, linestyle=":")
        for place, (each, (middle, low, high)) in enumerate(zip(found, values, strict=True)):
            apart = each.outcome in (advice.BETTER, advice.WORSE)
            axes.plot([low, high], [-place] * 2, color=look, linewidth=1.5)
            axes.plot([middle], [-place], "o", color=look, markersize=5, markerfacecolor=look if apart else "none")
        axes.set_yticks([-place for place in range(len(found))], [cut(each.label, 44) for each in found])
        axes.set_ylim(0.6 - len(found), 0.6)
        axes.tick_params(colors=INK, length=0)
        share = f", % of {against.baseline}'s mean" if unit else ""
        figure.supxlabel(cut(f"difference in {label}{share}", 80), color=INK, fontsize=8)
        return svg(figure, axes)
