"""The command that prints how long steps take measures the optimizers that it names, on the same task."""

import re
import sys

import pytest
import torch
from made_up_clock import made_up_clock

from orthobench import cli
from orthobench.studies import optimizer_speed as speed

CPU = torch.device("cpu")


@pytest.fixture
def weights():
    return speed.weights_with_gradients(CPU, 16, 1)


def test_the_weights_are_the_hidden_matrices_with_real_gradients(weights):
    assert [tuple(weight.shape) for weight in weights] == [(16, 16)] * 4 + [(64, 16), (16, 64)]
    assert all(weight.dtype == weight.grad.dtype == torch.float32 for weight in weights)
    assert all(weight.grad.any() for weight in weights)


def test_every_optimizer_starts_at_the_same_weights_and_gradients(weights):
    made = speed.optimizers(weights)
    assert list(made) == ["turbo_muon", "muon", "torch.optim.Muon", "pytorch_optimizer.Muon"]
    assert [type(each).__module__.split(".")[0] for each in made.values()] == [
        "orthobench",
        "orthobench",
        "torch",
        "pytorch_optimizer",
    ]
    parameters = {name: each.param_groups[0]["params"] for name, each in made.items()}
    for each in parameters.values():
        for p, weight in zip(each, weights, strict=True):
            assert torch.equal(p, weight)
            assert torch.equal(p.grad, weight.grad)
    pointers = [p.data_ptr() for each in parameters.values() for p in each]
    assert len(set(pointers)) == len(pointers)


def test_every_muon_moves_the_weights_alike(weights):
    moved = {}
    for name, optimizer in speed.optimizers(weights).items():
        (group,) = optimizer.param_groups
        group["lr"], group["weight_decay"] = 0.01, 0.0
        optimizer.step()
        moved[name] = torch.cat([(p - w).flatten() for p, w in zip(group["params"], weights, strict=True)]).detach()
    expected = moved["torch.optim.Muon"]
    assert expected.norm() > 0
    for name, tolerance in (("muon", 0.05), ("turbo_muon", 0.5)):
        assert (moved[name] - expected).norm() < tolerance * expected.norm()
    # That of pytorch-optimizer has no factor for the shape by default: the same direction for each matrix.
    other = moved["pytorch_optimizer.Muon"]
    for first, second in zip(*(each.split([w.numel() for w in weights]) for each in (other, expected)), strict=True):
        assert torch.cosine_similarity(first, second, dim=0) > 0.99


def test_the_report_has_ratios_against_both(monkeypatch):
    made_up_clock(monkeypatch, tick=2.0**-10)  # by which all take the same
    head, *lines = speed.report(CPU, 1, 16, 1)
    assert "1 repetitions; 6 matrices of a transformer of width 16, 3,072 entries" in head
    assert len(lines) == 2
    for line, other in zip(lines, ("torch.optim.Muon", "pytorch_optimizer.Muon"), strict=True):
        assert re.search(rf"against {other}: TurboMuon 1\.00, .*'muon' 1\.00$", line)


def test_without_pytorch_optimizer_the_rest_is_measured(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    _, first, second = speed.report(CPU, 1, 16, 1)
    assert first.startswith("time of a step against torch.optim.Muon: TurboMuon ")
    assert second == "pytorch_optimizer.Muon is not installed: pip install pytorch-optimizer"


def test_the_options_are_those_of_the_report(monkeypatch, capsys):
    threads = torch.get_num_threads()
    monkeypatch.setenv("ORTHOBENCH_DEVICE", "cpu")
    sizes = ["--width", "16", "--depth", "1", "--tokens", "256", "512", "--method", "products"]
    cli.main(["speed", "optimizer", "--repetitions", "1", "--threads", str(threads), *sizes])
    lines = capsys.readouterr().out.splitlines()
    assert "1 repetitions; 6 matrices of a transformer of width 16" in lines[0]
    for line, tokens in zip(lines[-2:], (256, 512), strict=True):
        assert line.startswith(f"whole training step of {tokens} tokens, SchattenMuon (products) over TurboMuon: ")
        assert re.search(r"\(at most 1\.10: (holds|DOES NOT HOLD)\)$", line)


def test_the_benchmarks_own_batch_is_measured_too(monkeypatch):
    measured = []
    monkeypatch.setattr(speed, "report", lambda *_: [])
    monkeypatch.setattr(speed, "schatten_overhead", lambda *arguments: measured.append(arguments[-2:]) or [])
    cli.main(["speed", "optimizer", "--threads", str(torch.get_num_threads())])
    assert measured == [(16384, "eigh"), (4096, "eigh")]


@pytest.mark.parametrize(
    ("turbo", "often", "never", "ratios"),
    [
        # Four steps take 2.1, of which one refreshes 3.1: a refresh in a hundred steps adds 1 * 4 / 100.
        (2.0, 3.1, 2.1, "1.050 without a refresh, 1.070 with one in 100 steps (at most 1.10: holds)"),
        (2.0, 3.0, 2.5, "1.250 without a refresh, 1.260 with one in 100 steps (at most 1.10: DOES NOT HOLD)"),
    ],
)
def test_the_cost_of_a_refresh_is_that_of_steps_which_refresh_often(turbo, often, never, ratios, monkeypatch):
    refreshes = []
    monkeypatch.setattr(speed, "medians", lambda methods, *_: dict(zip(methods, (turbo, often, never), strict=True)))
    original = speed.SchattenMuon

    def noted(*args, **options):
        refreshes.append(options["refresh_every"])
        return original(*args, **options)

    monkeypatch.setattr(speed, "SchattenMuon", noted)
    (line,) = speed.schatten_overhead(CPU, 1, 16, 1, 512)
    assert refreshes == [4, 10**9]
    assert line == f"whole training step of 512 tokens, SchattenMuon (eigh) over TurboMuon: {ratios}"
