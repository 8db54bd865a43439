"""What the report knows of each benchmark: how its rows are recognised, its metrics, its baseline."""

from dataclasses import dataclass, field

LOWER, HIGHER = "lower", "higher"

# Of certificates, in 1/255.
RADII = (36, 72, 108, 255)


@dataclass(frozen=True)
class Metric:
    """A column ``objective_NAME``: how it is called, which way is better, and the scale of its axis."""

    label: str
    better: str = LOWER
    scale: str = "log"  # or "linear"
    counted: bool = False  # a number of things: where repetitions agree on a difference, chance has no part in it
    timed: bool = False  # a time, or memory in use: compares among solvers in processes of one kind, see `stands`


# A name means the same in every benchmark.
METRICS = {
    "value": Metric("monitored value"),
    "accuracy": Metric("accuracy", HIGHER, "linear"),
    **{
        f"certified_accuracy_{radius}": Metric(f"certified accuracy at {radius}/255", HIGHER, "linear")
        for radius in RADII
    },
    **{
        f"certified_accuracy_{radius}": Metric(f"certified accuracy at {radius}/255", HIGHER, "linear")
        for radius in (1, 2, 4, 8, 16, 32)
    },
    "error": Metric("held-out error", scale="linear"),
    "epsilon_claimed": Metric("claimed epsilon", scale="linear"),
    "epsilon_pld": Metric("epsilon of the transcript (PLD)", scale="linear"),
    "epsilon_prv": Metric("epsilon of the transcript (PRV)", scale="linear"),
    "epsilon_audit": Metric("audited lower bound of epsilon", scale="linear"),
    "gradient_to_noise": Metric("norm of the mean gradient over that of its noise", HIGHER),
    "sensitivity_ratio": Metric("largest change by one example over its bound", HIGHER, "linear"),
    "time_s": Metric("training time (s)", timed=True),
    "attacked_accuracy": Metric("accuracy under attack at 36/255", HIGHER, "linear"),
    "certified_auroc_0": Metric("AUROC", HIGHER, "linear"),
    **{f"certified_auroc_{radius}": Metric(f"certified AUROC at {radius}/255", HIGHER, "linear") for radius in RADII},
    "proved_accuracy_36": Metric("accuracy proved at 36/255, whatever is claimed", HIGHER, "linear"),
    "proved_auroc_36": Metric("AUROC proved at 36/255, whatever is claimed", HIGHER, "linear"),
    "lipschitz_claimed": Metric("claimed Lipschitz constant"),
    "lipschitz_lower": Metric("measured lower bound of the Lipschitz constant"),
    "lipschitz_upper": Metric("certified upper bound of the Lipschitz constant"),
    "inference_time_ms": Metric("inference time per image (ms)", timed=True),
    "parameters": Metric("trained parameters", counted=True),
    "set_size": Metric("mean size of the sets, clean", scale="linear"),
    "set_size_attacked": Metric("mean size of the sets under attack", scale="linear"),
    "coverage": Metric("coverage, clean", HIGHER, "linear"),
    "coverage_attacked": Metric("coverage under attack", HIGHER, "linear"),
    "coverage_noise": Metric("coverage under random noise", HIGHER, "linear"),
    "coverage_lower": Metric("certified lower bound of the coverage under attack", HIGHER, "linear"),
    "coverage_upper": Metric("certified upper bound of the coverage under attack", scale="linear"),
    "worst_class_coverage": Metric("coverage of the worst class, clean", HIGHER, "linear"),
    "empty_share": Metric("share of empty sets", scale="linear"),
    "singleton_share": Metric("share of sets of one class", HIGHER, "linear"),
    "full_share": Metric("share of full sets", scale="linear"),
    "forward_passes": Metric("forward passes an input", counted=True),
    "calibration_time_s": Metric("calibration time per example (s)", timed=True),
    "prediction_time_s": Metric("prediction time per input (s)", timed=True),
    "relative_error": Metric("relative error"),
    "orthogonality_error": Metric("orthogonality error"),
    "lmo_gap": Metric("LMO gap"),
    "time_per_matrix_s": Metric("time per matrix (s)", timed=True),
    "flops": Metric("floating-point operations a matrix", counted=True),
    "matmul_count": Metric("matrix products", counted=True),
    "held_out_loss": Metric("held-out loss (nats)"),
    "held_out_accuracy": Metric("held-out accuracy", HIGHER, "linear"),
    "train_loss": Metric("training loss (nats), mean since the evaluation before"),
    "step_time_ms": Metric("time per step (ms)", timed=True),
    "optimizer_time_ms": Metric("time of the optimizer per step (ms)", timed=True),
    "optimizer_share": Metric("share of the optimizer in the four parts of a step", scale="linear", timed=True),
    "optimizer_state_bytes": Metric("optimizer state (bytes)", counted=True),
    "peak_memory_bytes": Metric("peak memory (bytes)", counted=True, timed=True),
    "steps_to_target": Metric("steps to the target", scale="linear"),
    "time_to_target_s": Metric("training time to the target (s)", scale="linear", timed=True),
}


