"""Clipped gradients are those of a loop over examples, by hooks and by ghost norms; batches, resuming, errors."""

import copy
import math
import pickle

import mechanisms as given
import pytest
import torch
from torch import nn

from orthobench.privacy.clipping import COUNT, STABILITY, THRESHOLD_RATE, WAYS, ClippedGradients
from orthobench.privacy.losses import private_loss
from orthobench.privacy.release import add_noise, draw_noise
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
    found, optimizer = stepped(way, *given.examples(0), noise_multiplier=2.0, rate=1e-3)
    drawn = torch.cat([each.flatten() for each in found])
    assert float(drawn.std()) == pytest.approx(optimizer.blocks()[0].noise_multiplier * given.CLIP / 16, rel=0.25)
    assert optimizer.transcript.steps == 1


def test_the_transcript_has_all_mechanisms_of_a_step():
    for way in ("hooks", "ghost", "adaptive", "automatic"):
        transcript = Transcript()
        optimizer = private(given.network(), way, noise_multiplier=1.5, transcript=transcript)
        for _ in range(3):
            optimizer.step(*given.examples(4), given.losses)
        assert transcript.events == ((0.1, 1.5, 3),)
        # The count of adaptive clipping costs its share: the gradient gets more noise.
        block, *others = optimizer.blocks()
        assert [each.names for each in others] == ([(COUNT,)] if way == "adaptive" else [])
        assert (block.noise_multiplier > 1.5 * (1 + 1e-9)) == (way == "adaptive")


@pytest.mark.parametrize("way", ["hooks", "ghost"])
def test_a_step_is_that_of_opacus_own_optimizer_to_the_last_bit(way):
    """Its gradients, sums, scaling and step, and the noise that it would draw itself."""
    from opacus import GradSampleModule
    from opacus.optimizers import DPOptimizer

    results = []
    for own in (True, False):
        model, generator = given.network(), torch.Generator().manual_seed(3)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        settings = {"noise_multiplier": 1.5, "max_grad_norm": given.CLIP, "expected_batch_size": given.SIZE}
        if own:
            whole = ClippedGradients(
                optimizer, model, way=way, generator=generator, **SETTINGS | {"noise_multiplier": 1.5}
            )
        else:
            wrapped = GradSampleModule(model, loss_reduction="sum")
            inner = DPOptimizer(optimizer, generator=generator, loss_reduction="mean", **settings)
        for seed in range(5):
            inputs, targets = given.examples(6, seed=seed)
            if own:
                whole.step(inputs, targets, given.losses)
            else:
                inner.zero_grad()
                given.losses(wrapped(inputs), targets).sum().backward()
                inner.step()
        results.append([each.detach() for each in model.parameters()])
    if way == "hooks":
        assert all(map(torch.equal, *results))
    else:  # which sums in another order
        assert all(torch.allclose(*each, atol=1e-4) for each in zip(*results, strict=True))


@pytest.mark.parametrize("way", ["hooks", "ghost", "adaptive", "automatic"])
def test_sums_of_one_process_and_steps_of_another_are_those_of_one(way):
    optimizers = []
    for _ in range(3):
        model = given.network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
        options = SETTINGS | {"noise_multiplier": 1.0, "generator": torch.Generator().manual_seed(4)}
        optimizers.append(ClippedGradients(optimizer, model, way=way, **options))
    whole, summing, stepping = optimizers
    noise = torch.Generator().manual_seed(4)
    for seed in range(6):
        batch = given.examples(seed, seed=seed)
        whole.step(*batch, given.losses)
        summing.model.load_state_dict(stepping.model.state_dict())
        summing.clip_norm = stepping.clip_norm
        blocks = summing.blocks()
        _, sums = summing.sum_gradients(*batch, given.losses)
        stepping.apply(add_noise(sums, draw_noise(sums, blocks, noise)))
    assert all(map(torch.equal, whole.model.parameters(), stepping.model.parameters()))
    assert whole.clip_norm == stepping.clip_norm
    assert (whole.clip_norm != given.CLIP) == (way == "adaptive")


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


