"""An attack on segmentations in the Euclidean norm: as many pixels of an image as can be made wrong within a radius."""

import torch
from torch.nn.functional import cross_entropy

from ..lipschitz.ball import BallAndBox, attacked, check_attack, check_count, per_example, unit
from .certificates import most_lost
from .checks import IGNORED, check_labels, check_logits
from .costs import leaving_costs

# Of the largest logit: by how much a pixel that an attack is after is pushed beyond the boundary.
_BEYOND = 1e-3
# Of the pixels that the certificate allows to be lost, how many are aimed at at once.
_SHARES = (0.1, 0.03, 0.3, 1.0)


def pgd_l2(
    model,
    images,
    labels,
    radius,
    steps=50,
    restarts=6,
    seed=0,
    low=None,
    high=None,
    *,
    lipschitz_constant=1.0,
    ignore_index=IGNORED,
):
    """Attack a segmentation by projected gradients within a Euclidean ball, for as many wrong pixels as possible.

    Parameters
    ----------
    model : torch.nn.Module or callable
        Maps (b, C, H, W) to logits (b, K, H, W). A module is evaluated in eval mode (restored afterwards); no gradient
        is left in its parameters.
    images : Tensor (B, C, H, W)
        Of the type that the model takes. Not modified. All are attacked at once: give as many as memory allows.
    labels : Tensor (B, H, W)
        The right classes; or those that are predicted, to change as many of these as possible.
    radius : float or Tensor (B,)
        Of the balls around the images, at least 0.
    steps : int
        Of each restart, at least 1.
    restarts : int
        At least 1. They go for different things in turn, see Notes; the first six start at the image, others at
        random points of the ball.
    seed : int
        Of the random points, which are the same for all images: one is attacked alike in every batch.
    low, high : float or Tensor, optional
        The box: what an entry may be, e.g. 0 and 1.
    lipschitz_constant : float
        L > 0, from which `most_lost` has the number of pixels that is aimed at.
    ignore_index : int or None
        The label of pixels that are no pixels.

    Returns
    -------
    Tensor (B, C, H, W)
        For each image the point with the most wrong pixels of all that were visited, itself among them. In float64 its
        distance is at most the radius. A pixel whose logits aren't finite counts as wrong.

    Raises
    ------
    TypeError, ValueError
        If the logits or labels don't fit, a radius isn't finite and at least 0, a number is below 1, or an image is
        outside of the box.

    Notes
    -----
    Madry, Makelov, Schmidt, Tsipras and Vladu, "Towards deep learning models resistant to adversarial attacks", ICLR
    2018, with the steps and the projection of `orthobench.lipschitz.pgd_l2`. A restart climbs one of these, a sum over
    the pixels of an image:

    1. to 4. a hinge of the margins of the pixels that are cheapest to lose of those that are right still, found anew at
       each step: at the image those that the certificate finds cheapest. They are a tenth of the most that the
       certificate allows to be lost beside those that are wrong already; 3 %; 30 %; and all of them, which can go
       together where it is tight;
    5. cross-entropy of the pixels that are right still: of one that is wrong, nothing is left to gain (Gu, Zhao, Tresp
       and Torr, "SegPGD", ECCV 2022, whose weight of wrong pixels goes to 0);
    6. the same, each class of an image with the same weight.
    """
    radii = check_attack(images, radius, low, high)
    for name, value in (("steps", steps), ("restarts", restarts)):
        check_count(name, value)
    with attacked(model):
        attack = _Attack(model, images.detach(), labels, low, high, seed, ignore_index)
        objectives = attack.objectives(radii, lipschitz_constant)
        for restart in range(restarts):
            start = attack.clean if restart < len(objectives) else attack.random_points(radii)
            attack.climb(start, radii, steps, objectives[restart % len(objectives)])
        return attack.best


class _Attack(BallAndBox):
    """The images, what is aimed at, and the best points so far."""

    def __init__(self, model, images, labels, low, high, seed, ignore_index):
        super().__init__(images, low, high, seed)
        self.model, self.best = model, images.clone()
        with torch.no_grad():
            logits = model(images)
        self.beyond = _BEYOND * check_logits(logits).view(-1, 1, 1)
        self.costs = leaving_costs(logits, labels, rounding=0, ignore_index=ignore_index)
        shape = (len(logits), *logits.shape[2:])
        self.labels, self.labelled = (
            each.to(logits.device) for each in check_labels(labels, shape, logits.shape[1], ignore_index)
        )
        self.wrong = self._wrong(logits).flatten(1).sum(1)

    def objectives(self, radii, lipschitz_constant):
        """Return functions that map logits to what is climbed, (B,)."""
        allowed = [
            most_lost(each[None], r.item(), lipschitz_constant) for each, r in zip(self.costs, radii, strict=True)
        ]
        within_reach = torch.cat(allowed) - self.wrong
        aims = [(share * within_reach).clamp(min=1) for share in _SHARES]
        pixels = self.labelled.flatten(1).sum(1)
        weights = torch.zeros_like(self.costs)
        for image, (labels, labelled) in enumerate(zip(self.labels, self.labelled, strict=True)):
            counts = torch.bincount(labels[labelled], minlength=int(self.labels.max()) + 1)
            weights[image] = (pixels[image] / counts[labels].clamp(min=1)) * labelled
        return [
            *(lambda logits, aim=aim: self._hinge(logits, aim) for aim in aims),
            lambda logits: self._entropy(logits, self.labelled),
            lambda logits: self._entropy(logits, weights),
        ]

    def climb(self, points, radii, steps, objective):
        """Ascend from points, and keep the best of those visited."""
        for step in range(steps):
            points = points.detach().requires_grad_()
            logits = self.model(points)
            (gradient,) = torch.autograd.grad(objective(logits).sum(), points)
            self._keep(points.detach(), logits.detach())
            gradient = unit(gradient.nan_to_num())
            flat = per_example(gradient.flatten(1).norm(dim=1) == 0, gradient)
            direction = torch.where(flat, self.random_direction(), gradient)
            length = radii * (0.01 + 0.99 * (1 - step / steps))
            points = self.project(points.detach().double() + per_example(length, points) * direction.double(), radii)
        with torch.no_grad():
            self._keep(points, self.model(points))

    def _keep(self, points, logits):
        wrong = self._wrong(logits).flatten(1).sum(1)
        better = wrong > self.wrong
        self.best[better], self.wrong[better] = points[better], wrong[better]

    def _wrong(self, logits):
        """Return the pixels that have a label and not their class, (B, H, W)."""
        return self.labelled & ((logits.argmax(1) != self.labels) | ~logits.isfinite().all(1))

    def _entropy(self, logits, weights):
        losses = cross_entropy(logits.double(), self.labels, reduction="none")
        return (losses * (weights * ~self._wrong(logits.detach()))).flatten(1).sum(1)

    def _hinge(self, logits, count):
        """Return minus the margins, above what is beyond the boundary, of the `count` (B,) pixels where it is least."""
        logits = logits.double()
        own = logits.gather(1, self.labels[:, None]).squeeze(1)
        other = logits.scatter(1, self.labels[:, None], -torch.inf).amax(1)
        margins = (own - other + self.beyond).flatten(1)
        left = margins.detach().masked_fill(~self.labelled.flatten(1) | (margins <= 0), torch.inf)
        left, places = left.sort(1)
        chosen = (torch.arange(places.shape[1], device=places.device) < count[:, None]) & left.isfinite()
        return -torch.where(chosen, margins.gather(1, places), 0).sum(1)
