"""The coefficients of Polar Express against the published lists and against linear programming."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from orthobench.linalg import Recipe, polar_express_coefficients
from orthobench.linalg.polynomials import divide_argument, evaluate, image, minimax_quintic

# Arguments (lower, steps, safety, cushion), and what the authors' program gives for them, to six digits: its default.
DEFAULT = (1e-3, 10, 0.01, 0.02)
DEFAULT_TO_SIX_DIGITS = [
    (8.237312, -23.157747, 16.680568),
    (4.082442, -2.893048, 0.525285),
    (3.926348, -2.854747, 0.531802),
    (3.298219, -2.424542, 0.486320),
    (2.297037, -1.636626, 0.400263),
    (1.876381, -1.234790, 0.358919),
    (1.856442, -1.213245, 0.356800),
]
DEFAULT_LAST = (1.874995, -1.249991, 0.374995)
# As in modded-nanogpt and dion.
FIVE_STEPS = [
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
]
# As printed in the article, before its safety factor; the last one is rounded to the limit.
ARTICLE = [
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
    (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
    (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
    (1.875, -1.25, 0.375),
]
INTERVALS = [(1e-3, 1), (0.02, 1), (0.05, 1.9), (0.13, 1.87), (0.4, 1.6), (0.7, 1.3)]


def test_the_default_list_of_the_authors_comes_out():
    coefficients = np.array(polar_express_coefficients(*DEFAULT))
    np.testing.assert_allclose(coefficients[:7], DEFAULT_TO_SIX_DIGITS, atol=1e-6, rtol=0)
    np.testing.assert_allclose(coefficients[-1], DEFAULT_LAST, atol=2e-6, rtol=0)


def test_the_list_of_modded_nanogpt_comes_out_and_is_the_default():
    np.testing.assert_allclose(polar_express_coefficients(1e-3, 5, 0.02, 0.02), FIVE_STEPS, rtol=1e-12)
    assert polar_express_coefficients() == polar_express_coefficients(1e-3, 5, 0.02, 0.02)


def test_the_list_of_the_article_comes_out():
    coefficients = polar_express_coefficients(1e-3, 8, 0, 0.02407327424182761)
    np.testing.assert_allclose(coefficients[:6], ARTICLE[:6], rtol=1e-12)
    # Where the interval has nearly shrunk to 1, the best coefficients are hardly determined.
    np.testing.assert_allclose(coefficients[6:], ARTICLE[6:], rtol=1e-7)


@pytest.mark.parametrize(("low", "high"), INTERVALS)
def test_the_error_of_the_best_quintic_alternates_between_four_equal_extrema(low, high):
    a, b, c = triple = minimax_quintic(low, high)
    extrema = np.sqrt(np.sort(np.roots([5 * c, 3 * b, a])))
    assert low < extrema[0] < extrema[1] < high
    error = 1 - evaluate(triple, np.array([low, *extrema, high]))
    np.testing.assert_allclose(error, error[0] * np.array([1, -1, 1, -1]), atol=1e-12)
    assert np.abs(1 - evaluate(triple, np.linspace(low, high, 10_001))).max() <= error[0] + 1e-12


@pytest.mark.parametrize(("low", "high"), INTERVALS)
def test_linear_programming_finds_no_better_quintic(low, high):
    x = low + (high - low) * (1 - np.cos(np.linspace(0, np.pi, 2001))) / 2
    powers = np.stack([x, x**3, x**5], axis=1)
    # Smallest E with -E <= 1 - p(x) <= E on the grid.
    constraints = np.block([[powers, -np.ones((len(x), 1))], [-powers, -np.ones((len(x), 1))]])
    bounds = [(None, None)] * 4
    best = linprog([0, 0, 0, 1], constraints, np.concatenate([np.ones_like(x), -np.ones_like(x)]), bounds=bounds)
    triple = minimax_quintic(low, high)
    assert 1 - evaluate(triple, low) == pytest.approx(best.fun, abs=1e-5)
    np.testing.assert_allclose(triple, best.x[:3], rtol=2e-3)


def test_on_a_short_interval_the_best_quintic_is_the_one_with_the_flattest_point():
    for low in (1 - 1e-5, 1 - 1e-6):
        np.testing.assert_allclose(minimax_quintic(low, 1), (1.875, -1.25, 0.375), rtol=1e-4)
    np.testing.assert_allclose(minimax_quintic(2 - 1e-6, 2), (1.875 / 2, -1.25 / 8, 0.375 / 32), rtol=1e-4)


@pytest.mark.parametrize("cushion", [0, 0.02, 0.3])
@pytest.mark.parametrize("lower", [1e-6, 1e-3, 0.1])
def test_each_step_maps_the_interval_into_a_smaller_one_around_one(lower, cushion):
    low, high = lower, 1.0
    for triple in polar_express_coefficients(lower, 9, 0, cushion):
        next_low, next_high = image(triple, low, high)
        # The rounding of the first interval grows with its lower end.
        assert next_low == pytest.approx(evaluate(triple, low), abs=1e-9)
        assert next_high <= 2 - next_low + 1e-9
        if cushion == 0:
            assert next_high == pytest.approx(2 - next_low, abs=1e-9)
        assert next_low > low or next_low > 1 - 1e-9
        low, high = next_low, 2 - next_low


@pytest.mark.parametrize("cushion", [0, 0.02])
def test_the_composition_converges_monotonically(cushion):
    recipe = Recipe("unsafe", "Unsafe", polar_express_coefficients(1e-3, 10, 0, cushion), None, "test")
    s = torch.linspace(1e-3, 1, 20_001, dtype=torch.float64)
    errors = [float((1 - recipe.scalar_map(s, steps)).abs().max()) for steps in range(1, 11)]
    assert all(after < before or after < 1e-9 for before, after in pairwise(errors))
    assert errors[-1] < 1e-9


def test_without_a_cushion_the_composition_beats_the_others_on_its_interval():
    s = torch.linspace(1e-3, 1, 20_001, dtype=torch.float64)

    def error(coefficients):
        return float((1 - Recipe("any", "Any", coefficients, None, "test").scalar_map(s)).abs().max())

    best = polar_express_coefficients(1e-3, 5, 0, 0)
    others = [
        polar_express_coefficients(1e-3, 5, 0, 0.05),
        polar_express_coefficients(2e-3, 5, 0, 0),
        polar_express_coefficients(5e-4, 5, 0, 0),
        ((3.4445, -4.7750, 2.0315),) * 5,
    ]
    generator = np.random.default_rng(0)
    others += [tuple(map(tuple, np.array(best) * generator.normal(1, 1e-3, (5, 3)))) for _ in range(50)]
    assert all(error(best) < error(other) for other in others)


def test_the_safety_factor_divides_the_argument_of_all_polynomials_but_the_last():
    first, last = polar_express_coefficients(1e-2, 2, 0.05, 0)
    best = minimax_quintic(1e-2, 1)
    np.testing.assert_allclose(first, divide_argument(best, 1.05), rtol=1e-12)
    low = evaluate(best, 1e-2 / 1.05)
    np.testing.assert_allclose(last, minimax_quintic(low, 2 - low), rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "values", "allowed"),
    [
        ("lower", (0, 1, -0.1, "1e-3", None, float("nan"), True), r"a number in \(0, 1\)"),
        ("steps", (0, -1, 2.0, "5", True), "an integer >= 1"),
        ("safety", (-0.01, float("inf"), float("nan"), None), "a finite number >= 0"),
        ("cushion", (-0.1, 1, float("nan"), "0"), r"a number in \[0, 1\)"),
    ],
)
def test_arguments_out_of_their_range_are_refused(name, values, allowed):
    for value in values:
        with pytest.raises(ValueError, match=rf"^{name} must be {allowed}, got "):
            polar_express_coefficients(**{name: value})
