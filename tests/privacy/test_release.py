"""The noise of a step has the variance that its blocks state, and blocks add up as the accountant has it."""

import math

import pytest
import torch
from scipy import stats

from orthobench.privacy.release import Block, add_noise, draw_noise, effective_multiplier, secure_normal

BLOCKS = [Block(("a", "b"), 0.1, 0.8), Block(("c",), 0.5, 1.0), Block(("d",), 0.0, 0.3)]


def sums(size=2000):
    return {name: torch.full((size, 2), 5.0, dtype=torch.float64 if name == "c" else None) for name in "abcde"}


@pytest.mark.parametrize("secure", [False, True])
def test_noise_is_normal_with_the_standard_deviation_of_the_block(secure):
    generator = None if secure else torch.Generator().manual_seed(0)
    noise = draw_noise(sums(), BLOCKS, generator, secure)
    assert list(noise) == list("abcd")
    for name, std in {"a": 0.8, "b": 0.8, "c": 1.0, "d": 0.3}.items():
        assert noise[name].dtype == sums()[name].dtype
        assert stats.kstest(noise[name].flatten().numpy() / std, "norm").pvalue > 1e-6
    assert not torch.equal(noise["a"], noise["b"])
    assert not torch.equal(noise["a"], draw_noise(sums(), BLOCKS, generator, secure)["a"])


def test_sums_get_their_noise_and_those_without_are_copies():
    given = sums(3)
    noise = draw_noise(given, BLOCKS, torch.Generator().manual_seed(0))
    noisy = add_noise(given, noise)
    for name in "abcd":
        assert torch.equal(noisy[name], given[name] + noise[name])
    assert torch.equal(noisy["e"], given["e"])
    assert all(noisy[name].data_ptr() != given[name].data_ptr() for name in given)


def test_multipliers_of_blocks_add_up_and_those_that_tell_nothing_count_nothing():
    assert [each.noise_multiplier for each in BLOCKS] == [pytest.approx(8.0), 2.0, math.inf]
    found = effective_multiplier(BLOCKS)
    assert found == pytest.approx((8**-2 + 2**-2) ** -0.5)
    assert effective_multiplier(BLOCKS[2:]) == math.inf
    # What rounding alone keeps from it is the nominal one.
    assert effective_multiplier(BLOCKS, found * (1 + 1e-12)) == found * (1 + 1e-12)
    assert effective_multiplier(BLOCKS, found * (1 + 1e-6)) == found
    assert effective_multiplier(BLOCKS[2:], 3.0) == 3.0
    with pytest.raises(ValueError, match="without noise is no privacy"):
        effective_multiplier([Block(("a",), 1.0, 0.0)])


def test_secure_noise_is_normal_into_its_tails_and_independent_of_torchs_generator():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first, second = secure_normal((40_000, 2)), secure_normal((40_000, 2))
    assert first.dtype == torch.float64
    assert torch.equal(torch.get_rng_state(), before)
    assert abs(float(torch.corrcoef(torch.cat([first, second], 1).T).tril(-1).abs().max())) < 6 / 200
    drawn = torch.cat([first, second]).flatten().numpy()
    assert stats.kstest(drawn, "norm").pvalue > 1e-6
    for size in (2.0, 3.0):
        expected = 2 * stats.norm.sf(size)
        assert stats.binomtest(int((abs(drawn) > size).sum()), len(drawn), expected).pvalue > 1e-6
