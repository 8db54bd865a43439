"""What this machine has: devices and their memory, cores, instructions of the processor."""

import contextlib
import os
from pathlib import Path

from orthobench.runs.doctor.folders import told
from orthobench.runs.doctor.lines import MOST, Line, said

# Instructions for bfloat16, as Linux names them: of x86, of its tiles, of Arm.
BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")
CPUINFO = "/proc/cpuinfo"


def devices():
    """Say which devices there are, what is free of their memory, and which one a run takes."""
    import psutil
    import torch

    from orthobench.device import DEVICE_VARIABLE, requested_device, resolve_device

    memory = psutil.virtual_memory()
    texts = [f"cpu, {told(memory.available)} of {told(memory.total)} free"]
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for index in range(min(count, MOST)):
        texts.append(f"cuda:{index} {torch.cuda.get_device_name(index)}, {_memory(index)}")
    if count > MOST:
        texts.append(f"{count - MOST} more")
    found = Line("devices", "; ".join(texts))
    try:
        return [Line("device", f"{DEVICE_VARIABLE}={requested_device()} takes {resolve_device()}"), found]
    except ValueError as error:
        return [Line("device", said(error), fails=True), found]


def _memory(index):
    import torch

    try:
        free, total = torch.cuda.mem_get_info(index)
    except Exception as error:  # a GPU that another process has to itself, say
        return f"memory unknown ({said(error)})"
    return f"{told(free)} of {told(total)} free"


def threads():
    """Say how many threads a run takes of how many cores, and what the processor has for bfloat16."""
    found = bfloat16_instructions(CPUINFO)
    names = "unknown" if found is None else ", ".join(found) or "none"
    asked = os.environ.get("ORTHOBENCH_THREADS", "1")
    return [Line("threads", f"{asked} of {cores()} cores (ORTHOBENCH_THREADS); bfloat16: {names}")]


def cores():
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def bfloat16_instructions(cpuinfo):
    """Return which of `BFLOAT16` the processor has.

    Parameters
    ----------
    cpuinfo : str or path-like
        What Linux says of the processor.

    Returns
    -------
    list of str or None
        None where that can't be told, as on other systems.
    """
    flags = set()
    with contextlib.suppress(OSError):
        for line in Path(cpuinfo).read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("flags", "Features"):
                flags.update(value.split())
    return [each for each in BFLOAT16 if each in flags] if flags else None
