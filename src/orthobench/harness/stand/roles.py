"""The stand's side: a role has the solver, and answers each question of the bench once."""

import contextlib
import importlib
import importlib.util
import os
import pickle
import resource
import sys
import tempfile
import time
import traceback
from pathlib import Path

import torch
import torch.utils._device  # the default device is there: better imported once, before the fork

from ...device import resolve_device, synchronize
from .. import namespaces
from ..seeds import seed_everything, set_threads
from ..status import ERROR, InvalidResult, status_of
from . import confine, wire

# From before there is a solver, which could replace them.
_threads, _precision, _dtype = torch.get_num_threads, torch.get_float32_matmul_precision, torch.get_default_dtype
_device, _deterministic = torch.get_default_device, torch.are_deterministic_algorithms_enabled
_gradients, _inference, _folder = torch.is_grad_enabled, torch.is_inference_mode_enabled, os.getcwd


def serve(channel, memory=None):
    """Answer the questions that come through a channel until it closes; each answer is ``done`` or ``failed``.

    Parameters
    ----------
    channel : socket.socket
    memory : int, optional
        Bytes of address space that may be used beyond what is mapped already.
    """
    limit_memory(memory)
    set_threads()
    role = None
    while True:
        try:
            kind, fields, tensors = wire.receive(channel, sys.maxsize)
        except (wire.Closed, wire.Malformed):
            os._exit(0)
        except BaseException as error:  # a solver may have left it in a state in which it can't even listen
            _send_failure(channel, error)
            os._exit(1)
        try:
            if kind == "role":
                role = resolve(fields["path"])()
                answered, outputs = {}, ()
            else:
                answered, outputs = role.answer(kind, fields, tensors)
            wire.send(channel, "done", answered, outputs)
        except wire.Closed:
            os._exit(0)
        except BaseException as error:
            _send_failure(channel, error)


def _send_failure(channel, error):
    status, message = ERROR, type(error).__name__
    with contextlib.suppress(BaseException):  # what a solver raises may not even have a text
        traceback.print_exception(error)
    with contextlib.suppress(BaseException):
        status, message = status_of(error)
    try:
        wire.send(channel, "failed", {"status": status, "message": str(message)})
    except BaseException:
        os._exit(1)


