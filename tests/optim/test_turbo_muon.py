"""TurboMuon against a textbook loop in float64, and against its own formulas."""

import copy
import inspect
import itertools
import math
import re
import shutil
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orthobench.linalg import ORTHOGONALISERS, RECIPES, newton_schulz, orthogonalise
from orthobench.models import digits_convnet
from orthobench.optim import AdaMuon, SchattenMuon, TurboMuon, momentum, route_parameters
from orthobench.optim.momentum import MomentumOptimizer

pytestmark = pytest.mark.filterwarnings("ignore:.*narrower than float32", "ignore:.*a vector's")

# Linear layers, convolutions in one, two and three dimensions; several of one shape, tall, wide and square.
SHAPES = [(6, 4), (4, 6), (5, 5), (6, 4), (4, 3, 5), (12, 2, 2, 2), (6, 4, 1, 1), (2, 3, 2, 2, 2), (1, 6), (6, 1)]
FACTORS = {
    "original": lambda m, n: 1 if m <= n else (m / n) ** 0.5,
    "match_rms_adamw": lambda m, n: 0.2 * (m if m > n else n) ** 0.5,
    "spectral": lambda m, n: (m / n) ** 0.5,
}


def gaussian(shape, generator, dtype):
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def make_parameters(shapes=SHAPES, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.nn.Parameter(gaussian(shape, generator, dtype)) for shape in shapes]


def give_gradients(parameters, step, scale=1.0):
    """Set gaussian gradients, the same for the same step."""
    for index, p in enumerate(parameters):
        p.grad = gaussian(p.shape, torch.Generator().manual_seed(1000 * step + index), p.dtype) * scale


def values(parameters):
    return [p.detach().clone() for p in parameters]


def train(parameters, optimizer, steps, start=0):
    for step in range(start, start + steps):
        give_gradients(parameters, step)
        optimizer.step()
    return values(parameters)


def relative_difference(actual, expected, before):
    """Compare how far the parameters went."""
    numbers = [torch.cat([X.detach().double().flatten() for X in each]) for each in (actual, expected, before)]
    return float((numbers[0] - numbers[1]).norm() / (numbers[1] - numbers[2]).norm())


def textbook(shape, gradients, start, lr, mu, nesterov, weight_decay, factor):
    """Muon with an exact polar factor, one matrix at a time, with the momentum as a sum."""
    m, n = shape[0], math.prod(shape[1:])
    W, momentum = start.reshape(m, n).clone(), torch.zeros(m, n, dtype=torch.float64)
    for G in gradients:
        G = G.reshape(m, n)
        momentum = mu * momentum + G
        U, _, Vh = torch.linalg.svd(G + mu * momentum if nesterov else momentum, full_matrices=False)
        W = W - lr * weight_decay * W - lr * factor(m, n) * U @ Vh
    return W.reshape(shape)


@pytest.mark.parametrize("adjust_lr", FACTORS)
@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_ten_steps_are_those_of_the_textbook(adjust_lr, nesterov, weight_decay):
    options = {"lr": 0.05, "nesterov": nesterov, "weight_decay": weight_decay, "adjust_lr": adjust_lr}
    parameters = make_parameters()
    before = values(parameters)
    train(parameters, TurboMuon(parameters, momentum=0.9, orthogonaliser="svd", dtype=None, **options), 10)
    for index, (p, start) in enumerate(zip(parameters, before, strict=True)):
        gradients = [
            gaussian(p.shape, torch.Generator().manual_seed(1000 * step + index), p.dtype) for step in range(10)
        ]
        expected = textbook(p.shape, gradients, start, 0.05, 0.9, nesterov, weight_decay, FACTORS[adjust_lr])
        torch.testing.assert_close(p.detach(), expected, rtol=1e-9, atol=1e-10)


def test_without_momentum_the_gradient_itself_is_orthogonalised():
    for nesterov in (True, False):
        p = make_parameters([(4, 6)])[0]
        start = p.detach().clone()
        train([p], TurboMuon([p], 0.1, 0.0, nesterov, orthogonaliser="svd", dtype=None), 3)
        gradients = [gaussian((4, 6), torch.Generator().manual_seed(1000 * step), torch.float64) for step in range(3)]
        expected = textbook((4, 6), gradients, start, 0.1, 0, False, 0, FACTORS["original"])
        torch.testing.assert_close(p.detach(), expected)


@pytest.mark.parametrize(("orthogonaliser", "steps"), [(name, None) for name in ORTHOGONALISERS] + [("muon", 2)])
@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float32, torch.float64])
def test_the_first_step_is_what_the_orthogonaliser_gives_in_its_type(orthogonaliser, steps, dtype):
    p = torch.nn.Parameter(torch.zeros(4, 6))
    give_gradients([p], 0)
    TurboMuon([p], 1.0, 0.0, orthogonaliser=orthogonaliser, steps=steps, dtype=dtype).step()
    expected = orthogonalise(p.grad.to(dtype or torch.float32), orthogonaliser, steps)
    assert torch.equal(p.detach(), -expected.to(torch.float32))


def newton_schulz_of_torch(grad, coefficients, steps, eps):
    """`torch.optim._muon._zeropower_via_newtonschulz`, line by line, in the type of the gradient."""
    a, b, c = coefficients
    X = grad.T if grad.size(0) > grad.size(1) else grad
    X = X / X.norm().clamp(min=eps)
    for _ in range(steps):
        A = X @ X.T
        X = a * X + (b * A + c * A @ A) @ X
    return X.T if grad.size(0) > grad.size(1) else X


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("adjust_lr", ["original", "match_rms_adamw"])
def test_with_muons_orthogonaliser_it_is_torchs_muon_in_float64(nesterov, adjust_lr, monkeypatch):
    # Torch orthogonalises in bfloat16 alone: here it does the same in float64, and all else is its own.
    monkeypatch.setattr(torch.optim._muon, "_zeropower_via_newtonschulz", newton_schulz_of_torch)
    shapes = [shape for shape in SHAPES if len(shape) == 2] + [(48, 80), (80, 48), (48, 80)]
    options = {"lr": 0.03, "momentum": 0.9, "nesterov": nesterov, "weight_decay": 0.1}
    ours, theirs = make_parameters(shapes), make_parameters(shapes)
    before = values(ours)
    train(ours, TurboMuon(ours, orthogonaliser="muon", adjust_lr=adjust_lr, dtype=None, **options), 10)
    train(theirs, torch.optim.Muon(theirs, adjust_lr_fn=adjust_lr, **options), 10)
    assert relative_difference(ours, theirs, before) < 1e-11


