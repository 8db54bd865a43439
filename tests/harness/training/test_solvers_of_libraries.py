"""Solvers that wrap a library's optimizer against the update of the paper, in float64; and what training relies on."""

import importlib.util
import math

import pytest
import torch
from conftest import ROOT
from torch import nn
from training_toys import CPU, make_task

from orthobench.harness.training import Trainer, warmup_stable_decay
from orthobench.harness.training.solver import ADAMW_BETAS
from orthobench.optim import route_parameters


class Network(nn.Module):
    """Embeddings, a head, gains, biases; hidden matrices and kernels that are square, tall and wide."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(30, 24)
        self.body = nn.Sequential(nn.Linear(24, 24), nn.Linear(24, 40), nn.LayerNorm(40), nn.Linear(40, 20))
        self.kernels = nn.Sequential(
            nn.Conv2d(3, 24, 3), nn.Conv2d(24, 24, 1), nn.Conv2d(24, 40, 1), nn.Conv2d(40, 20, 3)
        )
        self.head = nn.Linear(20, 30)


def make_model(dtype=torch.float64, seed=0):
    model = Network().to(dtype)
    generator = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        p.data = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(dtype)
    return model


def load(name):
    """Return a solver of the benchmark, by its file, with the first of its values for each parameter.

    After a colon there may be another value of one of them.
    """
    name, _, other = name.partition(":")
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmark_muon" / "solvers" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    solver = module.Solver()
    for parameter, values in solver.parameters.items():
        setattr(solver, parameter, values[0])
    if other:
        setattr(solver, *other.split("="))
    return solver


def give_gradients(model, step, scale=1.0):
    generator = torch.Generator().manual_seed(100 + step)
    for p in model.parameters():
        gradient = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p.dtype) * scale
        p.grad = torch.empty_like(p).copy_(gradient)  # laid out in memory as the parameter is
    return {p: p.grad.detach().clone() for p in model.parameters()}


def newton_schulz(X):
    """Five steps of Jordan's quintic, in the type of X."""
    a, b, c = 3.4445, -4.7750, 2.0315
    Y = X.mT if X.size(-2) > X.size(-1) else X
    Y = Y / Y.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(5):
        A = Y @ Y.mT
        Y = a * Y + (b * A + c * A @ A) @ Y
    return Y.mT if X.size(-2) > X.size(-1) else Y


@pytest.fixture
def exact(monkeypatch):
    """Let the libraries, which orthogonalise in bfloat16 alone, do it in the type of the parameters."""
    from pytorch_optimizer.optimizer import scion
    from pytorch_optimizer.optimizer.muon import base, normuon

    def replacement(X, *_, **__):
        return newton_schulz(X)

    monkeypatch.setattr(torch.optim._muon, "_zeropower_via_newtonschulz", replacement)
    for module in (scion, base, normuon):
        monkeypatch.setattr(module, "zero_power_via_newton_schulz_5", replacement)


# What the papers do with one parameter: from its first value W and its gradients to its last value.


def sgd(W, gradients, solver):
    v, lr, mu = 0, solver.learning_rate, solver.momentum
    for G in gradients:  # Sutskever et al. (2013), at the point that they call theta + mu v
        v = mu * v + G
        W = W - lr * (G + mu * v)
    return W


def adamw(W, gradients, lr, weight_decay, betas=ADAMW_BETAS):
    m, v, (beta1, beta2) = 0, 0, betas
    for t, G in enumerate(gradients, 1):  # Loshchilov & Hutter (2019), Algorithm 2, its lambda being lr weight_decay
        m, v = beta1 * m + (1 - beta1) * G, beta2 * v + (1 - beta2) * G**2
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
        W = W - lr * weight_decay * W - lr * m_hat / (v_hat.sqrt() + 1e-8)
    return W


def lion(W, gradients, solver):
    m, lr = 0, solver.learning_rate
    for G in gradients:  # Chen et al. (2023), Algorithm 2
        W = W - lr * ((0.9 * m + 0.1 * G).sign() + solver.weight_decay * W)
        m = 0.99 * m + 0.01 * G
    return W


def schedule_free(W, gradients, solver):
    x, z, v, weights, lr = W, W, 0, 0, solver.learning_rate
    for t, G in enumerate(gradients, 1):  # Defazio et al. (2024), Algorithm 1; G is the gradient at y
        y = 0.1 * z + 0.9 * x
        v = 0.999 * v + 0.001 * G**2
        z = z - lr * G / ((v / (1 - 0.999**t)).sqrt() + 1e-8) - lr * solver.weight_decay * y
        weights += lr**2
        x = (1 - lr**2 / weights) * x + lr**2 / weights * z
    return x


