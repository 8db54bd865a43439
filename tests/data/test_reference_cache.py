"""The cache of references: it finds a result by content, survives damage and company, and never changes a result."""

import os
import runpy
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import orthobench
from orthobench.data import cached

calls = []


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    calls.clear()
    monkeypatch.setenv("ORTHOBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def _no_unexpected_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@cached
def double(value, *, times=2):
    calls.append(value)
    return value * times


@cached
def ramp(length):
    calls.append(length)
    return {"ramp": torch.arange(float(length)), "length": length}


@cached
def divide(value):
    calls.append(value)
    return 1 / value


@cached
def describe(value):
    calls.append(value)
    return str(value)


def entries(folder):
    return [path for path in folder.rglob("*") if path.is_file() and path.name != ".gitignore"]


def test_a_second_call_reads_the_first_ones_result():
    assert [double(3), double(3)] == [6, 6]
    assert calls == [3]


def test_the_spelling_of_a_call_does_not_matter():
    assert double(3) == double(value=3) == double(3, times=2) == double(times=2, value=3) == 6
    assert calls == [3]


@pytest.mark.parametrize(
    "other",
    [
        {"value": torch.tensor([1.0, 2.0, 4.0])},
        {"value": torch.tensor([[1.0, 2.0, 3.0]])},
        {"value": torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)},
        {"value": [torch.tensor([1.0, 2.0, 3.0])]},
        {"value": np.array([1.0, 2.0, 3.0], dtype=np.float32)},
        {"value": torch.tensor([1.0, 2.0, 3.0]).view(torch.int32)},
    ],
    ids=["value", "shape", "dtype", "nesting", "type", "same bytes"],
)
def test_other_content_is_another_entry(other):
    describe(torch.tensor([1.0, 2.0, 3.0]))
    describe(**other)
    assert len(calls) == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
def test_equal_tensors_are_one_entry_wherever_they_lie(dtype):
    matrix = torch.eye(3, 4).to(dtype)
    describe({"matrix": matrix})
    describe({"matrix": matrix.clone()})
    describe({"matrix": matrix.T.contiguous().T})
    assert len(calls) == 1


def test_functions_do_not_share_entries():
    assert (double(1), describe(1)) == (2, "1")


@pytest.mark.parametrize("version", ["torch.__version__", "platform.python_version"])
def test_other_versions_are_other_entries_and_leave_the_old_ones(version, monkeypatch):
    double(3)
    with monkeypatch.context() as patch:
        patch.setattr(version, "0.0" if version.startswith("torch") else lambda: "0.0")
        newer = cached(double.__wrapped__)
    assert newer(3) == newer(3) == 6
    assert calls == [3, 3]
    double(3)
    assert calls == [3, 3]


def test_the_location_is_read_at_each_call(folder, monkeypatch):
    double(3)
    monkeypatch.setenv("ORTHOBENCH_CACHE", str(folder / "other"))
    double(3)
    double(3)
    assert calls == [3, 3]
    monkeypatch.setenv("ORTHOBENCH_CACHE", str(folder))
    double(3)
    assert calls == [3, 3]


@pytest.mark.parametrize("value", [None, ""])
def test_the_default_location_is_in_the_home_folder(value, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    if value is None:
        monkeypatch.delenv("ORTHOBENCH_CACHE")
    else:
        monkeypatch.setenv("ORTHOBENCH_CACHE", value)
    double(3)
    assert entries(tmp_path / ".cache" / "orthobench")


def test_changing_a_result_does_not_change_the_entry():
    ramp(4)["ramp"].zero_()
    ramp(4)["ramp"].zero_()
    assert ramp(4)["ramp"].tolist() == [0, 1, 2, 3]
    assert calls == [4]


def test_an_exception_is_raised_again_and_not_kept():
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            divide(0)
    assert calls == [0, 0]


def flip_a_bit(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]


DAMAGES = {
    "emptied": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "overwritten": lambda content: b"not a pickle at all",
    "one bit": flip_a_bit,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_entry_is_computed_again(damage, folder):
    ramp(1000)
    for path in entries(folder):
        path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(UserWarning, match=r"computing .*ramp again"):
        assert torch.equal(ramp(1000)["ramp"], torch.arange(1000.0))
    assert torch.equal(ramp(1000)["ramp"], torch.arange(1000.0))
    assert len(calls) == 2


def test_without_a_writable_folder_it_works_and_says_what_to_set(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("ORTHOBENCH_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(UserWarning, match=r"cannot write to .*file/cache.*set ORTHOBENCH_CACHE"):
        assert double(3) == 6


def test_a_failure_to_write_the_entry_is_a_warning_too(folder):
    double(3)
    (functions,) = folder.glob("joblib/*")
    shutil.rmtree(functions)
    functions.write_text("in the way of the entries")
    with pytest.warns(UserWarning, match=r"cannot write to .*cache.*set ORTHOBENCH_CACHE"):
        assert double(3) == 6


def run(code, **environment):
    """Start Python with `code`, where any warning is an error."""
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


PROBE = """
import numpy
from orthobench.data import cached

@cached
def probe(seed):
    print("computed")
    return numpy.random.default_rng(seed).random(20_000)
"""


def test_processes_may_share_a_cache(tmp_path, folder):
    (tmp_path / "probe.py").write_text(PROBE)
    code = """
import numpy
from probe import probe
for seed in list(range(40)) * 2:
    assert (probe(seed) == numpy.random.default_rng(seed).random(20_000)).all()
"""
    workers = [run(code, PYTHONPATH=str(tmp_path)) for _ in range(3)]
    for worker in workers:
        output, errors = worker.communicate(timeout=600)
        assert (worker.returncode, errors) == (0, b"")
        assert output.count(b"computed") <= 40
    assert len(entries(folder)) == 40


def test_an_edit_of_the_package_computes_again(tmp_path):
    package = Path(orthobench.__file__).parent
    for name in ("data", "models"):
        shutil.copytree(package / name, tmp_path / "orthobench" / name)
    shutil.copy(package / "__init__.py", tmp_path / "orthobench")
    (tmp_path / "probe.py").write_text(PROBE)

    def computed():
        worker = run("from probe import probe; probe(0)", PYTHONPATH=str(tmp_path))
        output, errors = worker.communicate(timeout=600)
        assert (worker.returncode, errors) == (0, b"")
        return b"computed" in output

    assert [computed(), computed()] == [True, False]
    for edited in ("models/networks.py", "data/momenta.py"):
        with open(tmp_path / "orthobench" / edited, "a") as file:
            file.write("# a remark\n")
        assert computed(), edited


def test_an_edit_of_the_functions_own_file_computes_again(tmp_path, capsys):
    def computed():
        runpy.run_path(str(tmp_path / "probe.py"))["probe"](0)
        return "computed" in capsys.readouterr().out

    (tmp_path / "probe.py").write_text(PROBE)
    assert [computed(), computed()] == [True, False]
    (tmp_path / "probe.py").write_text(PROBE + "# a remark\n")
    assert computed()
