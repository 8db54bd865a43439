"""The score that is explained: its formula, its gradient, and models that aren't functions of one image."""

import re

import pytest
import torch
from explanation_cases import labels, linear_model, network_score, normal, small_network, uniform
from torch import nn
from torch.nn.utils import parametrize

from orthobench.explanations import (
    MAPS,
    ClassScore,
    deletion_gain,
    insertion_gain,
    integrated_gradients,
    make_baseline,
    mu_fidelity,
    newton_points,
    right_in_all,
    saliency,
    smoothgrad,
    stability,
)
from orthobench.lipschitz.evaluation import frozen_copy
from orthobench.lipschitz.networks import layers_of
from orthobench.models import lipschitz_convnet

IMAGES = uniform(5, 2, 3, 3)
WEIGHT = normal(4, 18, seed=1)
LABELS = labels(0, 1, 2, 3, 0)


def test_scores_are_the_logit_and_its_margin_over_the_runner_up():
    model = linear_model(WEIGHT)
    logits = model(IMAGES)
    rows = range(5)
    runners_up = [max((k for k in range(4) if k != LABELS[i]), key=lambda k, i=i: logits[i, k]) for i in rows]
    score = ClassScore(model, IMAGES, LABELS)
    assert score.rivals.tolist() == runners_up
    expected = torch.stack([logits[i, LABELS[i]] - logits[i, runners_up[i]] for i in rows])
    torch.testing.assert_close(score.values(IMAGES), expected)
    torch.testing.assert_close(ClassScore(model, IMAGES, LABELS, "logit").values(IMAGES), logits[rows, LABELS])
    assert score.right.tolist() == [int(logits[i].argmax()) == int(LABELS[i]) for i in rows]


def test_the_rival_stays_when_the_image_changes():
    model, rivals = linear_model(WEIGHT), labels(1, 2, 3, 0, 2)
    score, points = ClassScore(model, IMAGES, LABELS, rivals=rivals), 100 * normal(5, 2, 3, 3, seed=2)
    slopes = WEIGHT[LABELS] - WEIGHT[rivals]
    torch.testing.assert_close(score.values(points), (slopes * points.flatten(1)).sum(1))
    assert not torch.equal(ClassScore(model, points, LABELS).rivals, rivals)
    one = score.values(points, of=3)
    torch.testing.assert_close(one, points.flatten(1) @ slopes[3])
    torch.testing.assert_close(score.values(points, of=labels(3, 0, 3, 1, 3))[2], one[2])


def test_gradients_are_those_of_finite_differences():
    score = network_score(channels=2)
    values, gradients = score.gradients(score.images)
    torch.testing.assert_close(values, score.values(score.images))
    step = 1e-6
    for index in ((0, 0, 0), (1, 2, 3), (0, 3, 1)):
        moved = score.images.clone()
        moved[(slice(None), *index)] += step
        differences = (score.values(moved) - values) / step
        torch.testing.assert_close(gradients[(slice(None), *index)], differences, rtol=1e-4, atol=1e-5)


def test_the_model_is_left_as_it_was_and_evaluated_in_evaluation_mode():
    model = nn.Sequential(nn.BatchNorm2d(2), nn.Dropout(0.5), nn.Flatten(), nn.Linear(18, 4)).double()
    model[0].eval()
    before = {name: each.clone() for name, each in model.state_dict().items()}
    state = torch.get_rng_state()
    score = ClassScore(model, IMAGES, LABELS)
    saliency(score)
    mu_fidelity(score, saliency(score), make_baseline("zero", IMAGES), subsets=5)
    newton_points(score)
    assert [each.training for each in model] == [False, True, True, True]
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())
    assert all(each.grad is None for each in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, weight):
        self.calls += 1
        return weight / weight.norm()


