"""Attacks on sets find the worst input of a linear score, with its gradient or without."""

import pytest
import torch
from torch import nn

from orthobench.conformal.attacks import attack

RADIUS, STEEPNESS = 0.1, 3.0
OPTIONS = {"passes": 1, "sigma": None, "steps": 40, "restarts": 1, "samples": 8, "seed": 0}


def problem(count=6, features=4):
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(features, 2, bias=False)).requires_grad_(False).eval()
    direction = torch.randn(features, generator=generator)
    model[1].weight.copy_(torch.stack([direction, -direction]) * STEEPNESS / (2 * direction.norm()))
    inputs = 0.4 + 0.2 * torch.rand(count, features, generator=generator)  # the box is out of reach
    return model, inputs, torch.arange(count) % 2


def score_of(model, calls, honest=True):
    """Return the margin of a class as a stand would: with its gradient, or one that is hidden."""

    def ask(inputs, classes, seed, slope):
        calls.append(len(inputs))
        logits = model(inputs)
        scores = (logits.gather(1, classes[:, None]) - logits.gather(1, 1 - classes[:, None])).squeeze(1).double()
        weights = model[1].weight[classes] - model[1].weight[1 - classes]
        return scores, (weights if honest else torch.zeros_like(inputs)) if slope else None

    return ask


@pytest.mark.parametrize("honest", [True, False])
def test_the_worst_input_of_a_linear_score_is_found(honest):
    model, inputs, labels = problem()
    ask = score_of(model, [], honest)
    (own, margin, random), agreement = attack(ask, model, inputs, labels, RADIUS, **OPTIONS)
    before = ask(inputs, labels, 0, False)[0]
    for found, share in ((own, 0.99 if honest else 0.8), (margin, 0.99), (random, -1.0)):
        assert ((found - inputs).norm(dim=1) <= RADIUS * (1 + 1e-5)).all()
        assert found.min() >= 0
        assert found.max() <= 1
        lost = before - ask(found, labels, 0, False)[0]
        assert (lost >= share * RADIUS * STEEPNESS).all()
    assert agreement == (1.0 if honest else 0.0)


def test_a_costly_score_is_searched_in_fewer_steps():
    model, inputs, labels = problem()
    few, many = [], []
    for calls, passes in ((many, 1), (few, 64)):
        attack(score_of(model, calls), model, inputs, labels, RADIUS, **OPTIONS | {"passes": passes})
    assert sum(few) < sum(many) / 2
