"""The root benchmark's metrics against plain float64 computations, and its real run."""

import math

import numpy as np
import pytest
import torch
from conftest import ROOT
from made_up_clock import made_up_clock

from orthobench.data.spectra import with_spectrum
from orthobench.harness.orthogonalisation.cell import MatricesCell
from orthobench.harness.stand import clocks
from orthobench.linalg import (
    aol_rescale,
    exact_factors,
    newton_schulz,
    polar_factor,
    schatten_power,
    spectral_errors,
    summarise,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", [(12, 12), (8, 20), (20, 8)])
def test_metrics_equal_a_plain_float64_computation(shape):
    matrix, output = torch.randn(2, *shape, generator=generator()).unbind()
    U, s, Vt = np.linalg.svd(matrix.double().numpy(), full_matrices=False)
    X = output.double().numpy()
    values = np.linalg.svd(X, compute_uv=False)
    errors = spectral_errors(output, exact_factors(matrix))
    assert errors["relative_error"] == pytest.approx(np.linalg.norm(X - U @ Vt) / np.linalg.norm(U @ Vt))
    gram = X.T @ X if shape[0] > shape[1] else X @ X.T
    expected = np.linalg.norm(gram - np.eye(len(gram))) / math.sqrt(len(gram))
    assert errors["orthogonality_error"] == pytest.approx(expected)
    assert errors["sigma_min"] == pytest.approx(values[-1])
    assert errors["sigma_max"] == pytest.approx(values[0])
    assert values[len(values) // 2] <= errors["sigma_median"] <= values[len(values) // 2 - 1]
    gain = (matrix.double().numpy() * X).sum()
    assert errors["lmo_gap"] == pytest.approx(1 - gain / (s.sum() * values[0]))
    assert errors["rank"] == min(shape)
    assert math.isnan(errors["own_limit_error"])
    assert math.isnan(errors["limit_bias"])


@pytest.mark.parametrize("shape", [(12, 12), (8, 20), (20, 8)])
@pytest.mark.parametrize("exponent", [-0.5, 0.125, 0.5, 1])
def test_metrics_of_a_power_equal_a_plain_float64_computation(shape, exponent):
    matrix, output, other = torch.randn(3, *shape, generator=generator()).unbind()
    G, X, L = matrix.double().numpy(), output.double().numpy(), other.double().numpy()
    U, s, Vt = np.linalg.svd(G, full_matrices=False)
    values = np.linalg.svd(X, compute_uv=False)
    target, scale = U * s**exponent @ Vt, np.sqrt((s ** (2 * exponent)).sum())
    errors = spectral_errors(output, exact_factors(matrix), exponent, limit=exact_factors(other))
    assert errors["relative_error"] == pytest.approx(np.linalg.norm(X - target) / scale)
    U, t, Vt = np.linalg.svd(L, full_matrices=False)
    limit = U * t**exponent @ Vt
    assert errors["own_limit_error"] == pytest.approx(np.linalg.norm(X - limit) / scale)
    assert errors["limit_bias"] == pytest.approx(np.linalg.norm(limit - target) / scale)
    assert errors["sigma_max"] == pytest.approx(values[0])
    assert errors["sigma_min"] == pytest.approx(values[-1])
    assert math.isnan(errors["orthogonality_error"])
    if exponent < 0:
        assert math.isnan(errors["lmo_gap"])
        return
    q, p = 1 + exponent, 1 + 1 / exponent
    bound = (s**q).sum() ** (1 / q) * (values**p).sum() ** (1 / p)
    assert errors["lmo_gap"] == pytest.approx(1 - (G * X).sum() / bound)


@pytest.mark.parametrize("exponent", [0, 1e-3, 0.125, 0.5, 1])
@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1, 1e30])
def test_the_gap_is_zero_at_the_power_alone_and_two_opposite_to_it(exponent, scale):
    matrix = scale * torch.randn(10, 14, generator=generator())
    factors = exact_factors(matrix)
    target = factors.power(exponent)
    errors = spectral_errors(target, factors, exponent)
    assert abs(errors["relative_error"]) < 1e-12
    assert abs(errors["lmo_gap"]) < 1e-12
    assert spectral_errors(-3 * target, factors, exponent)["lmo_gap"] == pytest.approx(2)
    for other in (0, 0.3, 0.7):
        if abs(other - exponent) > 0.1:
            assert spectral_errors(factors.power(other), factors, exponent)["lmo_gap"] > 1e-3
    noise = torch.randn(10, 14, generator=generator(1))
    assert 0 < spectral_errors(noise, factors, exponent)["lmo_gap"] < 2


