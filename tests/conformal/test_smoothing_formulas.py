"""Each method's sets against its formulas: plain loops in float64 over the noisy inputs that were scored."""

import math
from statistics import NormalDist

import pytest
import torch
from scipy import stats
from smoothing_toys import BIAS, CLASSES, GUARANTEED, METHODS, WEIGHT, Linear, examples, seeded

NORMAL = NormalDist()
CALIBRATED, TESTED, SIGMA = 50, 30, 0.6


def logits(x):
    lines = zip(WEIGHT.tolist(), BIAS.tolist(), strict=True)
    return [sum(w * v for w, v in zip(row, x, strict=True)) + b for row, b in lines]


def probit(x):
    return [NORMAL.cdf(f) for f in logits(x)]


def threshold(scores, alpha):
    rank = math.floor(round(alpha * (len(scores) + 1), 9))
    return sorted(scores)[rank - 1] if rank else -math.inf


def moved(p, shift):
    return NORMAL.cdf(NORMAL.inv_cdf(p) - shift) if 0 < p < 1 else p


def mean(values):
    return sum(values) / len(values)


def bernstein(values, delta):
    variance = sum((each - mean(values)) ** 2 for each in values) / (len(values) - 1)
    logarithm = math.log(2 / delta)
    return math.sqrt(2 * variance * logarithm / len(values)) + 7 * logarithm / (3 * (len(values) - 1))


def rscp(calibration, test, alpha, shift):
    """Phi^-1(m) + r / sigma >= Phi^-1(tau)."""
    tau = threshold([mean(own) for own in calibration], alpha)
    return [[mean(each) >= moved(tau, shift) for each in classes] for classes in test]


def rscp_plus(calibration, test, alpha, shift, beta=1e-3):
    tau = threshold([mean(own) for own in calibration], alpha - 2 * beta)
    level = moved(max(0.0, tau - math.sqrt(math.log(1 / beta) / (2 * len(calibration[0])))), shift)
    return [[mean(each) + bernstein(each, beta) >= level for each in classes] for classes in test]


def cas(calibration, test, alpha, shift, eta=1e-3):
    delta, n = eta / (len(calibration) + CLASSES), len(calibration[0])
    radius = math.sqrt(math.log(1 / delta) / (2 * n))
    lowest = []
    for own in calibration:
        ends = [0.0, *sorted(own), 1.0]
        total = 0.0
        for i in range(n + 1):
            distribution = min(1.0, i / n + radius)
            risen = 1.0 if distribution == 1 else NORMAL.cdf(NORMAL.inv_cdf(distribution) + shift)
            total += (ends[i + 1] - ends[i]) * (1 - risen)
        lowest.append(total)
    level = threshold(lowest, alpha - eta)
    return [[mean(each) + bernstein(each, delta) >= level for each in classes] for classes in test]


def bincp(calibration, test, alpha, shift, eta=1e-3, p=0.8):
    delta, n = eta / (len(calibration) + CLASSES), len(calibration[0])
    successes = math.ceil(round(p * n, 9))
    level = threshold([sorted(own, reverse=True)[successes - 1] for own in calibration], alpha - eta)
    least = moved(stats.beta.ppf(delta, successes, n - successes + 1), shift)

    def holds(each):
        count = sum(value >= level for value in each)
        return count == n or stats.beta.ppf(1 - delta, count + 1, n - count) >= least

    return [[holds(each) for each in classes] for classes in test]


def rcp1(calibration, test, alpha, shift):
    noisy_alpha = 1 - NORMAL.cdf(NORMAL.inv_cdf(1 - alpha) + shift)
    level = threshold([own[0] for own in calibration], noisy_alpha)
    return [[each[0] >= level for each in classes] for classes in test]


LOOPS = {"RSCP": (rscp, probit), "RSCP+": (rscp_plus, probit), "CAS": (cas, probit),
         "BinCP": (bincp, logits), "RCP1": (rcp1, logits)}  # fmt: skip


def scored(inputs, count, score):
    """Return the scores of each class, [input][class][sample], of noisy inputs that come one input after the other."""
    samples = len(inputs) // count
    rows = [score(x) for x in inputs.tolist()]
    return [[[row[c] for row in rows[i * samples : (i + 1) * samples]] for c in range(CLASSES)] for i in range(count)]


def fitted_and_expected(method, alpha, radius, samples):
    """Return the sets of a method, and those of its loop over the noisy inputs that the model was given."""
    loop, score = LOOPS[method]
    (x, y), (tested, _) = examples(CALIBRATED, seeded(1)), examples(TESTED, seeded(2))
    model, generator = Linear(), seeded(3)
    predictor = METHODS[method](alpha, radius, sigma=SIGMA, samples=samples, batch_size=300)
    predictor.calibrate(model, x, y, generator=generator)
    own = [classes[label] for classes, label in zip(scored(model.take(), CALIBRATED, score), y.tolist(), strict=True)]
    sets = predictor.predict_sets(tested, generator=generator)
    return sets, loop(own, scored(model.take(), TESTED, score), alpha, radius / SIGMA)


@pytest.mark.parametrize("radius", [0.0, 0.12, 0.5])
@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.2])
@pytest.mark.parametrize("method", LOOPS)
def test_sets_are_those_of_a_plain_loop(method, alpha, radius):
    sets, expected = fitted_and_expected(method, alpha, radius, samples=40)
    assert sets.tolist() == expected


