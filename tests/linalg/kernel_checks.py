"""What the kernels must do. `test_kernels.py` runs these, in processes of their own.

With ``TRITON_INTERPRET=1`` they run on a CPU, in Triton's interpreter: there, products in bfloat16 are wrong (Triton
3.9), so it is left out. Else they run on the GPU. ``ORTHOBENCH_TEST_SEED`` repeats the inputs of a failed run.
"""

import os
import secrets

import pytest
import torch
import triton
import triton.language as tl

from orthobench.linalg import kernels, newton_schulz
from orthobench.linalg.kernels import blocks, programs
from orthobench.linalg.newton_schulz import _orthogonalise
from orthobench.linalg.recipes import get_recipe
from orthobench.studies.kernels_speed import products

DEVICE = "cpu" if triton.knobs.runtime.interpret else "cuda"
DTYPES = [torch.float32, torch.float16] + [torch.bfloat16] * (DEVICE == "cuda")
# No multiple of a block, a row, a single entry, more than a tile, a batch.
SHAPES = [(1, 7), (37, 53), (129, 65), (3, 66, 5)]
LAYOUTS = ["rows", "columns", "strided"]
SEED = int(os.environ.get("ORTHOBENCH_TEST_SEED", secrets.randbelow(2**31)))

pytestmark = pytest.mark.usefixtures("_told_seed")


@pytest.fixture
def _told_seed():
    print(f"ORTHOBENCH_TEST_SEED={SEED}")


@pytest.fixture
def random():
    generator = torch.Generator().manual_seed(SEED)
    return lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)


def laid_out(values, layout, dtype):
    """Return the values in memory by rows, by columns, or with gaps of NaN between them."""
    values = values.to(DEVICE, dtype)
    if layout == "columns":
        return values.mT.contiguous().mT
    if layout == "strided":
        wide = poisoned((*values.shape[:-2], 2 * values.shape[-2], 3 * values.shape[-1] + 1), dtype)
        wide[..., ::2, 1::3] = values
        return wide[..., ::2, 1::3]
    return values


def poisoned(shape, dtype):
    return torch.full(shape, torch.nan, dtype=dtype, device=DEVICE)


def inside_of(shape, dtype):
    """Return a poisoned tensor, and the part of it, with a margin all around, that is of this shape."""
    around = poisoned((*shape[:-2], shape[-2] + 2, shape[-1] + 3), dtype)
    return around, around[..., 1:-1, 1:-2]


def assert_written(around, inside):
    """Fail unless all inside was written, and nothing else."""
    assert inside.isfinite().all()
    assert around.isfinite().sum() == inside.numel()


def assert_rounded(result, exact, sizes, terms, roundings=1):
    """Fail unless each entry is the exact one, up to the sums' rounding in float32 and its own.

    `sizes` is the sum of the absolute values of the `terms` that an entry is the sum of.
    """
    unit = torch.finfo(result.dtype).eps / 2
    bound = roundings * unit * exact.abs() + (terms + 4) * 2.0**-22 * sizes + torch.finfo(result.dtype).tiny
    error = (result.double() - exact).abs()
    assert (error <= 1.01 * bound).all(), f"{(error / bound).max()} times the bound"


