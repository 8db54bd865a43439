"""Odd quintics a x + b x^3 + c x^5: the nearest ones to 1 on an interval, and what they make of an interval."""

import math
from numbers import Integral, Real

import numpy as np


def polar_express_coefficients(lower=1e-3, steps=5, safety=0.02, cushion=0.02):
    """Compute the coefficients of Polar Express: at each step, the best odd quintic after those before it.

    Starting from [l, u] = [`lower`, 1], each step takes the odd quintic p that is nearest to 1 on [l, u] in the
    maximum norm. It maps [l, u] onto [p(l), 2 - p(l)], which is the interval of the next step. Without `safety` and
    `cushion`, no other composition of as many odd quintics is nearer to 1 on [`lower`, 1].

    Parameters
    ----------
    lower : float
        In (0, 1): the smallest singular value, as a fraction of the norm, for which the steps are the best.
    steps : int
        How many, at least 1.
    safety : float
        At least 0: the argument of every polynomial but the last is divided by 1 + `safety`. In low precision,
        rounding moves singular values out of [l, u], where the polynomials grow fast. Give the `Recipe` made of the
        coefficients the same `safety`.
    cushion : float
        In [0, 1): p is the nearest to 1 on [max(l, cushion u), u] instead, then multiplied so that p(l) + p(u) = 2.
        It keeps small singular values from being raised at the expense of all others.

    Returns
    -------
    tuple of (float, float, float)
        A triple (a, b, c) for each step.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Notes
    -----
    Arguments of the published lists: ``(1e-3, 10, 0.01, 0.02)``, the default of the authors' program;
    ``(1e-3, 5, 0.02, 0.02)``, in modded-nanogpt and dion; ``(1e-3, 8, 0, 0.02407327424182761)``, in the article.

    References
    ----------
    Amsel, Persson, Musco & Gower (2025), The Polar Express: optimal matrix sign methods and their application to the
    Muon algorithm, arXiv:2505.16932.
    """
    _check("lower", lower, Real, lambda x: 0 < x < 1, "a number in (0, 1)")
    _check("steps", steps, Integral, lambda x: x >= 1, "an integer >= 1")
    _check("safety", safety, Real, lambda x: 0 <= x < math.inf, "a finite number >= 0")
    _check("cushion", cushion, Real, lambda x: 0 <= x < 1, "a number in [0, 1)")
    low, high = float(lower), 1.0
    triples = []
    for step in range(steps):
        triple = minimax_quintic(max(low, cushion * high), high)
        if low < cushion * high:
            factor = 2 / (evaluate(triple, low) + evaluate(triple, high))
            triple = tuple(factor * coefficient for coefficient in triple)
        if step < steps - 1:
            triple = divide_argument(triple, 1 + safety)
        triples.append(triple)
        low = evaluate(triple, low)
        high = 2 - low
    return tuple(triples)


def minimax_quintic(low, high):
    """Return the triple (a, b, c) of the odd quintic nearest to 1 on [low, high] in the maximum norm, 0 < low < high.

    Its error is largest, with alternating signs, at four points: the ends and the two extrema between (Chebyshev).
    They are found by Remez exchanges.
    """
    # Nearer ends make the equations singular; the limit touches 1 at their middle to the third order.
    if low > (1 - 5e-6) * high:
        return divide_argument((15 / 8, -10 / 8, 3 / 8), high)
    inner = (3 * low + high) / 4, (low + 3 * high) / 4
    last_error = None
    for _ in range(100):
        x = np.array([low, *inner, high])
        *triple, error = np.linalg.solve(np.stack([x, x**3, x**5, [1, -1, 1, -1]], axis=1), np.ones(4))
        if last_error is not None and abs(error - last_error) <= 1e-15:
            break
        last_error = error
        a, b, c = triple
        inner = _extrema(a, b, c)
    return tuple(float(coefficient) for coefficient in triple)


def evaluate(triple, x):
    """Return a x + b x^3 + c x^5, for a number or a tensor."""
    a, b, c = triple
    square = x * x
    return x * (a + square * (b + square * c))


def divide_argument(triple, factor):
    """Return the triple of p(x / factor)."""
    a, b, c = triple
    return a / factor, b / factor**3, c / factor**5


def image(triple, low, high):
    """Return the ends of the interval onto which the polynomial maps [low, high]."""
    extrema = _extrema(*triple)
    inside = [x for x in (*extrema, *(-x for x in extrema)) if low < x < high]
    values = [evaluate(triple, x) for x in (low, high, *inside)]
    return min(values), max(values)


def _extrema(a, b, c):
    """Return the positive zeros of the derivative a + 3 b x^2 + 5 c x^4, increasing."""
    if c == 0:
        squares = [-a / (3 * b)] if b else []
    else:
        discriminant = 9 * b * b - 20 * a * c
        root = math.sqrt(max(discriminant, 0))
        squares = [(-3 * b - root) / (10 * c), (-3 * b + root) / (10 * c)] if discriminant >= 0 else []
    return sorted(math.sqrt(square) for square in squares if square > 0)


def _check(name, value, kind, holds, allowed):
    if not isinstance(value, kind) or isinstance(value, bool) or not holds(value):
        raise ValueError(f"{name} must be {allowed}, got {value!r}.")