def weights_of(model):
    return torch.cat([each.detach().flatten() for each in model.parameters()])


@pytest.mark.parametrize("options", [{}, {"secure": True}], ids=["own", "secure"])
@pytest.mark.parametrize("together", ["alone", "before", "after"])
@pytest.mark.parametrize("way", WAYS)
def test_a_copy_goes_on_by_itself_as_the_original_does(way, together, options):
    model = given.network()
    settings = {"noise_multiplier": 1.0} | (options or {"generator": torch.Generator().manual_seed(3)})
    inner = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    optimizer = ClippedGradients(inner, model, way=way, **SETTINGS | settings)
    batches = [given.examples(step % 5, seed=step) for step in range(8)]
    for batch in batches[:4]:
        optimizer.step(*batch, given.losses)
    if together == "alone":
        other = copy.deepcopy(optimizer)
    elif together == "before":
        twin, other = copy.deepcopy((model, optimizer))
        assert other.model is twin
    else:
        other, twin = copy.deepcopy((optimizer, model))
        assert other.model is twin
    assert torch.equal(weights_of(model), weights_of(other.model))
    assert other.state_dict()["clip_norm"] == optimizer.clip_norm
    assert other.transcript == optimizer.transcript
    before = weights_of(model)
    for batch in batches[4:]:
        other.step(*batch, given.losses)
    assert torch.equal(weights_of(model), before)
    assert optimizer.transcript.steps == 4
    for batch in batches[4:]:
        optimizer.step(*batch, given.losses)
    assert not torch.equal(weights_of(model), before)
    assert torch.equal(weights_of(model), weights_of(other.model)) == (not options)
    assert other.transcript == optimizer.transcript


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_of_the_model_is_a_plain_one(way):
    model = given.network()
    plain, optimizer = copy.deepcopy(model), private(model, way, 0.1)
    twin = copy.deepcopy(model)
    inputs, targets = given.examples(4)
    for each in (plain, twin):
        given.losses(each(inputs), targets).sum().backward()
    for one, other in zip(plain.parameters(), twin.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)
        assert not {"grad_sample", "_norm_sample"} & {name for name in vars(other) if getattr(other, name) is not None}
    optimizer.step(inputs, targets, given.losses)
    private(twin, way, 0.1).step(inputs, targets, given.losses)
    assert torch.allclose(weights_of(model), weights_of(twin), rtol=0, atol=1e-7)
    with pytest.raises(ValueError, match="has a backward hook"):
        private(model, way)  # that one is watched


def test_a_copy_of_a_released_one_is_released():
    model = given.network()
    optimizer = private(model, "hooks")
    optimizer.release()
    other = copy.deepcopy(optimizer)
    assert not any(module._forward_hooks or module._backward_hooks for module in other.model.modules())


@pytest.mark.parametrize("take", [pickle.dumps, copy.copy])
@pytest.mark.parametrize("way", WAYS)
def test_what_has_hooks_is_not_pickled_and_says_what_to_do(way, take):
    model = given.network()
    optimizer = private(model, way)
    with pytest.raises(TypeError, match=r"save the state_dict\(\) of both, or take copy.deepcopy"):
        take(optimizer)
    with pytest.raises(TypeError, match=r"save its state_dict\(\), or call `release\(\)`"):
        pickle.dumps(model)
    optimizer.release()
    again = pickle.loads(pickle.dumps(model))  # noqa: S301 - our own bytes
    assert torch.equal(weights_of(again), weights_of(model))


def test_the_model_is_a_plain_one_after_release():
    model = given.network()
    optimizer = private(model, "hooks")
    optimizer.step(*given.examples(3), given.losses)
    optimizer.release()
    optimizer = private(model, "ghost")
    optimizer.step(*given.examples(3), given.losses)
    assert all(torch.isfinite(each).all() for each in model.parameters())


