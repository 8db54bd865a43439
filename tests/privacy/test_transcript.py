"""The transcript counts what happened, refuses what can't have, and goes on after a break."""

import math

import pytest
import torch

from orthobench.privacy.sampling import PoissonLoader
from orthobench.privacy.transcript import Event, Transcript, check_rate, combined


def test_equal_steps_in_a_row_are_one_event():
    transcript = Transcript()
    for noise in (2.0, 2.0, 3.0, 2.0):
        transcript.record(0.1, [noise])
    assert transcript.events == (Event(0.1, 2.0, 2), Event(0.1, 3.0, 1), Event(0.1, 2.0, 1))
    assert transcript.steps == 4


def test_mechanisms_on_one_sample_are_one_gaussian_mechanism():
    """Outputs N(mu_i, s_i^2), mu_i in {0, 1}, are told apart by their sum weighted with 1 / s_i^2: the distance in
    deviations is sqrt(sum of 1 / s_i^2)."""
    generator = torch.Generator().manual_seed(0)
    stds = torch.tensor([2.0, 3.0, 5.0], dtype=torch.float64)
    noise = stds * torch.randn(200_000, 3, generator=generator, dtype=torch.float64)
    without, with_one = (noise / stds**2).sum(1), ((noise + 1) / stds**2).sum(1)
    distance = float((with_one.mean() - without.mean()) / without.std())
    assert 1 / combined(stds.tolist()) == pytest.approx(distance, rel=0.01)
    assert combined([4.0] * 4) == pytest.approx(2.0, rel=1e-12)
    assert combined([1.7]) == 1.7


@pytest.mark.parametrize("rate", [None, "0.1", True])
def test_a_rate_that_is_no_number_is_refused(rate):
    with pytest.raises(TypeError, match=r"a sampling rate of .* number in \(0, 1\]"):
        check_rate(rate)


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.1, math.nan])
def test_a_rate_outside_of_its_range_is_refused(rate):
    with pytest.raises(ValueError, match=r"a sampling rate of .* \(0, 1\]"):
        Transcript().record(rate, [1.0])


@pytest.mark.parametrize("noise", [[0.0], [-1.0], [math.inf], [math.nan], [1.0, -2.0], []])
def test_noise_that_is_none_is_refused(noise):
    with pytest.raises(ValueError, match="noise multiplier"):
        Transcript().record(0.1, noise)


@pytest.mark.parametrize("probability", [-0.1, 1.0, math.nan])
def test_a_failure_probability_outside_of_its_range_is_refused(probability):
    with pytest.raises(ValueError, match="failure probability"):
        Transcript().add_failure_probability(probability)


def test_another_adjacency_is_refused():
    with pytest.raises(ValueError, match="adjacency='replace_one': give add_or_remove_one"):
        Transcript("replace_one")
    state = Transcript().state_dict() | {"adjacency": "replace_one"}
    with pytest.raises(ValueError, match="adjacency"):
        Transcript().load_state_dict(state)


def test_a_resumed_transcript_goes_on_counting():
    whole, first, second = Transcript(), Transcript(), Transcript()
    for step in range(10):
        whole.record(0.1, [1.0, 2.0])
        whole.add_failure_probability(1e-9)
        if step == 4:
            second.load_state_dict(first.state_dict())
        part = first if step < 4 else second
        part.record(0.1, [1.0, 2.0])
        part.add_failure_probability(1e-9)
    assert second == whole
    assert first != whole
    assert second.events == (Event(0.1, combined([1.0, 2.0]), 10),)
    assert second.extra_delta == pytest.approx(1e-8)


def test_a_copy_is_its_own():
    transcript = Transcript()
    transcript.record(0.1, [1.0])
    copy = transcript.copy()
    assert copy == transcript
    copy.record(0.1, [1.0])
    assert (copy.steps, transcript.steps) == (2, 1)


def test_sampling_and_accounting_cannot_disagree():
    transcript = Transcript()
    loader = PoissonLoader([torch.arange(20.0)], 5, 3, torch.Generator().manual_seed(0), transcript=transcript)
    loader.draw()
    with pytest.raises(ValueError, match=r"recorded at the rate 0.125, and its batch was drawn at 0.25"):
        transcript.record(0.125, [1.0])
    transcript.record(0.25, [1.0])
    with pytest.raises(ValueError, match="step 2 is recorded after 1 batches"):
        transcript.record(0.25, [1.0])
    loader.draw()
    transcript.record(0.25, [1.0])
    with pytest.raises(ValueError, match=r"a sample at the rate 0.5 after some at 0.25"):
        transcript.sampled(0.5)
    assert transcript.steps == 2
