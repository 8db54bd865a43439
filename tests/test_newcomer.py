"""A newcomer's `make run`, once the packages are installed: no network, no npm, and a small configuration."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

MAKE = shutil.which("make")
SMALL = """
n-repetitions: 2
no-timeout: true
dataset: ["gaussian[rows=16,columns=16]"]
objective: ["*[dtype=float32]"]
"""
# Each Python of the environment loads it: it lets nobody leave the machine, and writes down who tried.
REFUSES = """
import os
import socket

HERE = ("127.0.0.1", "::1", "localhost", "", None)


def refuse(allowed):
    def connect(place, *others):
        address = others[0] if isinstance(place, socket.socket) else place
        host = address[0] if isinstance(address, tuple) else address
        if isinstance(place, socket.socket) and place.family not in (socket.AF_INET, socket.AF_INET6) or host in HERE:
            return allowed(place, *others)
        with open(os.environ["TRIED"], "a") as file:
            print(host, file=file)
        raise OSError("there is no network")

    return connect


for name in ("connect", "connect_ex"):
    setattr(socket.socket, name, refuse(getattr(socket.socket, name)))
socket.getaddrinfo = refuse(socket.getaddrinfo)
"""


@pytest.fixture
def clone(tmp_path):
    """A clone with the root benchmark alone and two of its solvers, and the environment that `make` would install."""
    clone = tmp_path / "clone"
    (clone / "configs").mkdir(parents=True)
    (clone / "configs" / "quick.yml").write_text(SMALL)
    files = ["Makefile", "pyproject.toml", *(path.name for path in ROOT.glob("requirements*.lock")), "benchmark.toml"]
    files += ["claims.toml", "config.yml", "objective.py", "datasets/gaussian.py", "solvers/svd.py", "solvers/muon.py"]
    for name in files:
        (clone / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, clone / name)
    for name in ("plots", "src"):
        shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    installed = clone / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(installed)], check=True)
    (packages,) = installed.glob("lib/python*/site-packages")
    paths = [str(clone / "src"), *(path for path in sys.path if Path(path).name in ("site-packages", "dist-packages"))]
    (packages / "packages.pth").write_text("\n".join(paths))
    (packages / "sitecustomize.py").write_text(REFUSES)
    command = installed / "bin" / "orthobench"
    command.write_text(f"#!{installed}/bin/python\nimport sys\nfrom orthobench.cli import main\nsys.exit(main())\n")
    command.chmod(0o755)
    (installed / ".installed").touch()
    return clone


def environment(folder):
    """Return the variables of a shell that knows no other program than what the activation of an environment needs."""
    (folder / "bin").mkdir()
    os.symlink(shutil.which("uname"), folder / "bin" / "uname")
    return {
        "PATH": str(folder / "bin"),
        "HOME": str(folder),
        "ORTHOBENCH_CACHE": str(folder / "cache"),
        "TRIED": str(folder / "tried"),
    }


def without_network():
    """Return the words before a command that has no network, if this machine lets a user do that; else none."""
    program = shutil.which("unshare")
    words = [program, "--map-root-user", "--net"]
    allowed = program and subprocess.run([*words, "true"], capture_output=True).returncode == 0
    return words if allowed else []


def test_who_leaves_the_machine_is_refused_and_written_down(clone, tmp_path):
    asks = "import urllib.request; urllib.request.urlopen('http://example.org')"
    variables = environment(tmp_path)
    done = subprocess.run([clone / ".venv/bin/python", "-c", asks], env=variables, capture_output=True, text=True)
    assert "there is no network" in done.stderr
    assert (tmp_path / "tried").read_text() == "example.org\n"


@pytest.mark.skipif(MAKE is None, reason="there is no make on this machine")
def test_make_run_needs_neither_network_nor_npm(clone, tmp_path):
    command = [*without_network(), MAKE, "run"]
    done = subprocess.run(command, cwd=clone, env=environment(tmp_path), capture_output=True, text=True)
    log = clone / "outputs" / "quick.log"
    assert done.returncode == 0, done.stdout + done.stderr + (log.read_text() if log.is_file() else "")
    assert not (tmp_path / "tried").exists(), (tmp_path / "tried").read_text()
    assert "4 cells, 0 failed" in done.stdout
    page = clone / "outputs" / "quick.html"
    assert f"Page: {page}" in done.stdout
    text = page.read_text()
    assert "Muon" in text
    assert "SVD" in text
    assert not re.findall(r"""<script|(?:src|href)=["'](?!data:|#)|url\((?!["']?data:)|@import""", text)
