"""One step after another: what is trained, on which batch, at which rate, however the batch is divided."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from training_toys import CPU, make_model, make_task

from orthobench.data.batches import BatchOrder
from orthobench.harness.status import Diverged, InvalidResult
from orthobench.harness.training import warmup_stable_decay
from orthobench.harness.training.guard import WatchedTrainer
from orthobench.models import seeded
from orthobench.optim import TurboMuon

OPTIMIZERS = {
    "sgd": lambda model: [torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)],
    "adamw": lambda model: [torch.optim.AdamW(model.parameters(), lr=0.01)],
    "adamw with a tensor rate": lambda model: [torch.optim.AdamW(model.parameters(), lr=torch.tensor(0.01))],
    "muon": lambda model: [
        torch.optim.Muon([model[3].weight], lr=0.02),
        torch.optim.AdamW([*model[0].parameters(), *model[4].parameters()], lr=0.01),
    ],
    "turbo_muon": lambda model: [
        TurboMuon([model[3].weight], lr=0.02),
        torch.optim.AdamW([*model[0].parameters(), *model[4].parameters()], lr=0.01),
    ],
}


def make_trainer(task, make_optimizers, seed=3, **options):
    torch.manual_seed(seed)
    model = task.make_model(seed).to(task.parts.train.inputs.dtype)
    return WatchedTrainer(task, model, make_optimizers, seed, CPU, **options)


def weights(trainer):
    return {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}


def assert_equal(ours, others, tolerance=0.0):
    assert ours.keys() == others.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, others[name], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_ten_steps_are_those_of_a_plain_loop(name):
    task = make_task(torch.float64, dropout=0.0)
    trainer = make_trainer(task, OPTIMIZERS[name])
    for _ in range(10):
        trainer.step()

    model = make_model(3, dropout=0.0).double()
    optimizers = OPTIMIZERS[name](model)
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    highest = [float(group["lr"]) for group in groups]
    order, losses = BatchOrder(len(task.parts.train), 12, 3), []
    for step in range(10):
        for group, rate in zip(groups, highest, strict=True):
            value = rate * min((step + 1) / 0.5, 1, (10 - step) / 4)
            group["lr"] = torch.tensor(value) if isinstance(group["lr"], torch.Tensor) else value
        inputs, targets = task.parts.train[order.draw()]
        loss = cross_entropy(model(inputs), targets)
        loss.backward()
        losses.append(float(loss))
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    assert_equal(weights(trainer), model.state_dict(), 1e-7 if "tensor" in name else 0.0)
    assert trainer.take_losses() == pytest.approx(sum(losses) / 10, rel=1e-6)


def make_model_with_statistics(seed):
    with seeded(seed):
        return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))


def shift(inputs, generator):
    return inputs + torch.rand(len(inputs), 1, generator=generator)


def test_a_foretold_loss_is_that_of_the_next_step_and_leaves_no_trace():
    task = replace(make_task(augment=shift, micro_batch_size=5), make_model=make_model_with_statistics)
    plain, foretelling = (make_trainer(task, OPTIMIZERS["sgd"]) for _ in range(2))
    for _ in range(10):
        torch.manual_seed(3)
        plain.step()
    for _ in range(10):
        torch.manual_seed(3)
        foretelling.foretell()
        foretelling.step()
        expected, found = foretelling._foretold
        assert torch.equal(expected, found)
    assert_equal(weights(foretelling), weights(plain))
    assert foretelling.take_losses() == plain.take_losses()


@pytest.mark.parametrize("micro_batch_size", [1, 5, 12, 100])
def test_gradients_accumulated_over_micro_batches_are_those_of_the_batch(micro_batch_size):
    whole, divided = (make_task(torch.float64, dropout=0.0, micro_batch_size=size) for size in (None, micro_batch_size))
    trainers = [make_trainer(task, OPTIMIZERS["sgd"]) for task in (whole, divided)]
    for trainer in trainers:
        for _ in range(10):
            trainer.step()
    assert_equal(weights(trainers[1]), weights(trainers[0]), 1e-12)
    assert trainers[1].take_losses() == pytest.approx(trainers[0].take_losses(), rel=1e-6)


def test_the_step_of_the_first_loss_that_is_not_finite_is_named():
    def exploding(model):
        return [torch.optim.SGD(model.parameters(), lr=1e30)]

    trainer = make_trainer(make_task(), exploding)
    for _ in range(3):
        trainer.step()
    with pytest.raises(Diverged, match=r"the training loss is (nan|inf) at step [23]: try a lower learning rate"):
        trainer.take_losses()


def test_the_mean_loss_is_that_since_the_last_reading():
    trainer = make_trainer(make_task(), OPTIMIZERS["sgd"])
    assert math.isnan(trainer.take_losses())
    trainer.step()
    assert trainer.take_losses() == pytest.approx(math.log(3), rel=0.3)
    assert math.isnan(trainer.take_losses())


def test_autocast_computes_the_forward_pass_in_bfloat16_and_keeps_the_weights_in_float32():
    seen = []

    def optimizers(model):
        model[3].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
        return OPTIMIZERS["sgd"](model)

    trainer = make_trainer(make_task(), optimizers, autocast=True)
    trainer.step()
    assert seen == [torch.bfloat16]
    assert all(parameter.dtype == torch.float32 for parameter in trainer.model.parameters())


def test_a_compiled_model_takes_the_same_steps(monkeypatch):
    compiled = []

    def compile_eagerly(model):
        compiled.append(model)
        return original(model, backend="aot_eager")

    original = torch.compile
    monkeypatch.setattr(torch, "compile", compile_eagerly)
    task = make_task(torch.float64, dropout=0.0)
    trainers = [make_trainer(task, OPTIMIZERS["adamw"], compile=compile) for compile in (False, True)]
    for trainer in trainers:
        for _ in range(4):
            trainer.step()
    assert compiled == [trainers[1].model]
    assert_equal(weights(trainers[1]), weights(trainers[0]), 1e-12)


def test_nothing_is_compiled_after_the_throw_away_copy(monkeypatch):
    """As a solver does it: a copy is trained for some steps, then the model itself, at rates that change."""
    graphs = []

    def counted(graph, inputs):
        graphs.append(graph)
        return graph.forward

    original = torch.compile
    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", lambda model: original(model, backend=counted))
    task = make_task(micro_batch_size=4)
    for steps in (3, 10):
        trainer = make_trainer(task, OPTIMIZERS["adamw"], compile=True)
        for _ in range(steps):
            trainer.step()
            trainer.foretell()
        assert len(graphs) == 1
    torch._dynamo.reset()


def test_phases_add_up_to_the_step():
    import time

    def slow(model):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        optimizer.register_step_pre_hook(lambda *_: time.sleep(0.02))
        return [optimizer]

    def augment(inputs, generator):
        time.sleep(0.05)
        return inputs

    trainer = make_trainer(make_task(augment=augment), slow)
    start = time.perf_counter()
    trainer.step()
    trainer.step()
    elapsed = time.perf_counter() - start
    seconds = trainer.phases.seconds()
    assert sum(seconds.values()) <= elapsed
    assert sum(seconds.values()) == pytest.approx(elapsed, rel=0.2)
    assert seconds["optimizer"] >= 0.04
    assert seconds["data"] >= 0.1
    assert min(seconds["forward"], seconds["backward"]) > 0
    assert trainer.phases.seconds() == seconds


def test_augmentation_depends_on_the_seed_alone():
    seen = []

    def augment(inputs, generator):
        noise = torch.rand(len(inputs), generator=generator)
        seen.append(noise)
        return inputs + noise[:, None]

    for seed in (3, 3, 4):
        make_trainer(make_task(augment=augment), OPTIMIZERS["sgd"], seed=seed).step()
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])


def test_every_example_comes_once_an_epoch_in_an_order_of_its_own():
    order = BatchOrder(10, 4, seed=0)
    drawn = torch.cat([order.draw() for _ in range(5)])
    first, second = drawn[:10], drawn[10:]
    assert first.sort().values.tolist() == second.sort().values.tolist() == list(range(10))
    assert not torch.equal(first, second)
    assert not torch.equal(first, torch.cat([BatchOrder(10, 10, seed=1).draw()]))


def test_indices_of_more_examples_than_an_epoch_holds_are_drawn_from_all_of_them(monkeypatch):
    monkeypatch.setattr("orthobench.data.batches.LARGEST_EPOCH", 100)
    order = BatchOrder(1000, 200, seed=0)
    drawn = torch.cat([order.draw() for _ in range(50)])
    assert drawn.min() >= 0
    assert drawn.max() < 1000
    assert len(drawn.unique()) > 950
    assert torch.equal(BatchOrder(1000, 200, seed=0).draw(), drawn[:200])


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(ValueError, match="batch_size is 11: give one from 1 to 10"):
        BatchOrder(10, 11, seed=0)
    with pytest.raises(ValueError, match="batch_size is 1000"):
        make_task(batch_size=1000)


def test_the_schedule_rises_stays_and_falls():
    factors = [warmup_stable_decay(step, 100, warmup=0.1, decay=0.5) for step in range(100)]
    assert factors[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert factors[10:51] == [1.0] * 41
    assert factors[50:] == pytest.approx([(100 - step) / 50 for step in range(50, 100)])
    assert min(factors) > 0
    assert [warmup_stable_decay(step, 3, warmup=0, decay=0) for step in range(3)] == [1.0] * 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5, 5), "step is 5: give one from 0 to 4"),
        ((0, 5, 0.7, 0.6), "warmup=0.7 and decay=0.6"),
        ((0, 5, -0.1, 0.6), "warmup=-0.1"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        warmup_stable_decay(*arguments)


@pytest.mark.parametrize(
    ("optimizers", "message"),
    [
        (lambda model: None, "returned a NoneType"),
        (lambda model: [], "returned a list"),
        (lambda model: [model], "returned a Sequential in its list"),
        (lambda model: OPTIMIZERS["sgd"](model) + OPTIMIZERS["adamw"](model), "0.weight is in two optimizers"),
        (lambda model: [torch.optim.SGD(model[0].parameters(), lr=0.1)], "3.weight, 4.weight, 4.bias in no optimizer"),
        (
            lambda model: [torch.optim.SGD([*model.parameters(), torch.nn.Parameter(torch.ones(3))], lr=0.1)],
            "a parameter that the model doesn't train",
        ),
    ],
)
def test_optimizers_that_do_not_fit_the_model_are_refused(optimizers, message):
    with pytest.raises(InvalidResult, match=message):
        make_trainer(make_task(), optimizers)


def test_evaluation_steps_are_fixed_by_the_task():
    assert make_task(steps=10, evaluations=5).evaluation_steps == [0, 2, 4, 6, 8, 10]
    assert make_task(steps=7, evaluations=3).evaluation_steps == [0, 2, 5, 7]
    assert make_task(steps=60, evaluations=None).evaluation_steps == [0, 10, 20, 30, 40, 50, 60]
    assert make_task(steps=3, evaluations=None).evaluation_steps == [0, 3]
    assert len(make_task(steps=5000, evaluations=None).evaluation_steps) == 11
    with pytest.raises(ValueError, match=r"evaluations is 11: give an integer in 1\.\.10"):
        make_task(steps=10, evaluations=11)