def test_torchs_muon_itself_differs_by_the_rounding_of_bfloat16():
    shapes = [(48, 80), (80, 48), (48, 80), (6, 4)]
    ours, theirs = (make_parameters(shapes, torch.float32) for _ in range(2))
    before = values(ours)
    train(ours, TurboMuon(ours, lr=0.03, orthogonaliser="muon"), 10)
    train(theirs, torch.optim.Muon(theirs, lr=0.03, weight_decay=0.0), 10)
    # Another order of the products, on other machines, makes as much as this.
    assert relative_difference(ours, theirs, before) < 0.03


@pytest.mark.parametrize(
    ("orthogonaliser", "dtype", "tolerance"),
    [("turbo_muon", torch.float64, 1e-11), ("svd", torch.float64, 1e-11), ("turbo_muon", torch.float32, 1e-4)],
)
def test_a_group_does_what_one_optimizer_a_parameter_does(orthogonaliser, dtype, tolerance):
    together, apart = make_parameters(dtype=dtype), make_parameters(dtype=dtype)
    before = values(together)
    options = {"weight_decay": 0.1, "orthogonaliser": orthogonaliser, "dtype": None}
    train(together, TurboMuon(together, **options), 5)
    optimizers = [TurboMuon([p], **options) for p in apart]
    for step in range(5):
        give_gradients(apart, step)
        for optimizer in reversed(optimizers):
            optimizer.step()
    assert relative_difference(together, apart, before) < tolerance


def test_the_order_of_the_parameters_does_not_matter():
    forward, backward = make_parameters(), make_parameters()
    first = TurboMuon(forward, dtype=None)
    second = TurboMuon(backward[::-1], dtype=None)
    before = values(forward)
    for step in range(3):
        for parameters, optimizer in ((forward, first), (backward, second)):
            give_gradients(parameters, step)
            optimizer.step()
    assert relative_difference(forward, backward, before) < 1e-12


@pytest.mark.parametrize("chunk_bytes", [1, 200, 2**21])
@pytest.mark.parametrize(
    "make",
    [
        lambda params: TurboMuon(params, weight_decay=0.1),
        lambda params: TurboMuon([p for p in params if len(p) % 2 == 0], split=2, nesterov=False),
        lambda params: TurboMuon(params, orthogonaliser="muon", master_weights=True, maximize=True),
        lambda params: AdaMuon(params),
    ],
)
def test_how_many_parameters_are_stepped_at_a_time_changes_no_bit(make, chunk_bytes, monkeypatch):
    parameters, others = make_parameters(dtype=torch.float32), make_parameters(dtype=torch.float32)
    with torch.no_grad():
        parameters[3], others[3] = (torch.nn.Parameter(p[3].bfloat16()) for p in (parameters, others))
    monkeypatch.setattr(MomentumOptimizer, "_chunks", lambda self, tensors: [tensors])
    train(parameters, make(parameters), 3)
    monkeypatch.undo()
    monkeypatch.setattr(momentum, "CHUNK_BYTES", chunk_bytes)
    train(others, make(others), 3)
    assert all(torch.equal(p, q) for p, q in zip(parameters, others, strict=True))


@pytest.mark.parametrize("name", ["directions", "look_ahead"])
def test_what_a_subclass_does_in_its_own_way_gets_all_parameters_together(name, monkeypatch):
    monkeypatch.setattr(momentum, "CHUNK_BYTES", 1)
    together = []

    def watched(self, params, *others):
        together.append(len(params))
        return getattr(TurboMuon, name)(self, params, *others)

    Watched = type("Watched", (TurboMuon,), {name: watched})
    parameters = make_parameters()
    train(parameters, Watched(parameters), 1)
    assert together == [len(parameters)]
    assert TurboMuon.is_separable
    assert AdaMuon.is_separable


def test_types_may_be_mixed():
    shapes, dtypes = SHAPES[:6], [torch.float32, torch.bfloat16, torch.float64] * 2
    mixed = [torch.nn.Parameter(p.detach().to(d)) for p, d in zip(make_parameters(shapes), dtypes, strict=True)]
    alone = copy.deepcopy(mixed)
    before = values(mixed)
    train(mixed, TurboMuon(mixed), 3)
    optimizers = [TurboMuon([p]) for p in alone]
    for step in range(3):
        give_gradients(alone, step)
        for optimizer in optimizers:
            optimizer.step()
    assert [p.dtype for p in mixed] == dtypes
    assert relative_difference(mixed, alone, before) < 1e-6


def test_equal_shapes_are_one_batched_product():
    def products(count):
        parameters = make_parameters([(6, 4), (6, 2, 2)] * count, torch.float32)
        optimizer = TurboMuon(parameters)
        give_gradients(parameters, 0)
        with torch.profiler.profile() as profile:
            optimizer.step()
        names = ("aten::mm", "aten::bmm", "aten::addmm", "aten::baddbmm")
        return sum(event.count for event in profile.key_averages() if event.key in names)

    assert products(1) == products(4) > 0


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("orthogonaliser", ["turbo_muon", "muon", "svd", "qr"])
@pytest.mark.parametrize(
    ("dtype", "within"), list(itertools.product([torch.bfloat16, torch.float32], [None, torch.bfloat16]))
)
def test_the_momentum_is_the_average_and_the_gradient_is_as_it_was(nesterov, orthogonaliser, dtype, within):
    # One parameter, two of a shape, a kernel: each is stacked, cast or flattened in its own way.
    parameters = make_parameters([(4, 6), (5, 3), (5, 3), (3, 2, 2, 2)], dtype)
    optimizer = TurboMuon(parameters, nesterov=nesterov, orthogonaliser=orthogonaliser, dtype=within)
    expected = [torch.zeros_like(p) for p in parameters]
    for step in range(3):
        give_gradients(parameters, step, scale=100)
        gradients = [p.grad for p in parameters]
        copies = values(gradients)
        optimizer.step()
        for M, p, G, unchanged in zip(expected, parameters, gradients, copies, strict=True):
            M.lerp_(unchanged, 1 - 0.95)
            assert p.grad is G
            assert torch.equal(G, unchanged)
            assert torch.equal(optimizer.state[p]["momentum_buffer"], M)


