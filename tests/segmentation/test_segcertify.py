"""SegCertify against its definition, and on half-spaces, whose probabilities and radii are known exactly."""

import math
import statistics

import pytest
import torch
from scipy.stats import binom, norm
from segmentation_cases import generator, normal
from torch import nn

from orthobench.segmentation import ABSTAIN, SegCertify, Votes


class HalfSpaces(nn.Module):
    """Pixel w is of class 1 where a_w . x > b_w."""

    def __init__(self, a, b):
        super().__init__()
        self.a, self.b = a, b

    def forward(self, images):
        scores = images.flatten(1) @ self.a.mT - self.b
        return torch.stack([torch.zeros_like(scores), scores], 1)[:, :, None]


# --- half-spaces -----------------------------------------------------------------------------------------------------


def test_counts_are_binomial_with_the_known_probability_and_the_choosing_copies_are_not_among_them():
    a, b, sigma = normal(6, 4), normal(6, seed=1), 0.5
    image = normal(1, 1, 1, 4, seed=2)
    smoothing = SegCertify(sigma, n0=4, n=4000)
    votes = smoothing.sample(HalfSpaces(a, b), image, generator=generator())
    p = norm.cdf(((image.flatten() @ a.mT - b) / (sigma * a.norm(dim=1))).numpy())
    share = (votes.counts[0, 0] / votes.n).numpy()
    share_of_1 = [s if c else 1 - s for s, c in zip(share, votes.classes[0, 0].tolist(), strict=True)]
    for found, expected in zip(share_of_1, p, strict=True):
        assert abs(found - expected) < 4.5 * math.sqrt(expected * (1 - expected) / votes.n) + 1e-9
    assert votes.counts.max() <= votes.n == 4000


def test_a_class_chosen_by_few_copies_has_as_few_votes_as_chance_gives():
    """Where both classes are equally likely, the copies that chose one would count for it: fresh ones don't."""
    a, b = torch.ones(1, 2, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    images = torch.zeros(400, 1, 1, 2, dtype=torch.float64)
    votes = SegCertify(1.0, n0=9, n=16).sample(HalfSpaces(a, b), images, generator=generator())
    mean = votes.counts.double().mean().item()
    assert abs(mean - 8) < 4 * 2 / math.sqrt(400)  # 2 is the standard deviation of one count


@pytest.mark.parametrize("correction", ["holm", "bonferroni"])
def test_a_false_certificate_is_as_rare_as_promised(correction):
    """2,000 runs with alpha = 0.1; of eight pixels five are at most at the boundary of the radius, where p <= tau."""
    sigma, radius, alpha, runs = 0.5, 0.3, 0.1, 2000
    smoothing = SegCertify(sigma, n0=3, n=40, alpha=alpha, correction=correction)
    distances = torch.tensor([radius, radius, radius, 0.8 * radius, 0.0, 2 * radius, 3 * radius, 5 * radius]).double()
    a = torch.eye(8, dtype=torch.float64) * torch.arange(1, 9)
    b = -distances * a.norm(dim=1)  # at the image 0 the exact radius of each is its distance
    votes = smoothing.sample(HalfSpaces(a, b), torch.zeros(runs, 1, 1, 8, dtype=torch.float64), generator=generator())
    certified = smoothing.certify(votes, radius) != ABSTAIN
    false = certified[:, 0, :5].any(1).double().mean().item()
    assert false <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / runs)
    assert false > 0.01
    assert certified[:, 0, 7].double().mean() > 0.8
    assert (votes.classes[:, 0, 7] == 1).all()


def test_what_is_certified_holds_at_the_radius_and_no_farther_than_the_exact_one():
    """The smoothed network's class is that of the half-space: it changes at the distance to its border, exactly."""
    smoothing = SegCertify(0.25, n=2000)
    for radius in (0.1, 0.3, 0.5):
        tau = smoothing.tau(radius)
        assert smoothing.radius(tau) == pytest.approx(radius)
        assert norm.cdf(radius / 0.25) == pytest.approx(tau)
    distances = torch.tensor([0.05, 0.15, 0.25, 0.45, 0.7], dtype=torch.float64)
    model = HalfSpaces(torch.eye(5, dtype=torch.float64), -distances)
    votes = smoothing.sample(model, torch.zeros(1, 1, 1, 5, dtype=torch.float64), generator=generator())
    for radius in (0.1, 0.2, 0.35, 0.55):
        certified = smoothing.certify(votes, radius)[0, 0] == 1
        assert torch.equal(certified, distances > radius)


