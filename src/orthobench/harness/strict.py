"""Whether failures are contained as rows (`benchopt run`) or raised (`benchopt test`)."""

_strict = False


def raise_failures(strict=True):
    """Make the harness re-raise what it would otherwise turn into a row.

    Each benchmark's ``test_config.py`` calls it, so that ``benchopt test`` fails on a broken solver.

    Parameters
    ----------
    strict : bool
    """
    global _strict
    _strict = strict


def failures_are_raised():
    """Return whether failures are raised."""
    return _strict
