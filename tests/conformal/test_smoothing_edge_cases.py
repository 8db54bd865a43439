"""Few examples, ties, radius 0, half precision, and what is refused."""

import math

import pytest
import torch
from smoothing_toys import CLASSES, METHODS, Linear, Probit, examples, seeded
from torch import nn

from orthobench.conformal import APS, LAC, RAPS, Margin, MaxRatio, SplitConformal
from orthobench.conformal.aprcp import APRCP
from orthobench.conformal.smoothing import CAS, RCP1, RSCP, BinCP, RankTransform, RSCPPlus


def fitted(method, alpha=0.2, radius=0.1, count=60, model=None, dtype=torch.float64, **options):
    x, y = examples(count, seeded())
    predictor = METHODS[method](alpha, radius, sigma=0.5, **{"samples": 32, **options})
    return predictor.calibrate(model or Linear(), x.to(dtype), y, generator=seeded(1))


@pytest.mark.parametrize("method", METHODS)
def test_five_examples_at_alpha_a_tenth_are_too_few_and_make_full_sets(method):
    predictor = fitted(method, alpha=0.1, count=5)
    assert predictor.predict_sets(examples(20, seeded(2))[0], generator=seeded(3)).all()
    x, y = (each.repeat(3, *[1] * (each.ndim - 1)) for each in examples(5, seeded(2)))
    assert (predictor.true_class_score(x, y, generator=seeded(3)) >= 0).all()


@pytest.mark.parametrize("method", ["RSCP", "RSCP+", "CAS", "BinCP", "RCP1"])
def test_five_examples_are_enough_for_alpha_above_a_third(method):
    predictor = fitted(method, alpha=0.6, radius=0.0, count=5, samples=2000)
    sets = predictor.predict_sets(torch.full((1, 4), -3.0, dtype=torch.float64), generator=seeded(3))
    assert not sets[0, 0]


@pytest.mark.parametrize("method", METHODS)
def test_without_examples_sets_are_full(method):
    if method == "RSCP+ (PTT)":
        with pytest.raises(ValueError, match="a hold-out set of 1 leaves none of 0 examples"):
            fitted(method, count=0)
    else:
        assert fitted(method, count=0).predict_sets(examples(5, seeded())[0]).all()


class Constant(nn.Module):
    """The same logits for every input: all scores are duplicates."""

    def forward(self, x):
        return torch.tensor([0.3, 0.1, -0.2], dtype=x.dtype).expand(len(x), 3)


@pytest.mark.parametrize("method", METHODS)
def test_duplicated_scores_stay_together(method):
    x = torch.randn(40, 4, generator=seeded(), dtype=torch.float64)
    predictor = METHODS[method](0.2, 0.0, sigma=0.5, samples=64)
    predictor.calibrate(Constant(), x, torch.zeros(40, dtype=torch.int64), generator=seeded(1))
    sets = predictor.predict_sets(x, generator=seeded(2))
    assert sets[:, 0].all()
    assert (sets == sets[0]).all()
    if method in ("RSCP", "BinCP", "RCP1", "aPRCP"):
        assert not sets[:, 1:].any()


class Drifting(nn.Module):
    """The same logits for every input, in exact arithmetic; those of float32 drift, as with the size of a batch."""

    ulps = 0

    def forward(self, x):
        logits = torch.tensor([0.3, 0.1, -0.2]) * (1 - self.ulps * 2.0**-23)
        return logits.expand(len(x), 3)


@pytest.mark.parametrize("method", [*METHODS, "vanilla"])
def test_rounding_takes_no_tied_example_out_of_its_set(method):
    x = torch.randn(40, 4, generator=seeded())
    make = METHODS.get(method, lambda alpha, radius, **options: SplitConformal(LAC(bounded=True), alpha))
    predictor = make(0.2, 0.0, sigma=0.5, samples=64)
    predictor.calibrate(Drifting(), x, torch.zeros(40, dtype=torch.int64), generator=seeded(1))
    predictor.model.ulps = 2
    assert predictor.predict_sets(x, generator=seeded(2))[:, 0].all()


@pytest.mark.parametrize("method", METHODS)
def test_nan_logits_are_refused_with_the_remedy(method):
    class Broken(nn.Module):
        def forward(self, x):
            return torch.where(x[:, :1] > 1e6, 0.0, math.nan).expand(len(x), 3)

    with pytest.raises(ValueError, match="logits must be finite, got NaN or infinity for example 0; repair the model"):
        fitted(method, model=Broken())
    good = fitted(method)
    good.model = Broken()
    with pytest.raises(ValueError, match="logits must be finite"):
        good.predict_sets(examples(3, seeded())[0])


