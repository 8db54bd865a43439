"""AdaMuon against Algorithm 1 of its paper, in float64; and what it keeps."""

import copy
import math

import pytest
import torch

from orthobench.linalg import orthogonalise
from orthobench.optim import AdaMuon

SHAPES = [(6, 4), (4, 6), (5, 5), (6, 4), (4, 3, 5), (12, 2, 2, 2), (1, 6), (6, 1)]


def make_parameters(dtype=torch.float64, shapes=SHAPES):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)) for shape in shapes
    ]


def train(parameters, optimizer, steps, start=0):
    for step in range(start, start + steps):
        for index, p in enumerate(parameters):
            generator = torch.Generator().manual_seed(1000 * step + index)
            p.grad = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p.dtype)
        optimizer.step()


def paper(W, gradients, lr, beta, weight_decay, nesterov):
    M, V, shape = 0, 0, W.shape
    W, (m, n) = W.flatten(1), (len(W), W.numel() // len(W))
    for G in gradients:
        G = G.flatten(1)
        M = beta * M + G
        X = orthogonalise((G + beta * M if nesterov else M).sign(), "svd")
        V = beta * V + (1 - beta) * X**2
        D = X / (V.sqrt() + 1e-8)
        W = W - lr * (0.2 * math.sqrt(m * n) / D.norm() * D + weight_decay * W)
    return W.view(shape)


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_ten_steps_are_those_of_the_paper(nesterov, weight_decay):
    parameters = make_parameters()
    before = [p.detach().clone() for p in parameters]
    options = {"lr": 0.05, "momentum": 0.9, "nesterov": nesterov, "weight_decay": weight_decay}
    train(parameters, AdaMuon(parameters, orthogonaliser="svd", dtype=None, **options), 10)
    for index, (p, W) in enumerate(zip(parameters, before, strict=True)):
        seeds = [torch.Generator().manual_seed(1000 * step + index) for step in range(10)]
        gradients = [torch.randn(p.shape, generator=seed, dtype=torch.float64) for seed in seeds]
        expected = paper(W, gradients, 0.05, 0.9, weight_decay, nesterov)
        assert float((p.detach() - expected).norm() / (expected - W).norm()) < 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_step_has_the_root_mean_square_that_it_promises(dtype):
    parameters = [torch.nn.Parameter(torch.zeros(shape, dtype=dtype)) for shape in SHAPES]
    train(parameters, AdaMuon(parameters, lr=1.0), 1)
    for p in parameters:
        assert float(p.detach().double().square().mean().sqrt()) == pytest.approx(0.2, rel=1e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_zero_gradient_moves_nothing(dtype):
    parameters = make_parameters(dtype)
    before = [p.detach().clone() for p in parameters]
    optimizer = AdaMuon(parameters)
    for p in parameters:
        p.grad = torch.zeros_like(p)
    optimizer.step()
    assert all(map(torch.equal, parameters, before))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_shows_in_its_parameter_alone(bad):
    parameters = make_parameters(torch.float32, [(6, 4), (6, 4), (4, 6)])
    optimizer = AdaMuon(parameters)
    for p in parameters:
        p.grad = torch.ones_like(p)
    parameters[1].grad[2, 3] = bad
    optimizer.step()
    assert [bool(p.isfinite().all()) for p in parameters] == [True, False, True]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_training_goes_on_after_a_save_to_the_last_bit(dtype, tmp_path):
    parameters = make_parameters(dtype)
    optimizer = AdaMuon(parameters, weight_decay=0.1)
    train(parameters, optimizer, 3)
    torch.save(optimizer.state_dict(), tmp_path / "saved")
    resumed = copy.deepcopy(parameters)
    other = AdaMuon(resumed, lr=7.0, nesterov=False)
    other.load_state_dict(torch.load(tmp_path / "saved", weights_only=True))
    train(parameters, optimizer, 3, start=3)
    train(resumed, other, 3, start=3)
    assert all(map(torch.equal, parameters, resumed))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (6, 4)),
        ({"split": (1, 3, 2)}, (6, 4)),
        ({"split": 2, "transposed": True}, (4, 6)),
        ({"split": "stacked"}, (3, 4, 5)),
    ],
)
def test_with_master_weights_steps_are_those_of_float32(options, shape, dtype):
    narrow = make_parameters(dtype, [shape, shape])
    wide = [torch.nn.Parameter(p.detach().float()) for p in narrow]
    options = {"lr": 1e-3, "weight_decay": 0.01, **options}
    first, second = AdaMuon(narrow, master_weights=True, **options), AdaMuon(wide, **options)
    for step in range(20):
        train(narrow, first, 1, start=step)
        for p, q in zip(narrow, wide, strict=True):
            q.grad = p.grad.float()
        second.step()
    for p, q in zip(narrow, wide, strict=True):
        assert torch.equal(p.detach(), q.detach().to(dtype))
        assert first.state[p]["second_moment"].dtype == torch.float32


def test_the_compiled_step_does_what_the_plain_one_does():
    plain, compiled = (make_parameters(torch.float32, SHAPES[:2]) for _ in range(2))
    before = [p.detach().clone() for p in plain]
    options = {"lr": 0.05, "weight_decay": 0.1, "dtype": None}
    first, second = AdaMuon(plain, **options), AdaMuon(compiled, **options)
    torch._dynamo.reset()
    train(plain, first, 2)
    second.step = torch.compile(second.step, backend="eager", fullgraph=True)
    train(compiled, second, 2)
    torch._dynamo.reset()
    for p, q, start in zip(plain, compiled, before, strict=True):
        assert float((p - q).detach().norm() / (p - start).detach().norm()) < 1e-3


def test_options_out_of_range_are_refused():
    with pytest.raises(ValueError, match="momentum must be"):
        AdaMuon(make_parameters(), momentum=1.0)
    with pytest.raises(ValueError, match="2 or more dimensions"):
        AdaMuon([torch.nn.Parameter(torch.zeros(3))])
