"""Attacks in the Euclidean norm: projected gradients within a ball, and the nearest adversarial point that is found.

What they return is checked in float64: it lies in the ball, rounding included, and in the box.
"""

import math

import torch

from .ball import BallAndBox, attacked, check_attack, check_count, per_example, unit
from .certificates import check_labels


def pgd_l2(model, inputs, labels, radius, steps=50, restarts=3, seed=0, low=None, high=None):
    """Attack a classifier by projected gradient ascent of max over k of f_k - f_y, within a Euclidean ball.

    Parameters
    ----------
    model : torch.nn.Module or callable
        Maps a batch (b, ...) to logits (b, C). A module is evaluated in eval mode (restored afterwards); no gradient is
        left in its parameters.
    inputs : Tensor (N, ...)
        Of the type that the model takes. Not modified. All are attacked at once: give as many as memory allows.
    labels : Tensor (N,)
        The right classes, in 0..C - 1.
    radius : float or Tensor (N,)
        Of the balls around the inputs, at least 0.
    steps : int
        Of each restart, at least 1.
    restarts : int
        At least 1. The first starts at the input and climbs the loss; the others start at random points of the ball,
        and climb f_k - f_y for the second-best class, the third, and so on in turn.
    seed : int
        Of the random points, which are the same for all inputs: an input is attacked alike in every batch.
    low, high : float or Tensor, optional
        The box: what an entry may be, e.g. 0 and 1; tensors must broadcast to the inputs.

    Returns
    -------
    Tensor (N, ...)
        For each input the point of highest loss of all that were visited, itself among them. In float64 its distance is
        at most the radius. A point whose logits aren't finite counts as the highest loss.

    Raises
    ------
    TypeError, ValueError
        If the logits or labels don't fit, a radius isn't finite and at least 0, a number is below 1, or an input is
        outside of the box.

    Notes
    -----
    Madry, Makelov, Schmidt, Tsipras and Vladu, "Towards deep learning models resistant to adversarial attacks", ICLR
    2018, with normalised gradients (random directions where they are zero), steps that shrink from the radius to a
    hundredth of it, and the projection onto the intersection of ball and box, clip(x + (z - x) / (1 + t)) for the t >=
    0 that brings it into the ball.

    Examples
    --------
    >>> model, image = torch.nn.Linear(2, 2), torch.zeros(1, 2)
    >>> adversarial = pgd_l2(model, image, torch.tensor([0]), 0.5)
    >>> bool(adversarial.double().norm() <= 0.5)
    True
    """
    radii = check_attack(inputs, radius, low, high)
    for name, value in (("steps", steps), ("restarts", restarts)):
        check_count(name, value)
    with attacked(model):
        attack = _Attack(model, inputs.detach(), labels, low, high, seed)
        for restart in range(restarts):
            start = attack.clean if restart == 0 else attack.random_points(radii)
            attack.climb(start, radii, steps, None if restart == 0 else restart - 1)
        return attack.best


def nearest_adversarial(model, inputs, labels, steps=100, restarts=2, seed=0, low=None, high=None):
    """Search for the nearest point that another class wins at, or ties.

    Parameters
    ----------
    model, inputs, labels, restarts, seed, low, high
        As in `pgd_l2`.
    steps : int
        Of each restart, at least 1.

    Returns
    -------
    points : Tensor (N, ...)
        The input itself where none was found, or where it is misclassified already.
    distances : Tensor (N,) float64
        Of the points from the inputs: 0 for a misclassified one, infinity where none was found.

    Raises
    ------
    TypeError, ValueError
        As `pgd_l2`.

    Notes
    -----
    Rony, Hafemann, Oliveira, Ben Ayed, Sabourin and Granger, "Decoupling direction and norm", CVPR 2019: gradient steps
    are projected onto a sphere that shrinks where the point is adversarial and grows where it isn't. The segments from
    the inputs to the points found are then bisected for the nearest adversarial one.
    """
    check_attack(inputs, 0.0, low, high)
    for name, value in (("steps", steps), ("restarts", restarts)):
        check_count(name, value)
    with attacked(model):
        attack = _Attack(model, inputs.detach(), labels, low, high, seed)
        found = attack.clean.clone()
        distances = torch.where(attack.loss >= 0, 0, math.inf).double()
        for restart in range(restarts):
            points, lengths = attack.shrink(steps, None if restart == 0 else restart - 1)
            nearer = lengths < distances
            found[nearer], distances[nearer] = points[nearer], lengths[nearer]
        return found, distances