@pytest.mark.parametrize("method", METHODS)
def test_one_class_is_refused(method):
    class One(nn.Module):
        def forward(self, x):
            return x[:, :1]

    with pytest.raises(ValueError, match="C >= 2, got"):
        fitted(method, model=One())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_half_precision_is_widened_and_sets_are_nearly_those_in_double(method, dtype):
    predictors = [fitted(method, dtype=each, alpha=0.2, samples=64) for each in (dtype, torch.float64)]
    x, _ = examples(200, seeded(2))
    sets = [
        each.predict_sets(x.to(kind), generator=seeded(3))
        for each, kind in zip(predictors, (dtype, torch.float64), strict=True)
    ]
    assert sets[0].shape == (200, CLASSES)
    sizes = [each.double().sum(1).mean() for each in sets]
    assert abs(sizes[0] - sizes[1]) < 0.35  # other noise: torch draws float32 and float64 in other ways


def test_float16_logits_of_a_float32_input_are_widened():
    class Half(Linear):
        def forward(self, x):
            return super().forward(x).half()

    for method in METHODS:
        predictor = fitted(method, model=Half())
        scores = predictor.prediction_scores(examples(5, seeded())[0], generator=seeded())
        assert scores.dtype in (torch.float32, torch.float64)
        assert scores.isfinite().all()


@pytest.mark.parametrize("method", METHODS)
def test_radius_zero_is_allowed_and_a_larger_one_never_makes_sets_smaller(method):
    x, _ = examples(100, seeded(2))
    sizes = []
    for radius in (0.0, 0.1, 0.3, 1.0):
        predictor = fitted(method, radius=radius, samples=128)
        sizes.append(predictor.predict_sets(x, generator=seeded(3)).sum().item())
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


WRONG = [
    ({"alpha": 0}, "alpha must be strictly between 0 and 1, got 0"),
    ({"alpha": 1.0}, "alpha must be strictly between 0 and 1, got 1.0"),
    ({"alpha": "0.1"}, "alpha must be a number, got '0.1'"),
    ({"radius": -0.1}, "radius must be a finite number >= 0, got -0.1"),
    ({"radius": math.nan}, "radius must be a finite number >= 0, got nan"),
    ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("change", "message"), WRONG)
