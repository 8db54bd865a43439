"""Steps that are replayed are the steps themselves; on a CPU a recorder of operations stands for the CUDA graph."""

import copy

import pytest
import torch
from recorded import record_on_a_cpu

from orthobench.optim import ActivationMoments, CapturedStep, SchattenMuon, TurboMuon

SHAPES = [(6, 4), (4, 6), (6, 4), (4, 2, 3), (5, 5)]
OPTIMIZERS = {
    "turbo_muon": lambda params: [TurboMuon(params, lr=0.05, weight_decay=0.1)],
    "muon, no nesterov": lambda params: [TurboMuon(params, nesterov=False, orthogonaliser="muon", dtype=None)],
    "schatten_muon, 0": lambda params: [SchattenMuon(params, lr=0.05)],
    "schatten_muon, 1": lambda params: [SchattenMuon(params, lr=0.05, exponent=1.0)],
    "schatten_muon, 1/2": lambda params: [SchattenMuon(params, lr=0.05, exponent=0.5, method="products")],
    "halves, maximised": lambda params: [TurboMuon([p for p in params if len(p) % 2 == 0], split=2, maximize=True)],
    "torch's names": lambda params: [TurboMuon(params, ns_coefficients=(2.0, -1.5, 0.5), ns_steps=4)],
    "two": lambda params: [TurboMuon(params[:3]), TurboMuon(params[3:], lr=0.1, adjust_lr="match_rms_adamw")],
    "two groups": lambda params: [TurboMuon([{"params": params[:2], "lr": 0.1}, {"params": params[2:]}])],
}


@pytest.fixture
def on_a_cpu(monkeypatch):
    record_on_a_cpu(monkeypatch)


def make_parameters(device="cpu"):
    generator = torch.Generator().manual_seed(0)
    parameters = [torch.nn.Parameter(torch.randn(shape, generator=generator).to(device)) for shape in SHAPES]
    for p in parameters:
        p.grad = torch.zeros_like(p)
    return parameters


def give_gradients(parameters, step):
    """As `backward` does, into the tensors that are there."""
    generator = torch.Generator().manual_seed(step + 1)
    for p in parameters:
        p.grad.copy_(torch.randn(p.shape, generator=generator))


def twins(make, device="cpu"):
    """Return the same parameters and optimizers twice; rates are tensors, as in a recording."""
    plain, captured = make_parameters(device), make_parameters(device)
    optimizers = make(plain)
    for group in (group for each in optimizers for group in each.param_groups):
        group["lr"] = torch.tensor(group["lr"], device=device)
    return plain, optimizers, captured, make(captured)


def assert_same(plain, optimizers, captured, others):
    for p, q in zip(plain, captured, strict=True):
        assert torch.equal(p, q)
    for one, other in zip(optimizers, others, strict=True):
        for p, q in zip(one.state, other.state, strict=True):
            assert torch.equal(one.state[p]["momentum_buffer"], other.state[q]["momentum_buffer"])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_replayed_steps_are_the_steps_to_the_last_bit_at_every_rate(name, on_a_cpu):
    plain, optimizers, captured, others = twins(OPTIMIZERS[name])
    step = CapturedStep(others)
    for number in range(8):
        give_gradients(plain, number)
        give_gradients(captured, number)
        for one, other in zip(optimizers, others, strict=True):
            for group, same in zip(one.param_groups, other.param_groups, strict=True):
                group["lr"].fill_(0.1 / (number + 1))
                if number % 2:
                    same["lr"] = 0.1 / (number + 1)  # as a loop may set it
                elif isinstance(same["lr"], torch.Tensor):
                    same["lr"].fill_(0.1 / (number + 1))  # as a scheduler does
                else:
                    same["lr"] = torch.tensor([0.1 / (number + 1)])
            one.step()
        step()
        assert_same(plain, optimizers, captured, others)
    assert step.recordings == 1


