"""Second moments of the inputs of layers against sums over every row, and against what the layer itself computes."""

import copy
import gc
import itertools
import math
import weakref

import pytest
import torch
import torch.distributed
from torch import nn
from torch.nn.utils import parametrizations
from two_processes import in_two_processes

from orthobench.optim import ActivationMoments
from orthobench.optim import activations as module


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def collected(model, parameters, *batches, **options):
    """Return the moments after forward passes in training mode, pooled."""
    with ActivationMoments(model, parameters, **options) as activations:
        activations.collecting = True
        for batch in batches:
            model(batch)
        activations.update()
    return [activations.moments[p] for p in parameters]


def brute_force_patches(layer, inputs):
    """Return the columns that a convolution multiplies its flattened kernel by, one by one, by linearity.

    The outputs for a kernel with a single 1 are one entry of each patch.
    """
    with torch.no_grad():
        weight = torch.zeros_like(layer.weight)
        rows = []
        for entry in range(weight[0].numel()):
            weight.zero_()
            weight[0].view(-1)[entry] = 1
            outputs = torch.func.functional_call(
                layer, {"weight": weight, "bias": torch.zeros_like(layer.bias)}, inputs
            )
            rows.append(outputs.movedim(1, 0)[0].flatten())
    return torch.stack(rows)


# --- what is collected -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(7, 5), (2, 3, 5), (2, 3, 4, 5), (5,), (1, 5)])
def test_a_linear_layer_has_the_second_moment_of_its_features(shape):
    layer, inputs = nn.Linear(5, 3).double(), normal(*shape)
    (moment,) = collected(layer, [layer.weight], inputs)
    rows = inputs.reshape(-1, 5)
    expected = sum(torch.outer(row, row) for row in rows) / len(rows)
    torch.testing.assert_close(moment, expected)


CONVOLUTIONS = [
    (nn.Conv1d, {"kernel_size": 3}, (4, 3, 9)),
    (nn.Conv1d, {"kernel_size": 4, "stride": 3, "padding": 2, "dilation": 2}, (2, 3, 11)),
    (nn.Conv1d, {"kernel_size": 4, "padding": "same", "dilation": 3}, (2, 3, 12)),
    (nn.Conv1d, {"kernel_size": 4, "padding": "valid"}, (2, 3, 12)),
    (nn.Conv2d, {"kernel_size": 1}, (2, 3, 4, 5)),
    (nn.Conv2d, {"kernel_size": (2, 3), "stride": (2, 1), "padding": (1, 0), "dilation": (1, 2)}, (2, 3, 6, 7)),
    (nn.Conv2d, {"kernel_size": (2, 3), "padding": "same"}, (1, 3, 6, 7)),
    (nn.Conv2d, {"kernel_size": 3, "padding": (1, 2), "padding_mode": "circular"}, (2, 3, 5, 4)),
    (nn.Conv2d, {"kernel_size": 3, "padding": (1, 2), "padding_mode": "reflect"}, (2, 3, 5, 4)),
    (nn.Conv2d, {"kernel_size": (4, 3), "padding": "same", "padding_mode": "replicate"}, (2, 3, 5, 4)),
    (nn.Conv2d, {"kernel_size": 2, "stride": 3}, (2, 3, 7, 7)),
    (nn.Conv3d, {"kernel_size": (1, 2, 3), "stride": (1, 2, 1), "padding": (0, 1, 1)}, (2, 3, 3, 4, 5)),
]


@pytest.mark.parametrize(("kind", "options", "shape"), CONVOLUTIONS)
def test_a_convolution_has_the_second_moment_of_its_patches(kind, options, shape):
    layer, inputs = kind(3, 2, **options).double(), normal(*shape)
    columns = brute_force_patches(layer, inputs)
    (moment,) = collected(layer, [layer.weight], inputs)
    torch.testing.assert_close(moment, columns @ columns.T / columns.shape[1])
    # In the order of the kernel: the mean square of the outputs is <W, W C>.
    with torch.no_grad():
        outputs = layer(inputs) - layer.bias.view(-1, *[1] * (len(shape) - 2))
    W = layer.weight.flatten(1)
    torch.testing.assert_close(((W @ moment) * W).sum(), outputs.square().sum() / columns.shape[1])


