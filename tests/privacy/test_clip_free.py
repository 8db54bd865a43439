"""Steps without clipping: their noise, their bounds, and what a resumed run goes on from."""

import copy
import math
from functools import partial

import pytest
import torch
from privacy_oracles import gradient_norms, unit_rows
from torch import nn

from orthobench.lipschitz.losses import CrossEntropy
from orthobench.privacy.allocation import ALLOCATIONS
from orthobench.privacy.clip_free import ClipFreeOptimizer
from orthobench.privacy.layers import NormBoundedBias
from orthobench.privacy.losses import loss_constant
from orthobench.privacy.networks import private_convnet, private_mlp
from orthobench.privacy.projection import PROJECTIONS, ProbabilisticProjection
from orthobench.privacy.sensitivity import SLACK, gradient_bounds
from orthobench.privacy.transcript import Transcript

CRITERION = CrossEntropy(0.1, 0.0)
BATCH = 20


def made(model, inner=torch.optim.SGD, lr=0.2, inner_options=None, **options):
    """An optimizer of a model, with what tests have in common."""
    defaults = {
        "loss_constant": partial(loss_constant, CRITERION, 10),
        "input_norm": 1.0,
        "expected_batch_size": BATCH,
        "noise_multiplier": 1.5,
        "sampling_rate": 0.1,
        "generator": torch.Generator().manual_seed(7),
    }
    optimizer = inner(model.parameters(), lr=lr, **(inner_options or {}))
    return ClipFreeOptimizer(optimizer, model, **defaults | options)


