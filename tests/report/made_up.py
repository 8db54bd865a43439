"""Made-up rows of each benchmark, with names, columns and texts as its own."""

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
    "You-5": 5,
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


# ----- robustness -----

SHAPES = "digits[batch_size=64,network=small,padding=circular,steps=120,width=16]"
LARGER_BATCH = SHAPES.replace("=64", "=256")
ROBUSTNESS, ONE_CLASS = (f"Robustness[part=held_out,task={task}]" for task in ("classification", "one_class"))

_LOSS = "alpha=0.98,learning_rate=0.05,loss=cross_entropy,margin=0.399"
PLAIN, CAYLEY, BCOP = (f"{name}[{_LOSS},temperature=0.25]" for name in ("Plain", "Cayley", "BCOP"))
AOC = f"AOC[{_LOSS},parametrisation=qr,temperature=0.25]"
COOL, WARM = (CAYLEY.replace("temperature=0.25", f"temperature={t}") for t in (0.0625, 4.0))
LAYERS_COMPARED = (PLAIN, CAYLEY, BCOP, AOC)
RADII = (36, 72, 108, 255)

# Error at the radius 0, what a radius of 1 adds to it, and milliseconds of a step.
QUALITY = {
    PLAIN: (0.02, 90.0, 10.0),
    CAYLEY: (0.05, 0.6, 40.0),
    BCOP: (0.06, 0.7, 50.0),
    AOC: (0.05, 0.65, 30.0),
    COOL: (0.03, 1.5, 40.0),
    WARM: (0.2, 0.5, 40.0),
}


def robustness_frame(
    quality=QUALITY, seeds=8, solvers=LAYERS_COMPARED, datasets=(SHAPES,), objectives=(ROBUSTNESS,), device="cpu"
):
    """Rows of ok cells, at the steps 0 and 120; ``quality`` is as `QUALITY`."""
    rows = []
    for dataset in datasets:
        for objective in objectives:
            for solver in solvers:
                for seed in range(seeds):
                    rows += robustness_rows(dataset, objective, solver, seed, *quality[solver], device)
    return pd.DataFrame(rows)


def robustness_rows(dataset, objective, solver, seed, error, slope, step_ms, device="cpu"):
    """Rows of one cell; at the start nothing is certified, and what the last evaluation alone has is NaN."""
    rows = []
    batch = int(dataset.split("batch_size=")[1].split(",")[0])
    for step in (0, 120):
        at = {
            radius: max(1 - (error + slope * radius / 255) * noise(solver, dataset, seed), 0.0) if step else 0.0
            for radius in (0, *RADII)
        }
        of_classes = objective == ROBUSTNESS
        last = {
            "attacked_accuracy": at[36] + (1 - at[36]) / 2 if of_classes else np.nan,
            "lipschitz_lower": 30.0 if solver == PLAIN else 0.95,
            "orthogonality_error": 1e-6 * noise(solver, seed),
            "inference_time_ms": step_ms / 500 * noise(solver, seed, "inference"),
        }
        figures = {
            "value": 1 - at[36],
            "accuracy": at[0] if of_classes else np.nan,
            **{f"certified_accuracy_{radius}": at[radius] if of_classes else np.nan for radius in RADII},
            **{f"certified_auroc_{radius}": np.nan if of_classes else at[radius] for radius in (0, *RADII)},
            "proved_accuracy_36": at[36] if of_classes else np.nan,
            "proved_auroc_36": np.nan if of_classes else at[36],
            **{name: figure if step else np.nan for name, figure in last.items()},
            "lipschitz_claimed": 90.0 if solver == PLAIN else 1.0,
            "lipschitz_upper": 90.0 if solver == PLAIN else 1.0,
            "parameters": 39000,
            "layers": "",
            "steps": step,
            "train_loss": error if step else np.nan,
            "step_time_ms": step_ms * (1 + batch / 64) * noise(solver, dataset, seed, "time") if step else np.nan,
            "peak_memory_bytes": 1e8 * noise(solver, seed, "memory"),
        }
        rows.append(
            {
                "dataset_name": dataset,
                "objective_name": objective,
                "solver_name": solver,
                "idx_rep": seed,
                "stop_val": step,
                "time": 1e-3 * step_ms * step,
                **{f"objective_{name}": figure for name, figure in figures.items()},
                "objective_status": "ok",
                "objective_message": "",
                "objective_env_device": device,
            }
        )
    return rows
