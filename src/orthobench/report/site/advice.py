"""When to use a method, and when not: what its figures say against the baseline's, and the verdicts on its claims."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from orthobench.report import claims, history
from orthobench.report.benchmarks import HIGHER, METRICS
from orthobench.report.leaderboard import NO_GUARANTEE, find_baseline, format_failures, format_number
from orthobench.report.names import family, short_names, short_objectives, short_solvers
from orthobench.report.site.comparisons import ALPHA
from orthobench.report.site.palette import method
from orthobench.report.site.tables import leading_number
from orthobench.report.statistics import LEVEL, MIN_SEEDS

BETTER, WORSE, OPEN, FEW, UNGUARANTEED, FAILED = "better", "worse", "open", "few", "no guarantee", "failed"
SPELLED = 2  # data sets whose figures are said; the others are named


@dataclass(frozen=True)
class Compared:
    """A method beside the baseline on one data set, by the metric that is shown first there."""

    label: str  # what the data set is called
    machine: object
    board: object
    row: object  # leaderboard.Row
    baseline: object  # that of the baseline, None without one
    outcome: str | None  # of those above; None where nothing can be said

    @property
    def metric(self):
        """The metric's name."""
        return self.board.first

    @property
    def path(self):
        """Where its rows are in the site."""
        return self.machine.rows_path(self.board.setting, self.row.solver)

    @property
    def share(self):
        """The factor that makes a difference a share of the baseline's mean; NaN unless that is positive."""
        mean = self.baseline.mean if self.baseline else np.nan
        return 1 / mean if mean > 0 else np.nan


@dataclass(frozen=True)
class Against:
    """A family of solvers against the baseline: of its variants the one that ranks best, on each data set."""

    baseline: str
    is_baseline: bool
    variant: str  # what tells it from the others, but for the learning rate, which is tuned; empty without figures
    variants: int
    compared: tuple  # of Compared

    def of(self, *outcomes):
        """List the data sets with one of these outcomes; the largest differences, as shares of the mean, first."""
        found = [each for each in self.compared if each.outcome in outcomes]
        return sorted(found, key=_size, reverse=True)


def _size(compared):
    test = compared.row.difference
    size = abs(test.difference) * compared.share if test is not None else np.nan
    return size if np.isfinite(size) else 0.0


def against(machines, own):
    """Compare a family of solvers with its benchmark's baseline, on data sets whose figures are final.

    Of the variants the one is shown that was run on most data sets, then the one with the best rank in the middle.

    Returns
    -------
    Against
    """
    benchmark = machines[0].result.benchmark
    found = {}
    for machine in machines:
        for board in machine.boards:
            if machine.result.is_evidence(board.setting.objective):
                rows = board.current[board.first]
                for row in rows:
                    if family(row.solver) == own:
                        # Of several learning rates and kinds of processes the first, which is the best.
                        places = found.setdefault(method(row.solver), {})
                        places.setdefault((machine, board.setting), (machine, board, row, rows))
    is_baseline = family(benchmark.baseline) == own
    if not found:
        return Against(benchmark.baseline, is_baseline, "", 0, ())
    variant = min(found, key=lambda name: (-len(found[name]), _middle(found[name]), name))
    places = list(found[variant].values())
    labels = _labels([(machine, board.setting) for machine, board, *_ in places])
    compared = tuple(_compared(label, *each, benchmark) for label, each in zip(labels, places, strict=True))
    return Against(benchmark.baseline, is_baseline, short_solvers(list(found))[variant], len(found), compared)


def _labels(places):
    """Name data sets by what tells them apart: their own parameters, the objective's that are on, and the machine."""
    datasets = short_names(dict.fromkeys(setting.dataset for _, setting in places))
    objectives = short_objectives(dict.fromkeys(setting.objective for _, setting in places))
    several = len({machine.result.machine for machine, _ in places}) > 1
    found = []
    for machine, setting in places:
        options = objectives[setting.objective].split(", ") if len(objectives) > 1 else []
        told = [each.removesuffix("=True") for each in options if not each.endswith("=False")]
        found.append(", ".join([datasets[setting.dataset], *told] + [machine.result.machine] * several))
    return found


def _middle(places):
    ranks = [leading_number(row.rank) for _, _, row, _ in places.values()]
    known = [rank for rank in ranks if rank is not None]
    return float(np.median(known)) if known else np.inf


def _compared(label, machine, board, row, rows, benchmark):
    name = find_baseline(dict.fromkeys(each.solver for each in rows), benchmark.baseline)
    baseline = next((each for each in rows if each.solver == name and each.stand == row.stand), None)
    return Compared(label, machine, board, row, baseline, _outcome(row, baseline, board.first))


def _outcome(row, baseline, metric):
    if row.rank == NO_GUARANTEE:
        return UNGUARANTEED
    if not np.isfinite(row.mean):
        return FAILED if row.failures else None
    test = row.difference
    if test is None or not test.n or baseline is None or baseline.rank == NO_GUARANTEE:
        return None
    if test.n < MIN_SEEDS:
        return FEW
    if not test.p <= ALPHA or not test.difference:
        return OPEN
    return BETTER if (test.difference > 0) == (METRICS[metric].better == HIGHER) else WORSE


# ----- in words -----


@dataclass(frozen=True)
class Part:
    """A piece of a sentence; `path` is where it leads in the site."""

    text: str
    path: str | None = None


@dataclass(frozen=True)
class Advice:
    """Sentences, each a list of `Part`."""

    use: list
    avoid: list
    open: list


