"""Coverage over 200 simulated data sets, clean and in worst cases that are exact, with control of the family's errors.

For each method and alpha, the mean coverage of each data set is one number; over data sets they are independent, and
their expectation is at least 1 - alpha if the claim is true. One-sided t tests of all cells, adjusted by Holm, refute a
claim at p < 1e-3. Beside them are claims that are false, which the same tests refute.
"""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from smoothing_toys import (
    BIAS,
    CLASSES,
    FEATURES,
    GUARANTEED,
    METHODS,
    NORMS,
    WEIGHT,
    Linear,
    examples,
    seeded,
    worst_inputs,
)

from orthobench.conformal import Claim
from orthobench.conformal.smoothing import uniform_in_ball

DATA_SETS, CALIBRATED, TESTED, SAMPLES = 200, 45, 10, 128
SIGMA, RADIUS = 0.5, 0.15
ALPHAS = (0.05, 0.1, 0.2)
MUCH_NOISE = {"radius": 0.8, "attack": 0.8, "sigma": 2.5, "calibrated": 200, "tested": 50}


def simulate(
    method,
    alphas,
    radius=RADIUS,
    attack=RADIUS,
    sigma=SIGMA,
    calibrated=CALIBRATED,
    tested=TESTED,
    data_sets=DATA_SETS,
):
    """Return, for each alpha, coverage clean and attacked, and the mean size, of each data set: (data_sets, 3)."""
    generator, rows, model = seeded(0), {alpha: [] for alpha in alphas}, LinearWithoutMemory()
    for _ in range(data_sets):
        (x, y), (clean, labels) = examples(calibrated, generator), examples(tested, generator)
        both = torch.cat([clean, worst_inputs(clean, labels, attack)])
        predictors = [METHODS[method](alpha, radius, sigma=sigma, samples=SAMPLES) for alpha in alphas]
        if method != "RSCP+ (PTT)":  # whose scores depend on alpha
            scores = predictors[0].attach(model).calibration_scores(x, y, generator=generator)
        for alpha, predictor in zip(alphas, predictors, strict=True):
            if method == "RSCP+ (PTT)":
                predictor.calibrate(model, x, y, generator=generator)
            else:
                predictor.attach(model).calibrate_scores(scores)
            sets = predictor.predict_sets(both, generator=generator).double().chunk(2)
            covered = [each.gather(1, labels[:, None]).mean() for each in sets]
            rows[alpha].append([*covered, sets[0].sum(1).mean()])
    return {alpha: np.array(each) for alpha, each in rows.items()}


class LinearWithoutMemory(Linear):
    def forward(self, x):
        return x @ self.weight.T + self.bias


def p_value(coverages, alpha):
    """Return the p-value of a one-sided t test of a mean of at least 1 - alpha."""
    if coverages.std() == 0:
        return float(coverages.mean() >= 1 - alpha)
    return stats.ttest_1samp(coverages, 1 - alpha, alternative="less").pvalue


def refuted(p_values):
    """Return the keys whose p-values are below 1e-3, adjusted by Holm."""
    ordered, largest, keys = sorted(p_values.items(), key=lambda item: item[1]), 0.0, []
    for i, (key, p) in enumerate(ordered):
        largest = max(largest, p * (len(ordered) - i))
        keys += [key] if largest < 1e-3 else []
    return keys


@pytest.fixture(scope="module")
def simulations():
    methods = {method: simulate(method, ALPHAS) for method in GUARANTEED}
    # Where the noise hides the data, this method's bound is nearly tight.
    methods["RCP1, much noise"] = simulate("RCP1", ALPHAS, **MUCH_NOISE)
    return {(method, alpha): rows for method, of_alpha in methods.items() for alpha, rows in of_alpha.items()}


def test_no_claim_is_refuted_clean_or_attacked(simulations):
    p_values = {
        (*cell, which): p_value(rows[:, column], cell[1])
        for cell, rows in simulations.items()
        for column, which in enumerate(("clean", "attacked"))
    }
    assert len(p_values) == (len(GUARANTEED) + 1) * len(ALPHAS) * 2
    assert refuted(p_values) == []


def test_the_sets_that_cover_are_not_all_full(simulations):
    for method in GUARANTEED:
        assert simulations[method, 0.2][:, 2].mean() < 0.98 * CLASSES, method
    assert simulations["RCP1, much noise", 0.2][:, 1].mean() < 0.84


