"""Made-up rows of `benchmark_crc`, with names, columns and texts as its own."""

import numpy as np
import pandas as pd
from made_up import noise
from made_up_segmentation import PICTURE

DIGITS = "digit_boxes[calibration=1000,epochs=10,pool=2000,splits=400,train=4000]"
SIMULATED = "simulated[calibration=99,duplicates=False,splits=2000]"
SEQCRC = "SeqCRC[classes=lac,margins=additive]"
MULTIPLICATIVE, APS = "SeqCRC[classes=lac,margins=multiplicative]", "SeqCRC[classes=aps,margins=additive]"
SPLIT = "Split-3[classes=lac,margins=additive]"
LTT = "LTT-HB[classes=lac,delta=0.1,margins=additive,procedure=fixed_sequence]"
PLAIN = "Uncalibrated[score=0.5]"
SOLVERS = (SEQCRC, SPLIT, LTT, PLAIN)
# What share of its level a risk is, the volume, and what is claimed.
QUALITY = {
    SEQCRC: (0.97, 3.0, "expectation"),
    MULTIPLICATIVE: (0.97, 2.0, "expectation"),
    APS: (0.97, 4.0, "expectation"),
    SPLIT: (0.9, 5.0, "expectation"),
    LTT: (0.5, 9.0, "probability"),
    PLAIN: (4.0, 1.0, "none"),
}
RISKS = ("cnf", "loc", "cls", "max", "joint")


def objective(alphas="0.02/0.05/0.05", confidence="count_threshold", localisation="pixel_wise", match="mix"):
    return f"Risk[alphas={alphas},confidence={confidence},localisation={localisation},match={match}]"


RISK = objective()


def risk_frame(seeds=8, solvers=SOLVERS, datasets=(DIGITS,), objectives=(RISK,), quality=QUALITY):
    """Rows of ok cells; ``quality`` is as `QUALITY`."""
    return pd.DataFrame(
        [
            risk_row(dataset, name, solver, seed, *quality[solver])
            for dataset in datasets
            for name in objectives
            for solver in solvers
            for seed in range(seeds)
        ]
    )


def risk_row(dataset, name, solver, seed, share, volume, kind):
    """The row of one cell; of the larger loss the risk is 0.8 of that share of its level, and no joint one is known."""
    first, *second = (float(each) for each in name.split("alphas=")[1].split(",")[0].split("/"))
    levels = {"cnf": first, "loc": second[0], "cls": second[1], "max": sum(second)}
    figures = {}
    for risk in RISKS:
        known = risk in levels
        judged = known and (kind == "expectation" or (kind == "probability" and dataset == SIMULATED))
        measured = share * levels.get(risk, np.nan) * (0.8 if risk == "max" else 1.0)
        figures |= {
            f"risk_{risk}": measured * noise(solver, dataset, name, seed, risk),
            f"risk_sd_{risk}": 0.02 if known else np.nan,
            f"p_value_{risk}": 0.5 if judged else np.nan,
            f"judged_{risk}": judged,
            f"power_{risk}": 0.1 * 0.02 if known else np.nan,
            f"claimed_{risk}": levels.get(risk, np.nan) if kind != "none" else np.nan,
        }
    sizes = {name: size * noise(solver, dataset, name, seed) for name, size in _sizes(volume, first).items()}
    figures |= {
        **sizes,
        "value": sizes["volume_ratio"],
        "empty_images": 0.01,
        "precision_iou50": 0.5,
        "infeasible_share": 0.0,
        **{f"lambda_{each}": 0.9 for each in ("cnf_plus", "cnf_minus", "loc", "cls")},
        "claimed_kind": kind,
        "claimed_unit": "image",
        "calibration_time_s": 1e-4 * noise(solver, seed),
        "detector_map": 0.9,
        "guaranteed": kind != "none",
        "picture": "" if seed or dataset == SIMULATED else PICTURE,
        "peak_memory_bytes": 1e8,
    }
    return {
        "dataset_name": dataset,
        "objective_name": name,
        "solver_name": solver,
        "idx_rep": seed,
        "stop_val": 1,
        "time": 0.5,
        **{f"objective_{name}": figure for name, figure in figures.items()},
        "objective_status": "ok",
        "objective_message": "",
        "objective_env_device": "cpu",
    }


def _sizes(volume, level):
    return {
        "volume_ratio": volume,
        "boxes_per_image": 2 + 0.1 / level,
        "stretch": 1 + 0.1 * volume,
        "class_set_size": 1 + 0.2 * volume,
    }
