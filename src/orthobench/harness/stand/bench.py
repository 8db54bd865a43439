"""The bench's side: it has stands started, asks them, bounds what they take, and says how one died."""

import atexit
import contextlib
import fcntl
import json
import math
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field

from ...device import reset_resident_peak, resident_peak_bytes
from ..status import ERROR, OUT_OF_MEMORY, BudgetExceeded, InvalidResult, StandFailed, printable
from . import confine, roles, wire
from .clocks import Cost, own_processor_s, processor_s, waited_s
from .server import children

IN_PROCESS_VARIABLE = "ORTHOBENCH_IN_PROCESS"
MEMORY_VARIABLE = "ORTHOBENCH_MEMORY"
START_LIMIT_S = 300  # imports on a slow shared disk
LOAD_LIMIT_S = 120
SMALL = 2**20  # bytes of an answer without tensors
LIMITS = sorted({getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")})

_servers = {}  # of each process its own: a fork must not speak for its parent
_lock = threading.RLock()


@dataclass
class Answer:
    """What a stand answered, and what that took seen from outside."""

    fields: dict
    tensors: list
    cost: Cost = field(default_factory=Cost)

    def number(self, name):
        """Return a field that is a number, be it NaN; raise InvalidResult if it is missing or something else."""
        value = self.fields.get(name, "nothing")
        if not wire.is_number(value):
            raise InvalidResult(f"the stand answered {str(value)[:40]!r} for {name}: expected a number")
        return float(value)

    def numbers(self, name, count):
        """Return a field that is a list of so many finite numbers; raise InvalidResult if it is something else."""
        value = self.fields.get(name)
        good = isinstance(value, list) and all(wire.is_number(each) and math.isfinite(each) for each in value)
        if not good or len(value) != count:
            raise InvalidResult(f"the stand answered {str(value)[:40]!r} for {name}: expected {count} numbers")
        return value

    def text(self, name):
        """Return a field that is a string; raise InvalidResult if it is missing or something else."""
        value = self.fields.get(name)
        if not isinstance(value, str):
            raise InvalidResult(f"the stand answered no text for {name}")
        return printable(value)

    def peak_memory_bytes(self, stand):
        """Return the peak that `Role.peak_memory_bytes` told, of a GPU, or else that of the stand's resident memory."""
        told = self.fields.get("peak_memory_bytes")
        return stand.peak_memory_bytes() if told is None else self.number("peak_memory_bytes")


class Server:
    """A fork server of this process, and the way to it."""

    def __init__(self):
        ours, theirs = wire.pair()
        environment = os.environ | {
            # No thread may be there when it forks; and to ask the driver for a GPU would begin a use of it.
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        command = [sys.executable, "-P", "-m", f"{__package__}.server", str(theirs.fileno())]
        self.process = subprocess.Popen(
            command,
            env=environment,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the bench
        )
        theirs.close()
        self._control = ours
        self._lines = b""
        confine.close_memory()
        self._read(START_LIMIT_S)
        self._rights = _rights(self.process.pid)

    def is_fit(self):
        """Return whether it is there, and no stand has changed the processors and limits that the next one inherits."""
        here = self.process.poll() is None and self._control.fileno() >= 0
        return here and _rights(self.process.pid) == self._rights

    def start(self, channel, imports, memory):
        """Have a stand started at the other end of ``channel``; return its number."""
        request = {
            "do": "start",
            "imports": list(imports),
            "memory": memory,
            "environment": dict(os.environ),
            "path": sys.path,
        }
        return self._ask(request, LOAD_LIMIT_S, [channel.fileno()])["pid"]

    def end(self, pid, gone=False):
        """End a stand, and what it started; return how it ended (see `orthobench.harness.stand.server`).

        If it is ``gone`` by itself, it is given the time to say how.
        """
        return self._ask({"do": "end", "pid": pid, "gone": gone}, LOAD_LIMIT_S)

    def close(self, patience_s=5.0):
        """Leave it, and wait for its end, and that of all below it."""
        self._control.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(patience_s)

    def _ask(self, request, limit_s, descriptors=()):
        with _lock:
            try:
                socket.send_fds(self._control, [json.dumps(request).encode() + b"\n"], descriptors)
            except OSError as error:
                raise StandFailed(ERROR, "the server of the stands is gone") from error
            return self._read(limit_s)

    def _read(self, limit_s):
        self._control.settimeout(limit_s)
        while b"\n" not in self._lines:
            try:
                content = self._control.recv(2**16)
            except OSError as error:
                self.close(0.0)
                raise StandFailed(ERROR, f"the server of the stands did not answer in {limit_s} s") from error
            if not content:
                self.close(0.0)
                raise StandFailed(ERROR, "the server of the stands is gone")
            self._lines += content
        line, self._lines = self._lines.split(b"\n", 1)
        return json.loads(line)


def server():
    """Return the server of this process, a new one where there is none that is fit for a stand."""
    with _lock:
        found = _servers.get(os.getpid())
        if found is None or not found.is_fit():
            if found is not None:
                found.close()
            found = _servers[os.getpid()] = Server()
        return found


def _rights(pid):
    """Return which processors, how much of them and of all else a process and those that it starts may have."""
    with contextlib.suppress(AttributeError, OSError):  # other systems have no such calls
        limits = [resource.prlimit(pid, kind) for kind in LIMITS]
        return os.sched_getaffinity(pid), os.getpriority(os.PRIO_PROCESS, pid), os.sched_getscheduler(pid), limits
    return None


@atexit.register
def close_server():
    """End this process's server and its stands; another one starts when it is needed."""
    with _lock:
        found = _servers.pop(os.getpid(), None)
    if found is not None:
        found.close()


def _forget_in_child():
    global _lock
    _lock = threading.RLock()  # another thread may hold our parent's
    # A copy of the way to our parent's server would keep that alive when the parent is gone.
    for found in _servers.values():
        found._control.close()
    _servers.clear()


os.register_at_fork(after_in_child=_forget_in_child)


class Stand:
    """A fresh process with a role.

    Parameters
    ----------
    role : str
        Where its class is: ``package.module:Class``.
    imports : sequence of str
        Libraries that the server may import for all stands.

    Attributes
    ----------
    idle_s : float
        Processor time that it has taken between questions, from the first answer on.
    folder : path or None
        Where its files for a while are; deleted when it ends, for no other stand may read them.
    """

    kind = "process" if sys.platform.startswith("linux") else "process, wall clock alone"
    idle_s = _last_s = 0.0
    questions = 0
    folder = None

    def __init__(self, role, imports=(), memory=None):
        self._channel, theirs = wire.pair()
        self.pid = None
        self._memory = memory
        self._streams = [(stream, fcntl.fcntl(stream, fcntl.F_GETFL)) for stream in _streams()]
        with _lock:
            self._server = server()
            try:
                self.pid = self._server.start(theirs, [role.partition(":")[0], *imports], memory)
            finally:
                theirs.close()
        self.ask("role", path=role, budget_s=LOAD_LIMIT_S)

    def ask(self, kind, *tensors, budget_s=None, largest=SMALL, patience=None, measured=False, **fields):
        """Ask one question.

        Parameters
        ----------
        kind : str
            A method of the role.
        *tensors : torch.Tensor
        budget_s : float, optional
            Seconds until the stand is ended.
        largest : int
            Bytes of tensors that the answer may have.
        patience : callable, optional
            Called about once a second while the answer is waited for; what it raises ends the stand.
        measured : bool
            Whether the stand's processor time is read before and after.
        **fields
            What JSON can hold.

        Returns
        -------
        Answer

        Raises
        ------
        BudgetExceeded
            If the answer did not come in time; the stand is gone then.
        StandFailed
            If the role raised, or the stand died or said what can't be understood; in these cases it is gone.
        """
        if self._last_s:  # else it is only starting
            self.idle_s += own_processor_s(self.pid) - self._last_s
        self.questions += 1
        before, in_line = (self.processor_s(), self._waited_s()) if measured else (None, 0.0)
        started = time.monotonic()
        deadline = None if budget_s is None else started + max(budget_s, 0.0)

        def look():
            # What it has started may hold the channel when it is gone itself.
            if has_ended(self.pid):
                raise wire.Closed("the stand is gone")
            if patience is not None:
                patience()

        try:
            wire.check_silent(self._channel)
            wire.send(self._channel, kind, fields, tensors, deadline, look)
            said, answered, outputs = wire.receive(self._channel, largest, deadline, look)
        except wire.Late as error:
            self.end()
            raise BudgetExceeded(f"stopped: no answer to {kind} in {budget_s:g} s") from error
        except wire.Closed as error:
            raise StandFailed(*self._last_words(kind)) from error
        except wire.Malformed as error:
            self.end()
            raise StandFailed(ERROR, f"the solver's process answered what the bench can't read: {error}") from error
        except BaseException:
            self.end()
            raise
        wall_s = time.monotonic() - started
        self._last_s = own_processor_s(self.pid)
        after, in_line = (self.processor_s(), self._waited_s() - in_line) if measured else (None, 0.0)
        cost = Cost(wall_s, None if before is None or after is None else after - before, in_line)
        if said == "failed":
            status, message = answered.get("status"), answered.get("message")
            raise StandFailed(status, str(message)[:1000])
        return Answer(answered, outputs, cost)

    def has_children(self):
        """Return whether it has started processes that it hasn't waited for."""
        return self.pid is not None and bool(children(self.pid))

    def processor_s(self):
        """Return the processor time that the stand has taken so far; None where nobody tells."""
        return None if self.pid is None else processor_s(self.pid)

    def _waited_s(self):
        """Return how long stand and bench have stood in line for a processor so far."""
        return waited_s(self.pid) + waited_s("thread-self")

    def reset_peak_memory(self):
        """Start a new measurement of its peak memory."""
        reset_resident_peak(self.pid)

    def peak_memory_bytes(self):
        """Return the peak of its resident memory, NaN where the system doesn't tell."""
        return resident_peak_bytes(self.pid)

    def end(self):
        """End it; return how many processes it had started that were still there, 0 if it was ended before."""
        ended = self._end()
        return ended.get("below", 0)

    def _end(self, gone=False):
        if self.pid is None:
            return {}
        pid, self.pid = self.pid, None
        self._channel.close()
        for stream, flags in self._streams:  # shared: what it set there, such as O_NONBLOCK, is set here
            fcntl.fcntl(stream, fcntl.F_SETFL, flags)
        try:
            return self._server.end(pid, gone)
        except StandFailed:  # the server is gone, and its stands with it
            return {}
        finally:
            if self.folder is not None:
                shutil.rmtree(self.folder, ignore_errors=True)

    def _last_words(self, kind):
        """Return the status and the message for a stand that is gone."""
        ended = self._end(gone=True).get("status")
        if ended is None:
            return ERROR, "the solver's process and the server that starts it are gone: it may have killed it"
        if os.WIFSIGNALED(ended):
            number = os.WTERMSIG(ended)
            name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
            if number == signal.SIGKILL:
                name += ", as the system does when memory is short, or closed its channel"
            status = OUT_OF_MEMORY if self._memory is not None and number == signal.SIGKILL else ERROR
            return status, f"the solver's process was ended by {name} when it was asked to {kind}"
        code = os.WEXITSTATUS(ended)
        return ERROR, f"the solver's process left with exit code {code} when it was asked to {kind}"

    def __del__(self):
        with contextlib.suppress(BaseException):  # at the interpreter's end nothing is left to end it with
            self.end()


def _streams():
    """Yield the output streams of this process that are open."""
    for stream in (1, 2):
        with contextlib.suppress(OSError):
            os.fstat(stream)
            yield stream


def has_ended(pid):
    """Return whether a process is a zombie or gone; False where the system doesn't tell."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except OSError:
        return os.path.exists("/proc/self/stat")


class LocalStand:
    """A stand in this process, for a debugger: nothing is protected, and no limit is kept."""

    kind = "in process"
    pid = None
    idle_s = 0.0
    questions = 0

    def __init__(self, role, imports=(), memory=None):
        self._role = roles.resolve(role)()

    def ask(self, kind, *tensors, budget_s=None, largest=SMALL, patience=None, measured=False, **fields):
        """Ask one question: see `Stand.ask`."""
        if kind == "confine":
            return Answer({}, [])
        started = time.monotonic()
        answered, outputs = self._role.answer(kind, fields, list(tensors))
        return Answer(wire.carried(answered), list(outputs), Cost(time.monotonic() - started, None))

    def has_children(self):
        """Return False: this process may have others."""
        return False

    def reset_peak_memory(self):
        """Do nothing: the memory of this process is everybody's."""

    def peak_memory_bytes(self):
        """Return NaN."""
        return float("nan")

    def end(self):
        """Forget the role."""
        self._role = None
        return 0


def new_stand(role, imports=(), memory=None):
    """Return a stand: in this process where ``ORTHOBENCH_IN_PROCESS=1`` asks for it."""
    return (LocalStand if in_process() else Stand)(role, imports, memory)


def in_process():
    """Return whether stands are to be in this process.

    Raises
    ------
    ValueError
        If the variable is neither 0 nor 1.
    """
    value = os.environ.get(IN_PROCESS_VARIABLE, "0")
    if value not in ("0", "1"):
        raise ValueError(f"{IN_PROCESS_VARIABLE}={value!r}: expected 0 or 1")
    return value == "1"


def memory_budget(device):
    """Return the bytes that a stand may use beyond what it has at its start; None without a limit.

    ``ORTHOBENCH_MEMORY`` says it, such as ``8G``. It is a limit of address space, of which CUDA reserves far more than
    it uses: there it is not kept.

    Raises
    ------
    ValueError
        If the variable is no size.
    """
    text = os.environ.get(MEMORY_VARIABLE, "").strip()
    if not text or device.type == "cuda":
        return None
    units = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
    digits, unit = (text[:-1], units[text[-1].upper()]) if text[-1].upper() in units else (text, 1)
    if not digits.isdecimal() or int(digits) < 1:
        raise ValueError(f"{MEMORY_VARIABLE}={text!r}: expected a size such as 8G or 500M")
    return int(digits) * unit