def resolve(path):
    """Return what a path such as ``package.module:Class`` names."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def limit_memory(budget):
    """Limit the address space to what is mapped now and ``budget`` bytes more (None: no limit)."""
    if budget is None:
        return
    with contextlib.suppress(OSError), open("/proc/self/statm") as file:
        mapped = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + budget, mapped + budget))


class Role:
    """What all stands answer. A benchmark's role adds its own questions: methods that take tensors and fields.

    A method returns the fields of its answer, or those and tensors. Nothing here is a claim that the bench believes:
    it judges what comes by its own clock, its own references and another stand.

    Attributes
    ----------
    solver : object
        The solver, once it is loaded.
    device : torch.device
    """

    solver = None
    device = None

    def answer(self, kind, fields, tensors):
        """Answer one question; return fields and tensors."""
        answered = getattr(self, kind)(*tensors, **fields)
        return answered if isinstance(answered, tuple) else (answered or {}, ())

    def echo(self, *tensors):
        """Copy what came, as each role does, and answer nothing: what a question costs by itself."""
        self._copies = [tensor.to("cpu", copy=True) for tensor in tensors]

    def keep(self, *tensors):
        """Keep tensors."""
        self._kept = tensors

    def kept(self):
        """Return them: what an answer costs by itself."""
        return {}, self._kept

    def settings(self):
        """Return what a solver must leave as it was."""
        return settings()

    def problem(self, content, seed):
        """Take what the bench packed for the solver, before any of its code is here."""
        self.device = resolve_device()
        self.seed = seed
        self.receive(**unpack(content))

    def receive(self):
        """Take the problem."""

    def confine(self, folders, own, files):
        """Close the caches to what comes next; what compilers keep goes to the file's own folder.

        There it must be before: what comes later beside a closed folder can't be read. Other files go to a folder of
        this stand's, ``files``.
        """
        os.environ["TMPDIR"] = files
        for variable, name in (("TORCHINDUCTOR_CACHE_DIR", "inductor"), ("TRITON_CACHE_DIR", "triton")):
            os.environ[variable] = os.path.join(own, name)
            os.makedirs(os.environ[variable], exist_ok=True)
        tempfile.tempdir = None
        with contextlib.suppress(OSError):
            confine.deny_reading(folders)

    def load(self, content, file):
        """Run the solver's file, and make the solver with the parameters of this cell, which the bench packed."""
        parameters = unpack(content)
        self.before_loading()
        seed_everything(self.seed, self.device)
        path = Path(file)
        spec = importlib.util.spec_from_file_location(f"solvers_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        self.solver = module.Solver()
        for name, value in parameters.items():
            setattr(self.solver, name, value)
        self.solver.device = self.device
        self.prepare_solver()

    def reset_peak_memory(self):
        """Start a new measurement of the memory of the device, if it has one of its own."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)

    def peak_memory_bytes(self):
        """Return its peak; None on a CPU, where the bench measures it."""
        return torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else None

    def before_loading(self):
        """Do what needs a process that no solver has touched."""

    def prepare_solver(self):
        """Hand the solver what it may know."""

    def skip(self, **known):
        """Ask the solver whether it applies."""
        skip, reason = self.solver.skip(**known)
        return {"skip": bool(skip), "reason": None if reason is None else str(reason)}


def pack(**objects):
    """Return objects as a tensor of bytes, for `unpack` in a stand that no solver's code has reached yet."""
    import cloudpickle  # benchopt's; functions of a data set's file go by value

    return torch.frombuffer(bytearray(cloudpickle.dumps(objects)), dtype=torch.uint8)


def unpack(content):
    """Return what `pack` was given, as a dict: from bench to stand, and never back."""
    return pickle.loads(content.numpy().tobytes())  # noqa: S301 - the bench's own bytes


def settings():
    """Return the settings of this process that a solver's figures, or those of others, depend on, as plain values."""
    return {
        "torch's threads": _threads(),
        "float32 matmul precision": _precision(),
        "TF32 in cuDNN": bool(torch.backends.cudnn.allow_tf32),
        "reduced precision in bfloat16 products": str(
            torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction
        ),
        "default type": str(_dtype()),
        "default device": str(_device()),
        "subnormal numbers": sys.float_info.min / 2 > 0,
        "deterministic algorithms": _deterministic(),
        "gradients": _gradients(),
        "inference mode": _inference(),
        "working directory": _folder(),
        "replaced": ", ".join(namespaces.replaced()),
    }


def check_plain(outputs, device):
    """Raise `InvalidResult` unless ``outputs`` is a list or tuple of plain tensors on a device: no work is left in it.

    Called while the clock runs: whatever a tensor of an own kind, or a list of an own kind, does when it is looked at
    is billed, and refused.
    """
    if type(outputs) not in (list, tuple):
        raise InvalidResult(f"expected a list of tensors, got a {type(outputs).__name__}")
    for index, output in enumerate(outputs):
        if type(output) not in (torch.Tensor, torch.nn.Parameter) or output.layout != torch.strided:
            kind = "tensor that is not dense" if type(output) is torch.Tensor else type(output).__name__
            raise InvalidResult(f"result {index} is a {kind}, expected a tensor")
        if output.device != device:
            raise InvalidResult(f"result {index} has device {output.device}, expected {device}")


class Timer:
    """The time of calls on a device, which is idle when each begins and when it ends.

    It holds the functions that it needs from before the solver is loaded.
    """

    def __init__(self, device):
        self._device, self._now, self._processor = device, time.perf_counter, time.process_time
        self._synchronize = synchronize

    def run(self, method, *arguments):
        """Return what ``method(*arguments)`` returns, its seconds, and the processor's."""
        self._synchronize(self._device)
        processor, start = self._processor(), self._now()
        output = method(*arguments)
        self._synchronize(self._device)
        seconds = self._now() - start
        return output, seconds, self._processor() - processor
