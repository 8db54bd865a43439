"""Steps without clipping: their noise, their bounds, and what a resumed run goes on from."""

import copy
import math
import pickle
from functools import partial

import pytest
import torch
from privacy_oracles import gradient_norms, unit_rows
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from orthobench.lipschitz.bounds import upper_bound
from orthobench.lipschitz.losses import CrossEntropy
from orthobench.optim.activations import ActivationMoments
from orthobench.privacy.allocation import ALLOCATIONS
from orthobench.privacy.clip_free import ClipFreeOptimizer
from orthobench.privacy.inputs import InputClipping
from orthobench.privacy.layers import ClipInput, NormBoundedBias
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


@pytest.mark.parametrize("secure", [False, True])
def test_noise_differs_from_run_to_run_unless_a_generator_is_given(secure):
    weights = []
    for _ in range(2):
        torch.manual_seed(0)
        model = private_mlp(0)
        optimizer = made(model, generator=None, secure=secure)
        optimizer.step()
        noise, std = model[-1].weight.grad, optimizer.stds["3.weight"]
        assert float(noise.std()) == pytest.approx(std, rel=0.2)  # of 640 entries
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
        ({"secure": True}, ValueError, "secure=True takes no generator"),
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


# ----- a state, and the weights that it is loaded for -----


@pytest.mark.parametrize("projection", PROJECTIONS)
@pytest.mark.parametrize("weights_first", [True, False])
def test_a_state_that_the_weights_do_not_match_leaves_no_gradient_without_its_noise(projection, weights_first):
    """That of the start, at a last layer of zeros: nothing flows back, and the first layer would get no noise."""
    model = private_mlp(0, widths=(80,))
    optimizer = made(model, projection=projection)
    saved = copy.deepcopy(optimizer.state_dict())
    assert saved["norms"]["3.weight"] < 1e-100
    if not weights_first:
        optimizer.load_state_dict(saved)
    model.load_state_dict(private_mlp(1, widths=(80,), zero_last=False).state_dict())
    if weights_first:
        optimizer.load_state_dict(saved)
    expected = gradient_bounds(model, 1.0, partial(loss_constant, CRITERION, 10), BATCH)
    take(optimizer, model)
    noise = math.hypot(*expected.values()) * 1.5  # the oracle's norms are those of a decomposition in float64
    for name, std in optimizer.stds.items():
        assert optimizer.bounds[name] >= expected[name] * (1 - 1e-4)
        assert std >= noise * (1 - 1e-4)


def test_of_the_norms_of_a_state_and_of_the_weights_the_larger_count():
    model = private_mlp(0, widths=(80,), zero_last=False)
    optimizer = made(model)
    saved = optimizer.state_dict()
    exact = svd_norms(model)
    for factor in (0.1, 3.0):
        optimizer.load_state_dict(saved | {"norms": {name: factor * norm for name, norm in exact.items()}})
        assert optimizer.norms == pytest.approx({name: max(factor, 1.0) * norm for name, norm in exact.items()})
    with pytest.raises(ValueError, match="a state of other: the model has 1"):
        optimizer.load_state_dict(saved | {"norms": {"other": 1.0}})


def test_weights_in_the_place_of_others_are_measured():
    model = private_mlp(0, widths=(80,), zero_last=False)
    optimizer = made(model)
    before = optimizer.current_bounds()
    flat = nn.utils.parameters_to_vector(model.parameters())
    nn.utils.vector_to_parameters(5 * flat, model.parameters())  # writes through `.data`
    assert optimizer.current_bounds()["1.weight"] == pytest.approx(5 * before["1.weight"], rel=0.05)


# ----- what else can have a hand in a gradient -----


class Strange(nn.Linear):
    def forward(self, x):
        return 100 * super().forward(x)


def hundredfold(*arguments):
    return tuple(100 * each for each in arguments[-1]) if isinstance(arguments[-1], tuple) else 100 * arguments[-1]


def after(parameter):
    parameter.grad *= 100


MEDDLERS = {
    "forward pre-hook": lambda model: model[1].register_forward_pre_hook(hundredfold),
    "forward hook": lambda model: model[1].register_forward_hook(hundredfold),
    "backward pre-hook": lambda model: model[3].register_full_backward_pre_hook(hundredfold),
    "backward hook": lambda model: model[3].register_full_backward_hook(
        lambda module, inputs, outputs: tuple(100 * each for each in inputs)
    ),
    "hook on the gradient of 'weight'": lambda model: model[1].weight.register_hook(lambda gradient: 100 * gradient),
    "hook after the gradient of 'weight'": lambda model: model[1].weight.register_post_accumulate_grad_hook(after),
    "forward of its own": lambda model: setattr(model[1], "forward", Strange.forward.__get__(model[1], Strange)),
    "every module has a forward hook": lambda model: nn.modules.module.register_module_forward_hook(hundredfold),
}


