"""What robust networks are trained on: pixels in [0, 1], one class alone, and batches that are half made up."""

from dataclasses import replace

import pytest
import torch
from lipschitz_toys import CLASSES, CPU, make_parts, make_task
from torch import nn

from orthobench.data.parts import Examples, Parts, check_pixels
from orthobench.harness.lipschitz import RobustnessDataset
from orthobench.harness.lipschitz.one_class import OneClassTrainer, one_class_loss
from orthobench.harness.training import Trainer
from orthobench.lipschitz.evaluation import frozen_copy, outputs_of
from orthobench.lipschitz.layers import LAYERS, MaxMin
from orthobench.lipschitz.one_class import OneClassLoss
from orthobench.models.evaluation import rebuild


def sgd(model):
    return [torch.optim.SGD([each for each in model.parameters() if each.requires_grad], lr=0.05)]


def test_pixels_must_be_in_the_unit_interval():
    parts = make_parts()
    check_pixels(**parts._asdict())
    for change in (lambda x: x - 0.5, lambda x: 255 * x, lambda x: x * float("nan")):
        wrong = Parts(parts.train, Examples(change(parts.tuning.inputs), parts.tuning.targets), parts.held_out)
        with pytest.raises(ValueError, match=r"the pixels of tuning are in .*: give them in 0\.\.1, not standardised"):
            check_pixels(**wrong._asdict())


@pytest.mark.parametrize("label", range(CLASSES))
def test_one_class_trains_on_that_class_alone(label):
    task, of_all = make_task().one_class(label), make_task()
    expected = of_all.parts.train.inputs[of_all.parts.train.targets == label]
    assert torch.equal(task.parts.train.inputs, expected)
    assert task.parts.train.targets.eq(1).all()
    for name in ("tuning", "held_out"):
        ours, whole = getattr(task.parts, name), getattr(of_all.parts, name)
        assert torch.equal(ours.inputs, whole.inputs)
        assert torch.equal(ours.targets, (whole.targets == label).long())


def test_a_class_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=r"label is 4: give an integer in 0\.\.3"):
        make_task().one_class(4)


@pytest.mark.parametrize(("given", "expected"), [(8, 8), (7, 6), (100, 12)])
def test_batches_of_one_class_are_even_and_no_larger_than_the_class(given, expected):
    assert make_task(batch_size=min(given, 48)).one_class(0).batch_size == expected


def one_class_trainer(seed=3):
    task = make_task().one_class(1).training_task("cayley", one_class_loss())
    torch.manual_seed(seed)
    return OneClassTrainer(task, task.make_model(seed), sgd, seed, CPU)


def test_half_of_a_batch_is_made_up_and_the_other_half_is_that_of_the_order():
    trainer = one_class_trainer()
    task = make_task().one_class(1).training_task("cayley", one_class_loss())
    torch.manual_seed(3)
    plain = Trainer(task, task.make_model(3), sgd, 3, CPU)
    for _ in range(3):
        ((inputs, targets),) = trainer._batch()
        ((expected, _),) = plain._batch()
        assert torch.equal(inputs[:6], expected[:6])
        assert targets.tolist() == 6 * [1] + 6 * [0]
        assert inputs[6:].min() >= 0
        assert inputs[6:].max() <= 1
        assert not inputs.requires_grad


def test_what_is_made_up_depends_on_the_seed_and_on_the_network():
    batches = [one_class_trainer(seed)._batch()[0][0] for seed in (3, 3, 4)]
    assert torch.equal(batches[0], batches[1])
    assert not torch.equal(batches[0][6:], batches[2][6:])
    trainer = one_class_trainer()
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter.mul_(1.5)
    assert not torch.equal(trainer._batch()[0][0][6:], batches[0][6:])


