"""Scores against plain float64 loops; bounded and unbounded forms rank alike; constants are tight."""

import itertools
import math

import numpy as np
import pytest
import torch

from orthobench.conformal import APS, LAC, RAPS, Margin, MaxRatio, SplitConformal

CONTINUOUS = [
    LAC(),
    LAC(temperature=0.3),
    LAC(bounded=True, temperature=2.0),
    LAC("sigmoid"),
    LAC("sigmoid", temperature=0.5, bias=0.2, bounded=True),
    Margin(),
    MaxRatio(),
    MaxRatio(bounded=True),
]


def logits(count=40, classes=6, scale=3.0, seed=0):
    return scale * torch.randn(count, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def in_a_loop(values, one):
    return torch.tensor([[one(row, y) for y in range(len(row))] for row in values.tolist()], dtype=torch.float64)


def softmax(row):
    weights = [math.exp(each - max(row)) for each in row]
    return [each / sum(weights) for each in weights]


@pytest.mark.parametrize(
    ("score", "one"),
    [
        (LAC(bounded=True), lambda row, y: softmax(row)[y]),
        (LAC("sigmoid", bias=0.2, bounded=True), lambda row, y: 1 / (1 + math.exp(0.2 - row[y]))),
        (Margin(), lambda row, y: row[y] - max(each for k, each in enumerate(row) if k != y)),
        (MaxRatio(bounded=True), lambda row, y: math.exp(row[y] - max(row))),
        (
            LAC(temperature=0.5),
            lambda row, y: row[y] - 0.5 * math.log(sum(math.exp(each / 0.5) for k, each in enumerate(row) if k != y)),
        ),
    ],
    ids=["bounded softmax", "bounded sigmoid", "margin", "largest ratio", "softmax"],
)
def test_a_score_is_that_of_a_plain_loop(score, one):
    values = logits()
    torch.testing.assert_close(score(values), in_a_loop(values, one), rtol=1e-10, atol=1e-10)


def aps_in_a_loop(values, uniform, penalty=0.0, free_ranks=0):
    rows = []
    for row, shares in zip(values.tolist(), uniform.tolist(), strict=True):
        p = softmax(row)
        larger = [[q for q in p if q > p[y]] for y in range(len(p))]
        rows.append(
            [
                1 - sum(larger[y]) - shares[y] * p[y] - penalty * max(0, len(larger[y]) + 1 - free_ranks)
                for y in range(len(p))
            ]
        )
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("randomised", [True, False])
def test_aps_and_raps_are_those_of_a_plain_loop(randomised):
    values = logits()
    values[3] = values[3, 0]  # equal probabilities are not larger ones
    drawn = torch.rand(values.shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    uniform = drawn if randomised else torch.ones_like(drawn)
    for score, options in (
        (APS(randomised=randomised), {}),
        (RAPS(penalty=0.1, free_ranks=2, randomised=randomised), {"penalty": 0.1, "free_ranks": 2}),
    ):
        found = score(values, torch.Generator().manual_seed(7))
        torch.testing.assert_close(found, aps_in_a_loop(values, uniform, **options), rtol=1e-10, atol=1e-10)


def test_bounded_and_unbounded_forms_rank_alike():
    values = logits(200)
    pairs = [
        (LAC(temperature=0.7), LAC(temperature=0.7, bounded=True)),
        (LAC("sigmoid"), LAC("sigmoid", temperature=2.0, bias=1.0, bounded=True)),
        (MaxRatio(), MaxRatio(bounded=True)),
    ]
    for one, other in pairs:
        order = one(values).flatten().argsort()
        assert (other(values).flatten()[order].diff() >= -1e-15).all()


def test_the_log_odds_do_not_saturate_in_float32():
    values = torch.tensor([[40.0, 0.0, 0.0], [80.0, 0.0, 0.0], [1000.0, 0.0, -1000.0]])
    assert (values.softmax(1)[:, 0] == 1).all()
    expected = torch.tensor([40 - math.log(2), 80 - math.log(2), 1000.0])
    torch.testing.assert_close(LAC()(values)[:, 0], expected)
    assert LAC()(values).isfinite().all()


def split(score, values, labels, alpha):
    predictor = SplitConformal(score, alpha).calibrate(torch.nn.Identity(), values[:300], labels[:300])
    return predictor.predict_sets(values[300:]).numpy()


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.2])
@pytest.mark.parametrize("score", [LAC(), LAC(bounded=True)], ids=str)
def test_lac_sets_are_those_of_mapie_and_crepes(alpha, score):
    mapie = pytest.importorskip("mapie.classification")
    crepes = pytest.importorskip("crepes")
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Softmax(ClassifierMixin, BaseEstimator):
        classes_ = np.arange(6)
        fitted_ = True

        def fit(self, x, y):
            return self

        def predict_proba(self, x):
            return torch.as_tensor(x).softmax(1).numpy()

        def predict(self, x):
            return self.predict_proba(x).argmax(1)

    values = logits(600)
    labels = values.softmax(1).multinomial(1, generator=torch.Generator().manual_seed(1)).squeeze(1)
    ours = split(score, values, labels, alpha)
    theirs = mapie.SplitConformalClassifier(
        Softmax(), confidence_level=1 - alpha, conformity_score="lac", prefit=True
    ).conformalize(values[:300].numpy(), labels[:300].numpy())
    assert (ours == theirs.predict_set(values[300:].numpy())[1][:, :, 0]).all()
    p = values.softmax(1).numpy()
    classifier = crepes.ConformalClassifier().fit(1 - p[np.arange(300), labels[:300]])
    assert (ours == classifier.predict_set(1 - p[300:], confidence=1 - alpha, smoothing=False).astype(bool)).all()


