"""What is measured of a segmentation network: certificates by its constant or by smoothing, and what disproves them."""

import math
from statistics import median

import torch
from scipy.stats import binom
from torch import nn

from ...data.parts import Examples
from ...device import Stopwatch
from ...lipschitz.evaluation import (
    certifying,
    frozen_copy,
    in_float64,
    inference_time_ms,
    largest_quotient,
    measured_constant,
    outputs_of,
    rounding_of,
)
from ...segmentation import ABSTAIN, CertifiedMetrics, SegCertify, class_pixels, leaving_costs, most_lost, pgd_l2
from ...segmentation.certificates import pixel_radii
from ...segmentation.checks import IGNORED
from ..status import Diverged, InvalidResult
from .figures import certified_performance, performance, picture

# In 1/255, of pixels in [0, 1]; the headline radius is that of the value and of the attack.
RADII = (26, 36, 43, 128, 255)
HEADLINE = 36
BY_RADIUS = (
    *("certified_pixel_accuracy", "certified_class_accuracy", "certified_miou"),
    *("which_pixels", "stable_pixels", "abstained"),
)
SHARES = (1, 10, 50)
CLEAN = ("pixel_accuracy", "class_accuracy", "miou")
LAST = (
    *("attacked_pixel_accuracy", "attacked_miou", "attack_gap", "certification_time_ms", "inference_time_ms"),
    *("lipschitz_lower", *(f"radius_{share}" for share in SHARES)),
)

# How far a measured lower bound may be above the claim: the weights of some ten layers are rounded to float32.
ROUNDING = 1e-4
IMAGES_AT_ONCE = 32
# A search for the constant takes long, of so many outputs; the attack's images come on top.
SEARCHED = 2
TIMINGS = 5
# Of the attack on a smoothed network: copies whose mean it climbs.
COPIES = 8
# An honest cell is refuted by chance this rarely.
RARE = 1e-6
# A pixel that is certified has its class in more than half of all noisy copies: so rarely another has by chance.
RARE_PIXEL = 1e-9


def nothing():
    """Return NaN for each figure, and no picture."""
    names = [f"{name}_{radius}" for name in BY_RADIUS for radius in RADII]
    return dict.fromkeys((*names, *CLEAN, *LAST, "lipschitz_claimed", "lipschitz_upper"), math.nan) | {"picture": ""}


class Evaluation:
    """Measures a network on a part of a task's data. A subclass certifies.

    Parameters
    ----------
    model : torch.nn.Module
    task : SegmentationTask
    part : Examples
    device : torch.device
    """

    def __init__(self, model, task, part, device):
        self.model, self.task, self.part, self.device = model, task, part, device
        self.plain = frozen_copy(model)
        self.attacked = Examples(part.inputs[: task.attacked], part.targets[: task.attacked])

    def figures(self, last, draw):
        """Return figures, and reasons why the certificates are false.

        Parameters
        ----------
        last : bool
            Whether to measure all: else what is known at once.
        draw : bool
            Whether to draw a picture.
        """
        raise NotImplementedError

    def logits(self, model, images):
        """Return logits on the CPU, once they are known to be finite."""
        found = outputs_of(model, images, self.device).cpu()
        wrong = int((~found.isfinite()).flatten(1).any(1).sum())
        if wrong:
            raise Diverged(f"the logits hold NaN or infinity for {wrong} of {len(images)} images: lower its rate")
        return found

    def clean(self, predicted, labels):
        """Return the figures without an attack."""
        return dict(zip(CLEAN, performance(predicted, labels, self.task.classes), strict=True))

    def attack(self, model, images, labels, constant):
        """Return images within the headline radius, and in the box, for which as many pixels as possible are wrong."""
        options = {"low": 0.0, "high": 1.0, "lipschitz_constant": constant, **self.task.attack}
        found = []
        with certifying(model), torch.enable_grad():
            for some, own in zip(images.split(IMAGES_AT_ONCE), labels.split(IMAGES_AT_ONCE), strict=True):
                found.append(pgd_l2(model, some.to(self.device), own.to(self.device), HEADLINE / 255, **options).cpu())
        return torch.cat(found)

    def under_attack(self, predicted, certified_share):
        """Return the figures of predictions under attack, beside the certified share of the same images' pixels."""
        pixel, _, miou = performance(predicted, self.attacked.targets[: len(predicted)], self.task.classes)
        return {"attacked_pixel_accuracy": pixel, "attacked_miou": miou, "attack_gap": pixel - certified_share}

    def draw(self, predicted, certified, flipped):
        """Return the picture of the first image, where its licence allows for that."""
        if not self.task.pictures:
            return ""
        return picture(self.part.inputs[0], predicted[0], certified[0], flipped[0], self.task.classes)