class _Attack(BallAndBox):
    """What an attack knows: the clean inputs, the box, and the best points so far."""

    def __init__(self, model, inputs, labels, low, high, seed):
        super().__init__(inputs, low, high, seed)
        self.model = model
        self.best = inputs.clone()
        with torch.no_grad():
            logits = model(inputs)
        self.labels = check_labels(logits, labels)
        others = logits.detach().double().nan_to_num().scatter(1, self.labels[:, None], -math.inf)
        self.ranking = others.argsort(1, descending=True)  # the label comes last
        self.loss = self._loss(logits)

    def _loss(self, logits, rank=None):
        """Return by how much another class, or that of a rank, exceeds the label: (N,) float64."""
        logits = logits.double()
        own = logits.gather(1, self.labels[:, None]).squeeze(1)
        if rank is None:
            other = logits.scatter(1, self.labels[:, None], -math.inf).max(1).values
        else:
            target = self.ranking[:, rank % (logits.shape[1] - 1)]
            other = logits.gather(1, target[:, None]).squeeze(1)
        return torch.where(logits.isfinite().all(1), other - own, math.inf)

    def _gradient(self, points, rank):
        """Return the loss (N,), and the unit gradient (N, ...) of that of a rank, or a random unit where it is zero."""
        points = points.detach().requires_grad_()
        logits = self.model(points)
        (gradient,) = torch.autograd.grad(self._loss(logits, rank).sum(), points)
        gradient = unit(torch.nan_to_num(gradient))
        flat = per_example(gradient.flatten(1).norm(dim=1) == 0, gradient)
        return self._loss(logits.detach()), torch.where(flat, self.random_direction(), gradient)

    def _keep(self, points, loss):
        better = loss > self.loss
        self.best[better], self.loss[better] = points[better], loss[better]

    # --- within a ball

    def climb(self, points, radii, steps, rank):
        """Ascend from points, and keep the best of those visited."""
        for step in range(steps):
            loss, direction = self._gradient(points, rank)
            self._keep(points, loss)
            length = radii * (0.01 + 0.99 * (1 - step / steps))
            points = self.project(points.double() + per_example(length, points) * direction.double(), radii)
        with torch.no_grad():
            self._keep(points, self._loss(self.model(points)))

    # --- as near as possible

    def shrink(self, steps, rank):
        """Return the nearest adversarial points of one run, and their distances."""
        nearest = self.clean.clone()
        distances = torch.full((len(nearest),), math.inf, dtype=torch.float64, device=nearest.device)
        scale = self.clean.double().flatten(1).norm(dim=1).clamp(min=1.0)
        sphere, points = 0.1 * scale, self.clean
        if rank is not None:
            points = self.random_points(0.1 * scale)
        for step in range(steps):
            loss, direction = self._gradient(points, rank)
            lengths = (points.double() - self.clean.double()).flatten(1).norm(dim=1)
            fooled = loss >= 0
            nearer = fooled & (lengths < distances)
            nearest[nearer], distances[nearer] = points[nearer], lengths[nearer]
            rate = 0.3 * (1 - step / steps) + 0.005
            sphere = torch.where(fooled, torch.minimum(sphere, lengths) * (1 - rate), sphere * (1 + rate))
            length = sphere * (0.02 + 0.98 * (1 - step / steps))
            moved = points.double() + per_example(length, points) * direction.double()
            offsets = moved - self.clean.double()
            offsets = unit(offsets) * per_example(sphere, offsets)
            points = self.clip(self.clean.double() + offsets).to(self.clean.dtype)
        return self._bisect(nearest, distances)

    @torch.no_grad()
    def _bisect(self, points, distances):
        """Return the nearest adversarial points on the segments from the clean inputs, and their distances."""
        clean = self.clean.double()
        offsets = points.double() - clean
        low, high = torch.zeros_like(distances), torch.ones_like(distances)
        for _ in range(30):
            middle = (low + high) / 2
            trial = (clean + per_example(middle, clean) * offsets).to(self.clean.dtype)
            fooled = self._loss(self.model(trial)) >= 0
            lengths = (trial.double() - clean).flatten(1).norm(dim=1)
            nearer = fooled & (lengths < distances)
            points[nearer], distances[nearer] = trial[nearer], lengths[nearer]
            low, high = torch.where(fooled, low, middle), torch.where(fooled, middle, high)
        return points, distances
