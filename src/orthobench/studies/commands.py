"""`orthobench speed NAME` and `orthobench study NAME`: what each prints, and its options.

They are all here, so that ``--help`` imports no study, and nothing that one needs.
"""

import argparse
import importlib
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path


@dataclass(frozen=True)
class Study:
    """A command that prints what it measures.

    Attributes
    ----------
    told : str
        What that is, in a line.
    options : dict of str to dict
        By name, what `argparse.ArgumentParser.add_argument` takes besides. The study's ``main`` gets what is given.
    """

    told: str
    options: dict = field(default_factory=dict)


def _positive(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a positive integer, such as 10")
    return int(text)


def _seconds(text):
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a positive number of seconds, such as 60")
    return seconds


def _option(default, told="", type=_positive, **more):
    """Return an option whose help ends in its default; one that is a tuple takes one value or more."""
    several = isinstance(default, tuple)
    shown = " ".join(map(str, default if several else (default,)))
    more = {"nargs": "+"} | more if several else more
    return {"default": default, "type": type, "help": f"{told} (default {shown})".lstrip(), **more}


def _choice(default, choices, told):
    return _option(default, told, type=str, choices=choices)


SEED = _option(0, type=int)
THREADS = _option(2, "torch's threads on a CPU")


def _repetitions(count):
    return _option(count, "alternating repetitions")


SPEED = {
    "orthogonaliser": Study(
        "orthogonalisers, over torch.optim.Muon's own and over plain loops",
        {
            "--repetitions": _repetitions(9),
            "--threads": THREADS,
            "--dtypes": _choice(
                ("bfloat16", "float32"),
                ("bfloat16", "float32"),
                "types to time; torch's own takes minutes in bfloat16 on a CPU without instructions for it",
            ),
        },
    ),
    "kernels": Study(
        "kernels for a GPU, by size of their tiles, over torch's products",
        {"--dtype": _choice("bfloat16", ("bfloat16", "float16"), "type of the matrices")},
    ),
    "optimizer": Study(
        "steps of TurboMuon and SchattenMuon, over those of other optimizers",
        {
            "--repetitions": _repetitions(15),
            "--threads": THREADS,
            "--width": _option(256, "of the transformer"),
            "--depth": _option(4, "blocks of the transformer"),
            "--tokens": _option((16384, 4096), "in a batch, each"),
            "--method": _choice("eigh", ("eigh", "svd", "products"), "of SchattenMuon's powers"),
        },
    ),
    "gpu": Study(
        "everything that has a goal on a GPU, each ratio beside its goal (on one H200)",
        {
            "--repetitions": _repetitions(15),
            "--size": _option(4096, "of the matrix that is orthogonalised"),
            "--width": _option(768, "of GPT-2"),
            "--depth": _option(12, "blocks of GPT-2"),
            "--context": _option(1024, "tokens in a text"),
            "--tokens": _option(16384, "in a batch"),
            "--steps": _option(5, "of training in a repetition"),
            "--threads": THREADS,
            "--output": {"type": Path, "help": "a parquet file for the rows"},
        },
    ),
    "lipschitz": Study(
        "orthogonal layers, over Orthogonium's and over plain ones",
        {
            "--repetitions": _repetitions(9),
            "--threads": THREADS,
            "--widths": _option((256, 512, 1024), "of the dense layers", nargs="*"),
            "--batches": _option((16, 64, 256, 1024), "of the convolutions", nargs="*"),
            "--learning-rate": _option(0.02, "of the dense layers", type=float),
            "--image": _option(16, "width of the images"),
        },
    ),
    "privacy": Study(
        "private steps without clipping, over ghost clipping and plain SGD, and their memory",
        {
            "--repetitions": _repetitions(15),
            "--threads": THREADS,
            "--projections": _choice(
                ("cholesky",),
                ("svd", "gelfand", "cholesky", "probabilistic"),
                "of the weights; targets are for the first",
            ),
            "--peak": {"nargs": "+", "metavar": "METHOD SIZE", "help": "print one process' peak memory and stop"},
        },
    ),
    "conformal": Study(
        "robust conformal prediction, over vanilla", {"--repetitions": _repetitions(9), "--threads": THREADS}
    ),
    "segmentation": Study(
        "certificates of segmentations, over the forward pass, and their memory",
        {"--repetitions": _repetitions(5), "--threads": THREADS},
    ),
    "risk": Study(
        "control of a detector's risks: seconds to calibrate and to predict, and its memory",
        {
            "--images": _option(5000, "to calibrate with"),
            "--boxes": _option(100, "candidates of each image"),
            "--repetitions": _option(3, "of each time"),
        },
    ),
}

STUDIES = {
    "honest-solvers": Study(
        "are honest solvers left alone? Runs a benchmark's own, none of which may be refuted",
        {
            "benchmark": {
                "choices": (
                    "benchmark_crc",
                    "benchmark_dp",
                    "benchmark_lipschitz",
                    "benchmark_rcp",
                    "benchmark_segmentation",
                ),
                "help": "whose solvers are run",
            },
            "--cells": _option(100, "at least"),
        },
    ),
    "killed-runs": Study(
        "what a run loses that is killed at any time, and goes on by the same command",
        {
            "--kills": _option(50, "of all commands together"),
            "--seed": _option(0, "of the times and of what is killed", type=int),
            "--repetitions": _option(4, "of each cell"),
        },
    ),
    "faults": Study(
        "what kills, bad servers, jumping clocks, full disks and unwritable caches cost a run: nothing, if all is well",
        {"--each": _option(5, "how many of each kind"), "--seed": SEED},
    ),
    "stand": Study(
        "what a process of its own for each solver, its stand, costs, and what it changes in figures",
        {
            "--starts": _option(50, "of a stand"),
            "--echoes": _option(2000),
            "--transports": _option(30, "of each size"),
            "--sizes": _option((1024, 2048), "of the matrices", nargs="*"),
            "--repetitions": _option(5, "alternating, in each pair of processes"),
            "--processes": _option(5, "pairs to time a method in"),
            "--quick-configurations": {
                "metavar": "FOLDER",
                "help": "another checkout, to compare the quick configurations with",
            },
            "--runs": _option(3, "of each quick configuration"),
            "--honest": _option(0, "of honest solvers on a busy machine", type=int, metavar="ROWS"),
        },
    ),
    "scheduling": Study(
        "what running cells costs beside their work, by each of Benchopt's engines",
        {
            "--cells": _option((10, 100, 300), "runs to make"),
            # submitit's own executor starts all at once: more would not fit into the memory of a small machine.
            "--jobs": _option((2, 4, 8), "for submitit, which starts all at once"),
            "--backend": _choice(
                ("sequential", "loky", "dask", "submitit"), ("sequential", "loky", "dask", "submitit"), "engines"
            ),
            "--workers": _option(2, "of loky and Dask"),
            "--cell-seconds": _option(60.0, "how long a cell works", type=_seconds),
        },
    ),
    "coverage-verdicts": Study(
        "how often the verdict on a coverage or a risk doubts what holds, and refutes what doesn't",
        {"--cells": _option(4000, "of each setting"), "--seed": SEED},
    ),
    "risk-guarantees": Study(
        "do controllers of a detector's risks keep what they claim, and are careless ones seen?",
        {
            "--calibrations": _option(2000, "of each case"),
            "--images": _option(99, "of each calibration"),
            "--seed": _option(0, "the first one", type=int),
            "--seeds": _option(1, "how many"),
        },
    ),
    "detector-quality": Study(
        "how good the detector of the data set digit_boxes is",
        {
            "--train": _option(4000, "scenes to train with"),
            "--pool": _option(2000, "scenes that it is judged by"),
            "--epochs": _option(10, "of training"),
        },
    ),
    "explanation-controls": Study(
        "what muFidelity gives to attribution maps whose worth is known",
        {"--images": _option(400, "the first ones"), "--seed": SEED},
    ),
    "exponent-criteria": Study(
        "what the criteria for the exponent of SchattenMuon are worth, on least squares",
        {
            "--seed": _option(0, "of the inputs and targets", type=int),
            "--seeds": _option(8, "over which the claims are counted, from 0", type=int),
        },
    ),
}

# By command: what it does, what to know of it, and its studies.
COMMANDS = {
    "speed": (
        "print how long something takes, over others in the same run",
        "Nothing else should run meanwhile.",
        SPEED,
    ),
    "study": ("print what something costs, finds or guarantees", "Most take minutes.", STUDIES),
}


def module_of(command, name):
    """Return the name of a study's module."""
    return f"orthobench.studies.{name.replace('-', '_')}{'_speed' * (command == 'speed')}"


def add_to(commands):
    """Add the commands to the subparsers of `orthobench`."""
    for command, (told, note, studies) in COMMANDS.items():
        parser = commands.add_parser(command, help=told, description=f"{_sentence(told)} {note}")
        names = parser.add_subparsers(required=True, metavar="NAME")
        for name, study in studies.items():
            own = names.add_parser(name, help=study.told, description=_sentence(study.told))
            for option, given in study.options.items():
                own.add_argument(option, **given)
            own.set_defaults(run=partial(_run, module_of(command, name)))


def _sentence(text):
    return f"{text[0].upper()}{text[1:]}{'.' * (text[-1] not in '.?')}"


def _run(module, arguments):
    return importlib.import_module(module).main(arguments) or 0
