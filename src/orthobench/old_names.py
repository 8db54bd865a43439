"""Commands by the names that they had as modules (``python -m NAME``), which answer with the new ones for a release."""

import os
import sys

NEW = {
    "orthobench.report": "report",
    "orthobench.linalg.kernels.tuning": "speed kernels",
    "orthobench.studies.conformal_speed": "speed conformal",
    "orthobench.studies.controls": "study honest-solvers",
    "orthobench.studies.criterion_study": "study exponent-criteria",
    "orthobench.studies.detector_quality": "study detector-quality",
    "orthobench.studies.explanation_controls": "study explanation-controls",
    "orthobench.studies.gpu_goals": "speed gpu",
    "orthobench.studies.kills": "study killed-runs",
    "orthobench.studies.lipschitz_speed": "speed lipschitz",
    "orthobench.studies.optimizer_speed": "speed optimizer",
    "orthobench.studies.privacy_speed": "speed privacy",
    "orthobench.studies.risk_guarantees": "study risk-guarantees",
    "orthobench.studies.risk_speed": "speed risk",
    "orthobench.studies.scheduling": "study scheduling",
    "orthobench.studies.segmentation_speed": "speed segmentation",
    "orthobench.studies.speed": "speed orthogonaliser",
    "orthobench.studies.stand": "study stand",
    "orthobench.studies.verdicts": "study coverage-verdicts",
}


def answer():
    """Become the command itself, if Python was asked to run a module whose name is an old one of a command.

    To be called while Python looks for the module: the first of ``sys.argv`` is "-m" then, and no other time.
    """
    *before, name = sys.orig_argv[1 : len(sys.orig_argv) - len(sys.argv) + 1]
    if name in NEW:
        print(f"python -m {name} is now `orthobench {NEW[name]}`", file=sys.stderr, flush=True)
        words = [sys.executable, *before, "orthobench", *NEW[name].split(), *sys.argv[1:]]
        os.execv(sys.executable, words)  # noqa: S606 - this process' own words