def test_master_weights_are_replayed_too(on_a_cpu):
    results = []
    for is_captured in (False, True):
        parameters = [torch.nn.Parameter(p.detach().bfloat16()) for p in make_parameters()]
        for p in parameters:
            p.grad = torch.zeros_like(p)
        optimizer = TurboMuon(parameters, lr=torch.tensor(1e-3), weight_decay=0.1, master_weights=True)
        step = CapturedStep(optimizer) if is_captured else optimizer.step
        for number in range(8):
            give_gradients(parameters, number)
            step()
        results.append((parameters, [optimizer.state[p]["remainder"] for p in parameters]))
    for plain, captured in zip(*results, strict=True):
        assert all(map(torch.equal, plain, captured))


def test_python_does_not_run_again(on_a_cpu, monkeypatch):
    parameters = make_parameters()
    optimizer = TurboMuon(parameters)
    calls = []
    original = optimizer.step
    monkeypatch.setattr(optimizer, "step", lambda: calls.append(None) or original())
    step = CapturedStep(optimizer, warm_up=2)
    for number in range(6):
        give_gradients(parameters, number)
        step()
    assert len(calls) == 2 + 1


def test_a_scheduler_of_torch_sets_the_rate(on_a_cpu):
    parameters = make_parameters()
    optimizer = TurboMuon(parameters, lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    step = CapturedStep(optimizer)
    for number in range(7):
        give_gradients(parameters, number)
        before = [p.detach().clone() for p in parameters]
        step()
        moved = max(
            float((p.detach() - b).abs().max() / 0.5 ** (number // 2)) for p, b in zip(parameters, before, strict=True)
        )
        assert 0.01 < moved < 0.2
        assert float(optimizer.param_groups[0]["lr"]) == pytest.approx(0.1 * 0.5 ** (number // 2))
        scheduler.step()
    assert step.recordings == 1


def test_after_a_change_the_steps_are_recorded_anew(on_a_cpu):
    plain, optimizers, captured, others = twins(OPTIMIZERS["turbo_muon"])
    (optimizer,), (other,) = optimizers, others
    step = CapturedStep(other)
    saved = None
    for number in range(16):
        if number == 5:
            for each in (optimizer, other):
                each.param_groups[0]["weight_decay"] = 0.3
        if number == 9:
            saved = [copy.deepcopy(each.state_dict()) for each in (optimizer, other)]
        if number == 11:
            optimizer.load_state_dict(saved[0])
            other.load_state_dict(saved[1])
        give_gradients(plain, number)
        give_gradients(captured, number)
        optimizer.step()
        step()
        assert_same(plain, optimizers, captured, others)
    assert step.recordings == 3


def test_a_parameter_that_gets_a_gradient_later_takes_part(on_a_cpu):
    plain, optimizers, captured, others = twins(OPTIMIZERS["turbo_muon"])
    late = [parameters[2].grad for parameters in (plain, captured)]
    plain[2].grad = captured[2].grad = None
    step = CapturedStep(others, warm_up=1)
    for number in range(6):
        if number == 3:
            plain[2].grad, captured[2].grad = late
        for parameters in (plain, captured):
            give_gradients([p for p in parameters if p.grad is not None], number)
        optimizers[0].step()
        step()
        assert_same(plain, optimizers, captured, others)
    assert step.recordings == 2


def test_gradients_must_stay_where_they_are(on_a_cpu):
    parameters = make_parameters()
    step = CapturedStep(TurboMuon(parameters))
    give_gradients(parameters, 0)
    step()
    step.zero_grad()
    assert not any(p.grad.any() for p in parameters)
    step()
    parameters[1].grad = torch.ones_like(parameters[1])
    before = [p.detach().clone() for p in parameters]
    for _ in range(2):
        with pytest.raises(ValueError, match=r"shape \(4, 6\) is another tensor .*set_to_none=False"):
            step()
    assert all(map(torch.equal, parameters, before))


def test_what_cannot_be_recorded_is_refused_with_a_remedy(on_a_cpu):
    parameters = make_parameters()
    model = torch.nn.Linear(4, 6)
    moments = ActivationMoments(model, [model.weight])
    group = object()
    for optimizer, message in (
        (torch.optim.AdamW(parameters), r"capturable of AdamW is False: make it with AdamW\(\.\.\., capturable=True\)"),
        (TurboMuon(parameters, orthogonaliser="svd"), "orthogonaliser='svd' waits for the device.*'turbo_muon'"),
        (TurboMuon(parameters, process_group=group), "process_group must be None"),
        (SchattenMuon(parameters, exponent=lambda steps: 0.0), "exponent must be a number"),
        (SchattenMuon([model.weight], exponent="bound", activations=moments), "exponent must be a number"),
        (SchattenMuon(parameters, exponent=0.5), "method='eigh' waits for the device.*'products'"),
        (SchattenMuon(parameters, norm="spectral"), "norm='spectral' waits for the device"),
        (SchattenMuon(parameters, preconditioner="adam"), "preconditioner must be None .*got 'adam'"),
        (
            SchattenMuon(parameters, bias_correction=True),
            "bias_correction False for a recorded step, got None and True",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            CapturedStep([optimizer])


@pytest.mark.parametrize(
    ("name", "options"), [("turbo_muon", {}), ("torchs", {}), ("schatten", {"exponent": 0.5, "method": "eigh"})]
)
def test_the_stand_in_refuses_what_looks_at_values(name, options, on_a_cpu, monkeypatch):
    """A graph would raise too: torch's Muon fetches its rate."""
    parameters = make_parameters()[:2]
    make = {"turbo_muon": TurboMuon, "torchs": torch.optim.Muon, "schatten": SchattenMuon}[name]
    optimizer = make(parameters, **options)
    monkeypatch.setattr(SchattenMuon, "check_capturable", lambda self: None)
    step = CapturedStep(optimizer, warm_up=1)
    step()
    if name == "torchs":
        with pytest.raises(RuntimeError, match="not permitted when stream is capturing"):
            step()
    else:
        step()


def test_bad_arguments_are_named():
    parameters = make_parameters()
    with pytest.raises(ValueError, match=r"on one CUDA device, got cpu; .*torch\.compile"):
        CapturedStep(TurboMuon(parameters))
    with pytest.raises(TypeError, match="one or more torch optimizers, got nothing"):
        CapturedStep([])
    with pytest.raises(TypeError, match="one or more torch optimizers, got Parameter"):
        CapturedStep(parameters[:1])


@pytest.mark.parametrize(("warm_up", "error"), [(0, ValueError), (1.5, TypeError), (True, TypeError)])
def test_a_bad_warm_up_is_named(warm_up, error, on_a_cpu):
    with pytest.raises(error, match=f"warm_up must be an integer >= 1, got {warm_up}"):
        CapturedStep(TurboMuon(make_parameters()), warm_up=warm_up)


# ----- on a device -----

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@needs_gpu
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_cuda_graph_does_the_steps(name):
    device = torch.device("cuda", torch.cuda.device_count() - 1)
    plain, optimizers, captured, others = twins(OPTIMIZERS[name], device)
    step = CapturedStep(others)
    for number in range(8):
        give_gradients(plain, number)
        give_gradients(captured, number)
        for each in (*optimizers, *others):
            for group in each.param_groups:
                rate = 0.1 / (number + 1)
                group["lr"].fill_(rate) if isinstance(group["lr"], torch.Tensor) else group.update(lr=rate)
        for each in optimizers:
            each.step()
        step()
        torch.testing.assert_close(captured, plain, rtol=1e-4, atol=1e-4)
    assert step.recordings == 1


@needs_gpu
def test_a_cuda_graph_holds_adamw_too():
    plain, captured = make_parameters("cuda"), make_parameters("cuda")
    reference = torch.optim.AdamW(plain, lr=0.01)
    step = CapturedStep(torch.optim.AdamW(captured, lr=0.01, capturable=True))
    for number in range(6):
        give_gradients(plain, number)
        give_gradients(captured, number)
        reference.step()
        step()
        torch.testing.assert_close(captured, plain, rtol=1e-5, atol=1e-5)
    assert step.recordings == 1