@pytest.mark.parametrize("options", [{}, {"secure": True}], ids=["own", "secure"])
@pytest.mark.parametrize("way", ["hooks", "ghost", "adaptive", "automatic"])
def test_noise_differs_after_equal_seeds_unless_a_generator_is_given(way, options):
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        moved, _ = stepped(way, *given.examples(0), noise_multiplier=1.0, **options)
        found.append(torch.cat([each.flatten() for each in moved]))
    assert not torch.equal(*found)
    assert float(torch.corrcoef(torch.stack(found))[0, 1].abs()) < 6 / found[0].numel() ** 0.5


def test_secure_noise_has_the_standard_deviation_of_the_block_and_a_state_without_generator():
    found, optimizer = stepped("ghost", *given.examples(0), noise_multiplier=2.0, rate=1e-3, secure=True)
    drawn = torch.cat([each.flatten() for each in found])
    assert float(drawn.std()) == pytest.approx(2.0 * given.CLIP / 16, rel=0.25)
    state = optimizer.state_dict()
    assert state["generator"] is None
    again = private(given.network(), "ghost", noise_multiplier=2.0, secure=True)
    again.load_state_dict(state)
    assert again.transcript == optimizer.transcript


@pytest.mark.parametrize("way", ["hooks", "ghost", "adaptive", "automatic"])
def test_an_optimizer_that_comes_to_train_more_than_gets_noise_is_refused(way):
    model = given.network()
    model[0].weight.requires_grad_(False)
    optimizer = torch.optim.SGD([each for each in model.parameters() if each.requires_grad], lr=0.1)
    whole = ClippedGradients(optimizer, model, way=way, **SETTINGS)
    whole.step(*given.examples(4), given.losses)
    optimizer.add_param_group({"params": [model[0].weight]})
    whole.step(*given.examples(4), given.losses)  # it is frozen
    model[0].weight.requires_grad_(True)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match="the optimizer trains other parameters than before"):
        whole.step(*given.examples(4), given.losses)
    assert whole.transcript.steps == 2
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())


def test_an_optimizer_must_train_what_the_model_trains():
    model = given.network()
    with pytest.raises(ValueError, match=r"of which it lacks 2\.weight, 2\.bias"):
        ClippedGradients(torch.optim.SGD(model[0].parameters(), lr=0.1), model, **SETTINGS)
    own = [*model.parameters(), nn.Parameter(torch.ones(1))]
    with pytest.raises(ValueError, match="trains 5 parameters, the model trains 4"):
        ClippedGradients(torch.optim.SGD(own, lr=0.1), model, **SETTINGS)
    with pytest.raises(ValueError, match="no parameter to train"):
        ClippedGradients(torch.optim.SGD(model.parameters(), lr=0.1), model.requires_grad_(False), **SETTINGS)


@pytest.mark.parametrize("way", ["hooks", "ghost", "adaptive", "automatic"])
def test_an_optimizer_whose_step_looks_at_the_data_again_is_refused(way):
    model = given.network()
    with pytest.raises(ValueError, match=r"a step of LBFGS computes the loss again.*such as SGD or Adam"):
        ClippedGradients(torch.optim.LBFGS(model.parameters()), model, way=way, **SETTINGS)