# --- the tests of an image -------------------------------------------------------------------------------------------


def by_definition(counts, n, tau, alpha, correction):
    """Which pixels are certified, pixel by pixel in ascending order of their p-values."""
    p_values = [binom.sf(count - 1, n, tau) for count in counts]
    order = sorted(range(len(counts)), key=p_values.__getitem__)
    certified = [False] * len(counts)
    for rank, w in enumerate(order, start=1):
        tests = len(counts) - rank + 1 if correction == "holm" else len(counts)
        if p_values[w] > alpha / tests:
            break
        certified[w] = True
    return certified


@pytest.mark.parametrize("correction", ["holm", "bonferroni"])
def test_the_corrections_are_those_of_their_definitions(correction):
    more = 0
    for seed in range(150):
        n, pixels = 22 + seed % 30, 3 + seed % 40
        alpha = [0.001, 0.05, 0.3][seed % 3]
        smoothing = SegCertify(1.0, n=n, alpha=alpha, correction=correction)
        radius = smoothing.radius(0.6)
        counts = (n - 15 * torch.rand(1, 1, pixels, generator=generator(seed)) ** 2).round().long()
        votes = Votes(torch.ones_like(counts), counts, n)
        found = (smoothing.certify(votes, radius) == 1).flatten().tolist()
        tau = smoothing.tau(radius)
        assert found == by_definition(counts.flatten().tolist(), n, tau, alpha, correction)
        bonferroni = SegCertify(1.0, n=n, alpha=alpha, correction="bonferroni").certify(votes, radius).flatten() == 1
        assert not (bonferroni & ~torch.tensor(found)).any()
        more += sum(found) > bonferroni.sum()
    assert (more > 20) == (correction == "holm")


def test_ignored_pixels_are_not_tested():
    counts = torch.full((1, 1, 100), 30)
    counts[0, 0, :10] = 40
    votes = Votes(torch.ones_like(counts), counts, 40)
    labelled = torch.zeros(1, 1, 100, dtype=torch.bool)
    labelled[0, 0, :20] = True
    smoothing = SegCertify(0.5, n=40, alpha=0.001)
    radius = smoothing.radius(0.77)
    with pytest.raises(ValueError, match="P = 100"):
        smoothing.certify(votes, radius)
    certified = smoothing.certify(votes, radius, labelled)[0, 0]
    assert (certified[:10] == 1).all()
    assert (certified[10:] == ABSTAIN).all()
    with pytest.raises(ValueError, match="labelled has no pixel"):
        smoothing.certify(votes, radius, torch.zeros_like(labelled))
    with pytest.raises(ValueError, match="labelled must be bool"):
        smoothing.certify(votes, radius, labelled.long())


# --- the floor -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("radius", "sigma", "least"), [(0.5, 0.2, 2667), (0.5, 0.3, 340), (0.5, 0.4, 149), (0.5, 0.5, 97)]
)
def test_the_floor_is_that_of_the_public_settings(radius, sigma, least):
    smoothing = SegCertify(sigma, n=100, alpha=0.001)
    assert smoothing.least_n(radius, 128 * 128) == least
    tau = smoothing.tau(radius)
    assert tau**least <= 0.001 / 128**2 < tau ** (least - 1)


