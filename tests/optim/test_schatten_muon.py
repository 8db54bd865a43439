"""SchattenMuon against the optimizers that it contains, and against textbook loops in float64."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from orthobench.models import byte_transformer, digits_convnet, hidden_weights
from orthobench.optim import (
    ActivationMoments,
    SchattenMuon,
    TurboMuon,
    dynmuon_schedule,
    predicted_decrease,
    route_parameters,
    two_direction_step,
)
from orthobench.optim import powers as powers_module

pytestmark = pytest.mark.filterwarnings("ignore:.*narrower than float32", "ignore:.*a vector's")

SHAPES = [(6, 4), (4, 6), (5, 5), (6, 4), (4, 3, 5), (12, 2, 2, 2), (1, 6), (6, 1)]
CRITERIA = ("bound", "momentum", "tightness", "two_directions")
PLAIN = {"norm": "none", "adjust_lr": "none"}
EXACT = {"orthogonaliser": "svd", "dtype": None}
DENSE = np.linspace(0, 1, 4001)


def gaussian(shape, seed, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def make_parameters(shapes=SHAPES, dtype=torch.float64):
    return [nn.Parameter(gaussian(shape, index, dtype)) for index, shape in enumerate(shapes)]


def give_gradients(parameters, step, scale=1.0):
    """Set gaussian gradients, the same for the same step."""
    for index, p in enumerate(parameters):
        p.grad = gaussian(p.shape, 1000 * (step + 1) + index, p.dtype) * scale


def values(parameters):
    return [p.detach().clone() for p in parameters]


def train(parameters, optimizer, steps, start=0, scale=1.0):
    for step in range(start, start + steps):
        give_gradients(parameters, step, scale)
        optimizer.step()
    return values(parameters)


def assert_same(actual, expected, tolerance=1e-10):
    for mine, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(mine.detach(), theirs.detach(), rtol=tolerance, atol=tolerance)


def power(X, e):
    U, s, Vh = torch.linalg.svd(X, full_matrices=False)
    return (U * s**e) @ Vh


# --- what it contains ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("mu", [0.0, 0.9])
def test_with_exponent_one_it_is_sgd_at_the_rate_of_the_sum(nesterov, mu):
    ours, theirs = make_parameters(), make_parameters()
    train(ours, SchattenMuon(ours, lr=0.3, momentum=mu, nesterov=nesterov, exponent=1, **PLAIN), 10)
    train(theirs, torch.optim.SGD(theirs, lr=0.3 * (1 - mu), momentum=mu, nesterov=nesterov and mu > 0), 10)
    assert_same(ours, theirs)


@pytest.mark.parametrize("options", [{}, {"exponent": 0}, {"exponent": 0.0, "norm": "none"}, {"method": "products"}])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("orthogonaliser", ["turbo_muon", "muon", "svd"])
def test_with_exponent_zero_it_is_turbo_muon_to_the_last_bit(options, dtype, orthogonaliser):
    for adjust_lr in ("original", "spectral"):
        common = {"lr": 0.1, "weight_decay": 0.1, "adjust_lr": adjust_lr, "orthogonaliser": orthogonaliser}
        ours, theirs = make_parameters(dtype=dtype), make_parameters(dtype=dtype)
        train(ours, SchattenMuon(ours, **common, **options), 10)
        train(theirs, TurboMuon(theirs, **common), 10)
        assert all(map(torch.equal, ours, theirs))


def test_with_exponent_zero_and_muons_orthogonaliser_it_is_torchs_muon_in_float64():
    """Torch iterates in bfloat16 whatever the parameters are: 3 % of the way, all else would be 100 times as near."""
    shapes = [shape for shape in SHAPES if len(shape) == 2] + [(48, 80), (80, 48)]
    ours, theirs = make_parameters(shapes), make_parameters(shapes)
    start = values(ours)
    options = {"lr": 0.03, "momentum": 0.9, "weight_decay": 0.1}
    train(ours, SchattenMuon(ours, orthogonaliser="muon", exponent=0, **options), 10)
    train(theirs, torch.optim.Muon(theirs, **options), 10)
    for mine, other, before in zip(ours, theirs, start, strict=True):
        assert (mine - other).norm() < 0.03 * (other - before).norm()


def test_with_exponent_zero_and_an_svd_it_is_exact_muon_whichever_the_norm():
    theirs = make_parameters()
    train(theirs, TurboMuon(theirs, lr=0.1, **EXACT), 10)
    for norm in ("muon", "frobenius", "spectral", "none"):
        ours = make_parameters()
        train(ours, SchattenMuon(ours, lr=0.1, norm=norm, **EXACT), 10)
        assert_same(ours, theirs)


def test_padam_with_exponent_one_is_adam():
    ours, theirs = make_parameters(), make_parameters()
    options = {"exponent": 1, "preconditioner": "padam", "beta2": 0.99, "eps": 1e-30, **PLAIN}
    train(ours, SchattenMuon(ours, lr=0.1, momentum=0.9, nesterov=False, **options), 10)
    train(theirs, torch.optim.Adam(theirs, lr=0.1, betas=(0.9, 0.99), eps=0), 10)
    assert_same(ours, theirs)


def test_padam_with_exponent_zero_is_muon():
    ours, theirs = make_parameters(), make_parameters()
    train(ours, SchattenMuon(ours, preconditioner="padam", **EXACT), 10)
    train(theirs, TurboMuon(theirs, **EXACT), 10)
    assert_same(ours, theirs)


@pytest.mark.parametrize("nesterov", [True, False])
def test_adam_with_exponent_zero_is_muadam(nesterov):
    parameters = make_parameters()
    expected = values(parameters)
    options = {"preconditioner": "adam", "beta2": 0.95, "eps": 1e-12, **PLAIN, **EXACT}
    train(parameters, SchattenMuon(parameters, lr=0.1, momentum=0.8, nesterov=nesterov, **options), 10)
    for index, start in enumerate(expected):
        W = start.flatten(1).clone()
        m, v = torch.zeros_like(W), torch.zeros_like(W)
        for step in range(1, 11):
            G = gaussian(start.shape, 1000 * step + index).flatten(1)
            m, v = 0.8 * m + 0.2 * G, 0.95 * v + 0.05 * G * G
            m_hat = (0.8 * m + 0.2 * G) / (1 - 0.8 ** (step + 1)) if nesterov else m / (1 - 0.8**step)
            D = (v / (1 - 0.95**step) + 1e-12) ** -0.25
            W -= 0.1 * D * power(D * m_hat, 0)
        torch.testing.assert_close(parameters[index].detach().flatten(1), W)


# --- between ---------------------------------------------------------------------------------------------------------


def textbook(shape, gradients, start, e, norm, kappa=None, preconditioner=None, adjust_lr="original"):
    """Ten lines of algebra, one matrix at a time: lr 0.1, mu 0.9, nesterov, decay 0.2, beta2 0.95."""
    W = start.flatten(1).clone()
    least, most = min(W.shape), max(W.shape)
    m, v = torch.zeros_like(W), torch.zeros_like(W)
    for step, G in enumerate(gradients, 1):
        G = G.flatten(1)
        m, v = 0.9 * m + 0.1 * G, 0.95 * v + 0.05 * G**2
        U, D = 0.9 * m + 0.1 * G, torch.ones_like(W)
        if preconditioner:
            U = U / (1 - 0.9 ** (step + 1))
            a = 0.25 if preconditioner == "adam" else 1 / (2 * (1 / e + 1))
            D = (v / (1 - 0.95**step) + 1e-16) ** -a
        X = power(D * U, e)
        if norm == "muon":  # the singular values over their root mean square, and their norm after the second D
            wanted = ((torch.linalg.svdvals(D * U) / torch.linalg.svdvals(D * U).square().mean().sqrt()) ** e).norm()
            X = D * X
            X *= wanted / X.norm()
        elif norm == "frobenius":
            X = D * X
            pinned = math.sqrt(least) * (1 if kappa is None else kappa * math.sqrt(most)) ** e
            X *= pinned / X.norm()
        elif norm == "spectral":
            X = D * X
            X /= torch.linalg.svdvals(X)[0]
        else:
            X = D * X
        f = math.sqrt(max(1, W.shape[0] / W.shape[1])) if adjust_lr == "original" else 1
        W = W - 0.1 * 0.2 * W - 0.1 * f * X
    return W.reshape(shape)


CASES = [
    (e, options)
    for e in (-0.5, -0.1, 0.3, 0.5, 1)
    for options in (
        {"norm": "muon"},
        {"norm": "frobenius"},
        {"norm": "frobenius", "kappa": 0.2, "adjust_lr": "none"},
        {"norm": "spectral"},
        {"norm": "none"},
        {"norm": "muon", "preconditioner": "adam"},
        {"norm": "frobenius", "preconditioner": "padam"},
        {"norm": "muon", "preconditioner": "padam"},
        {"norm": "none", "preconditioner": "padam"},
    )
    if e >= 0 or options.get("preconditioner") != "padam"
]


@pytest.mark.parametrize("method", ["eigh", "svd"])
@pytest.mark.parametrize(("e", "options"), CASES)
def test_ten_steps_are_those_of_the_textbook(method, e, options):
    parameters = make_parameters()
    before = values(parameters)
    common = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.2, "beta2": 0.95}
    train(parameters, SchattenMuon(parameters, exponent=e, method=method, **common, **options), 10)
    for index, (p, start) in enumerate(zip(parameters, before, strict=True)):
        gradients = [gaussian(p.shape, 1000 * (step + 1) + index) for step in range(10)]
        expected = textbook(p.shape, gradients, start, e, **options)
        torch.testing.assert_close(p.detach(), expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("e", [1 / 8, 1 / 4, 1 / 2])
def test_matrix_products_come_near_enough(e):
    parameters = make_parameters()
    before = values(parameters)
    train(parameters, SchattenMuon(parameters, 0.1, 0.9, exponent=e, method="products", weight_decay=0.2), 10)
    for index, (p, start) in enumerate(zip(parameters, before, strict=True)):
        gradients = [gaussian(p.shape, 1000 * (step + 1) + index) for step in range(10)]
        expected = textbook(p.shape, gradients, start, e, "muon")
        assert (p.detach() - expected).norm() < 0.02 * (expected - start).norm()


@pytest.mark.parametrize("preconditioner", [None, "adam", "padam"])
@pytest.mark.parametrize("norm", ["muon", "frobenius", "spectral"])
@pytest.mark.parametrize("e", [0, 0.3, 1])
def test_the_scale_of_the_loss_does_not_matter_unless_the_norm_is_none(preconditioner, norm, e):
    results = []
    for scale in (1.0, 1e-12, 1e9):
        parameters = make_parameters()
        options = {"exponent": e, "norm": norm, "preconditioner": preconditioner, "eps": 1e-36}
        train(parameters, SchattenMuon(parameters, **options, **EXACT), 3, scale=scale)
        results.append(parameters)
    assert_same(results[1], results[0], 1e-8)
    assert_same(results[2], results[0], 1e-8)


@pytest.mark.parametrize("e", [0, 0.4, 1])
def test_a_step_has_the_norm_that_was_asked_for(e):
    for shape in ((6, 4), (4, 6)):
        for options, expected in (
            ({"norm": "spectral"}, lambda D: torch.linalg.matrix_norm(D, 2) == pytest.approx(1)),
            ({"norm": "frobenius"}, lambda D: D.norm() == pytest.approx(2)),
            ({"norm": "frobenius", "kappa": 0.3}, lambda D: D.norm() == pytest.approx(2 * (0.3 * 6**0.5) ** e)),
            ({"norm": "muon"}, lambda D: D.norm() <= 2 + 1e-9),
        ):
            for preconditioner in (None, "adam", "padam"):
                (p,) = make_parameters([shape])
                before = p.detach().clone()
                options |= {"exponent": e, "preconditioner": preconditioner, "adjust_lr": "none"}
                train([p], SchattenMuon([p], lr=1, **options, **EXACT), 1)
                assert expected(before - p.detach())


def test_the_kappa_pin_gives_adams_steps_their_size():
    """In expectation, for gradients that are noise: the momentum's variance is rho^2 that of a gradient."""
    steps, ours, adams = 60, make_parameters([(40, 60)]), make_parameters([(40, 60)])
    rho = math.sqrt((1 - 0.9) / (1 + 0.9))
    options = {"exponent": 1, "preconditioner": "padam", "norm": "frobenius", "kappa": 0.003 * rho / 0.02}
    first = SchattenMuon(ours, lr=0.02, momentum=0.9, nesterov=False, adjust_lr="none", **options)
    second = torch.optim.Adam(adams, lr=0.003, betas=(0.9, 0.999))
    sizes = []
    for step in range(steps):
        before = values(ours)[0], values(adams)[0]
        train(ours, first, 1, start=step)
        train(adams, second, 1, start=step)
        sizes.append([float((p[0].detach() - b).norm()) for p, b in zip((ours, adams), before, strict=True)])
    mine, theirs = (sum(each[i] for each in sizes[30:]) for i in range(2))
    assert mine == pytest.approx(theirs, rel=0.05)