@pytest.fixture
def meddle(request):
    handles = []
    yield lambda model: handles.append(MEDDLERS[request.param](model))
    for handle in filter(None, handles):
        handle.remove()


@pytest.mark.parametrize("meddle", MEDDLERS, indirect=True)
def test_hooks_and_replaced_forwards_are_refused_by_name(meddle, request):
    kind = request.node.callspec.params["meddle"]
    model = private_mlp(0, features=64, zero_last=False)
    meddle(model)
    where = "" if "every" in kind else r"layer '[13]' \(Linear\) has "
    with pytest.raises(ValueError, match=f"{where}.*{kind}.*of test_clip_free|{where}.*{kind}.*remove"):
        made(model)


@pytest.mark.parametrize("meddle", MEDDLERS, indirect=True)
def test_hooks_and_replaced_forwards_that_come_later_stop_the_next_step(meddle, request):
    kind = request.node.callspec.params["meddle"]
    model = private_mlp(0, features=64, zero_last=False)
    optimizer = made(model)
    take(optimizer, model)
    meddle(model)
    before = copy.deepcopy(model.state_dict())
    for refused in (optimizer.step, lambda: optimizer.loss(CRITERION, torch.zeros(1, 10), torch.tensor([0]))):
        with pytest.raises(ValueError, match=f"{kind}.*hadn't before"):
            refused()
    assert optimizer.transcript.steps == 1
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model: setattr(model[0], "norm", 50.0), r"norm of layer '0' \(ClipInput\) was 1.0, and is 50.0"),
        (lambda model: model.append(nn.ReLU()), "other parameters or layers"),
        (lambda model: setattr(model, "1", nn.Linear(8, 8, bias=False)), "other parameters or layers"),
        (lambda model: setattr(model[1], "weight", nn.Parameter(torch.ones(8, 8))), r"layer '1' \(Linear\) has other"),
        (lambda model: setattr(model[1], "__class__", Strange), "was a Linear, and computes something else"),
        (lambda model: InputClipping.take_off(model), "hooks that clip inputs are off"),
        (lambda model: made(model), "hooks that clip inputs are off"),
    ],
)
def test_a_model_that_is_no_longer_what_bounds_were_derived_from_stops_the_next_step(change, message):
    model = nn.Sequential(ClipInput(1.0), nn.Linear(8, 8, bias=False), nn.Linear(8, 10, bias=False))
    optimizer = made(model)
    change(model)
    with pytest.raises(ValueError, match=message):
        optimizer.step()
    assert optimizer.transcript.steps == 0


def test_a_layers_own_hooks_may_stay_and_statistics_of_examples_may_not():
    model = private_mlp(0)
    made(model)
    with ActivationMoments(model, [model[3].weight]), pytest.raises(ValueError, match=r"ActivationMoments\._look"):
        made(model)
    assert upper_bound(made(model)._model, (64,)).total == 0  # hooks that clip change no certificate


def test_a_weight_that_gets_no_noise_is_not_stepped_on():
    model = private_mlp(0, widths=(20,), zero_last=False)
    model[1].weight.requires_grad_(False)
    optimizer = ClipFreeOptimizer(
        torch.optim.SGD([model[3].weight], lr=1.0),
        model,
        loss_constant=1.0,
        input_norm=1.0,
        expected_batch_size=1,
        noise_multiplier=1.0,
        sampling_rate=0.5,
    )
    model[1].weight.requires_grad_(True)
    optimizer.inner.add_param_group({"params": [model[1].weight]})
    with pytest.raises(ValueError, match="other parameters than before"):
        optimizer.step()
    model[1].weight.requires_grad_(False)
    model[1].weight.grad = torch.ones_like(model[1].weight)
    with pytest.raises(ValueError, match="frozen parameter has a gradient"):
        optimizer.step()
    assert optimizer.transcript.steps == 0


@pytest.mark.parametrize("own", [True, False])
def test_a_hook_before_the_step_would_have_gradients_without_noise(own):
    model = private_mlp(0)
    optimizer = made(model)
    register = optimizer.register_step_pre_hook if own else register_optimizer_step_pre_hook
    handle = register(lambda *_: None)
    with pytest.raises(ValueError, match="hook before the step has gradients without noise"):
        optimizer.step()
    handle.remove()
    optimizer.inner.register_step_pre_hook(lambda *_: None)
    optimizer.step()
    assert optimizer.transcript.steps == 1


