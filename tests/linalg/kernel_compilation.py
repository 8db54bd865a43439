"""Compile every kernel for GPUs that need not be here: prints a line for each. `test_kernels.py` runs it.

Of each: its name, the compute capability, the shared memory that it takes and what there is, and the instruction of its
products.
"""

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from orthobench.linalg.kernels import blocks, programs

# Bytes of shared memory for a block: 8.6, 8.9 and 12.0 have the least, and what large tiles are for has the most.
LEAST, LARGE = 99 * 2**10, 227 * 2**10
# With rows contiguous, of sizes that are multiples of 16.
CONTIGUOUS = {"X_column", "A_column", "W_column", "out_column"}
TYPES = {"X": "*bf16", "A": "*bf16", "W": "*bf16", "out": "*bf16", "sums": "*fp32"}
TYPES |= dict.fromkeys(("alpha", "beta", "divisor"), "fp32")
COUNTS = {"tiles", "tile_rows", "tile_columns", "count"}


def compiled(program, capability, entry, **constants):
    """Compile for bfloat16 as a launch does."""
    constants |= dict.fromkeys(CONTIGUOUS & set(program.arg_names), 1)
    signature, attributes = {}, {}
    for position, name in enumerate(program.arg_names):
        signature[name] = "constexpr" if name in constants else TYPES.get(name, "i32")
        if signature[name][0] in "*i" and name not in COUNTS:
            attributes[position,] = [["tt.divisibility", 16]]
    values = {(program.arg_names.index(name),): value for name, value in constants.items()}
    source = ASTSource(program, signature, constexprs=values, attrs=attributes)
    options = {"num_warps": entry.warps, "num_stages": entry.stages, "enable_fp_fusion": True}
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)


def symmetric(capability, entry, **which):
    return compiled(programs.symmetric_product, capability, entry, BLOCK=entry.rows, INNER=entry.inner, **which)


def product(capability, entry, even):
    sizes = {"ROWS": entry.rows, "COLUMNS": entry.columns, "INNER": entry.inner, "GROUP": blocks.GROUP}
    return compiled(programs.add_product, capability, entry, EVEN=even, **sizes)


def tell(name, capability, available, kernel):
    text = kernel.asm["ptx"]
    kind = next((kind for kind in ("wgmma", "mma.sync") if kind in text), "none")
    print(name, capability, kernel.metadata.shared, available, kind)


tell("symmetric_product", 80, LEAST, symmetric(80, blocks.SYMMETRIC, ADD=True, SUM=False, EVEN=True))
tell("symmetric_product", 90, LEAST, symmetric(90, blocks.SYMMETRIC, ADD=False, SUM=True, EVEN=True))
tell("symmetric_product", 90, LEAST, symmetric(90, blocks.SYMMETRIC, ADD=True, SUM=False, EVEN=False))
tell("add_product", 80, LEAST, product(80, blocks.PRODUCT, False))
tell("add_product", 90, LARGE, product(90, blocks.PRODUCT_LARGE, True))
scaling = {"ROWS": blocks.SCALING.rows, "COLUMNS": blocks.SCALING.columns}
tell("scale_rows", 90, LEAST, compiled(programs.scale_rows, 90, blocks.SCALING, **scaling))
