"""How long a private step without clipping takes, against ghost clipping and plain SGD, as ratios of one run.

``orthobench speed privacy`` prints them, and ratios of peak memory. Nothing else should
run meanwhile.
"""

import subprocess
import sys
from functools import partial
from typing import NamedTuple

import torch
from torch.nn import functional

from ..device import peak_memory_bytes, reset_peak_memory, resolve_device
from ..lipschitz.losses import CrossEntropy
from ..privacy.clip_free import ClipFreeOptimizer
from ..privacy.losses import loss_constant
from ..privacy.networks import private_mlp
from .timing import medians

CLASSES = 10
LEARNING_RATE = 0.05
NOISE_MULTIPLIER = 1.0
LARGEST_MEMORY = 1.1
MEMORY_STEPS = 5
METHODS = ("sgd", "clipless", "ghost")
NOT_INSTALLED = "opacus is not installed: pip install 'orthobench[libraries]'"


class Case(NamedTuple):
    """A dense network, a batch size, and the most that a clipless step may take over one with ghost clipping."""

    features: int
    widths: tuple
    batch: int
    target: float

    def __str__(self):
        return f"MLP {'-'.join(map(str, (self.features, *self.widths, CLASSES)))}, batch {self.batch}"


CASES = (
    Case(64, (256, 256), 2048, 0.6),
    Case(784, (1024, 1024), 2048, 0.9),
    Case(784, (1024, 1024), 512, 1.0),
)


def batch_of(case, device):
    """Return inputs (batch, features) of norm 1, and targets."""
    generator = torch.Generator().manual_seed(0)
    inputs = functional.normalize(torch.randn(case.batch, case.features, generator=generator))
    return inputs.to(device), torch.randint(CLASSES, (case.batch,), generator=generator).to(device)


def plain_step(case, device):
    """Return a function that does a step of SGD."""
    model = _model(case, device)
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    inputs, targets = batch_of(case, device)

    def step():
        optimizer.zero_grad()
        functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()

    return step


def clipless_step(case, device, projection="cholesky"):
    """Return a function that does a step of SGD in `ClipFreeOptimizer`, which is its attribute ``optimizer``."""
    model, loss = _model(case, device), CrossEntropy(temperature=1.0, margin=0.0)
    optimizer = ClipFreeOptimizer(
        torch.optim.SGD(model.parameters(), lr=LEARNING_RATE),
        model,
        loss_constant=partial(loss_constant, loss, CLASSES),
        input_norm=1.0,
        expected_batch_size=case.batch,
        noise_multiplier=NOISE_MULTIPLIER,
        sampling_rate=0.01,
        projection=projection,
        generator=torch.Generator(device).manual_seed(0),
    )
    inputs, targets = batch_of(case, device)

    def step():
        optimizer.zero_grad()
        optimizer.loss(loss, model(inputs), targets).backward()
        optimizer.step()

    step.optimizer = optimizer
    return step


def ghost_step(case, device):
    """Return a function that does a step of SGD with Opacus' ghost clipping.

    Raises
    ------
    ImportError
        If Opacus isn't installed.
    """
    from ..privacy.clipping import ClippedGradients

    model = _model(case, device)
    optimizer = ClippedGradients(
        torch.optim.SGD(model.parameters(), lr=LEARNING_RATE),
        model,
        clip_norm=0.1,
        noise_multiplier=NOISE_MULTIPLIER,
        expected_batch_size=case.batch,
        sampling_rate=0.01,
        way="ghost",
        generator=torch.Generator(device).manual_seed(0),
    )
    return partial(optimizer.step, *batch_of(case, device), partial(functional.cross_entropy, reduction="none"))


def _model(case, device):
    return private_mlp(0, features=case.features, outputs=CLASSES, widths=case.widths, zero_last=False).to(device)


def verdict(ratio, target):
    """Say whether a ratio is what it has to be."""
    return f"(at most {target:.2f}: {'holds' if ratio <= target else 'DOES NOT HOLD'})"


def step_times(cases, device, repetitions, projections):
    """Yield a line for each network, batch size and projection: a clipless step over one with ghost clipping.

    Parameters
    ----------
    cases : sequence of Case
    device : torch.device
    repetitions : int
        Alternating.
    projections : sequence of str
        Of `ClipFreeOptimizer`; targets are for the first.

    Yields
    ------
    str

    Raises
    ------
    ImportError
        If Opacus isn't installed.
    """
    for case in cases:
        runs = {"sgd": plain_step(case, device), "ghost": ghost_step(case, device)}
        runs |= {projection: clipless_step(case, device, projection) for projection in projections}
        times = medians(runs, device, repetitions)
        for index, projection in enumerate(projections):
            ratio = times[projection] / times["ghost"]
            target = f" {verdict(ratio, case.target)}" if index == 0 else ""
            yield (
                f"{case}, step with projection {projection!r}: {ratio:.2f} of ghost clipping{target}, "
                f"{times[projection] / times['sgd']:.2f} of plain SGD; ghost clipping "
                f"{times['ghost'] / times['sgd']:.2f} of plain SGD"
            )


def peak_memory(method, case):
    """Return the largest resident memory of a process of its own that does some steps, in bytes.

    Parameters
    ----------
    method : {"sgd", "clipless", "ghost"}
    case : Case

    Returns
    -------
    float
        NaN where the system doesn't tell.
    """
    arguments = ["--peak", method, *map(str, (case.features, *case.widths, case.batch))]
    threads = ["--threads", str(torch.get_num_threads())]
    command = [sys.executable, "-m", "orthobench", "speed", "privacy", *threads, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def print_peak(method, sizes):
    """Do some steps in this process, and print its peak memory in bytes; sizes are features, widths and batch."""
    features, *widths, batch = map(int, sizes)
    case, device = Case(features, tuple(widths), batch, 1.0), torch.device("cpu")
    step = {"sgd": plain_step, "clipless": clipless_step, "ghost": ghost_step}[method](case, device)
    reset_peak_memory(device)
    for _ in range(MEMORY_STEPS):
        step()
    print(peak_memory_bytes(device))


def memory(cases):
    """Yield a line for each network and batch size: peak memory of clipless steps over that of plain SGD.

    Each is measured in a process of its own, on the CPU, torch included.

    Parameters
    ----------
    cases : sequence of Case

    Yields
    ------
    str
    """
    for case in cases:
        plain, clipless = (peak_memory(method, case) for method in ("sgd", "clipless"))
        ratio = clipless / plain
        yield f"{case}, peak memory of the process: {ratio:.2f} of plain SGD {verdict(ratio, LARGEST_MEMORY)}"


def main(arguments):
    """Print the report."""
    torch.set_num_threads(arguments.threads)
    if arguments.peak:
        print_peak(arguments.peak[0], arguments.peak[1:])
        return
    device = resolve_device()
    print(
        f"device {device}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"{arguments.repetitions} repetitions"
    )
    try:
        for line in step_times(CASES, device, arguments.repetitions, arguments.projections):
            print(line, flush=True)
    except ImportError:
        print(NOT_INSTALLED)
    for line in memory(CASES):
        print(line, flush=True)
