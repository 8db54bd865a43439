"""Time and memory of a method, and of nothing else."""

import contextlib
import time

import torch

from .device import synchronize
from .status import BudgetExceeded

# Kept from import on: a solver that replaces time.perf_counter doesn't change our readings.
_perf_counter = time.perf_counter


class Stopwatch:
    """Accumulates the time a method takes on a device; synchronises it before each reading.

    Parameters
    ----------
    device : torch.device

    Attributes
    ----------
    elapsed_s : float
        Seconds between all :meth:`start` and :meth:`stop` so far.
    """

    def __init__(self, device):
        self.device = device
        self.elapsed_s = 0.0
        self._started = None

    def start(self):
        """Start, or go on, once the device is idle."""
        synchronize(self.device)
        self._started = _perf_counter()

    def stop(self):
        """Stop once the device is idle; does nothing if the stopwatch isn't running."""
        if self._started is not None:
            synchronize(self.device)
            self.elapsed_s += _perf_counter() - self._started
            self._started = None

    def reading_s(self):
        """Return the seconds so far without waiting for the device: a lower bound while it runs."""
        return self.elapsed_s + (0.0 if self._started is None else _perf_counter() - self._started)


def budget_exceeded(seconds):
    """Return the error for a spent budget of ``seconds``."""
    return BudgetExceeded(f"stopped: the time budget of {seconds:g} s is spent; raise it with --timeout")


def reset_peak_memory(device):
    """Start a new measurement for :func:`peak_memory_bytes`."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # resets this process's VmHWM (Linux, proc_pid_clear_refs)


def peak_memory_bytes(device):
    """Return the peak since :func:`reset_peak_memory`, in bytes.

    On CUDA the memory torch allocated on the device; on a CPU the resident memory of the whole process, which Linux
    alone reports (NaN elsewhere).
    """
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    with contextlib.suppress(OSError), open("/proc/self/status") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return 1024.0 * int(line.split()[1])
    return float("nan")
