"""Clipped gradients are those of a loop over examples, by hooks and by ghost norms; batches, resuming, errors."""

import copy
import math

import mechanisms as given
import pytest
import torch
from torch import nn

from orthobench.privacy.clipping import STABILITY, THRESHOLD_RATE, ClippedGradients
from orthobench.privacy.losses import private_loss
from orthobench.privacy.mechanism_tests import Probe
from orthobench.privacy.transcript import Transcript

SETTINGS = {
    "clip_norm": given.CLIP,
    "noise_multiplier": 1e-9,
    "expected_batch_size": given.SIZE,
    "sampling_rate": 0.1,
}


def private(model, way, rate=0.0, **options):
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    return ClippedGradients(optimizer, model, way=way, **SETTINGS | options)


def oracle(model, inputs, targets, factor):
    """The mean of the examples' gradients, each by a factor of its norm, computed one at a time."""
    total = [torch.zeros_like(each) for each in model.parameters()]
    for index in range(len(inputs)):
        model.zero_grad()
        given.losses(model(inputs[index : index + 1]), targets[index : index + 1]).sum().backward()
        gradient = [each.grad.clone() for each in model.parameters()]
        norm = math.sqrt(sum(float(each.square().sum()) for each in gradient))
        total = [own + factor(norm) * each for own, each in zip(total, gradient, strict=True)]
    model.zero_grad()
    return [each / given.SIZE for each in total]


def stepped(way, inputs, targets, model=None, rate=1.0, **options):
    """How far one step at a rate of 1 moves the weights back: the private gradient."""
    model = given.network() if model is None else copy.deepcopy(model)
    before = [each.detach().clone() for each in model.parameters()]
    optimizer = private(model, way, rate, **options)
    optimizer.step(inputs, targets, given.losses)
    return [(old - new.detach()) / rate for old, new in zip(before, model.parameters(), strict=True)], optimizer


@pytest.mark.parametrize("count", [0, 1, 5, 40])
@pytest.mark.parametrize("way", ["hooks", "ghost", "adaptive", "automatic"])
def test_the_private_gradient_is_that_of_a_loop_over_the_examples(way, count):
    inputs, targets = given.examples(count)
    found, _ = stepped(way, inputs, targets)

    def clip(norm):
        return given.CLIP / (norm + STABILITY) if way == "automatic" else min(1.0, given.CLIP / norm)

    for one, expected in zip(found, oracle(given.network(), inputs, targets, clip), strict=True):
        assert torch.allclose(one, expected, atol=2e-6)


@pytest.mark.parametrize("steps", [1, 20])
def test_hooks_and_ghost_agree_with_the_same_seed(steps):
    results = []
    for way in ("hooks", "ghost"):
        model, generator = given.network(), torch.Generator().manual_seed(3)
        optimizer = private(model, way, 0.5, noise_multiplier=1.0, generator=generator)
        for step in range(steps):
            optimizer.step(*given.examples(step % 7, seed=step), given.losses)
        results.append(torch.cat([each.detach().flatten() for each in model.parameters()]))
    assert torch.allclose(*results, atol=1e-5)


