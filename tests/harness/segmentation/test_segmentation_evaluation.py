"""What disproves a claim: exact cases, planted false certificates, and honest networks that are left alone."""

import math
import re

import pytest
import torch
from segmentation_toys import CLASSES, make_task
from torch import nn

from orthobench.data.parts import Examples
from orthobench.harness.segmentation import evaluation
from orthobench.harness.segmentation.evaluation import (
    HEADLINE,
    ByConstant,
    BySmoothing,
    MeanOfCopies,
    broken_certificates,
    evaluation_of,
)
from orthobench.harness.segmentation.task import pixel_loss
from orthobench.segmentation import ABSTAIN, SegCertify, class_pixels, leaving_costs

CPU = torch.device("cpu")
PIXELS = 9


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


class Orthogonal(nn.Module):
    """Logits (b, classes, 1, P) that are an orthogonal matrix times the image (b, 1, 1, classes P)."""

    def __init__(self, classes, pixels, seed=0):
        super().__init__()
        self.classes = classes
        self.matrix = nn.Parameter(torch.linalg.qr(normal(classes * pixels, classes * pixels, seed=seed)).Q)

    def forward(self, images):
        return (images.flatten(1) @ self.matrix.mT).view(len(images), self.classes, 1, -1)


# --- exact cases -----------------------------------------------------------------------------------------------------


def cheapest_flips(model, images, count):
    """Return images whose `count` cheapest pixels are just given their second class, and the distances."""
    logits = model(images).detach()
    top, classes = logits.topk(2, 1)
    half = (top[:, 0] - top[:, 1]) / 2 * (1 + 1e-7)
    chosen = leaving_costs(logits, rounding=0).flatten(1).argsort(1)[:, :count]
    half = torch.zeros_like(half).flatten(1).scatter(1, chosen, half.flatten(1).gather(1, chosen)).view_as(half)
    change = torch.zeros_like(logits).scatter(1, classes, torch.stack([-half, half], 1))
    moved = images + (change.flatten(1) @ model.matrix).view_as(images)
    return moved.detach(), (moved - images).detach().flatten(1).norm(dim=1)


@pytest.mark.parametrize("count", range(1, PIXELS + 1))
def test_at_the_exact_radius_nothing_is_broken_and_a_claim_10_percent_lower_is(count):
    model, images = Orthogonal(3, PIXELS, count), normal(4, 1, 1, 3 * PIXELS, seed=count)
    before = model(images).detach()
    labels = before.argmax(1)
    moved, distances = cheapest_flips(model, images, count)
    after = model(moved).detach()
    assert ((after.argmax(1) != labels).flatten(1).sum(1) == count).all()
    assert broken_certificates(before, after, labels, distances, 1.0) == []
    assert broken_certificates(before, after, labels, distances, 1.1) == []
    reasons = broken_certificates(before, after, labels, distances, 0.9)
    left = f"the attack left {PIXELS - count} pixels of an image right, and the claim certifies"
    assert any(each.startswith(left) for each in reasons)
    if count == 1:
        assert reasons[0] == "the attack changed 4 pixels that the claim certifies, each by itself, in 4 images"


def test_what_was_wrong_or_has_no_label_breaks_nothing_but_a_certified_pixel_does_right_or_wrong():
    model, images = Orthogonal(3, PIXELS), normal(2, 1, 1, 3 * PIXELS)
    before = model(images).detach()
    right = before.argmax(1)
    wrong = (right + 1) % 3
    assert broken_certificates(before, before, wrong, torch.zeros(2).double(), 1.0) == []
    moved, distances = cheapest_flips(model, images, 1)
    after = model(moved).detach()
    for labels in (wrong, torch.where(right == after.argmax(1), right, 255)):
        assert broken_certificates(before, after, labels, distances, 1.0) == []
        (reason,) = broken_certificates(before, after, labels, distances, 0.9)
        assert "changed 2 pixels that the claim certifies, each by itself, in 2 images" in reason


def test_a_claim_of_0_is_left_to_the_measured_quotient():
    model, images = Orthogonal(2, 4), normal(1, 1, 1, 8)
    before = model(images).detach()
    assert broken_certificates(before, -before, before.argmax(1), torch.ones(1).double(), 0.0) == []