def test_the_errors_of_a_power_do_not_depend_on_the_scale_of_the_matrix():
    matrix = with_spectrum("log_uniform", (24, 40), 1, generator())[0]
    for exponent in (-0.5, 0.125, 0.5, 1):
        method = "products" if exponent in (0.125, 0.5) else "svd"
        large, small = (
            spectral_errors(schatten_power(each, exponent, method), exact_factors(each), exponent)
            for each in (matrix * 2**10, matrix * 2**-20)
        )
        assert small["relative_error"] == pytest.approx(large["relative_error"], rel=1e-2, abs=1e-6)
        assert small["lmo_gap"] == pytest.approx(large["lmo_gap"], rel=1e-2, abs=1e-9, nan_ok=True)


def test_the_power_of_a_rank_deficient_matrix_stops_at_its_rank():
    left, right = torch.randn(12, 5, generator=generator()), torch.randn(5, 30, generator=generator(1))
    factors = exact_factors((left.double() @ right.double()).float())
    for exponent in (-0.5, 0.5):
        assert torch.linalg.matrix_rank(factors.power(exponent)) == 5
    zero = exact_factors(torch.zeros(4, 6))
    assert spectral_errors(torch.zeros(4, 6), zero, 0.5)["relative_error"] == 0
    assert spectral_errors(torch.zeros(4, 6), zero, 0.5)["lmo_gap"] == 1


def test_the_exact_factor_has_no_error_and_no_gap():
    matrix = torch.randn(10, 14, generator=generator())
    errors = spectral_errors(polar_factor(matrix.double()), exact_factors(matrix))
    for name in ("relative_error", "orthogonality_error", "lmo_gap"):
        assert abs(errors[name]) < 1e-12


def test_the_gap_ignores_the_scale_of_the_output_and_is_one_for_zero():
    matrix = torch.randn(10, 14, generator=generator())
    factors = exact_factors(matrix)
    assert spectral_errors(7 * factors.polar, factors)["lmo_gap"] == pytest.approx(0, abs=1e-12)
    assert spectral_errors(torch.zeros(10, 14), factors)["lmo_gap"] == 1
    assert spectral_errors(-factors.polar, factors)["lmo_gap"] == pytest.approx(2)


def test_directions_below_the_numerical_rank_are_left_out():
    """Rank 5 in float32: rounding makes 7 more singular values, whose directions mean nothing."""
    left, right = torch.randn(12, 5, generator=generator()), torch.randn(5, 30, generator=generator(1))
    matrix = (left.double() @ right.double()).float()
    assert torch.linalg.svdvals(matrix.double())[-1] > 0
    factors = exact_factors(matrix)
    assert len(factors.singular_values) == 5
    errors = spectral_errors(polar_factor(matrix), factors)
    assert errors["rank"] == 5
    assert errors["relative_error"] < 1e-5
    assert errors["sigma_min"] == pytest.approx(1, abs=1e-5)


def test_the_zero_matrix_has_rank_zero_and_the_zero_output_is_right():
    factors = exact_factors(torch.zeros(4, 6))
    errors = spectral_errors(torch.zeros(4, 6), factors)
    assert errors["rank"] == 0
    assert errors["relative_error"] == 0
    assert spectral_errors(torch.ones(4, 6), factors)["relative_error"] > 1


