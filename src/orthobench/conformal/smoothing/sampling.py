"""Scores of many noisy copies of each input, computed for as many of them at once as memory allows."""

import math

import torch
from torch.utils.checkpoint import checkpoint

from ...lipschitz.bounds.jacobian import evaluating

_HALVES = (torch.float16, torch.bfloat16)


def gaussian_noise(x, samples, generator):
    """Draw standard normal noise for inputs, one input after the other.

    Parameters
    ----------
    x : Tensor (b, ...)
        Inputs.
    samples : int
        For each.
    generator : torch.Generator

    Returns
    -------
    Tensor (b, samples, ...)
        On the device of the inputs, in their type. What an input gets doesn't depend on how many are in a batch.
    """
    dtype = torch.float32 if x.dtype in _HALVES else x.dtype
    noise = torch.empty(len(x), samples, *x.shape[1:], dtype=dtype, device=generator.device)
    for each in noise:
        each.normal_(generator=generator)
    return noise.to(x.device, x.dtype)


def uniform_in_ball(x, samples, generator, radius=1.0):
    """Draw points of the Euclidean ball around 0, uniformly.

    Parameters
    ----------
    x : Tensor (b, ...)
        Inputs, of d entries each.
    samples : int
        For each.
    generator : torch.Generator
    radius : float
        At least 0.

    Returns
    -------
    Tensor (b, samples, ...)
        As `gaussian_noise`.

    Notes
    -----
    The first d coordinates of a uniform point of the unit sphere in d + 2 dimensions: Barthe, Guedon, Mendelson and
    Naor, "A probabilistic approach to the geometry of the l_p^n-ball", Annals of Probability 2005, corollary 4.
    """
    dimension = math.prod(x.shape[1:])
    sphere = gaussian_noise(x.new_empty(len(x), dimension + 2, dtype=torch.float64), samples, generator)
    points = radius * sphere[..., :dimension] / sphere.norm(dim=2, keepdim=True)
    return points.unflatten(2, x.shape[1:]).to(x.dtype)


def noisy_scorer(predictor, x):
    """Return ``scores_of(inputs, generator)`` of a predictor's score and model.

    The model is in eval mode also when the backward pass computes scores again. No graph is kept for its parameters
    alone: there is one if gradients are on, and the inputs x need one.
    """
    differentiable = torch.is_grad_enabled() and x.requires_grad

    def scores_of(inputs, generator):
        with evaluating(predictor.model), torch.set_grad_enabled(differentiable):
            return predictor._scores(inputs, generator)

    return scores_of


def own_generator(generator, device):
    """Return the generator, or, for None, one that starts from a number drawn from torch's global one."""
    if generator is not None:
        return generator
    return torch.Generator(device).manual_seed(int(torch.randint(2**63 - 1, ())))


def reduce_over_noise(scores_of, draw, x, *per_input, samples, reduce, generator, batch_size):
    """Compute a statistic of each input from the scores of its noisy copies.

    Parameters
    ----------
    scores_of : callable
        ``scores_of(inputs, generator)`` maps inputs (m, ...) to scores (m, C).
    draw : callable
        ``draw(x, samples, generator)`` returns what is added to the inputs, (b, samples, ...).
    x : Tensor (N, ...)
        Inputs.
    *per_input : Tensor (N, ...)
        What `reduce` needs to know of each input, such as labels.
    samples : int
        Noisy copies of each input.
    reduce : callable
        ``reduce(scores, *per_input)`` maps scores (b, samples, C) to a tensor (b, ...).
    generator : torch.Generator, optional
        Of the noise, and of what is random in the scores.
    batch_size : int
        Noisy copies at once. All copies of an input are reduced together, so that their scores are kept, and their
        noise, if they are more.

    Returns
    -------
    Tensor (N, ...)
        Where gradients are on and the inputs need one, it is differentiable; noise and activations are then computed
        again for the backward pass instead of kept.
    """
    generator = own_generator(generator, x.device)
    after = None

    def statistic(state, some, *known):
        nonlocal after
        drawn_by = torch.Generator(generator.device)
        drawn_by.set_state(state)
        noisy = (some.unsqueeze(1) + draw(some, samples, drawn_by)).flatten(0, 1)
        scores = torch.cat([scores_of(part, drawn_by) for part in noisy.split(batch_size)])
        after = drawn_by.get_state()
        return reduce(scores.unflatten(0, (len(some), samples)), *known)

    differentiable = torch.is_grad_enabled() and x.requires_grad
    size = max(1, batch_size // samples)
    results = []
    for some, *known in zip(*(each.split(size) for each in (x, *per_input)), strict=True):
        arguments = generator.get_state(), some, *known
        if differentiable:
            results.append(checkpoint(statistic, *arguments, use_reentrant=False, preserve_rng_state=False))
        else:
            results.append(statistic(*arguments))
        generator.set_state(after)  # here, so that the backward pass, which draws again, doesn't set it back
    return torch.cat(results)