@pytest.mark.parametrize(("score", "bound"), [*itertools.product(CONTINUOUS, ["joint", "per_output"])], ids=str)
def test_no_change_of_the_logits_exceeds_the_constant_and_one_reaches_it(score, bound):
    """Jointly the logits move within a ball of radius r; each on its own, within a cube."""
    constant, step = score.lipschitz(1.0, bound), 1e-4
    # Where the constants are reached: equal logits, and logits at the bias.
    special = torch.tensor([[0.0, 0.0], [0.2, 0.2]], dtype=torch.float64)
    values = torch.cat([logits(400, 2, 0.2), special])
    values.requires_grad_()
    (gradient,) = torch.autograd.grad(score(values)[:, 0].sum(), values)
    length = gradient.norm(dim=1) if bound == "joint" else gradient.abs().sum(1)
    assert length.max() <= constant * (1 + 1e-9)
    assert length.max() >= constant * 0.99
    moved = values.detach() + step * torch.randn(values.shape, generator=torch.Generator().manual_seed(2)).double()
    change = (score(moved) - score(values.detach())).abs()
    size = (moved - values.detach()).norm(dim=1) if bound == "joint" else (moved - values.detach()).abs().amax(1)
    assert (change <= constant * size[:, None] * (1 + 1e-6)).all()


@pytest.mark.parametrize("score", [*CONTINUOUS, APS(randomised=False), RAPS(randomised=False, penalty=0.1)], ids=str)
def test_a_lowered_score_is_no_more_than_that_of_any_logits_within_the_error(score):
    values, own = logits(30, 4), torch.eye(4, dtype=torch.float64)
    # APS jumps where ranks change, which the smaller errors don't make them do.
    for error in (0.0, 1e-6) if isinstance(score, APS) else (0.0, 1e-6, 0.01, 1.0):
        # The logit of the class falls, against all others.
        least = torch.stack([score(values - error * own[y])[:, y] for y in range(4)], dim=1)
        lowered = score.lowered(score(values), torch.full((30, 1), error, dtype=torch.float64))
        assert (lowered <= least + 1e-12).all()
        assert (lowered >= score(values) - 4 * error - 1e-12).all()
    extremes = torch.tensor([[0.0, 1.0, 0.5]], dtype=torch.float64)
    assert score.lowered(extremes, torch.full((1, 1), 1e4).double()).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("score", [APS(), APS(randomised=False), RAPS(randomised=False)], ids=str)
@pytest.mark.parametrize("classes", [3, 1000])
def test_sets_of_one_hot_probabilities_hold_one_class_unless_more_examples_miss_than_may(classes, score, dtype):
    values = torch.zeros(200, classes, dtype=dtype)
    values[:, 0] = 1e4
    labels = torch.zeros(200, dtype=torch.int64)
    for missed, size in ((0, 1), (10, 1), (30, classes)):
        labels[:missed] = 1
        predictor = SplitConformal(score, 0.1).calibrate(torch.nn.Identity(), values, labels, generator=1)
        sets = predictor.predict_sets(values, generator=2)
        assert sets.sum(1).max() == size
        assert sets[:, 0].double().mean() > 0.85  # the randomised score drops the class now and then