@pytest.mark.parametrize("way", ["hooks", "ghost", "adaptive", "automatic"])
def test_a_clip_norm_that_is_set_is_the_one_that_holds(way):
    optimizer = private(given.network(), way)
    optimizer.clip_norm = given.CLIP / 10
    _, sums = optimizer.sum_gradients(*given.examples(1), given.losses)
    sums.pop(COUNT, None)
    assert torch.stack([each.norm() for each in sums.values()]).norm() <= optimizer.blocks()[0].bound * (1 + 1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise_multiplier": -1.0}, "noise_multiplier is -1.0: give a number > 0"),
        ({"noise_multiplier": 0}, "noise_multiplier is 0: give a number > 0"),
        ({"clip_norm": 0.0}, "clip_norm is 0.0: give a number > 0"),
        ({"clip_norm": math.inf}, "clip_norm is inf: give a number > 0"),
        ({"expected_batch_size": 0}, "expected_batch_size is 0: give a number > 0"),
        ({"clip_norm": [1.0, 1.0]}, r"clip_norm is \[1.0, 1.0\]: give a number > 0"),
        ({"sampling_rate": 0}, "a sampling rate of 0"),
        ({"secure": True, "generator": torch.Generator()}, "secure=True takes no generator"),
        ({"generator": 3}, "generator is a int: give a torch.Generator on cpu, or None"),
        ({"way": "automatically"}, "way='automatically': give one of hooks, ghost, adaptive, automatic"),
    ],
)
def test_arguments_out_of_their_range_are_refused(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        private(given.network(), **{"way": "ghost", **options})


@pytest.mark.parametrize("value", [math.nan, math.inf, 3e38])
@pytest.mark.parametrize("way", ["hooks", "ghost", "adaptive", "automatic"])
def test_an_example_whose_gradient_is_not_finite_adds_zero_and_nothing_tells_of_it(way, value):
    inputs, targets = given.examples(9)
    inputs[[2, 5]] *= value  # of 3e38, what the layers make of it is infinite
    kept = [0, 1, 3, 4, 6, 7, 8]
    model = given.network()
    with torch.no_grad():
        model[0].weight *= 1e3
    optimizer = private(model, way, rate=1.0)
    _, expected = optimizer.sum_gradients(inputs[kept], targets[kept], given.losses)
    total, found = optimizer.sum_gradients(inputs, targets, given.losses)
    assert total.isfinite()
    for name, each in found.items():
        assert torch.allclose(each, expected[name], rtol=1e-5, atol=1e-7)
    _, nothing = optimizer.sum_gradients(inputs[2:3], targets[2:3], given.losses)
    assert not any(each.any() for each in nothing.values())
    optimizer.step(inputs, targets, given.losses)
    assert optimizer.transcript.steps == 1
    assert all(each.isfinite().all() for each in optimizer.model.parameters())


@pytest.mark.parametrize("way", ["hooks", "ghost", "adaptive", "automatic"])
def test_hooks_of_others_and_another_network_are_refused(way):
    hooks = (
        ("a forward hook", lambda model: model[2].register_forward_hook(lambda *given: 100 * given[-1])),
        ("a hook on the gradient of 'weight'", lambda model: model[0].weight.register_hook(lambda each: 100 * each)),
        ("a hook after the gradient of 'bias'", lambda model: model[0].bias.register_post_accumulate_grad_hook(print)),
    )
    for kind, register in hooks:
        model = given.network()
        optimizer = private(model, way)
        handle = register(model)
        for inputs, targets in (given.examples(0), given.examples(3)):
            with pytest.raises(ValueError, match=f"{kind}.* that it hadn't before"):
                optimizer.step(inputs, targets, given.losses)
        handle.remove()
        optimizer.step(*given.examples(3), given.losses)
        assert optimizer.transcript.steps == 1
        optimizer.release()
        register(model)
        with pytest.raises(ValueError, match=rf"layer '[02]' \(Linear\) has {kind}"):
            private(model, way)
    model = given.network()
    optimizer = private(model, way)
    model[2] = nn.Linear(8, given.CLASSES)
    with pytest.raises(ValueError, match="other parameters or layers than before"):
        optimizer.step(*given.examples(3), given.losses)
    model = given.network()
    optimizer = private(model, way)
    optimizer.release()
    with pytest.raises(ValueError, match="has lost"):
        optimizer.step(*given.examples(3), given.losses)
