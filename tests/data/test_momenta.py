"""The recorded momenta: real averages of real gradients, the same to the last bit wherever they are recorded."""

import itertools
import math
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from orthobench.data import momenta, python_manual, record_momenta
from orthobench.models import byte_transformer, digits_convnet, hidden_weights, seeded

FACTORIES = {"convnet": digits_convnet, "transformer": byte_transformer}
BUDGET_S = 3  # a network, at the default steps, on one core

HOSTILE_CALLER = """
import sys, torch
from orthobench.data import record_momenta

torch.manual_seed(7)
torch.set_num_threads(int(sys.argv[2]))
torch.set_float32_matmul_precision("medium")
torch.use_deterministic_algorithms(True)
torch.set_default_dtype(torch.float64)
torch.set_default_device("meta")
with torch.inference_mode(), torch.autocast("cpu"):
    record = {network: record_momenta(network, steps=(1, 40)) for network in ("convnet", "transformer")}
torch.save(record, sys.argv[1])
"""


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORTHOBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def recorded(_cache):
    """The default record of each network and the processor seconds that it took."""
    torch.optim.AdamW([torch.zeros(1)])  # its first use imports a part of torch
    result = {}
    for network in FACTORIES:
        start = time.process_time()
        result[network] = record_momenta(network), time.process_time() - start
    return result


def layers(record):
    return [(step, layer, matrix) for step, matrices in record.items() for layer, matrix in matrices.items()]


def same(first, second):
    return all(
        one[:2] == two[:2] and torch.equal(one[2], two[2])
        for one, two in itertools.zip_longest(layers(first), layers(second))
    )


def test_another_process_records_the_same_bits_whatever_its_settings(tmp_path):
    file, threads = tmp_path / "record.pt", torch.get_num_threads() + 1
    environment = os.environ | {"ORTHOBENCH_CACHE": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", HOSTILE_CALLER, file, str(threads)], env=environment, check=True)
    elsewhere = torch.load(file)
    for network in FACTORIES:
        assert same(elsewhere[network], record_momenta(network, steps=(1, 40))), network


def test_the_layers_and_shapes_are_those_documented(recorded):
    block = {
        "query": (96, 96),
        "key": (96, 96),
        "value": (96, 96),
        "projection": (96, 96),
        "mlp_in": (384, 96),
        "mlp_out": (96, 384),
    }
    expected = {
        "convnet": {"blocks.0.convolution": (64, 288), "blocks.1.convolution": (64, 576)},
        "transformer": {f"blocks.{index}.{name}": shape for index in (0, 1) for name, shape in block.items()},
    }
    for network, (record, _) in recorded.items():
        assert list(record) == [1, 20, 100]
        for matrices in record.values():
            assert {layer: tuple(matrix.shape) for layer, matrix in matrices.items()} == expected[network]


def test_the_matrices_are_float32_finite_and_not_zero(recorded):
    for record, _ in recorded.values():
        for _, _, matrix in layers(record):
            assert matrix.dtype == torch.float32
            assert matrix.is_contiguous()
            assert not matrix.requires_grad
            assert matrix.isfinite().all()
            assert matrix.any(dim=1).all()


def test_the_momenta_differ_from_step_to_step_and_from_layer_to_layer(recorded):
    for record, _ in recorded.values():
        contents = {matrix.numpy().tobytes() for _, _, matrix in layers(record)}
        assert len(contents) == len(layers(record))


def test_recording_takes_the_time_allowed(recorded):
    for network, (_, seconds) in recorded.items():
        assert seconds < 10 * BUDGET_S, network  # other tests run beside it


@pytest.mark.parametrize("network", FACTORIES)
def test_a_record_is_the_moving_average_of_the_gradients(network):
    average = {}
    with seeded(3):
        record = record_momenta(network, steps=(1, 2, 5), seed=3)
        for step, (_, model, _) in enumerate(itertools.islice(momenta.training(network, 3), 5), start=1):
            for layer, weight in hidden_weights(model).items():
                gradient = weight.grad.double().flatten(1)
                average[layer] = 0.95 * average.get(layer, torch.zeros_like(gradient)) + 0.05 * gradient
                if step in record:
                    torch.testing.assert_close(record[step][layer].double(), average[layer], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("network", FACTORIES)
def test_the_first_gradient_is_that_of_the_loss_at_the_initial_weights(network):
    factory, batches = momenta.TASKS[network]
    assert factory is FACTORIES[network]
    model = factory(4)
    inputs, targets = next(batches(torch.Generator().manual_seed(4)))
    logits = model(inputs)
    cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1)).backward()
    record = record_momenta(network, steps=[1], seed=4)
    for layer, weight in hidden_weights(model).items():
        torch.testing.assert_close(record[1][layer], 0.05 * weight.grad.flatten(1), rtol=1e-3, atol=1e-7)