def test_equal_shapes_with_equal_exponents_are_one_call(monkeypatch):
    calls = []

    def counted(matrices, exponent, method):
        calls.append((exponent, len(matrices)))
        return original(matrices, exponent, method)

    original = powers_module.schatten_power
    monkeypatch.setattr(powers_module, "schatten_power", counted)
    parameters = make_parameters([(4, 6)] * 5)
    groups = [{"params": parameters[:3], "exponent": 0.5}, {"params": parameters[3:], "exponent": 0.25}]
    train(parameters, SchattenMuon(groups), 1)
    assert calls == [(0.5, 3), (0.25, 2)]


@pytest.mark.parametrize("options", [{"exponent": 0.5}, {"exponent": 1, **PLAIN}, {"preconditioner": "adam"}])
@pytest.mark.parametrize("nesterov", [True, False])
def test_gradients_and_momenta_are_left_as_they_should_be(options, nesterov):
    parameters = make_parameters()
    optimizer = SchattenMuon(parameters, nesterov=nesterov, **options)
    expected = [torch.zeros_like(p) for p in parameters]
    for step in range(3):
        give_gradients(parameters, step)
        gradients = values([p.grad for p in parameters])
        optimizer.step()
        for M, p, G in zip(expected, parameters, gradients, strict=True):
            M.lerp_(G, 1 - 0.95)
            assert torch.equal(p.grad, G)
            assert torch.equal(optimizer.state[p]["momentum_buffer"], M)


