"""Training by recorded steps is training; on a CPU a recorder of operations stands for the CUDA graphs."""

import pytest
import torch
from recorded import record_on_a_cpu
from training_toys import CPU, make_task

from orthobench.harness.status import InvalidResult
from orthobench.harness.training.guard import WatchedTrainer as Trainer
from orthobench.optim import SchattenMuon, TurboMuon


@pytest.fixture
def on_a_cpu(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda model: model)
    record_on_a_cpu(monkeypatch)


def two_optimizers(make, model):
    rest = [*model[0].parameters(), *model[4].parameters()]
    return [make([model[3].weight], lr=0.02), torch.optim.AdamW(rest, lr=0.01)]


def make_trainer(make, compile, **options):
    task = make_task(dropout=0.0, **options)
    torch.manual_seed(0)
    return Trainer(task, task.make_model(0), lambda model: two_optimizers(make, model), 0, CPU, compile=compile)


def train(trainer, steps):
    for _ in range(steps):
        trainer.step()
    trainer.check()
    return torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])


@pytest.mark.parametrize("options", [{}, {"micro_batch_size": 4}])
def test_recorded_steps_train_as_the_steps_do(options, on_a_cpu):
    plain, recorded = (make_trainer(TurboMuon, compile, **options) for compile in (True, "steps"))
    start = train(plain, 0)
    expected = train(plain, 10)
    assert (train(recorded, 10) - expected).norm() < 1e-4 * (expected - start).norm()  # rates are float32 tensors
    (step,) = recorded._recorded.values()
    assert step.recordings == 1
    assert recorded.take_losses() == pytest.approx(plain.take_losses(), rel=1e-5)


def with_a_hook(calls, parameters, lr):
    optimizer = TurboMuon(parameters, lr=lr)
    optimizer.register_step_post_hook(lambda *_: calls.append(None))
    return optimizer


def test_what_cannot_be_recorded_steps_as_ever(on_a_cpu):
    calls = []
    for make in (
        torch.optim.Muon,
        lambda parameters, lr: SchattenMuon(parameters, lr=lr, exponent=lambda steps: 0.5),
        lambda parameters, lr: with_a_hook(calls, parameters, lr),
    ):
        trainer = make_trainer(make, "steps")
        assert not trainer._recorded
        assert torch.equal(train(trainer, 5), train(make_trainer(make, True), 5))
    assert len(calls) == 10


class Bolder(TurboMuon):
    """Doubles its rate in its step, which a recording holds."""

    def step(self, closure=None):
        super().step(closure)
        self.param_groups[0]["lr"].mul_(2)


@pytest.mark.parametrize("replayed", [False, True])
def test_a_rate_that_is_changed_in_a_recording_is_noticed(replayed, on_a_cpu):
    trainer = make_trainer(Bolder, "steps")
    for _ in range(5 if replayed else 1):
        trainer._deviations = []  # of the last step alone
        trainer.step()
    with pytest.raises(InvalidResult, match="changed its learning rate"):
        trainer.check()


def test_without_a_device_for_graphs_it_says_so():
    with pytest.raises(ValueError, match="on one CUDA device, got cpu"):
        make_trainer(TurboMuon, "steps")
    with pytest.raises(ValueError, match="compile='all': expected False, True or 'steps'"):
        make_trainer(TurboMuon, "all")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_trains_by_graphs_as_without():
    device = torch.device("cuda", torch.cuda.device_count() - 1)
    results = []
    for compile in (True, "steps"):
        task = make_task(dropout=0.0)
        torch.manual_seed(0)
        model = task.make_model(0).to(device)
        trainer = Trainer(task, model, lambda m: two_optimizers(TurboMuon, m), 0, device, compile=compile)
        results.append(train(trainer, 10))
    torch.testing.assert_close(*results, rtol=1e-2, atol=1e-3)
