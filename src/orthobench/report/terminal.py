"""Text in a terminal of some width: paragraphs wrap, tables leave columns out, long names go on in the next line."""

import re
import shutil
import unicodedata

from orthobench.report.page import one_line

NARROWEST = 50  # columns of a terminal: in a narrower one, lines are those of this width
NAME = 24  # columns: a name that takes more goes on in the next line before a table leaves out a column for it
# Which columns a terminal that is too narrow for a table leaves out, the first one first. The others always stay: rank,
# solver and mean with its half-width; median and share of cells that reached a target; a method and its chosen rate.
LEFT_OUT = (
    "time range",
    "95 % interval",  # the mean has its half-width
    "share, 95 % interval",
    "learning rates",
    "flags",  # which are then below the table
    "difference, interval, p",
    "not reached",
    "n",
    "95 % interval of the median",
    "time (s)",
    "failures",  # which are counted below all tables
)
_GAP = 2
# Where a word that is longer than a line is broken, and what is still longer than one.
_BREAKS, _FINER = re.compile(r"(?<=[,/])|(?=\[)"), re.compile(r"(?<==)")


def columns():
    """Return the terminal's width, in columns: that of ``COLUMNS`` if it is set, 80 where there is no terminal."""
    return max(shutil.get_terminal_size((80, 24)).columns, NARROWEST)


def length(text):
    """Return how many columns a text takes: wide characters two, accents that combine with another none."""
    return len(text) if text.isascii() else sum(map(_length, text))


def _length(character):
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def pad(text, width):
    """Return a text with spaces after it, so that it takes this width."""
    return text + " " * (width - length(text))


def cut(text, width):
    """Return a text that takes at most this width, with an ellipsis for the end that does not fit."""
    return text if length(text) <= width else _start(text, width - 1).rstrip() + "…"


def shortened(text, width):
    """Return a name that takes at most this width, with an ellipsis for the middle that does not fit."""
    if length(text) <= width:
        return text
    start = _start(text, width // 2)
    return start + "…" + _start(text[::-1], width - 1 - length(start))[::-1]


def _start(text, width):
    """Return as much of the start of a text as fits."""
    taken = 0
    for place, character in enumerate(text):
        taken += _length(character)
        if taken > width:
            return text[:place]
    return text


def wrap(text, width, indent="", first=""):
    """Return a text as lines of at most this width, the first one after ``first``, the others after ``indent``.

    They break between words; a word that is longer than a line breaks after a comma or a slash or before a bracket, as
    names of solvers and of files can, or else after =, or anywhere. Nothing is lost.
    """
    lines = [first]
    for place, word in enumerate(text.split()):
        joined = f"{lines[-1]} {word}" if place else first + word
        if length(joined) <= width:
            lines[-1] = joined
            continue
        if place:
            lines.append(indent)
        for piece in _pieces(word, width - length(indent)):
            if length(lines[-1] + piece) > width:
                lines.append(indent)
            lines[-1] += piece
    return lines


def _pieces(word, width):
    """Divide a word that is longer than a line."""
    if length(word) <= width:
        return [word]
    pieces = []
    for piece in _finer(_BREAKS.split(word), width):
        while length(piece) > width:
            start = _start(piece, max(width, 2))  # a wide character takes two
            pieces.append(start)
            piece = piece[len(start) :]
        pieces.append(piece)
    return pieces


def _finer(pieces, width):
    return [part for piece in pieces for part in ([piece] if length(piece) <= width else _FINER.split(piece))]


class Screen:
    """A terminal's width, and what was left out or has been said already.

    Parameters
    ----------
    width : int, optional
        In columns; without it lines are as long as they are, and tables whole.
    wide : bool
        Whether tables are whole, however wide.
    """

    def __init__(self, width=None, wide=False):
        self.width, self.wide = width, wide
        self.left_out = {}  # names of columns, in order
        self._said = set()

    def paragraph(self, text, indent="", first=""):
        """Return a text as lines that fit, the first one after ``first``, the others after ``indent``."""
        return wrap(one_line(text), self.width, indent, first) if self.width else [first + one_line(text)]

    def once(self, text):
        """Return a note as lines that fit, or none if it has been said."""
        if text in self._said:
            return []
        self._said.add(text)
        return self.paragraph(text, "  ")

    def rules(self, text):
        """Return a sentence ``WHAT: BY WHICH RULES`` as lines that fit; rules that were told before, as such."""
        what, _, told = one_line(text).partition(": ")
        known = told and told in self._said
        self._said.add(told)
        return self.paragraph(f"{what}: as above" if known else text)

    def table(self, header, rows, order=(), named=0, short=None):
        """Return an aligned table as lines that fit.

        Columns without an entry are not shown; others are left out in a given order until the rest fits, and noted.
        Names are the short ones where the whole ones don't fit; one that still doesn't goes on in the next line.

        Parameters
        ----------
        header : sequence of str
        rows : list of list of str
        order : sequence of str
            The columns that may be left out, the first one first.
        named : int
            Which column holds the names.
        short : list of str, optional
            The names of the rows, shorter.
        """
        rows = [list(map(one_line, row)) for row in rows]
        names = [row[named] for row in rows]
        shown, room = list(range(len(header))), max(map(length, [header[named], *names]), default=0)
        if self.width and not self.wide:
            short = list(map(one_line, short or names))
            shown, room = self._fitting(header, rows, order, named, short)
            names = names if all(length(name) <= room for name in names) else short
        broken = [wrap(name, room, "  ") if self.width else [name] for name in names]
        widths = [max(map(length, column)) for column in zip(header, *rows, strict=True)]
        widths[named] = max(length(line) for line in [header[named], *(line for lines in broken for line in lines)])

        def line(texts):
            return (" " * _GAP).join(pad(texts[i], widths[i]) for i in shown).rstrip()

        lines = [line(header), line(["-" * width for width in widths])]
        for row, (first, *others) in zip(rows, broken, strict=True):
            lines.append(line([*row[:named], first, *row[named + 1 :]]))
            lines += [line(["" if i != named else other for i in range(len(header))]) for other in others]
        return lines

    def _fitting(self, header, rows, order, named, short):
        """Return which columns are shown, and the room for names that they leave."""
        widths = [max(map(length, column)) for column in zip(header, *rows, strict=True)]
        needed = min(max(map(length, [header[named], *short])), NAME)
        shown = [i for i in range(len(header)) if i == named or any(row[i] for row in rows)]
        for name in (None, *order):
            if name in header and (place := header.index(name)) in shown:
                shown.remove(place)
                self.left_out[name] = True
            room = self.width - sum(widths[i] + _GAP for i in shown if i != named)
            if room >= needed:
                break
        return shown, max(room, NAME // 2)

    def note(self):
        """Return the lines that say which columns were left out, if any were, and how to see them."""
        if not self.left_out:
            return []
        names = ", ".join(f'"{name}"' for name in self.left_out)
        plural = "s" * (len(self.left_out) != 1)
        return self.paragraph(f"{len(self.left_out)} column{plural} left out for width: {names}; --wide shows all.")
