"""The criteria against textbook sums over an explicit SVD in float64, on dense grids of exponents."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orthobench.optim.criteria import (
    PowerDirections,
    best_exponent,
    bound_exponent,
    momentum_exponent,
    tightness_exponent,
)
from orthobench.optim.surrogate import predicted_decrease, two_direction_step

KINDS = ("gaussian", "mean", "power_law", "spike", "low_rank_inputs", "low_rank_gradient", "orthogonal")
SHAPES = [(6, 9), (9, 6), (7, 7), (1, 5), (5, 1)]
DENSE = np.linspace(0, 1, 20_001)

all_kinds = pytest.mark.parametrize("kind", KINDS)
all_shapes = pytest.mark.parametrize("shape", SHAPES)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def problem(kind, shape, seed=0, n=40):
    """Return W, A and Y of a least-squares problem, its gradient, and a momentum."""
    m, d = shape
    A = normal(d, n, seed=seed)
    target = normal(m, d, seed=seed + 1)
    if kind == "mean":
        A = A.relu()
    elif kind == "power_law":
        A = A * torch.arange(1, d + 1).double().pow(-1).unsqueeze(-1)
    elif kind == "spike":
        A[0] *= 30
    elif kind == "low_rank_inputs":
        A = normal(d, 1, seed=seed + 5) @ normal(1, n, seed=seed + 6)
    elif kind == "low_rank_gradient":
        target = normal(m, 1, seed=seed + 5) @ normal(1, d, seed=seed + 6)
    elif kind == "orthogonal":
        A = torch.linalg.qr(normal(n, d, seed=seed)).Q.T
    W, Y = normal(m, d, seed=seed + 2) / 10, target @ A
    G = (W @ A - Y) @ A.T / n
    return W, A, Y, G, G + 0.5 * G.norm() / math.sqrt(m * d) * normal(m, d, seed=seed + 3)


def moment(A):
    return A @ A.T / A.shape[1]


def loss(W, A, Y):
    return float((W @ A - Y).square().sum() / (2 * A.shape[1]))


def singular(M):
    U, s, Vt = np.linalg.svd(np.asarray(M), full_matrices=False)
    r = int((s > max(M.shape) * np.finfo(float).eps * s[0]).sum())
    return U[:, :r], s[:r], Vt[:r]


def schatten(X, k):
    s = singular(X)[1]
    return s[0] if math.isinf(k) else s[0] * ((s / s[0]) ** k).sum() ** (1 / k)


def textbook_bound(G, A, e):
    """(||G||_(1+1/p) / ||A||_(2(p+1)/(p-1)))^2 n / 2, with the limits p = 1 and p = infinity written out."""
    n = A.shape[1]
    if e == 1:
        ratio = schatten(G, 2) / schatten(A, math.inf)
    elif e == 0:
        ratio = schatten(G, 1) / schatten(A, 2)
    else:
        p = 1 / e
        ratio = schatten(G, 1 + 1 / p) / schatten(A, 2 * (p + 1) / (p - 1))
    return n * ratio**2 / 2


def textbook_momentum(G, M, A, e):
    U, s, Vt = singular(M)
    inner = sum(s[i] ** e * (U[:, i] @ G.numpy() @ Vt[i]) for i in range(len(s)))
    if e == 0:
        norms = schatten(A, 2)
    elif e == 1:
        norms = schatten(A, math.inf) * math.sqrt((s**2).sum())
    else:
        p = 1 / e
        norms = schatten(A, 2 * (p + 1) / (p - 1)) * (s ** ((p + 1) / p)).sum() ** (1 / (p + 1))
    return A.shape[1] * max(inner, 0) ** 2 / (2 * norms**2)


def power(M, e):
    U, s, Vt = singular(M)
    return torch.from_numpy((U * s**e) @ Vt)


def textbook_tightness(G, M, A, e):
    U, s, Vt = singular(M)
    inner = sum(s[i] ** e * (U[:, i] @ G.numpy() @ Vt[i]) for i in range(len(s)))
    curvature = sum(s[i] ** (2 * e) * np.square(A.numpy().T @ Vt[i]).sum() for i in range(len(s))) / A.shape[1]
    return max(inner, 0) ** 2 / (2 * curvature)


def criteria(G, M, A):
    """Return, for each criterion, its choice, and its textbook version as a function of e."""
    C = moment(A)
    return {
        "bound": (bound_exponent(G, C), lambda e: textbook_bound(G, A, e)),
        "momentum": (momentum_exponent(G, M, C), lambda e: textbook_momentum(G, M, A, e)),
        "tightness": (tightness_exponent(G, M, C), lambda e: textbook_tightness(G, M, A, e)),
    }


# --- the exponents ---------------------------------------------------------------------------------------------------


@all_kinds
@all_shapes
def test_each_choice_is_the_best_of_a_dense_grid(kind, shape):
    _, A, _, G, M = problem(kind, shape)
    for name, (choice, textbook) in criteria(G, M, A).items():
        best = max(textbook(e) for e in DENSE[:: 20 if name == "bound" else 100])
        assert float(choice.decrease) >= best * (1 - 1e-9), name
        assert textbook(float(choice.exponent)) == pytest.approx(float(choice.decrease), rel=1e-9), name


@pytest.mark.parametrize("kind", ["gaussian", "mean", "low_rank_gradient"])
def test_the_exponent_is_where_a_dense_grid_has_its_maximum(kind):
    _, A, _, G, M = problem(kind, (6, 9))
    U, s, Vt = singular(M)
    inner = (s ** DENSE[:, None] * np.diag(U.T @ G.numpy() @ Vt.T)).sum(-1)
    curvature = (s ** (2 * DENSE[:, None]) * np.square(Vt @ A.numpy()).sum(-1)).sum(-1) / A.shape[1]
    expected = DENSE[(inner**2 / curvature).argmax()]
    assert float(tightness_exponent(G, M, moment(A)).exponent) == pytest.approx(expected, abs=6e-5)


@pytest.mark.parametrize("e", [0, 1e-9, 0.1, 0.5, 0.9, 1 - 1e-9, 1])
@all_kinds
def test_the_criteria_are_the_textbooks_at_every_exponent_ends_included(kind, e):
    _, A, _, G, M = problem(kind, (6, 9))
    at = torch.tensor([e], dtype=torch.float64)
    own, other = PowerDirections(G, moment(A)), PowerDirections(M, moment(A))
    close = {"rel": 1e-6 if 0 < 1 - e < 1e-6 else 1e-9}
    assert float(own.guaranteed_decrease(own.sigma, at)) == pytest.approx(textbook_bound(G, A, e), **close)
    values = other.guaranteed_decrease(other.alignment(G), at)
    assert float(values) == pytest.approx(textbook_momentum(G, M, A, e), **close)
    assert float(other.decrease(other.alignment(G), at)) == pytest.approx(textbook_tightness(G, M, A, e))


@all_kinds
@all_shapes
def test_the_bounds_are_below_the_exact_decrease_which_is_that_of_the_direction(kind, shape):
    W, A, Y, G, M = problem(kind, shape)
    exponents = torch.linspace(0, 1, 11, dtype=torch.float64)
    for matrix in (G, M):
        directions = PowerDirections(matrix, moment(A))
        alignment = directions.alignment(G)
        exact, bound = directions.decrease(alignment, exponents), directions.guaranteed_decrease(alignment, exponents)
        assert (bound <= exact * (1 + 1e-12)).all()
        for e, value in zip(exponents.tolist(), exact.tolist(), strict=True):
            D = power(matrix, e)
            step = predicted_decrease(G, D, moment(A))
            if float(step.size) <= 0:  # uphill
                assert value == 0
                continue
            assert value == pytest.approx(float(step.decrease), rel=1e-9)
            actual = loss(W, A, Y) - loss(W - step.size * D, A, Y)
            assert value == pytest.approx(actual, rel=1e-8, abs=1e-13 * loss(W, A, Y))


def test_bound_and_momentum_agree_where_the_momentum_is_the_gradient():
    _, A, _, G, _ = problem("mean", (6, 9))
    for mine, theirs in zip(bound_exponent(G, moment(A)), momentum_exponent(G, G, moment(A)), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_the_ends_of_the_bound_compare_nuclear_rank_and_stable_rank():
    for seed in range(20):
        _, A, _, G, _ = problem(KINDS[seed % 4], (6, 9), seed=10 * seed)
        directions = PowerDirections(G, moment(A))
        muon, sgd = directions.guaranteed_decrease(directions.sigma, torch.tensor([0.0, 1.0]).double()).tolist()
        nuclear_rank = (schatten(G, 1) / schatten(G, 2)) ** 2
        stable_rank = (schatten(A, 2) / schatten(A, math.inf)) ** 2
        assert (muon >= sgd) == (nuclear_rank >= stable_rank)


def test_isotropic_inputs_want_the_gradient_itself():
    G, M = normal(6, 9), normal(6, 9, seed=1)
    C = 3 * torch.eye(9, dtype=torch.float64)
    choice = tightness_exponent(G, G, C)
    assert float(choice.exponent) == 1
    assert float(choice.decrease) == pytest.approx(float(G.square().sum() / 6))
    # And of the directions of a momentum, the one nearest to the gradient.
    e = float(tightness_exponent(G, G + M, C).exponent)
    cosines = [torch.cosine_similarity(power(G + M, each).flatten(), G.flatten(), dim=0) for each in DENSE[::100]]
    assert e == pytest.approx(DENSE[::100][int(np.argmax(cosines))], abs=6e-3)


def test_the_ends_of_the_range_are_tried_exactly():
    _, A, _, G, M = problem("gaussian", (6, 9))
    C = moment(A)
    for choose in (
        lambda **range: bound_exponent(G, C, **range),
        lambda **range: momentum_exponent(G, M, C, **range),
        lambda **range: tightness_exponent(G, M, C, **range),
    ):
        inside = float(choose().exponent)
        assert 0 < inside < 1
        low, high = inside / 3, inside / 3 * 2
        assert float(choose(low=low, high=high).exponent) == high
        low, high = inside + (1 - inside) / 3, 0.99
        assert float(choose(low=low, high=high).exponent) == low
        assert float(choose(low=0.1, high=0.1).exponent) == 0.1


def test_negative_exponents_are_for_the_exact_decrease():
    # Where gradients are small the inputs are smaller still: more than Muon would be best.
    C = torch.diag(torch.tensor([1.0, 1e-2, 1e-4, 1e-6]).double())
    G = torch.diag(torch.tensor([1.0, 1e-1, 1e-2, 1e-3]).double())
    assert float(tightness_exponent(G, G, C).exponent) == 0
    choice = tightness_exponent(G, G, C, low=-0.5)
    assert -0.5 <= float(choice.exponent) < 0
    for other in (bound_exponent, lambda *arguments, **range: momentum_exponent(G, *arguments, **range)):
        with pytest.raises(ValueError, match=r"within \[0, 1\] for the criterion .*got -0\.5 to 1\.0; 0 to 1 is from"):
            other(G, C, low=-0.5)


def test_directions_that_are_the_same_for_every_exponent_give_the_lowest():
    for seed in range(20):
        A = normal(9, 40, seed=seed)
        G, M = normal(6, 9, seed=seed + 1), normal(6, 1, seed=seed + 2) @ normal(1, 9, seed=seed + 3)
        if (G * M).sum() < 0:
            M = -M
        for low in (0.0, 0.3):
            assert float(tightness_exponent(G, M, moment(A), low=low).exponent) == low


def test_the_choice_among_some_exponents_is_the_best_of_them():
    for seed in range(10):
        _, A, _, G, M = problem(KINDS[seed % 4], (6, 9), seed=7 * seed)
        directions = PowerDirections(M, moment(A))
        dyadic = (1, 0.5, 0.25, 0.125, 0)
        choice = best_exponent("tightness", directions, directions.alignment(G), among=dyadic)
        expected = max(dyadic, key=lambda e: textbook_tightness(G, M, A, e))
        assert float(choice.exponent) == expected
        limited = best_exponent("tightness", directions, directions.alignment(G), 0.2, 0.6, among=dyadic)
        assert float(limited.exponent) in (0.25, 0.5)
    with pytest.raises(ValueError, match=r"none of the exponents \(1, 0\.5, .*\) is from 0\.6 to 0\.9; widen"):
        best_exponent("tightness", directions, directions.alignment(G), 0.6, 0.9, among=dyadic)


def test_a_criterion_with_a_corner_or_a_jump_is_searched_too():
    class Made(PowerDirections):
        def __init__(self, curve):
            self.decrease = curve

    def corner(alignment, e, at):
        return torch.where(e < at, 1 + e - at, 1 - 100 * (e - at))

    for at in (0.31, 0.317, 1 / 3, 0.4242, 0.99):
        made = Made(partial(corner, at=at))
        choice = best_exponent("tightness", made, torch.ones(1))
        assert 1 - 1e-3 < float(choice.decrease) <= 1
        assert float(made.decrease(None, choice.exponent)) == float(choice.decrease)
    assert float(best_exponent("tightness", Made(partial(corner, at=0.5)), torch.ones(1)).decrease) == 1
    jump = Made(lambda alignment, e: torch.where(e < 0.31, 1.0, 0.5 + e / 4))
    assert 0 <= float(best_exponent("tightness", jump, torch.ones(1)).exponent) < 0.31
    peak = Made(lambda alignment, e: torch.where((e - 0.5).abs() < 1e-9, 2.0, 1.0))
    assert float(best_exponent("tightness", peak, torch.ones(1)).exponent) == 0.5


def test_a_batch_is_its_matrices():
    problems = [problem(kind, (6, 9), seed=3 * i) for i, kind in enumerate(KINDS)]
    G, M, C = (torch.stack(each) for each in zip(*((G, M, moment(A)) for _, A, _, G, M in problems), strict=True))
    shape = (len(KINDS),)
    together = [
        bound_exponent(G, C),
        momentum_exponent(G, M, C),
        tightness_exponent(G, M, C),
        predicted_decrease(G, M, C),
    ]
    combined = two_direction_step(G, C)
    assert all(each.shape == shape for results in together for each in results)
    for i in range(len(KINDS)):
        alone = [
            bound_exponent(G[i], C[i]),
            momentum_exponent(G[i], M[i], C[i]),
            tightness_exponent(G[i], M[i], C[i]),
            predicted_decrease(G[i], M[i], C[i]),
        ]
        for one, all_of_them in zip(alone, together, strict=True):
            for mine, theirs in zip(one, all_of_them, strict=True):
                torch.testing.assert_close(mine, theirs[i], rtol=1e-5, atol=1e-9)
        torch.testing.assert_close(two_direction_step(G[i], C[i]).direction, combined.direction[i])
    # One C for all.
    torch.testing.assert_close(bound_exponent(G, C[0]).decrease[1], bound_exponent(G[1], C[0]).decrease)
    assert two_direction_step(G, C[0]).weights.shape == (*shape, 2)


@given(
    seed=st.integers(0, 2**31),
    kind=st.sampled_from(KINDS),
    shape=st.sampled_from(SHAPES),
    scales=st.tuples(*[st.integers(-300, 300)] * 3),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_the_choice_does_not_depend_on_any_scale(seed, kind, shape, scales):
    _, A, _, G, M = problem(kind, shape, seed=seed)
    C = moment(A)
    g, a, b = (2.0**each for each in (scales[0] / 4, 2 * scales[1], scales[2] / 4))
    for before, after in (
        (bound_exponent(G, C), bound_exponent(g * G, b * C)),
        (momentum_exponent(G, M, C), momentum_exponent(g * G, a * M, b * C)),
        (tightness_exponent(G, M, C), tightness_exponent(g * G, a * M, b * C)),
    ):
        assert float(after.decrease) == pytest.approx(float(before.decrease) * g**2 / b, rel=1e-9)
        assert float(after.exponent) == pytest.approx(float(before.exponent), abs=1e-4)


@pytest.mark.parametrize("kind", ["gaussian", "mean", "power_law", "spike", "orthogonal"])
@all_shapes
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_narrow_types_are_computed_in_float64(kind, shape, dtype):
    _, A, _, G, M = problem(kind, shape)
    G, M, C = G.to(dtype), M.to(dtype), moment(A)
    for narrow, wide in (
        (bound_exponent(G, C), bound_exponent(G.double(), C)),
        (tightness_exponent(G, M, C), tightness_exponent(G.double(), M.double(), C)),
    ):
        assert narrow.exponent.dtype == narrow.decrease.dtype == torch.float64
        assert float(narrow.decrease) == pytest.approx(float(wide.decrease), rel=1e-6)


def test_directions_that_do_not_exist_have_no_alignment():
    """It would be averaged with that of directions which do."""
    M = normal(6, 2) @ normal(2, 9, seed=1)
    for X in (M, M.float(), M.T):
        directions = PowerDirections(X, torch.eye(X.shape[1]))
        alignment = directions.alignment(normal(*X.shape, seed=2))
        assert alignment[:2].all()
        assert not alignment[2:].any()
        assert not directions.sigma[2:].any()


def test_rounding_noise_is_no_direction():
    """Without a threshold, (1e-8)^0 = 1 would make null space a direction as good as any."""
    _, A, _, _, _ = problem("gaussian", (20, 30))
    G = normal(20, 3) @ normal(3, 30, seed=1)
    exact = bound_exponent(G, moment(A), high=0.0).decrease
    rounded = bound_exponent(G.float(), moment(A), high=0.0).decrease
    assert float(rounded) == pytest.approx(float(exact), rel=1e-5)


@pytest.mark.parametrize("shape", [(1, 5), (6, 9), (20, 64), (64, 200)])
@pytest.mark.parametrize("rows", [1, 7, 4096])
def test_rounding_noise_of_the_second_moment_chooses_nothing(shape, rows):
    """All inputs are multiples of one: every exponent does as well, in each criterion, and the lowest is taken."""
    m, d = shape
    for seed in range(5):
        inputs = (normal(rows, 1, seed=seed + 1) * normal(1, d, seed=seed)).float()
        C = inputs.T @ inputs / rows
        G = (normal(rows, m, seed=seed + 2).float().T @ inputs) / rows
        for choice in (bound_exponent(G, C), momentum_exponent(G, G, C), tightness_exponent(G, G, C)):
            assert float(choice.exponent) == 0
            assert float(choice.decrease) == pytest.approx(float(predicted_decrease(G, G, C).decrease), rel=1e-4)


def test_a_direction_that_only_rounding_curves_has_an_infinite_decrease():
    a, b = torch.linalg.qr(normal(40, 2)).Q.float().T
    choice = tightness_exponent(*2 * [torch.outer(normal(20).float(), b)], torch.outer(a, a) + 0.0)
    assert float(choice.decrease) == math.inf


def test_small_eigenvalues_that_add_up_are_no_noise():
    """A large one, and many that are each rounding noise of its type, but not together."""
    eigenvalues = torch.tensor([1.0] + 999 * [5e-5])
    G = normal(50, 1000).float()
    for choose in (bound_exponent, lambda G, C: tightness_exponent(G, G, C)):
        narrow, wide = choose(G, torch.diag(eigenvalues)), choose(G.double(), torch.diag(eigenvalues.double()))
        assert float(narrow.decrease) == pytest.approx(float(wide.decrease), rel=1e-2)
        assert float(narrow.exponent) == pytest.approx(float(wide.exponent), abs=0.01)


# --- stated results at the edges -------------------------------------------------------------------------------------


@all_shapes
def test_zero_gives_zero_and_the_lowest_exponent(shape):
    zero, X = torch.zeros(shape, dtype=torch.float64), normal(*shape)
    C = torch.eye(shape[1], dtype=torch.float64)
    for choice in (
        bound_exponent(zero, C, low=0.2),
        momentum_exponent(zero, X, C, low=0.2),
        momentum_exponent(X, zero, C, low=0.2),
        tightness_exponent(zero, X, C, low=0.2),
        tightness_exponent(X, zero, C, low=0.2),
        tightness_exponent(X, -X, C, low=0.2),
        bound_exponent(zero, 0 * C, low=0.2),
    ):
        assert float(choice.decrease) == 0
        assert float(choice.exponent) == 0.2
    for G, D in ((zero, X), (X, zero), (zero, zero)):
        assert [float(each) for each in predicted_decrease(G, D, C)] == [0, 0]
        assert [float(each) for each in predicted_decrease(G, D, 0 * C)] == [0, 0]
    combined = two_direction_step(zero, C)
    assert not combined.direction.any()
    assert float(combined.decrease) == 0


def test_a_direction_uphill_has_a_negative_step_and_the_same_decrease():
    _, A, _, G, M = problem("gaussian", (6, 9))
    up, down = predicted_decrease(G, -M, moment(A)), predicted_decrease(G, M, moment(A))
    assert float(up.size) == -float(down.size) < 0
    assert float(up.decrease) == float(down.decrease) > 0


def test_a_direction_without_curvature_has_an_infinite_decrease():
    C = torch.diag(torch.tensor([1.0, 1.0, 0.0]).double())
    D = torch.tensor([[0.0, 0.0, 2.0], [0.0, 0.0, 1.0]]).double()
    assert [float(each) for each in predicted_decrease(D, D, C)] == [math.inf, math.inf]
    assert float(tightness_exponent(D, D, C).decrease) == math.inf
    assert float(tightness_exponent(D, D, C).exponent) == 0
    rotation = torch.linalg.qr(normal(3, 3)).Q  # the zero is rounding noise then
    step = predicted_decrease(D @ rotation, D @ rotation, rotation.T @ C @ rotation)
    assert float(step.decrease) == math.inf


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_entries_that_are_not_finite_are_refused_by_name(bad):
    X, C = normal(3, 4), torch.eye(4, dtype=torch.float64)
    broken, broken_moment = X.clone(), C.clone()
    broken[1, 2] = broken_moment[0, 1] = bad
    calls = {
        "M": [lambda: bound_exponent(broken, C), lambda: tightness_exponent(X, broken, C)],
        "G": [
            lambda: tightness_exponent(broken, X, C),
            lambda: predicted_decrease(broken, X, C),
            lambda: two_direction_step(broken, C),
        ],
        "C": [lambda: bound_exponent(X, broken_moment), lambda: two_direction_step(X, broken_moment)],
        "D": [lambda: predicted_decrease(X, broken, C)],
        r"directions\[1\]": [lambda: two_direction_step(X, C, [X, broken])],
    }
    for name, each in calls.items():
        for call in each:
            with pytest.raises(ValueError, match=f"^{name} must be finite, got NaN or infinity"):
                call()


@pytest.mark.parametrize("range", [(-0.51, 1), (0, 1.01), (math.nan, 1), (0.6, 0.5), (0, math.inf)])
def test_ranges_are_checked(range):
    X, C = normal(3, 4), torch.eye(4, dtype=torch.float64)
    for choose in (bound_exponent, lambda G, C, low, high: tightness_exponent(G, G, C, low, high)):
        with pytest.raises(ValueError, match=r"exponent.* from -0\.5 to 1, got|range of exponents must be within"):
            choose(X, C, *range)
    with pytest.raises(TypeError, match=r"exponent must be a number from -0\.5 to 1, got '0' \(str\)"):
        bound_exponent(X, C, low="0")


def test_an_unknown_criterion_is_named():
    directions = PowerDirections(normal(3, 4), torch.eye(4))
    with pytest.raises(ValueError, match="criterion must be one of 'bound', 'momentum', 'tightness', got 'greedy'"):
        best_exponent("greedy", directions, directions.sigma)


def test_shapes_and_types_are_checked():
    X, C = normal(3, 4), torch.eye(4, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"^C must have shape \(\.\.\., 4, 4\), got \(3, 3\)"):
        bound_exponent(X, torch.eye(3))
    with pytest.raises(ValueError, match=r"^G must have shape \(\.\.\., 3, 4\), got \(4, 3\)"):
        tightness_exponent(X.T, X, C)
    with pytest.raises(ValueError, match=r"^D must have shape \(\.\.\., 3, 4\), got \(4, 3\)"):
        predicted_decrease(X, X.T, C)
    with pytest.raises(ValueError, match=r"^M must have shape \(\.\.\., m, n\) without a 0, got \(0, 4\)"):
        bound_exponent(X[:0], C)
    with pytest.raises(TypeError, match=r"^C must be a real floating-point torch\.Tensor, got torch\.int64"):
        bound_exponent(X, torch.eye(4).long())
    with pytest.raises(ValueError, match="directions must hold at least one"):
        two_direction_step(X, C, [])


# --- combinations ----------------------------------------------------------------------------------------------------


def polar(M):
    U, _, Vt = singular(M)
    return torch.from_numpy(U @ Vt)


@all_kinds
@all_shapes
def test_the_combination_decreases_the_loss_as_predicted_and_most(kind, shape):
    W, A, Y, G, _ = problem(kind, shape)
    combined = two_direction_step(G, moment(A))
    expected = combined.weights[0] * G + combined.weights[1] * polar(G)
    torch.testing.assert_close(combined.direction, expected)
    before = loss(W, A, Y)
    actual = before - loss(W - combined.direction, A, Y)
    assert float(combined.decrease) == pytest.approx(actual, rel=1e-8, abs=1e-13 * before)
    # Least squares in the residuals, by another way.
    features = torch.stack([(D @ A).flatten() for D in (G, polar(G))], 1)
    weights = torch.linalg.lstsq(features, (W @ A - Y).flatten().unsqueeze(1), driver="gelsd").solution
    best = before - loss(W - (weights[0] * G + weights[1] * polar(G)), A, Y)
    assert actual == pytest.approx(best, rel=1e-7, abs=1e-13 * before)
    for D in (G, polar(G)):
        assert float(combined.decrease) >= float(predicted_decrease(G, D, moment(A)).decrease) * (1 - 1e-12)


@pytest.mark.parametrize("angle", [0, 1e-12, 1e-9, 1e-3])
@pytest.mark.parametrize("scales", [(1, 1), (1e-6, 1e3)])
def test_parallel_directions_do_as_well_as_one(angle, scales):
    _, A, _, G, M = problem("gaussian", (6, 9))
    C = moment(A)
    combined = two_direction_step(G, C, [scales[0] * G, scales[1] * (G + angle * M)])
    alone = predicted_decrease(G, G, C)
    assert float(combined.decrease) == pytest.approx(float(alone.decrease), rel=1e-8 if angle < 1e-3 else 1e-1)
    assert float(combined.decrease) >= float(alone.decrease) * (1 - 1e-8)
    if angle < 1e-6:
        torch.testing.assert_close(combined.direction, alone.size * G, rtol=1e-8, atol=1e-8)
        # Of minimal norm for directions of equal curvature: half the step each.
        weights = combined.weights * torch.tensor(scales)
        torch.testing.assert_close(weights, alone.size.expand(2) / 2, rtol=1e-5, atol=0)


def test_the_weights_undo_the_lengths_of_the_directions():
    _, A, _, G, M = problem("mean", (6, 9))
    combined = two_direction_step(G, moment(A), [G, M])
    scaled = two_direction_step(G, moment(A), [1e-7 * G, -1e5 * M])
    torch.testing.assert_close(scaled.direction, combined.direction, rtol=1e-8, atol=1e-9)


def test_directions_that_predict_nothing_get_no_weight():
    _, A, _, G, _ = problem("gaussian", (6, 9))
    C = moment(A)
    combined = two_direction_step(G, C, [G, torch.zeros_like(G)])
    assert float(combined.weights[1]) == 0
    assert float(combined.decrease) == pytest.approx(float(predicted_decrease(G, G, C).decrease))
    null = torch.diag(torch.tensor([1.0, 1.0, 0.0]).double())
    G = normal(2, 3)
    flat = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 2.0]]).double()
    combined = two_direction_step(G, null, [G, flat])
    assert float(combined.weights[1]) == 0
    assert combined.direction.isfinite().all()


def test_more_directions_do_better_and_all_of_them_solve_the_problem():
    W, A, Y, G, _ = problem("gaussian", (2, 3))
    C = moment(A)
    directions = [G, polar(G), *(normal(2, 3, seed=seed) for seed in range(10, 14))]
    decreases = [float(two_direction_step(G, C, directions[:k]).decrease) for k in range(1, 7)]
    assert decreases == sorted(decreases)
    assert loss(W, A, Y) - decreases[-1] < 1e-9 * loss(W, A, Y)


def test_nothing_is_recorded_or_modified():
    _, A, _, G, M = problem("gaussian", (6, 9))
    C = moment(A)
    tensors = [each.requires_grad_() for each in (G, M, C)]
    copies = [each.detach().clone() for each in tensors]
    results = [
        *tightness_exponent(G, M, C),
        *bound_exponent(G, C),
        *predicted_decrease(G, M, C),
        *two_direction_step(G, C),
    ]
    assert not any(each.requires_grad for each in results)
    assert all(map(torch.equal, tensors, copies))
