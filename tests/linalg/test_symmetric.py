"""Symmetric products in panels equal whole ones, and save what they promise."""

import subprocess
import sys

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from orthobench.linalg import newton_schulz
from orthobench.linalg.compiling import assume_constant
from orthobench.linalg.symmetric import PANELS, gram, quadratic, whole_products

SHAPES = [(3, 5), (512, 2048), (700, 701), (1023, 300), (2, 640, 700)]


def matrix(shape, dtype):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-14), (torch.float32, 1e-6), (torch.bfloat16, 1e-2)]
)
def test_panels_equal_the_whole_product_to_rounding(shape, dtype, tolerance):
    X = matrix(shape, dtype)
    exact = X.double() @ X.double().mT
    assert torch.linalg.norm(gram(X).double() - exact) <= tolerance * torch.linalg.norm(exact)
    A = (gram(X) / X.shape[-1]).contiguous()
    A = (A + A.mT) / 2
    square = 0.3 * A.double() - 0.7 * A.double() @ A.double()
    assert torch.linalg.norm(quadratic(A, 0.3, -0.7).double() - square) <= tolerance * torch.linalg.norm(square)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_panels_write_where_they_are_told_every_entry_and_nothing_else(dtype):
    X = matrix((700, 1100), dtype)
    around = torch.full((702, 702), 7.0, dtype=dtype)
    inside = around[1:-1, 1:-1]
    gram(X, out=inside)
    assert torch.equal(inside, gram(X))
    assert torch.equal(inside, inside.mT)
    around[1:-1, 1:-1] = 7.0
    assert (around == 7.0).all()
    out = torch.full((700, 700), torch.nan, dtype=dtype)
    assert quadratic(gram(X), 1.0, 1.0, out=out).isfinite().all()


def test_panels_do_less_work_and_whole_products_can_be_asked_for():
    X = matrix((1024, 1024), torch.float32)

    def flops():
        with FlopCounterMode(display=False) as counter:
            gram(X)
        return counter.get_total_flops()

    with whole_products():
        assert flops() == 2 * 1024**3
    assert flops() == 2 * 1024**3 * (1 + 1 / PANELS) / 2


def test_a_quadratic_without_square_is_a_multiple():
    A = gram(matrix((600, 900), torch.float32))
    assert torch.equal(quadratic(A, 0.5, 0.0), 0.5 * A)


@pytest.mark.parametrize("recipe", ["muon", "turbo_muon", "cubic5"])
@pytest.mark.parametrize("shape", [(1030, 1030), (600, 1300)])
def test_the_iteration_in_panels_equals_the_one_in_whole_products(recipe, shape):
    X = matrix(shape, torch.float32)
    fast = newton_schulz(X, recipe, method="plain")
    with whole_products():
        plain = newton_schulz(X, recipe, method="plain")
    assert torch.linalg.norm(fast - plain) <= 1e-4 * torch.linalg.norm(plain)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_batch_in_chunks_equals_its_matrices_one_by_one(dtype):
    from orthobench.linalg.newton_schulz import CHUNK_BYTES

    X = matrix((20, 256, 300), dtype)
    assert X.nbytes > CHUNK_BYTES
    together = newton_schulz(X, "muon")
    apart = torch.stack([newton_schulz(each, "muon") for each in X])
    tolerance = 1e-4 if dtype == torch.float32 else 0.05
    assert torch.linalg.norm((together - apart).double()) <= tolerance * torch.linalg.norm(apart.double())


def test_a_function_is_marked_for_the_compiler_as_torch_marks_it_without_an_import_of_the_compiler():
    ours, torchs = assume_constant(lambda: 1), torch.compiler.assume_constant_result(lambda: 1)
    assert vars(ours) == vars(torchs)
    code = "import sys, orthobench.linalg; sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