def test_wrong_arguments_are_refused(method, change, message):
    arguments = {"alpha": 0.1, "radius": 0.1, "sigma": 0.5} | change
    with pytest.raises((TypeError, ValueError), match=message):
        METHODS[method](**arguments)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RSCP(Probit(), 0.1, sigma=0), "sigma must be a finite number > 0, got 0; twice the radius"),
        (lambda: RSCP(Probit(), 0.1, sigma=0.5, samples=1), "samples must be an integer of at least 2, got 1"),
        (lambda: CAS(Probit(), 0.1, sigma=0.5, samples=9.5), "samples must be an integer of at least 2, got 9.5"),
        (lambda: CAS(Probit(), 0.1, sigma=0.5, failure=0.1), r"failure must be below 0\.1 for alpha=0\.1, got 0\.1"),
        (lambda: RSCPPlus(Probit(), 0.1, sigma=0.5, failure=0.05), r"failure must be below 0\.05 for alpha=0\.1"),
        (lambda: RSCPPlus(Probit(), 0.1, sigma=0.5, hold_out=1), "hold_out must be strictly between 0 and 1, got 1"),
        (lambda: RSCPPlus(Probit(), 0.1, sigma=0.5, temperature=0), "temperature must be a finite number > 0, got 0"),
        (lambda: BinCP(LAC(), 0.1, sigma=0.5, failure=0), "failure must be a finite number > 0, got 0"),
        (lambda: BinCP(LAC(), 0.1, sigma=0.5, probability=1.0), "probability must be strictly between 0 and 1"),
        (lambda: APRCP(LAC(), 0.1, inner_alpha=0.1), r"inner_alpha must be below alpha, 0\.1, got 0\.1"),
        (lambda: APRCP(LAC(), 0.1, failure=0.06), r"failure must be below 0\.0526316 for outer_alpha=0\.0526316"),
        (
            lambda: RankTransform(LAC(), 0.1, torch.zeros(0)),
            r"hold_out must be a tensor \(m,\) with m >= 1, got \(0,\)",
        ),
    ],
)
def test_wrong_options_are_refused(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


@pytest.mark.parametrize("make", [RSCP, RSCPPlus, CAS])
@pytest.mark.parametrize("score", [LAC(), LAC("sigmoid"), Margin(), RAPS(free_ranks=0), MaxRatio()])
def test_means_need_a_score_between_0_and_1(make, score):
    x, y = examples(20, seeded())
    with pytest.raises(ValueError, match=r"score must be in \[0, 1\], got .*: take LAC\(bounded=True\)"):
        make(score, 0.2, sigma=0.5, samples=8).calibrate(Linear(), x, y)


@pytest.mark.parametrize("score", [LAC(bounded=True), MaxRatio(bounded=True), APS(), Probit()])
def test_bounded_scores_will_do_for_every_method(score):
    x, y = examples(60, seeded())
    for make in (RSCP, RSCPPlus, CAS, BinCP, RCP1):
        options = {} if make is RCP1 else {"samples": 64}
        predictor = make(score, 0.3, 0.05, sigma=0.3, **options).calibrate(Linear(), x, y, generator=seeded())
        assert predictor.predict_sets(x, generator=seeded(1)).shape == (60, 3)


@pytest.mark.parametrize("method", METHODS)
def test_calibration_comes_first(method):
    predictor = METHODS[method](0.2, 0.1, sigma=0.5)
    with pytest.raises(RuntimeError, match="no model yet"):
        predictor.predict_sets(examples(3, seeded())[0])
    with pytest.raises(RuntimeError, match="isn't calibrated"):
        predictor.attach(Linear()).predict_sets(examples(3, seeded())[0])


def test_the_transform_is_fitted_first_and_anew_by_each_calibration():
    x, y = examples(60, seeded())
    predictor = METHODS["RSCP+ (PTT)"](0.2, 0.1, sigma=0.5, samples=16).attach(Linear())
    with pytest.raises(RuntimeError, match="no hold-out scores yet: call calibrate, or fit_transform, first"):
        predictor.calibration_scores(x, y)
    with pytest.raises(ValueError, match="a hold-out set of 1 leaves none of 1 examples"):
        predictor.calibrate(Linear(), x[:1], y[:1])
    predictor.fit_transform(x[:30], y[:30], generator=seeded())
    assert len(predictor.score.hold_out) == 30
    predictor.calibrate_scores(predictor.calibration_scores(x[30:], y[30:], generator=seeded()))
    assert predictor.predict_sets(x, generator=seeded()).shape == (60, 3)
    predictor.calibrate(Linear(), x, y, generator=seeded())
    assert len(predictor.score.hold_out) == 18
    assert "18 held out" in repr(predictor.score)


@pytest.mark.parametrize("method", METHODS)
def test_labels_that_are_no_class_are_refused(method):
    x, y = examples(20, seeded())
    with pytest.raises(ValueError, match=r"labels must be in 0\.\.2 for 3 classes"):
        METHODS[method](0.2, 0.1, sigma=0.5, samples=8).calibrate(Linear(), x, y + 1, generator=seeded())


def test_scores_kept_for_a_part_make_the_sets_of_that_part():
    """BinCP's and RCP1's calibration scores don't depend on how many examples there are."""
    x, y = examples(60, seeded())
    for method in ("RSCP", "RSCP+", "BinCP", "RCP1", "aPRCP"):
        whole = METHODS[method](0.2, 0.1, sigma=0.5, samples=16).attach(Linear())
        scores = whole.calibration_scores(x, y, generator=seeded(1))
        part = METHODS[method](0.2, 0.1, sigma=0.5, samples=16).calibrate(Linear(), x[:30], y[:30], generator=seeded(1))
        assert whole.calibrate_scores(scores[:30]).threshold == part.threshold
        sets = [each.predict_sets(x, generator=seeded(2)) for each in (whole, part)]
        assert torch.equal(*sets)


@pytest.mark.parametrize(("samples", "probability", "count"), [(10, 0.7, 7), (5, 0.8, 4), (256, 0.8, 205), (3, 0.1, 1)])
def test_the_share_of_successes_is_counted_exactly(samples, probability, count):
    assert BinCP(LAC(), 0.1, sigma=0.5, samples=samples, probability=probability)._successes == count
