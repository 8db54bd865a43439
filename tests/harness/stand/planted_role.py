"""Roles of stands that do what a test tells them."""

import ctypes
import os
import signal
import sys
import time

import torch

from orthobench.harness.orthogonalisation.role import MatricesRole
from orthobench.harness.stand import wire
from orthobench.harness.stand.roles import Role, settings

PHASE, DEATH = "PLANTED_PHASE", "PLANTED_DEATH"


class Planted(Role):
    """Answers ``do`` with what some code leaves in ``answer`` and ``tensors``."""

    def do(self, *tensors, code):
        names = globals() | {"role": self, "answer": {}, "tensors": tensors}
        exec(code, names)  # noqa: S102 - code of the tests
        return names["answer"], list(names["tensors"]) if "send" in names else ()


def channels():
    """Return the sockets of this process."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                found.append(int(name))
        except OSError:
            pass
    return found


def write(content):
    for channel in channels():
        view = memoryview(content)
        while view:
            view = view[os.write(channel, view) :]


def hang():
    while True:
        try:
            time.sleep(1)
        except BaseException:  # noqa: S112 - it must not end
            continue


def leave():
    sys.exit(3)


def interrupt():
    raise KeyboardInterrupt


def close():
    for channel in channels():
        os.close(channel)
    hang()


DEATHS = {
    "crashes": lambda: ctypes.string_at(0),
    "leaves": lambda: os._exit(0),
    "leaves with a code": lambda: os._exit(7),
    "aborts": os.abort,
    "is killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exits": leave,
    "interrupts": interrupt,
    "takes memory": lambda: torch.ones(2**32, dtype=torch.uint8),
    "takes memory for Python": lambda: bytearray(2**32),
    "says nonsense": lambda: write(os.urandom(2**16)),
    "says a gigabyte": lambda: write(wire.PREFIX.pack(wire.MAGIC, 2, 2**30) + b"[]" + bytes(2**20)),
    "closes its channel": close,
    "kills its server": lambda: (os.kill(os.getppid(), signal.SIGKILL), hang()),
    "hangs": hang,
}


QUEUE, TICK_S = [], 2.0**-10


class QueueRole(MatricesRole):
    """Of a device on which seconds are queued, in `QUEUE`, and of a clock on which nothing else takes time."""

    def prepare_solver(self):
        super().prepare_solver()
        self._reading_s = 0.0
        self._timer._synchronize, self._timer._now = self._drain, self._now

    def _drain(self, device):
        while QUEUE:
            self._reading_s += QUEUE.pop()

    def _now(self):
        self._reading_s += TICK_S
        return self._reading_s


class DyingRole(MatricesRole):
    """Dies when it is asked a question."""

    def __init__(self):
        self._die("role")

    def answer(self, kind, fields, tensors):
        self._die(kind)
        return super().answer(kind, fields, tensors)

    def _die(self, kind):
        if os.environ.get(PHASE) == kind:
            DEATHS[os.environ[DEATH]]()


__all__ = ["DEATHS", "QUEUE", "DyingRole", "Planted", "QueueRole", "settings"]
