"""Time and memory of a method, and of nothing else."""

import contextlib
import ctypes
import signal
import threading
import time

import torch

from .device import synchronize
from .status import BudgetExceeded, Refuted

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


def time_limit(seconds, budget):
    """Raise `BudgetExceeded` inside the block when ``seconds`` have passed.

    A timer interrupts Python code, in the main thread by a signal, in others (where Dask's workers run their cells) by
    an exception that CPython raises there. Inside one long call of compiled code the block ends late, and whoever runs
    it checks the time afterwards.

    Parameters
    ----------
    seconds : float or None
        None for no limit.
    budget : float or None
        What the seconds are left of, for the message.
    """
    if seconds is None:
        return contextlib.nullcontext()
    in_main = threading.current_thread() is threading.main_thread()
    limit = _signal_limit if in_main and hasattr(signal, "setitimer") else _thread_limit
    return limit(max(seconds, 1e-6), budget)


@contextlib.contextmanager
def _signal_limit(seconds, budget):
    def expire(signum, frame):
        raise budget_exceeded(budget)

    previous = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


@contextlib.contextmanager
def _thread_limit(seconds, budget):
    class Spent(BudgetExceeded):  # CPython raises a class in a thread, without arguments
        def __init__(self):
            super().__init__(*budget_exceeded(budget).args)

    thread, lock, over = threading.get_ident(), threading.Lock(), False

    def expire():
        with lock:
            if not over:
                _raise_in(thread, Spent)

    timer = threading.Timer(seconds, expire)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        with lock:
            over = True
        _raise_in(thread, None)  # takes back what has not been raised yet


def _raise_in(thread, exception):
    error = None if exception is None else ctypes.py_object(exception)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), error)


def budget_exceeded(seconds):
    """Return the error for a spent budget of ``seconds``."""
    return BudgetExceeded(f"stopped: the time budget of {seconds:g} s is spent; raise it with --timeout")


def check_clock():
    """Raise `Refuted` if the clock that Benchopt reads has been replaced."""
    if time.perf_counter is not _perf_counter:
        time.perf_counter = _perf_counter
        raise Refuted("time.perf_counter was replaced while the method ran: its times can't be trusted")


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
