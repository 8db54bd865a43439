"""Which device work is done on, waiting for what is queued on it, and the time and memory that it takes."""

import contextlib
import os
import time

import torch

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