def test_parametrised_weights_are_computed_once_in_each_measurement():
    model = nn.Sequential(nn.Flatten(), nn.Linear(18, 4)).double()
    parametrize.register_parametrization(model[1], "weight", Counting())
    counter = model[1].parametrizations.weight[0]
    score = ClassScore(model, IMAGES, LABELS, batch_size=2)
    baseline = make_baseline("uniform", IMAGES)
    for measure in (
        lambda: mu_fidelity(score, saliency(score), baseline, subsets=9),
        lambda: deletion_gain(score, saliency(score), baseline),
        lambda: smoothgrad(score, samples=9),
        lambda: stability(score, draws=5),
        lambda: newton_points(score),
    ):
        before = counter.calls
        measure()
        assert 1 <= counter.calls - before <= 2  # two where a map is made, too


def test_gradients_of_a_frozen_copy_are_those_of_the_model():
    model = lipschitz_convnet(0, **layers_of("cayley"), width=8)
    images, targets = uniform(4, 1, 8, 8).float(), labels(0, 1, 2, 3)
    scores = [ClassScore(each, images, targets) for each in (model, frozen_copy(model))]
    torch.testing.assert_close(*(saliency(score) for score in scores), rtol=1e-4, atol=1e-6)


class InTraining(nn.Module):
    """Noise whatever the mode."""

    def forward(self, logits):
        return logits + 0.01 * torch.randn_like(logits)


class ByPlace(nn.Module):
    """The first of a batch gets other logits."""

    def forward(self, logits):
        return logits * torch.cat([torch.full((1, 1), 1.1), torch.ones(len(logits) - 1, 1)])


class Detecting(nn.Module):
    """Other logits where the batch holds several images that share many pixels: the copies that metrics make."""

    def forward(self, images):
        flat = images.flatten(1)
        shared = (flat[:, None] == flat[None]).double().mean(2).fill_diagonal_(0)
        return flat[:, :4] * (1 + (shared > 0.3).any().double())


@pytest.mark.parametrize(
    ("model", "where"),
    [
        (nn.Sequential(nn.BatchNorm2d(2, track_running_stats=False), nn.Flatten(), nn.Linear(18, 4)), "alone"),
        (nn.Sequential(nn.Flatten(), nn.Linear(18, 4), InTraining()), "in another order"),
        (nn.Sequential(nn.Flatten(), nn.Linear(18, 4), ByPlace()), "in another order"),
        (Detecting(), "among changed copies of it"),
    ],
)
def test_a_network_that_gives_other_outputs_in_another_batch_is_caught(model, where):
    with pytest.raises(ValueError, match=f"has other logits {where}, by .*leave out statistics of the batch"):
        ClassScore(model.double(), IMAGES, LABELS)


def test_a_model_that_writes_into_its_input_changes_nothing():
    images = normal(3, 1, 4, 4)
    before = images.clone()
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(16, 3)).double()
    maps = saliency(ClassScore(model, images, labels(0, 1, 2)))
    assert torch.equal(images, before)
    assert torch.equal(maps[images[:, 0] < 0], torch.zeros(int((images < 0).sum()), dtype=torch.float64))


def metrics_of(score):
    baseline, maps = make_baseline("uniform", score.images), saliency(score)
    yield from (MAPS[name](score) for name in ("saliency", "gradient_input"))
    yield smoothgrad(score, samples=9)
    yield integrated_gradients(score, steps=9)
    yield mu_fidelity(score, maps, baseline, subsets=20)
    yield deletion_gain(score, maps, baseline).gain
    yield insertion_gain(score, maps, baseline).gain
    yield stability(score, draws=5)
    yield newton_points(score)


def test_no_more_images_than_allowed_are_evaluated_at_once_and_figures_stay():
    network, sizes = small_network(), []

    def model(images):
        sizes.append(len(images))
        return network(images)

    images, targets = uniform(2, 1, 4, 4), network(uniform(2, 1, 4, 4)).argmax(1)
    expected = list(metrics_of(ClassScore(model, images, targets)))
    for batch_size in (1, 4):
        sizes.clear()
        found = list(metrics_of(ClassScore(model, images, targets, batch_size=batch_size)))
        assert max(sizes) == batch_size
        for own, other in zip(found, expected, strict=True):
            torch.testing.assert_close(own, other, equal_nan=True)