class ByConstant(Evaluation):
    """Certifies by a Lipschitz constant: the larger of the claim and the harness's own bound.

    Parameters
    ----------
    model, task, part, device
        As of `Evaluation`.
    claimed, bound : float
        At least 0.
    """

    forward_passes = 1

    def __init__(self, model, task, part, device, claimed, bound):
        super().__init__(model, task, part, device)
        self.claimed, self.bound = claimed, bound
        # A constant network has 0: no radius is too large for it.
        self.constant = max(claimed, bound, torch.finfo(torch.float64).tiny)

    def figures(self, last, draw):
        logits = self.logits(self.model, self.part.inputs)
        found = self.clean(logits.argmax(1), self.part.targets)
        metrics = self._certify(logits, self.part.targets, iou=last)
        for name in ("pixel_accuracy", "class_accuracy", "which_pixels", "stable_pixels"):
            own = f"certified_{name}" if name.endswith("accuracy") else name
            found |= {f"{own}_{r}": float(each) for r, each in zip(RADII, getattr(metrics, name), strict=True)}
        found |= {"lipschitz_claimed": float(self.claimed), "lipschitz_upper": self.bound}
        if not last and self.bound <= self.claimed * (1 + ROUNDING):  # of a claim that is proved nothing is disproved
            return found, []
        exact = in_float64(self.plain, self.task.shape)
        lower, doubts = measured_constant(exact, self.part.inputs, self.device, SEARCHED), []
        if last:
            found |= {f"certified_miou_{r}": float(each) for r, each in zip(RADII, metrics.miou, strict=True)}
            # No two images are farther apart than the box is long.
            longest = math.sqrt(math.prod(self.task.shape))
            found |= {f"radius_{share}": min(getattr(metrics, f"radius_{share}"), longest) for share in SHARES}
            attacked, broken, quotient = self._attacked(exact, logits[: len(self.attacked)], draw)
            found |= attacked | self._times()
            lower = max(lower, quotient)
            doubts += broken
        if lower > self.claimed * (1 + ROUNDING):
            doubts.insert(0, f"claims a Lipschitz constant of {self.claimed:g}, and {lower:g} was measured")
        return found | ({"lipschitz_lower": lower} if last else {}), doubts

    def _certify(self, logits, labels, iou, radii=RADII):
        metrics = CertifiedMetrics(
            class_pixels(labels, self.task.classes), [each / 255 for each in radii], self.constant, iou=iou
        )
        for some, own in zip(logits.split(IMAGES_AT_ONCE), labels.split(IMAGES_AT_ONCE), strict=True):
            metrics.add(some, own)
        return metrics

    def _attacked(self, exact, logits, draw):
        """Return the attacked figures, what of the claim's certificates was broken, and the largest quotient seen.

        What disproves a claim is evaluated in float64: rounding changes a class, too, where two are nearly equal.
        """
        images, labels = self.attacked.inputs, self.attacked.targets
        moved = self.attack(self.plain, images, labels, self.constant)
        predicted, after = logits.argmax(1), self.logits(self.model, moved).argmax(1)
        share = float(self._certify(logits, labels, iou=False, radii=[HEADLINE]).pixel_accuracy)
        found = self.under_attack(after, share)
        if draw:
            certified = pixel_radii(leaving_costs(logits), self.constant) > HEADLINE / 255
            found["picture"] = self.draw(predicted, certified, predicted != after)
        before, now = (self.logits(exact, each) for each in (images, moved))
        distances = (moved.double() - images.double()).flatten(1).norm(dim=1)
        broken = broken_certificates(before, now, labels, distances, self.claimed * (1 + ROUNDING))
        quotient = largest_quotient(before.flatten(1), now.flatten(1), images, moved)
        return found, broken, quotient

    def _times(self):
        """Return the times of an image: to be segmented, and to be certified by A and B too, forward pass included."""
        images, labels = self.part.inputs[:IMAGES_AT_ONCE], self.part.targets[:IMAGES_AT_ONCE]
        batch, readings = images.to(self.device), []
        with certifying(self.plain):
            for _ in range(TIMINGS + 1):
                stopwatch = Stopwatch(self.device)
                stopwatch.start()
                self._certify(self.plain(batch), labels.to(self.device), iou=False, radii=[HEADLINE])
                stopwatch.stop()
                readings.append(stopwatch.elapsed_s)
        return {
            "certification_time_ms": 1e3 * median(readings[1:]) / len(images),  # the first is a warm-up
            "inference_time_ms": inference_time_ms(self.plain, images, self.device),
        }


