"""Learn then test: p-values that are valid at the level itself, by exact sums; false rejections are rare."""

import numpy as np
import pytest
from scipy.stats import binom

from orthobench.conformal.risk import hoeffding_bentkus, learn_then_test


@pytest.mark.parametrize(("count", "alpha"), [(20, 0.1), (100, 0.05), (333, 0.3), (50, 0.9)])
def test_p_values_of_binomial_losses_at_the_level_are_small_no_more_often_than_they_say(count, alpha):
    successes = np.arange(count + 1)
    p_values, weights = hoeffding_bentkus(successes / count, count, alpha), binom.pmf(successes, count, alpha)
    for delta in (0.5, 0.1, 0.01, 1e-4):
        assert weights[p_values <= delta].sum() <= delta
    assert (np.diff(p_values) >= 0).all()


def test_a_small_mean_is_seen():
    assert hoeffding_bentkus([0.0], 100, 0.05)[0] == pytest.approx(0.95**100)


def test_a_fixed_sequence_stops_at_its_first_failure_and_bonferroni_shares_delta():
    p_values = [[0.01, 0.06, 0.001], [0.04, 0.05, 0.0001]]
    assert learn_then_test(p_values, 0.1, "fixed_sequence").tolist() == [[True, False, False], [True, True, True]]
    assert learn_then_test(p_values, 0.06).tolist() == [[True, False, True], [False, False, True]]


@pytest.mark.parametrize("procedure", ["bonferroni", "fixed_sequence"])
def test_a_true_hypothesis_is_rejected_no_more_often_than_delta(procedure):
    """All risks are at the level, so that every rejection is false."""
    random, count, delta, trials = np.random.default_rng(0), 80, 0.2, 400
    means = random.binomial(count, 0.1, (trials, 2, 5)) / count
    p_values = hoeffding_bentkus(means, count, 0.1)
    false = sum(learn_then_test(each, delta, procedure).any() for each in p_values)
    assert false <= binom.ppf(1 - 1e-6, trials, delta)


def test_an_unknown_procedure_is_an_error():
    with pytest.raises(ValueError, match="must be one of 'bonferroni', 'fixed_sequence', got 'holm'"):
        learn_then_test([0.1], 0.1, "holm")
