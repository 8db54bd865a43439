"""Full float32 products, whatever the user's settings allow."""

from contextlib import contextmanager

import torch


@contextmanager
def full_float32():
    """Compute float32 products in float32 inside the block, then put the user's settings back.

    They may allow TF32 or bfloat16 instead (``torch.set_float32_matmul_precision``, ``torch.backends``), for the whole
    process.
    """
    backends = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
    # "none" and "ieee" are full float32 already: what need not be changed is left alone.
    allowed = [(each, each.fp32_precision) for each in backends if each.fp32_precision not in ("none", "ieee")]
    try:
        for each, _ in allowed:
            each.fp32_precision = "ieee"
        yield
    finally:
        for each, setting in allowed:
            each.fp32_precision = setting
