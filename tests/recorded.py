"""A stand-in for a CUDA graph on a CPU: it records operations without Python around them, and replays them.

As a graph does, it runs nothing while it records, keeps numbers as they were then, reads tensors when it is replayed,
and refuses to look at a value.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from orthobench.linalg import scaling
from orthobench.optim import capture

LOOKS = {torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero, torch.ops.aten.equal, torch.ops.aten.is_nonzero}


class Recording(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.calls, self._made, self._before = [], set(), {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function._overloadpacket in LOOKS:
            raise RuntimeError(f"{function}: operation not permitted when stream is capturing")
        kwargs = kwargs or {}
        for tensor in _tensors((args, kwargs)):
            key = tensor.untyped_storage().data_ptr()
            if key not in self._made and key not in self._before:
                self._before[key] = tensor.untyped_storage(), tensor.untyped_storage().clone()
        result = function(*args, **kwargs)
        self._made |= {each.untyped_storage().data_ptr() for each in _tensors(result)} - self._before.keys()
        self.calls.append((function, args, kwargs, result))
        return result

    def undo(self):
        """Put back what was there before: recording runs nothing."""
        for storage, before in self._before.values():
            storage.copy_(before)

    @torch.no_grad()
    def replay(self):
        for function, args, kwargs, result in self.calls:
            for old, new in zip(_tensors(result), _tensors(function(*args, **kwargs)), strict=True):
                if old is not new:
                    old.copy_(new)


def record_on_a_cpu(monkeypatch):
    """Let `capture` record by this stand-in, what a GPU would compute."""
    monkeypatch.setattr(capture, "DEVICE", "cpu")
    monkeypatch.setattr(capture, "_run_aside", lambda function, device: function())
    monkeypatch.setattr(capture, "_record", record)
    monkeypatch.setattr(scaling, "can_look", lambda X: False)


def record(function, device):
    with Recording() as recording:
        function()
    recording.undo()
    return recording.replay


def _tensors(values):
    return [each for each in tree_leaves(values) if isinstance(each, torch.Tensor)]
