"""A small folder of made-up results as they are published, with failures and hostile texts, and its site."""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

import pandas as pd
from made_up import (
    ADAMW,
    CAYLEY,
    GAUSSIAN,
    MOMENTA,
    OWN_MUON,
    PLAIN,
    POWER_LAW,
    SGD,
    TURBO,
    fail,
    robustness_frame,
    root_frame,
    training_frame,
)

from orthobench.report import publish
from orthobench.report.site import build, render, vendor

ROOT = Path(__file__).parents[2]
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=\"alert('2')\">&lt;"
EVIL = f"Evil{HOSTILE}[learning_rate=0.1]"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
ROOT_SOLVERS = ("SVD", "Muon", "Turbo-Muon")
# More of them than figures show at first: their errors over that of SVD.
MORE = {"CANS": 0.5, "Cubic-5": 2.0, "Polar Express": 0.7, "QR": 0.9, "You-5": 0.6, "DeepSeek-V4": 0.4, "Gram": 0.8}


def provenance(frame, solver_file="solvers/adamw.py"):
    """Add the columns that a run has besides its figures."""
    return frame.assign(
        base_seed=0,
        run_date="2026-01-02T03:04:05",
        obj_description="What is measured & how <b>.",
        solver_description=[f"About {name}" for name in frame["solver_name"]],
        file_solver=solver_file,
        objective_env_commit=COMMIT,
        objective_env_dirty=False,
        objective_env_threads=1,
        objective_env_device_name="A made-up <machine>",
    )


def training():
    """Rows of training: one solver failed twice, and one has hostile texts everywhere."""
    rows = training_frame(solvers=(SGD, ADAMW, OWN_MUON, TURBO))
    rows = fail(rows, SGD, (0, 3))
    evil = rows[rows["solver_name"] == OWN_MUON].assign(solver_name=EVIL)
    evil = fail(evil, EVIL, (1,), "refuted")
    evil.loc[evil["objective_status"] == "refuted", "objective_message"] = f"refuted {HOSTILE}"
    return provenance(pd.concat([rows, evil], ignore_index=True))


def matrices():
    """Rows of orthogonalisation: ten solvers."""
    rows = root_frame(solvers=ROOT_SOLVERS, datasets=(GAUSSIAN, POWER_LAW, MOMENTA))
    exact, errors = rows[rows["solver_name"] == "SVD"], ["objective_value", "objective_relative_error"]
    more = [exact.assign(solver_name=name, **(factor * exact[errors])) for name, factor in MORE.items()]
    return provenance(pd.concat([rows, *more], ignore_index=True), "solvers/svd.py")


def write(folder, frames):
    """Write frames by relative path, and the sums of all that is there."""
    for name, frame in frames.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(path)
    (folder / publish.SUMS).write_text(publish.sums(folder))
    return folder


def frames():
    """The published frames by path: three benchmarks, one of them on two machines."""
    return {
        "orthogonalisation/one/cpu.parquet": matrices(),
        "training/one/cpu.parquet": training(),
        "training/two/gpu.parquet": provenance(training_frame(solvers=(ADAMW, TURBO), seeds=3, device="cuda")),
        "robustness/one/cpu.parquet": provenance(robustness_frame(solvers=(PLAIN, CAYLEY)), "solvers/cayley.py"),
    }


@functools.cache
def results():
    """The folder of the results; it is there until the process ends."""
    return write(_folder() / "results", frames())


@functools.cache
def files():
    """The files of their site but for the scripts of others, made once a process."""
    return render(results(), root=ROOT)[0]


@functools.cache
def site():
    """The folder of their site, built once a process."""
    out = _folder() / "site"
    assert build(results(), out, root=ROOT) == []
    return out


@functools.cache
def _folder():
    folder = Path(tempfile.mkdtemp(prefix="orthobench_site_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def missing_scripts():
    """Say why the scripts of others can't be had, or nothing."""
    try:
        for script in vendor.SCRIPTS:
            vendor.vendored(script)
    except RuntimeError as error:
        return str(error)
    return ""