def test_the_text_is_followed_by_itself_one_byte_later():
    text = bytes(python_manual().tolist())
    inputs, targets = next(momenta.TASKS["transformer"][1](torch.Generator().manual_seed(0)))
    for before, after in zip(inputs.tolist(), targets.tolist(), strict=True):
        assert before[1:] == after[:-1]
        assert bytes([*before, after[-1]]) in text


@pytest.mark.parametrize("network", FACTORIES)
def test_the_network_learns(network):
    counts = torch.bincount(python_manual().long()).double()
    frequencies = counts[counts > 0] / counts.sum()
    # What a predictor that ignores its input reaches at best.
    blind = {"convnet": math.log(10), "transformer": float(-(frequencies * frequencies.log()).sum())}[network]
    with seeded(1):
        losses = [loss for loss, _, _ in itertools.islice(momenta.training(network, 1), 100)]
    late = sum(losses[-10:]) / 10
    assert late < 0.6 * losses[0]
    assert late < blind - 0.4


@pytest.mark.parametrize("network", FACTORIES)
def test_seeds_change_the_weights_and_the_batches(network):
    records = [record_momenta(network, steps=(2,), seed=seed) for seed in (0, 1)]
    for layer, matrix in records[0][2].items():
        assert not torch.equal(matrix, records[1][2][layer])
    first, second = (next(momenta.TASKS[network][1](torch.Generator().manual_seed(seed)))[0] for seed in (0, 1))
    assert not torch.equal(first, second)


def test_a_record_does_not_depend_on_the_other_steps_recorded():
    together = record_momenta("transformer", steps=(1, 3))
    for step in (1, 3):
        assert same(record_momenta("transformer", steps=(step,)), {step: together[step]})


def test_one_training_serves_all_calls_with_the_same_arguments(monkeypatch):
    first = record_momenta("convnet", steps=(1, 2), seed=6)

    def forbidden(network, seed):
        raise AssertionError("trained again")

    monkeypatch.setattr(momenta, "training", forbidden)
    assert same(first, record_momenta("convnet", steps=[2, 1, 2], seed=np.int64(6)))
    with pytest.raises(AssertionError, match="trained again"):
        record_momenta("convnet", steps=(1, 2), seed=7)


def settings():
    precisions = torch.backends.mkldnn.matmul.fp32_precision, torch.backends.mkldnn.conv.fp32_precision
    return torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled(), precisions


@pytest.mark.parametrize("fails", [False, True])
def test_the_callers_settings_and_generators_are_untouched(fails, monkeypatch):
    def broken(network, seed):
        torch.rand(1)
        raise RuntimeError("broken")

    seed = 9 if fails else 8  # of a record that the cache does not have yet
    if fails:
        monkeypatch.setattr(momenta, "training", broken)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.set_default_dtype(torch.float64)
    torch.set_float32_matmul_precision("high")
    numpy_state = np.random.get_state()[1].copy()  # noqa: NPY002
    before, state = settings(), torch.get_rng_state()
    try:
        with torch.no_grad():
            if fails:
                with pytest.raises(RuntimeError, match="broken"):
                    record_momenta("convnet", steps=(1,), seed=seed)
            else:
                record_momenta("convnet", steps=(1,), seed=seed)
        assert settings() == before
        assert torch.equal(torch.get_rng_state(), state)
        assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(torch.float32)
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"network": "resnet"}, ValueError, r"network is 'resnet': give one of convnet, transformer"),
        ({"network": ["convnet"]}, ValueError, r"network is \['convnet'\]: give one of convnet, transformer"),
        ({"steps": ()}, ValueError, r"steps is empty: give one or more integers in 1\.\.10000"),
        ({"steps": 5}, TypeError, r"steps is 5: give a sequence of integers in 1\.\.10000"),
        ({"steps": (1, 0)}, ValueError, r"step is 0: give an integer in 1\.\.10000"),
        ({"steps": (-3,)}, ValueError, r"step is -3: give an integer in 1\.\.10000"),
        ({"steps": (10_001,)}, ValueError, r"step is 10001: give an integer in 1\.\.10000"),
        ({"steps": (1.0,)}, TypeError, r"step is 1.0: give an integer in 1\.\.10000"),
        ({"steps": (True,)}, TypeError, r"step is True: give an integer in 1\.\.10000"),
        ({"steps": "12"}, TypeError, r"step is '1': give an integer in 1\.\.10000"),
        ({"seed": True}, TypeError, r"seed is True: give an integer in 0\.\."),
        ({"seed": -1}, ValueError, r"seed is -1: give an integer in 0\.\."),
        ({"seed": None}, TypeError, r"seed is None: give an integer in 0\.\."),
    ],
)
def test_a_bad_argument_is_named_with_what_is_allowed(arguments, error, message):
    with pytest.raises(error, match=message):
        record_momenta(**{"network": "convnet"} | arguments)
