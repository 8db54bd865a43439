"""What is known of other code to go wrong, planted into ours: the oracles see it, and leave the honest code alone."""

import math

import pytest
import torch
from scipy.stats import binom
from segmentation_cases import Linear, generator, normal, orthogonal
from torch import nn

from orthobench.segmentation import (
    ABSTAIN,
    CertifiedMetrics,
    SegCertify,
    Votes,
    class_pixels,
    costs,
    leaving_costs,
    most_lost,
    pgd_l2,
)

# --- SegCertify ------------------------------------------------------------------------------------------------------

RUNS, PIXELS = 2000, 8


class Thresholds(nn.Module):
    """Pixel w is of class 1 where it is above its threshold, whatever the others are: (b, 1, runs, w)."""

    def __init__(self, thresholds):
        super().__init__()
        self.register_buffer("thresholds", thresholds)

    def forward(self, images):
        scores = images - self.thresholds
        return torch.cat([torch.zeros_like(scores), scores], 1)


def false_certificates(smoothing, radius, distances):
    """Return in which share of 2,000 images of 8 pixels one is certified within a radius that it does not hold in.

    The images are rows of a single one, which is sampled at once. A pixel is of class 1 up to its `distances`, exactly.
    """
    distances = torch.tensor(distances, dtype=torch.float64)
    rows = torch.zeros(1, 1, RUNS, PIXELS, dtype=torch.float64)
    votes = smoothing.sample(Thresholds(-distances), rows, generator=generator())
    votes = Votes(*(each.view(RUNS, 1, PIXELS) for each in (votes.classes, votes.counts)), votes.n)
    certified = smoothing.certify(votes, radius)[:, 0]
    false = (certified == 0) | ((certified == 1) & (distances <= radius))
    return false.any(1).double().mean().item()


def is_sound(kind, correction="holm"):
    """Whether false certificates are as rare as alpha = 0.1 allows, but for chance: 3 standard errors."""
    alpha, radius, chosen_well, chosen_badly = 0.1, 0.3, {"n0": 4, "n": 44}, {"n0": 20, "n": 58}
    for options, within, distances in (
        (chosen_well, radius, [radius] * PIXELS),
        (chosen_well, radius, [radius] * 4 + [2.0] * 4),  # half of them are certified
        (chosen_badly, 0.0, [0.0] * PIXELS),  # both classes are as likely
    ):
        smoothing = kind(0.5, alpha=alpha, correction=correction, **options)
        if false_certificates(smoothing, within, distances) > alpha + 3 * math.sqrt(alpha * (1 - alpha) / RUNS):
            return False
    return True


class CountsTheChoosingCopies(SegCertify):
    def sample(self, model, images, *, generator=None, batch_size=64):
        chosen = self._most_frequent(model, images[0], generator, self.n)
        state = generator.get_state()
        generator.manual_seed(generator.initial_seed())  # the same copies again, and more
        counts = sum(
            (each.argmax(1) == chosen).sum(0)
            for each in self._noisy_logits(model, images[0], self.n, generator, self.n)
        )
        generator.set_state(state)
        return Votes(chosen[None], counts[None], self.n)


class TestsFewerTrials(SegCertify):
    """n + n0 copies are drawn, n are counted, and n - n0 are said to be."""

    def certify(self, votes, radius, labelled=None):
        fewer = votes.n - self.n0
        return super().certify(Votes(votes.classes, votes.counts.clamp(max=fewer), fewer), radius, labelled)


class AddsLessNoise(SegCertify):
    def sample(self, *arguments, **options):
        return SegCertify(0.8 * self.sigma, n0=self.n0, n=self.n).sample(*arguments, **options)


class TestsEachPixelAlone(SegCertify):
    def _least_count(self, histogram, p_values):
        return next((count for count in range(len(histogram)) if p_values[count] <= self.alpha), len(histogram))


class DividesByRank(SegCertify):
    """Holm's denominators the wrong way round: the i-th p-value is compared with alpha / i."""

    def _least_count(self, histogram, p_values):
        least, before = len(histogram), 0
        for count in reversed(range(len(histogram))):
            if histogram[count]:
                if p_values[count] > self.alpha / (before + 1):
                    break
                least, before = count, before + histogram[count]
        return least


class ForgetsTheRadius(SegCertify):
    def tau(self, radius):
        return 0.5


class TestsTheOtherSide(SegCertify):
    """A p-value of more than the count that was seen, not of at least as many."""

    def certify(self, votes, radius, labelled=None):
        p_values = torch.from_numpy(binom.sf(votes.counts.numpy(), votes.n, self.tau(radius)))
        return torch.where(p_values <= self.alpha / votes.counts[0].numel(), votes.classes, ABSTAIN)


FAULTS = [
    CountsTheChoosingCopies,
    TestsFewerTrials,
    AddsLessNoise,
    TestsEachPixelAlone,
    DividesByRank,
    ForgetsTheRadius,
]


@pytest.mark.parametrize("correction", ["holm", "bonferroni"])
def test_false_certificates_are_as_rare_as_promised(correction):
    assert is_sound(SegCertify, correction)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda each: each.__name__)
def test_the_simulation_sees_faults_of_smoothing(fault):
    assert not is_sound(fault)


