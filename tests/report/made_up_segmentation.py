"""Made-up rows of `benchmark_segmentation`, with names, columns and texts as its own."""

import numpy as np
import pandas as pd
from made_up import noise

SCENES = "digit_scenes[attacked=50,batch_size=16,depth=1,labels=digits,padding=circular,smoothed=32,steps=200,width=16]"
SEGMENTATION = "Segmentation[part=held_out]"
_LOSS = "learning_rate=0.01,loss=cross_entropy,margin=0.0"
AOC = f"AOC[alpha=0.98,{_LOSS},parametrisation=bjorck,temperature=0.0625]"
PLAIN, CAYLEY = (f"{name}[alpha=0.98,{_LOSS},temperature=0.0625]" for name in ("Plain", "Cayley"))
CONSTANT = "Constant[alpha=0.98,loss=cross_entropy,margin=0.0,temperature=0.0625]"
SMOOTHING = (
    f"Smoothing[alpha=0.98,correction=holm,{_LOSS},n=1000,n0=10,sigma=0.25,significance=0.001,temperature=0.0625]"
)
SOLVERS = (AOC, CAYLEY, PLAIN, SMOOTHING)
RADII = (26, 36, 43, 128, 255)
# What is wrong at the radius 0, what a radius of 1 adds to it, and milliseconds of a certificate.
QUALITY = {
    AOC: (0.06, 0.5, 0.4),
    CAYLEY: (0.08, 0.6, 0.5),
    PLAIN: (0.02, 30.0, 0.2),
    CONSTANT: (0.3, 0.0, 0.1),
    SMOOTHING: (0.05, 0.4, 300.0),
}
# Two pixels: black and white.
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAIAAAABCAAAAADRSSBWAAAAC0lEQVR4nGNg+A8AAQIBAEK+vGgAAAAASUVORK5CYII="


def segmentation_frame(seeds=8, solvers=SOLVERS, datasets=(SCENES,), quality=QUALITY, device="cpu"):
    """Rows of ok cells, at the steps 0 and 200; ``quality`` is as `QUALITY`."""
    return pd.DataFrame(
        [
            row
            for dataset in datasets
            for solver in solvers
            for seed in range(seeds)
            for row in segmentation_rows(dataset, solver, seed, *quality[solver], device)
        ]
    )


def segmentation_rows(dataset, solver, seed, error, slope, certification_ms, device="cpu"):
    """Rows of one cell; what the last evaluation alone has is NaN before, and what does not apply to smoothing."""
    smoothed, rows = solver == SMOOTHING, []
    for step in (0, 200):
        right = {
            radius: max(1 - (error + slope * radius / 255) * noise(solver, dataset, seed), 0.0) if step else 0.0
            for radius in (0, *RADII)
        }
        right |= {radius: np.nan for radius in (128, 255) if smoothed}  # below the least number of samples
        figures = {"value": 1 - 0.9 * right[36]}
        for radius in RADII:
            figures |= {
                f"certified_pixel_accuracy_{radius}": right[radius],
                f"certified_class_accuracy_{radius}": 0.9 * right[radius],
                f"certified_miou_{radius}": 0.8 * right[radius],
                f"which_pixels_{radius}": right[radius] if smoothed else right[radius] ** 2,
                f"stable_pixels_{radius}": right[radius],
                f"abstained_{radius}": 1 - right[radius] if smoothed else np.nan,
            }
        gap = 0.0 if solver == CONSTANT else (1 - right[36]) / 2
        last = {
            **{f"radius_{share}": np.nan if smoothed else 0.1 * share for share in (1, 10, 50)},
            "attacked_pixel_accuracy": right[36] + gap,
            "attacked_miou": 0.8 * (right[36] + gap),
            "attack_gap": gap,
            "certification_time_ms": certification_ms * noise(solver, dataset, seed, "certificate"),
            "inference_time_ms": 0.3 * noise(solver, dataset, seed, "inference"),
            "lipschitz_lower": np.nan if smoothed else 0.9,
        }
        figures |= {
            "pixel_accuracy": right[0],
            "class_accuracy": 0.9 * right[0],
            "miou": 0.8 * right[0],
            **{name: figure if step else np.nan for name, figure in last.items()},
            "forward_passes": 1010 if smoothed else 1,
            **{f"lipschitz_{name}": np.nan if smoothed else 1.0 for name in ("claimed", "upper")},
            "parameters": 39000,
            "steps": step,
            "step_time_ms": 10 * noise(solver, dataset, seed, "time") if step else np.nan,
            "train_loss": error if step else np.nan,
            "picture": PICTURE if step and not seed else "",
            "peak_memory_bytes": 1e8,
        }
        rows.append(
            {
                "dataset_name": dataset,
                "objective_name": SEGMENTATION,
                "solver_name": solver,
                "idx_rep": seed,
                "stop_val": step,
                "time": 0.01 * step,
                **{f"objective_{name}": figure for name, figure in figures.items()},
                "objective_status": "ok",
                "objective_message": "",
                "objective_env_device": device,
            }
        )
    return rows
