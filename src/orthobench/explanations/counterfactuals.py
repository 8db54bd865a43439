"""Counterfactuals: does the gradient of a network lead to the boundary and to another class, and how far is that?

The optimum f of the hinge-regularised Kantorovich-Rubinstein loss of two classes has ||grad f|| = 1 almost everywhere
on the rays along which an optimal plan transports one class to the other. Then x - f(x) grad f(x) is on the boundary,
and is the nearest adversarial example (Serrurier, Mamalet, Fel, Béthune and Boissin, "On the explainable properties of
1-Lipschitz neural networks: an optimal transport perspective", NeurIPS 2023, propositions 1 and 2). Of several
classes, the margin s = f_y - f_k takes the place of f. These functions measure how far from that a network is. Figures
are of each image, best of those that are classified right (`ClassScore.right`).
"""

from functools import partial
from typing import NamedTuple

import torch

from ..lipschitz.attacks import nearest_adversarial
from ..lipschitz.certificates import certified_radius, check_positive, margin
from ..lipschitz.one_class import newton_raphson

# Farther than any image, and not so far that a network's outputs aren't finite.
_FAR = 1e9


def newton_points(score, reach=1.0, *, low=None, high=None):
    """Return x - reach s grad s / ||grad s||^2: for a reach of 1 where a linear margin is 0.

    Parameters
    ----------
    score : ClassScore
        Of margins s.
    reach : float
        > 0. Beyond 1 it is meant to be in the other class; the paper has 1 to 2.
    low, high : float, optional
        The box that points are clipped to, which the images must be in; both or none.

    Returns
    -------
    Tensor (N, channels, ...)
        Of the type of the images. An image whose gradient is 0 stays; where it almost is, the step ends at 1e9.

    Raises
    ------
    TypeError, ValueError
        If an argument isn't one of these.
    """
    check_margin(score)
    check_positive("reach", reach, "1 is Newton's step")
    if (low is None) != (high is None):
        raise ValueError(f"low and high are {low!r} and {high!r}: give both sides of the box, or none.")
    largest = min(_FAR, torch.finfo(score.images.dtype).max)
    low, high = (-largest, largest) if low is None else (low, high)
    if not (score.images.min() >= low and score.images.max() <= high):
        extremes = f"{score.images.min():g}..{score.images.max():g}"
        raise ValueError(
            f"the images are in {extremes}, outside of the box {low!r}..{high!r}: give one that they are in."
        )
    found = []
    with score.evaluating():
        for rows in torch.arange(len(score), device=score.images.device).split(score.batch_size):
            margins = partial(score.differentiable, of=rows)
            found.append(
                newton_raphson(margins, score.images[rows], (low, high), steps=1, rates=reach, both_sides=True)
            )
    return torch.cat(found)


def newton_lands(score):
    """Return |s(x')| / |s(x)| at x' = `newton_points` of reach 1: how far from the boundary Newton's step ends.

    Parameters
    ----------
    score : ClassScore
        Of margins.

    Returns
    -------
    Tensor (N,) float64
        0 where s is linear along the step, 1 where nothing is gained; NaN where s(x) is 0.
    """
    before, after = score.values(score.images), score.values(newton_points(score))
    return torch.where(before != 0, after.abs() / before.abs(), torch.nan)


def fooled(score, points):
    """Return whether another class than the label wins at points.

    Parameters
    ----------
    score : ClassScore
    points : Tensor (N, channels, ...)
        As `newton_points` returns them: of a reach of 1.001, 1.5 and 2, say.

    Returns
    -------
    Tensor (N,) bool
        Also where the label doesn't win at the image.
    """
    points, _ = score.check_points(points)
    return margin(score.logits_of(points), score.labels) < 0


def saturation(score, lipschitz_constant=1.0):
    """Return ||grad v|| as a share of the most that it can be: sqrt(2) L for margins, L for logits.

    Where it is 1 the certificate can be tight along the gradient; no attack is needed to see that it isn't.

    Parameters
    ----------
    score : ClassScore
    lipschitz_constant : float
        L > 0, of the logits together.

    Returns
    -------
    Tensor (N,) float64
        At most 1, but for rounding, if L is a constant of the network: more disproves it.
    """
    check_positive("lipschitz_constant", lipschitz_constant, "it is what an upper bound returned")
    return score.gradients(score.images)[1].flatten(1).norm(dim=1) / (score.slope * lipschitz_constant)


class Distances(NamedTuple):
    """Three distances of each image to the boundary, (N,) in float64, in units of the images.

    Attributes
    ----------
    certified : Tensor
        The radius that is certified: none is nearer; 0 where the label doesn't win.
    newton : Tensor
        |s| / ||grad s||, the length of Newton's step to the rival: infinity where the gradient is 0. No more than the
        rival's distance if s is convex, no less if it is concave.
    attacked : Tensor
        Of the nearest adversarial point that was found: one may be nearer. 0 where the label doesn't win, infinity
        where none was found.
    """

    certified: torch.Tensor
    newton: torch.Tensor
    attacked: torch.Tensor

    @property
    def tightness(self):
        """certified / attacked: at most 1 if the constant is one; NaN where there is no such distance."""
        return self._share(self.certified)

    @property
    def newton_excess(self):
        """newton / attacked; NaN where there is no such distance."""
        return self._share(self.newton)

    @property
    def refuted(self):
        """Whether an attack broke the certificate, (N,) bool."""
        return self.attacked < self.certified

    def _share(self, distances):
        exists = (self.attacked > 0) & self.attacked.isfinite()
        return torch.where(exists, distances / self.attacked, torch.nan)


def boundary_distances(score, lipschitz_constant=1.0, *, low=0.0, high=1.0, steps=100, restarts=2, seed=0):
    """Measure how near the boundary is: by certificate, by gradient and by attack.

    Parameters
    ----------
    score : ClassScore
        Of margins.
    lipschitz_constant : float
        L > 0, of the logits together: a claim is examined by it.
    low, high, steps, restarts, seed
        Of the attack, as of `orthobench.lipschitz.nearest_adversarial`.

    Returns
    -------
    Distances

    Raises
    ------
    TypeError, ValueError
        If an argument isn't one of these.
    """
    check_margin(score)
    certified = certified_radius(score.logits, score.labels, lipschitz_constant)
    values, gradients = score.gradients(score.images)
    attack = {"low": low, "high": high, "steps": steps, "restarts": restarts, "seed": seed}
    attacked = []
    with score.evaluating():
        for rows in torch.arange(len(score), device=score.images.device).split(score.batch_size):
            attacked.append(nearest_adversarial(score.model, score.images[rows], score.labels[rows], **attack)[1])
    return Distances(certified, values.abs() / gradients.flatten(1).norm(dim=1), torch.cat(attacked))


def check_margin(score):
    if score.kind != "margin":
        raise ValueError(f"the score is a {score.kind}, which has no boundary: give a ClassScore of kind='margin'.")