@dataclass(frozen=True)
class Benchmark:
    """What distinguishes a benchmark from the others in the report's tables, figures and claims."""

    folder: str  # in the repository
    baseline: str  # chosen before any run
    leaderboards: tuple  # metrics; the first is the default, and rows are recognised by its column
    claims: tuple  # metrics that a claim may be about
    evidence: dict  # which values of the objective's parameters claims are about
    to_target: tuple = ()  # metrics that are censored where a fixed target is not reached: no mean makes sense of them
    exceptions: dict = field(default_factory=dict)  # by metric: values of parameters in place of those of `evidence`
    tuned_by: str = "loss"  # what the value is that learning rates are chosen by

    @property
    def metric(self):
        """The metric that is shown unless another is asked for."""
        return self.leaderboards[0]

    def evidence_for(self, metric):
        """Return which values of the objective's parameters a claim about a metric is about."""
        return {**self.evidence, **self.exceptions.get(metric, {})}

    def metric_for(self, given):
        """Return the metric that is shown of an objective with these parameters: the first that applies to it."""
        deciding = {name for exception in self.exceptions.values() for name in exception}

        def applies(metric):
            values = self.evidence_for(metric)
            return all(given.get(name, values[name][0]) in values[name] for name in deciding)

        return next(filter(applies, self.leaderboards), self.metric)


ORTHOGONALISATION = Benchmark(
    folder=".",
    baseline="Muon",
    leaderboards=("relative_error", "orthogonality_error", "lmo_gap", "time_per_matrix_s", "value"),
    claims=("relative_error", "orthogonality_error", "lmo_gap", "time_per_matrix_s", "flops", "matmul_count"),
    evidence={"exponent": ("0", "0.0")},
)

TRAINING = Benchmark(
    folder="benchmark_muon",
    baseline="AdamW",
    leaderboards=(
        "held_out_loss",
        "held_out_accuracy",
        "train_loss",
        "step_time_ms",
        "optimizer_time_ms",
        "optimizer_share",
        "optimizer_state_bytes",
        "peak_memory_bytes",
        "value",
    ),
    claims=(
        "held_out_loss",
        "held_out_accuracy",
        "step_time_ms",
        "optimizer_time_ms",
        "steps_to_target",
        "time_to_target_s",
        "optimizer_state_bytes",
        "peak_memory_bytes",
    ),
    evidence={"part": ("held_out",)},  # "tuning" is for choosing hyper-parameters
    to_target=("steps_to_target", "time_to_target_s"),
)

_CERTIFIED = tuple(f"certified_accuracy_{radius}" for radius in RADII)
_AUROC = tuple(f"certified_auroc_{radius}" for radius in (*RADII, 0))

