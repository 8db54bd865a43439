"""What ``methods.toml`` tells of methods besides figures: their publications, how to use them, where else they are."""

import re
from dataclasses import dataclass
from pathlib import Path

from orthobench.report.benchmarks import BENCHMARKS
from orthobench.report.entries import read_entries

FILE = "methods.toml"
KINDS = ("article", "book", "inproceedings", "misc")
_VENUE = {"article": "journal", "inproceedings": "booktitle", "book": "publisher"}  # else "howpublished"
_SAID = ("volume", "number", "pages", "doi")  # fields that BibTeX calls the same


def solver_id(folder, name):
    """Return how the file calls a solver of a benchmark's folder."""
    return name if folder == "." else f"{folder}/{name}"


def of_id(solver):
    """Return the folder and the name of a solver as the file calls it; no name has a slash."""
    folder, _, name = solver.rpartition("/")
    return folder or ".", name


@dataclass(frozen=True)
class Publication:
    """A publication; `solvers` are those that are its methods."""

    key: str
    kind: str
    title: str
    authors: list
    year: int
    solvers: list
    venue: str = ""
    volume: str = ""
    number: str = ""
    pages: str = ""
    arxiv: str = ""
    doi: str = ""
    url: str = ""

    def check(self):
        """Return what is wrong with the entry; empty if nothing is."""
        if self.kind not in KINDS:
            return f"'kind' is {self.kind!r}; allowed: {', '.join(KINDS)}"
        if not re.fullmatch(r"[a-z0-9]+", self.key):
            return f"'key' is {self.key!r}; allowed: lower-case letters and digits"
        if not self.authors:
            return "'authors' is empty; allowed: all authors, each as 'Given Family'"
        told = (self.title, self.venue, *self.authors)
        wrong = next((each for each in told if re.search(r"[{}\\%&#$_^~]", each)), "")
        return f"{wrong!r} has a character that TeX reads as its own; allowed: plain text" if wrong else ""

    @property
    def address(self):
        """Where it can be read; empty if the file does not say."""
        if self.arxiv:
            return f"https://arxiv.org/abs/{self.arxiv}"
        return self.url or (f"https://doi.org/{self.doi}" if self.doi else "")

    @property
    def named(self):
        """The first author, the year and the title."""
        families = [each.rpartition(" ")[2] for each in self.authors]
        several = {1: families[0], 2: " and ".join(families)}.get(len(families), f"{families[0]} et al.")
        return f"{several} ({self.year}), {self.title}"

    @property
    def bibtex(self):
        """The entry, in UTF-8; the title keeps its letters' case."""
        told = {"title": f"{{{self.title}}}", "author": " and ".join(self.authors), "year": str(self.year)}
        told[_VENUE.get(self.kind, "howpublished")] = self.venue
        told |= {name: getattr(self, name) for name in _SAID}
        told |= {"eprint": self.arxiv, "archivePrefix": "arXiv" if self.arxiv else "", "url": self.address}
        return entry(self.kind, self.key, told)


def entry(kind, key, told):
    """Return an entry of BibTeX with those fields that are told."""
    lines = [f"  {name} = {{{value}}}," for name, value in told.items() if value]
    return "\n".join([f"@{kind}{{{key},", *lines, "}"])


@dataclass(frozen=True)
class Snippet:
    """Python code that uses methods; in it {} stands for what each of the solvers maps to."""

    code: str
    solvers: dict

    def check(self):
        """Return what is wrong with the entry; empty if nothing is."""
        right = all(isinstance(each, str) for each in self.solvers.values())
        return "" if right else f"'solvers' is {self.solvers!r}; allowed: a table of texts"

    def of(self, solver):
        """Return the code for one of its solvers."""
        return self.code.strip().replace("{}", self.solvers[solver])


@dataclass(frozen=True)
class Same:
    """Solvers of different names that are one method, with what says so."""

    solvers: list
    how: str

    def check(self):
        """Return what is wrong with the entry; empty if nothing is."""
        return "" if len(self.solvers) > 1 else f"'solvers' is {self.solvers!r}; allowed: two or more"


@dataclass(frozen=True)
class Reference:
    """Solvers that are measured and not to be used, with the reason."""

    solvers: list
    why: str

    def check(self):
        """Return what is wrong with the entry; empty if nothing is."""
        return "" if self.solvers else "'solvers' is empty; allowed: one or more"


@dataclass(frozen=True)
class Methods:
    """The entries of a ``methods.toml``; there need not be any."""

    publications: tuple = ()
    snippets: tuple = ()
    same: tuple = ()
    references: tuple = ()

    def publications_of(self, solver):
        """List the publications of a solver as the file calls it."""
        return [each for each in self.publications if solver in each.solvers]

    def snippet_of(self, solver):
        """Return the code that uses a solver's method; None without."""
        return next((each.of(solver) for each in self.snippets if solver in each.solvers), None)

    def reference(self, solver):
        """Return why a solver is measured, if not to be used; else an empty text."""
        return next((each.why for each in self.references if solver in each.solvers), "")

    def elsewhere(self, solver, others):
        """Map those of other solvers that are the same method to what says so: the same name, or an entry."""
        found = {each: "" for each in others if each != solver and of_id(each)[1] == of_id(solver)[1]}
        for each in self.same:
            if solver in each.solvers:
                found |= {other: each.how for other in each.solvers if other != solver and other in others}
        return found


def load_methods(path):
    """Read a ``methods.toml``; one that is not there is empty.

    Raises
    ------
    ValueError
        If something in it is not as it should be. The message names the file, the entry and what is allowed.
    """
    path = Path(path)
    kinds = {"publication": Publication, "snippet": Snippet, "same": Same, "reference": Reference}
    read = read_entries(path, kinds, _lack)
    keys = [each.key for each in read["publication"]]
    repeated = sorted({each for each in keys if keys.count(each) > 1})
    if repeated:
        raise ValueError(f"{path}: keys {_list(repeated)} are there several times; allowed: once.")
    return Methods(*read.values())


def _lack(entry):
    for name in ("authors", "solvers"):
        texts = getattr(entry, name, [])
        if not all(isinstance(each, str) and each for each in texts):
            return f"{name!r} is {texts!r}; allowed: a list of texts"
    unknown = next((folder for folder, _ in map(of_id, entry.solvers) if folder not in BENCHMARKS), None)
    return entry.check() or (f"the folder {unknown!r}; allowed: {_list(BENCHMARKS)}" if unknown else "")


def _list(names):
    return ", ".join(names)