def test_a_convolution_takes_inputs_without_a_batch():
    layer, image = nn.Conv2d(3, 2, 2, padding=1).double(), normal(3, 4, 5)
    (alone,), (batched,) = (collected(layer, [layer.weight], each) for each in (image, image[None]))
    assert torch.equal(alone, batched)


def test_many_rows_are_taken_in_pieces(monkeypatch):
    for layer, inputs in (
        (nn.Linear(5, 3).double(), normal(11, 4, 5)),
        (nn.Conv2d(3, 2, 3, stride=2, padding=1).double(), normal(7, 3, 6, 5)),
    ):
        (whole,) = collected(layer, [layer.weight], inputs)
        for size in (1, 20, 100):
            monkeypatch.setattr(module, "_PIECE", size)
            (pieces,) = collected(layer, [layer.weight], inputs)
            torch.testing.assert_close(pieces, whole)
        monkeypatch.undo()


def test_micro_batches_uses_and_tied_weights_are_pooled_by_their_rows():
    first, second = nn.Linear(4, 4).double(), nn.Linear(4, 4).double()
    second.weight = first.weight
    model = nn.Sequential(first, nn.Tanh(), first, nn.Tanh(), second)
    batches = normal(5, 4), normal(2, 4, seed=1)
    (moment,) = collected(model, [first.weight], *batches)
    rows = []
    with torch.no_grad():
        for batch in batches:
            inner = first(batch).tanh()
            rows += [batch, inner, first(inner).tanh()]
    rows = torch.cat(rows)
    assert len(rows) == 21
    torch.testing.assert_close(moment, rows.T @ rows / 21)


@pytest.mark.parametrize("smoothing", [0.0, 0.5, 0.9])
def test_samples_are_averaged_and_the_first_is_taken_as_it_is(smoothing):
    layer = nn.Linear(4, 2).double()
    activations = ActivationMoments(layer, [layer.weight], smoothing)
    activations.collecting = True
    expected = None
    for step in range(4):
        batch = normal(3 + step, 4, seed=step)
        layer(batch)
        activations.update()
        sample = batch.T @ batch / len(batch)
        expected = sample if expected is None else smoothing * expected + (1 - smoothing) * sample
        torch.testing.assert_close(activations.moments[layer.weight], expected)


@pytest.mark.parametrize("inputs", [torch.zeros(6, 4), torch.ones(6, 4), torch.arange(4.0).expand(6, 4), normal(1, 4)])
def test_constant_single_and_zero_inputs_are_fine(inputs):
    layer = nn.Linear(4, 2).double()
    (moment,) = collected(layer, [layer.weight], inputs.double())
    torch.testing.assert_close(moment, inputs.T.double() @ inputs.double() / len(inputs))
    assert torch.linalg.matrix_rank(moment) <= 1


# --- when ------------------------------------------------------------------------------------------------------------


def test_nothing_is_collected_unless_asked_in_training_mode_before_removal():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    weights = [model[0].weight, model[1].weight]
    activations = ActivationMoments(model, weights)

    def moments_after(batch):
        model(batch)
        activations.update()
        return dict(activations.moments)

    assert moments_after(normal(3, 4, dtype=torch.float32)) == {}
    activations.collecting = True
    model.eval()
    assert moments_after(normal(3, 4, dtype=torch.float32)) == {}
    model.train()
    model[1].eval()
    assert list(moments_after(normal(3, 4, dtype=torch.float32))) == weights[:1]
    before = activations.moments[weights[0]].clone()
    assert moments_after(normal(0, 4, dtype=torch.float32)).keys() == {weights[0]}
    assert torch.equal(activations.moments[weights[0]], before)
    model[1].train()
    model(normal(3, 4, seed=1, dtype=torch.float32))
    activations.remove()
    activations.remove()
    moments_after(normal(3, 4, dtype=torch.float32))
    assert torch.equal(activations.moments[weights[0]], before)  # what was pending is gone too
    assert not any(layer._forward_pre_hooks for layer in model)


def test_the_context_manager_removes_the_hooks_after_an_error_too():
    layer = nn.Linear(4, 2)

    def fail_inside():
        with ActivationMoments(layer, [layer.weight]) as activations:
            assert isinstance(activations, ActivationMoments)
            assert len(layer._forward_pre_hooks) == 1
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        fail_inside()
    assert not layer._forward_pre_hooks