# --- schedules -------------------------------------------------------------------------------------------------------


def test_the_schedule_is_the_logistic_curve():
    schedule = dynmuon_schedule(1000)
    for step in (0, 1, 40, 100, 999, 1000):
        expected = -0.25 + 0.5 / (1 + math.exp((step / 1000 - 0.04) / 0.04))
        assert schedule(step) == pytest.approx(expected, abs=1e-15)
    assert schedule(40) == 0
    assert schedule(0) == pytest.approx(0.1155, abs=1e-4)
    other = dynmuon_schedule(200, high=1, low=-0.5, tau=0.5, width=0.001)
    assert [other(0), other(100), other(200)] == [1, 0.25, -0.5]
    assert [other(step) for step in range(201)] == sorted((other(step) for step in range(201)), reverse=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, r"steps must be an integer >= 1, got 0; give the steps of the whole run"),
        ({"steps": 10.0}, "steps must be an integer >= 1, got 10.0"),
        ({"steps": True}, "steps must be an integer >= 1, got True"),
        ({"steps": 10, "high": 1.1}, r"exponent must be a number from -0\.5 to 1, got 1\.1"),
        ({"steps": 10, "low": math.nan}, r"exponent must be a number from -0\.5 to 1, got nan"),
        ({"steps": 10, "width": 0}, r"tau must be finite and width > 0, got tau=0\.04, width=0; 0\.04"),
        ({"steps": 10, "tau": math.inf}, "tau must be finite and width > 0, got tau=inf"),
    ],
)
def test_a_schedule_is_checked(options, message):
    with pytest.raises(ValueError, match=message):
        dynmuon_schedule(**options)


def test_a_function_of_the_step_gives_the_exponent_of_each_step():
    steps = [1, 0.5, 0, -0.25]
    scheduled, by_hand = make_parameters(), make_parameters()
    first = SchattenMuon(scheduled, exponent=lambda step: steps[step])
    second = SchattenMuon(by_hand)
    assert set(first.exponents().values()) == {1.0}
    for step, exponent in enumerate(steps):
        second.param_groups[0]["exponent"] = exponent
        train(scheduled, first, 1, start=step)
        train(by_hand, second, 1, start=step)
        assert set(first.exponents().values()) == set(second.exponents().values()) == {float(exponent)}
    assert all(map(torch.equal, scheduled, by_hand))


def test_an_exponent_that_a_function_returns_is_checked():
    for options, message in (
        ({"exponent": lambda step: 2}, "from -0.5 to 1, got 2.0"),
        ({"exponent": lambda step: -0.1, "preconditioner": "padam"}, "exponent must be >= 0 with .*'padam', got -0.1"),
        ({"exponent": lambda step: 0.3, "method": "products"}, r"one of \(0\.0, 0\.125, .*'products', got 0\.3; use"),
    ):
        parameters = make_parameters()
        with pytest.raises(ValueError, match=message):
            train(parameters, SchattenMuon(parameters, **options), 1)


# --- criteria --------------------------------------------------------------------------------------------------------


class Regression:
    """Least squares on one layer, with fresh inputs each step."""

    def __init__(self, m=6, d=9, rows=40, seed=0):
        self.layer = nn.Linear(d, m, bias=False).double()
        self.layer.weight.data = gaussian((m, d), seed) / 3
        self.target, self.rows, self.d = gaussian((m, d), seed + 1), rows, d
        self.spectrum = torch.arange(1, d + 1).double().rsqrt()

    def inputs(self, step):
        return (0.3 + gaussian((self.rows, self.d), 50 + step)) * self.spectrum

    def loss(self, step):
        inputs = self.inputs(step)
        return (self.layer(inputs) - inputs @ self.target.T).square().sum() / (2 * self.rows)

    def train(self, optimizer, steps, start=0):
        for step in range(start, start + steps):
            optimizer.zero_grad()
            self.loss(step).backward()
            optimizer.step()


def best_on_a_dense_grid(criterion, sigma, alignment, C, Vh):
    def value(e):
        inner = (sigma**e * alignment).sum()
        if criterion == "tightness":
            return inner**2 / (sigma ** (2 * e) * ((Vh @ C) * Vh).sum(-1)).sum()
        k = math.inf if e == 1 else 2 * (1 + e) / (1 - e)
        eigenvalues = np.linalg.eigvalsh(C)
        roots = np.sqrt(eigenvalues / eigenvalues.max())
        norm = np.sqrt(eigenvalues.max()) * (1 if k == math.inf else (roots**k).sum() ** (1 / k))
        return inner**2 / (norm**2 * (sigma ** (1 + e)).sum() ** (2 * e / (1 + e)))

    return DENSE[np.argmax([value(e) for e in DENSE])]


@pytest.mark.parametrize("criterion", ["bound", "momentum", "tightness"])
@pytest.mark.parametrize("nesterov", [True, False])
def test_exponents_are_those_of_the_criterion_for_averaged_statistics(criterion, nesterov):
    """All by hand: momentum, second moment and alignment are averaged; the exponent is chosen in steps 2, 4 and 6."""
    problem = Regression()
    W = problem.layer.weight
    activations = ActivationMoments(problem.layer, [W], smoothing=0.7)
    optimizer = SchattenMuon(
        [W], 0.05, 0.6, nesterov, exponent=criterion, activations=activations, refresh_every=2, smoothing=0.8
    )
    M, C, alignment = torch.zeros_like(W), None, None
    expected = 0.0
    for step in range(7):
        A = problem.inputs(step)
        G = ((W @ A.T - problem.target @ A.T) @ A / problem.rows).detach()
        M = 0.6 * M + 0.4 * G
        U = 0.6 * M + 0.4 * G if nesterov else M
        before = W.detach().clone()
        problem.train(optimizer, 1, start=step)
        if step % 2:
            sample = A.T @ A / problem.rows
            C = sample if C is None else 0.7 * C + 0.3 * sample
            P, sigma, Vh = np.linalg.svd(U.numpy(), full_matrices=False)
            sample = np.diag(P.T @ G.numpy() @ Vh.T)
            alignment = sample if alignment is None else 0.8 * alignment + 0.2 * sample
            used = sigma if criterion == "bound" else alignment
            expected = best_on_a_dense_grid(criterion, sigma, used, C.numpy(), Vh)
        assert optimizer.exponents()[0] == pytest.approx(expected, abs=3e-4)
        relative = U / U.norm() * math.sqrt(6)
        if step > 0:
            torch.testing.assert_close(W.detach(), before - 0.05 * power(relative, optimizer.exponents()[0]))
    assert 0 < optimizer.exponents()[0] < 1


def test_the_criteria_tell_parameters_apart_and_stay_in_their_range():
    for criterion in ("bound", "momentum", "tightness"):
        problem = Regression()
        W = problem.layer.weight
        options = {"exponent": criterion, "refresh_every": 1, "exponent_range": (0.2, 0.3)}
        optimizer = SchattenMuon([W], activations=ActivationMoments(problem.layer, [W]), **options)
        problem.train(optimizer, 4)
        assert 0.2 <= optimizer.exponents()[0] <= 0.3