def test_the_loss_of_one_class_is_that_of_the_method():
    outputs = torch.randn(10, 1, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor(5 * [1] + 5 * [0])
    assert float(one_class_loss()(outputs, targets)) == pytest.approx(float(OneClassLoss()(outputs[:5], outputs[5:])))


def test_training_on_one_class_tells_it_from_the_others():
    trainer = one_class_trainer()
    task = make_task(steps=10).one_class(1)
    for _ in range(task.steps):
        trainer.step()
    assert trainer.take_losses() > 0
    with torch.no_grad():
        scores = trainer.model.eval()(task.parts.held_out.inputs)[:, 0]
    inlying = task.parts.held_out.targets == 1
    assert scores[inlying].mean() > scores[~inlying].mean()


def test_the_network_is_as_the_task_says():
    task = make_task(padding_mode="zeros").training_task("plain", nn.CrossEntropyLoss())
    model = task.make_model(0)
    convolutions = [each for each in model.modules() if isinstance(each, nn.Conv2d)]
    assert [each.kernel_size for each in convolutions] == [(1, 1), (3, 3)]
    assert {each.padding_mode for each in convolutions} == {"zeros"}
    assert model(torch.rand(2, 1, 4, 4)).shape == (2, CLASSES)
    assert task.evaluation_steps == [0, 10]
    assert replace(task, steps=200, evaluations=5).evaluation_steps == [0, 40, 80, 120, 160, 200]


CONVOLUTIONAL = [name for name, kind in LAYERS.items() if kind.conv and kind.joint]


@pytest.mark.parametrize("layer", CONVOLUTIONAL)
def test_a_network_of_each_kind_trains_and_a_fresh_one_with_its_weights_computes_the_same(layer):
    task = make_task(batch_size=24).training_task(layer, nn.CrossEntropyLoss())
    torch.manual_seed(3)
    trainer = Trainer(task, task.make_model(3), sgd, 3, CPU)
    for _ in range(2):
        trainer.step()
    trainer.check()
    fresh = rebuild(task.make_model, 0, trainer.model.state_dict(), CPU)
    inputs = task.parts.held_out.inputs
    outputs = [outputs_of(model, inputs, CPU) for model in (trainer.model, fresh, frozen_copy(trainer.model))]
    torch.testing.assert_close(outputs[1], outputs[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(outputs[2], outputs[0], rtol=0, atol=1e-6)
    kinds = {type(module) for module in fresh.modules()}
    assert (MaxMin in kinds) == (not LAYERS[layer].nonlinear)
    assert hasattr(fresh[-1], "lipschitz_bound")


def test_kinds_that_a_network_can_not_be_certified_with_are_refused():
    for layer, told in (("unit_norm", "bounds each output alone"), ("nonsense", "expected one of plain, ")):
        with pytest.raises(ValueError, match=told):
            make_task().training_task(layer, nn.CrossEntropyLoss())


class Toy(RobustnessDataset):
    name = "toy"
    classes = CLASSES
    blocks = 2
    batch_size, steps, width, padding = 12, 10, 4, "circular"
    network = "comparison"

    def parts(self):
        return make_parts()


@pytest.mark.parametrize(
    ("network", "channels", "features"),
    [
        ("comparison", [4] * 6 + [8] * 5, [16]),
        ("small", [4] * 4 + [8] * 3, [16]),
        ("dense", [], [16] * 4),
    ],
)
def test_the_networks_of_a_data_set(network, channels, features):
    toy = Toy()
    toy.network = network
    task = toy.task(0)
    model = task.model_factory("plain")(0)
    assert [each.in_channels for each in model.modules() if isinstance(each, nn.Conv2d)] == channels
    assert [each.in_features for each in model.modules() if isinstance(each, nn.Linear)] == features
    assert task.padding_mode == (None if network == "dense" else "circular")
    assert model(task.parts.train.inputs[:2]).shape == (2, CLASSES)


def test_a_network_that_does_not_exist_is_named():
    toy = Toy()
    toy.network = "large"
    with pytest.raises(ValueError, match="network='large': expected dense or small or comparison"):
        toy.task(0)
