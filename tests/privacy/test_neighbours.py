"""Three examples or two, at the same rate and expected size: how far a step tells them apart, exactly."""

import itertools
import math
from functools import partial

import mechanisms as given
import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from orthobench.lipschitz.losses import CrossEntropy
from orthobench.privacy.accounting import epsilon
from orthobench.privacy.clip_free import ClipFreeOptimizer
from orthobench.privacy.clipping import ClippedGradients
from orthobench.privacy.losses import loss_constant
from orthobench.privacy.sampling import PoissonLoader
from orthobench.privacy.transcript import Transcript

RATE, SIZE, SIGMA = 0.5, 1.5, 1.0


def two_classes():
    """A linear model of one feature at zero weights: gradients are along (-1, 1), as large as they can be."""
    model = nn.Sequential(nn.Linear(1, 2, bias=False)).double()
    nn.init.zeros_(model[0].weight)
    return model


def clip_free_mean():
    model, criterion = two_classes(), CrossEntropy(1.0, 0.0)
    optimizer = ClipFreeOptimizer(
        torch.optim.SGD(model.parameters(), lr=0.0),
        model,
        loss_constant=partial(loss_constant, criterion, 2),
        input_norm=1.0,
        expected_batch_size=SIZE,
        noise_multiplier=SIGMA,
        sampling_rate=RATE,
    )

    def mean(inputs, targets):
        optimizer.zero_grad()
        if len(inputs):
            optimizer.loss(criterion, model(inputs), targets).backward()
        return optimizer.gradients()["0.weight"]

    return mean, optimizer.blocks()[0].std


def clipped_mean():
    model = two_classes()
    optimizer = ClippedGradients(
        torch.optim.SGD(model.parameters(), lr=0.0),
        model,
        clip_norm=0.5**0.5,
        noise_multiplier=SIGMA,
        expected_batch_size=SIZE,
        sampling_rate=RATE,
    )
    return lambda *batch: optimizer.sum_gradients(*batch, given.losses)[1]["0.weight"] / SIZE, (
        optimizer.blocks()[0].std / SIZE
    )


def over_the_batch(mean):
    """The fault: divided by the size that was drawn."""
    return lambda inputs, targets: mean(inputs, targets) * SIZE / max(1, len(inputs))


def density(mean, std, inputs, targets, places):
    """Of what a step releases, along (-1, 1): a mixture over all Poisson samples."""
    found = np.zeros_like(places)
    for drawn in itertools.product((False, True), repeat=len(inputs)):
        gradient = mean(inputs[list(drawn)], targets[list(drawn)])
        along = float(gradient[1] - gradient[0]) / math.sqrt(2)
        assert abs(float(gradient.sum())) < 1e-12  # and nothing across
        chance = math.prod(RATE if each else 1 - RATE for each in drawn)
        found += chance * stats.norm.pdf(places, along, std)
    return found


def largest_delta(mean, std, epsilon):
    """Of (epsilon, delta)-indistinguishability of three examples and the first two, which add 0, by integration."""
    inputs, targets = torch.tensor([[0.0], [0.0], [1.0]], dtype=torch.float64), torch.tensor([0, 0, 0])
    places = np.linspace(-12 * std - 3, 12 * std + 3, 20_001)
    more, less = (density(mean, std, inputs[:count], targets[:count], places) for count in (3, 2))
    return max(
        float(np.maximum(one - math.exp(epsilon) * other, 0).sum() * (places[1] - places[0]))
        for one, other in ((more, less), (less, more))
    )


@pytest.mark.parametrize("make", [clip_free_mean, clipped_mean])
def test_an_example_more_at_the_same_rate_and_size_is_as_private_as_a_step_claims(make):
    three, two = (PoissonLoader([torch.zeros(count)], RATE * count, 1) for count in (3, 2))
    assert three.sampling_rate == two.sampling_rate == RATE
    transcript = Transcript()
    transcript.record(RATE, [SIGMA])
    mean, std = make()
    for delta in (1e-2, 1e-4):
        assert 0.98 * delta < largest_delta(mean, std, epsilon(transcript, delta)) < 1.0001 * delta
    assert largest_delta(over_the_batch(mean), std, epsilon(transcript, 1e-4)) > 3e-4
