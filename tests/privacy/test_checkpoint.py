"""A run that was saved as a whole goes on as if it hadn't stopped: its batches, its noise and its count of steps."""

import copy
import io

import mechanisms as given
import numpy as np
import pytest
import torch

from orthobench.lipschitz.losses import CrossEntropy
from orthobench.privacy.checkpoint import checkpoint, restore
from orthobench.privacy.clip_free import ClipFreeOptimizer
from orthobench.privacy.clipping import ClippedGradients
from orthobench.privacy.networks import private_mlp
from orthobench.privacy.sampling import PoissonLoader
from orthobench.privacy.transcript import Transcript

COUNT, SIZE, STEPS = 40, 8, 9
CRITERION = CrossEntropy(0.25, 0.0)


def clip_free(seed, generator, common):
    model = private_mlp(seed, features=given.FEATURES, outputs=given.CLASSES, widths=(8,))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    private = ClipFreeOptimizer(optimizer, model, loss_constant=1.5, input_norm=1.0, generator=generator, **common)

    def step(inputs, targets):
        private.zero_grad()
        private.loss(CRITERION, model(inputs), targets).backward()
        private.step()

    return model, private, step


def clipped(seed, generator, common):
    model = given.network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    private = ClippedGradients(optimizer, model, clip_norm=given.CLIP, way="adaptive", generator=generator, **common)
    return model, private, lambda inputs, targets: private.step(inputs, targets, given.losses)


def run(make, seed):
    """Model, optimizer, loader and a function that does a step."""
    transcript = Transcript()
    common = {"noise_multiplier": 1.5, "expected_batch_size": SIZE, "sampling_rate": SIZE / COUNT}
    model, private, step = make(seed, torch.Generator().manual_seed(seed), common | {"transcript": transcript})
    batches = torch.Generator().manual_seed(seed + 1)
    loader = PoissonLoader(given.examples(COUNT), SIZE, STEPS, batches, transcript=transcript)
    return (model, private, loader), lambda: step(*loader.draw())


@pytest.mark.parametrize("make", [clip_free, clipped])
def test_a_restored_run_is_the_run(make):
    parts, step = run(make, 0)
    for _ in range(4):
        step()
    file = io.BytesIO()
    torch.save(checkpoint(*parts), file)
    again, step_again = run(make, 7)
    restore(torch.load(io.BytesIO(file.getvalue()), weights_only=True), *again)
    for _ in range(STEPS - 4):
        step()
        step_again()
    for name, value in parts[0].state_dict().items():
        assert torch.equal(again[0].state_dict()[name], value)
    assert again[2].sizes == parts[2].sizes
    assert again[1].transcript == parts[1].transcript
    assert again[1].transcript.steps == STEPS
    with pytest.raises(IndexError, match="all 9 batches"):
        step_again()


def test_the_state_of_a_loader_holds_pythons_numbers():
    file = io.BytesIO()
    torch.save(PoissonLoader(given.examples(COUNT), np.int64(SIZE), np.int64(STEPS)).state_dict(), file)
    assert torch.load(io.BytesIO(file.getvalue()), weights_only=True)["sampling_rate"] == SIZE / COUNT


@pytest.mark.parametrize("make", [clip_free, clipped])
def test_a_checkpoint_is_a_copy(make):
    parts, step = run(make, 0)
    step()
    saved = checkpoint(*parts)
    before = copy.deepcopy(saved)
    step()
    assert saved["loader"]["sizes"] == before["loader"]["sizes"]
    for name, value in saved["model"].items():
        assert torch.equal(value, before["model"][name])
    restore(saved, *parts)
    assert parts[1].transcript.steps == 1


def test_a_state_of_something_else_is_refused():
    parts, _ = run(clip_free, 0)
    saved = checkpoint(*parts)
    with pytest.raises(ValueError, match="a state of model, optimizer: give one of `checkpoint`"):
        restore({name: saved[name] for name in ("model", "optimizer")}, *parts)
    with pytest.raises(ValueError, match="a state of list"):
        restore([], *parts)
    before = copy.deepcopy(saved["model"])
    for made, found in ((clip_free, clipped), (clipped, clip_free)):
        with pytest.raises(ValueError, match="the state isn't one of a Clip"):
            restore(saved | {"optimizer": run(found, 0)[0][1].state_dict()}, *run(made, 0)[0])
    assert all(torch.equal(parts[0].state_dict()[name], value) for name, value in before.items())
    other = private_mlp(0, features=5)
    with pytest.raises(ValueError, match=r"(?s)isn't one of this model: .*size mismatch"):
        restore(saved | {"model": other.state_dict()}, *parts)
    more = PoissonLoader(given.examples(COUNT + 1), SIZE, STEPS)
    with pytest.raises(ValueError, match=r"a state of the rate 0\.2"):
        restore(saved, parts[0], parts[1], more)