def muon(W, gradients, solver):
    M, lr, (m, n) = 0, solver.learning_rate, W.shape
    for G in gradients:  # Jordan et al. (2024)
        M = 0.95 * M + G
        X = newton_schulz(G + 0.95 * M)
        W = W - lr * solver.weight_decay * W - lr * max(1, m / n) ** 0.5 * X
    return W


def adamuon(W, gradients, solver):
    M, V, lr, (m, n) = 0, 0, solver.learning_rate, W.shape
    for G in gradients:  # Si et al. (2025), Algorithm 1, with Nesterov's step as in their code
        M = 0.95 * M + G
        X = newton_schulz((G + 0.95 * M).sign())
        V = 0.95 * V + 0.05 * X**2
        D = X / (V.sqrt() + 1e-8)
        W = W - lr * (0.2 * math.sqrt(m * n) / D.norm() * D + solver.weight_decay * W)
    return W


def normuon(W, gradients, solver):
    M, v, lr, (m, n) = 0, 0, solver.learning_rate, W.shape
    released = solver.algorithm == "released"
    for G in gradients:  # Li et al. (2025), Algorithm 1, or their code: a Nesterov step, Muon's norm and scale
        M = 0.95 * M + 0.05 * G
        X = newton_schulz(0.95 * M + 0.05 * G if released else M)
        v = 0.95 * v + 0.05 * (X**2).mean(1, keepdim=True)
        D = X / v.sqrt()
        size = max(1, m / n) ** 0.5 * X.norm() if released else 0.2 * math.sqrt(m * n)
        W = W - lr * solver.weight_decay * W - lr * size / D.norm() * D
    return W


def scion(W, gradients, solver, hidden):
    d, alpha = 0, solver.momentum
    for G in gradients:  # Pethick et al. (2025), Algorithm 1 (unconstrained), Tables 2 to 4
        d = (1 - alpha) * d + alpha * G
        outputs, inputs, *kernel = (*W.shape, 1)
        if W.ndim == 1:
            lmo = d / d.square().mean().sqrt()
        elif W.ndim == 4 or hidden:
            lmo = newton_schulz(d.flatten(1)).view(W.shape) * (outputs / inputs) ** 0.5 / math.prod(kernel)
        else:
            lmo = d.sign() / inputs  # of a table of embeddings its width: the radius is 1 / width there
        W = W - solver.learning_rate * (solver.scale if W.ndim == 4 or hidden else 1.0) * lmo
    return W


def unfolded(G, dimension):
    return G.movedim(dimension, 0).reshape(G.shape[dimension], -1)


def multiplied(G, matrices):
    """Multiply each dimension of G by its matrix."""
    for dimension, matrix in enumerate(matrices):
        G = torch.tensordot(matrix, G, dims=([1], [dimension])).movedim(0, dimension)
    return G


def shampoo(W, gradients, solver):
    """Anil et al. (2020): Shampoo with averages, the norms of AdaGrad ("grafting"), and momentum."""
    shape, before = [1], W.shape
    for size in W.shape:  # neighbouring dimensions are one as long as it has at most 512 entries
        shape = [*shape[:-1], shape[-1] * size] if shape[-1] * size <= 512 else [*shape, size]
    W, lr, order = W.reshape(shape), solver.learning_rate, len(shape)
    statistics = [1e-6 * torch.eye(size, dtype=W.dtype) for size in shape]
    roots, squares, momentum, plain = None, 0, 0, 0
    for t, G in enumerate(gradients, 1):
        G = G.reshape(shape)
        squares = squares + G**2
        adagrad = G / squares.sqrt()
        statistics = [0.999 * L + 0.001 * unfolded(G, i) @ unfolded(G, i).T for i, L in enumerate(statistics)]
        if t % 10 == 0:
            factors = [torch.linalg.eigh(L) for L in statistics]
            roots = [Q * (s + 1e-6 * s[-1]) ** (-0.5 / order) @ Q.T for s, Q in factors]
        direction = G if roots is None or order == 1 else multiplied(G, roots)
        direction = adagrad if order == 1 else direction * adagrad.norm() / direction.norm()
        direction, adagrad = direction + solver.weight_decay * W, adagrad + solver.weight_decay * W
        momentum, plain = 0.9 * momentum + direction, 0.9 * plain + adagrad
        W = W - lr * (0.9 * momentum + direction if t >= 10 else 0.9 * plain + adagrad)
    return W.reshape(before)


