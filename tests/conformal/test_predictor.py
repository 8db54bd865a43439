"""What all predictors share: plain inputs, thresholds of classes and of several alphas, warnings, files."""

import copy
import json
import math
import pickle
import warnings

import numpy as np
import pytest
import torch
from conformal_cases import coverage_band
from smoothing_toys import CLASSES, FEATURES, Linear, Probit, examples, seeded
from torch import nn

from orthobench.conformal import (
    APS,
    CAS,
    LAC,
    RAPS,
    RCP1,
    RSCP,
    VRCPC,
    VRCPI,
    BinCP,
    LipschitzConformal,
    Margin,
    MaxRatio,
    RSCPPlus,
    SplitConformal,
    conformal_threshold,
    load,
    log_probabilities,
    save,
)
from orthobench.conformal.aprcp import APRCP
from orthobench.conformal.quantile import least_count

OPTIONS = {"sigma": 0.5, "samples": 64}
MAKERS = {
    "vanilla": lambda alpha=0.2: SplitConformal(APS(), alpha),
    "lip-rcp": lambda alpha=0.2: LipschitzConformal(
        LAC(temperature=0.5), alpha, 0.1, lipschitz_constant=2.0, input_scale=(1.0, 2.0), batch_size=16
    ),
    "VRCP-I": lambda alpha=0.2: VRCPI(Margin(), alpha, 0.1, (FEATURES,)),
    "VRCP-C": lambda alpha=0.2: VRCPC(MaxRatio(bounded=True), alpha, 0.1, (FEATURES,), norm="linf", rows="logits"),
    "RSCP": lambda alpha=0.2: RSCP(LAC(bounded=True), alpha, 0.1, **OPTIONS),
    "RSCP+": lambda alpha=0.2: RSCPPlus(APS(), alpha, 0.02, **OPTIONS | {"samples": 512}),
    "RSCP+ (PTT)": lambda alpha=0.2: RSCPPlus(RAPS(), alpha, 0.02, transform=True, **OPTIONS | {"samples": 512}),
    "CAS": lambda alpha=0.2: CAS(LAC(bounded=True), alpha, 0.02, **OPTIONS | {"samples": 512}),
    "BinCP": lambda alpha=0.2: BinCP(LAC("sigmoid"), alpha, 0.1, probability=0.7, **OPTIONS),
    "RCP1": lambda alpha=0.2: RCP1(Margin(), alpha, 0.1, sigma=0.5),
    "aPRCP": lambda alpha=0.2: APRCP(LAC(), alpha, 0.1, samples=256, inner_alpha=0.05),
}


def network(dtype=torch.float64):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(FEATURES, 8), nn.ReLU(), nn.Linear(8, CLASSES)).to(dtype).requires_grad_(False)


def calibrated(name, alpha=0.2, count=120, **options):
    return MAKERS[name](alpha).calibrate(network(), *examples(count, seeded()), generator=1, **options)


# --- thresholds


@pytest.mark.parametrize("score", [APS(), Margin()], ids=str)
def test_class_conditional_sets_cover_each_class_as_often_as_they_claim_and_no_more(score):
    """Of each class 40 calibration and 40 test examples, in 200 data sets: a family of 6 two-sided tests at 2e-6."""
    y = torch.arange(CLASSES).repeat_interleave(40)
    generator, hits = seeded(), torch.zeros(CLASSES)

    def draw():
        noise = torch.tensor([0.2, 0.7, 1.5])[y][:, None]  # some classes are harder
        return torch.eye(CLASSES, FEATURES)[y] + noise * torch.randn(len(y), FEATURES, generator=generator), y

    for _ in range(200):
        predictor = SplitConformal(score, 0.1).calibrate(Linear(), *draw(), class_conditional=True, generator=generator)
        sets = predictor.predict_sets(draw()[0], generator=generator)
        hits += sets[torch.arange(len(y)), y].view(CLASSES, 40).double().mean(1)
    low, high = coverage_band(40, 40, 200, 0.1)
    assert ((hits / 200 >= low) & (hits / 200 <= high)).all()