def test_with_products_a_criterion_chooses_what_they_can_do():
    for criterion in ("bound", "momentum", "tightness"):
        seen = set()
        for seed in range(4):
            problem = Regression(seed=10 * seed)
            W = problem.layer.weight
            options = {"exponent": criterion, "refresh_every": 1, "method": "products"}
            optimizer = SchattenMuon([W], activations=ActivationMoments(problem.layer, [W]), **options)
            for step in range(6):
                problem.train(optimizer, 1, start=step)
                seen.add(optimizer.exponents()[0])
        assert seen <= {0, 1 / 8, 1 / 4, 1 / 2, 1}
        assert len(seen) > 1


def test_one_step_of_two_directions_minimises_the_loss_along_them():
    problem = Regression()
    W = problem.layer.weight
    before, A = W.detach().clone(), problem.inputs(0)
    G = ((W @ A.T - problem.target @ A.T) @ A / problem.rows).detach()
    options = {"exponent": "two_directions", "refresh_every": 1, "momentum": 0.0, **PLAIN, **EXACT}
    optimizer = SchattenMuon([W], lr=1, activations=ActivationMoments(problem.layer, [W]), **options)
    loss = float(problem.loss(0).detach())
    problem.train(optimizer, 1)
    combined = two_direction_step(G, A.T @ A / problem.rows)
    torch.testing.assert_close(W.detach(), before - combined.direction)
    assert loss - float(problem.loss(0).detach()) == pytest.approx(float(combined.decrease), rel=1e-9)
    relative = combined.weights * torch.tensor([float(G.norm()) / math.sqrt(6), 1])
    assert optimizer.exponents()[0] == pytest.approx(float(relative[0] / relative.abs().sum()))


def test_two_directions_by_hand_with_averages():
    problem = Regression()
    W = problem.layer.weight
    activations = ActivationMoments(problem.layer, [W], smoothing=0.7)
    options = {"exponent": "two_directions", "refresh_every": 2, "smoothing": 0.8, "initial_exponent": 0.25}
    optimizer = SchattenMuon([W], 0.05, 0.6, activations=activations, **options, **EXACT)
    M, C, b, weights = torch.zeros_like(W), None, None, torch.tensor([0.25, 0.75])
    for step in range(6):
        A = problem.inputs(step)
        G = ((W @ A.T - problem.target @ A.T) @ A / problem.rows).detach()
        M = 0.6 * M + 0.4 * G
        U = 0.6 * M + 0.4 * G
        D = [U / U.norm() * math.sqrt(6), power(U, 0)]
        before = W.detach().clone()
        problem.train(optimizer, 1, start=step)
        if step % 2:
            sample = A.T @ A / problem.rows
            C = sample if C is None else 0.7 * C + 0.3 * sample
            sample = torch.stack([(G * each).sum() for each in D])
            b = sample if b is None else 0.8 * b + 0.2 * sample
            K = torch.stack([torch.stack([(one @ C * other).sum() for one in D]) for other in D])
            weights = torch.linalg.solve(K, b)
            weights = weights / weights.abs().sum()
        torch.testing.assert_close(W.detach(), before - 0.05 * (weights[0] * D[0] + weights[1] * D[1]))
        assert optimizer.exponents()[0] == pytest.approx(float(weights[0]))


@pytest.mark.parametrize("criterion", CRITERIA)
def test_without_statistics_the_initial_exponent_is_used(criterion):
    model = nn.ModuleDict({"used": nn.Linear(4, 3), "unused": nn.Linear(4, 3)}).double()
    parameters = [("used", model["used"].weight), ("unused", model["unused"].weight)]
    activations = ActivationMoments(model, [p for _, p in parameters])
    options = {"exponent": criterion, "refresh_every": 1, "initial_exponent": 0.125, "method": "products"}
    optimizer = SchattenMuon(parameters, activations=activations, **options)
    assert optimizer.exponents() == {"used": 0.125, "unused": 0.125}
    for step in range(3):
        model["used"](gaussian((7, 4), step)).square().sum().backward()
        model["unused"].weight.grad = gaussian((3, 4), step)
        optimizer.step()
    assert optimizer.exponents()["used"] != 0.125
    assert optimizer.exponents()["unused"] == 0.125


def test_exponents_are_chosen_in_the_tenth_step_and_each_nth():
    for every, expected in ((25, {10, 25, 50}), (10, {10, 20, 30, 40, 50}), (4, set(range(4, 53, 4))), (60, {10})):
        problem = Regression()
        W = problem.layer.weight
        activations = ActivationMoments(problem.layer, [W])
        optimizer = SchattenMuon([W], exponent="tightness", activations=activations, refresh_every=every)
        chosen, exponent = set(), optimizer.exponents()[0]
        for step in range(1, 53):
            assert activations.collecting == (step in expected)
            problem.train(optimizer, 1, start=step)
            if optimizer.exponents()[0] != exponent:
                chosen.add(step)
            exponent = optimizer.exponents()[0]
        assert chosen == expected


def test_micro_batches_make_one_step():
    exponents = []
    for pieces in (1, 5):
        problem = Regression()
        W = problem.layer.weight
        activations = ActivationMoments(problem.layer, [W])
        optimizer = SchattenMuon([W], exponent="tightness", activations=activations, refresh_every=2)
        for step in range(4):
            optimizer.zero_grad()
            for inputs in problem.inputs(step).chunk(pieces):
                residual = problem.layer(inputs) - inputs @ problem.target.T
                (residual.square().sum() / (2 * problem.rows)).backward()
            problem.layer.eval()
            problem.layer(100 * problem.inputs(99))  # evaluation is not collected
            problem.layer.train()
            optimizer.step()
        exponents.append(optimizer.exponents()[0])
    assert exponents[0] == pytest.approx(exponents[1], abs=1e-9)
    assert 0 < exponents[0] < 1


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_step_that_is_not_finite_changes_no_exponent(criterion, bad):
    problem = Regression()
    W = problem.layer.weight
    activations = ActivationMoments(problem.layer, [W])
    optimizer = SchattenMuon([W], exponent=criterion, activations=activations, refresh_every=1)
    problem.train(optimizer, 3)
    before, kept = optimizer.exponents(), copy.deepcopy(dict(optimizer.state[W]))
    problem.loss(3).backward()
    W.grad[0, 0] = bad
    optimizer.step()
    assert optimizer.exponents() == before
    for name in ("alignment", "inner"):
        if name in kept:
            assert torch.equal(optimizer.state[W][name], kept[name])


@pytest.mark.parametrize("criterion", ["momentum", "tightness", "two_directions"])
def test_a_momentum_uphill_changes_no_exponent(criterion):
    problem = Regression()
    W = problem.layer.weight
    activations = ActivationMoments(problem.layer, [W])
    optimizer = SchattenMuon([W], exponent=criterion, activations=activations, refresh_every=1, smoothing=0.0)
    problem.train(optimizer, 5)
    before = optimizer.exponents()
    optimizer.zero_grad()
    problem.loss(5).backward()
    W.grad = -1e-3 * optimizer.state[W]["momentum_buffer"]
    optimizer.step()
    assert optimizer.exponents() == before


