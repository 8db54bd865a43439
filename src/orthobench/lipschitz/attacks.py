"""Attacks in the Euclidean norm: projected gradients within a ball, and the nearest adversarial point that is found.

What they return is checked in float64: it lies in the ball, rounding included, and in the box.
"""

import math
from contextlib import contextmanager
from numbers import Real

import torch
from torch import nn

from .certificates import check_labels, check_radius

# Of the projection onto ball and box. Fewer than it takes leave the point inside of the ball, not on it.
_NEWTON_STEPS = 8
# Of the radius, what is left to rounding. Distances are checked, in float64, so that this is about speed alone.
_SHRINK = 1 - 1e-6


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
    radii = _check_arguments(inputs, labels, radius, low, high)
    for name, value in (("steps", steps), ("restarts", restarts)):
        _check_count(name, value)
    with _attacked(model):
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
    _check_arguments(inputs, labels, 0.0, low, high)
    for name, value in (("steps", steps), ("restarts", restarts)):
        _check_count(name, value)
    with _attacked(model):
        attack = _Attack(model, inputs.detach(), labels, low, high, seed)
        found = attack.clean.clone()
        distances = torch.where(attack.loss >= 0, 0, math.inf).double()
        for restart in range(restarts):
            points, lengths = attack.shrink(steps, None if restart == 0 else restart - 1)
            nearer = lengths < distances
            found[nearer], distances[nearer] = points[nearer], lengths[nearer]
        return found, distances


class _Attack:
    """What an attack knows: the clean inputs, the box, and the best points so far."""

    def __init__(self, model, inputs, labels, low, high, seed):
        self.generator = torch.Generator().manual_seed(seed)
        self.model, self.clean = model, inputs
        self.low, self.high = (_bound(each, inputs) for each in (low, high))
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
        gradient = _unit(torch.nan_to_num(gradient))
        flat = _per_example(gradient.flatten(1).norm(dim=1) == 0, gradient)
        return self._loss(logits.detach()), torch.where(flat, self._direction(), gradient)

    def _direction(self):
        """Return a random unit direction (1, ...), one for all: what an example gets doesn't depend on the others."""
        direction = torch.randn(1, *self.clean.shape[1:], generator=self.generator, dtype=torch.float64)
        return _unit(direction.to(self.clean.device)).to(self.clean.dtype)

    def _keep(self, points, loss):
        better = loss > self.loss
        self.best[better], self.loss[better] = points[better], loss[better]

    # --- within a ball

    def random_points(self, radii):
        """Return points of the balls: a uniform direction at a uniform share of each radius, then projected."""
        lengths = torch.rand(1, generator=self.generator, dtype=torch.float64).to(radii) * radii
        offsets = _per_example(lengths, self.clean) * self._direction().double()
        return self.project(self.clean.double() + offsets, radii)

    def climb(self, points, radii, steps, rank):
        """Ascend from points, and keep the best of those visited."""
        for step in range(steps):
            loss, direction = self._gradient(points, rank)
            self._keep(points, loss)
            length = radii * (0.01 + 0.99 * (1 - step / steps))
            points = self.project(points.double() + _per_example(length, points) * direction.double(), radii)
        with torch.no_grad():
            self._keep(points, self._loss(self.model(points)))

    def project(self, points, radii):
        """Return the nearest points of ball and box, in the type of the inputs; the clean ones if none is inside."""
        clean = self.clean.double()
        offsets, wanted = points - clean, radii * _SHRINK
        for _ in range(8):
            exact = clean + self._within(offsets, wanted)
            rounded = exact.to(self.clean.dtype)
            inside = (rounded.double() - clean).flatten(1).norm(dim=1) <= radii
            if inside.all():
                break
            error = (rounded.double() - exact).flatten(1).norm(dim=1)
            wanted = torch.where(inside, wanted, wanted - 2 * error).clamp(min=0)
        return torch.where(_per_example(inside, rounded), rounded, self.clean)

    def _within(self, offsets, radii):
        """Return the offsets times a factor for each example, at most 1, clipped to the box, no longer than the radii.

        The square of the clipped length is a concave function of the factor's square s, linear between the points where
        an entry reaches the box: Newton's steps from below never pass the root, and end at it.
        """
        squares = offsets.square()
        s = radii.square() / squares.flatten(1).sum(1).clamp(min=torch.finfo(torch.float64).tiny)
        for _ in range(_NEWTON_STEPS):
            clipped, free = self._clipped(offsets, s.clamp(max=1))
            missing = radii.square() - clipped.square().flatten(1).sum(1)
            slope = (squares * free).flatten(1).sum(1)
            done = (s >= 1) | (slope == 0) | (missing <= 0)
            if done.all():
                break
            s = torch.where(done, s, s + missing / torch.where(done, 1, slope))
        return self._clipped(offsets, s.clamp(max=1))[0]

    def _clipped(self, offsets, s):
        """Return sqrt(s) times the offsets, clipped to the box, and which entries are not clipped."""
        moved = self.clean.double() + _per_example(s.sqrt(), offsets) * offsets
        clipped = self._clip(moved)
        return clipped - self.clean.double(), clipped == moved

    def _clip(self, points):
        return points.clamp(self.low, self.high) if self.low is not None or self.high is not None else points

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
            moved = points.double() + _per_example(length, points) * direction.double()
            offsets = moved - self.clean.double()
            offsets = _unit(offsets) * _per_example(sphere, offsets)
            points = self._clip(self.clean.double() + offsets).to(self.clean.dtype)
        return self._bisect(nearest, distances)

    @torch.no_grad()
    def _bisect(self, points, distances):
        """Return the nearest adversarial points on the segments from the clean inputs, and their distances."""
        clean = self.clean.double()
        offsets = points.double() - clean
        low, high = torch.zeros_like(distances), torch.ones_like(distances)
        for _ in range(30):
            middle = (low + high) / 2
            trial = (clean + _per_example(middle, clean) * offsets).to(self.clean.dtype)
            fooled = self._loss(self.model(trial)) >= 0
            lengths = (trial.double() - clean).flatten(1).norm(dim=1)
            nearer = fooled & (lengths < distances)
            points[nearer], distances[nearer] = trial[nearer], lengths[nearer]
            low, high = torch.where(fooled, low, middle), torch.where(fooled, middle, high)
        return points, distances