# ----- what moves weights between projections -----


@pytest.mark.parametrize(
    "schedule",
    [
        partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=0.2, total_steps=10),
        partial(torch.optim.lr_scheduler.CyclicLR, base_lr=0.1, max_lr=0.2),
    ],
    ids=["OneCycleLR", "CyclicLR"],
)
def test_a_schedule_that_writes_momentum_is_refused_between_projections_and_no_other(schedule):
    model = private_mlp(0, widths=(20,))
    optimizer = made(model, project_every=4)
    schedule(optimizer, cycle_momentum=True)
    with pytest.raises(ValueError, match=r"momentum 0\.[89].*cycle_momentum=False"):
        take(optimizer, model)
    assert optimizer.transcript.steps == 0
    for every, cycle in ((4, False), (1, True)):
        model = private_mlp(0, widths=(20,))
        optimizer = made(model, project_every=every)
        steps = schedule(optimizer, cycle_momentum=cycle)
        for step in range(8):
            take(optimizer, model, seed=step)
            steps.step()
            for name, norm in svd_norms(model).items():
                assert norm <= optimizer.norms[name] * (1 + SLACK[torch.float32])


@pytest.mark.parametrize("own", [True, False])
def test_hooks_of_steps_are_refused_between_projections(own):
    model = private_mlp(0, widths=(20,))
    optimizer = made(model, project_every=4)
    clear = lambda each, *_: each.zero_grad(set_to_none=False)  # noqa: E731 - nothing would seem to have moved
    register = optimizer.inner.register_step_post_hook if own else register_optimizer_step_post_hook
    handle = register(clear)
    with pytest.raises(ValueError, match="and 1 hooks"):
        take(optimizer, model)
    handle.remove()
    take(optimizer, model)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_bounds_follow_the_norms_at_any_rate(decay):
    model = private_mlp(0, widths=(20,)).double()
    optimizer = made(model, project_every=5, inner_options={"weight_decay": decay})
    for step, rate in enumerate((0.2, -0.3, torch.tensor(0.1), 0.0)):
        optimizer.param_groups[0]["lr"] = rate
        take(optimizer, model, seed=step)
        for name, norm in svd_norms(model).items():
            assert norm <= optimizer.norms[name] * (1 + 1e-12)


# ----- examples that aren't what is claimed -----

BROKEN = {"nan": math.nan, "infinity": math.inf, "minus infinity": -math.inf}


def networks():
    bias = nn.Sequential(nn.Linear(64, 10, bias=False), NormBoundedBias(10, 0.5)).double()
    clipping = nn.Sequential(ClipInput(1.0), *private_mlp(0, widths=(20,), zero_last=False).double())
    with torch.no_grad():
        bias[1].bias.fill_(0.1)
    return {
        "mlp": (private_mlp(0, widths=(20,), zero_last=False).double(), (64,), 1.0),
        "convolution": (private_convnet(0, zero_last=False).double(), (1, 8, 8), 1.0),
        "bias": (bias, (64,), 1.0),
        "clipping of its own": (clipping, (64,), math.inf),
    }


def gradients_of(optimizer, model, inputs, targets):
    optimizer.zero_grad()
    optimizer.loss(CRITERION, model(inputs), targets).backward()
    return {name: each.clone() for name, each in optimizer.gradients().items()}