def advise(against, judged, page, reasons, reference=""):
    """Say when to use a method and when not, the most important first.

    Parameters
    ----------
    against : Against
    judged : list of Judged
        The verdicts on claims about the method.
    page : str
        The path of the benchmark's page, where the checks of claims are.
    reasons : list of str
        Why its rows are superseded, where all of them are.
    reference : str
        Why it is measured, if not to be used.

    Returns
    -------
    Advice
    """
    verdicts = (claims.REPRODUCED, claims.NOT_REPRODUCED, claims.INCONCLUSIVE)
    claimed = {verdict: _claimed(judged, verdict, page) for verdict in verdicts}
    use = [*_spelled(against, BETTER), *claimed[claims.REPRODUCED]] if not reference else []
    avoid = [[Part(f"It is here for reference: {reference}.")]] if reference else []
    avoid += [*_unguaranteed(against), *_failed(against), *_spelled(against, WORSE), *claimed[claims.NOT_REPRODUCED]]
    said = [[Part(f"Its rows are superseded, and compared with nothing: {each}")] for each in reasons]
    if against.is_baseline:
        said.append([Part("It is the baseline, chosen before any run: the other methods are compared with it.")])
    elif not reasons and not against.compared:
        said.append([Part(f"There are no figures to compare with {against.baseline}'s.")])
    elif any(each.outcome for each in against.compared) and not (use or reference or reasons):
        said.append([Part(f"Nothing that was measured here speaks for it over {against.baseline}.")])
    said += [*_not_told_apart(against), *_few(against), *_not_compared(against), *claimed[claims.INCONCLUSIVE]]
    return Advice(use, avoid, said)


def _listed(lead, found, end="."):
    """Return a sentence that names data sets."""
    parts = [Part(lead)]
    for place, each in enumerate(found):
        parts += [Part(", ")] if place else []
        parts.append(Part(each.label, each.path))
    return [*parts, Part(end)]


def _spelled(against, outcome):
    found = against.of(outcome)
    sentences = []
    for each in found[:SPELLED]:
        test, side = each.row.difference, "higher" if each.row.difference.difference > 0 else "lower"
        low, high = sorted(map(abs, (test.low, test.high)))
        told = f" ({_percent()} interval {format_number(low)} to {format_number(high)}, n = {test.n})."
        lead = f"{_label(each.metric)}: {format_number(abs(test.difference))} {side} than {against.baseline} on "
        sentences.append([Part(lead), Part(each.label, each.path), Part(told)])
    rest = found[SPELLED:]
    if rest:
        sentences.append(_listed(f"Likewise on {len(rest)} more: ", rest))
    return sentences


def _unguaranteed(against):
    found = against.of(UNGUARANTEED)
    lead = "You need a guarantee: it claims none, or what it claims is refuted, on "
    return [_listed(lead, found, ", where it has no rank.")] if found else []


def _failed(against):
    found = [each for each in against.compared if each.row.failures]
    if not found:
        return []
    failures = sum((each.row.failures for each in found), Counter())
    return [_listed(f"Cells failed ({format_failures(failures)}) on ", found)]


def _not_told_apart(against):
    found = against.of(OPEN)
    if not found:
        return []
    parts = [Part(f"Not told apart from {against.baseline} (p adjusted for the number of solvers): ")]
    for place, each in enumerate(found):
        test = each.row.difference
        parts += [Part(", ")] if place else []
        parts.append(Part(each.label, each.path))
        if place < SPELLED:
            ends = f"{format_number(test.low)} to {format_number(test.high)}"
            parts.append(Part(f" ({format_number(test.difference)}, interval {ends}, n = {test.n})"))
    return [[*parts, Part(".")]]


def _few(against):
    found = against.of(FEW)
    return [_listed(f"Too few seeds to tell, fewer than {MIN_SEEDS}: ", found)] if found else []


def _not_compared(against):
    found = [] if against.is_baseline else against.of(None)
    why = f"{against.baseline} has no figure there, no guarantee or several variants, or this method has no figure"
    return [_listed(f"Not compared, because {why}: ", found)] if found else []


def _claimed(judged, verdict, page):
    found = [each for each in judged if each.verdict.verdict == verdict]
    if not found:
        return []
    parts = [Part(f"Published claims, {verdict} here: ")]
    for place, each in enumerate(found):
        parts += [Part(", ")] if place else []
        scale = each.verdict.label.removeprefix(verdict)
        parts.append(Part(f"{each.verdict.claim.id.replace('-', ' ')}{scale}", f"{page}#{each.anchor}"))
    return [[*parts, Part(".")]]


def _label(metric):
    label = METRICS[metric].label
    return label[:1].upper() + label[1:]


def _percent():
    return f"{100 * LEVEL:.0f} %"


def counted(against):
    """Say on how many data sets the method is better, worse or neither."""
    counts = [(len(against.of(outcome)), told) for outcome, told in (
        (BETTER, "better"), (WORSE, "worse"), (OPEN, "not told apart"), (FEW, "with too few seeds"),
        (UNGUARANTEED, "without a guarantee"), (FAILED, "failed"),
    )]  # fmt: skip
    return ", ".join(f"{told} on {count}" for count, told in counts if count)


def superseded_reasons(frame):
    """List why the rows of a frame are superseded, if all of them are."""
    if not len(frame) or len(history.current(frame)):
        return []
    return list(dict.fromkeys(frame[history.SUPERSEDED]))
