"""Made-up rows of the third task of `benchmark_lipschitz`, with names, columns and texts as its own."""

import json

import numpy as np
import pandas as pd
from made_up import noise
from made_up_segmentation import PICTURE

from orthobench.report.benchmarks import BENCHMARKS

DIGITS = "digits[batch_size=64,network=small,padding=circular,steps=80,width=16]"
BLOCKS = "digit_blocks[batch_size=64,explained=200,network=small,null=empty,padding=circular,steps=80,width=16]"
FASHION = "fashion_mnist[batch_size=128,network=small,padding=circular,steps=100,width=8]"
EXPLANATION = "Robustness[part=held_out,task=explanation]"
HKR = "Cayley[alpha=0.833,learning_rate=0.03,loss=hkr,margin=0.5,temperature=0.25]"
BALANCED = HKR.replace("loss=hkr", "loss=balanced_hkr")
SOFT = "Cayley[alpha=0.833,learning_rate=0.03,loss=soft_hkr,margin=0.5,temperature=10.0]"
CROSS_ENTROPY = "Cayley[alpha=0.98,learning_rate=0.03,loss=cross_entropy,margin=0.399,temperature=0.25]"
PLAIN = "Plain[alpha=0.98,learning_rate=0.03,loss=cross_entropy,margin=0.0,temperature=1.0]"
SOLVERS = (HKR, BALANCED, SOFT, CROSS_ENTROPY, PLAIN)
# What is wrong: of the network, and of its explanations.
QUALITY = {HKR: (0.1, 0.3), BALANCED: (0.2, 0.35), SOFT: (0.05, 0.4), CROSS_ENTROPY: (0.06, 0.5), PLAIN: (0.05, 0.9)}
SHARES = (0.0, 0.5, 1.0)
BENCHMARK = BENCHMARKS["benchmark_lipschitz"]
# All that is of explanations alone.
METRICS = [name for name, values in BENCHMARK.exceptions.items() if values["task"] == ("explanation",)]


def explanations_frame(seeds=8, solvers=SOLVERS, datasets=(DIGITS,), quality=QUALITY):
    """Rows of ok cells, at the steps 0 and 80; ``quality`` is as `QUALITY`."""
    return pd.DataFrame(
        [
            row
            for dataset in datasets
            for solver in solvers
            for seed in range(seeds)
            for row in explanations_rows(dataset, solver, seed, *quality[solver])
        ]
    )


def explanations_rows(dataset, solver, seed, error, fault):
    """Rows of one cell; what the last evaluation alone has is NaN before."""
    rows = []
    for step in (0, 80):
        right = 1 - error * noise(solver, dataset, seed, "accuracy")
        at = {radius: max(right - (9 if solver == PLAIN else 0.6) * radius / 255, 0.0) for radius in (36, 72, 108, 255)}
        good = {name: 1 - fault * noise(solver, dataset, seed, name) for name in METRICS}
        for name in METRICS:
            if name.startswith(("stability", "smoothgrad_distance", "newton", "explanation_time", "block")):
                good[name] = 1 - good[name]
        good |= {"explained": 190, "mu_fidelity_uniform_saliency": min(1.0, 1 - fault * noise(solver, dataset, seed))}
        good |= {"block_share_10": good["block_share_10"] if dataset == BLOCKS else np.nan}
        first = ("explained", "mu_fidelity_uniform_saliency")
        figures = {name: figure if step or name in first else np.nan for name, figure in good.items()}
        curves = {
            "shares": SHARES,
            "deletion": {"saliency": (1.0, 0.2 + fault / 4, 0.0), "random": (1.0, 0.6, 0.0)},
            "insertion": {"saliency": (0.0, 0.8 - fault / 4, 1.0), "random": (0.0, 0.4, 1.0)},
        }
        figures |= {
            "value": 1 - figures["mu_fidelity_uniform_saliency"],
            "accuracy": right if step else 0.1,
            **{f"certified_accuracy_{radius}": each if step else 0.0 for radius, each in at.items()},
            "attacked_accuracy": np.nan,
            "lipschitz_lower": 0.9 if step else np.nan,
            **{f"lipschitz_{name}": 30.0 if solver == PLAIN else 1.0 for name in ("claimed", "upper")},
            "step_time_ms": 10 * noise(solver, dataset, seed, "time") if step else np.nan,
            "inference_time_ms": 0.1 if step else np.nan,
            "parameters": 39000,
            "steps": step,
            "train_loss": error if step else np.nan,
            "removal_curves": json.dumps(curves) if step else "",
            **dict.fromkeys(("maps_picture", "counterfactuals_picture"), PICTURE if step and not seed else ""),
            "peak_memory_bytes": 1e8,
        }
        rows.append(
            {
                "dataset_name": dataset,
                "objective_name": EXPLANATION,
                "solver_name": solver,
                "idx_rep": seed,
                "stop_val": step,
                "time": 0.01 * step,
                **{f"objective_{name}": figure for name, figure in figures.items()},
                "objective_status": "ok",
                "objective_message": "",
                "objective_env_device": "cpu",
                "configuration": "explanations",
            }
        )
    return rows