def test_second_classes_that_leave_nothing_are_told_from_those_after_them():
    values = torch.tensor([[1e4, 1e4 - 1, -1e4, -2e4]], dtype=torch.float64).expand(50, 4)
    # The last two have equal probabilities, 0.
    for label, size in enumerate((1, 2, 4, 4)):
        labels = torch.full((50,), label)
        sets = SplitConformal(APS(randomised=False), 0.1).calibrate(torch.nn.Identity(), values, labels)
        assert sets.predict_sets(values)[0].tolist() == [True] * size + [False] * (4 - size)


@pytest.mark.parametrize("score", [APS(), RAPS()], ids=str)
def test_randomised_scores_cover_exactly(score):
    """n = 1000 and 1000 tests, 100 times: 0.9 <= coverage <= 0.9 + 1 / 1001, up to chance (5 standard deviations)."""
    generator, found = torch.Generator().manual_seed(0), []
    for _ in range(100):
        values = 3 * torch.randn(2000, 6, generator=generator)
        labels = (values / 2).softmax(1).multinomial(1, generator=generator).squeeze(1)
        predictor = SplitConformal(score, 0.1).calibrate(
            torch.nn.Identity(), values[:1000], labels[:1000], generator=generator
        )
        sets = predictor.predict_sets(values[1000:], generator=generator)
        found.append(sets[torch.arange(1000), labels[1000:]].double().mean().item())
    error = 5 * (0.9 * 0.1 * (1 / 1000 + 1 / 1002) / 100) ** 0.5
    assert 0.9 - error <= sum(found) / 100 <= 0.9 + 1 / 1001 + error


@pytest.mark.parametrize("score", [APS(), RAPS()], ids=str)
def test_scores_that_jump_have_no_constant(score):
    with pytest.raises(ValueError, match="not continuous"):
        score.lipschitz()
    with pytest.raises(ValueError, match="bounds of logits"):
        score.of_bounds(torch.zeros(3))


@pytest.mark.parametrize("score", [each for each in CONTINUOUS if each.rises_with], ids=str)
def test_a_score_of_exact_bounds_is_the_score(score):
    values = logits()
    if score.rises_with == "logit":
        found = score.of_bounds(values)
    else:
        own = torch.eye(values.shape[1], dtype=torch.bool)
        found = score.of_bounds((values[:, :, None] - values[:, None, :]).masked_fill(own, torch.inf))
    torch.testing.assert_close(found, score(values))


@pytest.mark.parametrize("score", [*CONTINUOUS, APS(), RAPS()], ids=str)
def test_scores_stay_in_their_bounds_and_are_differentiable(score):
    values = logits().requires_grad_()
    found = score(values)
    low, high = score.bounds(values.shape[1])
    assert ((found >= low) & (found <= high)).all()
    (gradient,) = torch.autograd.grad(found.sum(), values)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("score", [*CONTINUOUS, APS(randomised=False)], ids=str)
def test_half_precision_is_widened_and_not_rounded_again(score):
    values = logits().half()
    assert torch.equal(score(values), score(values.float()))


@pytest.mark.parametrize("score", [LAC(), Margin(), APS()], ids=str)
def test_bad_logits_are_an_error(score):
    with pytest.raises(ValueError, match="NaN or infinity for example 1"):
        score(torch.tensor([[0.0, 1.0], [math.nan, 0.0]]))
    with pytest.raises(ValueError, match="C >= 2"):
        score(torch.zeros(3, 1))
    with pytest.raises(TypeError, match="floating-point"):
        score(torch.zeros(3, 2, dtype=torch.int64))


def test_bad_options_are_an_error():
    for wrong in (0.0, -1.0, math.inf):
        with pytest.raises(ValueError, match="temperature"):
            LAC(temperature=wrong)
    with pytest.raises(ValueError, match="link"):
        LAC("probit")
    with pytest.raises(ValueError, match="bias"):
        LAC(bias=1.0)
    with pytest.raises(ValueError, match="penalty"):
        RAPS(penalty=-1.0)
    with pytest.raises(ValueError, match="bound"):
        LAC().lipschitz(1.0, "each")