def test_nothing_shares_memory_with_gradients_or_parameters():
    parameters = make_parameters()
    optimizer = TurboMuon(parameters, momentum=0.0, nesterov=False, dtype=None)
    train(parameters, optimizer, 1)
    storages = [
        X.untyped_storage().data_ptr() for p in parameters for X in (p, p.grad, optimizer.state[p]["momentum_buffer"])
    ]
    assert len(set(storages)) == 3 * len(parameters)


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_training_goes_on_after_a_save_to_the_last_bit(nesterov, dtype, tmp_path):
    options = {"lr": 0.1, "nesterov": nesterov, "weight_decay": 0.1, "adjust_lr": "spectral"}
    parameters = make_parameters(dtype=dtype)
    optimizer = TurboMuon(parameters, **options)
    train(parameters, optimizer, 3)
    torch.save({"parameters": parameters, "optimizer": optimizer.state_dict()}, tmp_path / "saved")
    saved = torch.load(tmp_path / "saved", weights_only=True)
    expected = train(parameters, optimizer, 3, start=3)

    resumed = [torch.nn.Parameter(p.detach().clone()) for p in saved["parameters"]]
    other = TurboMuon(resumed, lr=7.0, momentum=0.1, nesterov=not nesterov, orthogonaliser="svd", dtype=None)
    other.load_state_dict(saved["optimizer"])
    assert other.param_groups[0]["lr"] == 0.1
    for actual, wanted in zip(train(resumed, other, 3, start=3), expected, strict=True):
        assert torch.equal(actual, wanted)
    for p, q in zip(parameters, resumed, strict=True):
        assert torch.equal(optimizer.state[p]["momentum_buffer"], other.state[q]["momentum_buffer"])


def test_a_copy_of_the_optimizer_goes_on_by_itself():
    parameters = make_parameters()
    optimizer = TurboMuon(parameters)
    train(parameters, optimizer, 2)
    other = copy.deepcopy(optimizer)
    before = values(parameters)
    copied = train(other.param_groups[0]["params"], other, 2, start=2)
    assert all(torch.equal(p, start) for p, start in zip(parameters, before, strict=True))
    assert all(map(torch.equal, copied, train(parameters, optimizer, 2, start=2)))