def test_a_layer_that_is_not_used_keeps_its_average():
    model = nn.ModuleDict({"a": nn.Linear(4, 2), "b": nn.Linear(4, 2)}).double()
    a, b = model["a"].weight, model["b"].weight
    activations = ActivationMoments(model, [a, b])
    activations.collecting = True
    model["a"](normal(3, 4))
    activations.update()
    assert list(activations.moments) == [a]
    before = activations.moments[a].clone()
    model["b"](normal(3, 4))
    activations.update()
    assert torch.equal(activations.moments[a], before)
    assert b in activations.moments


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_sample_that_is_not_finite_is_dropped(bad):
    layer = nn.Linear(4, 2).double()
    activations = ActivationMoments(layer, [layer.weight])
    activations.collecting = True
    broken = normal(3, 4)
    broken[1, 2] = bad
    layer(broken)
    activations.update()
    assert activations.moments == {}
    layer(normal(3, 4))
    activations.update()
    before = activations.moments[layer.weight].clone()
    layer(broken)
    layer(normal(3, 4))
    activations.update()
    assert torch.equal(activations.moments[layer.weight], before)


# --- types, autocast, compile, checkpoints ---------------------------------------------------------------------------


@pytest.mark.parametrize("enabled", [False, True])
def test_autocast_does_not_make_it_less_precise(enabled):
    layer, inputs = nn.Linear(40, 3), normal(100, 40, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
        (moment,) = collected(layer, [layer.weight], inputs)
    assert moment.dtype == torch.float32
    exact = inputs.double().T @ inputs.double() / 100
    assert (moment - exact).norm() < 1e-6 * exact.norm()


def test_inputs_that_autocast_left_in_bfloat16_are_summed_in_float32():
    model, inputs = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 4)), normal(50, 8, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            rows = model[0](inputs)
        (moment,) = collected(model, [model[1].weight], inputs)
    assert rows.dtype == torch.bfloat16
    exact = rows.double().T @ rows.double() / 50
    assert moment.dtype == torch.float32
    assert (moment - exact).norm() < 1e-6 * exact.norm()


def test_a_bfloat16_network_has_float32_moments():
    layer, inputs = nn.Linear(8, 4).bfloat16(), normal(300, 8, dtype=torch.bfloat16)
    (moment,) = collected(layer, [layer.weight], inputs)
    exact = inputs.double().T @ inputs.double() / 300
    assert moment.dtype == torch.float32
    assert (moment - exact).norm() < 1e-6 * exact.norm()


@pytest.mark.parametrize("collecting", [False, True])
def test_outputs_gradients_and_random_numbers_are_as_without_hooks(collecting):
    plain = nn.Sequential(nn.Conv2d(2, 3, 2), nn.Dropout(0.5), nn.Flatten(), nn.Linear(12, 2))
    hooked = copy.deepcopy(plain)
    activations = ActivationMoments(hooked, [hooked[0].weight, hooked[3].weight])
    activations.collecting = collecting
    images = normal(5, 2, 3, 3, dtype=torch.float32)
    results = []
    for model in (plain, hooked):
        torch.manual_seed(0)
        outputs = model(images)
        outputs.square().sum().backward()
        results.append([outputs, *(p.grad for p in model.parameters())])
    assert all(map(torch.equal, *results))


def test_nothing_of_a_forward_pass_is_kept():
    model = nn.Sequential(nn.Conv2d(2, 3, 2), nn.Flatten(), nn.Linear(12, 2))
    activations = ActivationMoments(model, [model[0].weight, model[2].weight])
    activations.collecting = True
    seen = []
    handles = [
        layer.register_forward_hook(lambda layer, inputs, output: seen.extend(map(weakref.ref, (*inputs, output))))
        for layer in model
    ]
    model(normal(5, 2, 3, 3, dtype=torch.float32).requires_grad_()).sum().backward()
    gc.collect()
    assert len(seen) == 6
    assert all(reference() is None for reference in seen)
    activations.update()
    assert all(not each.requires_grad and each.grad_fn is None for each in activations.moments.values())
    for handle in handles:
        handle.remove()


def test_model_and_statistics_are_freed_without_the_garbage_collector():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    activations = ActivationMoments(model, list(model.parameters())[::2])
    references = [weakref.ref(each) for each in (model, model[0], activations, model[0].weight)]
    gc.collect()
    gc.disable()
    try:
        del model, activations
        assert [reference() for reference in references] == [None] * 4
    finally:
        gc.enable()


def test_inputs_may_be_given_by_keyword():
    layer, inputs = nn.Linear(4, 2).double(), normal(3, 4)
    activations = ActivationMoments(layer, [layer.weight])
    activations.collecting = True
    layer(input=inputs)
    activations.update()
    torch.testing.assert_close(activations.moments[layer.weight], inputs.T @ inputs / 3)


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_changes_no_average(reentrant):
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    inputs = normal(5, 4).requires_grad_()
    (expected,) = collected(model, [model[2].weight], inputs)
    with ActivationMoments(model, [model[2].weight]) as activations:
        activations.collecting = True
        torch.utils.checkpoint.checkpoint(model, inputs, use_reentrant=reentrant).sum().backward()
        activations.update()
    torch.testing.assert_close(activations.moments[model[2].weight], expected)


def test_a_compiled_model_is_looked_at_when_asked():
    model = nn.Sequential(nn.Conv2d(2, 3, 2), nn.Flatten(), nn.Linear(12, 2)).double()
    weights = [model[0].weight, model[2].weight]
    first, second = normal(5, 2, 3, 3), normal(5, 2, 3, 3, seed=1)
    expected = collected(model, weights, second)
    torch._dynamo.reset()
    activations = ActivationMoments(model, weights)
    compiled = torch.compile(model, backend="eager")
    torch.testing.assert_close(compiled(first), model(first))
    activations.collecting = True
    torch.testing.assert_close(compiled(second), model(second))
    activations.update()
    activations.collecting = False
    compiled(first)
    activations.update()
    torch._dynamo.reset()
    for p, moment in zip(weights, expected, strict=True):
        torch.testing.assert_close(activations.moments[p], moment)


def test_a_copy_of_model_and_statistics_goes_on_by_itself():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)).double()
    activations = ActivationMoments(model, [model[0].weight])
    activations.collecting = True
    model(normal(3, 4))
    activations.update()
    other, copied = copy.deepcopy((model, activations))
    before = activations.moments[model[0].weight].clone()
    other(normal(5, 4, seed=1))
    copied.update()
    activations.update()
    assert torch.equal(activations.moments[model[0].weight], before)
    assert list(copied.moments) == [other[0].weight]
    assert not torch.equal(copied.moments[other[0].weight], before)


