"""The kernels are right in Triton's interpreter and on a GPU, compile for GPUs not here, and are used where meant."""

import importlib.util
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch._subclasses import FakeTensorMode

from orthobench.linalg import kernels, without_kernels
from orthobench.linalg.kernels import availability
from orthobench.linalg.newton_schulz import _orthogonalise
from orthobench.linalg.recipes import get_recipe
from orthobench.linalg.symmetric import whole_products

HERE = Path(__file__).parent

# `make` installs Triton wherever it has wheels: on Linux its absence is a failure.
needs_triton = pytest.mark.skipif(
    sys.platform != "linux" and importlib.util.find_spec("triton") is None, reason="Triton has wheels for Linux only"
)


def run_apart(command, tmp_path, **settings):
    """Run Python in a process of its own: Triton reads its settings when it is imported."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("TRITON_")}
    env |= {"TRITON_CACHE_DIR": str(tmp_path), "OMP_NUM_THREADS": "1", **settings}
    done = subprocess.run([sys.executable, *command], env=env, cwd=HERE, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-10000:] + done.stderr[-3000:]
    return done.stdout


@needs_triton
def test_kernels_do_what_they_must(tmp_path):
    # On a GPU where there is one: the interpreter of Triton 3.6, say, doesn't take NumPy 2.4.
    settings = {} if torch.cuda.is_available() else {"TRITON_INTERPRET": "1"}
    options = ["--noconftest", "-p", "no:cacheprovider", "-p", "no:xdist"]
    output = run_apart(["-m", "pytest", *options, "kernel_checks.py"], tmp_path, **settings)
    assert int(re.search(r"(\d+) passed", output)[1]) > 100
    assert "skipped" not in output


@needs_triton
def test_kernels_compile_for_the_gpus_they_are_for(tmp_path):
    lines = run_apart(["kernel_compilation.py"], tmp_path).splitlines()
    assert len(lines) == 6
    for line in lines:
        name, capability, shared, available, mma = line.split()
        assert int(shared) <= int(available), line
        assert mma == {"80": "mma.sync", "90": "wgmma"}[capability] or name == "scale_rows", line


def fake(*shape, dtype=torch.bfloat16, device="cuda:0", gaps=1):
    """Make a tensor without data, of a device that need not be here; in memory, entries are `gaps` apart."""
    strides = [gaps * math.prod(shape[index + 1 :]) for index in range(len(shape))]
    with FakeTensorMode():
        return torch.empty_strided(shape, strides, dtype=dtype, device=device)


@pytest.fixture
def gpu(monkeypatch):
    """Pretend that cuda:0, and torch's device without data, take kernels."""
    devices = (("cuda", 0), ("meta", None))
    monkeypatch.setattr(availability, "_device_takes", lambda *device: device in devices)


def test_large_half_precision_matrices_on_a_gpu_are_taken(gpu):
    assert kernels.takes_kernels(fake(2048, 2048))
    assert kernels.takes_kernels(fake(2048, 2048, dtype=torch.float16))
    assert kernels.takes_kernels(fake(48, 768, 768))
    assert kernels.takes_kernels(fake(11008, 4096).mT)
    assert not kernels.takes_kernels(fake(2048, 2048, dtype=torch.float32))
    assert not kernels.takes_kernels(fake(2048, 2048, dtype=torch.float64))
    assert not kernels.takes_kernels(fake(2048, 2048, device="cpu"))
    assert not kernels.takes_kernels(fake(2048, 2048, device="cuda:1"))
    assert not kernels.takes_kernels(fake(1024, 1024))
    assert not kernels.takes_kernels(fake(128, 2**22))
    assert not kernels.takes_kernels(fake(2**10, 2**21))
    assert not kernels.takes_kernels(fake(2**15, 2**15, gaps=2))