def linear_task(model, classes, pixels, count=6, **options):
    images = 0.5 + 0.02 * torch.randn(count, 1, 1, classes * pixels, generator=generator())
    labels = model(images).argmax(1)
    labels[:, 0, -1] = 255
    part = Examples(images, labels)
    task = make_task(attack={"steps": 8, "restarts": 6}, **options)
    object.__setattr__(task, "parts", task.parts._replace(train=part))  # whose images have the shape of the task
    object.__setattr__(task, "classes", classes)
    return task, part


class Shifted(Orthogonal):
    """The same in float32, with large numbers in between: its logits are wrong by more than a small radius."""

    def __init__(self, classes, pixels, shift):
        super().__init__(classes, pixels)
        self.matrix = nn.Parameter(self.matrix.detach().float())
        self.register_buffer("shift", torch.tensor(float(shift)))

    def forward(self, images):
        shifted = images.flatten(1) @ self.matrix.mT + self.shift
        return (shifted - self.shift).view(len(images), self.classes, 1, -1)


@pytest.mark.parametrize("radius", [0.01, 1, HEADLINE])
@pytest.mark.parametrize("shift", [0, 1e4])
def test_rounding_disproves_no_orthogonal_network_at_any_radius(monkeypatch, radius, shift):
    monkeypatch.setattr(evaluation, "HEADLINE", radius)
    model = Shifted(3, 8, shift)
    task, part = linear_task(model, 3, 8)
    found, doubts = ByConstant(model, task, part, CPU, 1.0, 1.0).figures(last=True, draw=False)
    assert doubts == []
    if not shift:
        assert found["lipschitz_lower"] == pytest.approx(1, abs=1e-4)


def test_a_claim_that_is_too_small_is_disproved_by_the_quotient_and_by_what_the_attack_breaks():
    model = Shifted(3, 8, 0)
    task, part = linear_task(model, 3, 8)
    _, doubts = ByConstant(model, task, part, CPU, 0.5, 1.0).figures(last=True, draw=False)
    assert doubts[0].startswith("claims a Lipschitz constant of 0.5, and 1")
    assert any("the claim certifies" in each for each in doubts[1:])


# --- certified, attacked and clean -----------------------------------------------------------------------------------


def network(layer="cayley", seed=0):
    return make_task().model_factory(layer)(seed)


def test_of_each_image_no_more_is_certified_than_is_left_by_the_attack_and_no_more_left_than_was_right():
    model = Shifted(3, 8, 0)
    task, part = linear_task(model, 3, 8, count=3)
    part.targets[:, 0, 0] = (part.targets[:, 0, 0] + 1) % 3
    lost = 0
    for image in range(3):
        one = Examples(part.inputs[image : image + 1], part.targets[image : image + 1])
        found, doubts = ByConstant(model, task, one, CPU, 1.0, 1.0).figures(last=True, draw=False)
        assert doubts == []
        certified, attacked = found["certified_pixel_accuracy_36"], found["attacked_pixel_accuracy"]
        assert found["which_pixels_36"] <= certified <= attacked <= found["pixel_accuracy"] == pytest.approx(6 / 7)
        assert found["attack_gap"] == pytest.approx(attacked - certified)
        lost += found["pixel_accuracy"] > attacked
    assert lost


def test_ignored_pixels_are_in_no_share():
    model, task = network(), make_task()
    images, labels = task.parts.held_out.inputs[:3], task.parts.held_out.targets[:3].clone()
    predicted = model(images).argmax(1)
    labels[:, ::2] = 255
    part = Examples(images, labels)
    found, _ = ByConstant(model, task, part, CPU, 1.0, 1.0).figures(last=False, draw=False)
    known = labels != 255
    assert found["pixel_accuracy"] == pytest.approx((predicted == labels)[known].double().mean().item())
    costs = leaving_costs(model(images), labels)
    held = (costs[known].sqrt() > 36 / 255).double().mean().item()
    assert found["which_pixels_36"] == pytest.approx(held)
    assert class_pixels(labels, CLASSES).sum() == known.sum()