# --- several processes -----------------------------------------------------------------------------------------------


def collect_in_process(rank, world, folder):
    torch.save(collect_share(rank, world), f"{folder}/{rank}.pt")


def collect_share(rank, world):
    """Collect on every ``world``-th row from ``rank`` on; one layer is used by the last process alone, one by none."""
    torch.manual_seed(0)
    model = nn.ModuleList([nn.Linear(4, 2), nn.Linear(4, 2), nn.Linear(4, 2), nn.Linear(4, 2)]).double()
    weights = [layer.weight for layer in model]
    activations = ActivationMoments(model, weights)
    activations.collecting = True
    for step in range(2):
        batch = normal(7, 4, seed=step)[rank::world]
        model[0](batch)
        if rank == world - 1:
            model[2](normal(3, 4, seed=9))
        broken = normal(2, 4)
        broken[0, 0] = math.nan if rank == 0 else 1
        model[3](broken)
        activations.update()
    return [activations.moments.get(p) for p in weights]


def test_processes_pool_their_rows(tmp_path):
    in_two_processes(collect_in_process, tmp_path)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    alone = collect_share(0, 1)
    for moments in (first, second):
        torch.testing.assert_close(moments[0], alone[0])
        assert moments[1] is moments[3] is None
        torch.testing.assert_close(moments[2], alone[2])
    for mine, theirs in zip(first, second, strict=True):
        assert mine is theirs is None or torch.equal(mine, theirs)


# --- what is refused -------------------------------------------------------------------------------------------------


class OwnForward(nn.Linear):
    def forward(self, inputs):
        return super().forward(inputs * 2)


class OwnConvolution(nn.Conv2d):
    def _conv_forward(self, inputs, weight, bias):
        return super()._conv_forward(inputs, weight.flip(-1), bias)


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(2, 3))