def test_on_one_linear_layer_clipping_the_loss_gradient_is_clipping_the_gradient():
    """Of unit inputs, without a bias, the gradient of an example has the norm of that of its loss."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(given.FEATURES, given.CLASSES, bias=False)).double()
    inputs, targets = given.examples(30, dtype=torch.float64)
    by_example = oracle(model, inputs, targets, lambda norm: min(1.0, given.CLIP / norm))
    from orthobench.lipschitz.losses import CrossEntropy

    criterion = CrossEntropy(temperature=1.0, margin=0.0)
    private_loss(criterion, model(inputs), targets, given.SIZE, given.CLIP).backward()
    assert torch.allclose(model[0].weight.grad, by_example[0], rtol=0, atol=1e-12)
    model.zero_grad()
    for way in ("hooks", "ghost"):
        (found,), _ = stepped(way, inputs, targets, model=model, noise_multiplier=1e-14)
        assert torch.allclose(found, by_example[0], rtol=0, atol=1e-6 / given.CLIP)


@pytest.mark.parametrize("way", ["hooks", "ghost", "adaptive", "automatic"])
def test_an_empty_batch_is_a_step_of_noise(way):
    probe = Probe(lambda optimizer, generator: given.clipped(optimizer, generator, way))
    gradient, (block,) = probe.gradient(*given.examples(0), seed=1)
    drawn = torch.cat([each.flatten() for each in gradient.values()])
    assert float(drawn.std()) == pytest.approx(block.std, rel=0.25)
    assert probe.mechanism.transcript.steps == 1


def test_the_transcript_has_all_mechanisms_of_a_step():
    for way in ("hooks", "ghost", "adaptive", "automatic"):
        transcript = Transcript()
        optimizer = private(given.network(), way, noise_multiplier=1.5, transcript=transcript)
        for _ in range(3):
            optimizer.step(*given.examples(4), given.losses)
        ((rate, noise, steps),) = transcript.events
        assert (rate, steps) == (0.1, 3)
        # The count of adaptive clipping costs its share: the gradient gets more noise.
        assert noise == pytest.approx(1.5, rel=1e-12)
        (block,) = optimizer.blocks()
        assert (block.noise_multiplier > 1.5) == (way == "adaptive")


def test_the_adaptive_threshold_follows_the_noisy_share_over_the_expected_size():
    """Andrew et al. (2021), with b - 1/2: C <- C exp(-rate ((sum (b - 1/2) + noise) / B + 1/2 - quantile))."""
    inputs, targets = given.examples(6)
    generator = torch.Generator().manual_seed(5)
    _, optimizer = stepped("adaptive", inputs, targets, generator=generator, noise_multiplier=1e-3)
    norms = []
    model = given.network()
    for index in range(6):
        model.zero_grad()
        given.losses(model(inputs[index : index + 1]), targets[index : index + 1]).sum().backward()
        norms.append(math.sqrt(sum(float(each.grad.square().sum()) for each in model.parameters())))
    kept = sum(norm <= given.CLIP for norm in norms)
    replayed = torch.Generator().manual_seed(5)
    for each in model.parameters():
        torch.normal(0.0, 1.0, each.shape, generator=replayed)
    noise = float(torch.normal(0.0, 0.05 * given.SIZE, (), generator=replayed))
    share = (kept - 6 / 2 + noise) / given.SIZE + 1 / 2
    assert optimizer.clip_norm == pytest.approx(given.CLIP * math.exp(-THRESHOLD_RATE * (share - 0.5)), rel=1e-5)


@pytest.mark.parametrize("way", ["hooks", "ghost", "adaptive", "automatic"])
def test_a_resumed_run_goes_on_with_its_noise_its_threshold_and_its_accounting(way):
    def made(model, seed):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        generator = torch.Generator().manual_seed(seed)
        return ClippedGradients(optimizer, model, way=way, generator=generator, **SETTINGS | {"noise_multiplier": 1.0})

    batches = [given.examples(step % 5, seed=step) for step in range(8)]
    whole = given.network()
    run = made(whole, 0)
    for batch in batches:
        run.step(*batch, given.losses)
    first = given.network()
    broken = made(first, 0)
    for batch in batches[:4]:
        broken.step(*batch, given.losses)
    state, weights = copy.deepcopy(broken.state_dict()), copy.deepcopy(first.state_dict())
    second = given.network()
    second.load_state_dict(weights)
    resumed = made(second, 99)
    resumed.load_state_dict(state)
    for batch in batches[4:]:
        resumed.step(*batch, given.losses)
    assert all(map(torch.equal, whole.parameters(), second.parameters()))
    assert resumed.transcript == run.transcript
    assert resumed.transcript.steps == 8


def test_the_model_is_a_plain_one_after_release():
    model = given.network()
    optimizer = private(model, "hooks")
    optimizer.step(*given.examples(3), given.losses)
    optimizer.release()
    optimizer = private(model, "ghost")
    optimizer.step(*given.examples(3), given.losses)
    assert all(torch.isfinite(each).all() for each in model.parameters())


def test_layers_that_mix_examples_are_refused():
    model = nn.Sequential(nn.Linear(given.FEATURES, 4), nn.BatchNorm1d(4), nn.Linear(4, given.CLASSES))
    with pytest.raises(ValueError, match="1 is a BatchNorm1d, which mixes the examples"):
        private(model, "ghost")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise_multiplier": -1.0}, "noise_multiplier=-1.0: give a positive, finite number"),
        ({"noise_multiplier": 0}, "noise_multiplier=0: give a positive, finite number"),
        ({"clip_norm": 0.0}, "clip_norm=0.0: give a positive, finite number"),
        ({"clip_norm": math.inf}, "clip_norm=inf: give a positive, finite number"),
        ({"expected_batch_size": 0}, "expected_batch_size=0: give a positive, finite number"),
        ({"way": "automatically"}, "way='automatically': give one of hooks, ghost, adaptive, automatic"),
    ],
)
def test_arguments_out_of_their_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        private(given.network(), **{"way": "ghost", **options})