@pytest.mark.parametrize("method", LOOPS)
def test_sets_that_are_neither_all_full_nor_all_empty_are_those_of_a_plain_loop(method):
    sets, expected = fitted_and_expected(method, 0.3, 0.06, samples=400)
    assert sets.tolist() == expected
    assert 0.1 < sets.double().mean() < 0.9


def test_the_transformed_score_is_that_of_a_plain_loop():
    (x, y), (tested, _) = examples(CALIBRATED, seeded(1)), examples(TESTED, seeded(2))
    model, generator, samples = Linear(), seeded(3), 300
    predictor = METHODS["RSCP+ (PTT)"](0.2, 0.06, sigma=SIGMA, samples=samples).calibrate(
        model, x, y, generator=generator
    )
    seen = model.take()
    held, order = 15, torch.randperm(CALIBRATED, generator=seeded(3)).tolist()
    labels = [y[i].item() for i in order]
    hold_out = [logits(z)[label] for z, label in zip(seen[:held].tolist(), labels[:held], strict=True)]
    # Each is near its own image: what is held out isn't calibrated with, and has one noisy copy.
    assert ((seen[:held] - x[order[:held]]).norm(dim=1) < 6 * SIGMA).all()
    assert len(seen) == held + (CALIBRATED - held) * samples

    def transformed(x):
        ranks = [sum(h < f for h in hold_out) / held for f in logits(x)]
        return [1 / (1 + math.exp(-400 * (rank - 0.2))) for rank in ranks]

    calibration = scored(seen[held:], CALIBRATED - held, transformed)
    own = [classes[label] for classes, label in zip(calibration, labels[held:], strict=True)]
    sets = predictor.predict_sets(tested, generator=generator)
    expected = rscp_plus(own, scored(model.take(), TESTED, transformed), 0.2, 0.06 / SIGMA)
    assert sets.tolist() == expected
    assert 0 < sets.double().mean() < 1


def test_the_inner_quantile_of_aprcp_is_that_of_a_plain_loop():
    (x, y), (tested, _) = examples(CALIBRATED, seeded(1)), examples(TESTED, seeded(2))
    model, samples = Linear(), 200
    predictor = METHODS["aPRCP"](0.2, 0.5, samples=samples).calibrate(model, x, y, generator=seeded(3))
    seen = model.take()
    assert ((seen.unflatten(0, (CALIBRATED, samples)) - x[:, None]).norm(dim=2) <= 0.5 * (1 + 1e-12)).all()
    rank = max(j for j in range(1, samples) if stats.beta.ppf(1e-3, samples - j + 1, j) >= 0.9)
    own = [sorted(classes[label])[rank - 1] for classes, label in
           zip(scored(seen, CALIBRATED, logits), y.tolist(), strict=True)]  # fmt: skip
    level = threshold(own, 1 - 0.8 / 0.9 - 1e-3)
    assert predictor.predict_sets(tested).tolist() == [[f >= level for f in logits(z)] for z in tested.tolist()]


def test_bernsteins_radius_belongs_to_the_input_and_class_that_it_is_used_for():
    """Public code indexes the scores of a split, and not the radii: sets of some inputs would use others' radii."""
    x, y = examples(CALIBRATED, seeded(1))
    calm = torch.zeros(4, dtype=torch.float64)
    tested = torch.stack([calm, 400 + calm, calm, 40 - 80 * torch.eye(4)[1].double()])
    predictor = METHODS["RSCP+"](0.1, 0.0, sigma=SIGMA, samples=64).calibrate(Linear(), x, y, generator=seeded(3))
    model = Linear()
    upper = predictor.attach(model).prediction_scores(tested, generator=seeded(4))
    for i, classes in enumerate(scored(model.take(), 4, probit)):
        for k, each in enumerate(classes):
            assert upper[i, k].item() == pytest.approx(mean(each) + bernstein(each, 1e-3), abs=1e-9)
    reordered = predictor.prediction_scores(tested[[1]], generator=seeded(4))
    saturated = predictor.prediction_scores(400 + calm[None], generator=seeded(5))
    torch.testing.assert_close(reordered, saturated)  # no variance: the same whatever the noise, and whoever is beside


@pytest.mark.parametrize("method", GUARANTEED)
def test_the_mean_size_doesnt_grow_with_the_samples(method):
    """Beyond three standard errors of the difference over simulated data sets."""
    sizes = {64: [], 256: [], 1024: []}
    for seed in range(12):
        generator = seeded(seed)
        (x, y), (tested, _) = examples(60, generator), examples(40, generator)
        for samples, means in sizes.items():
            predictor = METHODS[method](0.2, 0.2, sigma=SIGMA, samples=samples)
            predictor.calibrate(Linear(), x, y, generator=generator)
            means.append(predictor.predict_sets(tested, generator=generator).sum(1).double().mean())
    few, more, most = (torch.stack(each) for each in sizes.values())
    for larger, smaller in ((few, more), (more, most)):
        growth = smaller - larger
        assert growth.mean() <= 3 * growth.std() / len(growth) ** 0.5
    if method != "RCP1":
        assert most.mean() < few.mean()
