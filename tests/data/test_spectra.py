"""The synthetic matrices: their spectra are those announced, and they depend on their generator alone."""

import math

import pytest
import torch
from scipy import stats

from orthobench.data import gaussian, with_spectrum
from orthobench.data.spectra import _haar

KINDS = ["gaussian", "log_uniform", "power_law", "levy", "low_rank", "row_scaled"]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def make(kind, shape, count=1, source=None):
    source = source or generator()
    return gaussian(shape, count, source) if kind == "gaussian" else with_spectrum(kind, shape, count, source)


def singular_values(matrix):
    return torch.linalg.svdvals(matrix.double())


def polar_factor(matrix):
    left, _, right = torch.linalg.svd(matrix.double(), full_matrices=False)
    return left @ right


def relative_error(approximation, exact):
    return float((approximation.double() - exact).norm() / exact.norm())


def five_muon_steps(matrix):
    X = matrix / (matrix.norm() + 1e-7)
    for _ in range(5):
        A = X @ X.T
        X = 3.4445 * X + (-4.7750 * A + 2.0315 * A @ A) @ X
    return X


def rescaled_as_in_aol(matrix):
    matrix = matrix.double()
    return (matrix @ matrix.T).abs().sum(dim=1, keepdim=True).rsqrt() * matrix


@pytest.mark.parametrize(
    ("kind", "muon_error", "aol_floor"),
    [
        ("gaussian", 0.190, 0.011),
        ("log_uniform", 0.428, 0.040),
        ("power_law", 0.178, 0.157),
        ("levy", 0.248, 0.069),
        ("low_rank", 0.343, 0.040),
        ("row_scaled", 0.440, 0.188),
    ],
)
def test_the_published_figures_come_out(kind, muon_error, aol_floor):
    (matrix,) = make(kind, (512, 512))
    exact = polar_factor(matrix)
    assert relative_error(five_muon_steps(matrix), exact) == pytest.approx(muon_error, abs=1e-3)
    assert relative_error(polar_factor(rescaled_as_in_aol(matrix)), exact) == pytest.approx(aol_floor, abs=1e-3)


@pytest.mark.parametrize("shape", [(64, 64), (48, 80), (80, 48), (1, 5), (5, 1)])
@pytest.mark.parametrize("kind", KINDS)
def test_matrices_are_float32_finite_and_of_the_shape(kind, shape):
    matrices = make(kind, shape, count=2)
    assert len(matrices) == 2
    for matrix in matrices:
        assert matrix.shape == shape
        assert matrix.dtype == torch.float32
        assert matrix.is_contiguous()
        assert matrix.isfinite().all()
        assert matrix.any()
    assert not torch.equal(*matrices)


@pytest.mark.parametrize("kind", KINDS)
def test_the_generator_decides_and_moves_on(kind):
    source = generator()
    one_by_one = [make(kind, (20, 30), 1, source)[0] for _ in range(2)]
    torch.manual_seed(5)
    together = make(kind, (20, 30), 2)
    assert all(map(torch.equal, one_by_one, together))
    assert not torch.equal(together[0], make(kind, (20, 30), 1, generator(1))[0])


@pytest.mark.parametrize("kind", KINDS)
def test_the_callers_settings_neither_matter_nor_change(kind):
    first = make(kind, (300, 200))
    threads = torch.get_num_threads()
    torch.set_num_threads(threads % 2 + 1)
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    state = torch.get_rng_state()
    try:
        second = make(kind, (300, 200))
        assert torch.get_num_threads() == threads % 2 + 1
        assert torch.get_default_dtype() == torch.float64
        assert torch.equal(state, torch.get_rng_state())
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
    assert torch.equal(first[0], second[0])


@pytest.mark.parametrize("shape", [(64, 64), (64, 200), (200, 64)])
def test_the_power_laws_singular_values(shape):
    (matrix,) = make("power_law", shape)
    torch.testing.assert_close(singular_values(matrix), 1 / torch.arange(1, 65, dtype=torch.float64), rtol=1e-5, atol=0)