def batch(count=BATCH, features=64, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    inputs = unit_rows(count, features, seed=seed, dtype=dtype) if count else torch.zeros(0, features, dtype=dtype)
    return inputs, torch.randint(10, (count,), generator=generator)


def take(optimizer, model, count=BATCH, features=64, seed=0):
    inputs, targets = batch(count, features, seed, next(model.parameters()).dtype)
    optimizer.zero_grad()
    optimizer.loss(CRITERION, model(inputs), targets).backward()
    optimizer.step()


def svd_norms(model):
    found = {}
    for name, parameter in model.named_parameters():
        value = parameter.detach().double()
        found[name] = float(value.norm() if value.ndim == 1 else torch.linalg.matrix_norm(value.flatten(1), 2))
    return found


@pytest.mark.parametrize("allocation", ALLOCATIONS)
def test_on_zero_gradients_the_noise_has_the_stated_variance(allocation):
    model = private_mlp(0, features=400, widths=(200, 400), outputs=200, zero_last=False)
    optimizer = made(model, lr=0.0, allocation=allocation)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    bounds, total = optimizer.bounds, math.hypot(*optimizer.bounds.values())
    weights = {name: bound * each.numel() ** 0.5 for (name, bound), each in zip(
        bounds.items(), [dict(model.named_parameters())[name] for name in bounds], strict=True
    )}  # fmt: skip
    for name, parameter in model.named_parameters():
        assert parameter.numel() >= 80_000
        variance = {
            "global": (1.5 * total) ** 2,
            "per_layer": (1.5 * bounds[name]) ** 2 * 3,
            "optimal": 1.5**2 * bounds[name] / parameter.numel() ** 0.5 * sum(weights.values()),
        }[allocation]
        assert float(parameter.grad.double().square().mean()) == pytest.approx(variance, rel=0.02)
        assert optimizer.stds[name] ** 2 == pytest.approx(variance, rel=1e-9)
        assert abs(float(parameter.grad.double().mean())) < 5 * (variance / parameter.numel()) ** 0.5


def test_noise_is_fresh_in_each_step_and_for_each_parameter():
    model = private_mlp(0, features=8, widths=(8,), outputs=8, zero_last=False)
    optimizer, seen = made(model, lr=0.0), []
    for _ in range(3):
        optimizer.zero_grad()
        optimizer.step()  # parameters without gradient get noise too
        seen += [(parameter.grad / parameter.grad.std()).flatten() for parameter in model.parameters()]
    correlations = torch.corrcoef(torch.stack(seen)) - torch.eye(len(seen))
    assert correlations.abs().max() < 0.6


@pytest.mark.parametrize("projection", PROJECTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_norms_are_bounds_all_along_a_training(projection, dtype):
    model = private_mlp(0, widths=(80,)).to(dtype)
    optimizer = made(model, projection=projection, lr=0.5)
    for step in range(8):
        take(optimizer, model, seed=step)
        for name, norm in svd_norms(model).items():
            assert norm <= optimizer.norms[name] * (1 + SLACK[dtype])
            assert optimizer.norms[name] <= 1
    assert optimizer.transcript.steps == 8


@pytest.mark.parametrize("projection", PROJECTIONS)
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_between_projections_the_bounds_follow_the_norms(projection, decay):
    model = private_mlp(0, widths=(80,)).double()
    optimizer = made(model, projection=projection, project_every=3, inner_options={"weight_decay": decay})
    grew = False
    for step in range(7):
        take(optimizer, model, seed=step)
        norms = svd_norms(model)
        for name, norm in norms.items():
            assert norm <= optimizer.norms[name] * (1 + 1e-12)
        assert (max(optimizer.norms.values()) <= 1) or (step + 1) % 3
        grew |= max(norms.values()) > 1
        assert optimizer.current_bounds() == pytest.approx(
            gradient_bounds(model, 1.0, partial(loss_constant, CRITERION, 10), BATCH, norms=optimizer.norms)
        )
    assert grew  # else nothing was tested
    assert optimizer.transcript.events == ((0.1, 1.5, 7),)


def test_seldom_projections_cost_noise():
    stds = {}
    for every in (1, 3):
        model = private_mlp(0, widths=(80,), zero_last=False)
        optimizer = made(model, project_every=every)
        for step in range(3):
            take(optimizer, model, seed=step)
        stds[every] = optimizer.stds["1.weight"]
    assert stds[3] > stds[1]


@pytest.mark.parametrize(
    ("inner", "options"),
    [(torch.optim.SGD, {"momentum": 0.9}), (torch.optim.Adam, {}), (torch.optim.AdamW, {"weight_decay": 0.1})],
)
def test_any_optimizer_can_be_inside_if_each_step_projects(inner, options):
    model = private_mlp(0, widths=(20,))
    optimizer = made(model, inner, lr=0.05, inner_options=options)
    for step in range(5):
        take(optimizer, model, seed=step)
        for name, norm in svd_norms(model).items():
            assert norm <= optimizer.norms[name] * (1 + 1e-5) <= 1 + 1e-5
    with pytest.raises(ValueError, match=f"without momentum.*{inner.__name__}"):
        made(private_mlp(0), inner, inner_options=options, project_every=2)


def test_no_examples_share_is_above_the_bound_of_any_step():
    model = private_mlp(0, features=16, widths=(16,), zero_last=False)
    optimizer = made(model, noise_multiplier=0.3, loss_gradient_clip=0.3)
    for step in range(6):
        inputs, targets = batch(12, 16, step)
        losses = lambda o, i, y=targets: optimizer.loss(CRITERION, o, y[i : i + 1])  # noqa: E731
        norms = gradient_norms(model, losses, inputs, 1)
        for name, bound in optimizer.current_bounds().items():
            assert norms[name].max() <= bound
            assert norms[name].max() > 0.2 * bound
        take(optimizer, model, 12, 16, step)


def test_the_mean_is_over_the_expected_size():
    model = nn.Sequential(nn.Linear(64, 10, bias=False)).double()
    gradients = []
    for count in (5, 40):
        optimizer = made(model, loss_gradient_clip=0.2)
        inputs, targets = batch(count, dtype=torch.float64)
        optimizer.zero_grad()
        optimizer.loss(CRITERION, model(inputs), targets).backward()
        expected = torch.zeros_like(model[0].weight)
        for x, y in zip(inputs.split(1), targets.split(1), strict=True):
            (each,) = torch.autograd.grad(CRITERION(model(x), y), model[0].weight)
            expected += each * min(1, 0.2 / float(each.norm())) / BATCH
        assert torch.allclose(model[0].weight.grad, expected, rtol=1e-12, atol=1e-15)
        gradients.append(expected)


@pytest.mark.parametrize("count", [0, 1])
def test_empty_and_size_one_batches_are_steps_like_any_other(count):
    for model, shape in ((private_mlp(0), (64,)), (private_convnet(0), (1, 8, 8))):
        optimizer = made(model, input_shape=shape)
        before = copy.deepcopy(model.state_dict())
        inputs, targets = batch(count)
        optimizer.loss(CRITERION, model(inputs.view(count, *shape)), targets).backward()
        optimizer.step()
        assert optimizer.transcript.events == ((0.1, 1.5, 1),)
        head = list(before)[-1]
        assert not torch.equal(model.state_dict()[head], before[head])
        assert all(value.isfinite().all() for value in model.state_dict().values())


@pytest.mark.parametrize("projection", PROJECTIONS)
@pytest.mark.parametrize("every", [1, 3])
def test_a_resumed_run_is_the_run(projection, every):
    options = {"projection": projection, "project_every": every, "allocation": "optimal"}
    model = private_mlp(0, widths=(80,))
    optimizer = made(model, **options)
    for step in range(4):
        take(optimizer, model, seed=step)
    saved = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    for step in range(4, 7):
        take(optimizer, model, seed=step)
    again = private_mlp(1, widths=(80,))
    resumed = made(again, generator=torch.Generator().manual_seed(99), **options)
    again.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    for step in range(4, 7):
        take(resumed, again, seed=step)
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)
    assert resumed.transcript == optimizer.transcript
    assert resumed.transcript.steps == 7
    assert resumed.norms == optimizer.norms


def test_a_copy_goes_on_like_the_original_and_leaves_it_alone():
    model = private_mlp(0, widths=(80,))
    optimizer = made(model, torch.optim.SGD, inner_options={"momentum": 0.9})
    take(optimizer, model)
    other, twin = copy.deepcopy((optimizer, model))
    take(other, twin, seed=1)
    assert (optimizer.transcript.steps, other.transcript.steps) == (1, 2)
    take(optimizer, model, seed=1)
    for first, second in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(first, second)


def test_learning_rate_schedules_reach_the_inner_optimizer():
    model = private_mlp(0)
    optimizer = made(model, lr=0.4)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    take(optimizer, model)
    schedule.step()
    assert optimizer.inner.param_groups[0]["lr"] == 0.2
    optimizer.load_state_dict(optimizer.state_dict())
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.0)
    before = copy.deepcopy(model.state_dict())
    take(optimizer, model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_weights_that_something_else_changed_are_measured_again():
    model = private_mlp(0, widths=(80,), zero_last=False)
    optimizer = made(model)
    before = optimizer.current_bounds()
    with torch.no_grad():
        model[3].weight.mul_(5)
    after = optimizer.current_bounds()
    assert after["1.weight"] == pytest.approx(5 * before["1.weight"], rel=0.05)
    assert optimizer.norms["3.weight"] >= svd_norms(model)["3.weight"] * (1 - 1e-6)


def test_failure_probabilities_of_random_estimates_are_summed():
    model = private_mlp(0, widths=(80,))
    optimizer = made(model, projection=ProbabilisticProjection(1e-9, torch.Generator().manual_seed(0)))
    assert optimizer.transcript.extra_delta == pytest.approx(2e-9)  # of the two weights at first
    for step in range(3):
        take(optimizer, model, seed=step)
    assert optimizer.transcript.extra_delta == pytest.approx(8e-9)
    for other in ("svd", "gelfand", "cholesky"):
        model = private_mlp(0)
        optimizer = made(model, projection=other)
        take(optimizer, model)
        assert optimizer.transcript.extra_delta == 0


def test_biases_are_held_to_their_norm():
    model = nn.Sequential(nn.Linear(64, 10, bias=False), NormBoundedBias(10, 0.05))
    optimizer = made(model, input_shape=(64,), lr=5.0)
    for step in range(3):
        take(optimizer, model, seed=step)
        assert float(model[1].bias.detach().norm()) <= optimizer.norms["1.bias"] * (1 + 1e-6) <= 0.05 * (1 + 1e-6)


def test_weights_that_are_not_contiguous_are_projected():
    model = private_convnet(0, channels=4).to(memory_format=torch.channels_last)
    optimizer = made(model, lr=5.0)
    optimizer.step()
    assert not model[3].weight.is_contiguous()
    for name, norm in svd_norms(model).items():
        assert norm <= 1 + 1e-5, name


def test_without_a_last_layer_the_first_gets_no_noise():
    model = private_mlp(0, widths=(20,))
    optimizer = made(model, allocation="optimal")
    optimizer.step()
    assert optimizer.bounds["1.weight"] == optimizer.stds["1.weight"] == 0
    optimizer.step()
    assert optimizer.stds["1.weight"] > 0


def test_a_transcript_is_shared_with_whoever_gives_it():
    transcript = Transcript()
    model = private_mlp(0)
    optimizer = made(model, transcript=transcript)
    take(optimizer, model)
    assert transcript.events == ((0.1, 1.5, 1),)


def test_noise_differs_from_run_to_run_unless_a_generator_is_given():
    weights = []
    for _ in range(2):
        model = private_mlp(0)
        optimizer = made(model, generator=None)
        optimizer.step()
        weights.append(model[-1].weight.detach().clone())
    assert not torch.equal(*weights)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"noise_multiplier": 0.0}, ValueError, "noise_multiplier is 0.0: give a number > 0"),
        ({"noise_multiplier": -1.0}, ValueError, "noise_multiplier is -1.0"),
        ({"sampling_rate": 0.0}, ValueError, "sampling rate of 0.0"),
        ({"sampling_rate": 1.5}, ValueError, "sampling rate of 1.5"),
        ({"expected_batch_size": 0}, ValueError, "expected_batch_size is 0"),
        ({"input_norm": math.inf}, ValueError, "ClipInput"),
        ({"allocation": "equal"}, ValueError, "'equal'.*per_layer"),
        ({"projection": "power"}, ValueError, "'power'.*gelfand"),
        ({"project_every": 0}, ValueError, "project_every is 0"),
        ({"generator": 3}, TypeError, "generator is a int"),
    ],
)
def test_bad_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        made(private_mlp(0), **options)