@pytest.mark.parametrize("lr", [0.1, torch.tensor(0.1), torch.tensor([0.1])])
def test_schedulers_set_the_rate(lr):
    parameters, reference = make_parameters(), make_parameters()
    optimizer, expected = TurboMuon(parameters, copy.deepcopy(lr)), TurboMuon(reference, lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    before = values(parameters)
    for step in range(6):
        expected.param_groups[0]["lr"] = 0.1 * 0.5 ** (step // 2)
        train(parameters, optimizer, 1, start=step)
        train(reference, expected, 1, start=step)
        scheduler.step()
    assert relative_difference(parameters, reference, before) < 1e-6


def test_schedulers_of_the_momentum_work_too():
    parameters = make_parameters()
    optimizer = TurboMuon(parameters)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=6, max_momentum=0.95)
    seen = set()
    for step in range(5):
        train(parameters, optimizer, 1, start=step)
        scheduler.step()
        seen.add(optimizer.param_groups[0]["momentum"])
    assert len(seen) > 2


def test_a_tensor_for_the_rate_does_what_a_number_does():
    for dtype, tolerance in ((torch.float32, 1e-6), (torch.bfloat16, 0.05)):
        first, second = make_parameters(dtype=dtype), make_parameters(dtype=dtype)
        before = values(first)
        train(first, TurboMuon(first, 0.05, weight_decay=0.1, dtype=None), 5)
        train(second, TurboMuon(second, torch.tensor(0.05), weight_decay=0.1, dtype=None), 5)
        assert relative_difference(first, second, before) < tolerance


def test_bfloat16_parameters_decay():
    # There is no bfloat16 between 0.996 and 1: a factor 1 - 0.003 must not be rounded to that type. Of these entries,
    # a step of 2^-7 apart, the decay moves those above 1.3.
    for lr in (0.03, torch.tensor(0.03)):
        p = torch.nn.Parameter(torch.linspace(1, 1.99, 60, dtype=torch.bfloat16).reshape(6, 10))
        p.grad = torch.zeros_like(p)
        before = p.detach().clone()
        expected = (before.double() * (1 - 0.03 * 0.1)).bfloat16()
        assert 0.5 < (expected != before).double().mean() < 0.9
        TurboMuon([p], lr, weight_decay=0.1).step()
        # With a tensor the product is rounded before the sum, which may tip a tie.
        assert (p.detach() != expected).sum() <= (0 if isinstance(lr, float) else 2)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("lr", [0.05, torch.tensor(0.05)])
def test_the_compiled_step_does_what_the_plain_one_does(backend, lr):
    plain, compiled = (make_parameters([(6, 4), (4, 6), (6, 4), (4, 2, 3)], torch.float32) for _ in range(2))
    options = {"lr": lr, "weight_decay": 0.1, "dtype": None}
    first, second = TurboMuon(plain, **copy.deepcopy(options)), TurboMuon(compiled, **copy.deepcopy(options))
    torch._dynamo.reset()
    step_compiled = torch.compile(second.step, backend=backend, fullgraph=True)
    before = values(plain)
    for step in range(4):
        for parameters, optimizer, do in ((plain, first, first.step), (compiled, second, step_compiled)):
            give_gradients(parameters, step)
            if step == 2:
                if isinstance(lr, torch.Tensor):
                    optimizer.param_groups[0]["lr"].fill_(0.01)
                else:
                    optimizer.param_groups[0]["lr"] = 0.01
            do()
    torch._dynamo.reset()
    assert relative_difference(compiled, plain, before) < 1e-4


def test_a_schedule_compiles_nothing_anew():
    parameters = make_parameters([(6, 4), (4, 6)], torch.float32)
    optimizer = TurboMuon(parameters, torch.tensor(0.05), weight_decay=0.1)
    graphs = []
    torch._dynamo.reset()

    def counted(graph, inputs):
        graphs.append(graph)
        return graph.forward

    step = torch.compile(optimizer.step, backend=counted, fullgraph=True)
    for number in range(5):
        give_gradients(parameters, number)
        optimizer.param_groups[0]["lr"].fill_(0.05 / (number + 1))
        step()
    torch._dynamo.reset()
    assert len(graphs) == 1


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++, for which torch's compiler writes code")
def test_generated_code_does_what_the_plain_step_does():
    plain, compiled = (make_parameters([(6, 4)], torch.float32) for _ in range(2))
    first, second = (TurboMuon(each, torch.tensor(0.05), dtype=None, steps=1) for each in (plain, compiled))
    torch._dynamo.reset()
    step = torch.compile(second.step, fullgraph=True)
    before = values(plain)
    for number in range(2):
        for parameters, do in ((plain, first.step), (compiled, step)):
            give_gradients(parameters, number)
            do()
    torch._dynamo.reset()
    assert relative_difference(compiled, plain, before) < 1e-4


def test_a_parameter_without_gradient_is_left_alone():
    parameters = make_parameters([(4, 6), (4, 6), (4, 6)])
    parameters[2].requires_grad_(False)
    optimizer = TurboMuon(parameters, weight_decay=0.5)
    before = values(parameters)
    give_gradients(parameters[:1], 0)
    optimizer.step()
    assert not torch.equal(parameters[0], before[0])
    assert torch.equal(parameters[1], before[1])
    assert torch.equal(parameters[2], before[2])
    assert list(optimizer.state) == parameters[:1]


def test_no_gradient_at_all_is_no_step():
    parameters = make_parameters()
    before = values(parameters)
    TurboMuon(parameters, weight_decay=0.5).step()
    assert all(map(torch.equal, parameters, before))


@pytest.mark.parametrize("orthogonaliser", ORTHOGONALISERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_zero_gradient_gives_a_zero_update(orthogonaliser, dtype):
    parameters = make_parameters([(4, 6), (4, 6), (6, 3, 1, 1)], dtype)
    before = values(parameters)
    give_gradients(parameters, 0, scale=0)
    give_gradients(parameters[:1], 0)
    TurboMuon(parameters, orthogonaliser=orthogonaliser).step()
    assert not torch.equal(parameters[0], before[0])
    assert torch.equal(parameters[1], before[1])
    assert torch.equal(parameters[2], before[2])


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (3, 0, 2)])
def test_a_parameter_without_entries_is_fine(shape):
    parameters = make_parameters([(4, 6), shape])
    before = values(parameters)
    train(parameters, TurboMuon(parameters, adjust_lr="spectral", weight_decay=0.1), 2)
    assert not torch.equal(parameters[0], before[0])
    assert parameters[1].shape == shape


@given(
    seed=st.integers(0, 2**31),
    shapes=st.lists(st.lists(st.integers(1, 5), min_size=2, max_size=4), min_size=1, max_size=4),
    exponent=st.integers(-20, 20),
    orthogonaliser=st.sampled_from(["muon", "turbo_muon", "svd"]),
    nesterov=st.booleans(),
)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_the_scale_of_the_loss_changes_no_bit(seed, shapes, exponent, orthogonaliser, nesterov):
    results = []
    for scale in (1.0, 2.0**exponent):
        parameters = make_parameters(shapes, torch.float32, seed)
        optimizer = TurboMuon(parameters, nesterov=nesterov, orthogonaliser=orthogonaliser)
        for step in range(3):
            give_gradients(parameters, step, scale)
            optimizer.step()
        results.append(parameters)
    for first, second in zip(*results, strict=True):
        assert torch.equal(first, second)
        assert first.isfinite().all()


def test_a_kernel_is_the_matrix_of_its_outputs_by_all_else():
    for shape in ((4, 3, 5), (12, 2, 2, 2), (2, 3, 2, 2, 2)):
        kernel = make_parameters([shape], torch.float32)
        matrix = [torch.nn.Parameter(kernel[0].detach().flatten(1))]
        for step in range(3):
            give_gradients(kernel, step)
            matrix[0].grad = kernel[0].grad.flatten(1)
            if step == 0:
                first, second = TurboMuon(kernel), TurboMuon(matrix)
            first.step()
            second.step()
        assert torch.equal(kernel[0].flatten(1), matrix[0])


def test_memory_layout_does_not_matter():
    plain = make_parameters([(8, 3, 2, 2), (4, 6)], torch.float32)
    other = [
        torch.nn.Parameter(plain[0].detach().clone(memory_format=torch.channels_last)),
        torch.nn.Parameter(plain[1].detach().mT.contiguous().mT),
    ]
    first, second = TurboMuon(plain, weight_decay=0.1), TurboMuon(other, weight_decay=0.1)
    for step in range(3):
        for parameters, optimizer in ((plain, first), (other, second)):
            give_gradients(parameters, step)
            optimizer.step()
    assert other[0].is_contiguous(memory_format=torch.channels_last)
    for p, q in zip(plain, other, strict=True):
        assert torch.equal(p, q)