@pytest.mark.parametrize("criterion", ["bound", "momentum", "tightness"])
@pytest.mark.parametrize("batch", ["one sample", "constant"])
@pytest.mark.parametrize("d", [9, 40])
def test_where_every_exponent_does_as_well_rounding_does_not_choose(criterion, batch, d):
    """Inputs are multiples of one: the gradient has rank 1, and the lowest exponent of the range is documented."""
    torch.manual_seed(0)
    layer = nn.Linear(d, 12, bias=False)
    weight, row = layer.weight, torch.randn(1, d)
    inputs = row if batch == "one sample" else row.expand(4096, d).contiguous()
    options = {"exponent": criterion, "refresh_every": 2, "exponent_range": (0.125, 1.0)}
    optimizer = SchattenMuon([weight], activations=ActivationMoments(layer, [weight]), **options)
    for _ in range(6):
        optimizer.zero_grad()
        (layer(inputs) - 1).square().mean().backward()
        optimizer.step()
        assert optimizer.exponents()[0] in (0.0, 0.125)
    assert optimizer.exponents()[0] == 0.125


def test_greedy_steps_go_down():
    for criterion in CRITERIA:
        problem = Regression()
        W = problem.layer.weight
        activations = ActivationMoments(problem.layer, [W])
        optimizer = SchattenMuon([W], 0.05, exponent=criterion, activations=activations, refresh_every=5)
        before = float(problem.loss(1000).detach())
        problem.train(optimizer, 100)
        assert float(problem.loss(1000).detach()) < 0.1 * before


def test_a_network_is_trained_with_a_criterion():
    for criterion in CRITERIA:
        model = digits_convnet(0, width=8)
        routes = route_parameters(model)
        names = {p: name for name, p in model.named_parameters()}
        activations = ActivationMoments(model, routes.matrix)
        optimizers = [
            SchattenMuon(
                [(names[p], p) for p in routes.matrix], exponent=criterion, activations=activations, refresh_every=10
            ),
            torch.optim.AdamW(routes.other, lr=1e-2),
        ]
        generator = torch.Generator().manual_seed(0)
        labels = torch.arange(64) % 10
        classes, noise = (torch.rand(count, 1, 8, 8, generator=generator) for count in (10, 64))
        images = classes[labels] + 0.1 * noise
        losses = []
        for _ in range(40):
            loss = nn.functional.cross_entropy(model(images), labels)
            losses.append(float(loss.detach()))
            for optimizer in optimizers:
                optimizer.zero_grad()
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
        assert losses[-1] < 0.5 * losses[0]
        exponents = optimizers[0].exponents()
        assert list(exponents) == [names[p] for p in routes.matrix]
        assert all(-1 <= e <= 1 for e in exponents.values())


def test_a_transformer_under_autocast_has_exponents_for_every_layer():
    model = byte_transformer(0, width=16, depth=2, context=8)
    weights = hidden_weights(model)
    activations = ActivationMoments(model, weights.values())
    options = {"exponent": "tightness", "refresh_every": 1}
    optimizer = SchattenMuon(list(weights.items()), activations=activations, **options)
    text = torch.randint(256, (4, 9), generator=torch.Generator().manual_seed(0))
    for _ in range(2):
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(text[:, :-1])
            nn.functional.cross_entropy(logits.flatten(0, 1).float(), text[:, 1:].flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert set(activations.moments) == set(weights.values())
    assert len(set(optimizer.exponents().values())) > len(weights) // 2


def test_the_direction_with_the_chosen_exponent_predicts_at_least_as_much_as_sgd_and_muon():
    problem = Regression()
    W = problem.layer.weight
    activations = ActivationMoments(problem.layer, [W])
    options = {"exponent": "tightness", "refresh_every": 1, "momentum": 0.0, "smoothing": 0.0}
    optimizer = SchattenMuon([W], activations=activations, **options)
    for step in range(5):
        problem.train(optimizer, 1, start=step)
        G, C = W.grad, activations.moments[W]
        chosen, *ends = (
            float(predicted_decrease(G, power(G, e), C).decrease) for e in (optimizer.exponents()[0], 0, 1)
        )
        assert chosen >= max(ends) * (1 - 1e-9)


# --- as published ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(6, 9), (9, 6)])
@pytest.mark.parametrize("method", ["eigh", "svd"])
def test_the_published_setting_is_the_published_algorithm(shape, method):
    """Their update in float64, with an SVD: of U = mu M / (1 - mu^t) + (1 - mu) G, of norm sqrt(min(m, n)) for all e.

    The exponent is the best 1 / p, p from 1.02 on, for averages of the alignment and of the curvatures; e = 0 before.
    """
    m, d = shape
    problem = Regression(m, d)
    W = problem.layer.weight
    activations = ActivationMoments(problem.layer, [W], smoothing=0)
    options = {"lr": 0.05, "refresh_every": 3, "weight_decay": 0.1, "method": method}
    optimizer = SchattenMuon([W], activations=activations, **SchattenMuon.PUBLISHED | options | EXACT)
    M, e, alignment, curvatures, chosen = torch.zeros_like(W), 0.0, None, None, set()
    for step in range(1, 13):
        A = problem.inputs(step).T
        G = ((W @ A - problem.target @ A) @ A.T / problem.rows).detach()
        M = 0.95 * M + 0.05 * G
        U = 0.95 * M / (1 - 0.95**step) + 0.05 * G
        P, sigma, Qh = torch.linalg.svd(U, full_matrices=False)
        if step % 3 == 0:
            samples = (P.T @ G @ Qh.T).diagonal(), (Qh @ A).square().sum(1) / problem.rows
            if alignment is None:
                alignment, curvatures = samples
            else:
                alignment = 0.95 * alignment + 0.05 * samples[0]
                curvatures = 0.95 * curvatures + 0.05 * samples[1]
            grid = torch.linspace(0, 1 / 1.02, 20001, dtype=torch.float64)[:, None]
            values = (sigma**grid * alignment).sum(1) ** 2 / (sigma ** (2 * grid) * curvatures).sum(1)
            e = float(grid[values.argmax()])
        D = (P * sigma**e) @ Qh
        expected = W.detach() * (1 - 0.05 * 0.1) - 0.05 * math.sqrt(min(shape)) * D / D.norm()
        problem.train(optimizer, 1, start=step)
        assert optimizer.exponents()[0] == pytest.approx(e, abs=1e-4)
        torch.testing.assert_close(W.detach(), expected, rtol=1e-4, atol=2e-6)
        chosen.add(round(e, 3))
    assert len(chosen) > 2


@pytest.mark.parametrize("options", [{}, {"preconditioner": "padam"}, {"nesterov": False}])
def test_bias_correction_is_before_nesterovs_step(options):
    (p,) = make_parameters([(4, 6)])
    start, W = p.detach().clone(), p.detach().clone()
    train([p], SchattenMuon([p], 0.1, 0.9, exponent=0.5, bias_correction=True, **PLAIN, **options), 5)
    M, v = torch.zeros_like(start), torch.zeros_like(start)
    for step in range(1, 6):
        G = gaussian((4, 6), 1000 * step)
        M, v = 0.9 * M + 0.1 * G, 0.999 * v + 0.001 * G**2
        U = M / (1 - 0.9**step)
        U = 0.9 * U + 0.1 * G if options.get("nesterov", True) else U
        D = (v / (1 - 0.999**step) + 1e-16) ** (-1 / 6) if "preconditioner" in options else torch.ones_like(v)
        W -= 0.1 * D * power(D * U, 0.5)
    torch.testing.assert_close(p.detach(), W, rtol=1e-8, atol=1e-8)


# --- state -----------------------------------------------------------------------------------------------------------

STATES = [
    {"exponent": 0.5, "preconditioner": "adam"},
    {"exponent": 0.25, "preconditioner": "padam", "norm": "frobenius", "kappa": 0.2, "adjust_lr": "none"},
    *({"exponent": criterion, "refresh_every": 2} for criterion in CRITERIA),
    {"exponent": "tightness", "refresh_every": 3, "preconditioner": "padam"},
]


def small_model(dtype):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 2), nn.Tanh(), nn.Flatten(), nn.Linear(16, 6), nn.Tanh(), nn.Linear(6, 4))
    return model.to(dtype)