def test_turbo_muon_converges_to_its_own_limit_and_not_to_the_polar_factor():
    matrix = with_spectrum("power_law", (64, 64), 1, generator())[0]
    factors = exact_factors(matrix)
    rescaled = aol_rescale(matrix.double())
    limit = exact_factors(rescaled, rank=len(factors.singular_values))
    # Enough classic iterations on the rescaled matrix to converge.
    X = rescaled / torch.linalg.matrix_norm(rescaled, 2)
    for _ in range(60):
        A = X @ X.mT
        X = 15 / 8 * X - 10 / 8 * A @ X + 3 / 8 * A @ A @ X
    errors = spectral_errors(X, factors, limit=limit)
    assert errors["own_limit_error"] < 1e-9
    assert errors["relative_error"] == pytest.approx(errors["limit_bias"], rel=1e-6)
    assert errors["limit_bias"] > 0.1
    four = spectral_errors(newton_schulz(matrix, "turbo_muon"), factors, limit=limit)
    assert four["limit_bias"] == errors["limit_bias"]
    assert four["own_limit_error"] < four["relative_error"]


def test_a_set_keeps_the_ends_of_the_spectrum_and_averages_the_rest():
    first = {"relative_error": 0.1, "sigma_min": 0.5, "sigma_max": 1.1, "rank": 4.0}
    second = {"relative_error": 0.3, "sigma_min": 0.7, "sigma_max": 1.4, "rank": 6.0}
    expected = {"relative_error": 0.2, "sigma_min": 0.5, "sigma_max": 1.4, "rank": 5.0}
    assert summarise([first, second]) == pytest.approx(expected)


@pytest.mark.parametrize("bad", [torch.zeros(3), torch.zeros(2, 3, 4), torch.full((2, 2), float("nan"))])
def test_exact_factors_take_one_finite_matrix(bad):
    with pytest.raises(ValueError, match="one finite matrix"):
        exact_factors(bad)


def test_a_run_has_the_contracts_columns_and_plausible_figures(root_copy, monkeypatch):
    # By which all that is timed takes the same, in the bench and in stands: what clocks outside say is no matter then.
    made_up_clock(monkeypatch, tick=2.0**-10)
    monkeypatch.syspath_prepend(ROOT / "tests/harness/stand")
    monkeypatch.setattr(MatricesCell, "role", "planted_role:QueueRole")
    monkeypatch.setattr(clocks, "hidden", lambda *_: "")
    datasets = ["gaussian[rows=16,columns=24]", "momenta[network=convnet,step=20]"]
    rows = root_copy.run(dataset_names=datasets)
    contract = """relative_error orthogonality_error sigma_min sigma_median sigma_max lmo_gap own_limit_error rank
    matmul_count flops time_per_matrix_s matmul_efficiency value status message peak_memory_bytes env_commit"""
    assert {f"objective_{name}" for name in contract.split()} <= set(rows)
    assert rows["objective_status"].eq("ok").all()
    assert (rows["objective_value"] == rows["objective_relative_error"]).all()

    def last(solver, dtype):
        chosen = rows["solver_name"].eq(solver) & rows["objective_name"].str.contains(dtype)
        assert chosen.any(), solver
        return rows[chosen].groupby("dataset_name").last()

    assert last("SVD", "float32")["objective_relative_error"].lt(1e-3).all()
    assert last("QR", "float32")["objective_orthogonality_error"].lt(1e-5).all()
    for solver, products in (("Muon", 15), ("Turbo-Muon[triples=first]", 12)):
        iterative = last(solver, "bfloat16")
        assert iterative["objective_relative_error"].between(0.01, 0.6).all()
        assert iterative["objective_matmul_count"].eq(products).all()
        # A step, three products, has (4 m^2 n + 2 m^3) / (2 m^2 n) = 2 + m / n times the operations of a plain one.
        assert iterative["objective_matmul_efficiency"].between(2 * products / 3, products).all()
        assert iterative["objective_sigma_max"].lt(1.25).all()
    assert last("Turbo-Muon[triples=first]", "float32")["objective_own_limit_error"].notna().all()
    for solver in ("SVD", "QR"):
        assert last(solver, "float32")["objective_flops"].isna().all()
        assert last(solver, "float32")["objective_own_limit_error"].isna().all()
    # 4 m^2 n + 2 m^3 a step.
    flops = rows[rows["solver_name"].eq("Muon") & rows["dataset_name"].str.startswith("gaussian")]
    assert (flops["objective_flops"] == flops["stop_val"] * (4 * 16**2 * 24 + 2 * 16**3)).all()