def test_the_same_test_refutes_claims_that_are_false():
    """Sets made for a radius of 0, under the attack; and nearly tight ones, made for a quarter of the radius."""
    false = {method: simulate(method, [0.2], radius=0.0, attack=2.5, data_sets=50)[0.2] for method in METHODS}
    false["RCP1, a quarter"] = simulate("RCP1", [0.2], **MUCH_NOISE | {"radius": 0.2})[0.2]
    assert set(refuted({name: p_value(rows[:, 1], 0.2) for name, rows in false.items()})) == set(false)
    assert refuted({name: p_value(rows[:, 1], 0.999) for name, rows in false.items()}) == []


# --- aPRCP, under noise that is uniform in the ball


def share_of_noise(logits, threshold, radius):
    """Return P(f(x + D) >= threshold) for D uniform in the ball: of rho = u^T D / r, rho^2 ~ Beta(1/2, (d + 1)/2)."""
    ratio = ((logits - threshold) / (radius * NORMS)).numpy()
    half = 0.5 * stats.beta.cdf(np.minimum(ratio**2, 1), 0.5, (FEATURES + 1) / 2)
    return 0.5 + np.sign(ratio) * half


def test_the_share_of_noise_is_that_of_points_of_the_ball():
    x, _ = examples(1, seeded())
    points = x + uniform_in_ball(x, 20_000, seeded(1), 0.8)[0]
    logits = points @ WEIGHT.T + BIAS
    shares = (logits >= 0.4).double().mean(0).numpy()
    np.testing.assert_allclose(shares, share_of_noise(Linear()(x), 0.4, 0.8)[0], atol=5 * 0.5 / 20_000**0.5)


@pytest.fixture(scope="module")
def under_noise():
    """For each alpha and data set: the share of examples covered under enough of the noise, and the coverage."""
    result, radius = {}, 0.8
    for alpha in ALPHAS:
        generator, rows = seeded(0), []
        for _ in range(DATA_SETS):
            (x, y), (tested, labels) = examples(40, generator), examples(200, generator)
            predictor = METHODS["aPRCP"](alpha, radius, samples=round(14 / alpha))
            predictor.calibrate(LinearWithoutMemory(), x, y, generator=generator)
            shares = share_of_noise(tested @ WEIGHT.T + BIAS, predictor.threshold, radius)
            own = shares[np.arange(200), labels.numpy()]
            rows.append([(own >= 1 - predictor.inner_alpha).mean(), own.mean(), predictor.threshold])
        result[alpha] = predictor.outer_alpha, np.array(rows)
    return result


def test_both_guarantees_of_aprcp_hold_under_random_noise(under_noise):
    p_values = {}
    for alpha, (outer_alpha, rows) in under_noise.items():
        p_values[alpha, "of noise"] = p_value(rows[:, 0], outer_alpha)
        p_values[alpha, "marginal"] = p_value(rows[:, 1], alpha)
    assert refuted(p_values) == []
    assert np.isfinite(under_noise[0.2][1]).all()
    assert under_noise[0.2][1][:, 0].mean() < 0.96


def test_the_claims_are_those_of_the_methods():
    kinds = {name: make(0.1, 0.3, sigma=0.6).claim for name, make in METHODS.items()}
    assert kinds["RSCP"] == Claim(0.1, 0.3, kind="none")
    assert kinds["aPRCP"] == Claim(0.1, 0.3, kind="random_noise")
    assert all(kinds[name] == Claim(0.1, 0.3, kind="marginal") for name in GUARANTEED)


def test_forward_passes_are_those_that_the_model_counts():
    (x, y), (tested, _) = examples(60, seeded()), examples(10, seeded(1))
    for make in METHODS.values():
        model = Linear()
        predictor = make(0.2, 0.1, sigma=0.5, samples=30).calibrate(model, x, y, generator=seeded())
        model.take()
        predictor.predict_sets(tested, generator=seeded())
        assert len(model.take()) == 10 * predictor.forward_passes_per_input


def test_full_sets_where_rcp1_has_too_few_examples():
    predictor = METHODS["RCP1"](0.1, 1.2, sigma=1.0).calibrate(Linear(), *examples(60, seeded()), generator=seeded())
    assert predictor.noisy_alpha * 61 < 1
    assert predictor.threshold == -math.inf
    assert predictor.predict_sets(examples(10, seeded(1))[0]).all()
