"""What pixels are replaced by."""

import re

import pytest
import torch
from explanation_cases import linear_model, normal, uniform

from orthobench.explanations import ClassScore, integrated_gradients, make_baseline, mu_fidelity, saliency

IMAGES = uniform(4, 2, 5, 6)


def test_zero_and_mean_are_what_they_say():
    assert torch.equal(make_baseline("zero", IMAGES), torch.zeros_like(IMAGES))
    reference = uniform(9, 2, 5, 6, seed=1)
    mean = make_baseline("mean", IMAGES.float(), reference=reference)
    assert mean.dtype == torch.float32
    for each in mean:
        torch.testing.assert_close(each, reference.mean(0).float())


def test_noise_is_uniform_between_the_bounds_and_of_each_image_its_own():
    images = torch.zeros(50, 3, 20, 20)
    noise = make_baseline("uniform", images, low=-1, high=3).double()
    assert -1 <= float(noise.min()) < -0.99
    assert 2.99 < float(noise.max()) <= 3
    count = noise.numel()
    assert abs(float(noise.mean()) - 1) < 4 * (16 / 12 / count) ** 0.5
    assert abs(float((noise[:-1] - 1).flatten() @ (noise[1:] - 1).flatten())) < 4 * 16 / 12 * count**0.5
    assert torch.equal(make_baseline("uniform", images[:2]), make_baseline("uniform", images)[:2])
    assert not torch.equal(make_baseline("uniform", images, seed=1), make_baseline("uniform", images))


def test_blurring_takes_gaussian_means_within_the_image():
    blurred = make_baseline("blur", IMAGES, sigma=1.3)
    row, column = 1, 4
    rows, columns = (torch.arange(size, dtype=torch.float64) for size in (5, 6))
    weights = (-((rows[:, None] - row) ** 2 + (columns - column) ** 2) / (2 * 1.3**2)).exp()
    expected = (IMAGES * weights).sum((2, 3)) / weights.sum()
    torch.testing.assert_close(blurred[:, :, row, column], expected)
    uniform_images = torch.full((1, 1, 5, 6), 0.3, dtype=torch.float64)
    torch.testing.assert_close(make_baseline("blur", uniform_images), uniform_images)
    torch.testing.assert_close(make_baseline("blur", IMAGES, sigma=1e-3), IMAGES)


def test_what_speaks_by_its_absence_is_seen_by_grey_and_not_by_zero():
    """All blank pixels speak for the class: none changes the score by becoming 0, all do by becoming grey."""
    images = torch.zeros(20, 1, 4, 4, dtype=torch.float64)
    weight = torch.stack([-(1 + uniform(16)), torch.zeros(16)])
    score = ClassScore(linear_model(weight, torch.tensor([30.0, 0.0])), images, torch.zeros(20, dtype=torch.int64))
    maps = saliency(score)
    assert mu_fidelity(score, maps, make_baseline("zero", images)).tolist() == [0.0] * 20
    torch.testing.assert_close(mu_fidelity(score, maps, torch.tensor(0.5)), torch.ones(20, dtype=torch.float64))


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("grey", {}, ValueError, "name is 'grey': give one of zero, uniform, mean, blur"),
        ("mean", {}, ValueError, re.escape("reference must be images (M, 2, 5, 6) for 'mean', got NoneType")),
        ("mean", {"reference": IMAGES[:, :1]}, ValueError, re.escape("got (4, 1, 5, 6)")),
        ("mean", {"reference": IMAGES[:0]}, ValueError, re.escape("got (0, 2, 5, 6)")),
        ("blur", {"sigma": 0}, ValueError, "sigma must be a finite number > 0, got 0"),
        ("blur", {"images": normal(2, 1, 5)}, ValueError, re.escape("(N, channels, height, width) to be blurred")),
        ("uniform", {"low": 1}, ValueError, "low and high are 1 and 1.0: give low < high"),
        ("zero", {"images": IMAGES.long()}, TypeError, "got torch.int64"),
    ],
)
def test_a_baseline_that_is_none_is_refused(name, options, error, message):
    with pytest.raises(error, match=message):
        make_baseline(name, **({"images": IMAGES} | options))


def test_a_baseline_of_ones_own_must_fit():
    score = ClassScore(linear_model(normal(3, 60)), IMAGES, torch.zeros(4, dtype=torch.int64))
    maps = saliency(score)
    grey = torch.tensor(0.5)
    torch.testing.assert_close(mu_fidelity(score, maps, grey), mu_fidelity(score, maps, grey.expand_as(IMAGES)))
    for wrong, error, message in (
        (0.5, TypeError, "baseline must be a tensor, got float; make_baseline makes"),
        (torch.zeros(4), ValueError, re.escape("broadcast to the images, (4, 2, 5, 6), got (4,)")),
        (torch.tensor(torch.nan), ValueError, "baseline must be finite"),
    ):
        with pytest.raises(error, match=message):
            mu_fidelity(score, maps, wrong)
        with pytest.raises(error, match=message):
            integrated_gradients(score, baseline=wrong)
