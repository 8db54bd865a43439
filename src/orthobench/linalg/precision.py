"""In which type products are done: float32 in full whatever the settings allow, not bfloat16 where that is slow."""

from contextlib import contextmanager, nullcontext

import torch

from .compiling import assume_constant


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


def without_autocast(device_type):
    """Compute in the types of the arguments inside the block, on the meta device, which has no autocast, too."""
    return torch.autocast(device_type, enabled=False) if _has_autocast(device_type) else nullcontext()


@assume_constant
def _has_autocast(device_type):
    return torch.amp.is_autocast_available(device_type)


@assume_constant
def product_dtype(dtype, device_type):
    """Return the type in which to do products of matrices of a type.

    That is float32 for bfloat16 on a CPU without instructions for it (x86 before AVX-512, say), where torch's products
    in bfloat16 take some ten times as long as those in float32; else the type itself.
    """
    if dtype == torch.bfloat16 and device_type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return torch.float32
    return dtype