def matrices(model):
    return [model[0].weight, model[3].weight, model[5].weight]


def make_optimizer(model, **options):
    return SchattenMuon(matrices(model), activations=ActivationMoments(model, matrices(model)), **options)


def train_model(model, optimizer, steps, start=0):
    for step in range(start, start + steps):
        optimizer.zero_grad()
        images = gaussian((5, 2, 3, 3), step, matrices(model)[0].dtype)
        model(images).square().sum().backward()
        optimizer.step()
    return values(matrices(model))


@pytest.mark.parametrize("options", STATES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("before", [3, 4])
def test_training_goes_on_after_a_save_to_the_last_bit(options, dtype, before, tmp_path):
    model = small_model(dtype)
    optimizer = make_optimizer(model, **options)
    train_model(model, optimizer, before)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "saved")
    saved = torch.load(tmp_path / "saved", weights_only=True)
    exponents = optimizer.exponents()
    expected = train_model(model, optimizer, 6, start=before)

    resumed = small_model(dtype)
    train_model(resumed, other := make_optimizer(resumed, exponent="bound", refresh_every=1), 2)  # it forgets that
    resumed.load_state_dict(saved["model"])
    other.load_state_dict(saved["optimizer"])
    assert other.exponents() == exponents
    assert all(map(torch.equal, train_model(resumed, other, 6, start=before), expected))
    assert other.exponents() == optimizer.exponents()
    for p, q in zip(matrices(model), matrices(resumed), strict=True):
        assert optimizer.state[p].keys() == other.state[q].keys()
        for name, value in optimizer.state[p].items():
            mine = other.state[q][name]
            if isinstance(value, torch.Tensor):
                assert value.dtype == mine.dtype
                assert torch.equal(value, mine)
            else:
                assert value == mine


def test_loading_a_state_from_before_any_statistics_forgets_them():
    model = small_model(torch.float32)
    optimizer = make_optimizer(model, exponent="tightness", refresh_every=2)
    train_model(model, optimizer, 1)
    state, exponents = copy.deepcopy(optimizer.state_dict()), optimizer.exponents()
    train_model(model, optimizer, 5)
    assert len(optimizer.activations.moments) == 3
    optimizer.load_state_dict(state)
    assert optimizer.activations.moments == {}
    assert optimizer.exponents() == exponents == {0: 0.0, 1: 0.0, 2: 0.0}


def test_training_does_not_write_into_the_statistics_of_a_loaded_state():
    model = small_model(torch.float32)
    optimizer = make_optimizer(model, exponent="tightness", refresh_every=2, preconditioner="adam")
    train_model(model, optimizer, 2)
    state = copy.deepcopy(optimizer.state_dict())
    before = copy.deepcopy(state["state"])
    optimizer.load_state_dict(state)
    train_model(model, optimizer, 4, start=2)
    for index, statistics in before.items():
        for name in ("second_moment", "input_moment", "alignment"):
            assert torch.equal(state["state"][index][name], statistics[name])


def test_the_statistics_of_a_bfloat16_network_are_not_rounded():
    model = small_model(torch.bfloat16)
    optimizer = make_optimizer(model, exponent="tightness", refresh_every=2, preconditioner="padam")
    train_model(model, optimizer, 2)
    dtypes = {name: value.dtype for name, value in optimizer.state[model[3].weight].items() if hasattr(value, "dtype")}
    assert dtypes == {
        "momentum_buffer": torch.bfloat16,
        "second_moment": torch.float32,
        "input_moment": torch.float32,
        "alignment": torch.float64,
    }


def test_second_moments_of_a_bfloat16_network_do_not_stand_still():
    (p,) = make_parameters([(4, 6)], torch.bfloat16)
    optimizer = SchattenMuon([p], exponent=1, preconditioner="padam", beta2=0.999)
    expected = torch.zeros(4, 6)
    for step in range(50):
        give_gradients([p], step, scale=1.0 if step < 25 else 3.0)
        expected = 0.999 * expected + 0.001 * p.grad.float() ** 2
        optimizer.step()
    torch.testing.assert_close(optimizer.state[p]["second_moment"], expected, rtol=1e-4, atol=0)


def test_a_function_of_the_step_is_not_saved_and_its_step_is(tmp_path):
    schedule = dynmuon_schedule(10)
    parameters = make_parameters()
    optimizer = SchattenMuon(parameters, exponent=schedule)
    train(parameters, optimizer, 3)
    torch.save(optimizer.state_dict(), tmp_path / "saved")
    assert optimizer.param_groups[0]["exponent"] is schedule
    state, start = torch.load(tmp_path / "saved", weights_only=True), values(parameters)
    expected = train(parameters, optimizer, 3, start=3)
    resumed = [nn.Parameter(each) for each in start]
    other = SchattenMuon(resumed, exponent=schedule)
    other.load_state_dict(state)
    assert other.param_groups[0]["exponent"] is schedule
    assert all(map(torch.equal, train(resumed, other, 3, start=3), expected))
    fixed = SchattenMuon(make_parameters(), lr=0.7, exponent=0.5)
    with pytest.raises(ValueError, match="the exponent of group 0 was a function, which isn't saved: make the optim"):
        fixed.load_state_dict(state)
    assert fixed.param_groups[0]["lr"] == 0.7


def test_a_state_with_a_criterion_needs_activations():
    model = small_model(torch.float32)
    optimizer = make_optimizer(model, exponent="bound")
    with pytest.raises(ValueError, match=r"exponent='bound' needs activations; pass ActivationMoments\("):
        SchattenMuon(matrices(small_model(torch.float32))).load_state_dict(optimizer.state_dict())


@pytest.mark.parametrize("model_first", [True, False])
@pytest.mark.parametrize("exponent", [0.5, "tightness", "two_directions", dynmuon_schedule(20)])
def test_a_copy_with_its_model_goes_on_by_itself(exponent, model_first):
    model = small_model(torch.float64)
    optimizer = make_optimizer(model, exponent=exponent, refresh_every=3)
    train_model(model, optimizer, 4)
    pair = copy.deepcopy((model, optimizer) if model_first else (optimizer, model))
    other_model, other = pair if model_first else pair[::-1]
    before = values(matrices(model))
    copied = train_model(other_model, other, 6, start=4)
    assert all(map(torch.equal, matrices(model), before))
    assert all(map(torch.equal, copied, train_model(model, optimizer, 6, start=4)))
    assert other.exponents() == optimizer.exponents()