def test_a_run_with_another_exponent_skips_the_methods_that_orthogonalise_only(root_copy):
    datasets = ["gaussian[rows=16,columns=24]", "spectrum[rows=32,columns=32,kind=power_law]"]
    rows = root_copy.run(dataset_names=datasets, objective_filters=["*[exponent=0.5]"])
    assert rows["objective_status"].eq("ok").all()
    assert {"SVD", "Schatten-eigh", "Schatten-products"} == set(rows["solver_name"])
    assert len(rows) == 3 * 2 * 2  # data sets, types
    assert (rows["objective_value"] == rows["objective_relative_error"]).all()
    assert rows["objective_orthogonality_error"].isna().all()
    exact = rows["objective_name"].str.contains("float32")
    products = rows["solver_name"].eq("Schatten-products")
    assert rows[exact & ~products]["objective_value"].lt(1e-5).all()
    assert rows[exact & ~products]["objective_lmo_gap"].abs().lt(1e-9).all()
    assert rows[exact & products]["objective_value"].between(1e-4, 0.02).all()
    assert rows[~exact]["objective_value"].lt(0.05).all()
    assert rows[products]["objective_matmul_count"].eq(30).all()
    assert rows[~products]["objective_matmul_count"].isna().all()


def test_exponents_of_any_value_run_and_products_are_skipped_where_they_have_no_weights(root_copy, capsys):
    objectives = [f"*[exponent={exponent},dtype=float32]" for exponent in (-0.5, 0, 0.3, 1)]
    solvers = ["SVD", "Schatten-eigh", "Schatten-products"]
    datasets = ["gaussian[rows=16,columns=24]"]
    rows = root_copy.run(dataset_names=datasets, objective_filters=objectives, solver_names=solvers)
    assert rows["objective_status"].eq("ok").all()
    assert len(rows) == 4 * 2
    assert rows["objective_value"].lt(1e-5).all()
    printed = " ".join(capsys.readouterr().out.split())
    assert "does not compute U S^e V^T for e = 0.3, only for e = 0.125, 0.25, 0.5" in printed


def test_the_curve_of_turbo_muon_is_its_first_polynomials_or_as_in_its_authors_code_its_last(root_copy):
    rows = root_copy.run(
        dataset_names=["gaussian[rows=16,columns=24,count=1]"],
        objective_filters=["*[dtype=float32]"],
        solver_names=["Turbo-Muon[triples=[first,last]]"],
    )
    errors = {name: own["objective_relative_error"].tolist() for name, own in rows.groupby("solver_name")}
    assert list(errors) == ["Turbo-Muon[triples=first]", "Turbo-Muon[triples=last]"]
    first, last = errors.values()
    assert len(first) == len(last) == 4
    assert first[0] < last[0]  # which raises singular values less
    assert len({*first, *last}) == 7
    assert first[3] == last[3]


def test_an_unknown_recipe_is_a_row_that_names_the_known_ones(root_copy):
    rows = root_copy.run(
        dataset_names=["gaussian[rows=16,columns=24]"],
        objective_filters=["*[dtype=float32]"],
        solver_names=["Turbo-Muon superseded[recipe=turbo_muon_v9]"],
    )
    assert rows["objective_status"].tolist() == ["error"]
    assert "'turbo_muon_v9'" in rows["objective_message"].item()
    assert "'turbo_muon_v1'" in rows["objective_message"].item()


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ("*[exponent=1.5]", "exponent must be a number from -0.5 to 1, got 1.5"),
        ("*[exponent=-1]", "exponent must be a number from -0.5 to 1, got -1"),
        ("*[dtype=float16]", "dtype='float16'"),
    ],
)
def test_a_parameter_out_of_range_is_named(root_copy, objective, message):
    with pytest.raises(ValueError, match=message):
        root_copy.run(objective_filters=[objective], dataset_names=["gaussian[rows=16,columns=24]"])
