"""The loop of private training: learns, is paired, records what happened, and sees what a solver must leave alone."""

import math

import privacy_toys as toys
import pytest
import torch

from orthobench.harness.privacy.evaluation import Examination, audit_run, certificates, outputs_of
from orthobench.harness.privacy.mechanisms import tight_constant
from orthobench.harness.status import Diverged, InvalidResult
from orthobench.harness.training.schedule import warmup_stable_decay
from orthobench.lipschitz.losses import CrossEntropy
from orthobench.privacy.accounting import epsilon
from orthobench.privacy.audit import Canaries
from orthobench.privacy.losses import loss_constant
from orthobench.privacy.transcript import Transcript


def accuracy(trainer):
    part = trainer.task.parts.held_out
    return float((outputs_of(trainer.model, part.inputs, toys.CPU).argmax(1) == part.targets).double().mean())


@pytest.mark.parametrize(("name", "rate"), [("clipping", 5.0), ("clip_free", 0.5), ("not_private", 1.0)])
def test_it_learns_and_records_each_step(name, rate):
    trainer = toys.trained(name, task=toys.make_task(steps=60), noise=0.5, rate=rate)
    assert accuracy(trainer) > 0.9
    trainer.check()
    assert trainer.done == len(trainer.loader.sizes) == 60
    assert math.isfinite(trainer.take_losses())
    if name != "not_private":
        ((rate, noise, steps),) = trainer.transcript.events
        assert (rate, steps) == (30 / 120, 60)
        assert noise == pytest.approx(0.5)
        assert epsilon(trainer.transcript, 1e-5, "rdp") > 1


def test_the_same_seed_is_the_same_run_and_batches_are_those_of_every_method():
    one, other, different = (toys.trained(seed=seed) for seed in (3, 3, 4))
    assert all(map(torch.equal, one.model.parameters(), other.model.parameters()))
    assert not all(map(torch.equal, one.model.parameters(), different.model.parameters()))
    assert one.loader.sizes == toys.trained("clipping", rate=1.0).loader.sizes
    assert one.loader.sizes != different.loader.sizes


def test_rates_follow_the_schedule():
    trainer, seen = toys.make_trainer(), []
    trainer._optimizer.register_step_pre_hook(lambda optimizer, *_: seen.append(optimizer.param_groups[0]["lr"]))
    for _ in range(20):
        trainer.step()
    assert seen == pytest.approx([0.5 * warmup_stable_decay(step, 20) for step in range(20)])


def test_the_weights_of_a_clip_free_run_stay_1_lipschitz_and_certify():
    trainer = toys.trained(task=toys.make_task(steps=40), rate=5.0)
    part = trainer.task.parts.held_out
    outputs = outputs_of(trainer.model, part.inputs, toys.CPU)
    found = certificates(trainer.model, outputs, part, trainer.task.shape)
    assert 0 < found["lipschitz_upper"] <= 1 + 1e-4
    margins = outputs.gather(1, part.targets[:, None]).squeeze(1)
    others = outputs.scatter(1, part.targets[:, None], -math.inf).amax(1)
    radii = (margins - others) / math.sqrt(2) / found["lipschitz_upper"]
    for radius in (1, 16, 32):
        expected = float((radii > radius / 255).double().mean())
        assert found[f"certified_accuracy_{radius}"] == pytest.approx(expected, abs=1 / len(part))


def test_a_network_of_zeros_is_evaluated():
    task = toys.make_task()
    model = task.model_factory("lipschitz")(0)
    part = task.parts.held_out
    found = certificates(model, outputs_of(model, part.inputs, toys.CPU), part, task.shape)
    assert found["lipschitz_upper"] == 0
    assert found["certified_accuracy_32"] == 0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda trainer: torch.manual_seed(1), "seeded torch"),
        (lambda trainer: trainer.part.inputs.mul_(2), "changed the training data"),
        (lambda trainer: trainer.loader.draw(), "drew from the batches"),
    ],
)
def test_what_a_solver_must_leave_alone(spoil, message):
    trainer = toys.make_trainer()
    trainer.step()
    trainer.loader.transcript = None
    spoil(trainer)
    with pytest.raises(InvalidResult, match=message):
        trainer.check()


