"""Made-up rows of the root benchmark, with names, columns and texts as its own."""

import functools
import json

import numpy as np
import pandas as pd

GAUSSIAN = "gaussian[columns=128,count=4,rows=128]"
WIDE = "gaussian[columns=256,count=4,rows=64]"
POWER_LAW = "spectrum[columns=128,count=4,kind=power_law,rows=128]"
MOMENTA = "momenta[network=transformer,step=20]"
DATASETS = (GAUSSIAN, WIDE, POWER_LAW, MOMENTA)

STEPS = {
    "SVD": 1,
    "Muon": 5,
    "Muon-plus": 5,
    "Turbo-Muon": 4,
    "Polar Express": 5,
    "CANS": 5,
    "Gram Newton-Schulz": 5,
}
LAYERS = ("blocks.0.query", "blocks.0.mlp_in")


def objective(dtype="float32"):
    return f"Orthogonalisation[dtype={dtype},exponent=0]"


@functools.cache
def noise(*key):
    """A number about 1 that depends on the key alone."""
    return float(np.exp(0.01 * np.random.default_rng([*map(ord, repr(key))]).normal()))


def constant(value):
    """An error or a time that is ``value`` for each solver, with noise of 1 %."""
    return lambda solver, dataset, dtype, seed: value * noise(solver, dataset, dtype, seed)


def root_frame(
    error=None,
    time=None,
    seeds=8,
    solvers=STEPS,
    datasets=DATASETS,
    dtypes=("float32",),
    device="cpu",
):
    """Rows of ok cells; ``error`` and ``time`` are functions of (solver, dataset, dtype, seed), at the last step."""
    error, time = error or constant(0.1), time or constant(1e-3)
    rows = []
    for dataset in datasets:
        for dtype in dtypes:
            for solver in solvers:
                for seed in range(seeds):
                    key = solver, dataset, dtype, seed
                    rows += cell_rows(key, error(*key), time(*key), device)
    return pd.DataFrame(rows)


def cell_rows(key, error, time, device="cpu"):
    solver, dataset, dtype, seed = key
    steps = STEPS[solver]
    rows = []
    for step in range(1, steps + 1):
        value = error * (1 + steps - step)
        rows.append(
            {
                "dataset_name": dataset,
                "objective_name": objective(dtype),
                "solver_name": solver,
                "idx_rep": seed,
                "stop_val": step,
                "time": 4 * time * step / steps,
                "objective_value": value,
                "objective_relative_error": value,
                "objective_orthogonality_error": 2 * value,
                "objective_lmo_gap": value / 2,
                "objective_time_per_matrix_s": time * step / steps,
                "objective_flops": np.nan if solver == "SVD" else 1e6 * step,
                "objective_matmul_count": np.nan if solver == "SVD" else 3.0 * step,
                "objective_by_matrix": by_matrix(dataset, seed, value),
                "objective_status": "ok",
                "objective_message": "",
                "objective_env_device": device,
            }
        )
    return rows


@functools.cache
def by_matrix(dataset, seed, error):
    """What the objective says about the two matrices of a data set; the spectra depend on the data set's family."""
    names = LAYERS if dataset.startswith("momenta") else ("0", "1")
    rank = 64
    index = np.linspace(1, rank, 32)
    found = []
    for number, name in enumerate(names):
        # The momenta are made to look like the power law.
        exponent, stable_rank = (0.7, 16.0) if dataset.startswith("gaussian") else (1.0 + 0.1 * number, 1.6)
        sigma = index**-exponent
        found.append(
            {
                "name": name,
                "rows": 64,
                "columns": 96,
                "rank": rank,
                "stable_rank": stable_rank * noise(seed, number),
                "relative_error": error * (1 + number),
                "sigma_in": sigma.tolist(),
                "sigma_out": (1 - error * noise(seed, number) * (1 - sigma)).tolist(),
            }
        )
    return json.dumps(found)


def fail(frame, solver, seeds, status="diverged", datasets=DATASETS):
    """Turn the last rows of some cells into failures, as the harness writes them."""
    frame = frame.copy()
    hit = (frame["solver_name"] == solver) & frame["idx_rep"].isin(list(seeds)) & frame["dataset_name"].isin(datasets)
    hit &= frame["stop_val"] == frame[hit]["stop_val"].max()
    frame.loc[hit, "objective_status"] = status
    frame.loc[hit, "objective_message"] = "made to fail"
    numbers = [name for name in frame if name.startswith("objective_") and frame[name].dtype.kind == "f"]
    frame.loc[hit, numbers] = np.nan
    frame.loc[hit, "objective_by_matrix"] = np.nan
    return frame
