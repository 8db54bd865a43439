"""What is measured of a network's explanations: its maps, what they are worth, and counterfactuals along its gradient.

All maps are made from one trained network, on those of the first images of a part that it classifies right: their
number is a figure. What is explained is the margin of the class over the runner-up, unless a name says logit.
"""

import json
import math

import torch

from ...device import Stopwatch
from ...explanations import (
    MAPS,
    ClassScore,
    block_share,
    boundary_distances,
    deletion_gain,
    fooled,
    insertion_gain,
    make_baseline,
    mu_fidelity,
    nearest_class,
    newton_lands,
    newton_points,
    random_maps,
    rank_distance,
    saliency,
    saturation,
    sparseness,
    stability,
    transport_cosine,
    transport_cosine_of_means,
    transport_plan,
)
from ...lipschitz.certificates import certified_radius
from .pictures import counterfactuals_picture, maps_picture

FIDELITY = "mu_fidelity_uniform_saliency"  # the value is 1 - this
BASELINES = ("zero", "uniform")
# How far steps along the gradient go, in hundredths of Newton's; at 1 a linear margin is 0, and no class wins.
REACHES = {100: 1.001, 150: 1.5, 200: 2.0}
SUBSETS = 100  # of pixels, for muFidelity
ORDERS = {"ties": 1, "random_orders": 2}  # of an image's pixels, for each of its maps and at random
# Before the last evaluation muFidelity, and in the end the stability of all maps but saliency, are of the first images.
FEW, FEW_DRAWS, DRAWS = 20, 4, 20
AVERAGES = ("smoothgrad", "integrated")
# The nearest training image is looked for among the first.
NEAREST = 5000
# Of the search for the nearest adversarial point. It isn't kept among images: a constant is one of the whole space.
ATTACK = {"steps": 20, "restarts": 1, "low": None, "high": None}
SHOWN = 4  # images in a picture

_BY_MAP = ("deletion_gain", "insertion_gain", "stability", "sparseness", "explanation_time_ms")
_OTHERS = (
    *("saliency_lead", "smoothgrad_distance", "saturation", "newton_lands", "newton_excess", "tightness"),
    *(f"{boxed}fooling_rate_{reach}" for boxed in ("", "boxed_") for reach in REACHES),
    *("transport_cosine", "transport_cosine_mean", "transport_lead", "counterfactual_hit", "block_share_10"),
)
FIGURES = (
    *(f"mu_fidelity_{baseline}_{name}" for baseline in BASELINES for name in (*MAPS, "random")),
    "mu_fidelity_uniform_logit",
    *(f"{figure}_{name}" for figure in _BY_MAP for name in MAPS),
    *_OTHERS,
)
TEXTS = ("removal_curves", "maps_picture", "counterfactuals_picture")