@pytest.mark.parametrize("name", MAKERS)
def test_a_class_conditional_threshold_is_that_of_the_examples_of_the_class(name):
    predictor = calibrated(name, class_conditional=True)
    scores, labels = predictor._calibration
    assert predictor.threshold.tolist() == [predictor._threshold(scores[labels == each]) for each in range(CLASSES)]
    x, y = examples(40, seeded(3))
    found = predictor.prediction_scores(x, generator=5)
    sets = predictor.predict_sets(x, generator=5)
    assert torch.equal(sets, found.double() >= predictor.threshold)
    excess = predictor.true_class_score(x, y, generator=5)
    torch.testing.assert_close(excess.double(), found[torch.arange(40), y].double() - predictor.threshold[y])


def test_a_class_without_examples_is_in_every_set():
    x, y = examples(200, seeded())
    with pytest.warns(UserWarning, match=r"classes \[1\] are in every set: 0 .* too few for alpha=0.1; 9 would do"):
        predictor = SplitConformal(Margin(), 0.1).calibrate(Linear(), x[y != 1], y[y != 1], class_conditional=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        last = SplitConformal(Margin(), 0.1).calibrate(Linear(), x[y != 2], y[y != 2], class_conditional=True)
    assert predictor.predict_sets(x)[:, 1].all()
    assert last.predict_sets(x)[:, 2].all()
    assert (last.true_class_score(x, torch.full_like(y, 2)) == math.inf).all()


@pytest.mark.parametrize("class_conditional", [False, True])
@pytest.mark.parametrize("name", MAKERS)
def test_sets_of_several_alphas_are_those_of_a_predictor_for_each(name, class_conditional):
    alphas = [0.1, 0.2, 0.4]
    predictor, x = calibrated(name, class_conditional=class_conditional), examples(40, seeded(3))[0]
    sets = predictor.predict_sets(x, alphas=alphas, generator=5)
    assert sets.shape == (3, 40, CLASSES)
    assert torch.equal(sets[1], predictor.predict_sets(x, generator=5))
    assert (sets[0] >= sets[2]).all()
    if name != "RSCP+ (PTT)":  # whose ranks are stretched around the predictor's own alpha
        for alpha, found in zip(alphas, sets, strict=True):
            own = calibrated(name, alpha, class_conditional=class_conditional)
            assert torch.equal(own.predict_sets(x, generator=5), found)


@pytest.mark.parametrize(("name", "alpha"), [("RSCP+", 0.001), ("CAS", 0.0005), ("aPRCP", 0.04), ("vanilla", 0.0)])
def test_an_alpha_that_leaves_nothing_is_an_error(name, alpha):
    with pytest.raises(ValueError, match="alpha"):
        calibrated(name).predict_sets(examples(4, seeded())[0], alphas=[0.2, alpha])


def test_an_empty_set_gets_the_class_with_the_highest_score_where_none_may_be_empty():
    x, y = examples(300, seeded())
    predictor = SplitConformal(Margin(), 0.5).calibrate(Linear(), x, y)
    sets, filled = predictor.predict_sets(x), predictor.predict_sets(x, allow_empty=False)
    empty = ~sets.any(1)
    assert empty.any()
    assert torch.equal(filled[~empty], sets[~empty])
    assert torch.equal(filled[empty], nn.functional.one_hot(Linear()(x[empty]).argmax(1), CLASSES).bool())


# --- what is too few


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.29, 0.5, 0.07])
def test_the_least_count_is_the_first_whose_threshold_is_finite(alpha):
    finite = [conformal_threshold(torch.zeros(count), alpha) > -math.inf for count in range(60)]
    assert least_count(alpha) == finite.index(True)


@pytest.mark.parametrize("name", MAKERS)
def test_as_many_examples_as_the_warning_says_would_do(name):
    with pytest.warns(UserWarning, match="sets are full: [23] calibration examples are too few") as caught:
        calibrated(name, count=3)
    least = int(str(caught[0].message).rstrip(".").split()[-3])
    least = round(least / 0.8) if name == "RSCP+ (PTT)" else least  # a fifth is held out
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert calibrated(name, count=least).threshold > -math.inf
    with pytest.warns(UserWarning, match="too few"):
        calibrated(name, count=least - 1 - (name == "RSCP+ (PTT)"))


def test_no_number_of_examples_makes_up_for_a_radius_that_is_too_large():
    with pytest.warns(UserWarning, match="no number would do, but a smaller radius or a larger sigma"):
        RCP1(Margin(), 0.1, 100.0, sigma=0.5).calibrate(Linear(), *examples(50, seeded()))


