"""The first screen of the site: what was found, in sentences, and all verdicts at a glance."""

from dataclasses import dataclass

import numpy as np

from orthobench.report import claims
from orthobench.report.benchmarks import METRICS
from orthobench.report.leaderboard import format_number
from orthobench.report.names import short_names
from orthobench.report.site.verdicts import Bar, bar

MOST = 8
ORDER = (claims.REPRODUCED, claims.NOT_REPRODUCED, claims.INCONCLUSIVE, claims.NOT_RUN)


@dataclass(frozen=True)
class Finding:
    """A verdict on a claim in a sentence, with where its checks are."""

    verdict: str
    text: str
    figure: str
    badge: str
    href: str


def findings(judged, page_of):
    """Return up to `MOST` findings: those verdicts of each benchmark that rest on most tests, decided ones first.

    Parameters
    ----------
    judged : list of Judged
    page_of : callable
        Of a benchmark: the address of its page.
    """
    by_benchmark = {}
    for each in judged:
        check = claims.decisive(each.verdict)
        if each.verdict.checks and each.verdict.verdict != claims.NOT_RUN and check and np.isfinite(check.estimate):
            by_benchmark.setdefault(each.benchmark.folder, []).append(each)
    for own in by_benchmark.values():
        own.sort(key=lambda each: (each.verdict.verdict == claims.INCONCLUSIVE, -len(each.verdict.tested)))
    rounds = max(map(len, by_benchmark.values()), default=0)
    turns = [own[turn] for turn in range(rounds) for own in by_benchmark.values() if turn < len(own)][:MOST]
    return [_finding(each, page_of) for each in turns]


def _finding(judged, page_of):
    verdict = judged.verdict
    check, href = claims.decisive(verdict), f"{page_of(judged.benchmark)}#{judged.anchor}"
    figure = sentence(check, verdict.claim.query)
    figure += f" The rows disagree: {judged.disagreement}." if judged.disagreement else ""
    return Finding(verdict.label, verdict.claim.text, figure, badge(judged), href)


def sentence(check, query):
    """Say a check's figure in words, with its interval, its number of seeds and its data set."""
    metric, place = METRICS[query.metric].label, short_names([check.dataset])[check.dataset]
    low, high = check.low, check.high
    at = {"≤": "at most ", "≥": "at least "}.get(check.relation, "")
    if query.factor is not None:
        size = f"{at}{format_number(check.estimate)} times {query.opponent}"
    elif check.estimate < 0:
        # Of how much lower it is: the interval too.
        at = {"≤": "at least ", "≥": "at most "}.get(check.relation, "")
        low, high = -high, -low
        size = f"{at}{format_number(-check.estimate)} lower than {query.opponent}"
    else:
        more = f"{at}{format_number(check.estimate)} higher than" if check.estimate else "the same as"
        size = f"{more} {query.opponent}"
    ends = f"95 % interval {_end(low)} to {_end(high)}, n = {check.n}, {place}"
    return f"{metric[:1].upper()}{metric[1:]}: {query.solver} is {size} ({ends})."


def _end(value):
    return format_number(value) if np.isfinite(value) else ("-∞" if value < 0 else "∞")


def badge(judged):
    """Say on what a verdict rests: device, data sets and seeds."""
    checks = judged.verdict.tested
    if not checks:
        return "no rows"
    names = sorted({check.dataset.partition("[")[0] for check in checks})
    counts = sorted({check.n for check in checks})
    seeds = f"n = {counts[0]}" + (f" to {counts[-1]}" if len(counts) > 1 else "")
    return f"{judged.device}, {', '.join(names)}, {seeds}"


@dataclass(frozen=True)
class Cell:
    """A claim in the matrix of verdicts."""

    name: str
    told: str
    href: str | None
    bar: Bar | None  # None if nothing was tested
    notes: tuple  # of text


def matrix(judged, page_of):
    """Return one row for each method and benchmark: its name, and its claims by verdict, in the order of `ORDER`."""
    rows = {}
    for each in judged:
        claim, page = each.verdict.claim, page_of(each.benchmark)
        own = rows.setdefault((each.benchmark.folder, claim.method), {verdict: [] for verdict in ORDER})
        told = f"{claim.text} {each.verdict.label}: {each.verdict.reason} ({badge(each)})"
        notes = ["small scale"] if each.verdict.label != each.verdict.verdict else []
        notes += ["the rows disagree"] if each.disagreement else []
        href = f"{page}#{each.anchor}" if page else None
        cell = Cell(claim.id.replace("-", " "), told, href, bar(each.verdict), tuple(notes))
        own[each.verdict.verdict].append(cell)
    return [(method, list(own.values())) for (_, method), own in rows.items()]