class Explanation:
    """Explains a network on the first images of a part.

    Parameters
    ----------
    model, exact : torch.nn.Module
        A frozen copy on the device, and one in float64, if there is such: distances and constants are measured of that
        one, so that rounding disproves nobody.
    task : RobustnessTask
    part : Examples
    device : torch.device
    seed : int
        Of what is drawn: the same for every solver.

    Raises
    ------
    ValueError
        If an image has other outputs in another batch.
    """

    def __init__(self, model, exact, task, part, device, seed):
        self.task, self.seed = task, seed
        images, labels = (each[: task.explained].to(device) for each in (part.inputs, part.targets))
        images = images.to(next(model.parameters(), images).dtype)
        right = ClassScore(model, images, labels).right
        self.images, self.labels = images[right], labels[right]
        self.model, self.exact = model, exact

    def at_once(self):
        """Return the figures that every evaluation has, of the first images."""
        found = self._nothing()
        if len(self.images):
            score = self._score(count=FEW)
            found[FIDELITY] = self._fidelity(score, saliency(score), "uniform")
        return found

    def figures(self, claimed, constant, draw):
        """Return all figures, and reasons why a claimed Lipschitz constant is false.

        Parameters
        ----------
        claimed, constant : float
            What is claimed, with an allowance for the rounding of weights, and by what certificates are.
        draw : bool
            Whether to draw pictures, where the licence of the images allows for that.
        """
        found = self._nothing()
        if not len(self.images):
            return found, []
        maps, times = self._maps()
        found |= times | self._faithful(maps) | self._alike(maps)
        points, figures, doubts = self._counterfactuals(claimed, constant)
        found |= figures | self._transport() | {"counterfactual_hit": points["hit"]}
        if draw and self.task.pictures:
            images = self.images[:SHOWN].cpu()
            found["maps_picture"] = maps_picture(images, {name: each[:SHOWN].cpu() for name, each in maps.items()})
            found["counterfactuals_picture"] = counterfactuals_picture(images, points["moved"], points["nearest"])
        return found, doubts

    def _nothing(self):
        """Return what is known of no image: its fidelity is that of a map that says nothing."""
        found = dict.fromkeys(FIGURES, math.nan) | dict.fromkeys(TEXTS, "")
        return found | {FIDELITY: 0.0, "explained": len(self.images)}

    def _score(self, model=None, kind="margin", count=None):
        model = model or self.model
        dtype = next(model.parameters(), self.images).dtype
        return ClassScore(model, self.images[:count].to(dtype), self.labels[:count], kind=kind)

    def _fidelity(self, score, maps, name):
        """Return the mean muFidelity of maps, or those of a list of maps."""
        baseline = make_baseline(name, score.images, seed=self.seed)
        found = mu_fidelity(score, maps, baseline, subsets=SUBSETS, seed=self.seed)
        return _mean(found) if found.ndim == 1 else [_mean(each) for each in found]

    def _maps(self):
        """Return the maps by name, and the time of each for an image."""
        score, maps, times = self._score(), {}, {}
        saliency(score)  # a warm-up
        for name, explain in MAPS.items():
            stopwatch = Stopwatch(self.images.device)
            stopwatch.start()
            maps[name] = explain(score)
            stopwatch.stop()
            times[f"explanation_time_ms_{name}"] = 1e3 * stopwatch.elapsed_s / len(score)
        return maps, times

    def _faithful(self, maps):
        """Return muFidelity by baseline, and gains as means over baselines: each is one choice of what is absent."""
        score, logit = self._score(), self._score(kind="logit")
        explained = {**maps, "random": random_maps(self.images, self.seed)}
        found, gains = {}, {"deletion": [], "insertion": []}
        for name in BASELINES:
            fidelity = self._fidelity(score, list(explained.values()), name)
            found |= {f"mu_fidelity_{name}_{own}": each for own, each in zip(explained, fidelity, strict=True)}
            baseline = make_baseline(name, self.images, seed=self.seed)
            for kind, gain in (("deletion", deletion_gain), ("insertion", insertion_gain)):
                gains[kind].append(gain(score, list(maps.values()), baseline, seed=self.seed, **ORDERS))
        curves = {"shares": _rounded(gains["deletion"][0].shares)}
        for kind, by_baseline in gains.items():
            means = torch.stack([each.mean() for each in by_baseline]).mean(0)
            found |= {f"{kind}_gain_{own}": float(each) for own, each in zip(maps, means, strict=True)}
            pairs = zip(*(each.mean_curves() for each in by_baseline), strict=True)
            drawn, random = (torch.stack(each).mean(0) for each in pairs)
            own = {name: _rounded(each) for name, each in zip(maps, drawn, strict=True)}
            curves[kind] = own | {"random": _rounded(random)}
        found["mu_fidelity_uniform_logit"] = self._fidelity(logit, saliency(logit), "uniform")
        rivals = (found[f"mu_fidelity_uniform_{name}"] for name in AVERAGES)
        return found | {
            "saliency_lead": found[FIDELITY] - max(rivals),
            "removal_curves": json.dumps(curves),
        }

    def _alike(self, maps):
        """Return how stable, smooth and sparse maps are, and what they see in a block that says nothing."""
        whole, few = self._score(), self._score(count=FEW)
        found = {"smoothgrad_distance": _mean(rank_distance(maps["saliency"], maps["smoothgrad"]))}
        for name, explain in MAPS.items():
            score, draws = (whole, DRAWS) if name == "saliency" else (few, FEW_DRAWS)
            changed = stability(score, explain, draws=draws, seed=self.seed)
            found |= {f"stability_{name}": _mean(changed), f"sparseness_{name}": _mean(sparseness(maps[name]))}
        if self.task.block is not None:
            block = self.task.block(self.images)
            found["block_share_10"] = _mean(block_share(maps["saliency"], block, share=0.1))
        return found

    def _counterfactuals(self, claimed, constant):
        """Return some points and their nearest training images, figures, and what disproves the claim."""
        score = self._score(self.exact)
        found = {"saturation": _mean(saturation(score, constant)), "newton_lands": _median(newton_lands(score))}
        for hundredths, reach in REACHES.items():
            for boxed, box in (("", {}), ("boxed_", {"low": 0.0, "high": 1.0})):
                moved = fooled(score, newton_points(score, reach, **box))
                found[f"{boxed}fooling_rate_{hundredths}"] = _mean(moved.double())
        distances = boundary_distances(score, claimed, seed=self.seed, **ATTACK)
        doubts = []
        if distances.refuted.any():
            doubts.append(f"an attack broke the claim's certificates of {int(distances.refuted.sum())} images")
        steepest = float(saturation(score, claimed).amax())
        if steepest > 1:
            doubts.append(f"the gradient of a margin is {steepest:g} times as long as the claim allows for")
        distances = distances._replace(certified=certified_radius(score.logits, score.labels, constant))
        found |= {"tightness": _mean(distances.tightness), "newton_excess": _median(distances.newton_excess)}
        train = self.task.parts.train
        images, labels = train.inputs[:NEAREST], train.targets[:NEAREST]
        points = newton_points(score, 2.0).cpu()
        nearest = nearest_class(points, images, torch.arange(len(images)))
        hit = _mean((labels[nearest] == score.rivals.cpu()).double())
        return {"hit": hit, "moved": points[:SHOWN], "nearest": images[nearest[:SHOWN]]}, found, doubts

    def _transport(self):
        """Return the cosines with the way from each class to the next one, of equally many images of both."""
        members = {int(label): (self.labels == label).nonzero().flatten() for label in self.labels.unique()}
        sources, matches, rivals, trivial = [], [], [], []
        for label, own in members.items():
            other = (label + 1) % self.task.classes
            if other not in members:
                continue
            count = min(len(own), len(members[other]))
            from_, to = self.images[own[:count]], self.images[members[other][:count]]
            matched = to[transport_plan(from_, to)]
            trivial.append(transport_cosine_of_means(from_, matched))
            sources.append(own[:count])
            matches.append(matched)
            rivals.append(torch.full_like(own[:count], other))
        if not sources:
            return {}
        sources = torch.cat(sources)
        score = ClassScore(self.model, self.images[sources], self.labels[sources], rivals=torch.cat(rivals))
        cosine, of_means = _mean(transport_cosine(score, torch.cat(matches))), _mean(torch.cat(trivial))
        return {
            "transport_cosine": cosine,
            "transport_cosine_mean": of_means,
            "transport_lead": cosine - of_means,
        }


def _mean(values):
    """Return the mean over images, those left out that have no figure."""
    return float(values.nanmean())


def _median(values):
    """Return the median over images: one whose gradient almost vanishes would decide a mean."""
    return float(values.nanmedian())


def _rounded(values):
    return [round(each, 4) for each in values.tolist()]