def test_removed_hooks_leave_the_exponents():
    model = small_model(torch.float64)
    optimizer = make_optimizer(model, exponent="tightness", refresh_every=2)
    train_model(model, optimizer, 4)
    before = {name: value.clone() for name, value in optimizer.state[model[3].weight].items() if name == "input_moment"}
    optimizer.activations.remove()
    train_model(model, optimizer, 4, start=4)
    assert torch.equal(optimizer.state[model[3].weight]["input_moment"], before["input_moment"])
    assert all(0 <= e <= 1 for e in optimizer.exponents().values())


# --- parameters and groups -------------------------------------------------------------------------------------------


def test_groups_have_their_own_options():
    parameters, expected = make_parameters([(4, 6)] * 3), make_parameters([(4, 6)] * 3)
    optimizer = SchattenMuon(
        [{"params": parameters[:1], "exponent": 0.5}, {"params": parameters[1:2], "norm": "none"}], exponent=0.25
    )
    optimizer.add_param_group({"params": parameters[2:], "preconditioner": "adam", "exponent": 1})
    options = [{"exponent": 0.5}, {"exponent": 0.25, "norm": "none"}, {"exponent": 1, "preconditioner": "adam"}]
    optimizers = [SchattenMuon([p], **each) for p, each in zip(expected, options, strict=True)]
    assert optimizer.exponents() == {0: 0.5, 1: 0.25, 2: 1.0}
    for step in range(3):
        give_gradients(parameters, step)
        give_gradients(expected, step)
        for each in (optimizer, *optimizers):
            each.step()
    assert_same(parameters, expected, 1e-12)


def test_a_group_added_later_is_at_the_same_step():
    parameters = make_parameters([(4, 6)] * 2)
    optimizer = SchattenMuon(parameters[:1], exponent=lambda step: step / 10)
    train(parameters[:1], optimizer, 4)
    optimizer.add_param_group({"params": parameters[1:]})
    train(parameters, optimizer, 1)
    assert optimizer.exponents() == {0: 0.4, 1: 0.4}


def test_a_group_with_a_criterion_may_be_added():
    model = small_model(torch.float64)
    activations = ActivationMoments(model, matrices(model))
    optimizer = SchattenMuon(matrices(model)[:2], activations=activations, refresh_every=2)
    train_model(model, optimizer, 3)
    assert not activations.collecting
    assert activations.moments == {}
    optimizer.add_param_group({"params": matrices(model)[2:], "exponent": "bound", "initial_exponent": 0.9})
    assert activations.collecting  # for the fourth step
    train_model(model, optimizer, 1)
    assert optimizer.exponents()[2] != 0.9


def test_parameters_without_gradient_and_zero_gradients_stay():
    for options in ({"exponent": 0.5}, {"preconditioner": "adam"}, {"norm": "spectral"}, {"norm": "frobenius"}):
        parameters = make_parameters([(4, 6), (4, 6), (4, 6)])
        before = values(parameters)
        optimizer = SchattenMuon(parameters, **options)
        for step in range(2):
            give_gradients(parameters, step)
            parameters[1].grad = None
            parameters[2].grad.zero_()
            optimizer.step()
        assert not torch.equal(parameters[0], before[0])
        assert torch.equal(parameters[1], before[1])
        assert torch.equal(parameters[2], before[2])
        assert parameters[1] not in optimizer.state


@pytest.mark.parametrize("criterion", CRITERIA)
def test_layers_without_gradient_or_with_a_zero_one_are_fine_with_a_criterion(criterion):
    model = nn.ModuleList([nn.Linear(4, 3), nn.Linear(4, 3), nn.Linear(4, 3)]).double()
    weights = [layer.weight for layer in model]
    activations = ActivationMoments(model, weights)
    optimizer = SchattenMuon(weights, exponent=criterion, activations=activations, refresh_every=1)
    before = values(weights)
    for step in range(3):
        outputs = [layer(gaussian((5, 4), step)) for layer in model]
        optimizer.zero_grad()
        (outputs[0].square().sum() + 0 * outputs[2].sum()).backward()
        optimizer.step()
    assert not torch.equal(weights[0], before[0])
    assert torch.equal(weights[1], before[1])
    assert torch.equal(weights[2], before[2])
    assert all(math.isfinite(e) for e in optimizer.exponents().values())


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (3, 0, 2)])
def test_a_parameter_without_entries_is_fine(shape):
    parameters = make_parameters([(4, 6), shape])
    train(parameters, SchattenMuon(parameters, exponent=0.5, preconditioner="adam"), 2)
    assert parameters[1].shape == shape


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "options", [{"exponent": 0.5}, {"exponent": 1}, {"exponent": 0.25, "preconditioner": "padam"}, {"norm": "spectral"}]
)
def test_narrow_types_are_computed_in_float32(dtype, options):
    narrow, wide = (
        make_parameters(dtype=dtype),
        [nn.Parameter(p.detach().float()) for p in make_parameters(dtype=dtype)],
    )
    before = values(wide)
    first, second = SchattenMuon(narrow, lr=1.0, **options), SchattenMuon(wide, lr=1.0, **options)
    give_gradients(narrow, 0)
    for p, q in zip(narrow, wide, strict=True):
        q.grad = p.grad.float()
    first.step()
    second.step()
    for p, q, start in zip(narrow, wide, before, strict=True):
        assert p.dtype == dtype
        assert (p.detach().float() - q.detach()).norm() < 0.03 * (q.detach() - start).norm()


def test_memory_layout_does_not_matter():
    plain = make_parameters([(8, 3, 2, 2), (4, 6)])
    other = [
        nn.Parameter(plain[0].detach().clone(memory_format=torch.channels_last)),
        nn.Parameter(plain[1].detach().mT.contiguous().mT),
    ]
    for parameters in (plain, other):
        train(parameters, SchattenMuon(parameters, exponent=0.5, preconditioner="padam"), 3)
    assert other[0].is_contiguous(memory_format=torch.channels_last)
    assert_same(other, plain)


