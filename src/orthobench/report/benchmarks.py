"""What the report knows of each benchmark: how its rows are recognised, its metrics, its baseline."""

from dataclasses import dataclass

LOWER, HIGHER = "lower", "higher"


@dataclass(frozen=True)
class Metric:
    """A column ``objective_NAME``: how it is called, which way is better, and the scale of its axis."""

    label: str
    better: str = LOWER
    scale: str = "log"  # or "linear"


# A name means the same in every benchmark.
METRICS = {
    "value": Metric("monitored value"),
    "relative_error": Metric("relative error"),
    "orthogonality_error": Metric("orthogonality error"),
    "lmo_gap": Metric("LMO gap"),
    "time_per_matrix_s": Metric("time per matrix (s)"),
    "flops": Metric("floating-point operations a matrix"),
    "matmul_count": Metric("matrix products"),
    "held_out_loss": Metric("held-out loss (nats)"),
    "held_out_accuracy": Metric("held-out accuracy", HIGHER, "linear"),
    "train_loss": Metric("training loss (nats), mean since the evaluation before"),
    "step_time_ms": Metric("time per step (ms)"),
    "optimizer_time_ms": Metric("time of the optimizer per step (ms)"),
    "optimizer_share": Metric("share of the optimizer in the time per step", scale="linear"),
    "optimizer_state_bytes": Metric("optimizer state (bytes)"),
    "peak_memory_bytes": Metric("peak memory (bytes)"),
    "steps_to_target": Metric("steps to the target", scale="linear"),
    "time_to_target_s": Metric("training time to the target (s)", scale="linear"),
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

    @property
    def metric(self):
        """The metric that is shown unless another is asked for."""
        return self.leaderboards[0]


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

BENCHMARKS = {benchmark.folder: benchmark for benchmark in (ORTHOGONALISATION, TRAINING)}


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