def test_a_network_with_batch_normalisation_is_refused():
    with pytest.raises(ValueError, match=r"'1' \(BatchNorm1d\).*Centring"):
        made(nn.Sequential(nn.Linear(64, 10, bias=False), nn.BatchNorm1d(10)))


def test_an_optimizer_whose_step_looks_at_the_data_again_is_refused():
    with pytest.raises(ValueError, match="a step of LBFGS computes the loss again"):
        made(private_mlp(0), torch.optim.LBFGS)


def test_the_optimizer_must_hold_what_the_model_trains():
    model = private_mlp(0, widths=(20,))
    options = {"loss_constant": 1.0, "input_norm": 1.0, "expected_batch_size": 1, "noise_multiplier": 1.0}
    options["sampling_rate"] = 0.5
    for parameters in ([model[1].weight], [*model.parameters(), nn.Parameter(torch.ones(1))]):
        with pytest.raises(ValueError, match="all that are trained and no others"):
            ClipFreeOptimizer(torch.optim.SGD(parameters, lr=1.0), model, **options)
    optimizer = ClipFreeOptimizer(torch.optim.SGD(model.parameters(), lr=1.0), model, **options)
    with pytest.raises(ValueError, match="make a new optimizer"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))]})
    with pytest.raises(ValueError, match="closure"):
        optimizer.step(lambda: 0.0)


def test_a_training_that_diverges_says_so():
    model = private_mlp(0)
    optimizer = made(model)
    model[-1].weight.grad = torch.full_like(model[-1].weight, math.nan)
    with pytest.raises(ValueError, match="diverged"):
        optimizer.step()
