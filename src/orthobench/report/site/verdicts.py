"""Published claims with their verdicts, as pages show them."""

from dataclasses import dataclass, replace

import pandas as pd

from orthobench.report import claims, stands
from orthobench.report.benchmarks import BENCHMARKS
from orthobench.report.cells import REQUIRED
from orthobench.report.claims_file import load_claims
from orthobench.report.names import family
from orthobench.report.site import glossary
from orthobench.report.site.tables import Table, Td, number, slug
from orthobench.report.site.workers import at_once

COLUMNS = (*claims.COLUMNS, "machine", "rows and command")
FILTERS = ("verdict", "method")


@dataclass(frozen=True)
class Judged:
    """A verdict, and on which machine's rows; the machine is empty where no published rows are about the claim."""

    verdict: claims.Verdict
    benchmark: object
    machine: str = ""
    device: str = ""  # that its rows are from
    others: tuple = ()  # of Judged: the claim on other machines and kinds of process, for which this one stands

    @property
    def anchor(self):
        """Where the claim is on its benchmark's page."""
        return f"claim-{self.verdict.claim.id}"

    @property
    def key(self):
        """The key of the table of its checks."""
        stand = slug(self.verdict.stand) if self.verdict.stand else ""
        return "-".join(filter(None, [self.anchor, self.machine, stand]))

    @property
    def place(self):
        """The machine, and the kind of process where there are several; empty without rows."""
        return stands.marked(self.machine, self.verdict.stand)

    @property
    def disagreement(self):
        """Where the claim is reproduced and where it is not; empty if all agree."""
        return claims.disagreement([(each.verdict, each.place) for each in (self, *self.others)])

    def is_about(self, solver):
        """Whether the claim is about a family of solvers."""
        return family(self.verdict.claim.query.solver) == solver


@dataclass(frozen=True)
class Bar:
    """A verdict's counts as a bar: what it says, its length, and parts: an outcome, where it starts, its length."""

    told: str
    total: int
    parts: tuple


def bar(verdict):
    """Return the `Bar` of a verdict; None if nothing was tested."""
    parts, start = [], 0
    for outcome, count in verdict.counts.items():
        if count:
            parts.append((outcome, start, count))
        start += count
    return Bar(claims.format_counts(verdict.counts), start, tuple(parts)) if parts else None


def judge(documents, results):
    """Judge the claims of all benchmarks, with or without published rows, on each machine.

    A claim is listed once, with the verdict that is `claims.standing` among those of the machines (of times and memory,
    of each kind of process that solvers ran in there), and the others that say something inside.

    Returns
    -------
    judged : list of Judged
    problems : list of str
        Claims that can't be read or judged.
    """
    listed, problems = load_all(documents)
    judged = []
    own = [each for each in results if each.benchmark.folder in listed]
    work = [(each.frame, listed[each.benchmark.folder]) for each in own]
    made = dict(zip(map(id, own), at_once(check, work, sum(len(each.frame) for each in own)), strict=True))
    for folder in listed:
        benchmark = BENCHMARKS[folder]
        own = [(each.machine, each.device, *made[id(each)]) for each in results if each.benchmark.folder == folder]
        own = own or [("", "", *check(pd.DataFrame(columns=list(REQUIRED)), listed[folder]))]
        problems += [f"{folder}/claims.toml: {error}" for *_, error in own if error]
        judged += entries([Judged(each, benchmark, *where) for *where, verdicts, _ in own for each in verdicts])
    return sorted(judged, key=lambda each: each.verdict.verdict == claims.NOT_RUN), problems


def load_all(documents):
    """Return the claims of all benchmarks by folder, and which can't be read: a list of str."""
    listed, problems = {}, []
    for benchmark in BENCHMARKS.values():
        folder = documents.folder(benchmark.folder)
        if folder is not None and (folder / "claims.toml").is_file():
            try:
                listed[benchmark.folder] = load_claims(folder / "claims.toml")
            except ValueError as error:
                problems.append(f"{benchmark.folder}/claims.toml: {error}")
    return listed, problems


def entries(judged):
    """Return one entry a claim from the verdicts of one benchmark's machines, in the order of the first one's."""
    by_verdict = {id(each.verdict): each for each in judged}
    found = []
    for first, others in claims.by_claim([each.verdict for each in judged]):
        others = [by_verdict[id(each)] for each in others if each.verdict != claims.NOT_RUN]
        found.append(replace(by_verdict[id(first)], others=tuple(others)))
    return found


def check(frame, listed):
    """Return the verdicts, or none and the reason."""
    try:
        return claims.check_claims(frame, listed), ""
    except ValueError as error:
        return [], str(error)


def summary(judged):
    """Count the verdicts in a line: a claim counts once."""
    return claims.summary([each.verdict for each in judged])


def claims_table(judged, key, page):
    """Return all verdicts as a `Table`; ``page`` is the address of a benchmark's page, given its `Benchmark`."""
    rows = tuple(_row(each, page(each.benchmark)) for each in judged)
    kinds = [one.verdict.stand for each in judged for one in (each, *each.others)]
    caption = stands.noted(f"Published claims, {summary(judged)}", kinds)
    return Table(key, caption, COLUMNS, rows, FILTERS, glossary.TABLE)


def _row(judged, page):
    label, method, text, source, figure, reason = claims.format_verdict(judged.verdict)
    told = [judged.place or "none", *(f"{each.verdict.label} on {each.place}" for each in judged.others)]
    reason += f"; disagreement: {judged.disagreement}" if judged.disagreement else ""
    here = f"{page}#{judged.anchor}" if page else None
    return (
        Td(label, mark=f"verdict {judged.verdict.verdict.replace(' ', '-')}"),
        Td(method),
        Td(text),
        Td(source, href=address(judged.verdict.claim)),
        Td(figure),
        Td(reason),
        Td("; ".join(told)),
        Td("checks", href=here) if here else Td("none yet"),
    )


def address(claim):
    """Return where a claim was published."""
    kind, _, identifier = claim.reference.partition("arXiv:")
    return f"https://arxiv.org/abs/{identifier}" if identifier and not kind else claim.reference


def checks_table(judged, setting_href):
    """Return the checks of a claim as a `Table`; ``setting_href`` is the address of the rows of a data set."""
    query, stand = judged.verdict.claim.query, judged.verdict.stand
    rows = []
    for check in judged.verdict.shown:
        dataset, setting, outcome, n, figure, p, reason = claims.format_check(check, query, stand)
        rows.append(
            (
                Td(dataset, href=setting_href(judged, check)),
                Td(setting),
                Td(outcome, mark=f"outcome {outcome}"),
                Td(n, float(check.n)),
                number(figure, check.estimate),
                number(p, check.p),
                Td(reason),
            )
        )
    caption = claims.protocol([judged.verdict.claim])
    return Table(judged.key, caption, claims.check_columns(query), tuple(rows), words=glossary.TABLE)
