"""The task: norms that are kept, delta from N, the networks by their names, and what is refused."""

import math

import privacy_toys as toys
import pytest
import torch
from torch.nn import functional

from orthobench.data.parts import Examples, Parts
from orthobench.harness.privacy.task import PrivacyDataset, PrivateTask, clip_norms
from orthobench.lipschitz.bounds import upper_bound
from orthobench.privacy.network_factory import network_factory, widths_of


def test_examples_are_scaled_down_to_the_norm_and_no_two_further_apart():
    inputs = torch.randn(40, 2, 3, generator=torch.Generator().manual_seed(0))
    clipped = clip_norms(inputs, 1.5)
    norms = inputs.flatten(1).norm(dim=1)
    assert 0 < int((norms > 1.5).sum()) < 40
    assert torch.allclose(clipped.flatten(1).norm(dim=1), norms.clamp(max=1.5), atol=1e-6)
    assert torch.equal(clipped[norms < 1.5], inputs[norms < 1.5])
    before, after = (torch.pdist(each.flatten(1)) for each in (inputs, clipped))
    assert bool((after <= before + 1e-6).all())


@pytest.mark.parametrize("norm", [0.0, -1.0, math.inf, math.nan])
def test_inputs_without_a_bound_are_refused(norm):
    with pytest.raises(ValueError, match=r"input_norm=.*: give a positive, finite norm"):
        clip_norms(torch.ones(2, 3), norm)


def test_inputs_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="the inputs hold NaN or infinity"):
        clip_norms(torch.tensor([[1.0, math.nan]]), 1.0)


@pytest.mark.parametrize(
    ("count", "delta"), [(100, 1e-5), (1437, 1e-5), (100_000, 1e-5), (100_001, 1e-6), (162_079, 1e-6)]
)
def test_delta_is_the_papers(count, delta):
    part = Examples(torch.zeros(1, 1).expand(count, 1), torch.zeros(1, dtype=torch.int64).expand(count))
    assert PrivateTask(Parts(part, part, part), 2, 10, 1).delta == pytest.approx(delta, rel=1e-12)


def test_the_rate_is_the_batch_over_the_examples_and_evaluations_end_with_the_last_step():
    task = toys.make_task()
    assert task.sampling_rate == 30 / 120
    assert task.evaluation_steps == [0, 5, 10, 15, 20]
    assert toys.make_task(steps=1).evaluation_steps == [0, 1]
    for bad in ({"batch_size": 0}, {"batch_size": 121}, {"steps": 0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            toys.make_task(**bad)


def test_the_tuning_part_joins_the_training_part_for_what_is_reported():
    task = toys.make_task()
    joined = task.with_tuning()
    assert len(joined.parts.train) == 240
    assert torch.equal(joined.parts.train.inputs, torch.cat([task.parts.train.inputs, task.parts.tuning.inputs]))
    assert torch.equal(joined.parts.train.targets, torch.cat([task.parts.train.targets, task.parts.tuning.targets]))
    assert joined.sampling_rate == task.sampling_rate / 2
    assert joined.parts.held_out is task.parts.held_out


def test_networks_of_both_kinds_have_equal_shapes_and_one_is_lipschitz():
    for name in ("linear", "mlp-8", "mlp-8-8"):
        shapes = {}
        for kind in ("unconstrained", "lipschitz"):
            model = network_factory(name, kind, (toys.FEATURES,), toys.CLASSES)(0)
            shapes[kind] = [tuple(each.shape) for each in model.parameters() if each.ndim > 1]
            assert model(torch.ones(3, toys.FEATURES)).shape == (3, toys.CLASSES)
        assert shapes["unconstrained"] == shapes["lipschitz"]
        assert upper_bound(model, (toys.FEATURES,)).total <= 1 + 1e-5
        assert not any("bias" in parameter for parameter, _ in model.named_parameters())


def test_convolutional_networks_map_square_images():
    for kind in ("unconstrained", "lipschitz"):
        model = network_factory("conv", kind, (1, 8, 8), 10)(0)
        assert model(torch.ones(2, 1, 8, 8)).shape == (2, 10)
    with pytest.raises(ValueError, match="network=conv is for square images"):
        network_factory("conv", "lipschitz", (64,), 10)


def test_names_of_networks():
    assert [widths_of(name) for name in ("linear", "mlp-64", "mlp-64-32")] == [(), (64,), (64, 32)]
    for bad in ("mlp", "mlp-", "mlp-x", "cnn", 64, "linear-3"):
        with pytest.raises(ValueError, match="network="):
            widths_of(bad)
    with pytest.raises(ValueError, match="the network is 'free'"):
        network_factory("linear", "free", (3,), 2)


def test_a_data_set_hands_out_examples_of_its_norm():
    class Toys(PrivacyDataset):
        name = "toys"
        parameters = {"network": ["linear"], "input_norm": [0.5], "steps": [3], "batch_size": [10]}
        classes = toys.CLASSES

        def parts(self):
            return toys.make_parts()

    task = Toys.get_instance().task(0)
    for part in task.parts:
        assert float(part.inputs.norm(dim=1).max()) <= 0.5 + 1e-6
    for own, given in zip(task.parts, toys.make_parts(), strict=True):
        assert torch.allclose(functional.normalize(own.inputs), given.inputs, atol=1e-6)
