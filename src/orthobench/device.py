"""Which device work is done on, waiting for what is queued on it, and the time and memory that it takes."""

import contextlib
import itertools
import os
import time

import torch
from torch.utils._python_dispatch import _get_current_dispatch_mode

DEVICE_VARIABLE = "ORTHOBENCH_DEVICE"


def requested_device():
    """Return the device asked for, as text: ``ORTHOBENCH_DEVICE``, or ``"auto"``."""
    return os.environ.get(DEVICE_VARIABLE, "").strip().lower() or "auto"


def available_devices():
    """Return the names that :func:`resolve_device` accepts on this machine."""
    names = ["auto", "cpu"]
    if torch.cuda.is_available():
        names += ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    return names


def resolve_device(name=None):
    """Return the device a run uses: CUDA if there is one, else the CPU, unless one is named.

    Parameters
    ----------
    name : str, optional
        ``auto``, ``cpu``, ``cuda`` or ``cuda:K``. By default, :func:`requested_device`.

    Returns
    -------
    torch.device

    Raises
    ------
    ValueError
        If the name isn't one of :func:`available_devices`.
    """
    name = requested_device() if name is None else name
    allowed = available_devices()
    if name not in allowed:
        raise ValueError(
            f"device {name!r} is not available: this machine offers {', '.join(allowed)} "
            f"(torch {torch.__version__}); set {DEVICE_VARIABLE} to one of them"
        )
    if name == "auto":
        name = "cuda" if "cuda" in allowed else "cpu"
    return torch.device("cuda", torch.cuda.current_device()) if name == "cuda" else torch.device(name)


def can_look(tensor):
    """Tell whether the values of a tensor are at hand: on a CPU, with nothing that records or transforms its steps."""
    if torch.compiler.is_compiling() or tensor.device.type != "cpu":
        return False
    is_plain = type(tensor) in (torch.Tensor, torch.nn.Parameter)
    return is_plain and _get_current_dispatch_mode() is None and torch._C._functorch.peek_interpreter_stack() is None


def synchronize(device):
    """Wait until all work queued on ``device`` is done; a CPU has no queue."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


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
        self._started = time.perf_counter()

    def stop(self):
        """Stop once the device is idle; does nothing if the stopwatch isn't running."""
        if self._started is not None:
            synchronize(self.device)
            self.elapsed_s += time.perf_counter() - self._started
            self._started = None

    def reading_s(self):
        """Return the seconds so far without waiting for the device: a lower bound while it runs."""
        return self.elapsed_s + (0.0 if self._started is None else time.perf_counter() - self._started)


class PhaseClock:
    """Accumulates the seconds of each phase, from marks between them.

    On CUDA the marks are events on the device's current stream, which cost no synchronisation; a phase then lasts from
    the end of the last phase's work to the end of its own. Work on another stream counts where the current one waits
    for it; work that nothing waits for is in the stopwatch's time alone, and the phases add up to less than that.

    Parameters
    ----------
    device : torch.device
    phases : sequence of str
    """

    def __init__(self, device, phases):
        self.device = device
        self._marks = []
        self._seconds = dict.fromkeys(phases, 0.0)

    def start(self):
        """Mark the beginning of a step."""
        self.end(None)

    def end(self, phase):
        """Mark the end of a phase, which began at the mark before."""
        if self.device.type == "cuda":
            now = torch.cuda.Event(enable_timing=True)
            now.record(torch.cuda.current_stream(self.device))  # by default it would be that of the current device
        else:
            now = time.perf_counter()
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


def reset_peak_memory(device):
    """Start a new measurement for :func:`peak_memory_bytes`."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        reset_resident_peak()


def peak_memory_bytes(device):
    """Return the peak since :func:`reset_peak_memory`, in bytes.

    On CUDA the memory torch allocated on the device; on a CPU the resident memory of the whole process.
    """
    return float(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else resident_peak_bytes()


def reset_resident_peak(process="self"):
    """Start a new measurement for :func:`resident_peak_bytes` of a process, by its number."""
    with contextlib.suppress(OSError), open(f"/proc/{process}/clear_refs", "w") as file:
        file.write("5")  # resets VmHWM (Linux, proc_pid_clear_refs)


def resident_peak_bytes(process="self"):
    """Return the peak of a process's resident memory, which Linux alone reports; NaN elsewhere."""
    with contextlib.suppress(OSError), open(f"/proc/{process}/status") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return 1024.0 * int(line.split()[1])
    return float("nan")
