"""How fast the orthogonalisers are against others, as ratios of times measured in one run.

``orthobench speed orthogonaliser`` prints them. Nothing else should run meanwhile.
"""

import functools

import torch
from torch.optim._muon import _zeropower_via_newtonschulz as zeropower

from ..device import resolve_device
from ..linalg import newton_schulz, newton_schulz_flops
from ..linalg.products import count_products, plain_product_rate
from .timing import medians

MUON = (3.4445, -4.7750, 2.0315)
SHAPES = ((1, 1024, 1024), (1, 2048, 2048), (24, 256, 256), (1, 512, 2048))
# Where `newton_schulz` has to choose between the plain and the Gram form, in float32.
CHOICES = ((1, 512, 512), (1, 512, 768), (1, 512, 1024), (1, 512, 2048), (8, 256, 512), (8, 256, 1024), (32, 64, 256))


def torch_muon(matrices):
    """The orthogonaliser of torch.optim.Muon, which takes one matrix at a time and may overwrite it."""
    return [zeropower(matrix.clone(), MUON, 5, 1e-7) for matrix in matrices]


def plain_loop(matrices):
    """Five steps of Muon's iteration, written out, one matrix at a time."""
    results = []
    for matrix in matrices:
        X = matrix / matrix.norm()
        for _ in range(5):
            A = X @ X.mT
            X = MUON[0] * X + (MUON[1] * A + MUON[2] * A @ A) @ X
        results.append(X)
    return results


def rivals():
    """Return the orthogonalisers of libraries with kernels of their own, and a line for each library missing."""
    methods, missing = {}, []
    for load, install in (
        (_dion, "dion: pip install git+https://github.com/microsoft/dion"),
        (_gram_newton_schulz, "gram-newton-schulz: pip install gram-newton-schulz --no-build-isolation"),
    ):
        try:
            methods |= load()
        except ImportError as error:
            missing.append(f"not installed ({error}): {install}")
    return methods, missing


def _dion():
    from dion.newton_schulz_triton import newton_schulz_triton, newton_schulz_triton_fast

    return {"dion's five steps": newton_schulz_triton, "dion's AOL and four steps": newton_schulz_triton_fast}


def _gram_newton_schulz():
    from gram_newton_schulz import GramNewtonSchulz

    return {"gram-newton-schulz's five steps": GramNewtonSchulz(gram_newton_schulz_reset_iterations=[2])}


# What each type is timed against.
REFERENCES = {"bfloat16": ("torch.optim.Muon's own", torch_muon), "float32": ("a plain loop of Muon's", plain_loop)}


def report(device, repetitions, shapes=SHAPES, dtypes=tuple(REFERENCES)):
    """Yield the lines of the report.

    Parameters
    ----------
    device : torch.device
    repetitions : int
    shapes : sequence of (count, rows, columns)
    dtypes : sequence of str
        Keys of ``REFERENCES``.

    Yields
    ------
    str
    """
    yield f"device {device}, {torch.get_num_threads()} threads, torch {torch.__version__}, {repetitions} repetitions"
    for count, rows, columns in shapes:
        generator = torch.Generator().manual_seed(0)
        recorded = [torch.randn(rows, columns, generator=generator) for _ in range(count)]
        for name in dtypes:
            dtype = getattr(torch, name)
            other, reference = REFERENCES[name]
            matrices = [matrix.to(device, dtype) for matrix in recorded]
            times = medians(
                {
                    "reference": lambda run=reference, given=matrices: run(given),
                    "muon": lambda given=matrices: newton_schulz(given, "muon"),
                    "turbo_muon": lambda given=matrices: newton_schulz(given, "turbo_muon"),
                },
                device,
                repetitions,
            )
            flops = count_products(newton_schulz, matrices, "muon")[1]
            rate = plain_product_rate(((rows, columns),) * count, dtype, device)
            yield (
                f"{count} x ({rows}, {columns}) {name}, time against {other}: "
                f"muon {times['muon'] / times['reference']:.2f}, "
                f"turbo_muon {times['turbo_muon'] / times['reference']:.2f}; "
                f"matmul_efficiency of muon {flops / times['muon'] / rate:.2f}"
            )


def choices(device, repetitions, shapes=CHOICES):
    """Yield a line for each shape: the time of the Gram form over that of the plain one, and what "auto" takes.

    Parameters
    ----------
    device : torch.device
    repetitions : int
    shapes : sequence of (count, rows, columns)

    Yields
    ------
    str
    """
    for count, rows, columns in shapes:
        matrices = torch.randn(count, rows, columns, generator=torch.Generator().manual_seed(0)).to(device)
        runs = {name: functools.partial(newton_schulz, matrices, "muon", method=name) for name in ("plain", "gram")}
        times = medians(runs, device, repetitions)
        flops = {name: newton_schulz_flops(matrices, "muon", method=name) for name in ("plain", "gram", "auto")}
        yield (
            f"{count} x ({rows}, {columns}) float32, Gram over plain form: time {times['gram'] / times['plain']:.2f}, "
            f"operations {flops['gram'] / flops['plain']:.2f}; "
            f"auto takes the {'plain' if flops['auto'] == flops['plain'] else 'Gram'} form"
        )


def main(arguments):
    """Print the report."""
    torch.set_num_threads(arguments.threads)
    for line in report(resolve_device(), arguments.repetitions, dtypes=arguments.dtypes):
        print(line, flush=True)
    for line in choices(resolve_device(), arguments.repetitions):
        print(line, flush=True)