def test_a_p_value_is_that_of_at_least_as_many_votes():
    """At the floor the strict one certifies what the definition doesn't: tau^n > alpha / P."""
    smoothing, pixels = SegCertify(1.0, n=20, alpha=0.1), 50
    radius = smoothing.radius(0.75)
    votes = Votes(torch.ones(1, 1, pixels, dtype=torch.int64), torch.full((1, 1, pixels), 20), 20)
    assert 0.1 / pixels < 0.75**20
    assert (TestsTheOtherSide(1.0, n=20, alpha=0.1).certify(votes, radius) == 1).all()
    with pytest.raises(ValueError, match="n = 20 samples can't certify"):
        smoothing.certify(votes, radius)


# --- certificates by a constant --------------------------------------------------------------------------------------


class Normalised(nn.Module):
    """A square orthogonal map of images divided by a standard deviation: its constant is 1 / std, and is attained.

    As in public code, `outputs_too` divides the outputs again: 1 / std^2.
    """

    def __init__(self, classes, pixels, std, outputs_too=False, seed=0):
        super().__init__()
        self.inner = Linear(orthogonal(classes * pixels, seed), classes)
        self.std, self.power = std, 2 if outputs_too else 1

    @property
    def constant(self):
        return self.std**-self.power

    def forward(self, images):
        return self.inner(images) * self.constant

    def flip(self, images, count):
        """Return images of which the `count` cheapest pixels have left their classes, at the least distance."""
        logits = self(images).detach()
        top, classes = logits.topk(2, 1)
        half = ((top[:, 0] - top[:, 1]) / 2 * (1 + 1e-9)).flatten(1)
        cheapest = half.argsort(1)[:, :count]
        half = torch.zeros_like(half).scatter(1, cheapest, half.gather(1, cheapest)).view(len(images), 1, -1)
        change = torch.zeros_like(logits).scatter(1, classes, torch.stack([-half, half], 1))
        return images + (change.flatten(1) @ self.inner.matrix.detach()).view_as(images) / self.constant


def broken(model, constant, read=lambda logits: logits):
    """Return of how many changes of an image more pixels leave than are said to at most, within their radius.

    `read` is what is certified of the logits.
    """
    count = 0
    for seed in range(4):
        images = normal(1, 1, 1, model.inner.matrix.shape[1], seed=seed)
        logits = model(images).detach()
        labels = logits.argmax(1)
        for leaving in range(1, labels.numel()):
            moved = model.flip(images, leaving)
            left = (model(moved).argmax(1) != labels).sum().item()
            radius = (moved - images).norm().item() * (1 + 1e-12)
            metrics = CertifiedMetrics(class_pixels(labels, logits.shape[1]), [radius], constant, iou=False)
            metrics.add(read(logits), labels)
            count += left > round((1 - metrics.pixel_accuracy.item()) * labels.numel())
    return count


STD = 0.25


@pytest.mark.parametrize("outputs_too", [False, True])
def test_the_true_constant_is_attained_and_never_broken(outputs_too):
    model = Normalised(3, 7, STD, outputs_too)
    assert broken(model, model.constant) == 0
    assert broken(model, 0.97 * model.constant) > 0


@pytest.mark.parametrize(
    ("outputs_too", "constant"),
    [(False, 1.0), (True, 1 / STD), (True, 1.0), (False, 1 / STD / math.sqrt(3 * 7))],
    ids=["std forgotten", "std once instead of twice", "outputs divided in secret", "constant of one output"],
)
def test_exact_flips_see_a_constant_that_is_not_the_networks(outputs_too, constant):
    assert broken(Normalised(3, 7, STD, outputs_too), constant) > 0


def test_exact_flips_see_margins_in_float16_that_are_taken_for_exact():
    model = Normalised(3, 7, STD)
    assert broken(model, model.constant, lambda logits: logits.half()) == 0
    assert broken(model, model.constant, lambda logits: logits.half().double()) > 0


def test_exact_flips_see_a_cost_without_its_half(monkeypatch):
    model = Normalised(3, 7, STD)
    monkeypatch.setattr(costs, "_half_square", lambda gaps: gaps.clamp(min=0).square())
    assert broken(model, model.constant) > 0


# --- the attack ------------------------------------------------------------------------------------------------------


def share_found(attack):
    """Return how many pixels an attack has lost, as a share of what the certificate, which is tight here, allows."""
    model = Linear(orthogonal(60), 3)
    images = normal(2, 1, 1, 60)
    logits = model(images).detach()
    labels = logits.argmax(1)
    labels[:, :, :2] = (labels[:, :, :2] + 1) % 3
    already = (logits.argmax(1) != labels).sum()
    allowed = most_lost(leaving_costs(logits, labels), 1.0).sum() - already
    points = attack(model, images, labels, 1.0, 20)
    assert ((points - images).flatten(1).norm(dim=1) <= 1 + 1e-12).all()
    return ((model(points).argmax(1) != labels).sum() - already).item() / allowed.item()


def stands_still(model, images, labels, radius, steps):
    return images.clone()


def ignores_what_is_right(model, images, labels, radius, steps):
    """As in public code: the labels that count are made those that don't."""
    right = model(images).argmax(1) == labels
    return pgd_l2(model, images, torch.where(right, 255, labels), radius, steps)


def takes_one_step(model, images, labels, radius, steps):
    return pgd_l2(model, images, labels, radius, 1, restarts=1)


def attacks_a_batch_as_one_image(model, images, labels, radius, steps):
    """The radius is that of all images together."""
    return pgd_l2(model, images, labels, radius / 3, steps)


def test_the_attack_finds_most_of_what_it_may():
    assert share_found(pgd_l2) > 0.8


@pytest.mark.parametrize("fault", [stands_still, ignores_what_is_right, takes_one_step, attacks_a_batch_as_one_image])
def test_an_attack_that_finds_less_is_seen(fault):
    assert share_found(fault) < 0.6