def broken_certificates(before, after, labels, distances, constant):
    """Return what changes of images did that a Lipschitz constant rules out: a list of reasons, empty if nothing.

    Parameters
    ----------
    before, after : Tensor (n, K, h, w)
        Logits of images and of changed ones, in float64.
    labels : Tensor (n, h, w)
    distances : Tensor (n,)
        Between them.
    constant : float
        Claimed, at least 0.
    """
    if not constant:  # a measured quotient is above it, if anything changes
        return []
    room = {"rounding": rounding_of(before.flatten(1))}
    radii = pixel_radii(leaving_costs(before, **room), constant)
    changed = (before.argmax(1) != after.argmax(1)) & (radii > distances.view(-1, 1, 1))
    reasons = []
    if changed.any():
        reasons.append(
            f"the attack changed {int(changed.sum())} pixels that the claim certifies, each by itself, in "
            f"{int(changed.flatten(1).any(1).sum())} images"
        )
    costs = leaving_costs(before, labels, **room)
    most = torch.cat([most_lost(each[None], float(far), constant) for each, far in zip(costs, distances, strict=True)])
    labelled = labels != IGNORED
    wrong = (labelled & (after.argmax(1) != labels)).flatten(1).sum(1)
    if (wrong > most).any():
        image = int((wrong - most).argmax())
        pixels = int(labelled[image].sum())
        reasons.append(
            f"the attack left {pixels - int(wrong[image])} pixels of an image right, and the claim certifies "
            f"{pixels - int(most[image])}"
        )
    return reasons