ROBUSTNESS = Benchmark(
    folder="benchmark_lipschitz",
    baseline="Cayley",
    leaderboards=(
        *_CERTIFIED,
        "accuracy",
        "attacked_accuracy",
        *_AUROC,
        "proved_accuracy_36",
        "proved_auroc_36",
        "lipschitz_claimed",
        "lipschitz_lower",
        "lipschitz_upper",
        "orthogonality_error",
        "step_time_ms",
        "inference_time_ms",
        "parameters",
        "peak_memory_bytes",
        "value",
    ),
    claims=(
        *_CERTIFIED,
        "accuracy",
        "attacked_accuracy",
        *_AUROC,
        "lipschitz_lower",
        "orthogonality_error",
        "step_time_ms",
        "inference_time_ms",
        "peak_memory_bytes",
    ),
    evidence={"part": ("held_out",), "task": ("classification",)},
    exceptions={metric: {"task": ("one_class",)} for metric in (*_AUROC, "proved_auroc_36")},
    tuned_by="error",
)

CONFORMAL = Benchmark(
    folder="benchmark_rcp",
    baseline="CAS",
    leaderboards=(
        "set_size",
        "set_size_attacked",
        "coverage",
        "coverage_attacked",
        "worst_class_coverage",
        "empty_share",
        "singleton_share",
        "full_share",
        "forward_passes",
        "prediction_time_s",
        "calibration_time_s",
        "peak_memory_bytes",
        "coverage_lower",
        "coverage_upper",
        "coverage_noise",
        "value",
    ),
    claims=(
        "set_size",
        "set_size_attacked",
        "coverage_attacked",
        "coverage_lower",
        "forward_passes",
        "prediction_time_s",
        "calibration_time_s",
        "peak_memory_bytes",
    ),
    evidence={},
)

# Radii of certificates at a private model, in 1/255.
PRIVATE_RADII = (1, 2, 4, 8, 16, 32)
_PRIVATELY_CERTIFIED = tuple(f"certified_accuracy_{radius}" for radius in PRIVATE_RADII)

PRIVACY = Benchmark(
    folder="benchmark_dp",
    baseline="DP-SGD[way=ghost]",
    leaderboards=(
        "error",
        "accuracy",
        "step_time_ms",
        "time_s",
        "peak_memory_bytes",
        "gradient_to_noise",
        "sensitivity_ratio",
        *_PRIVATELY_CERTIFIED,
        "epsilon_claimed",
        "epsilon_pld",
        "epsilon_prv",
        "epsilon_audit",
        "lipschitz_upper",
        "parameters",
        "value",
    ),
    claims=(
        "error",
        "accuracy",
        "step_time_ms",
        "time_s",
        "peak_memory_bytes",
        "gradient_to_noise",
        "sensitivity_ratio",
        *_PRIVATELY_CERTIFIED,
    ),
    # A claim holds at any of these; on how many it does is part of the verdict.
    evidence={"part": ("held_out",), "audit": ("False",), "epsilon": ("1", "2", "5", "10")},
    tuned_by="error",
)

BENCHMARKS = {
    benchmark.folder: benchmark for benchmark in (ORTHOGONALISATION, TRAINING, ROBUSTNESS, CONFORMAL, PRIVACY)
}


def recognise(frame):
    """Return the `Benchmark` whose rows these are, by the column of its first metric.

    Rows without any such column (every cell failed before it had a figure) are read as those of the repository root.

    Raises
    ------
    ValueError
        If rows of several benchmarks are in one frame.
    """
    found = [benchmark for benchmark in BENCHMARKS.values() if f"objective_{benchmark.metric}" in frame]
    if len(found) > 1:
        folders = " and ".join(benchmark.folder for benchmark in found)
        raise ValueError(f"rows of several benchmarks ({folders}) in one file; report on one file at a time.")
    return found[0] if found else ORTHOGONALISATION