def test_losses_that_are_not_finite_are_a_divergence():
    trainer = toys.make_trainer("not_private", rate=1e30)
    for _ in range(8):
        trainer.step()
    with pytest.raises(Diverged, match="try a lower learning rate"):
        trainer.take_losses()


def test_outputs_that_are_not_finite_are_a_divergence():
    trainer = toys.make_trainer()
    with torch.no_grad():
        next(trainer.model.parameters()).fill_(math.nan)
    with pytest.raises(Diverged, match="outputs hold NaN"):
        outputs_of(trainer.model, trainer.part.inputs, toys.CPU)


def examination(name, trainer):
    kind = "unconstrained" if name == "clipping" else "lipschitz"
    return Examination(trainer.task, kind, trainer.model, toys.MAKES[name], 1.0, toys.CPU)


@pytest.mark.parametrize("name", ["clipping", "clip_free"])
def test_an_honest_mechanism_passes_all_tests_and_is_left_as_it_is(name):
    trainer = toys.trained(name)
    before = [each.clone() for each in trainer.model.parameters()]
    state = torch.get_rng_state()
    findings, layers = examination(name, trainer).run(trainer.loader.sizes, trainer.transcript, canary=True)
    assert {each.test for each in findings} == {"noise", "sensitivity", "batch sizes", "transcript", "canary"}
    assert all(each.passed for each in findings), findings
    assert all(map(torch.equal, before, trainer.model.parameters()))
    assert torch.equal(torch.get_rng_state(), state)
    assert layers.count('"bound"') == len(before)
    assert trainer.transcript.steps == trainer.task.steps


def test_the_ratio_of_gradient_and_noise_is_that_of_clipping_written_out():
    trainer = toys.trained("clipping")
    found = examination("clipping", trainer).gradient_to_noise()
    task, model = trainer.task, trainer.model
    trainer.mechanism._private.release()
    total = [torch.zeros_like(each) for each in model.parameters()]
    for inputs, target in zip(*(each[:30] for each in (trainer.part.inputs, trainer.part.targets)), strict=True):
        model.zero_grad()
        torch.nn.functional.cross_entropy(model(inputs[None]), target[None]).backward()
        norm = math.sqrt(sum(float(each.grad.square().sum()) for each in model.parameters()))
        total = [own + each.grad * min(1, 0.1 / norm) for own, each in zip(total, model.parameters(), strict=True)]
    signal = math.sqrt(sum(float(each.square().sum()) for each in total)) / task.batch_size
    noise = 0.1 / task.batch_size * math.sqrt(sum(each.numel() for each in model.parameters()))
    assert found == pytest.approx(signal / noise, rel=1e-3)


def test_canaries_are_scored_in_a_run_and_what_is_known_is_taken_off():
    task = toys.make_task(network="linear")
    tests = Examination(task, "lipschitz", task.model_factory("lipschitz")(0), toys.MAKES["clip_free"], 1.0, toys.CPU)
    canaries = Canaries(20, task.sampling_rate, 0)
    toys.trained(task=task, canaries=canaries, known=tests.known, rate=0.0)
    # Without any noise to hide it, an included canary's score grows by 1 / s^2 for each of its samples.
    assert canaries.scores[canaries.included].mean() > 2 + canaries.scores[~canaries.included].mean()


def test_an_audit_finds_less_than_the_run_costs():
    task = toys.make_task(network="linear")
    methods = (toys.MAKES["clip_free"], toys.sgd(0.5))
    found = audit_run(task, "lipschitz", methods, 2.0, 3, toys.CPU)
    transcript = Transcript()
    for _ in range(task.steps):
        transcript.record(task.sampling_rate, [2.0])
    assert 0 <= found["epsilon_audit"] < epsilon(transcript, task.delta, "rdp")
    assert 0 <= found["audit_power"] < epsilon(transcript, task.delta, "rdp")


def test_the_tight_constant_is_never_below_that_of_the_loss_and_hardly_above():
    criterion = CrossEntropy(temperature=0.25, margin=0.0)
    constant = tight_constant(0.25, toys.make_trainer().plan)
    for norm in (0.0, 0.3, 0.9999, 1.0):
        exact = loss_constant(criterion, toys.CLASSES, norm)
        assert exact <= constant(norm) <= 1.03 * exact
    assert constant(0.1) < constant(1.0) < constant(1.001) == loss_constant(criterion, toys.CLASSES)
