"""Published claims with their verdicts, as pages show them."""

from dataclasses import dataclass

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

    @property
    def anchor(self):
        """Where the claim's checks are on its benchmark's page."""
        place = [self.machine, slug(self.verdict.stand) if self.verdict.stand else ""]
        return "-".join(filter(None, [f"claim-{self.verdict.claim.id}", *place]))

    def is_about(self, solver):
        """Whether the claim is about a family of solvers."""
        return family(self.verdict.claim.query.solver) == solver


def judge(documents, results):
    """Judge the claims of all benchmarks, with or without published rows, on each machine.

    A claim is listed once a machine that can say something (of times and memory, once a kind of process that solvers
    ran in there); or once, as not run here.

    Returns
    -------
    judged : list of Judged
    problems : list of str
        Claims that can't be read or judged.
    """
    judged, problems, listed = [], [], {}
    for benchmark in BENCHMARKS.values():
        folder = documents.folder(benchmark.folder)
        if folder is not None and (folder / "claims.toml").is_file():
            try:
                listed[benchmark.folder] = load_claims(folder / "claims.toml")
            except ValueError as error:
                problems.append(f"{benchmark.folder}/claims.toml: {error}")
    own = [each for each in results if each.benchmark.folder in listed]
    work = [(each.frame, listed[each.benchmark.folder]) for each in own]
    made = dict(zip(map(id, own), at_once(_check, work, sum(len(each.frame) for each in own)), strict=True))
    for folder in listed:
        benchmark = BENCHMARKS[folder]
        own = [(each.machine, *made[id(each)]) for each in results if each.benchmark.folder == folder]
        devices = {each.machine: each.device for each in results if each.benchmark.folder == folder}
        own = own or [("", *_check(pd.DataFrame(columns=list(REQUIRED)), listed[folder]))]
        problems += [f"{folder}/claims.toml: {error}" for _, _, error in own if error]
        own = [(machine, verdicts) for machine, verdicts, error in own if not error]
        for claim in listed[folder]:
            every = [
                Judged(each, benchmark, machine, devices.get(machine, ""))
                for machine, verdicts in own
                for each in verdicts
                if each.claim.id == claim.id
            ]
            judged += [each for each in every if each.verdict.verdict != claims.NOT_RUN] or every[:1]
    return sorted(judged, key=lambda each: each.verdict.verdict == claims.NOT_RUN), problems


def _check(frame, listed):
    """Return the verdicts, or none and the reason."""
    try:
        return claims.check_claims(frame, listed), ""
    except ValueError as error:
        return [], str(error)


def summary(judged):
    """Count the verdicts in a line."""
    return claims.summary([each.verdict for each in judged])


def claims_table(judged, key, page):
    """Return all verdicts as a `Table`; ``page`` is the address of a benchmark's page, given its `Benchmark`."""
    rows = tuple(_row(each, page(each.benchmark)) for each in judged)
    caption = stands.noted(f"Published claims, {summary(judged)}", [each.verdict.stand for each in judged])
    return Table(key, caption, COLUMNS, rows, FILTERS, glossary.TABLE)


def _row(judged, page):
    label, method, text, source, figure, reason = claims.format_verdict(judged.verdict)
    here = f"{page}#{judged.anchor}" if page else None
    return (
        Td(label, mark=f"verdict {judged.verdict.verdict.replace(' ', '-')}"),
        Td(method),
        Td(text),
        Td(source, href=address(judged.verdict.claim)),
        Td(figure),
        Td(reason),
        Td(judged.machine or "none"),
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
    return Table(judged.anchor, caption, claims.check_columns(query), tuple(rows), words=glossary.TABLE)