class BySmoothing(Evaluation):
    """Certifies by noisy copies: the first images of a part alone, `SegmentationTask.smoothed` of them; one at first.

    Parameters
    ----------
    model, task, part, device
        As of `Evaluation`.
    smoothing : SegCertify
    seed : int
        Of the noise.
    """

    def __init__(self, model, task, part, device, smoothing, seed):
        super().__init__(model, task, part, device)
        self.smoothing, self.seed = smoothing, seed
        self.forward_passes = smoothing.n0 + smoothing.n

    def figures(self, last, draw):
        count = self.task.smoothed if last else 1
        self.some = Examples(self.part.inputs[:count], self.part.targets[:count])
        self.labelled = self.some.targets != IGNORED
        self.logits(self.plain, self.some.inputs)  # are finite, or what is wrong is told
        stopwatch = Stopwatch(self.device)
        stopwatch.start()
        votes = self._votes(self.some.inputs, 0)
        certified = {HEADLINE: self.smoothing.certify(votes, HEADLINE / 255, self.labelled)}
        stopwatch.stop()
        found = self.clean(votes.classes, self.some.targets)
        for radius in filter(self._within_reach, RADII):
            if radius not in certified:
                certified[radius] = self.smoothing.certify(votes, radius / 255, self.labelled)
            found |= self._of_set(certified[radius], radius)
        if not last:
            return found, []
        found |= {
            "certification_time_ms": 1e3 * stopwatch.elapsed_s / len(self.some),
            "inference_time_ms": self.smoothing.n0
            * inference_time_ms(self.plain, self.some.inputs[:IMAGES_AT_ONCE], self.device),
        }
        attacked, doubts = self._attacked(votes.classes, certified[HEADLINE], draw)
        return found | attacked, doubts

    def _votes(self, images, stream):
        generator = torch.Generator(self.device).manual_seed(2 * self.seed + stream)
        with certifying(self.plain):
            votes = self.smoothing.sample(
                self.plain, images.to(self.device), generator=generator, batch_size=2 * IMAGES_AT_ONCE
            )
        return type(votes)(votes.classes.cpu(), votes.counts.cpu(), votes.n)

    def _within_reach(self, radius):
        """Whether as many copies as there are can certify anything at a radius: else nothing is known of it."""
        if radius == HEADLINE:
            return True
        pixels = int(self.labelled.flatten(1).sum(1).max())
        try:
            return self.smoothing.n >= self.smoothing.least_n(radius / 255, pixels)
        except ValueError:  # no number does
            return False

    def _of_set(self, certified, radius):
        pixel, by_class, miou = certified_performance(certified, self.some.targets, self.task.classes)
        stable = float((certified != ABSTAIN)[self.labelled].double().mean())
        return {
            f"certified_pixel_accuracy_{radius}": pixel,
            f"certified_class_accuracy_{radius}": by_class,
            f"certified_miou_{radius}": miou,
            f"which_pixels_{radius}": pixel,
            f"stable_pixels_{radius}": stable,
            f"abstained_{radius}": 1 - stable,
        }

    def _attacked(self, predicted, certified, draw):
        """Return the attacked figures, and whether more certificates are false than chance allows."""
        count = min(self.task.attacked, len(self.some))
        images, labels = self.some.inputs[:count], self.some.targets[:count]
        moved = self.attack(MeanOfCopies(self.plain, self.smoothing.sigma, self.seed), images, labels, 1.0)
        votes = self._votes(moved, 1)
        share, _, _ = performance(certified[:count], labels, self.task.classes)
        found = self.under_attack(votes.classes, share)
        if draw:
            held = certified != ABSTAIN
            found["picture"] = self.draw(predicted, held, predicted[:count] != votes.classes)
        # A certified class has more than half of all copies, so that any other has less.
        p_values = torch.from_numpy(binom.sf(votes.counts.numpy() - 1, votes.n, 0.5))
        broken = (certified[:count] != ABSTAIN) & (votes.classes != certified[:count]) & (p_values < RARE_PIXEL)
        images_broken = int(broken.flatten(1).any(1).sum())
        if binom.sf(images_broken - 1, count, self.smoothing.alpha) < RARE:
            return found, [f"the attack changed certified pixels in {images_broken} of {count} images"]
        return found, []


class MeanOfCopies(nn.Module):
    """The logarithm of the mean probabilities of noisy copies: what an attack on a smoothed network climbs."""

    def __init__(self, model, sigma, seed):
        super().__init__()
        self.model, self.sigma, self.seed = model, sigma, seed

    def forward(self, images):
        generator = torch.Generator().manual_seed(self.seed)
        mean = 0
        for _ in range(COPIES):
            # The same noise for each image, at each step: images are attacked alike in every batch.
            noise = torch.randn(images.shape[1:], generator=generator).to(images)
            mean = mean + self.model(images + self.sigma * noise).softmax(1) / COPIES
        return mean.clamp(min=torch.finfo(mean.dtype).tiny).log()


def evaluation_of(model, task, part, device, claimed, bound, smoothing, seed):
    """Return the `Evaluation` of a network, by smoothing if there is noise.

    Parameters
    ----------
    model, task, part, device
        As of `Evaluation`.
    claimed : float
    bound : callable
        Of no arguments: returns the harness's own bound.
    smoothing : dict
        ``sigma``, which is 0 for a certificate by the constant, ``n0``, ``n``, ``significance`` and ``correction``.
    seed : int

    Raises
    ------
    InvalidResult, TypeError, ValueError
        If the numbers of smoothing aren't those.
    """
    if not smoothing["sigma"]:
        return ByConstant(model, task, part, device, claimed, bound())
    if not 0 < smoothing["significance"] < 1:  # here it has another name than in `SegCertify`
        raise InvalidResult(f"significance={smoothing['significance']}: expected a number in (0, 1)")
    options = {name: each for name, each in smoothing.items() if name not in ("sigma", "significance")}
    made = SegCertify(smoothing["sigma"], alpha=smoothing["significance"], **options)
    return BySmoothing(model, task, part, device, made, seed)
