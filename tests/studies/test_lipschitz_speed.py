"""The command that prints what orthogonal layers cost measures what it says."""

import copy
import re
import sys

import pytest
import torch
from made_up_clock import made_up_clock

from orthobench import cli
from orthobench.studies import lipschitz_speed as speed

pytest.importorskip("orthogonium")
CPU = torch.device("cpu")


@pytest.fixture
def layers():
    return speed.dense_layers(16, CPU)


def test_both_dense_layers_start_at_the_same_weight_and_are_what_they_are_called(layers):
    assert [type(each).__name__.removeprefix("Parametrized") for each in layers.values()] == [
        "NewtonSchulzLinear",
        "OrthoLinear",
    ]
    ours, other = (each.weight.detach() for each in layers.values())
    assert torch.allclose(ours, other, atol=1e-5)
    _, bjorck = layers["orthogonium"].parametrizations.weight
    assert (type(bjorck).__name__, bjorck.niters, bjorck.pass_through) == ("BatchedBjorckOrthogonalization", 12, False)


def test_making_the_layers_leaves_the_random_state_alone():
    state = torch.random.get_rng_state()
    speed.dense_layers(4, CPU)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_training_brings_both_layers_nearer_to_the_rotation(layers):
    rotation = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(1)))[0].mT
    for layer in layers.values():
        before = (layer.weight - rotation).norm()
        speed.train(layer, 0.02)
        assert (layer.weight - rotation).norm() < 0.9 * before
    ours, other = (each.weight.detach() for each in layers.values())
    # The same map, and so the same training.
    assert torch.allclose(ours, other, atol=1e-3)


def test_a_timed_run_computes_all_gradients(layers):
    inputs, gradient = torch.randn(3, 16, requires_grad=True), torch.ones(3, 16)
    for layer in layers.values():
        speed.forward_and_backward(layer, inputs, gradient)
        first = inputs.grad.clone()
        assert torch.allclose(first, layer.weight.sum(0).expand(3, 16), atol=1e-5)
        assert layer.parametrizations.weight.original.grad.any()
        speed.forward_and_backward(layer, inputs, gradient)
        assert torch.allclose(inputs.grad, first, atol=1e-5)


def test_errors_are_those_of_the_weight():
    weight = torch.diag(torch.tensor([1.0, 1.0, 1.0, 1.1]))
    assert speed.orthogonality_error(weight) == pytest.approx(0.21 / 2, rel=1e-6)
    assert speed.largest_singular_value(weight) == pytest.approx(1.1, rel=1e-6)


def test_a_line_a_width_with_its_ratio_and_small_errors(monkeypatch):
    made_up_clock(monkeypatch, tick=2.0**-10)  # by which both take the same
    lines = list(speed.dense(CPU, 1, 0.02, [8, 16]))
    assert [re.match(r"dense (\d+) x", line).group(1) for line in lines] == ["8", "16"]
    for line in lines:
        assert "over OrthoLinear 1.00 (1.0 ms, 1.0 ms)" in line
        ours, other = (
            float(re.search(rf"error of {name} ([\d.e+-]+),", line).group(1)) for name in ("ours", "orthogonium")
        )
        assert ours < 1e-6
        assert other < 1e-5
        assert float(re.search(r"orthogonalises ([\d.]+)$", line).group(1)) > 1.1


def test_layers_are_timed_after_training(monkeypatch):
    conditions = []

    def noted(runs, *_):
        (layer, *_), _ = runs["ours"].args, runs["orthogonium"]
        conditions.append(float(torch.linalg.cond(layer.parametrizations.weight.original.detach())))
        return {"ours": 1.0, "orthogonium": 4.0}

    monkeypatch.setattr(speed, "medians", noted)
    (line,) = speed.dense(CPU, 1, 0.02, [16])
    assert "over OrthoLinear 0.25 (1000.0 ms, 4000.0 ms)" in line
    assert conditions[0] > 1.1


def test_chains_of_convolutions_differ_in_the_convolution_only():
    from orthogonium.layers import AdaptiveOrthoConv2d

    plain, ours = (speed.convolutions(kind) for kind in (torch.nn.Conv2d, AdaptiveOrthoConv2d))
    for chain in (plain, ours):
        layers = [each for each in chain if isinstance(each, torch.nn.Conv2d)]
        assert [(each.in_channels, each.out_channels) for each in layers] == [
            (3, 32), (32, 32), (32, 64), (64, 64), (64, 128)
        ]  # fmt: skip
        assert {(each.kernel_size, each.padding_mode) for each in layers} == {((3, 3), "circular")}
    assert plain(torch.zeros(2, 3, 8, 8)).shape == ours(torch.zeros(2, 3, 8, 8)).shape == (2, 128, 8, 8)


def test_a_training_step_moves_the_weights():
    model = speed.convolutions(torch.nn.Conv2d, (3, 4, 5))
    before = copy.deepcopy(model.state_dict())
    speed.training_step(model, torch.optim.SGD(model.parameters(), lr=0.1), torch.randn(2, 3, 6, 6))
    assert all(not torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_line_a_batch_with_the_overhead_of_aoc(monkeypatch):
    made_up_clock(monkeypatch, tick=2.0**-10)  # by which both take the same
    lines = list(speed.convolutional(CPU, 1, [1, 3], 5, (2, 4, 4)))
    assert [re.search(r"batch (\d+), training step: AOC over plain ([\d.]+) ", line).group(1) for line in lines] == [
        "1",
        "3",
    ]
    for line in lines:
        assert line.startswith("2 convolutions 3 x 3 of 4 to 4 channels, images 5 x 5, ")
        assert "AOC over plain 1.00 " in line


def test_the_options_are_those_of_the_report(monkeypatch, capsys):
    threads = torch.get_num_threads()
    monkeypatch.setenv("ORTHOBENCH_DEVICE", "cpu")
    options = ["--repetitions", "1", "--threads", str(threads), "--widths", "8", "--batches", "2", "--image", "4"]
    cli.main(["speed", "lipschitz", *options])
    head, dense, convolutional = capsys.readouterr().out.splitlines()
    assert f"{threads} threads" in head
    assert "1 repetitions" in head
    assert dense.startswith("dense 8 x 8, batch 256")
    assert "images 4 x 4, batch 2," in convolutional


def test_without_orthogonium_the_command_says_how_to_install_it(monkeypatch, capsys):
    monkeypatch.setenv("ORTHOBENCH_DEVICE", "cpu")
    monkeypatch.setitem(sys.modules, "orthogonium.layers", None)
    cli.main(["speed", "lipschitz", "--threads", str(torch.get_num_threads())])
    _, line = capsys.readouterr().out.splitlines()
    assert line == "orthogonium is not installed: pip install 'orthobench[libraries]'"
