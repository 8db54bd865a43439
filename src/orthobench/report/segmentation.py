"""Figures of `benchmark_segmentation`: what is certified against radius and cost, and a scene."""

from orthobench.report import pictures
from orthobench.report.benchmarks import BENCHMARKS, METRICS, radii
from orthobench.report.curves import Trace
from orthobench.report.medians import radius_traces

PIXELS = "certified_pixel_accuracy"
RADII = radii(BENCHMARKS["benchmark_segmentation"], PIXELS)
ATTACKED_AT = 36

# By what begins the metric at a radius: the clean one, and the one under attack, if there is one.
BY_CLASS = {"certified_miou": ("miou", "attacked_miou"), "certified_class_accuracy": ("class_accuracy", "")}
COSTS = ("forward_passes", "certification_time_ms", "inference_time_ms", "step_time_ms", "parameters")
HEADLINE = "certified_class_accuracy_36"

PANELS = (
    "the image, the classes that its pixels are given, those of the pixels known to keep theirs within 36/255, and in "
    "red the pixels that the attack changed"
)


def pixel_traces(frame, dataset, objective):
    """Return certified pixel accuracy against radius by both paradigms, and the attacked one at 36/255.

    How many pixels stay right, from an attacker's one budget, is a curve as in `radius_traces`; which ones are known
    to, one by one, is a dashed line. The label of the star says how far it is above what is certified.

    Raises
    ------
    ValueError
        For the reasons given in `cells`.
    """
    traces = radius_traces(
        frame,
        dataset,
        objective,
        _metrics("pixel_accuracy", PIXELS),
        ATTACKED_AT,
        "attacked_pixel_accuracy",
        "attack_gap",
    )
    known = radius_traces(frame, dataset, objective, _metrics("pixel_accuracy", "which_pixels"))
    lines = [
        Trace(each.solver, f"{each.label}: which pixels", "dashed", each.x, each.y, each.n)
        for each in known
        if each.kind == "curve"
    ]
    return lines + traces  # the symbol of a solver is that of its last trace


def class_traces(frame, dataset, objective, metric):
    """Return certified mIoU or class accuracy against radius, the clean one at 0, and the attacked one at 36/255.

    Parameters
    ----------
    metric : str
        A key of `BY_CLASS`.

    Raises
    ------
    ValueError
        For the reasons given in `cells`.
    """
    clean, attacked = BY_CLASS[metric]
    return radius_traces(frame, dataset, objective, _metrics(clean, metric), ATTACKED_AT, attacked)


def _metrics(clean, certified):
    return {0: clean} | {radius: f"{certified}_{radius}" for radius in RADII}


def scenes(frame, dataset, objective):
    """Return a picture by solver; see `pictures.by_solver`."""
    return pictures.by_solver(frame, dataset, objective, PANELS)


# ----- text -----


def ylabel(metric):
    """Return the label of an axis on which a metric is at all radii."""
    return f"{METRICS[f'{metric}_{ATTACKED_AT}'].label.partition(' at ')[0]} (higher is better)"