def test_a_float16_parameter_is_orthogonalised_in_another_type():
    (p,) = make_parameters([(4, 6)], torch.float16)
    before = p.detach().clone()
    train([p], TurboMuon([p], lr=0.1), 1)
    assert p.dtype == torch.float16
    assert 0.1 < (p.detach() - before).float().norm() < 0.3


def test_groups_have_their_own_options():
    parameters = make_parameters([(4, 6)] * 3)
    expected = make_parameters([(4, 6)] * 3)
    groups = [{"params": parameters[:1], "orthogonaliser": "svd", "dtype": None}, {"params": parameters[1:2], "lr": 1}]
    optimizer = TurboMuon(groups, lr=0.1)
    optimizer.add_param_group({"params": parameters[2:], "adjust_lr": "match_rms_adamw", "weight_decay": 0.5})
    options = [
        {"orthogonaliser": "svd", "dtype": None, "lr": 0.1},
        {"lr": 1},
        {"lr": 0.1, "adjust_lr": "match_rms_adamw", "weight_decay": 0.5},
    ]
    optimizers = [TurboMuon([p], **each) for p, each in zip(expected, options, strict=True)]
    give_gradients(parameters, 0)
    give_gradients(expected, 0)
    for each in (optimizer, *optimizers):
        each.step()
    assert all(map(torch.equal, parameters, expected))


def test_the_closure_computes_with_gradients_and_its_loss_is_returned():
    (p,) = make_parameters([(4, 6)])
    optimizer = TurboMuon([p], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = p.square().sum()
        loss.backward()
        return loss

    losses = [float(optimizer.step(closure).detach()) for _ in range(5)]
    assert losses == sorted(losses, reverse=True)
    assert len(set(losses)) == 5


def test_a_network_is_trained():
    model = digits_convnet(0, width=8)
    routes = route_parameters(model)
    optimizers = [TurboMuon(routes.matrix, lr=0.02), torch.optim.AdamW(routes.other, lr=1e-2)]
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(64) % 10
    classes, noise = (torch.rand(count, 1, 8, 8, generator=generator) for count in (10, 64))
    images = classes[labels] + 0.1 * noise
    losses = []
    for _ in range(40):
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        losses.append(float(loss.detach()))
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("shape", [(), (3,), (0,)])
def test_scalars_and_vectors_are_refused(shape):
    matrix, vector = make_parameters([(4, 6), shape])
    message = rf"has shape {re.escape(str(shape))}; .*2 or more dimensions: route .* to AdamW .*route_parameters"
    with pytest.raises(ValueError, match="parameter 1 of group 0 " + message):
        TurboMuon([matrix, vector])
    with pytest.raises(ValueError, match="parameter 1 of group 0, 'norm.weight', " + message):
        TurboMuon([("query.weight", matrix), ("norm.weight", vector)])
    optimizer = TurboMuon([matrix])
    with pytest.raises(ValueError, match="parameter 0 of group 1 " + message):
        optimizer.add_param_group({"params": [vector]})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize(
    ("dtype", "within"), [(torch.complex64, torch.bfloat16), (torch.complex64, None), (torch.float16, None)]
)
def test_a_type_that_cannot_be_orthogonalised_is_refused(dtype, within):
    p = torch.nn.Parameter(torch.ones(2, 3, dtype=dtype))
    message = rf"parameter 0 of group 0 has dtype {dtype}; with dtype={within} TurboMuon takes torch.float32, .*convert"
    with pytest.raises(ValueError, match=message):
        TurboMuon([p], dtype=within)


def test_a_sparse_gradient_is_refused_before_anything_changes():
    embedding = torch.nn.Embedding(5, 3, sparse=True)
    (p,) = make_parameters([(4, 6)])
    before = p.detach().clone()
    optimizer = TurboMuon([p, embedding.weight])
    give_gradients([p], 0)
    embedding(torch.tensor([1, 2])).sum().backward()
    with pytest.raises(ValueError, match=r"dense gradients, got torch\.sparse_coo .*shape \(5, 3\).*SparseAdam"):
        optimizer.step()
    assert torch.equal(p, before)


def test_a_sparse_gradient_in_a_later_group_is_refused_before_an_earlier_one_changes():
    embedding = torch.nn.Embedding(5, 3, sparse=True)
    (p,) = make_parameters([(4, 6)])
    optimizer = TurboMuon([{"params": [p]}, {"params": [embedding.weight], "lr": 0.1}])
    train([p], optimizer, 2)
    before, momentum = p.detach().clone(), optimizer.state[p]["momentum_buffer"].clone()
    give_gradients([p], 2)
    embedding(torch.tensor([1, 2])).sum().backward()
    with pytest.raises(ValueError, match="dense gradients"):
        optimizer.step()
    assert torch.equal(p, before)
    assert torch.equal(optimizer.state[p]["momentum_buffer"], momentum)


def check_refused(options, error, message):
    """Check that neither an optimizer nor a group of one takes these options."""
    parameters = make_parameters([(4, 6), (4, 6)])
    with pytest.raises(error, match=message):
        TurboMuon(parameters, **options)
    optimizer = TurboMuon(parameters[:1])
    with pytest.raises(error, match=message):
        optimizer.add_param_group({"params": parameters[1:], **options})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"lr": -0.1}, ValueError, r"lr must be a finite number >= 0, got -0\.1; 0\.02"),
        ({"lr": math.inf}, ValueError, "lr must be a finite number >= 0, got inf"),
        ({"lr": math.nan}, ValueError, "lr must be a finite number >= 0, got nan"),
        ({"lr": torch.tensor(-1.0)}, ValueError, r"lr must be a finite number >= 0, got -1\.0"),
        ({"lr": torch.ones(2)}, ValueError, r"lr must be a number or a tensor of one element, got shape \(2,\)"),
        ({"lr": "0.1"}, TypeError, r"lr must be .*got '0\.1' \(str\)"),
        ({"lr": True}, TypeError, r"lr must be .*got True \(bool\)"),
        ({"momentum": 1}, ValueError, r"momentum must be a number in \[0, 1\), got 1; 0\.95"),
        ({"momentum": -0.1}, ValueError, r"momentum must be a number in \[0, 1\), got -0\.1"),
        ({"momentum": None}, TypeError, r"momentum must be a number in \[0, 1\), got None"),
        ({"weight_decay": -1}, ValueError, "weight_decay must be a finite number >= 0, got -1; 0 is none"),
        ({"nesterov": 1}, TypeError, "nesterov must be True or False, got 1"),
        ({"adjust_lr": "rms"}, ValueError, "adjust_lr must be one of 'original', 'match_rms_adamw', 'spectral', got"),
        ({"adjust_lr": None}, ValueError, "adjust_lr must be one of .*got None"),
        ({"orthogonaliser": "jordan"}, ValueError, "orthogonaliser must be one of 'muon', .*'svd', 'qr', got 'jordan'"),
        ({"steps": 9}, ValueError, "steps must be an integer from 1 to 4 for recipe 'turbo_muon', got 9"),
        ({"orthogonaliser": "svd", "steps": 3}, ValueError, "steps must be None with orthogonaliser='svd', got 3"),
        ({"dtype": torch.float16}, ValueError, r"dtype must be one of .*or None .*got torch\.float16"),
        ({"dtype": "bfloat16"}, ValueError, "dtype must be one of .*got 'bfloat16'"),
    ],
)
def test_a_bad_option_is_named_with_what_is_allowed(options, error, message):
    check_refused(options, error, message)


