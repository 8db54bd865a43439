"""Made-up rows of the root benchmark and of `benchmark_muon`, with names, columns and texts as their own."""

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


def fail(frame, solver, seeds, status="diverged", datasets=None):
    """Turn the last rows of some cells into failures, as the harness writes them."""
    frame = frame.copy()
    hit = (frame["solver_name"] == solver) & frame["idx_rep"].isin(list(seeds))
    hit &= frame["dataset_name"].isin(datasets or frame["dataset_name"].unique())
    hit &= frame["stop_val"] == frame[hit]["stop_val"].max()
    frame.loc[hit, "objective_status"] = status
    frame.loc[hit, "objective_message"] = "made to fail"
    numbers = [name for name in frame if name.startswith("objective_") and frame[name].dtype.kind == "f"]
    frame.loc[hit, numbers] = np.nan
    texts = [name for name in ("objective_by_matrix", "objective_parameters_by_route") if name in frame]
    frame.loc[hit, texts] = np.nan
    return frame


# ----- training -----

DIGITS, DOCS, CHAIN = "digits[steps=100,width=16]", "python_docs[steps=100]", "markov[order=1,steps=100]"
TASKS = (DIGITS, DOCS, CHAIN)
TRAINING = "Training[autocast=False,compile=False,part=held_out]"

_MUON = "adamw_learning_rate=0.01,learning_rate=0.05"
SGD, ADAMW = "SGD[learning_rate=0.1,momentum=0.9]", "AdamW[learning_rate=0.01,weight_decay=0.01]"
TORCH_MUON = f"torch.optim.Muon[{_MUON},weight_decay=0.01]"
OWN_MUON = f"Turbo-Muon[{_MUON},orthogonaliser=muon,weight_decay=0.01]"
TURBO = f"Turbo-Muon[{_MUON},orthogonaliser=turbo_muon,weight_decay=0.01]"

# After how many steps the distance to the floor is halved.
HALVED = {SGD: 40.0, ADAMW: 20.0, TORCH_MUON: 12.0, OWN_MUON: 12.0, TURBO: 12.0}
EVALUATIONS = (0, 20, 40, 60, 80, 100)
TARGET = 0.3
ROUTES = {SGD: {"SGD": 5000}, ADAMW: {"AdamW": 5000}, TORCH_MUON: {"Muon": 3000, "AdamW": 2000}}


def falling(halved=HALVED):
    """A loss that falls from 2.3 to a floor of 0.1, with noise of 1 %."""

    def loss(solver, dataset, seed, step):
        return (0.1 + 2.2 * 0.5 ** (step / halved[solver])) * noise(solver, dataset, seed, step)

    return loss


def training_frame(
    loss=None, time=None, seeds=8, solvers=tuple(HALVED), datasets=TASKS, device="cpu", objective=TRAINING
):
    """Rows of ok cells; ``loss`` is a function of (solver, dataset, seed, step), ``time`` in ms of the first three."""
    loss, time = loss or falling(), time or (lambda solver, dataset, seed: 5 * noise(solver, dataset, seed))
    rows = []
    for dataset in datasets:
        for solver in solvers:
            for seed in range(seeds):
                losses = [loss(solver, dataset, seed, step) for step in EVALUATIONS]
                rows += training_rows(solver, dataset, seed, losses, time(solver, dataset, seed), device, objective)
    return pd.DataFrame(rows)


def training_rows(solver, dataset, seed, losses, step_ms=5.0, device="cpu", objective=TRAINING, target=None):
    """Rows of one cell, evaluated at `EVALUATIONS` as far as there are losses; a chain has a target for each seed."""
    floor = 0.1 + 0.001 * seed if dataset == CHAIN else np.nan
    target = target or (3 * floor if dataset == CHAIN else TARGET)
    rows, reached = [], np.nan
    for place, (step, value) in enumerate(zip(EVALUATIONS, losses, strict=False)):
        if np.isnan(reached) and place and max(losses[place - 1], value) <= target:
            reached = float(EVALUATIONS[place - 1])
        shares = {"data": 0.1, "forward": 0.3, "backward": 0.4, "optimizer": 0.15}
        rows.append(
            {
                "dataset_name": dataset,
                "objective_name": objective,
                "solver_name": solver,
                "idx_rep": seed,
                "stop_val": step,
                "time": 1e-3 * step_ms * step,
                "objective_value": value,
                "objective_held_out_loss": value,
                "objective_held_out_accuracy": float(np.exp(-value)),
                "objective_train_loss": 0.9 * value if step else np.nan,
                "objective_steps": step,
                "objective_samples_seen": 128 * step,
                "objective_step_time_ms": step_ms if step else np.nan,
                **{f"objective_{part}_time_ms": share * step_ms if step else np.nan for part, share in shares.items()},
                "objective_optimizer_share": shares["optimizer"] / sum(shares.values()) if step else np.nan,
                "objective_target": target,
                "objective_floor": floor,
                "objective_steps_to_target": reached,
                "objective_time_to_target_s": 1e-3 * step_ms * reached,
                "objective_optimizer_state_bytes": 40000.0,
                "objective_parameters_by_route": json.dumps(ROUTES.get(solver, {"TurboMuon": 4000, "AdamW": 1000})),
                "objective_peak_memory_bytes": 1e6,
                "objective_status": "ok",
                "objective_message": "",
                "objective_env_device": device,
            }
        )
    return rows