@pytest.mark.parametrize(
    ("layer", "local", "reason"),
    [
        (nn.Conv2d(4, 6, 3, groups=2), "weight", "the Conv2d has groups=2, and each group its own inputs"),
        (nn.ConvTranspose2d(4, 6, 3), "weight", "its layer is of type ConvTranspose2d"),
        (nn.Embedding(5, 3), "weight", "its layer is of type Embedding"),
        (nn.Bilinear(2, 3, 4), "weight", "its layer is of type Bilinear"),
        (nn.LSTM(3, 4), "weight_ih_l0", "its layer is of type LSTM"),
        (nn.MultiheadAttention(4, 2), "in_proj_weight", "its layer is of type MultiheadAttention"),
        (
            nn.MultiheadAttention(4, 2),
            "out_proj.weight",
            "nn.MultiheadAttention uses the weight without calling the layer",
        ),
        (
            parametrizations.orthogonal(nn.Linear(3, 3)),
            "parametrizations.weight.original",
            "its layer is of type ParametrizationList",
        ),
        (nn.Linear(3, 4), "bias", "it isn't the weight of its Linear"),
        (OwnForward(3, 4), "weight", "OwnForward has a forward pass of its own"),
        (OwnConvolution(3, 4, 2), "weight", "OwnConvolution has a forward pass of its own"),
        (Scaled(), "gain", "its layer is of type Scaled"),
    ],
)
def test_a_parameter_whose_inputs_cannot_be_looked_at_is_named_with_the_reason(layer, local, reason):
    model = nn.ModuleDict({"fine": nn.Linear(3, 2), "block": nn.ModuleList([layer])})
    parameter = model["block"][0].get_parameter(local)
    name = f"block.0.{local}".replace(".", r"\.")
    with pytest.raises(
        ValueError, match=rf"inputs of '{name}', of shape \(.*: {reason}\. Supported are .*groups=1; give"
    ):
        ActivationMoments(model, [model["fine"].weight, parameter])
    assert not any(each._forward_pre_hooks for each in model.modules())
    # It is in the way only if it is asked for.
    ActivationMoments(model, [model["fine"].weight])


def test_a_subclass_with_the_same_forward_pass_is_fine():
    class Named(nn.Linear):
        label = "own"

    layer = Named(4, 2).double()
    assert torch.equal(*(collected(each, [each.weight], normal(3, 4))[0] for each in (layer, nn.Linear(4, 2).double())))


def test_a_weight_tied_to_an_embedding_is_refused():
    model = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 5, bias=False))
    model[1].weight = model[0].weight
    with pytest.raises(ValueError, match=r"inputs of '0\.weight', .* its layer is of type Embedding"):
        ActivationMoments(model, [model[1].weight])


def test_a_parameter_of_another_model_is_refused():
    with pytest.raises(ValueError, match=r"parameter 1, of shape \(2, 3\), is none of the model's: pass the model"):
        ActivationMoments(model := nn.Linear(3, 2), [model.weight, nn.Linear(3, 2).weight])


@pytest.mark.parametrize("smoothing", [1, -0.1, math.nan])
def test_smoothing_is_checked(smoothing):
    layer = nn.Linear(3, 2)
    with pytest.raises(ValueError, match=r"smoothing must be a number in \[0, 1\), got .*; 0\.9 is the default"):
        ActivationMoments(layer, [layer.weight], smoothing)
    with pytest.raises(TypeError, match=r"smoothing must be a number in \[0, 1\), got '0' \(str\)"):
        ActivationMoments(layer, [layer.weight], "0")


@pytest.mark.parametrize("shape", [(0, 4), (4, 0)])
def test_weights_without_entries_are_fine(shape):
    with pytest.warns(UserWarning, match="zero-element"):
        layer = nn.Linear(shape[1], shape[0])
    with ActivationMoments(layer, [layer.weight]) as activations:
        activations.collecting = True
        layer(torch.ones(2, shape[1]))
        activations.update()
    assert all(moment.shape == (shape[1], shape[1]) for moment in activations.moments.values())


def test_membership_is_by_identity():
    layer = nn.Linear(3, 2)
    activations = ActivationMoments(layer, [layer.weight])
    assert layer.weight in activations
    assert nn.Parameter(layer.weight.detach()) not in activations
    assert not any(each in activations for each in itertools.chain([layer.bias], nn.Linear(3, 2).parameters()))
