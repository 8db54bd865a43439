"""`orthobench doctor`: what is wrong is marked, with its remedy, and what can't be told costs no other line."""

import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from conftest import ROOT

from orthobench import cli
from orthobench.data.images import FASHION_MNIST
from orthobench.harness.stand import bench
from orthobench.harness.status import ERROR, StandFailed
from orthobench.report import benchmarks as declared
from orthobench.runs import doctor
from orthobench.runs.doctor import benchmarks, folders, machine, software
from orthobench.runs.doctor.available import available
from orthobench.runs.doctor.lines import Line
from orthobench.runs.doctor.packages import Wanted

NEEDY = '''"""A toy."""

import no_such_package

from orthobench.harness.training import TrainingSolver


class Solver(TrainingSolver):
    """A toy."""

    name = "Needy"
    requirements = ["pip::no-such-package"]

    def optimizers(self, model):
        return no_such_package.optimizers(model)
'''


def texts(lines, failing=None):
    return [line.text for line in lines if failing is None or line.fails is failing]


def wanted(folder, lock="torch==2.13.0\n", asks=()):
    (folder / "requirements.lock").write_text(lock)
    extras = "[project.optional-dependencies]\nsite = []\ndata = ['nilearn>=0.14.1']\n"
    (folder / "pyproject.toml").write_text(f"[project]\ndependencies = {list(asks)}\n{extras}")
    return Wanted(folder)


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A clone with one benchmark of two data sets and a solver, whose quick configuration is ready."""
    root = tmp_path / "clone"
    own = root / "benchmark_small"
    for name in ("requirements.lock", "pyproject.toml"):
        root.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, root)
    for name in ("objective.py", "datasets/digits.py", "datasets/fashion_mnist.py", "solvers/sgd.py"):
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "benchmark_muon" / name, own / name)
    (own / "configs").mkdir()
    plan(root, "digits")
    monkeypatch.setattr(doctor, "find_root", lambda: root)
    monkeypatch.setattr(declared, "BENCHMARKS", {"benchmark_small": None})
    monkeypatch.setenv("ORTHOBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("ORTHOBENCH_IN_PROCESS", "1")  # no server is started
    return root


def plan(root, dataset, solver="SGD"):
    (root / "benchmark_small" / "configs" / "quick.yml").write_text(f"dataset: [{dataset}]\nsolver: [{solver}]\n")


def screen(capsys):
    code = cli.main(["doctor"])
    return code, capsys.readouterr().out.splitlines()


def of_the_benchmark(root):
    found = {"benchmark_small": available(root / "benchmark_small")}
    return benchmarks.lines(found, Wanted(root))[1:]


# --- packages ---------------------------------------------------------------------------------------------------------


def test_another_version_than_the_locks_is_named_and_mends_nothing_else(tmp_path):
    lock = f"# torch==X.Y.Z\ntorch==1.2.3\nnumpy=={software_version('numpy')}\n"
    (text,) = texts(software.packages(wanted(tmp_path, lock)), failing=False)
    assert text.startswith("1 of 2 are as in requirements.lock; others: torch ")
    assert text.endswith(" (there 1.2.3)")


def software_version(name):
    from importlib import metadata

    return metadata.version(name)


def test_a_build_of_the_pinned_version_is_the_pinned_version(tmp_path):
    pinned = torch.__version__.partition("+")[0]
    assert wanted(tmp_path, f"torch=={pinned}\n").differing() == ([], [])


def test_a_missing_package_comes_with_the_command_that_installs_the_pinned_version(tmp_path):
    lines = software.packages(wanted(tmp_path, "No_such.package==1.5 ; python_version > '3'\n"))
    assert texts(lines)[-1] == "not installed: No_such.package: pip install No_such.package==1.5"
    assert not texts(lines, failing=True)


def test_what_is_asked_for_and_not_there_or_out_of_its_bounds_fails(tmp_path):
    asks = ["numpy>=99", "no-such-package>=2", "nor-this; sys_platform == 'none'", "torch>=2"]
    found = wanted(tmp_path, "numpy==99.1\n", asks)
    version = software_version("numpy")
    assert texts(software.packages(found), failing=True) == [
        f"numpy is {version}, and must be >=99: pip install numpy==99.1",
        "no-such-package is not installed: pip install 'no-such-package>=2'",
    ]
    assert found.command(["nilearn", "other"]) == "pip install 'nilearn>=0.14.1' other"


def test_a_clone_without_its_lock_says_so(tmp_path):
    found = wanted(tmp_path)
    (tmp_path / "requirements.lock").unlink()
    (tmp_path / "pyproject.toml").write_text("[project")
    found = Wanted(tmp_path)
    assert len(found.problems) == 2
    assert all("can't be read" in text for text in texts(software.packages(found), failing=True))


# --- the machine ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 amx_bf16 amx_tile\n", ["avx512_bf16", "amx_bf16"]),
        ("processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\n", ["bf16"]),
        ("flags : fpu avx2\nbugs : avx512_bf16\n", []),
        ("model name : none\n", None),
    ],
)
def test_instructions_for_bfloat16_are_the_processors(tmp_path, text, expected):
    (tmp_path / "cpuinfo").write_text(text)
    assert machine.bfloat16_instructions(tmp_path / "cpuinfo") == expected


def test_without_cpuinfo_they_are_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "nothing")
    (line,) = machine.threads()
    assert line.text.endswith("bfloat16: unknown")
    assert not line.fails


def gpus(monkeypatch, count):
    def memory(index):
        if index:
            raise RuntimeError("the device is busy")
        return 3 * 10**9, 80 * 10**9

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"GPU {index}")
    monkeypatch.setattr(torch.cuda, "mem_get_info", memory)


def test_gpus_are_named_with_their_memory_and_the_device_of_a_run(monkeypatch):
    monkeypatch.delenv("ORTHOBENCH_DEVICE", raising=False)
    gpus(monkeypatch, 6)
    taken, found = machine.devices()
    assert taken.text == "ORTHOBENCH_DEVICE=auto takes cuda:0"
    assert "; cuda:0 GPU 0, 3.0 GB of 80.0 GB free; cuda:1 GPU 1, memory unknown (the device is busy); " in found.text
    assert found.text.endswith("; 2 more")
    monkeypatch.setenv("ORTHOBENCH_DEVICE", "cuda:5")
    assert machine.devices()[0].text.endswith("takes cuda:5")


def test_torch_for_cuda_without_a_gpu_says_why(monkeypatch):
    def unavailable():
        import warnings

        warnings.warn("the driver is too old", stacklevel=1)
        return False

    monkeypatch.setattr(torch.version, "cuda", "12.9")
    monkeypatch.setattr(torch.cuda, "is_available", unavailable)
    (line,) = software.torch_build(None)
    assert line.text == f"{torch.__version__}, CUDA 12.9, no GPU (the driver is too old)"


# --- settings and stands ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ORTHOBENCH_DEVICE", "tpu"),
        ("ORTHOBENCH_THREADS", "0"),
        ("ORTHOBENCH_MEMORY", "much"),
        ("ORTHOBENCH_IN_PROCESS", "yes"),
    ],
)
def test_a_setting_that_fails_every_cell_is_marked(clone, monkeypatch, capsys, name, value):
    monkeypatch.setenv(name, value)
    code, lines = screen(capsys)
    assert code == 1
    marked = [line for line in lines if line.startswith("!")]
    assert len(marked) == 1
    assert value in marked[0]
    assert any(f"{name}={value}" in line for line in lines)


def test_stands_that_cant_be_started_are_marked(monkeypatch):
    def fail():
        raise StandFailed(ERROR, "the server of the stands is gone")

    monkeypatch.delenv("ORTHOBENCH_IN_PROCESS", raising=False)
    monkeypatch.setattr(bench, "server", fail)
    (line,) = software.stands()
    assert line.fails
    assert "the server of the stands is gone" in line.text
    assert "ORTHOBENCH_IN_PROCESS=1" in line.text


@pytest.mark.parametrize("answer", [True, False])
def test_whether_reading_can_be_denied_is_what_a_fork_of_this_process_finds(monkeypatch, answer):
    from orthobench.harness.stand import confine

    monkeypatch.setattr(confine, "deny_reading", lambda folders: answer and all(map(os.path.isdir, folders)))
    assert software.denies_reading() is answer


# --- folders ----------------------------------------------------------------------------------------------------------


def test_a_folders_size_is_that_of_its_files_and_nothing_is_left_there(tmp_path):
    for name, size in (("a", 100), ("in/b", 20), ("data/c", 3000)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(bytes(size))
    before = sorted(tmp_path.rglob("*"))
    found = folders.look_at(tmp_path, without=tmp_path / "data")
    assert (found.size, found.problem, found.unread) == (120, "", False)
    assert folders.look_at(tmp_path / "not" / "yet").size == 0
    assert sorted(tmp_path.rglob("*")) == before


def test_a_file_in_a_folders_place_cant_be_written(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    for place in ("file", "file/in/it", "link"):
        assert folders.look_at(tmp_path / place).problem, place
    assert not folders.look_at(tmp_path / "none" / "in").problem


def test_a_folder_that_cant_be_listed_makes_a_size_a_lower_bound(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    (tmp_path / "file").write_bytes(bytes(7))
    scandir = os.scandir

    def refuse(path="."):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    (line,) = folders._group("outputs", folders.Group([folders.look_at(tmp_path)], ""))
    assert line.text.startswith("at least 7 B in ")


def test_a_cache_or_output_that_cant_be_written_is_marked_and_downloads_are_not(clone, monkeypatch, tmp_path, capsys):
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("ORTHOBENCH_DATA", str(file))
    code, lines = screen(capsys)
    assert code == 0
    # A path that is longer than a line is broken somewhere.
    assert f"{file}can'tbewritten(Notadirectory)" in joined(lines).replace(" ", "")
    monkeypatch.setenv("ORTHOBENCH_CACHE", str(file))
    (clone / "outputs").touch()
    code, lines = screen(capsys)
    assert code == 1
    assert [line.split()[1] for line in lines if line.startswith("!")] == ["cache", "outputs"]
    assert "set ORTHOBENCH_CACHE to a folder that can" in joined(lines)


def joined(lines):
    return " ".join(" ".join(lines).split())


def test_a_full_disk_is_marked(clone, monkeypatch, capsys):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=3_000_000))
    code, lines = screen(capsys)
    assert code == 1
    assert any(line.startswith("! disk       3.0 MB free at ") for line in lines)


# --- benchmarks -------------------------------------------------------------------------------------------------------


def test_a_benchmark_that_is_ready_says_what_it_would_download(clone):
    row, downloads = of_the_benchmark(clone)
    assert row.text.split() == ["1", "of", "1", "1", "of", "2", "ready"]
    assert downloads.text == "to download (benchopt prepare benchmark_small -d NAME): fashion_mnist"
    assert not row.fails


def test_files_are_looked_for_where_the_loader_would(clone, tmp_path, monkeypatch):
    folder = tmp_path / "data" / FASHION_MNIST.name
    folder.mkdir(parents=True)
    *most, last = FASHION_MNIST.files
    for name in most:
        (folder / name).touch()
    assert of_the_benchmark(clone)[1].text.endswith(": fashion_mnist (has 3 of 4 files)")
    (folder / last).touch()
    assert [line.text.split()[:6] for line in of_the_benchmark(clone)] == [["1", "of", "1", "2", "of", "2"]]
    folder.rename(tmp_path / "elsewhere")
    assert len(of_the_benchmark(clone)) == 2
    paths = f"data_paths: {{fashion_mnist: {tmp_path / 'elsewhere'}}}\n"
    (clone / "benchmark_small" / "config.yml").write_text(paths)
    assert len(of_the_benchmark(clone)) == 1


def test_offline_a_quick_configuration_lacks_the_data_that_it_would_download(clone, monkeypatch, capsys):
    plan(clone, "fashion_mnist")
    (row, _) = of_the_benchmark(clone)
    assert row.text.endswith("ready, downloads fashion_mnist first")
    assert screen(capsys)[0] == 0
    monkeypatch.setenv("ORTHOBENCH_OFFLINE", "1")
    row, failing, data = of_the_benchmark(clone)
    assert row.text.endswith("can't run")
    assert failing.fails
    assert failing.label == "quick.yml"
    assert failing.text.startswith("has no files of fashion_mnist: unset ORTHOBENCH_OFFLINE")
    assert data.text == "to download (ORTHOBENCH_OFFLINE forbids it): fashion_mnist"
    assert screen(capsys)[0] == 1


def test_a_solver_without_its_package_is_counted_and_comes_with_the_command(clone, capsys):
    (clone / "benchmark_small" / "solvers" / "needy.py").write_text(NEEDY)
    row, lacks, _ = of_the_benchmark(clone)
    assert row.text.split()[:3] == ["1", "of", "2"]
    assert lacks == Line("", "for Needy: pip install no-such-package")
    assert screen(capsys)[0] == 0  # the quick configuration does without
    plan(clone, "digits", "all")
    failing = texts(of_the_benchmark(clone), failing=True)
    assert failing == ["needs no-such-package: pip install no-such-package"]
    code, lines = screen(capsys)
    assert code == 1
    assert "Traceback" not in joined(lines)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda root: plan(root, "digits", "Nobody"), "Nobody"),
        (
            lambda root: (root / "benchmark_small/solvers/sgd.py").write_text("import os\nos.getcwd()\n"),
            "sgd.py, line 2",
        ),
        (lambda root: (root / "benchmark_small/datasets/digits.py").write_text("1 / 0\n"), "Dataset"),
        (lambda root: (root / "benchmark_small/objective.py").unlink(), "objective.py"),
    ],
)
def test_what_benchopt_cant_load_is_marked(clone, capsys, change, told):
    plan(clone, "digits", "all")
    change(clone)
    code, lines = screen(capsys)
    assert code == 1
    assert any(line.startswith(("! quick.yml", "! benchmark_small")) for line in lines)
    assert told in joined(lines)


# --- the whole --------------------------------------------------------------------------------------------------------


def test_the_screen_of_this_clone_has_every_benchmark_and_fits(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("ORTHOBENCH_DATA", str(tmp_path))  # the most lines: no data set is here
    monkeypatch.chdir(tmp_path)
    code, lines = screen(capsys)
    assert code == any(line.startswith("!") for line in lines)
    assert len(lines) <= 48  # long paths of tests take lines, too
    assert all(len(line) <= 80 for line in lines)
    rows = [line.split() for line in lines if " of " in line and line.split()[0] in declared.BENCHMARKS]
    assert [row[0] for row in rows] == list(declared.BENCHMARKS)
    solvers = {folder: len(list((ROOT / folder / "solvers").glob("*.py"))) for folder in declared.BENCHMARKS}
    assert {row[0]: int(row[3]) for row in rows} == solvers
    assert any(line.split()[0] == "stands" and "their server starts" in line for line in lines)
    assert lines[-1].startswith("`make run` would fail here" if code else "`make run` can run here")


def outside(tmp_path, monkeypatch, torch_text):
    """Run it in a process of its own, with this package elsewhere than in a clone and another torch."""
    packages = tmp_path / "site-packages"
    shutil.copytree(
        ROOT / "src" / "orthobench", packages / "orthobench", ignore=shutil.ignore_patterns("__pycache__", "static")
    )
    (packages / "torch").mkdir()
    (packages / "torch" / "__init__.py").write_text(torch_text)
    environment = {**os.environ, "PYTHONPATH": str(packages), "PATH": "", "COLUMNS": "80", "HOME": str(tmp_path)}
    command = [sys.executable, "-m", "orthobench.cli", "doctor"]
    return lambda where: subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True)


def test_a_broken_torch_and_no_clone_cost_no_other_line(tmp_path, monkeypatch):
    run = outside(tmp_path, monkeypatch, "raise OSError('libtorch.so: cannot open shared object file')")
    done = run(tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("!")] == ["clone", "torch"]
    assert "libtorch.so: cannot open" in joined(lines)
    labels = {line[2:13].strip() for line in lines[:-1]}
    assert {"OrthoBench", "system", "packages", "threads", "cache", "disk", "benchmarks"} <= labels
    clone = tmp_path / "clone"
    clone.mkdir()
    for name in ("benchmark.toml", "requirements.lock", "requirements-torch.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, clone)
    (clone / "below").mkdir()
    done = run(clone / "below")
    assert (done.returncode, done.stderr) == (1, "")
    assert "pip install --force-reinstall torch==" in joined(done.stdout.splitlines())
    assert "in ~/clone" in done.stdout
    assert [line.split()[1] for line in done.stdout.splitlines() if line.startswith("!")] == ["torch"]


def test_help_imports_neither_torch_nor_numpy():
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['torch', 'numpy', 'benchopt', 'psutil', 'packaging']))\n"
        "from orthobench import cli; import orthobench.runs.doctor; cli.main(['doctor', '--help'])"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "orthobench doctor" in done.stdout


def test_without_the_packages_that_it_asks_each_part_that_needs_one_says_so():
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['torch', 'numpy', 'benchopt', 'psutil', 'packaging']))\n"
        "from orthobench import cli; sys.exit(cli.main(['doctor']))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")
    assert any(line.startswith("! torch") for line in done.stdout.splitlines())
    assert any(line.startswith("! packages   can't be told") for line in done.stdout.splitlines())
    assert any(line.startswith("  outputs") for line in done.stdout.splitlines())


def test_what_it_does_not_take_is_2():
    with pytest.raises(SystemExit) as end:
        cli.main(["doctor", "everything"])
    assert end.value.code == 2


def test_texts_from_elsewhere_are_text():
    (line,) = Line("cache", "a\x1b[2J\nb").printed(80)
    assert "\x1b" not in line