def test_no_gradient_is_of_an_ignored_pixel_and_each_labelled_one_counts_the_same():
    logits = normal(2, CLASSES, 4, 4).requires_grad_()
    labels = torch.randint(CLASSES, (2, 4, 4), generator=generator())
    labels[0, :2] = 255
    pixel_loss(nn.functional.cross_entropy, logits, labels).backward()
    size = logits.grad.abs().amax(1)
    assert (size[labels == 255] == 0).all()
    expected = (logits.detach().softmax(1) - nn.functional.one_hot(labels % 255, CLASSES).movedim(-1, 1)) / 24
    torch.testing.assert_close(logits.grad.movedim(1, -1)[labels != 255], expected.movedim(1, -1)[labels != 255])


@pytest.mark.parametrize("claimed", [None, 1.0])
def test_logits_that_are_not_finite_say_so(claimed):
    model, task = network("plain"), make_task()
    with torch.no_grad():
        for each in model.parameters():
            each.mul_(1e30)
    part = task.parts.held_out
    smoothing = SegCertify(0.25, n=60)
    made = BySmoothing(model, task, part, CPU, smoothing, 0)
    made = made if claimed is None else ByConstant(model, task, part, CPU, claimed, 1.0)
    with pytest.raises(evaluation.Diverged, match=r"NaN or infinity for (\d+) of \d+ images: lower its rate"):
        made.figures(last=False, draw=False)


# --- noise -----------------------------------------------------------------------------------------------------------


class Side(nn.Module):
    """All pixels are of class 1 where the mean of the image is above 1/2: noise moves the side that it is on."""

    def forward(self, images):
        score = (images - 0.5).flatten(1).sum(1) / math.sqrt(images[0].numel())
        logits = 10 * torch.stack([-score, score], 1)[:, :, None, None]
        return logits + 0 * images


class Reckless(SegCertify):
    """Certifies all that it predicts."""

    def certify(self, votes, radius, labelled=None):
        return votes.classes.where(labelled, ABSTAIN)


def by_smoothing(distances, kind=SegCertify, model=None, n=400, **options):
    """Evaluate `Side` on images at these distances from where the class changes."""
    size = 16
    offsets = torch.tensor(distances).view(-1, 1, 1, 1) / math.sqrt(size)
    images = (0.5 + offsets).expand(-1, 1, 4, 4).contiguous()
    labels = torch.ones(len(images), 4, 4, dtype=torch.int64)
    task = make_task(attacked=len(images), smoothed=len(images), **options)
    object.__setattr__(task, "classes", 2)
    return BySmoothing(model or Side(), task, Examples(images, labels), CPU, kind(0.25, n0=9, n=n), 0)


def test_false_certificates_of_more_images_than_chance_allows_are_refuted_and_one_image_is_not():
    _, doubts = by_smoothing([0.02] * 6, Reckless, n=1000).figures(last=True, draw=False)
    (doubt,) = doubts
    assert re.fullmatch(r"the attack changed certified pixels in [3-6] of 6 images", doubt)
    found, doubts = by_smoothing([0.02] + [0.5] * 5, Reckless, n=1000).figures(last=True, draw=False)
    assert doubts == []
    assert found["attacked_pixel_accuracy"] == pytest.approx(5 / 6)
    assert found["attack_gap"] == pytest.approx(-1 / 6)


def test_an_honest_certificate_abstains_there():
    found, doubts = by_smoothing([0.02] * 6).figures(last=True, draw=False)
    assert doubts == []
    assert found["abstained_36"] == 1
    assert found["certified_pixel_accuracy_36"] == found["stable_pixels_36"] == 0
    assert found["attacked_pixel_accuracy"] < 0.5


def test_what_is_certified_holds_within_the_exact_radius_alone():
    distances = [0.06, 0.12, 0.3, 0.4, 0.6, 0.8]
    found, _ = by_smoothing(distances, n=2000).figures(last=True, draw=False)
    for radius in (26, 36, 43, 128):
        expected = sum(each > radius / 255 + 0.05 for each in distances) / 6
        assert found[f"certified_pixel_accuracy_{radius}"] == found[f"which_pixels_{radius}"] == expected
        assert found[f"certified_class_accuracy_{radius}"] == found[f"certified_miou_{radius}"] == expected
        assert found[f"abstained_{radius}"] == pytest.approx(1 - expected)
    assert found["pixel_accuracy"] == 1


