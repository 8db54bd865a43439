"""Which device a run uses, and waiting for the work queued on it."""

import os

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