@pytest.mark.parametrize("kind", networks())
def test_examples_above_the_norm_are_clipped_to_it(kind):
    model, shape, norm = networks()[kind]
    reference = copy.deepcopy(model)
    optimizer = made(model, input_shape=shape, input_norm=norm)
    inputs, targets = unit_rows(6, *shape, norm=0.5), torch.arange(6)
    inputs[:3] *= torch.tensor([7.0, 1e3, 1e30]).view(-1, *[1] * len(shape))
    found = gradients_of(optimizer, model, inputs, targets)
    scaled = inputs / inputs.flatten(1).norm(dim=1).clamp(min=1.0).view(-1, *[1] * len(shape))
    (CRITERION.per_example(reference(scaled), targets).sum() / BATCH).backward()
    for name, parameter in reference.named_parameters():
        assert torch.allclose(found[name], parameter.grad, rtol=1e-10, atol=1e-15)
    for index in range(3):
        found = gradients_of(optimizer, model, inputs[index : index + 1], targets[index : index + 1])
        for name, bound in optimizer.current_bounds().items():
            assert found[name].norm() <= bound


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("kind", networks())
def test_an_example_that_is_not_finite_adds_zero_and_nothing_tells_of_it(kind, broken):
    model, shape, norm = networks()[kind]
    optimizer = made(model, input_shape=shape, input_norm=norm)
    inputs, targets = unit_rows(6, *shape), torch.arange(6)
    inputs[2].view(-1)[3] = BROKEN[broken]
    kept = torch.arange(6) != 2
    expected = gradients_of(optimizer, model, inputs[kept], targets[kept])
    found = gradients_of(optimizer, model, inputs, targets)
    for name, each in found.items():
        assert torch.allclose(each, expected[name], rtol=1e-12, atol=1e-16)
    for each in gradients_of(optimizer, model, inputs[2:3], targets[2:3]).values():
        assert not each.any()
    optimizer.step()
    assert optimizer.transcript.events == ((0.1, 1.5, 1),)
    assert all(value.isfinite().all() for value in model.state_dict().values())
    assert int(optimizer.inputs.changed) == 2
    assert model(inputs).isfinite().all(1).tolist() == kept.tolist()


def test_what_was_clipped_is_counted_and_rounding_is_not():
    model = private_mlp(0)
    optimizer = made(model)
    inputs = torch.cat([unit_rows(50, 64, dtype=torch.float32), unit_rows(3, 64, dtype=torch.float32, norm=1.01)])
    outputs = model(inputs)
    with torch.no_grad():
        model(inputs)  # of an evaluation
    assert int(optimizer.inputs.changed) == 3
    optimizer.release()
    assert torch.equal(model(inputs)[:50], outputs[:50])
    assert not model._forward_hooks
    assert not model._forward_pre_hooks


@pytest.mark.parametrize("target", [-1, 10, -100])
def test_a_target_that_is_no_class_adds_zero(target):
    model = private_mlp(0, zero_last=False)
    optimizer = made(model)
    inputs, targets = batch(6)
    expected = gradients_of(optimizer, model, inputs[1:], targets[1:])
    targets[0] = target
    found = gradients_of(optimizer, model, inputs, targets)
    for name, each in found.items():
        assert torch.allclose(each, expected[name], rtol=1e-5, atol=1e-8)


def test_a_copy_of_a_model_clips_on_its_own():
    model = private_mlp(0, zero_last=False)
    optimizer = made(model)
    twin = copy.deepcopy(model)
    inputs, _ = batch(3)
    assert torch.allclose(twin(9 * inputs), model(inputs), atol=1e-6)
    pickled = pickle.loads(pickle.dumps((optimizer, model)))  # noqa: S301 - our own bytes
    for other, again in (copy.deepcopy((optimizer, model)), pickled):
        assert torch.allclose(again(9 * inputs), model(inputs), atol=1e-6)
        take(other, again)
        again[0].start_dim = 2
        with pytest.raises(ValueError, match="start_dim of layer '0'"):
            other.step()


def test_outputs_of_a_pass_around_the_hooks_are_refused():
    model = private_mlp(0, zero_last=False)
    optimizer = made(model)
    inputs, targets = batch(3)
    for _ in range(2):
        with torch.no_grad():
            model(inputs)
        for outputs in (model.forward(1e3 * inputs), nn.Sequential(*model)(1e3 * inputs)):
            with pytest.raises(ValueError, match="call it, not its forward or its layers"):
                optimizer.loss(CRITERION, outputs, targets)
        take(optimizer, model)


@pytest.mark.parametrize("change", ["autocast", "half"])
def test_products_in_less_precision_are_refused(change):
    model = private_mlp(0, zero_last=False)
    optimizer = made(model)
    inputs, targets = batch(3)
    if change == "half":
        model, inputs = model.bfloat16(), inputs.bfloat16()
    with torch.autocast("cpu", torch.bfloat16, enabled=change == "autocast"):
        outputs = model(inputs)
    with pytest.raises(TypeError, match=r"torch.bfloat16, the bounds are for torch.float32"):
        optimizer.loss(CRITERION, outputs, targets)


def test_a_network_is_called_with_a_batch_and_nothing_else():
    model = private_mlp(0)
    made(model)
    with pytest.raises(ValueError, match=r"inputs of shape \(64,\): give a batch"):
        model(torch.zeros(64))
    with pytest.raises(TypeError, match="0 inputs by position"):
        model(input=torch.zeros(2, 64))
