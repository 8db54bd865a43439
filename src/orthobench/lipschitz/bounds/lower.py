"""Lower bounds of a network's Lipschitz constant: quotients ||f(y) - f(x)|| / ||y - x||, as large as can be found."""

import math

import torch
from torch import nn

from .jacobian import NETWORK_TOLERANCE, dtype_and_device, evaluating, float64_copy

# Outputs up to which every row of the Jacobian is computed.
_ROWS = 64
# Examples at a time, and entries of their Jacobians: 128 MB.
_BATCH, _PIECE = 64, 2**24
# Distances of pairs along the best direction, in units of the root mean square of an input.
_LENGTHS = (1.0, 0.3, 0.1, 1e-2, 1e-3, 1e-4)
# A forward pass is taken to be wrong by at most so many eps of its outputs' norm.
_ROUNDING = 64


def lower_bound(model, inputs, iterations=20, seed=0, *, per_output=False):
    """Search for the largest quotient ||f(y) - f(x)|| / ||y - x|| around given inputs.

    Parameters
    ----------
    model : torch.nn.Module or callable
        Takes a batch (b, ...) and treats its examples alike. A module is evaluated in eval mode (restored afterwards),
        on a copy in float64 with its weights as they are now, where there is one; otherwise in its own dtype.
    inputs : Tensor (N, ...)
        Where to search from, N >= 1. Not modified.
    iterations : int
        Steps of the power iteration, and of each of two ascents; at least 1.
    seed : int
        Of the first directions.
    per_output : bool
        Search for the largest |f_k(y) - f_k(x)| / ||y - x|| over the outputs k instead: the constant of one output.

    Returns
    -------
    float
        Never above the Lipschitz constant, but for the assumption about rounding in the notes. 0 if nothing was found.

    Raises
    ------
    ValueError
        If there is no input, one isn't finite, or `iterations` is below 1.

    Notes
    -----
    At each input, moved a little so that it is at no kink of the activations, the direction that the Jacobian stretches
    most is computed: by its rows for up to 64 outputs, otherwise by power iteration on J^T J with vector-Jacobian
    products and, by differentiating these, Jacobian-vector products. Then pairs along it are taken at distances from 1
    down to 1e-4 of the root mean square of the input, and the best one climbs the quotient by its gradient, both points
    free. This is done twice, from where it has come to.

    What is returned is always a quotient of actual outputs, never a derivative, which at a kink may be that of no
    neighbour. From the numerator 64 eps (||f(x)|| + ||f(y)||) is subtracted for rounding, eps that of the dtype: of a
    float64 copy, about 1e-10 at the smallest distance.

    With `per_output` and more than 64 outputs, 64 random ones are differentiated; the quotients are those of all.
    """
    _check(inputs, iterations)
    copy = float64_copy(model, inputs.shape[1:], NETWORK_TOLERANCE) if isinstance(model, nn.Module) else None
    function = model if copy is None else copy
    dtype, device = dtype_and_device(function)
    generator = torch.Generator().manual_seed(seed)
    search = _Search(function, generator, per_output)
    best = 0.0
    with evaluating(function):
        size = max(1, min(_BATCH, _PIECE // (_ROWS * max(1, inputs[0].numel()))))
        for chunk in inputs.detach().split(size):
            best = max(best, search.run(chunk.to(device, dtype), iterations))
    return best


def _check(inputs, iterations):
    if not isinstance(inputs, torch.Tensor) or inputs.ndim < 1 or len(inputs) == 0:
        got = tuple(inputs.shape) if isinstance(inputs, torch.Tensor) else type(inputs).__name__
        raise ValueError(f"inputs must be a tensor (N, ...) with N >= 1, got {got}; give at least one example.")
    if not inputs.isfinite().all():
        raise ValueError("inputs must be finite, got NaN or infinity; leave those examples out.")
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1, got {iterations!r}; 20 is the default.")


class _Search:
    """Pairs of points (N, ...) that climb the quotient of a function."""

    def __init__(self, function, generator, per_output):
        self.function, self.generator = function, generator
        self.order = math.inf if per_output else 2

    def run(self, inputs, iterations):
        """Return the best quotient."""
        scale = _per_example(inputs.double().flatten(1).square().mean(1).sqrt().clamp(min=1e-3), inputs)
        points = inputs + 1e-3 * scale * self._random(inputs)
        best = 0.0
        for _ in range(2):
            directions = self._steepest(points, iterations)
            pairs = [(points, points + length * scale * directions) for length in _LENGTHS]
            quotients = torch.stack([self.quotients(*pair) for pair in pairs])
            chosen = quotients.argmax(0)
            ends = torch.stack([end for _, end in pairs])[chosen, torch.arange(len(points), device=chosen.device)]
            climbed, points = self._ascend(points, ends, iterations)
            best = max(best, quotients.max().item(), climbed)
        return best

    def outputs(self, points):
        return self.function(points).flatten(1).double()

    @torch.no_grad()
    def quotients(self, start, end):
        """Return the quotients (N,), from below."""
        return self._quotients(start, end)[0]

    def _quotients(self, start, end):
        """Return the quotients (N,), from below, and the logarithms of those that they are from."""
        first, second = self.outputs(torch.cat([start, end])).chunk(2)
        change = torch.linalg.vector_norm(second - first, self.order, dim=1)
        distance = (end.double() - start.double()).flatten(1).norm(dim=1)
        tiny = torch.finfo(torch.float64).tiny
        logarithms = change.clamp(min=tiny).log() - distance.clamp(min=tiny).log()
        slack = _ROUNDING * torch.finfo(start.dtype).eps * (first.norm(dim=1) + second.norm(dim=1))
        quotients = torch.where(distance > 0, (change - slack) / distance, 0).detach()
        return torch.where(quotients.isfinite(), quotients, 0).clamp(min=0), logarithms

    def _random(self, like):
        return torch.randn(like.shape, generator=self.generator, dtype=torch.float64).to(like)

    # --- directions

    @torch.enable_grad()
    def _steepest(self, points, iterations):
        """Return the unit direction (N, ...) at each point that the Jacobian stretches most."""
        points = points.clone().requires_grad_()
        outputs = self.function(points).flatten(1)
        if not outputs.requires_grad:
            raise ValueError(
                "the outputs of the model don't depend on its inputs by torch's operations; nothing to search."
            )
        count = outputs.shape[1]
        if count > _ROWS and self.order == 2:
            return self._power_iteration(points, outputs, iterations)
        chosen = torch.randperm(count, generator=self.generator)[:_ROWS].tolist()
        rows = [torch.autograd.grad(outputs[:, k].sum(), points, retain_graph=True)[0].flatten(1) for k in chosen]
        jacobians = torch.stack(rows, 1).double()  # (N, rows, inputs)
        if self.order == 2:
            _, vectors = torch.linalg.eigh(torch.nan_to_num(jacobians @ jacobians.mT))
            steepest = (vectors[..., -1:].mT @ jacobians).squeeze(1)
        else:
            longest = jacobians.norm(dim=2).argmax(1)
            steepest = jacobians[torch.arange(len(points), device=longest.device), longest]
        return self._unit(steepest.to(points.dtype).view_as(points))

    def _power_iteration(self, points, outputs, iterations):
        cotangents = torch.zeros_like(outputs, requires_grad=True)
        (pulled,) = torch.autograd.grad(outputs, points, cotangents, create_graph=True)
        directions = self._unit(self._random(points))
        for _ in range(iterations):
            (pushed,) = torch.autograd.grad(pulled, cotangents, directions, retain_graph=True)
            (back,) = torch.autograd.grad(outputs, points, pushed, retain_graph=True)
            directions = self._unit(back)
        return directions

    def _unit(self, vectors):
        """Divide by the norms; a random direction takes the place of zero and of what isn't finite."""
        vectors = vectors.detach()
        norms = vectors.flatten(1).norm(dim=1)
        usable = _per_example(norms.isfinite() & (norms > 0), vectors)
        vectors = torch.where(usable, vectors, self._random(vectors))
        return vectors / _per_example(vectors.flatten(1).norm(dim=1), vectors)

    # --- ascent

    def _ascend(self, start, end, iterations):
        """Climb from pairs; return the best quotient, and the best pairs' first points."""
        pairs = torch.stack([start, end], 1)
        best, gradients = self._gradients(pairs)
        step = torch.full_like(best, 0.3)
        for _ in range(iterations):
            length = step.to(pairs.dtype) * (pairs[:, 1] - pairs[:, 0]).flatten(1).norm(dim=1)
            candidates = pairs + self._unit(gradients) * _per_example(length, pairs)
            quotients, uphill = self._gradients(candidates)
            better = quotients > best
            step = torch.where(better, 1.2 * step, 0.5 * step)
            best = torch.where(better, quotients, best)
            keep = _per_example(better, pairs)
            pairs, gradients = torch.where(keep, candidates, pairs), torch.where(keep, uphill, gradients)
        return best.max().item(), pairs[:, 0]

    @torch.enable_grad()
    def _gradients(self, pairs):
        """Return the quotients, and the gradients of their logarithms."""
        pairs = pairs.detach().requires_grad_()
        quotients, logarithms = self._quotients(pairs[:, 0], pairs[:, 1])
        return quotients, torch.autograd.grad(logarithms.sum(), pairs)[0]


def _per_example(values, like):
    """View (N,) as (N, 1, ...), of as many dimensions as `like`, in its dtype unless they are bool."""
    values = values.view(-1, *[1] * (like.ndim - 1))
    return values if values.dtype == torch.bool else values.to(like.dtype)