def soap(W, gradients, solver, bases):
    """Vyas et al. (2024), Algorithm 3; the first gradient makes the bases alone. No basis for a vector."""
    m, v, lr = 0, 0, solver.learning_rate
    dimensions = range(W.ndim if W.ndim > 1 else 0)
    L = [0.05 * unfolded(gradients[0], i) @ unfolded(gradients[0], i).T for i in dimensions]
    Q = list(bases)  # of equal eigenvalues any basis will do: it is theirs, if it is one
    for matrix, basis in zip(L, Q, strict=True):
        torch.testing.assert_close(basis.T @ basis, torch.eye(len(basis), dtype=W.dtype))
        rotated = basis.T @ matrix @ basis
        torch.testing.assert_close(
            rotated, rotated.diagonal().diag(), rtol=0, atol=1e-12 * float(matrix.norm()) + 1e-10
        )
    for t, G in enumerate(gradients[1:], 1):
        m, v = 0.95 * m + 0.05 * G, 0.95 * v + 0.05 * multiplied(G, [each.T for each in Q]) ** 2
        step = multiplied(m / (1 - 0.95**t), [each.T for each in Q]) / ((v / (1 - 0.95**t)).sqrt() + 1e-8)
        W = (W - lr * multiplied(step, Q)) * (1 - lr * solver.weight_decay)
        L = [0.95 * matrix + 0.05 * unfolded(G, i) @ unfolded(G, i).T for i, matrix in enumerate(L)]
        if t % 10 == 0:
            for i, matrix in enumerate(L):  # columns in the order of their Rayleigh quotients, and v with them
                order = (Q[i] * (matrix @ Q[i])).sum(0).argsort(descending=True)
                v = v.index_select(i, order)
                Q[i] = torch.linalg.qr(matrix @ Q[i][:, order])[0]
    return W


# Solver, paper, steps, tolerance (one takes a QR factor in float32, another stops its iteration at 1e-3).
CASES = {
    "sgd": (sgd, 3, 1e-12),
    "adamw": (lambda W, gradients, solver: adamw(W, gradients, solver.learning_rate, solver.weight_decay), 3, 1e-12),
    "lion": (lion, 3, 1e-12),
    "schedule_free": (schedule_free, 3, 1e-8),
    "torch_muon": (muon, 3, 1e-9),
    "adamuon": (adamuon, 3, 1e-6),
    "normuon": (normuon, 3, 1e-8),
    "normuon:algorithm=paper": (normuon, 3, 1e-8),
    "scion": (scion, 3, 1e-6),
    "shampoo": (shampoo, 12, 1e-3),
    "soap": (soap, 13, 1e-4),
}
MATRIX_SOLVERS = ("torch_muon", "adamuon", "normuon", "normuon:algorithm=paper")


def in_float64(optimizers):
    """Let our own optimizers orthogonalise in the type of the parameters, too."""
    for group in (group for optimizer in optimizers for group in optimizer.param_groups):
        if "dtype" in group:
            group["dtype"] = None
    return optimizers


@pytest.mark.parametrize("name", CASES)
def test_steps_are_those_of_the_paper(name, exact):
    paper, steps, tolerance = CASES[name]
    solver, model = load(name), make_model()
    optimizers = in_float64(solver.optimizers(model))
    routes = route_parameters(model, kernels=getattr(solver, "kernels", True))
    before = {p: p.detach().clone() for p in model.parameters()}
    gradients, bases = {p: [] for p in model.parameters()}, {}
    for step in range(steps):
        for p, gradient in give_gradients(model, step).items():
            gradients[p].append(gradient)
        for optimizer in optimizers:
            optimizer.step()
        if name == "soap" and step == 0:
            bases = {p: [each for each in optimizers[0].state[p]["Q"] if len(each)] for p in model.parameters()}
    for optimizer in optimizers:
        if hasattr(optimizer, "eval"):
            optimizer.eval()
    for parameter_name, p in model.named_parameters():
        hidden = any(p is each for each in routes.matrix)
        W, mine = before[p], gradients[p]
        if name in MATRIX_SOLVERS and not hidden:
            expected = adamw(W, mine, solver.adamw_learning_rate, solver.weight_decay)
        elif name in MATRIX_SOLVERS:
            expected = paper(W.flatten(1), [each.flatten(1) for each in mine], solver).view(W.shape)
        else:
            more = {"scion": {"hidden": hidden}, "soap": {"bases": bases.get(p)}}.get(name, {})
            expected = paper(W, mine, solver, **more)
        error = (p.detach() - expected).norm() / (expected - W).norm()
        assert error < tolerance, (parameter_name, float(error))


