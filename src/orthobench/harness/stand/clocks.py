"""Whether what a stand says of its time can be true: its processor and the bench's clock bound it from outside."""

import contextlib
import functools
import os
import sys
import time
from dataclasses import dataclass

# How far an honest answer may exceed what it says. Contention doesn't disturb the processor's clock; the wall clock
# it does, and there much is needed: with 5 ms and a tenth, 11 of 1386 honest rows of a busy machine were refuted.
PROCESSOR_SLACK_S, PROCESSOR_SHARE = 0.002, 0.10
CALL_SLACK_S = 5e-5  # copies and seeds before each call of a question
WALL_SLACK_S, WALL_SHARE = 0.025, 0.25
SPIN_S = 0.005  # of each thread beyond the first, after a question: OpenMP's wait for more work before they sleep
ATTEMPTS = 3


@dataclass(frozen=True)
class Cost:
    """What a question took, seen from outside the stand.

    Attributes
    ----------
    wall_s : float
        By the bench's clock.
    processor_s : float or None
        Of the stand and of the children it has waited for; None where the system doesn't tell.
    waited_s : float
        Of the wall's, how long bench and stand stood in line for a processor, as far as the system tells.
    """

    wall_s: float = 0.0
    processor_s: float | None = 0.0
    waited_s: float = 0.0

    def __add__(self, other):
        known = self.processor_s is not None and other.processor_s is not None
        processor_s = self.processor_s + other.processor_s if known else None
        return Cost(self.wall_s + other.wall_s, processor_s, self.waited_s + other.waited_s)


def hidden(said_s, cost, transport, threads, on_cpu, calls=1):
    """Return why an answer's time can't be what it says, "" if it can.

    Parameters
    ----------
    said_s : float
        What the stand says that the method took, all calls of the question together.
    cost : Cost
        Of the question.
    transport : Cost
        Of a question with the same bytes that asks for nothing.
    threads : int
        That the method may use.
    on_cpu : bool
        Whether the work is the processor's: not on a GPU, where a processor waits.
    calls : int
        Of the method, in this question.
    """
    if not 0 <= said_s <= cost.wall_s + WALL_SLACK_S:
        return f"it says that the method took {said_s:.3g} s, and the question took {cost.wall_s:.3g} s"
    beyond = cost.wall_s - cost.waited_s - said_s - transport.wall_s
    if beyond > WALL_SLACK_S + WALL_SHARE * said_s:
        return f"the clock outside shows {1e3 * beyond:.1f} ms beyond the {1e3 * said_s:.1f} ms that it says"
    if on_cpu and cost.processor_s is not None and transport.processor_s is not None:
        beyond = cost.processor_s - transport.processor_s - threads * said_s
        slack = PROCESSOR_SLACK_S + calls * CALL_SLACK_S + (threads - 1) * SPIN_S
        if beyond > slack + PROCESSOR_SHARE * threads * said_s:
            return (
                f"its processor time is {1e3 * beyond:.1f} ms beyond the {1e3 * said_s:.1f} ms that it says "
                f"for {threads} thread{'s' * (threads > 1)}"
            )
    return ""


def processor_s(pid):
    """Return the processor time of a process and of the children it has waited for; None where the system is silent."""
    own = own_processor_s(pid)
    return own + _children_s(pid) if own else None


def own_processor_s(pid):
    """Return the processor time of a process by itself, 0 where the system is silent."""
    if pid is not None and sys.platform.startswith("linux"):
        with contextlib.suppress(OSError):
            # The clock of another process: see MAKE_PROCESS_CPUCLOCK in Linux's posix-timers.h.
            return time.clock_gettime((~pid << 3) | 2)
    return 0.0


def _children_s(pid):
    """Return the processor time of the children that a process has waited for, in steps of a tick."""
    with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
        return (int(fields[13]) + int(fields[14])) / _ticks()
    return 0.0


def waited_s(task):
    """Return how long a process by its number, or ``thread-self``, has stood in line for a processor; 0 if unknown."""
    with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{task}/schedstat") as file:
        return 1e-9 * int(file.read().split()[1])
    return 0.0


@functools.cache
def _ticks():
    return os.sysconf("SC_CLK_TCK")
