"""One seed a repetition, the same for every solver, and one thread setting a process."""

import os
import random

import numpy.random
import torch

THREADS_VARIABLE = "ORTHOBENCH_THREADS"


def set_threads():
    """Set torch's threads from ``ORTHOBENCH_THREADS`` (default 1): sums depend on their number.

    Raises
    ------
    ValueError
        If the variable isn't a positive integer.
    """
    text = os.environ.get(THREADS_VARIABLE, "1")
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{THREADS_VARIABLE}={text!r}: expected a positive integer, such as 1 or {os.cpu_count()}")
    torch.set_num_threads(int(text))


def seed_everything(seed, device):
    """Seed the global generators of Python, NumPy and torch, in a tenth of the time of `torch.manual_seed`.

    Parameters
    ----------
    seed : int
        In [0, 2**32 - 1], as Benchopt's ``get_seed`` returns it.
    device : torch.device
        That is used besides the CPU.
    """
    random.seed(seed)
    numpy.random.seed(seed)  # noqa: NPY002 - methods that use the global generator are seeded too
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed_all(seed)