# --- in the place of torch.optim.Muon --------------------------------------------------------------------------------


def test_the_example_of_torchs_documentation_runs_with_our_class():
    model = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    loss_fn, inputs, target = torch.nn.functional.mse_loss, torch.randn(7, 5), torch.zeros(7, 3)
    muon_params = [p for p in model.parameters() if p.ndim == 2]
    other_params = [p for p in model.parameters() if p.ndim != 2]
    optim_muon = TurboMuon(muon_params, lr=0.02, momentum=0.95)
    optim_adamw = torch.optim.AdamW(other_params, lr=3e-4, weight_decay=0.01)
    losses = []
    for _ in range(30):
        optim_muon.zero_grad()
        optim_adamw.zero_grad()
        loss = loss_fn(model(inputs), target)
        loss.backward()
        losses.append(float(loss.detach()))
        optim_muon.step()
        optim_adamw.step()
    assert losses[-1] < 0.5 * losses[0]


JORDAN = (3.4445, -4.7750, 2.0315)
DISTINCT = [(4.0, -6.0, 2.5), (3.0, -4.0, 1.6), (2.0, -1.5, 0.5)]


@pytest.mark.parametrize(
    ("options", "coefficients", "adjust_lr"),
    [
        ({"ns_steps": 3}, [JORDAN] * 3, None),
        ({"ns_coefficients": (2.0, -1.5, 0.5)}, [(2.0, -1.5, 0.5)] * 5, None),
        ({"ns_coefficients": [2, -1.5, 0.5], "ns_steps": 8}, [(2.0, -1.5, 0.5)] * 8, None),
        ({"ns_coefficients": DISTINCT}, DISTINCT, None),
        ({"ns_coefficients": torch.tensor(JORDAN).tolist(), "ns_steps": 5}, [JORDAN] * 5, None),
        ({"ns_coefficients": JORDAN, "eps": 1e-7, "adjust_lr_fn": "match_rms_adamw"}, [JORDAN] * 5, "match_rms_adamw"),
        ({"ns_steps": 5, "adjust_lr_fn": "original"}, [JORDAN] * 5, "original"),
        ({"ns_coefficients": RECIPES["polar_express"]}, None, None),
    ],
)
@pytest.mark.parametrize("where", ["constructor", "group"])
def test_torchs_options_mean_what_they_mean_there(options, coefficients, adjust_lr, where):
    """A step from zero with the gradient alone is the orthogonalised gradient, by torch's iteration in float64."""
    for shape in ((6, 4), (4, 6)):
        p = torch.nn.Parameter(torch.zeros(shape, dtype=torch.float64))
        give_gradients([p], 0)
        common = {"lr": 1.0, "momentum": 0.0, "weight_decay": 0.1, "nesterov": True, "dtype": None}
        if where == "constructor":
            TurboMuon([p], **common, **options).step()
        else:
            TurboMuon([{"params": [p], **options}], **common).step()
        if coefficients is None:
            expected = newton_schulz(p.grad, "polar_express")
        else:
            X = (p.grad / p.grad.norm()).mT if shape[0] > shape[1] else p.grad / p.grad.norm()
            for a, b, c in coefficients:
                A = X @ X.mT
                X = a * X + (b * A + c * A @ A) @ X
            expected = X.mT if shape[0] > shape[1] else X
        factor = FACTORS[adjust_lr or "original"](*shape)
        torch.testing.assert_close(p.detach(), -factor * expected, rtol=1e-6, atol=1e-6)


def test_all_of_torchs_defaults_are_torchs_muon():
    signature = inspect.signature(torch.optim.Muon)
    defaults = {name: each.default for name, each in signature.parameters.items() if each.default is not each.empty}
    ours, theirs = (make_parameters([(48, 80), (80, 48), (6, 4)], torch.float32) for _ in range(2))
    before = values(ours)
    train(ours, TurboMuon(ours, **defaults), 10)
    train(theirs, torch.optim.Muon(theirs, **defaults), 10)
    assert relative_difference(ours, theirs, before) < 0.03


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ns_coefficients": (1.0, 2.0)}, r"ns_coefficients must be three finite numbers \(a, b, c\), .*got \(1\.0, 2"),
        ({"ns_coefficients": [(1.0, 2.0)]}, "ns_coefficients must be three finite numbers"),
        ({"ns_coefficients": (1.0, 2.0, math.nan)}, "ns_coefficients must be three finite numbers"),
        ({"ns_coefficients": []}, "ns_coefficients must be three finite numbers"),
        ({"ns_coefficients": 3.0}, "ns_coefficients must be three finite numbers .*got 3.0"),
        ({"ns_coefficients": "muon"}, "ns_coefficients must be three finite numbers .*got 'muon'"),
        ({"ns_steps": 0}, "steps must be an integer >= 1 .*got 0"),
        ({"ns_steps": 2.5}, "steps must be an integer >= 1 .*got 2.5"),
        ({"ns_coefficients": DISTINCT, "ns_steps": 4}, "steps must be an integer from 1 to 3 .*got 4"),
        ({"ns_steps": 3, "steps": 2}, "steps and ns_steps are two names of one option, got 2 and 3; give one"),
        ({"adjust_lr_fn": "rms"}, "adjust_lr must be one of 'original', .*got 'rms'"),
    ],
)
def test_torchs_options_are_checked(options, message):
    check_refused(options, ValueError, message)


