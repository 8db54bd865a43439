"""How a cell can end, and which error means which end."""

import torch

OK = "ok"
DIVERGED = "diverged"
TIMEOUT = "timeout"
OUT_OF_MEMORY = "out_of_memory"
ERROR = "error"
REFUTED = "refuted"
FAILURES = (DIVERGED, TIMEOUT, OUT_OF_MEMORY, ERROR, REFUTED)
STATUSES = (OK, *FAILURES)

MESSAGE_LENGTH = 400


class InvalidResult(ValueError):
    """A solver returned something of the wrong type, shape, dtype or device, or broke a rule of the harness."""


class Diverged(ArithmeticError):
    """A solver returned NaN or infinity."""


class Refuted(ArithmeticError):
    """The harness disproved what a solver claims."""


class StandFailed(Exception):
    """The stand could not answer, or is gone. It has a status of its own.

    Parameters
    ----------
    status, message : str
    """

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status if status in FAILURES else ERROR


class BudgetExceeded(BaseException):
    """The time budget is spent.

    Not an ``Exception``: raised from a timer in the middle of a method, it must get past the method's own
    ``except Exception``.
    """


def status_of(error):
    """Return ``(status, message)`` for an exception that ended a cell; the message is one line.

    Parameters
    ----------
    error : BaseException

    Returns
    -------
    tuple of (str, str)
        One of ``STATUSES`` and the text of the error, cut to ``MESSAGE_LENGTH`` characters.
    """
    text = " ".join(_text(error).split())
    if isinstance(error, StandFailed):
        status = error.status
    elif isinstance(error, BudgetExceeded):
        status = TIMEOUT
    elif isinstance(error, Diverged):
        status = DIVERGED
    elif isinstance(error, Refuted):
        status = REFUTED
    elif _is_out_of_memory(error, text):
        status = OUT_OF_MEMORY
        text = f"{text or 'no memory left'}; use a smaller problem, or a device with more memory"
    else:
        status = ERROR
    # The harness's own errors say it all; a foreign one needs its type to be understood.
    if not isinstance(error, InvalidResult | Diverged | Refuted | BudgetExceeded | StandFailed):
        text = f"{type(error).__name__}: {text}"
    return status, text if len(text) <= MESSAGE_LENGTH else text[: MESSAGE_LENGTH - 3] + "..."


def printable(text):
    """Return a text that can be printed and written to a file: halves of a character become question marks."""
    return text.encode(errors="replace").decode()


def _text(error):
    try:
        return printable(str(error))
    except Exception:  # it is a solver's
        return "its text can't be told"


def _is_out_of_memory(error, text):
    # On a CPU torch reports a failed allocation as a plain RuntimeError.
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and ("DefaultCPUAllocator" in text or "out of memory" in text.lower())
    )