def test_the_figures_of_an_image_do_not_depend_on_the_others():
    score = network_score()
    few = ClassScore(score.model, score.images[:2], score.labels[:2])
    for own, all_of_them in zip(metrics_of(few), metrics_of(score), strict=True):
        torch.testing.assert_close(own, all_of_them[:2], equal_nan=True)


def test_images_that_all_models_classify_right():
    models = [linear_model(normal(3, 18, seed=seed)) for seed in (2, 3)]
    images = normal(40, 2, 3, 3, seed=4)
    targets = (models[0](images) + models[1](images)).argmax(1)
    winners = [[int(model(x[None]).argmax()) for model in models] for x in images]
    expected = [own == [y, y] for own, y in zip(winners, targets.tolist(), strict=True)]
    assert right_in_all(models, images, targets).tolist() == expected
    assert 0 < sum(expected) < 40
    with pytest.raises(ValueError, match="at least one model"):
        right_in_all([], images, targets)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"kind": "probability"}, ValueError, "kind must be 'margin' or 'logit', got 'probability'"),
        ({"model": "resnet"}, TypeError, "model must be a torch.nn.Module or a callable, got str"),
        ({"images": IMAGES.long()}, TypeError, "got torch.int64"),
        ({"images": IMAGES.flatten(1)}, TypeError, re.escape("view vectors (N, n) as (N, 1, n)")),
        ({"images": IMAGES[:0]}, ValueError, re.escape("got the shape (0, 2, 3, 3)")),
        ({"images": IMAGES * torch.nan}, ValueError, "images must be finite, got NaN or infinity at place 0 of 5"),
        ({"labels": LABELS[:2]}, ValueError, re.escape("got (5, 4) and (2,)")),
        ({"labels": LABELS + 1}, ValueError, re.escape("labels must be in 0..3 for 4 logits")),
        ({"rivals": LABELS}, ValueError, "the rival of image 0 is its own class 0"),
        ({"rivals": LABELS, "kind": "logit"}, ValueError, "rivals are for kind='margin' alone"),
        ({"rivals": LABELS - 4}, ValueError, re.escape("got -4 to -1")),
        ({"batch_size": 0}, ValueError, "batch_size is 0: give an integer >= 1"),
        ({"model": lambda x: x}, ValueError, re.escape("must return logits (5, C) for 5 images, got (5, 2, 3, 3)")),
        ({"model": lambda x: x.flatten(1)[:, 0]}, ValueError, "of one score f make two logits"),
        ({"model": lambda x: x.flatten(1) / 0}, ValueError, "the logits must be finite"),
    ],
)
def test_what_has_no_score_is_refused(change, error, message):
    arguments = {"model": linear_model(WEIGHT), "images": IMAGES, "labels": LABELS} | change
    with pytest.raises(error, match=message):
        ClassScore(**arguments)


def test_wrong_points_are_refused():
    score = ClassScore(linear_model(WEIGHT), IMAGES, LABELS)
    for points, of, error, message in (
        (IMAGES[:, :1], None, ValueError, re.escape("shape (b, 2, 3, 3) of the images, got (5, 1, 3, 3)")),
        (IMAGES[:2], None, ValueError, "2 points of 5 images: say by `of`"),
        (IMAGES[:2], 5, IndexError, re.escape("of is in 5..5: give numbers of images, in 0..4")),
        (IMAGES[:2], 0.5, TypeError, "of must be an integer"),
        (IMAGES[:2], labels(1, 2, 3), TypeError, re.escape("integers (2,)")),
        ([1.0], None, ValueError, "got list"),
    ):
        with pytest.raises(error, match=message):
            score.values(points, of)


def test_logits_without_a_gradient_are_refused():
    for model in (lambda x: x.detach().flatten(1), lambda x: (x > 0.5).double().flatten(1)):
        with pytest.raises(ValueError, match="by operations that torch differentiates"):
            saliency(ClassScore(model, IMAGES, LABELS))
