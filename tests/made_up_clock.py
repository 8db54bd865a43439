"""A clock in place of the harness's: what a test says of times holds then however busy the machine is."""

import sys
import time

from orthobench.linalg.products import plain_product_rate


class MadeUpClock:
    """A clock that stands still between readings.

    Parameters
    ----------
    tick : float
        Seconds from one reading to the next: all that is timed takes the same. A power of two is exact.
    """

    def __init__(self, tick=0.0):
        self.tick = tick
        self.now = 0.0

    def __call__(self):
        self.now += self.tick
        return self.now

    def advance(self, seconds):
        """Make what runs now take that long."""
        self.now += seconds


def made_up_clock(monkeypatch, tick=0.0):
    """Return the clock that every stopwatch reads from now on, and Benchopt too: the harness compares the two."""
    made = MadeUpClock(tick)
    monkeypatch.setattr(time, "perf_counter", made)
    # What is measured once a process was measured by another clock, and must not be by this one.
    for name, module in list(sys.modules.items()):
        if name.startswith("orthobench.") and getattr(module, "plain_product_rate", None) is plain_product_rate:
            monkeypatch.setattr(module, "plain_product_rate", plain_product_rate.__wrapped__)
    return made