@pytest.mark.parametrize("shape", [(256, 256), (256, 300), (300, 256)])
def test_the_log_uniform_singular_values(shape):
    (matrix,) = make("log_uniform", shape)
    exponents = -singular_values(matrix).log10() / 3
    assert stats.kstest(exponents.numpy(), "uniform").pvalue > 0.01
    assert exponents.min() > -1e-6
    assert exponents.max() < 1 + 1e-4


@pytest.mark.parametrize(("shape", "rank"), [((128, 128), 8), ((128, 512), 8), ((512, 128), 8), ((8, 8), 1)])
def test_the_low_rank_and_its_noise(shape, rank):
    (matrix,) = make("low_rank", shape)
    values = singular_values(matrix)
    noise = 0.1 * (math.sqrt(shape[0]) + math.sqrt(shape[1]))  # the edge of the noise's spectrum
    assert values[rank - 1] > 2 * noise
    assert 0.5 * noise < values[rank] < 1.1 * noise
    assert float(matrix.norm()) == pytest.approx(math.sqrt(1.01 * shape[0] * shape[1]), rel=0.6 / math.sqrt(rank))


def test_rows_are_gaussian_up_to_a_log_normal_scale():
    (matrix,) = make("row_scaled", (400, 500))
    scales = matrix.double().square().mean(dim=1).sqrt()
    assert stats.kstest((scales.log() / 1.5).numpy(), "norm").pvalue > 0.01
    assert stats.kstest((matrix.double() / scales[:, None]).flatten().numpy(), "norm").pvalue > 0.01


def test_gaussian_entries_are_standard():
    (matrix,) = make("gaussian", (300, 300))
    assert stats.kstest(matrix.double().flatten().numpy(), "norm").pvalue > 0.01


def test_levy_entries_have_the_stable_laws_quantiles():
    (matrix,) = make("levy", (400, 400))
    for probability in (0.1, 0.25, 0.4, 0.5, 0.75, 0.99, 0.999):
        quantile = stats.levy_stable.ppf(probability, 1.5, 0)
        allowed = 4 * math.sqrt(probability * (1 - probability) / matrix.numel())
        assert float((matrix <= quantile).double().mean()) == pytest.approx(probability, abs=allowed)


def test_haar_factors_are_orthonormal_and_without_a_preferred_direction():
    source = generator()
    factors = torch.stack([_haar(4, 3, source) for _ in range(2000)])
    assert torch.allclose(factors.mT @ factors, torch.eye(3, dtype=torch.float64).expand(2000, 3, 3), atol=1e-12)
    # Of a Haar matrix, each entry has mean 0 and mean square 1 / rows.
    assert factors.mean(dim=0).abs().max() < 4 / math.sqrt(4 * 2000)
    assert (4 * factors.square().mean(dim=0) - 1).abs().max() < 0.12


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"kind": "cauchy"}, ValueError, r"kind is 'cauchy': give one of log_uniform, power_law, levy, low_rank"),
        ({"kind": ["levy"]}, ValueError, r"kind is \['levy'\]: give one of"),
        ({"shape": (0, 3)}, ValueError, r"rows is 0: give an integer >= 1"),
        ({"shape": (3, -1)}, ValueError, r"columns is -1: give an integer >= 1"),
        ({"shape": (3, 2.0)}, TypeError, r"columns is 2.0: give an integer >= 1"),
        ({"shape": (3, 3, 3)}, TypeError, r"shape is \(3, 3, 3\): give two integers >= 1"),
        ({"shape": 3}, TypeError, r"shape is 3: give two integers >= 1"),
        ({"count": 0}, ValueError, r"count is 0: give an integer >= 1"),
        ({"count": True}, TypeError, r"count is True: give an integer >= 1"),
        ({"generator": 0}, TypeError, r"generator is 0: give a torch.Generator of the CPU"),
    ],
)
def test_a_bad_argument_is_named_with_what_is_allowed(arguments, error, message):
    good = {"kind": "levy", "shape": (3, 3), "count": 1, "generator": generator()}
    with pytest.raises(error, match=message):
        with_spectrum(**good | arguments)
