"""Where the time of a step goes: data, forward, backward, optimizer; without waiting for the device at each."""

import itertools
import time

import torch

PHASES = ("data", "forward", "backward", "optimizer")

# Kept from import on: a solver that replaces time.perf_counter doesn't change our readings.
_perf_counter = time.perf_counter


class PhaseClock:
    """Accumulates the seconds of each phase, from marks between them.

    On CUDA the marks are events on the device's current stream, which cost no synchronisation; a phase then lasts from
    the end of the last phase's work to the end of its own. Work on another stream counts where the current one waits
    for it; work that nothing waits for is in the stopwatch's time alone, and the phases add up to less than that.

    Parameters
    ----------
    device : torch.device
    """

    def __init__(self, device):
        self.device = device
        self._marks = []
        self._seconds = dict.fromkeys(PHASES, 0.0)

    def start(self):
        """Mark the beginning of a step."""
        self.end(None)

    def end(self, phase):
        """Mark the end of a phase, which began at the mark before."""
        if self.device.type == "cuda":
            now = torch.cuda.Event(enable_timing=True)
            now.record(torch.cuda.current_stream(self.device))  # by default it would be that of the current device
        else:
            now = _perf_counter()
        self._marks.append((phase, now))

    def seconds(self):
        """Return the seconds of each phase so far, as a dict."""
        if self.device.type == "cuda":
            for _, mark in reversed(self._marks):  # after the last one, those on the same stream are past
                mark.synchronize()
        for (_, before), (phase, after) in itertools.pairwise(self._marks):
            if phase is not None:
                self._seconds[phase] += self._between(before, after)
        self._marks = []
        return dict(self._seconds)

    def _between(self, before, after):
        return before.elapsed_time(after) / 1e3 if self.device.type == "cuda" else after - before