def test_eps_is_checked_and_changes_nothing():
    with pytest.raises(ValueError, match="eps must be a finite number >= 0, got -1; it has no effect here"):
        TurboMuon(make_parameters(), eps=-1)
    first, second = make_parameters(), make_parameters()
    train(first, TurboMuon(first, eps=1e6), 2)
    train(second, TurboMuon(second), 2)
    assert all(map(torch.equal, first, second))


def test_maximize_goes_the_other_way_and_is_checked():
    up, down = make_parameters(), make_parameters()
    before = values(up)
    train(up, TurboMuon(up, maximize=True, dtype=None), 1)
    train(down, TurboMuon(down, dtype=None), 1)
    for p, q, start in zip(up, down, before, strict=True):
        torch.testing.assert_close(p.detach() - start, start - q.detach())
    with pytest.raises(TypeError, match="maximize must be True or False, got 1"):
        TurboMuon(up, maximize=1)


# --- parameters of several matrices ----------------------------------------------------------------------------------

MULTIPLE = [
    ({"split": "stacked"}, (5, 4, 6), lambda W: list(W)),
    ({"split": "stacked"}, (3, 6, 2, 2), lambda W: list(W.flatten(2))),
    ({"split": 3}, (12, 5), lambda W: [W[:4], W[4:8], W[8:]]),
    ({"split": (6, 2, 2)}, (10, 4), lambda W: [W[:6], W[6:8], W[8:]]),
    ({"split": [2, 4]}, (6, 2, 3), lambda W: [W[:2].flatten(1), W[2:].flatten(1)]),
    ({"transposed": True}, (6, 4), lambda W: [W.mT]),
    ({"transposed": True, "split": "stacked"}, (3, 6, 4), lambda W: list(W.mT)),
    ({"transposed": True, "split": 3}, (5, 12), lambda W: [W[:, :4].mT, W[:, 4:8].mT, W[:, 8:].mT]),
]