def test_kernels_can_be_switched_off(gpu):
    X = fake(2048, 2048)
    for off in (without_kernels, whole_products):
        with off():
            with off():
                assert not kernels.takes_kernels(X)
            assert not kernels.takes_kernels(X)
        assert kernels.takes_kernels(X)


@pytest.mark.parametrize(
    ("capability", "hip", "triton", "taken"),
    [
        ((8, 0), None, True, True),
        ((9, 0), None, True, True),
        ((12, 0), None, True, True),
        ((7, 5), None, True, False),
        ((9, 4), "6.4", True, False),
        ((9, 0), None, False, False),
    ],
)
def test_old_and_other_gpus_are_not_taken_nor_any_without_triton(monkeypatch, capability, hip, triton, taken):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capability)
    monkeypatch.setattr(torch.version, "hip", hip)
    monkeypatch.setattr(availability, "has_triton", lambda: triton)
    monkeypatch.setattr(availability, "_is_ampere_or_later", availability._is_ampere_or_later.__wrapped__)
    assert kernels.takes_kernels(fake(2048, 2048)) is taken


def test_without_triton_the_products_are_torchs(tmp_path):
    code = """
import sys
sys.modules["triton"] = None
import torch
from orthobench.linalg import kernels, newton_schulz
from orthobench.linalg.kernels import availability
assert not availability.has_triton()
torch.cuda.get_device_capability = lambda index: (9, 0)
from torch._subclasses import FakeTensorMode
with FakeTensorMode():
    print(kernels.takes_kernels(torch.empty(2048, 2048, dtype=torch.bfloat16, device="cuda:0")))
print(newton_schulz(torch.randn(4, 6).bfloat16(), "turbo_muon").isfinite().all().item())
"""
    assert run_apart(["-c", code], tmp_path).split("\n")[:2] == ["False", "True"]


OPERATORS = ("symmetric_product", "product", "scale_rows")


class OperatorCounter(torch.utils._python_dispatch.TorchDispatchMode):
    """Counts the launches, and torch's own products."""

    def __init__(self):
        super().__init__()
        self.counts = dict.fromkeys((*OPERATORS, "torch"), 0)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function._schema.name.split("::")[1]
        if name in OPERATORS:
            self.counts[name] += 1
        elif name in ("mm", "bmm", "addmm", "baddbmm"):
            self.counts["torch"] += 1
        return function(*args, **(kwargs or {}))


def launches(shape, recipe, dtype=torch.bfloat16):
    """Count what an iteration does, on a tensor without data."""
    recipe = get_recipe(recipe)
    X = torch.empty(shape, dtype=dtype, device="meta")
    X = X.mT if shape[-2] > shape[-1] else X
    with OperatorCounter() as counter:
        result = _orthogonalise(X, recipe, recipe.polynomials(), "plain")
    assert (result.shape, result.dtype) == (X.shape, X.dtype)
    return tuple(counter.counts.values())


@pytest.mark.parametrize("shape", [(2048, 4096), (4096, 2048), (12, 768, 3072)])
def test_an_iteration_launches_kernels_for_all_its_products(gpu, shape):
    assert launches(shape, "muon") == (10, 5, 0, 0)
    # The first Gram matrix is scaled with its rows.
    assert launches(shape, "turbo_muon") == (8, 4, 1, 0)
    # A cubic has no square.
    assert launches(shape, "cubic5") == (5, 5, 0, 0)


def test_the_last_product_can_be_left_to_torch(gpu, monkeypatch):
    monkeypatch.setattr(sys.modules["orthobench.linalg.newton_schulz"], "FUSES_ADDITION", False)
    assert launches((2048, 2048), "muon") == (10, 0, 0, 5)


def test_other_types_and_sizes_launch_none(gpu):
    assert launches((2048, 2048), "muon", torch.float64)[:3] == (0, 0, 0)
    assert launches((256, 256), "turbo_muon") == (0, 0, 0, 12)
    with without_kernels():
        assert launches((2048, 2048), "turbo_muon") == (0, 0, 0, 12)
