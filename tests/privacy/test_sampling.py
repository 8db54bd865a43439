"""Batches are Poisson samples: each example on its own, empty batches included, the same again after a break."""

import pytest
import torch
from scipy import stats

from orthobench.privacy.sampling import PoissonLoader
from orthobench.privacy.transcript import Transcript


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def indicators(count, size, steps, **options):
    """Return which example is in which batch, (steps, count)."""
    found = torch.zeros(steps, count)
    for step, (batch,) in enumerate(PoissonLoader([torch.arange(count)], size, steps, **options)):
        found[step, batch] = 1
    return found


@pytest.mark.parametrize("options", [{"generator": generator()}, {"secure": True}], ids=["generator", "secure"])
def test_each_example_is_in_each_batch_on_its_own(options):
    count, steps, rate = 50, 4000, 0.3
    found = indicators(count, rate * count, steps, **options)
    # 50 examples and 1,225 pairs, each to 6 deviations: an honest sampler fails once in 10^6.
    assert stats.binomtest(int(found.sum()), count * steps, rate).pvalue > 1e-7
    deviation = (rate * (1 - rate) / steps) ** 0.5
    assert float((found.mean(0) - rate).abs().max()) < 6 * deviation
    correlation = torch.corrcoef(found.T) - torch.eye(count)
    assert float(correlation.abs().max()) < 6 / steps**0.5
    sizes = found.sum(1)
    assert float(sizes.var()) == pytest.approx(count * rate * (1 - rate), rel=0.15)


@pytest.mark.parametrize("options", [{}, {"secure": True}], ids=["own", "secure"])
def test_batches_differ_after_equal_seeds_unless_a_generator_is_given(options):
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        found.append(indicators(50, 10, 20, **options))
    assert not torch.equal(*found)


def test_batches_hold_rows_of_all_tensors_in_step_and_may_be_empty():
    inputs, targets = torch.randn(12, 2, 3), torch.arange(12)
    loader = PoissonLoader((inputs, targets), 1, 60, generator())
    batches = list(loader)
    assert len(batches) == 60
    assert loader.sizes == [len(own) for own, _ in batches]
    assert {0, 1} <= set(loader.sizes)
    for own, labels in batches:
        assert own.shape == (len(labels), 2, 3)
        assert torch.equal(own, inputs[labels])


def test_at_a_rate_of_one_every_batch_is_everything():
    found = indicators(7, 7, 5, generator=generator())
    assert bool(found.all())


def test_one_example_is_a_data_set():
    assert indicators(1, 0.5, 200, generator=generator()).mean() == pytest.approx(0.5, abs=0.2)


def test_iterations_share_the_budget_of_steps():
    loader = PoissonLoader([torch.arange(9)], 3, 5, generator())
    assert len(loader) == 5
    for _, _ in zip(range(2), loader, strict=False):
        pass
    assert len(loader) == 5 - len(loader.sizes)
    list(loader)
    assert len(loader.sizes) == 5
    with pytest.raises(IndexError, match="all 5 batches were drawn"):
        loader.draw()


def test_a_resumed_loader_draws_what_would_have_followed():
    whole = PoissonLoader([torch.arange(30)], 6, 8, generator(3))
    batches = [batch for (batch,) in whole]
    first = PoissonLoader([torch.arange(30)], 6, 8, generator(3))
    for _ in range(3):
        first.draw()
    second = PoissonLoader([torch.arange(30)], 6, 8, generator(99))
    second.load_state_dict(first.state_dict())
    assert all(torch.equal(one, other) for one, (other,) in zip(batches[3:], second, strict=True))
    assert second.sizes == whole.sizes
    with pytest.raises(ValueError, match="a state of the rate"):
        PoissonLoader([torch.arange(30)], 5, 8).load_state_dict(first.state_dict())


def test_the_transcript_is_told_of_each_batch():
    transcript = Transcript()
    for _ in PoissonLoader([torch.arange(8)], 2, 3, generator(), transcript=transcript):
        transcript.record(0.25, [1.0])
    assert transcript.steps == 3


@pytest.mark.parametrize("size", [0, -1, 9])
def test_a_batch_size_outside_of_its_range_is_refused(size):
    with pytest.raises(ValueError, match=r"expected_batch_size=.*: give one in \(0, 8\]"):
        PoissonLoader([torch.arange(8)], size, 3)


def test_data_that_cannot_be_sampled_are_refused():
    with pytest.raises(ValueError, match="N = 0"):
        PoissonLoader([torch.empty(0, 3)], 1, 1)
    with pytest.raises(ValueError, match="rows"):
        PoissonLoader([torch.arange(8), torch.arange(7)], 1, 1)
    with pytest.raises(TypeError, match="give tensors"):
        PoissonLoader([[1, 2, 3]], 1, 1)
    with pytest.raises(TypeError, match=r"tensors is one Tensor: give a sequence of them, such as \[inputs, targets\]"):
        PoissonLoader(torch.randn(8, 3), 1, 1)
    with pytest.raises(ValueError, match="steps is 0"):
        PoissonLoader([torch.arange(8)], 1, 0)
    with pytest.raises(ValueError, match="secure=True takes no generator"):
        PoissonLoader([torch.arange(8)], 1, 1, generator(), secure=True)
    with pytest.raises(TypeError, match=r"generator is a int: give a torch\.Generator on cpu, or None"):
        PoissonLoader([torch.arange(8)], 1, 1, 3)