@contextmanager
def _attacked(model):
    """Evaluate in eval mode with gradients of the inputs; then put the modes back."""
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    modes = [module.training for module in modules]
    try:
        for module in modules:
            module.training = False
        with torch.enable_grad():
            yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode


def _check_arguments(inputs, labels, radius, low, high):
    """Return the radii (N,) in float64."""
    if not isinstance(inputs, torch.Tensor) or not inputs.is_floating_point() or inputs.ndim < 2:
        got = f"{inputs.dtype} {tuple(inputs.shape)}" if isinstance(inputs, torch.Tensor) else type(inputs).__name__
        raise TypeError(f"inputs must be a floating-point tensor (N, ...), got {got}; convert them by .float().")
    if not inputs.isfinite().all():
        raise ValueError("inputs must be finite, got NaN or infinity; leave those examples out.")
    if isinstance(radius, Real):
        check_radius(radius)
        radii = torch.full((len(inputs),), float(radius), dtype=torch.float64, device=inputs.device)
    else:
        radii = torch.as_tensor(radius, dtype=torch.float64, device=inputs.device)
        if radii.shape != inputs.shape[:1] or not (radii.isfinite() & (radii >= 0)).all():
            raise ValueError(
                f"radius must be a finite number >= 0, or one for each of the {len(inputs)} inputs, got {radius!r}."
            )
    for name, limit, wrong in (("low", low, torch.lt), ("high", high, torch.gt)):
        if limit is not None and wrong(inputs, _bound(limit, inputs)).any():
            extreme = inputs.min().item() if name == "low" else inputs.max().item()
            raise ValueError(
                f"inputs must be in the box, got {extreme} beyond {name}={limit!r}; give it in units of the inputs."
            )
    return radii


def _check_count(name, value):
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}.")


def _bound(limit, inputs):
    """Return a side of the box in float64, rounded to the type of the inputs."""
    return None if limit is None else torch.as_tensor(limit, device=inputs.device).to(inputs.dtype).double()


def _unit(vectors):
    """Divide by the norms; zero stays zero."""
    norms = vectors.double().flatten(1).norm(dim=1)
    norms = torch.where(norms > 0, norms, 1)
    return (vectors.double() / _per_example(norms, vectors)).to(vectors.dtype)


def _per_example(values, like):
    """View (N,) as (N, 1, ...), of as many dimensions as `like`."""
    return values.view(-1, *[1] * (like.ndim - 1))
