"""Tables as pages show them: text in each cell, and the number that it sorts by."""

import re
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Td:
    """A cell. `sort` is what its column is ordered by, the text where it is None; `href` where it leads."""

    text: str
    sort: float | None = None
    href: str | None = None
    mark: str | None = None  # classes of the style sheet: "failed", or a verdict's
    chips: tuple = ()  # short texts below it, such as hyper-parameters


@dataclass(frozen=True)
class Table:
    """A table of a page; its key is its own among all tables of the site."""

    key: str
    caption: str
    columns: tuple  # of text
    rows: tuple  # of tuples of Td
    filters: tuple = ()  # columns to filter by
    words: str = ""  # the part of the glossary that explains its columns
    about: str = ""  # a metric that the glossary explains; the caption begins with it

    def as_json(self):
        """Return what a script needs to draw the table."""
        rows = [list(map(_compact, row)) for row in self.rows]
        return {"key": self.key, "caption": self.caption, "columns": list(self.columns), "rows": rows,
                "filters": list(self.filters), "words": self.words, "about": self.about}  # fmt: skip


def _compact(cell):
    told = {"t": cell.text, "s": cell.sort, "h": cell.href, "m": cell.mark, "c": cell.chips or None}
    return {name: value for name, value in told.items() if value is not None}


def number(text, value):
    """Return a cell that is ordered by a number; one that is not finite comes last."""
    value = float(value)
    return Td(text, value if np.isfinite(value) else None)


def texts(rows):
    """Return rows of cells from rows of text; those of which each text is a number are ordered by these."""
    return tuple(tuple(Td(text, leading_number(text)) for text in row) for row in rows)


def leading_number(text):
    """Return the number that a text is, or begins with before a bracket or a blank; None without one."""
    found = re.match(r"[-+]?\d+(\.\d+)?(e[-+]?\d+)?(?=$|[ \[†-])", text)
    return float(found[0]) if found else None


def slug(text):
    """Return a text as a part of an address: lower-case letters and digits in words joined by hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:80].rstrip("-") or "unnamed"


def slugs(names):
    """Map names to slugs that differ."""
    found = {}
    for name in names:
        base = text = slug(name)
        copies = 1
        while text in found.values():
            copies += 1
            text = f"{base}-{copies}"
        found[name] = text
    return found
