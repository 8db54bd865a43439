"""Which tiles are quickest on the GPU at hand, as ratios of times measured in one run.

``orthobench speed kernels`` prints them. The first of each kind should be the one of
`orthobench.linalg.kernels.blocks`.
"""

from functools import partial

import torch

from ..linalg.kernels.availability import takes_kernels
from ..linalg.kernels.blocks import Blocks, only, product_blocks, symmetric_blocks
from ..linalg.kernels.launches import add_product, gram, quadratic

SIZES = ((1, 4096, 4096), (1, 2048, 8192), (12, 768, 3072))
CANDIDATES = (
    Blocks(128, 128, 64, warps=4, stages=3),
    Blocks(128, 128, 64, warps=4, stages=4),
    Blocks(128, 128, 64, warps=8, stages=3),
    Blocks(128, 128, 64, warps=8, stages=4),
    Blocks(128, 128, 32, warps=4, stages=4),
    Blocks(64, 64, 64, warps=4, stages=4),
    Blocks(128, 256, 64, warps=8, stages=3),
    Blocks(128, 256, 64, warps=8, stages=4),
    Blocks(256, 128, 64, warps=8, stages=3),
)


def products(count, m, n, dtype, device):
    """Yield each product of an iteration: its name, what `blocks` takes for it, our function, torch's, and its share.

    The share is that of torch's multiplications which symmetry leaves.
    """
    generator = torch.Generator().manual_seed(0)
    X = (torch.randn(count, m, n, generator=generator) / n**0.5).to(device, dtype)
    A, square, like_X = gram(X), X.new_empty(count, m, m), torch.empty_like(X)
    half = (m + 1) / (2 * m)
    symmetric = symmetric_blocks(m, count)
    yield "X X^T", symmetric, partial(gram, X, square), partial(torch.bmm, X, X.mT, out=square), half
    plain = partial(torch.baddbmm, A, A, A, beta=2.0, out=square)
    yield "b A + c A^2", symmetric, partial(quadratic, A, 2.0, 1.0, square), plain, half
    plain = partial(torch.baddbmm, X, A, X, beta=2.0, out=like_X)
    yield "a X + Z X", product_blocks(m, n, count, X.device), partial(add_product, X, A, 2.0, like_X), plain, 1.0


def report(dtype, device):
    """Yield the lines of the report.

    Parameters
    ----------
    dtype : torch.dtype
    device : torch.device

    Yields
    ------
    str
    """
    from triton.testing import do_bench

    name = torch.cuda.get_device_name(device)
    yield f"{name}, {dtype}: time over torch's, and rate over torch's on what symmetry leaves"
    for count, m, n in SIZES:
        for name, chosen, ours, torchs, share in products(count, m, n, dtype, device):
            plain = do_bench(torchs, return_mode="median")
            is_symmetric = share < 1
            for entry in dict.fromkeys((chosen, *CANDIDATES)):
                if is_symmetric and entry.rows != entry.columns:
                    continue
                with only(entry):
                    time = _time(do_bench, ours)
                told = f"{time / plain:.2f}, rate {share * plain / time:.2f}" if time else "takes too much memory"
                yield f"{count} x ({m}, {n}) {name}, {tuple(entry)}{' (chosen)' * (entry == chosen)}: {told}"


def _time(do_bench, function):
    from triton.runtime.errors import OutOfResources

    try:
        return do_bench(function, return_mode="median")
    except OutOfResources:
        return None


def main(arguments):
    """Print the report."""
    dtype = getattr(torch, arguments.dtype)
    if not torch.cuda.is_available() or not takes_kernels(torch.empty(4096, 4096, dtype=dtype, device="cuda")):
        raise RuntimeError(
            "no GPU here takes the kernels: that needs CUDA, compute capability 8.0 or later, and Triton"
        )
    for line in report(dtype, torch.device("cuda", torch.cuda.current_device())):
        print(line, flush=True)