@pytest.mark.parametrize(("options", "shape", "pieces"), MULTIPLE)
@pytest.mark.parametrize("adjust_lr", FACTORS)
@pytest.mark.parametrize("make", [TurboMuon, lambda params, **options: SchattenMuon(params, exponent=0.0, **options)])
def test_each_matrix_of_a_parameter_is_orthogonalised_for_itself(options, shape, pieces, adjust_lr, make):
    """Against one optimizer a matrix, whose polar factors are exact."""
    (p,) = make_parameters([shape])
    apart = [torch.nn.Parameter(piece.detach().clone().contiguous()) for piece in pieces(p)]
    common = {"orthogonaliser": "svd", "dtype": None, "weight_decay": 0.1, "adjust_lr": adjust_lr}
    optimizer, optimizers = make([p], **common, **options), [TurboMuon([q], **common) for q in apart]
    for step in range(3):
        give_gradients([p], step)
        for q, gradient, each in zip(apart, pieces(p.grad), optimizers, strict=True):
            q.grad = gradient.clone().contiguous()
            each.step()
        optimizer.step()
    for mine, other in zip(pieces(p.detach()), apart, strict=True):
        torch.testing.assert_close(mine, other.detach(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("options", "shape", "pieces"), MULTIPLE)
def test_other_powers_and_preconditioners_take_each_matrix_too(options, shape, pieces):
    (p,) = make_parameters([shape])
    apart = [torch.nn.Parameter(piece.detach().clone().contiguous()) for piece in pieces(p)]
    common = {"exponent": 0.5, "preconditioner": "adam", "norm": "frobenius"}
    optimizer, optimizers = SchattenMuon([p], **common, **options), [SchattenMuon([q], **common) for q in apart]
    for step in range(3):
        give_gradients([p], step)
        for q, gradient, each in zip(apart, pieces(p.grad), optimizers, strict=True):
            q.grad = gradient.clone().contiguous()
            each.step()
        optimizer.step()
    for mine, other in zip(pieces(p.detach()), apart, strict=True):
        torch.testing.assert_close(mine, other.detach(), rtol=1e-9, atol=1e-9)


def test_stacked_experts_have_singular_values_near_one():
    """As one matrix (E, m n) an expert's had values from 0.02 to 0.77."""
    (p,) = make_parameters([(8, 16, 24)], torch.float32)
    before = p.detach().clone()
    train([p], TurboMuon([p], lr=1.0, momentum=0.0, split="stacked"), 1)
    sigma = torch.linalg.svdvals(before - p.detach())
    assert float(sigma.min()) > 0.5
    assert float(sigma.max()) < 1.3


@pytest.mark.parametrize(
    ("options", "shape", "message"),
    [
        ({"split": (4, 4)}, (10, 4), r"parameter 0 of group 0 has 10 rows, but split=\(4, 4\) sums to 8"),
        ({"split": 3}, (10, 4), "has 10 rows, which split=3 doesn't divide; give the rows of each part"),
        ({"split": (2, 2), "transposed": True}, (4, 6), r"has 6 rows, but split=\(2, 2\) sums to 4"),
        ({"split": "stacked"}, (10, 4), "takes 3 or more dimensions, the first for the stack"),
        ({"transposed": True}, (4, 3, 2), "transposed=True takes matrices, of 2 dimensions"),
        ({"split": "heads"}, (10, 4), "split must be None, 'stacked', a number of equal parts or .*got 'heads'"),
        ({"split": 0}, (10, 4), "split must be None.* got 0"),
        ({"split": (5, -5, 10)}, (10, 4), "split must be None"),
        ({"split": ()}, (10, 4), "split must be None"),
        ({"split": 2.5}, (10, 4), "split must be None"),
        ({"split": True}, (10, 4), "split must be None"),
    ],
)
def test_a_division_that_does_not_fit_is_named(options, shape, message):
    for kind in (TurboMuon, SchattenMuon):
        with pytest.raises(ValueError, match=message):
            kind(make_parameters([shape]), **options)


# --- narrow types ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make_split", [lambda: np.array([1, 3]), lambda: [np.int64(1), np.int64(3)], lambda: iter([1, 3])]
)
def test_sizes_may_be_any_integers_and_are_saved_as_pythons(make_split, tmp_path):
    first, second = make_parameters(shapes=[(4, 6)]), make_parameters(shapes=[(4, 6)])
    optimizers = [TurboMuon(first, split=(1, 3), steps=2), TurboMuon(second, split=make_split(), steps=np.int64(2))]
    for step in range(2):
        for p, optimizer in zip((first, second), optimizers, strict=True):
            give_gradients(p, step)
            optimizer.step()
    assert torch.equal(first[0], second[0])
    torch.save(optimizers[1].state_dict(), tmp_path / "saved")
    assert torch.load(tmp_path / "saved", weights_only=True)["param_groups"][0]["split"] == (1, 3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("make", [TurboMuon, SchattenMuon])
def test_with_master_weights_a_thousand_small_decays_are_not_lost(dtype, make):
    for master_weights, expected in ((False, 1.0), (True, (1 - 1e-4) ** 1000)):
        p = torch.nn.Parameter(torch.ones(4, 6, dtype=dtype))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            optimizer = make([p], lr=1e-3, weight_decay=0.1, master_weights=master_weights)
        for _ in range(1000):
            p.grad = torch.zeros_like(p)
            optimizer.step()
        assert torch.equal(p.detach(), torch.full_like(p, expected))


@pytest.mark.parametrize("make", [TurboMuon, lambda params, **options: SchattenMuon(params, exponent=0.5, **options)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_with_master_weights_steps_are_those_of_float32(make, dtype):
    narrow = make_parameters(dtype=dtype)
    wide = [torch.nn.Parameter(p.detach().float()) for p in narrow]
    options = {"lr": 1e-3, "weight_decay": 0.01}
    first, second = make(narrow, master_weights=True, **options), make(wide, **options)
    for step in range(50):
        give_gradients(narrow, step)
        for p, q in zip(narrow, wide, strict=True):
            q.grad = p.grad.float()
        first.step()
        second.step()
    for p, q in zip(narrow, wide, strict=True):
        assert torch.equal(p.detach(), q.detach().to(dtype))
        torch.testing.assert_close(p.detach() + first.state[p]["remainder"], q.detach(), rtol=1e-6, atol=1e-6)


def test_a_weight_that_is_set_from_outside_is_where_the_next_step_starts():
    (p,) = make_parameters([(4, 6)], torch.bfloat16)
    optimizer = TurboMuon([p], lr=0.01, master_weights=True)
    train([p], optimizer, 3)
    p.data.fill_(2.0)
    train([p], optimizer, 1, start=3)
    assert float((p.detach() - 2).abs().max()) < 0.03


def test_master_weights_change_nothing_for_float32():
    first, second = make_parameters(dtype=torch.float32), make_parameters(dtype=torch.float32)
    optimizer = TurboMuon(first, master_weights=True)
    train(first, optimizer, 3)
    train(second, TurboMuon(second), 3)
    assert all(map(torch.equal, first, second))
    assert all(set(state) == {"momentum_buffer"} for state in optimizer.state.values())


@pytest.mark.parametrize("kind", [TurboMuon, SchattenMuon])
def test_what_may_stand_still_or_suits_another_optimizer_is_warned_of(kind):
    with pytest.warns(UserWarning, match=r"parameter 1 of group 0, 'b', is narrower than float32 \(1 of .*master_weig"):
        kind([("a", make_parameters()[0]), ("b", make_parameters(dtype=torch.bfloat16)[0])])
    with pytest.warns(
        UserWarning, match=r"parameter 0 of group 0 has shape \(64, 1, 1\), a vector's.*LayerScale.*AdamW"
    ):
        kind([torch.nn.Parameter(torch.ones(64, 1, 1))])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kind(make_parameters(dtype=torch.float32))
        kind(make_parameters(dtype=torch.bfloat16), master_weights=True)
        kind([torch.nn.Parameter(torch.ones(64, 1, 1))], split="stacked")


@pytest.mark.parametrize(
    "coefficients",
    [RECIPES["turbo_muon_v1"].coefficients, RECIPES["turbo_muon_v1"], (-1.0, 0.0, 0.0), (3.0, -3.2, 0.0)],
)
def test_coefficients_that_step_uphill_are_warned_of(coefficients):
    with pytest.warns(UserWarning, match=r"aren't positive on \(0.0001, 1.02\).*uphill") as warned:
        TurboMuon(make_parameters(), ns_coefficients=coefficients)
    assert [each.filename for each in warned] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TurboMuon(make_parameters(), ns_coefficients=(1.5, -0.5, 0.0), ns_steps=9)
        TurboMuon(make_parameters(), ns_coefficients=RECIPES["cubic5"])


@pytest.mark.parametrize("kind", [TurboMuon, SchattenMuon])
def test_no_parameters_is_an_error_that_says_why(kind):
    routes = route_parameters(torch.nn.Sequential(torch.nn.Embedding(3, 4), torch.nn.Linear(4, 3)))
    message = f"{kind.__name__} got no parameters: none of the model's goes to the matrix method. print.*overrides"
    for nothing in (routes.matrix, routes.groups, iter(())):
        with pytest.raises(ValueError, match=message):
            kind(nothing)