@pytest.mark.parametrize("name", CASES)
def test_a_zero_gradient_beside_others_moves_nothing_and_no_number_is_lost(name):
    solver = load(name)
    if hasattr(solver, "weight_decay"):
        solver.weight_decay = 0.0
    for parity in (0, 1):
        model = make_model(torch.float32)
        optimizers = solver.optimizers(model)
        parameters = list(model.parameters())
        before = [p.detach().clone() for p in parameters]
        for step in range(CASES[name][1]):
            give_gradients(model, step)
            for p in parameters[parity::2]:
                p.grad.zero_()
            for optimizer in optimizers:
                optimizer.step()
        for index, (p, start) in enumerate(zip(parameters, before, strict=True)):
            assert p.isfinite().all()
            assert torch.equal(p, start) == (index % 2 == parity)


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_kernels_in_channels_last_do_what_contiguous_ones_do(name, alone, exact):
    results = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        model, solver = make_model().to(memory_format=memory_format), load(name)
        before = model.kernels[3].weight.detach().clone()
        optimizers = in_float64(solver.optimizers(model))
        if alone:
            for group in (group for optimizer in optimizers for group in optimizer.param_groups):
                group["params"] = [p for p in group["params"] if p is model.kernels[3].weight]
        for step in range(CASES[name][1]):
            give_gradients(model, step)
            for optimizer in optimizers:
                optimizer.step()
        results.append(model.kernels[3].weight.detach() - before)
    assert model.kernels[3].weight.is_contiguous(memory_format=torch.channels_last)
    assert float((results[0] - results[1]).norm() / results[0].norm()) < 1e-5


TRAINED = [*CASES, "turbo_muon"]  # by the loop of the harness


def make_trainer(name, task, **settings):
    solver = load(name)
    for parameter, value in settings.items():
        if hasattr(solver, parameter):
            setattr(solver, parameter, value)
    torch.manual_seed(0)
    return Trainer(task, task.make_model(0), solver.optimizers, 0, CPU, decays=solver.decays)


@pytest.mark.parametrize("name", TRAINED)
def test_all_rates_follow_the_schedule_and_keep_their_ratios(name):
    task = make_task(steps=40)
    trainer = make_trainer(name, task, learning_rate=0.02, adamw_learning_rate=1e-5)
    found = [[] for _ in trainer.optimizers]
    for optimizer, rates in zip(trainer.optimizers, found, strict=True):
        optimizer.register_step_pre_hook(
            lambda its, *_, rates=rates: rates.append({group["lr"] for group in its.param_groups})
        )
    for _ in range(task.steps):
        trainer.step()
    decay = 0.0 if name == "schedule_free" else 0.4
    shape = [warmup_stable_decay(step, task.steps, decay=decay) for step in range(task.steps)]
    assert shape[0] < 1
    for rates, highest in zip(found, (0.02, 1e-5), strict=False):
        assert rates == [{highest * factor} for factor in shape]


@pytest.mark.parametrize("name", TRAINED)
def test_each_step_has_the_gradients_of_its_batch_alone(name):
    # At a rate of zero, with all examples in each batch, they are always the same. Some optimizers overwrite them.
    task = make_task(dropout=0.0, batch_size=32)
    trainer = make_trainer(name, task, learning_rate=0.0, adamw_learning_rate=0.0)
    seen = {p: [] for p in trainer.model.parameters()}

    def look(optimizer, *_):
        for p in (p for group in optimizer.param_groups for p in group["params"]):
            seen[p].append(p.grad.clone())

    for optimizer in trainer.optimizers:
        optimizer.register_step_pre_hook(look)
    for _ in range(4):
        trainer.step()
    for gradients in seen.values():
        assert len(gradients) == 4
        assert gradients[0].norm() > 0
        for gradient in gradients:
            torch.testing.assert_close(gradient, gradients[0])


def test_schedule_free_shows_averages_at_each_evaluation_and_trains_on_as_if_there_were_none():
    task = make_task(dropout=0.0)

    def make():
        trainer = make_trainer("schedule_free", task)
        return trainer, list(trainer.model.parameters()), trainer.optimizers[0]

    (plain, expected, _), (shown, parameters, optimizer) = make(), make()
    for step in range(task.steps):
        plain.step()
        shown.step()
        at_gradient = [p.detach().clone() for p in parameters]
        for p, other in zip(parameters, expected, strict=True):
            torch.testing.assert_close(p, other, rtol=1e-5, atol=1e-7)
        shown.show_weights()
        shown.show_weights()  # a second evaluation of the same weights
        for p, y in zip(parameters, at_gradient, strict=True):
            average = (y - 0.1 * optimizer.state[p]["z"]) / 0.9  # y = 0.1 z + 0.9 x
            torch.testing.assert_close(p.detach(), average, rtol=1e-5, atol=1e-6)
        if step == 6:  # a checkpoint between an evaluation and the next step
            optimizer.load_state_dict(optimizer.state_dict())
