"""The ball around each input, and the box, that attacks in the Euclidean norm stay in."""

from contextlib import contextmanager
from numbers import Real

import torch
from torch import nn

from .certificates import check_radius

# Of the projection onto ball and box. Fewer than it takes leave the point inside of the ball, not on it.
_NEWTON_STEPS = 8
# Of the radius, what is left to rounding. Distances are checked, in float64, so that this is about speed alone.
_SHRINK = 1 - 1e-6


class BallAndBox:
    """Balls around inputs, within a box.

    Parameters
    ----------
    inputs : Tensor (N, ...)
        In the box.
    low, high : float, Tensor or None
        What an entry may be.
    seed : int
        Of random points.
    """

    def __init__(self, inputs, low, high, seed):
        self.generator = torch.Generator().manual_seed(seed)
        self.clean = inputs
        self.low, self.high = (_bound(each, inputs) for each in (low, high))

    def random_direction(self):
        """Return a random unit direction (1, ...), one for all: what an example gets doesn't depend on the others."""
        direction = torch.randn(1, *self.clean.shape[1:], generator=self.generator, dtype=torch.float64)
        return unit(direction.to(self.clean.device)).to(self.clean.dtype)

    def random_points(self, radii):
        """Return points of the balls: a uniform direction at a uniform share of each radius, then projected."""
        lengths = torch.rand(1, generator=self.generator, dtype=torch.float64).to(radii) * radii
        offsets = per_example(lengths, self.clean) * self.random_direction().double()
        return self.project(self.clean.double() + offsets, radii)

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
        return torch.where(per_example(inside, rounded), rounded, self.clean)

    def clip(self, points):
        """Return the nearest points of the box."""
        return points.clamp(self.low, self.high) if self.low is not None or self.high is not None else points

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
        moved = self.clean.double() + per_example(s.sqrt(), offsets) * offsets
        clipped = self.clip(moved)
        return clipped - self.clean.double(), clipped == moved


@contextmanager
def attacked(model):
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


def check_attack(inputs, radius, low, high):
    """Return the radii (N,) in float64; raise TypeError or ValueError unless they and the box fit the inputs."""
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


def check_count(name, value):
    """Raise ValueError unless a value is an integer of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}.")


def _bound(limit, inputs):
    """Return a side of the box in float64, rounded to the type of the inputs."""
    return None if limit is None else torch.as_tensor(limit, device=inputs.device).to(inputs.dtype).double()


def unit(vectors):
    """Divide by the norms; zero stays zero."""
    norms = vectors.double().flatten(1).norm(dim=1)
    norms = torch.where(norms > 0, norms, 1)
    return (vectors.double() / per_example(norms, vectors)).to(vectors.dtype)


def per_example(values, like):
    """View (N,) as (N, 1, ...), of as many dimensions as `like`."""
    return values.view(-1, *[1] * (like.ndim - 1))