@pytest.mark.parametrize("name", ["RSCP+", "CAS", "BinCP", "aPRCP"])
def test_as_many_samples_as_the_warning_says_would_do(name):
    x, _ = examples(10, seeded(2))

    def fitted(samples):
        predictor = MAKERS[name]()
        predictor.samples = samples
        return predictor.calibrate(Linear(), *examples(60, seeded()), generator=1)

    with pytest.warns(UserWarning, match="all sets are full: 8 samples of the noise are too few") as caught:
        assert fitted(8).predict_sets(x, generator=2).all()
    enough = int(str(caught[-1].message).rstrip(".").split()[-3])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # The scores of more samples are others: a few more are needed, or fewer.
        assert not fitted(2 * enough).predict_sets(x, generator=2).all()
    if name in ("BinCP", "aPRCP"):
        with pytest.warns(UserWarning, match="too few"):
            fitted(enough - 1).predict_sets(x, generator=2)


# --- what is forgotten


@pytest.mark.parametrize("name", MAKERS)
def test_another_model_makes_a_predictor_forget_its_calibration(name):
    predictor = calibrated(name).attach(network())
    assert predictor.threshold is None
    assert predictor.points is None
    with pytest.raises(RuntimeError, match="isn't calibrated"):
        predictor.predict_sets(examples(3, seeded())[0])
    if predictor.transform:
        with pytest.raises(RuntimeError, match="no hold-out scores yet"):
            predictor.calibration_scores(*examples(3, seeded()))


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, math.nan])
def test_a_hold_out_that_is_no_share_is_an_error_also_where_it_is_set_later(share):
    with pytest.raises(ValueError, match="hold_out must be strictly between 0 and 1"):
        RSCPPlus(Probit(), 0.1, sigma=0.5, transform=True, hold_out=share)
    predictor = RSCPPlus(Probit(), 0.1, sigma=0.5, transform=True)
    predictor.hold_out = share
    with pytest.raises(ValueError, match="hold_out must be strictly between 0 and 1"):
        predictor.calibrate(Linear(), *examples(30, seeded()))


# --- inputs


@pytest.mark.parametrize("name", MAKERS)
def test_arrays_lists_and_integer_seeds_are_taken(name):
    x, y = examples(120, seeded())
    expected = calibrated(name).predict_sets(x[:20], generator=2)
    for as_given in (lambda each: each.numpy(), lambda each: each.tolist(), lambda each: each.numpy()[::-1][::-1]):
        predictor = MAKERS[name]().calibrate(network(), as_given(x), as_given(y), generator=np.int64(1))
        assert torch.equal(predictor.predict_sets(as_given(x[:20]), generator=seeded(2)), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["vanilla", "lip-rcp", "VRCP-I", "BinCP"])
def test_inputs_are_taken_in_the_type_of_the_model(name, dtype):
    x, y = examples(60, seeded())
    predictor = MAKERS[name]().calibrate(network(torch.float32), x.to(dtype), y, generator=1)
    same = MAKERS[name]().calibrate(network(torch.float32), x.to(dtype).float(), y, generator=1)
    assert predictor.threshold == same.threshold
    inputs = x.to(dtype).requires_grad_()
    (gradient,) = torch.autograd.grad(predictor.true_class_score(inputs, y, generator=1).sum(), inputs)
    assert gradient.dtype == dtype


@pytest.mark.parametrize(
    "make", [SplitConformal, lambda *given: BinCP(*given, sigma=0.5), lambda *given: APRCP(*given)]
)
def test_a_score_may_be_a_name_or_a_class(make):
    x, y = examples(60, seeded())
    for given, score in (("softmax", LAC()), (LAC, LAC()), ("margin", Margin()), (Margin, Margin()), ("aps", APS())):
        predictors = [make(each, 0.2).calibrate(network(), x, y, generator=1) for each in (given, score)]
        assert predictors[0].threshold == predictors[1].threshold
    with pytest.raises(ValueError, match=r"score must be a Score or one of 'softmax', .*, got 'logit'"):
        make("logit", 0.2)
    with pytest.raises(TypeError, match="score must be a Score"):
        make(torch.softmax, 0.2)


def test_counts_may_be_numpy_s():
    whole = np.int64(8)
    assert SplitConformal(LAC(), 0.2, batch_size=whole).batch_size == 8
    assert BinCP(LAC(), np.float32(0.2), sigma=0.5, samples=whole).samples == 8
    assert SplitConformal(LAC(), np.float32(0.29)).alpha == 0.29
    assert RAPS(free_ranks=whole).free_ranks == 8
    assert VRCPI(LAC(), 0.2, 0.1, np.int64(4)).input_shape == (4,)


