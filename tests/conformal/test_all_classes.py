"""Calibration scores of all classes: those of each class, as labels get them, by one pass over the examples."""

import itertools

import pytest
import torch
from conformal_cases import CLASSES as CASES
from conformal_cases import FEATURES as CASE_FEATURES
from conformal_cases import Linear as CaseLinear
from conformal_cases import draw
from smoothing_toys import CLASSES, METHODS, Linear, examples, seeded
from torch import nn

from orthobench.conformal import APS, LAC, RAPS, VRCPC, VRCPI, LipschitzConformal, Margin, MaxRatio, SplitConformal
from orthobench.conformal import verified as verified_module
from orthobench.conformal.smoothing import BinCP
from orthobench.conformal.verification import bounds as bounds_module
from orthobench.studies.conformal_speed import peak_bytes

SCORES = [LAC(), LAC(bounded=True), LAC("sigmoid"), Margin(), MaxRatio(bounded=True), APS(), RAPS(free_ranks=1)]
BOUNDED = [LAC(), LAC("sigmoid", bounded=True), Margin(), MaxRatio()]


def check_columns(predictor, x, y, classes):
    """Check that the matrix holds what labels get, on the same noise: the true ones, and each class in turn."""
    scores = predictor.calibration_scores(x, generator=seeded(7))
    assert scores.shape == (len(x), classes)
    for labels in (y, *(torch.full_like(y, each) for each in range(classes))):
        alone = predictor.calibration_scores(x, labels, generator=seeded(7))
        torch.testing.assert_close(scores.gather(1, labels[:, None]).squeeze(1), alone, rtol=1e-6, atol=1e-6)
    assert (scores - scores[:, :1]).abs().max() > 1e-3


@pytest.mark.parametrize("score", SCORES, ids=str)
def test_scores_of_one_pass(score):
    x, y = draw(50, seeded())
    check_columns(SplitConformal(score, 0.1, batch_size=16).attach(CaseLinear()), x, y, CASES)


def test_lipschitz_scores():
    x, y = draw(50, seeded())
    check_columns(LipschitzConformal(Margin(), 0.1, 0.2).attach(CaseLinear()), x, y, CASES)


@pytest.mark.parametrize("batch_size", [16, 4096])
@pytest.mark.parametrize("name", METHODS)
def test_scores_under_noise_of_one_pass_over_the_noisy_copies(name, batch_size):
    x, y = examples(40, seeded())
    predictor = METHODS[name](0.2, 0.1, sigma=0.5, samples=16, batch_size=batch_size).attach(Linear())
    if predictor.transform:
        predictor.fit_transform(x[:20], y[:20], generator=seeded(2))
    predictor.model.seen = []
    predictor.calibration_scores(x, generator=seeded(7))
    once = len(predictor.model.take())
    predictor.calibration_scores(x, y, generator=seeded(7))
    assert once == len(predictor.model.take())
    check_columns(predictor, x, y, CLASSES)


@pytest.mark.parametrize("score", [APS(), RAPS()], ids=str)
def test_a_randomised_score_under_noise(score):
    x, y = examples(40, seeded())
    check_columns(BinCP(score, 0.2, 0.1, sigma=0.5, samples=16).attach(Linear()), x, y, CLASSES)


def network(width=8, classes=CASES):
    torch.manual_seed(0)
    sizes = [CASE_FEATURES, width, width, classes]
    layers = [each for a, b in itertools.pairwise(sizes) for each in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1]).double().requires_grad_(False)


@pytest.mark.parametrize("rows", ["margins", "logits"])
@pytest.mark.parametrize("score", BOUNDED, ids=str)
@pytest.mark.parametrize("method", [VRCPI, VRCPC])
def test_bounds_of_all_rows(method, score, rows):
    x, y = draw(30, seeded())
    check_columns(method(score, 0.1, 0.2, (CASE_FEATURES,), rows=rows).attach(network()), x, y, CASES)


@pytest.mark.parametrize("rows", ["margins", "logits"])
def test_bounds_of_few_classes_at_once_are_the_same_in_less_memory(rows, monkeypatch):
    classes = 40
    x, _ = draw(8, seeded())
    predictor = VRCPC(LAC(), 0.1, 0.2, (CASE_FEATURES,), rows=rows).attach(network(classes=classes))
    whole = predictor.calibration_scores(x)
    peak = peak_bytes(lambda: predictor.calibration_scores(x))
    for module in (verified_module, bounds_module):
        monkeypatch.setattr(module, "_NUMBERS_AT_ONCE", 4 * classes**2)
    torch.testing.assert_close(predictor.calibration_scores(x), whole, rtol=1e-12, atol=1e-12)
    assert peak_bytes(lambda: predictor.calibration_scores(x)) < peak / (4 if rows == "margins" else 1.9)
    # A smaller block would be of less than one class.
    monkeypatch.setattr(verified_module, "_NUMBERS_AT_ONCE", 1)
    torch.testing.assert_close(predictor.calibration_scores(x), whole, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("method", [VRCPI, VRCPC])
def test_the_memory_of_bounds_does_not_grow_with_the_number_of_pairs_of_classes(method):
    """160,000 pairs of an input, of which the rows alone would take 256 MB; a batch with labels has 25,600 pairs."""
    model = nn.Sequential(nn.Linear(CASE_FEATURES, 8), nn.ReLU(), nn.Linear(8, 400)).requires_grad_(False)
    predictor = method(LAC(), 0.1, 0.2, (CASE_FEATURES,)).attach(model)
    x, y = (each[:64] for each in draw(64, seeded()))
    bound = 100e6
    side = predictor.prediction_scores if method is VRCPI else predictor.calibration_scores
    assert peak_bytes(lambda: side(x[:1].float())) < bound
    with torch.no_grad():
        assert peak_bytes(lambda: predictor._bounds(x.float(), y)) < bound


def test_blocks_count_the_widest_tensor_within_a_stage():
    """Bounds of a layer that pooling follows at once: what is between the two is 16 times as large as either."""
    model = nn.Sequential(nn.Conv2d(1, 64, 3, padding=1), nn.AvgPool2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(64, 50))
    predictor = VRCPI(LAC(), 0.1, 0.2, (1, 8, 8)).attach(model.requires_grad_(False))
    assert predictor._bounded.stages[0].widest == 64 * 8 * 8
    x = torch.rand(4, 1, 8, 8, generator=seeded())
    assert peak_bytes(lambda: predictor.prediction_scores(x)) < 100e6


def test_no_example_has_no_row():
    x, _ = examples(40, seeded())
    for make in METHODS.values():
        predictor = make(0.2, 0.1, sigma=0.5, samples=16).attach(Linear())
        if predictor.transform:
            predictor.fit_transform(*examples(20, seeded()), generator=seeded())
        assert predictor.calibration_scores(x[:0]).shape == (0, CLASSES)
