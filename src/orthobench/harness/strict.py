"""Whether failures are contained as rows (`benchopt run`) or raised (`benchopt test`)."""

import traceback

from .status import status_of

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


def contain(error):
    """Turn an exception that was caught into a status, and print its traceback.

    Parameters
    ----------
    error : BaseException

    Returns
    -------
    tuple of (str, str)
        Status and message, as of `status_of`.

    Raises
    ------
    BaseException
        The error itself if failures are raised, or if the user interrupted the run.
    """
    if _strict or isinstance(error, KeyboardInterrupt):
        raise error
    traceback.print_exception(error)
    return status_of(error)