@pytest.mark.parametrize("correction", ["holm", "bonferroni"])
def test_below_the_floor_it_is_an_error_and_at_it_a_unanimous_image_is_certified(correction):
    least = SegCertify(0.25).least_n(0.2, 24 * 24)
    votes = Votes(torch.ones(2, 24, 24, dtype=torch.int64), torch.full((2, 24, 24), least), least)
    smoothing = SegCertify(0.25, n=least, correction=correction)
    assert (smoothing.certify(votes, 0.2) == 1).all()
    fewer = Votes(votes.classes, votes.counts - 1, least - 1)
    with pytest.raises(ValueError, match=rf"n = {least - 1} samples.*P = 576 pixels.*give n >= {least}"):
        smoothing.certify(fewer, 0.2)
    with pytest.raises(ValueError, match="no number of samples certifies it"):
        smoothing.certify(votes, 10.0)


# --- sampling --------------------------------------------------------------------------------------------------------


def convolution(classes=3):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, classes, 3, padding=1), nn.Dropout(0.5))


def test_noise_depends_on_the_generator_alone_and_differs_between_images():
    model, images = convolution(), torch.rand(1, 1, 6, 6, generator=generator()).expand(3, -1, -1, -1)
    smoothing = SegCertify(0.5, n0=7, n=30)
    first = smoothing.sample(model, images, generator=generator(1))
    for batch_size in (1, 4, 1000):
        again = smoothing.sample(model, images, generator=generator(1), batch_size=batch_size)
        assert torch.equal(again.counts, first.counts)
        assert torch.equal(again.classes, first.classes)
    assert not torch.equal(first.counts[0], first.counts[1])
    assert not torch.equal(smoothing.sample(model, images, generator=generator(2)).counts, first.counts)
    assert model.training
    alone = smoothing.sample(model, images[:1], generator=generator(1))
    assert torch.equal(alone.counts[0], first.counts[0])


def test_the_noise_has_the_standard_deviation_that_is_named():
    drawn = []

    def model(images):
        drawn.append(images.flatten())
        return torch.zeros(len(images), 2, 4, 4)

    SegCertify(0.3, n0=10, n=200).sample(model, torch.full((1, 1, 4, 4), 0.5), generator=generator())
    values = torch.cat(drawn)
    assert len(values) == 210 * 16
    assert statistics.fmean(values.tolist()) == pytest.approx(0.5, abs=4 * 0.3 / math.sqrt(len(values)))
    assert values.std().item() == pytest.approx(0.3, rel=4 / math.sqrt(2 * len(values)))


IMAGE = torch.zeros(1, 1, 2, 2)


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (lambda: SegCertify(0.0), ValueError, "sigma must be a finite number > 0, got 0.0"),
        (lambda: SegCertify(0.25, n=0), ValueError, "n is 0: give an integer >= 1"),
        (lambda: SegCertify(0.25, n0=1.5), TypeError, "n0 is 1.5: give an integer"),
        (lambda: SegCertify(0.25, alpha=1.0), ValueError, r"alpha must be in \(0, 1\), got 1.0"),
        (lambda: SegCertify(0.25, correction="none"), ValueError, "'holm' or 'bonferroni', got 'none'"),
        (lambda: SegCertify(0.25).tau(-1.0), ValueError, "radius must be a finite number >= 0, got -1.0"),
        (lambda: SegCertify(0.25).radius(0.4), ValueError, r"tau must be in \[0.5, 1\), got 0.4"),
        (lambda: SegCertify(0.25).least_n(0.1, 0), ValueError, "pixels is 0"),
        (lambda: SegCertify(0.25).sample(convolution(), IMAGE[0]), ValueError, r"\(B, C, H, W\)"),
        (lambda: SegCertify(0.25).sample(convolution(), IMAGE[:0]), ValueError, r"got \(0, 1, 2, 2\)"),
        (lambda: SegCertify(0.25).sample(convolution(), IMAGE.long()), TypeError, "convert them by .float"),
        (lambda: SegCertify(0.25).sample(convolution(), IMAGE * math.nan), ValueError, "images must be finite"),
        (lambda: SegCertify(0.25).sample(nn.Flatten(), IMAGE), ValueError, r"logits \(b, K, H, W\)"),
        (lambda: SegCertify(0.25).sample(lambda x: x.log(), IMAGE - 1), ValueError, "NaN or infinity under noise"),
    ],
)
def test_arguments_that_are_not_allowed_are_named_with_the_remedy(call, error, told):
    with pytest.raises(error, match=told):
        call()