class Pools(nn.Module):
    """One row of logits for each two inputs."""

    def forward(self, x):
        return (x[::2] + x[1::2])[:, :CLASSES]


@pytest.mark.parametrize("name", [each for each in MAKERS if "VRCP" not in each])
def test_a_model_that_changes_the_number_of_examples_is_refused(name):
    with pytest.raises(ValueError, match=r"a row of logits for each input, got \d+ rows for \d+ inputs"):
        MAKERS[name]().calibrate(Pools(), *examples(60, seeded()), generator=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": "images"}, "inputs must be"),
        ({"x": [[1.0, 2.0], [3.0]]}, "inputs must be a tensor, an array or a list of numbers, got list"),
        (
            {"x": np.ones((4, 4), dtype=int)},
            r"inputs must be floating-point and .*int64 \(4, 4\); convert them by .float",
        ),
        ({"y": [0.0, 1.0, 2.0, 0.0]}, "labels must be a tensor of an integer type, got torch.float64"),
        ({"y": [[0, 1], [2]]}, "labels must be a tensor, an array or a list of numbers"),
        ({"generator": 0.5}, "generator must be a torch.Generator or a seed, got 0.5"),
        ({"generator": True}, "generator must be a torch.Generator or a seed, got True"),
        ({"model": Linear}, "model must be a module or a function that maps inputs to logits, got the class Linear"),
        ({"model": "resnet"}, "model must be a module or a function that maps inputs to logits, got str"),
        ({"model": lambda x: (Linear()(x),)}, "logits must be a floating-point tensor .*, got tuple"),
    ],
)
def test_what_has_no_plain_meaning_is_refused_in_words(change, message):
    x, y = examples(4, seeded())
    given = {"model": Linear(), "x": x, "y": y, "generator": None} | change
    with pytest.raises(TypeError, match=message):
        SplitConformal(LAC(), 0.2).calibrate(**given)


def test_several_alphas_in_place_of_one_are_sent_to_where_they_are_taken():
    with pytest.raises(TypeError, match="predict_sets takes several alphas"):
        SplitConformal(LAC(), [0.1, 0.2])


# --- probabilities


@pytest.mark.parametrize("score", ["softmax", "probability", "max_ratio", "aps", "margin"])
def test_sets_of_probabilities_are_those_of_their_logits(score):
    x, y = examples(300, seeded())
    logits = network()(x)
    expected = SplitConformal(score, 0.2).calibrate(nn.Identity(), logits, y, generator=1)
    probabilities = logits.softmax(1).numpy()
    found = SplitConformal(score, 0.2).calibrate(log_probabilities, probabilities, y.numpy(), generator=1)
    assert torch.equal(found.predict_sets(probabilities, generator=2), expected.predict_sets(logits, generator=2))
    assert torch.allclose(log_probabilities(probabilities).exp(), logits.softmax(1))


def test_probabilities_of_0_have_finite_logits_and_what_are_none_are_refused():
    assert log_probabilities(np.array([[1.0, 0.0, 0.0]])).isfinite().all()
    assert log_probabilities(torch.tensor([[1.0, 0.0]])).softmax(1)[0, 1] < 1e-37
    assert log_probabilities(torch.zeros(0, 3)).shape == (0, 3)
    for wrong in ([[2.0, -1.0]], [[0.5, 0.6]], [[3.0, 1.0]]):
        with pytest.raises(ValueError, match="probabilities must be at least 0 and sum to 1"):
            log_probabilities(torch.tensor(wrong))


# --- rounding


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_needs_its_allowance_and_the_same_weights_in_float32_do_not(dtype):
    torch.manual_seed(0)
    layers = [nn.utils.parametrizations.orthogonal(nn.Linear(32, 32)) for _ in range(5)]
    half = nn.Sequential(*(each for layer in layers for each in (layer, nn.ReLU())), nn.Linear(32, 5)).eval()
    for layer in layers:
        nn.utils.parametrize.remove_parametrizations(layer, "weight")
    wide = copy.deepcopy(half.to(dtype)).float()
    x, y = torch.randn(2000, 32, generator=seeded()).to(dtype), torch.arange(2000) % 5
    with torch.no_grad():
        rounded, expected = half(x), wide(x.float())
    error = (Margin()(rounded) - Margin()(expected)).abs().amax(1) / expected.abs().amax(1)
    allowed = 4 * torch.finfo(dtype).eps
    assert allowed / 4 < error.max() < allowed  # of one input; it is for two
    thresholds = [
        LipschitzConformal("margin", 0.2, 0.1, rounding=each).calibrate(model, x, y).threshold
        for model, each in ((half, None), (wide, None), (wide, 0.0))
    ]
    assert thresholds[0] < thresholds[1] - allowed / 4 * expected.abs().amax(1).median()
    assert thresholds[1] == pytest.approx(thresholds[2], abs=1e-4 * allowed + 1e-5)