@pytest.mark.parametrize(("n", "reached"), [(29, (26, 36)), (34, (26, 36, 43)), (430, (26, 36, 43, 128))])
def test_of_radii_that_its_copies_do_not_reach_nothing_is_said(n, reached):
    smoothed = by_smoothing([0.9] * 2, n=n)
    pixels = 16
    found, _ = smoothed.figures(last=False, draw=False)
    for radius in evaluation.RADII:
        enough = n >= smoothed.smoothing.least_n(radius / 255, pixels)
        assert enough == (radius in reached)
        assert (f"certified_pixel_accuracy_{radius}" in found) == enough
    assert all(math.isnan(value) for name, value in (evaluation.nothing() | found).items() if name.endswith("_255"))


def test_below_the_floor_of_the_headline_it_is_an_error_that_names_the_least_n():
    with pytest.raises(ValueError, match=r"n = 20 samples .* P = 16 pixels .* give n >= 29"):
        by_smoothing([0.9], n=20).figures(last=False, draw=False)


def test_the_attack_on_noisy_copies_depends_on_no_batch(monkeypatch):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, CLASSES, 1))
    task = make_task()
    some = task.parts.held_out
    images, labels = some.inputs[:3], model(some.inputs[:3]).argmax(1)
    smoothed = BySmoothing(model, task, some, CPU, SegCertify(0.25, n=60), 5)
    copies = MeanOfCopies(smoothed.plain, 0.25, 5)
    together = smoothed.attack(copies, images, labels, 1.0)
    assert not torch.equal(together, images)
    assert ((together - images).double().flatten(1).norm(dim=1) <= HEADLINE / 255).all()
    monkeypatch.setattr(evaluation, "IMAGES_AT_ONCE", 1)
    torch.testing.assert_close(smoothed.attack(copies, images, labels, 1.0), together, atol=1e-4, rtol=0)


def test_copies_are_the_mean_probability_under_noise_of_this_size():
    seen = []

    class Remembers(nn.Module):
        def forward(self, images):
            seen.append(images)
            return torch.cat([images, 1 - images], 1)

    images = torch.rand(2, 1, 30, 30, generator=generator())
    found = MeanOfCopies(Remembers(), 0.25, 0)(images)
    assert len(seen) == evaluation.COPIES
    noise = torch.stack(seen) - images
    torch.testing.assert_close(noise[:, 0], noise[:, 1], atol=1e-6, rtol=0)
    assert noise.std().item() == pytest.approx(0.25, rel=0.05)
    expected = torch.stack([torch.cat([each, 1 - each], 1).softmax(1) for each in seen]).mean(0).log()
    torch.testing.assert_close(found, expected)


def test_noise_certifies_where_there_is_some_and_the_constant_where_there_is_none():
    task = make_task()
    options = {"sigma": 0.5, "n0": 5, "n": 70, "significance": 0.01, "correction": "bonferroni"}
    arguments = (network("plain"), task, task.parts.held_out, CPU, 1.0)
    smoothed = evaluation_of(*arguments, None, options, 3)
    made = smoothed.smoothing
    assert (made.sigma, made.n0, made.n, made.alpha, made.correction) == (0.5, 5, 70, 0.01, "bonferroni")
    assert (smoothed.seed, smoothed.forward_passes) == (3, 75)
    by_constant = evaluation_of(*arguments, lambda: 2.5, options | {"sigma": 0.0}, 3)
    assert (by_constant.claimed, by_constant.bound, by_constant.constant) == (1.0, 2.5, 2.5)


@pytest.mark.parametrize("name", ["attacked", "smoothed"])
@pytest.mark.parametrize("count", [0, -1, 2.5])
def test_how_many_images_are_attacked_and_smoothed_is_a_positive_integer(name, count):
    """A negative number would be a slice that leaves the last images out."""
    with pytest.raises((TypeError, ValueError), match=f"{name} is {count}: give an integer >= 1"):
        make_task(**{name: count})