def test_schedulers_and_closures_work():
    problem = Regression()
    W = problem.layer.weight
    activations = ActivationMoments(problem.layer, [W])
    optimizer = SchattenMuon([W], torch.tensor(0.3), exponent="tightness", activations=activations, refresh_every=2)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=10, gamma=0.3)

    def closure():
        optimizer.zero_grad()
        loss = problem.loss(0)
        loss.backward()
        return loss

    losses = []
    for _ in range(30):
        losses.append(float(optimizer.step(closure).detach()))
        scheduler.step()
    assert losses[-1] < 0.1 * losses[0]
    assert 0 < optimizer.exponents()[0] < 1


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"lr": -1}, ValueError, "lr must be a finite number >= 0, got -1"),
        ({"exponent": 1.1}, ValueError, r"exponent must be a number from -0\.5 to 1, got 1\.1"),
        ({"exponent": -0.6}, ValueError, r"exponent must be a number from -0\.5 to 1, got -0\.6"),
        ({"exponent": math.nan}, ValueError, "exponent must be a number from .* got nan"),
        ({"exponent": None}, TypeError, "a number .*, a function of the step, or one of 'bound', .*got None"),
        ({"exponent": True}, TypeError, r"a number .*, a function .*got True \(bool\)"),
        (
            {"exponent": "greedy"},
            ValueError,
            "exponent must be one of 'bound', .*'two_directions', got 'greedy'; or give",
        ),
        (
            {"exponent": "bound"},
            ValueError,
            r"exponent='bound' needs activations; pass ActivationMoments\(model, param",
        ),
        ({"norm": "nuclear"}, ValueError, "norm must be one of 'muon', 'frobenius', 'spectral', 'none', got 'nuclear'"),
        ({"preconditioner": "adamw"}, ValueError, "preconditioner must be one of None, 'padam', 'adam', got 'adamw'"),
        ({"method": "qr"}, ValueError, "method must be one of 'eigh', 'svd', 'products', got 'qr'"),
        ({"adjust_lr": None}, ValueError, "adjust_lr must be one of 'original', .*'none', got None"),
        ({"refresh_every": 0}, ValueError, "refresh_every must be an integer >= 1, got 0; 100"),
        ({"refresh_every": 1.5}, ValueError, "refresh_every must be an integer >= 1, got 1.5"),
        ({"beta2": 1}, ValueError, r"beta2 must be a number in \[0, 1\), got 1; 0\.999"),
        ({"smoothing": 1.0}, ValueError, r"smoothing must be a number in \[0, 1\), got 1\.0"),
        ({"eps": 0}, ValueError, "eps must be a finite number >= 1.18e-38, got 0; 1e-16"),
        ({"eps": "1"}, TypeError, r"eps must be .*got '1' \(str\)"),
        ({"norm": "frobenius", "kappa": 0}, ValueError, "kappa must be a finite number > 0, got 0"),
        ({"norm": "frobenius", "kappa": math.inf}, ValueError, "kappa must be a finite number > 0, got inf"),
        ({"kappa": 0.2}, ValueError, "kappa must be None with norm='muon'; it is for 'frobenius'"),
        (
            {"norm": "frobenius", "kappa": 0.2},
            ValueError,
            "adjust_lr must be 'none' with kappa, got 'original'; kappa says how long a step is",
        ),
        (
            {"preconditioner": "padam", "exponent": -0.1},
            ValueError,
            "exponent must be >= 0 with preconditioner='padam'",
        ),
        (
            {"method": "products", "exponent": 0.3},
            ValueError,
            r"exponent must be one of \(0\.0, 0\.125, 0\.25, 0\.5, 1",
        ),
        ({"bias_correction": 1}, TypeError, "bias_correction must be True or False, got 1"),
        ({"smooth_curvatures": True}, ValueError, r"smooth_curvatures must be False with exponent=0\.0; it is for"),
        ({"orthogonaliser": "jordan"}, ValueError, "orthogonaliser must be one of"),
        ({"dtype": "bfloat16"}, ValueError, "dtype must be one of"),
    ],
)
def test_a_bad_option_is_named_with_what_is_allowed(options, error, message):
    parameters = make_parameters([(4, 6), (4, 6)])
    with pytest.raises(error, match=message):
        SchattenMuon(parameters, **options)
    optimizer = SchattenMuon(parameters[:1])
    with pytest.raises(error, match=message):
        optimizer.add_param_group({"params": parameters[1:], **options})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"exponent_range": (-0.1, 1), "exponent": "bound"},
            ValueError,
            r"within \[0, 1\] .*'bound', low end first, got",
        ),
        ({"exponent_range": (0.6, 0.5)}, ValueError, r"within \[-0\.5, 1\] .*'tightness', low end .*got 0\.6 to 0\.5"),
        ({"exponent_range": 0.5}, ValueError, r"exponent_range must be two numbers, got 0\.5; \(0, 1\)"),
        ({"exponent_range": (0, "1")}, TypeError, "must be a number from"),
        (
            {"exponent_range": (0.6, 0.9), "method": "products"},
            ValueError,
            "exponent_range must hold one of .*0.6 to 0.9",
        ),
        (
            {"exponent_range": (-0.2, 0.9), "preconditioner": "padam"},
            ValueError,
            r"within \[0, 1\] with .*'padam', got",
        ),
        ({"initial_exponent": 1.2}, ValueError, "got 1.2"),
        ({"initial_exponent": 0.3, "method": "products"}, ValueError, "one of .*got 0.3"),
        (
            {"exponent": "two_directions", "preconditioner": "padam"},
            ValueError,
            "'two_directions' has none; use 'adam'",
        ),
        (
            {"exponent": "two_directions", "norm": "frobenius", "kappa": 0.2, "adjust_lr": "none"},
            ValueError,
            "kappa must be None with exponent='two_directions', which has no exponent",
        ),
        ({"exponent": "two_directions", "initial_exponent": 2}, ValueError, "got 2"),
        ({"split": 2}, ValueError, r"'tightness' takes parameters of one matrix \(m, n\), with split=None and transp"),
        ({"exponent": "two_directions", "transposed": True}, ValueError, "'two_directions' takes parameters of one"),
    ],
)
def test_what_does_not_go_with_a_criterion_is_said(options, error, message):
    model = small_model(torch.float32)
    with pytest.raises(error, match=message):
        make_optimizer(model, **{"exponent": "tightness", **options})


def test_parameters_that_nothing_is_known_of_are_refused_by_name():
    model = small_model(torch.float32)
    first, second, third = matrices(model)
    activations = ActivationMoments(model, [first, second])
    with pytest.raises(ValueError, match=r"parameter 2 of group 0 has exponent='bound', but isn't among .*activations"):
        SchattenMuon([first, second, third], exponent="bound", activations=activations)
    with pytest.raises(ValueError, match="parameter 1 of group 0, 'head', has exponent='bound', but"):
        SchattenMuon([("body", first), ("head", third)], exponent="bound", activations=activations)
    optimizer = SchattenMuon([first], exponent="bound", activations=activations)
    with pytest.raises(ValueError, match="parameter 0 of group 1 has exponent='bound'"):
        optimizer.add_param_group({"params": [third]})
    assert len(optimizer.param_groups) == 1
    SchattenMuon(
        [{"params": [first, second]}, {"params": [third], "exponent": 0}], exponent="bound", activations=activations
    )


def test_activations_must_be_made_first():
    model = small_model(torch.float32)
    with pytest.raises(TypeError, match=r"activations must be an ActivationMoments, got Sequential; make one with Act"):
        SchattenMuon(matrices(model), activations=model)


@pytest.mark.parametrize("shape", [(), (3,)])
def test_scalars_and_vectors_are_refused(shape):
    with pytest.raises(
        ValueError, match=r"parameter 1 of group 0 has shape .*; SchattenMuon takes 2 or more dimensions"
    ):
        SchattenMuon(make_parameters([(4, 6), shape]))


def test_a_sparse_gradient_is_refused():
    embedding = nn.Embedding(5, 3, sparse=True)
    optimizer = SchattenMuon([embedding.weight])
    embedding(torch.tensor([1, 2])).sum().backward()
    with pytest.raises(ValueError, match=r"SchattenMuon takes dense gradients, got torch\.sparse_coo"):
        optimizer.step()