def assert_symmetric(A):
    assert torch.equal(A, A.mT)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_gram_matrix(random, shape, layout, dtype):
    X = laid_out(random(*shape), layout, dtype)
    around, inside = inside_of((*shape[:-1], shape[-2]), dtype)
    assert kernels.gram(X, out=inside) is inside
    assert_written(around, inside)
    assert_symmetric(inside)
    D = X.double()
    assert_rounded(inside, D @ D.mT, D.abs() @ D.mT.abs(), shape[-1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (37, 37), (3, 66, 66)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_quadratic(random, shape, layout, dtype):
    values = random(*shape)
    A = laid_out(values + values.mT, layout, dtype)
    around, inside = inside_of(shape, dtype)
    kernels.quadratic(A, -0.7, 0.3, out=inside)
    assert_written(around, inside)
    assert_symmetric(inside)
    D = A.double()
    sizes = 0.7 * D.abs() + 0.3 * D.abs() @ D.abs()
    assert_rounded(inside, -0.7 * D + 0.3 * D @ D, sizes, shape[-1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_product_with_what_is_added(random, shape, layout, dtype):
    # W is not symmetric: its rows can't be mistaken for its columns.
    X, W = laid_out(random(*shape), layout, dtype), laid_out(random(*shape[:-1], shape[-2]), layout, dtype)
    around, inside = inside_of(shape, dtype)
    kernels.add_product(X, W, 1.9, out=inside)
    assert_written(around, inside)
    D, V = X.double(), W.double()
    assert_rounded(inside, 1.9 * D + V @ D, 1.9 * D.abs() + V.abs() @ D.abs(), shape[-2])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_scaling_of_rows_and_of_their_gram_matrix(random, shape, layout, dtype):
    X = laid_out(random(*shape), layout, dtype)
    D = X.double()
    G = D @ D.mT
    scale = G.abs().sum(-1, keepdim=True).rsqrt() / 1.25
    scaled, A = kernels.gram_of_scaled_rows(X, 1.25)
    assert scaled is X
    assert_rounded(X, scale * D, scale * D.abs(), shape[-1])
    assert_symmetric(A)
    # It was rounded before and after it was scaled.
    sizes = scale * (D.abs() @ D.mT.abs()) * scale.mT
    assert_rounded(A, scale * G * scale.mT, sizes, 2 * shape[-1], roundings=2.01)
    if layout == "strided":
        assert X._base.isfinite().sum() == X.numel()


def test_one_matrix_as_a_batch(random):
    X = random(3, 4).to(DEVICE, torch.float32)
    expanded = X.expand(5, 3, 4)
    assert torch.equal(kernels.gram(expanded), kernels.gram(X).expand(5, 3, 3))
    W = kernels.gram(X).expand(5, 3, 3)
    assert torch.equal(kernels.add_product(expanded, W, 0.5), kernels.add_product(X, W[0], 0.5).expand(5, 3, 4))


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_of_zeros_stay_and_a_nan_stays_in_its_matrix(random, dtype):
    X = random(3, 5, 9).to(DEVICE, dtype)
    X[0, 2], X[1] = 0, 0
    X[2, 1, 1] = torch.nan
    healthy = X[0].clone()
    scaled, A = kernels.gram_of_scaled_rows(X, 1.0)
    assert (scaled[0, 2] == 0).all()
    assert (A[0, 2] == 0).all()
    assert (scaled[1] == 0).all()
    assert (A[1] == 0).all()
    assert A[2].isnan().all()
    alone, own = kernels.gram_of_scaled_rows(healthy, 1.0)
    assert torch.equal(scaled[0], alone)
    assert torch.equal(A[0], own)
    for result in (kernels.gram(X), kernels.add_product(X, A, 1.0)):
        assert result[:2].isfinite().all()
        assert result[2].isnan().any()


def test_rows_whose_scales_overflow_when_multiplied(random):
    X = (3e-21 * random(4, 9)).to(DEVICE, torch.float32)
    D = X.double()
    G = D @ D.mT
    scale = G.abs().sum(-1, keepdim=True).rsqrt()
    assert (scale.float() * scale.float().mT).isinf().all()
    scaled, A = kernels.gram_of_scaled_rows(X, 1.0)
    # Products of such entries have few digits left.
    torch.testing.assert_close(scaled.double(), scale * D, rtol=1e-3, atol=0)
    torch.testing.assert_close(A.double(), scale * G * scale.mT, rtol=0, atol=1e-3)


TABLE = [each for each in vars(blocks).values() if isinstance(each, blocks.Blocks) and each != blocks.SCALING]


@pytest.mark.parametrize("entry", sorted(set(TABLE)))
def test_every_entry_of_the_table(random, entry):
    dtype = torch.float16
    X, W = random(130, 300).to(DEVICE, dtype), random(130, 130).to(DEVICE, dtype)
    D, V = X.double(), W.double()
    with blocks.only(entry):
        product = kernels.add_product(X, W, 2.0)
        square = kernels.gram(X) if entry.rows == entry.columns else None
    assert_rounded(product, 2 * D + V @ D, 2 * D.abs() + V.abs() @ D.abs(), 130)
    if square is not None:
        assert_rounded(square, D @ D.mT, D.abs() @ D.mT.abs(), 300)


def test_what_is_tuned_does_what_it_is_timed_against():
    for name, _, ours, torchs, _ in products(1, 5, 9, torch.float32, torch.device(DEVICE)):
        assert torch.allclose(ours().clone(), torchs(), rtol=1e-2, atol=1e-2), name


@triton.jit
def _tiles(first, rows, columns, SIZE: tl.constexpr):
    index = tl.arange(0, SIZE)
    row, column = programs._upper_tile(first + index)
    tl.store(rows + index, row)
    tl.store(columns + index, column)


@pytest.mark.parametrize("first", [0, 2**24 - 2**13, 2000 * 2001 // 2 - 2**13])
def test_tiles_of_the_upper_triangle_are_counted_without_gap(first):
    size = 2**14
    rows, columns = torch.empty(2, size, dtype=torch.int32, device=DEVICE).unbind()
    _tiles[(1,)](first, rows, columns, SIZE=size)
    columns, rows = columns.long(), rows.long()
    assert ((rows >= 0) & (rows <= columns)).all()
    assert torch.equal((columns * (columns + 1) // 2 + rows).cpu(), torch.arange(first, first + size))


@pytest.fixture
def used(monkeypatch):
    """Send every product to the kernels, and count the calls of each."""
    counts = dict.fromkeys(("gram", "quadratic", "add_product", "gram_of_scaled_rows"), 0)

    def counted(name, function):
        def call(*args, **kwargs):
            counts[name] += 1
            return function(*args, **kwargs)

        return call

    for name in counts:
        monkeypatch.setattr(kernels, name, counted(name, getattr(kernels, name)))
    monkeypatch.setattr(kernels, "takes_kernels", lambda X: not kernels.availability._switched_off)
    return counts


@pytest.mark.parametrize(
    ("recipe", "shape", "dtype"),
    [
        ("muon", (40, 60), torch.float32),
        ("muon", (60, 40), DTYPES[-1]),
        ("turbo_muon", (66, 30), torch.float32),
        ("turbo_muon", (2, 20, 50), DTYPES[-1]),
        # Rows that start at no multiple of 16 bytes, and few of them.
        ("turbo_muon", (4, 1000), DTYPES[-1]),
        ("turbo_muon", (12, 513), DTYPES[-1]),
        ("muon", (513, 12), DTYPES[-1]),
        ("muon", (3, 1, 7), DTYPES[-1]),
        ("muon", (2, 3), DTYPES[-1]),
    ],
)
def test_the_whole_iteration(random, used, recipe, shape, dtype):
    X = random(*shape).to(DEVICE, dtype)
    if shape[-2] > shape[-1]:
        X = X.mT
    recipe = get_recipe(recipe)

    def iterate(matrices):
        return _orthogonalise(matrices, recipe, recipe.polynomials(), "plain").double()

    fast = iterate(X)
    steps, scaled = len(recipe.polynomials()), recipe.preconditioner == "aol"
    assert used == {
        "gram": steps - scaled,
        "quadratic": steps,
        "add_product": steps,
        "gram_of_scaled_rows": scaled,
    }
    with kernels.without_kernels():
        plain, exact = iterate(X), iterate(X.double())
    # The iteration amplifies what it rounds: with kernels no more than without.
    length = torch.linalg.norm(exact)
    rounding = torch.linalg.norm(plain - exact)
    assert torch.linalg.norm(fast - exact) <= 2 * rounding + torch.finfo(dtype).eps * length
    assert rounding <= 20 * torch.finfo(dtype).eps * length


@pytest.mark.parametrize("recipe", ["muon", "turbo_muon"])
def test_the_compiled_iteration_has_them_in_one_graph(random, used, recipe):
    X = random(20, 30).to(DEVICE, torch.float32)
    expected = newton_schulz(X, recipe, steps=2)
    torch._dynamo.reset()
    compiled = torch.compile(lambda given: newton_schulz(given, recipe, steps=2), backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(X), expected)
    torch._dynamo.reset()


def test_a_wrong_output_is_refused():
    X = torch.zeros(4, 6, device=DEVICE)
    right = X.new_empty(4, 4)
    for out in (X.new_empty(4, 5), right.unsqueeze(0), right.half(), right.to("meta")):
        with pytest.raises(ValueError, match=r"^out must have shape \(4, 4\), torch.float32 on .*; leave it out"):
            kernels.gram(X, out=out)
    with pytest.raises(ValueError, match=r"^W must have shape \(4, 4\)"):
        kernels.add_product(X, X.new_empty(6, 6), 1.0)
    with pytest.raises(ValueError, match=r"^A must have shape \(m, m\) or \(batch, m, m\), got \(4, 6\)"):
        kernels.quadratic(X, 1.0, 1.0)
