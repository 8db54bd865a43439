"""The clock of a step's phases: work is billed to the phase that queued it, whenever the device gets to it."""

import time

import pytest
import torch
from training_toys import make_task

from orthobench.device import PhaseClock, Stopwatch
from orthobench.harness.training import Trainer
from orthobench.harness.training.task import PHASES
from orthobench.optim import TurboMuon

QUEUED_S = {"data": 0.5, "forward": 2.0, "backward": 4.0, "optimizer": 1.0}


class FakeDevice:
    """A device whose queue is done in no time of ours: it counts the seconds of what was queued."""

    def __init__(self):
        self.queued_s = {}  # by stream: device and number
        self.waited = []

    def work(self, seconds, stream):
        self.queued_s[stream] = self.queued_s.get(stream, 0.0) + seconds

    def event(self, enable_timing=False):
        assert enable_timing
        return FakeEvent(self)


class FakeEvent:
    def __init__(self, device):
        self.device, self.done = device, False

    def record(self, stream):
        self.stream, self.at_s = stream, self.device.queued_s.get(stream, 0.0)

    def synchronize(self):
        self.device.waited.append(self)
        self.done = True

    def elapsed_time(self, other):
        assert self.done, "torch raises where an event is read before it is past"
        assert other.done, "torch raises where an event is read before it is past"
        return 1e3 * (other.at_s - self.at_s)


@pytest.fixture
def fake(monkeypatch):
    device = FakeDevice()
    monkeypatch.setattr(torch.cuda, "Event", device.event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda of=None: (str(of or "cuda:0"), 0))
    return device


@pytest.mark.parametrize("name", ["cuda:0", "cuda:1"])  # the second isn't the current device
def test_queued_work_is_billed_to_the_phase_that_queued_it(name, fake):
    clock = PhaseClock(torch.device(name), PHASES)
    for _ in range(3):
        fake.work(100.0, (name, 0))  # evaluation, between two steps
        clock.start()
        for phase in PHASES:
            fake.work(QUEUED_S[phase], (name, 0))
            clock.end(phase)
    assert not fake.waited  # marks wait for nothing
    assert clock.seconds() == pytest.approx({phase: 3 * seconds for phase, seconds in QUEUED_S.items()})
    assert clock.seconds() == pytest.approx({phase: 3 * seconds for phase, seconds in QUEUED_S.items()})


def test_every_mark_is_past_before_it_is_read(fake):
    clock = PhaseClock(torch.device("cuda:0"), PHASES)
    clock.start()
    for phase in PHASES:
        clock.end(phase)
    clock.seconds()
    assert len(set(map(id, fake.waited))) == len(PHASES) + 1


def test_micro_batches_add_up_on_a_cpu():
    clock = PhaseClock(torch.device("cpu"), PHASES)
    clock.start()
    for _ in range(2):
        for phase in ("forward", "backward"):
            time.sleep(0.02)
            clock.end(phase)
    seconds = clock.seconds()
    assert min(seconds["forward"], seconds["backward"]) >= 0.04
    assert seconds["data"] == seconds["optimizer"] == 0


# ----- on a device -----

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
CYCLES = 100_000_000  # tens of milliseconds


class SlowKernel(torch.optim.SGD):
    """Queues a kernel that does nothing for long, and returns at once."""

    def step(self, closure=None):
        super().step(closure)
        sleep(self.param_groups[0]["params"][0].device)


def sleep(device):
    with torch.cuda.device(device):
        torch.cuda._sleep(CYCLES)


def slow_kernel_s(device):
    stopwatch = Stopwatch(device)
    stopwatch.start()
    sleep(device)
    stopwatch.stop()
    return stopwatch.elapsed_s


@needs_gpu
def test_a_slow_kernel_of_an_optimizer_is_billed_to_its_phase():
    device = torch.device("cuda", torch.cuda.device_count() - 1)
    task = make_task()
    trainer = Trainer(task, task.make_model(0).to(device), lambda m: [SlowKernel(m.parameters(), lr=0.1)], 0, device)
    trainer.step()
    trainer.phases = PhaseClock(device, PHASES)
    each = slow_kernel_s(device)
    stopwatch = Stopwatch(device)
    stopwatch.start()
    for _ in range(5):
        trainer.step()
    queued_s = stopwatch.reading_s()
    stopwatch.stop()
    seconds = trainer.phases.seconds()
    assert queued_s < stopwatch.elapsed_s - each / 2  # the last kernel at least was still in the queue
    assert seconds["optimizer"] == pytest.approx(5 * each, rel=0.05)
    assert sum(seconds.values()) == pytest.approx(stopwatch.elapsed_s, rel=0.01)


@needs_gpu
@pytest.mark.parametrize("make", [torch.optim.AdamW, torch.optim.Muon, TurboMuon])
def test_a_step_waits_for_the_device_nowhere(make):
    device = torch.device("cuda", torch.cuda.current_device())
    task = make_task()
    model = task.make_model(0).to(device)

    def optimizers(model):
        rest = [each for each in model.parameters() if each is not model[3].weight]
        return [make([model[3].weight], lr=0.01), torch.optim.AdamW(rest, lr=0.01)]

    trainer = Trainer(task, model, optimizers, 0, device)
    trainer.step()
    try:
        torch.cuda.set_sync_debug_mode("error")
        trainer.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