# --- files


@pytest.mark.parametrize("class_conditional", [False, True])
@pytest.mark.parametrize("name", MAKERS)
def test_a_predictor_is_the_same_after_a_file_that_holds_no_pickle(name, class_conditional, tmp_path):
    predictor = calibrated(name, class_conditional=class_conditional)
    save(predictor, tmp_path / "predictor.json")
    json.loads((tmp_path / "predictor.json").read_text())
    again = load(tmp_path / "predictor.json", network())
    assert repr(again) == repr(predictor)
    x, y = examples(40, seeded(3))
    for alphas in (None, [0.1, 0.3]):
        sets = [each.predict_sets(x, alphas=alphas, generator=5) for each in (predictor, again)]
        assert torch.equal(*sets)
    assert torch.equal(predictor.true_class_score(x, y, generator=5), again.true_class_score(x, y, generator=5))


def through_pickle(given):
    return pickle.loads(pickle.dumps(given))  # noqa: S301 - our own bytes


@pytest.mark.parametrize("take", [copy.deepcopy, through_pickle])
@pytest.mark.parametrize("name", MAKERS)
def test_a_copy_of_a_predictor_has_a_model_of_its_own_and_the_same_sets(name, take):
    model, (x, y) = network(), examples(40, seeded(3))
    attached = MAKERS[name](0.2).attach(model)
    twin, early = take((model, attached))
    assert early.model is twin
    predictor = attached.calibrate(model, *examples(120, seeded()), generator=1)
    assert torch.equal(torch.as_tensor(early.calibrate(twin, *examples(120, seeded()), generator=1).threshold),
                       torch.as_tensor(predictor.threshold))  # fmt: skip
    predictor.true_class_score(x.clone().requires_grad_(), y, generator=5)
    other = take(predictor)
    sets = [each.predict_sets(x, generator=5) for each in (predictor, other, early)]
    assert torch.equal(sets[0], sets[1])
    assert torch.equal(sets[0], sets[2])
    with torch.no_grad():
        for each in other.model.parameters():
            each.zero_()
    assert torch.equal(predictor.predict_sets(x, generator=5), sets[0])


def test_what_cannot_be_saved_or_loaded_is_an_error(tmp_path):
    x, y = examples(60, seeded())
    with pytest.raises(RuntimeError, match="isn't calibrated"):
        save(SplitConformal(LAC(), 0.2).attach(Linear()), tmp_path / "none")
    with pytest.raises(TypeError, match="score must be one of this package, got Probit"):
        save(SplitConformal(Probit(), 0.2).calibrate(Linear(), x, y), tmp_path / "none")

    class Own(SplitConformal):
        pass

    with pytest.raises(TypeError, match="predictor must be one of this package, got Own"):
        save(Own(LAC(), 0.2).calibrate(Linear(), x, y), tmp_path / "none")
    for text in ("no JSON", "[]", '{"predictor": "Model", "options": {}}', '{"predictor": "RCP1", "options": {}}'):
        (tmp_path / "wrong").write_text(text)
        with pytest.raises(ValueError, match="holds no predictor"):
            load(tmp_path / "wrong", Linear())


@pytest.mark.parametrize("name", MAKERS)
def test_a_predictor_says_what_it_was_made_with_and_whether_it_is_calibrated(name):
    predictor = MAKERS[name]()
    made, state = repr(predictor).rsplit(", ", 1)
    again = eval(made, vars(__import__("orthobench.conformal").conformal))  # noqa: S307 - the repr of our own object
    assert again._options().keys() == predictor._options().keys()
    assert "alpha=0.2" in made
    assert state == "not calibrated"
    assert repr(calibrated(name)).endswith(f"calibrated on {96 if 'PTT' in name else 120} examples")
