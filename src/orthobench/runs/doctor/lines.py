"""Lines of the doctor's screen, and what becomes of a part that can't be found out."""

from dataclasses import dataclass
from pathlib import Path

from orthobench.report.page import one_line
from orthobench.report.terminal import cut, pad, wrap

LABEL = 11  # columns
MOST = 4  # names that are listed


@dataclass(frozen=True)
class Line:
    """A label and a text, which wraps unless it is a row of a table; ``fails`` if `make run` would fail for it."""

    label: str
    text: str
    fails: bool = False
    row: bool = False

    def printed(self, width):
        """Return it as lines of at most this width."""
        first = f"{'!' if self.fails else ' '} {pad(f'{self.label} ', LABEL)}"
        if self.row:
            return [cut(first + self.text, width)]
        return wrap(one_line(self.text), width, indent=" " * (LABEL + 2), first=first)


def part(label, look, *arguments, fails=False):
    """Return the lines that a function finds, or one that says why it couldn't.

    Parameters
    ----------
    label : str
        Of that line.
    look : callable
        Returns a list of `Line`.
    *arguments
        What it takes. One that is an exception is why nothing can be found out.
    fails : bool
        Whether `make run` would fail then.

    Returns
    -------
    list of Line
    """
    try:
        for each in arguments:
            if isinstance(each, Exception):
                raise each
        return look(*arguments)
    except Exception as error:  # whatever is broken here, the other parts are to come
        return [Line(label, f"can't be told: {said(error)}", fails)]


def attempt(look, *arguments):
    """Return what a function returns, or the exception that it raises, for `part` to tell."""
    try:
        return look(*arguments)
    except Exception as error:
        return error


def said(error):
    """Return an exception as a text."""
    return one_line(error) or type(error).__name__


def few(names):
    """Return the first of some names, and how many there are more."""
    names = list(names)
    return ", ".join(names[:MOST]) + (f" and {len(names) - MOST} more" if len(names) > MOST else "")


def short(path):
    """Return a path with ~ for the user's home."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) and path != home else str(path)
