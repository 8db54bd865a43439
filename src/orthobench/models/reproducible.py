"""Scopes in which a result depends on its arguments alone, not on torch's global settings, which are put back after."""

import contextlib

import torch

from orthobench.models.checks import check_integer

LARGEST_SEED = 2**63 - 1


@contextlib.contextmanager
def reproducible_cpu():
    """Compute on the CPU, with one thread, in full float32, with gradients, whatever the caller has set.

    The number of threads and the precision change the last bits of a product. Both are global to the process: no
    other Python thread should compute meanwhile.
    """
    matmul, conv = torch.backends.mkldnn.matmul, torch.backends.mkldnn.conv
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    matmul_precision, conv_precision = matmul.fp32_precision, conv.fp32_precision
    try:
        torch.set_num_threads(1)
        torch.set_default_dtype(torch.float32)
        matmul.fp32_precision = conv.fp32_precision = "ieee"
        with (
            torch.device("cpu"),
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast("cpu", enabled=False),
        ):
            yield
    finally:
        matmul.fp32_precision, conv.fp32_precision = matmul_precision, conv_precision
        torch.set_default_dtype(dtype)
        torch.set_num_threads(threads)


@contextlib.contextmanager
def seeded(seed):
    """As `reproducible_cpu`, with torch's global generator seeded: a module made inside depends on the seed alone.

    Parameters
    ----------
    seed : int
        In 0..2**63 - 1.

    Raises
    ------
    TypeError, ValueError
        If it is not.
    """
    seed = check_integer("seed", seed, 0, LARGEST_SEED)
    with reproducible_cpu(), torch.random.fork_rng(devices=[]):
        # Not `torch.manual_seed`: it also reseeds every GPU, which `fork_rng` would have to put back.
        torch.default_generator.manual_seed(seed)
        yield
