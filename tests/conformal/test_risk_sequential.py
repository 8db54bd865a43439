"""Sequential conformal risk control: closed forms, and pools in which each example is left out in turn, in integers."""

import math
import re

import numpy as np
import pytest
from risk_cases import Held, misses, naive_plus, no_correction, sequential

from orthobench.conformal.risk import LossTable, SeqCRC, StepLosses
from orthobench.conformal.risk.sequential import check_levels

SETTINGS = [(19, 0.1, 0.2), (99, 0.05, 0.1), (199, 0.05, 0.1)]
CALIBRATIONS = 250


def exact_risks(method, count, alpha_first, alpha, seed=0):
    """Return the exact risk of each calibration: scores and needs are uniform and independent."""
    random, risks = np.random.default_rng(seed), []
    for _ in range(CALIBRATIONS):
        scores, needs = random.random((2, count))
        first, second = method(misses(scores), Held(scores, needs), alpha_first, alpha)
        risks.append(1 - (1 + first if first < 0 else 1) * second)
    return np.array(risks)


def closed_forms(count, alpha_first, alpha):
    """Return the expected risks: SeqCRC, the second step at a+, and without the bound of the new loss."""
    k, m = round(alpha_first * (count + 1)) - 1, round(alpha * (count + 1))

    def at_plus(allowed):
        return (allowed + 1 - (allowed - k) / (count - k + 1)) / (count + 1)

    return m / (count + 1), at_plus(m), at_plus(m + 1)


def held_out(pool):
    return [np.arange(pool) != each for each in range(pool)]


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("which", range(3))
def test_the_risk_of_losses_of_0_and_1_is_that_of_the_closed_form(setting, which):
    risks = exact_risks((sequential, naive_plus, no_correction)[which], *setting, seed=which)
    error = risks.std(ddof=1) / CALIBRATIONS**0.5
    assert abs(risks.mean() - closed_forms(*setting)[which]) <= 4 * error


def random_tables(random, pool, points=4):
    """Return first losses, and second ones that may rise with the first parameter but not with the second: 0 or 1."""
    first_falls, second_falls = random.integers(0, points, pool), random.integers(0, points + 1, (pool, points + 1))
    first = np.arange(points + 1) < first_falls[:, None]
    second = np.arange(points + 1) < second_falls[:, :, None]
    return first.astype(float), np.maximum(first[:, :, None], second).astype(float)


def left_out_losses(method, first, second, alphas):
    """Return the first and second losses of each example with the parameters that the others choose, in integers."""
    points, lost = np.arange(first.shape[1] - 1), []
    for test, rest in enumerate(held_out(len(first))):
        chosen = method(StepLosses.from_table(points, first[rest]), LossTable(points, points, second[rest]), *alphas)
        i, j = (np.searchsorted(points, each, side="right") for each in chosen)
        lost.append((first[test, i], second[test, i, j]))
    return np.array(lost, dtype=int).sum(0)


def as_monotone(second):
    return np.maximum.accumulate(second[:, ::-1], axis=1)[:, ::-1]


@pytest.mark.parametrize("monotone", [True, False])
def test_with_each_example_of_a_pool_left_out_in_turn_no_risk_exceeds_its_alpha(monotone):
    random = np.random.default_rng(4)
    for _ in range(60):
        first, second = random_tables(random, 10)
        second = as_monotone(second) if monotone else second
        lost = left_out_losses(sequential, first, second, (0.2, 0.4))
        assert lost[0] <= 2
        assert lost[1] <= 4


def test_a_second_step_at_the_threshold_itself_exceeds_alpha_in_some_pools():
    random, worst = np.random.default_rng(5), 0
    for _ in range(60):
        first, second = random_tables(random, 10)
        worst = max(worst, left_out_losses(naive_plus, first, as_monotone(second), (0.2, 0.4))[1])
    assert worst > 4


class Raw(LossTable):
    """Losses as they are, where the supremum over larger first parameters should be taken."""

    def at(self, first):
        return StepLosses.from_table(self.second, self.values[:, np.searchsorted(self.first, first, side="right")])


def test_losses_that_rise_break_the_guarantee_unless_each_takes_its_supremum():
    """Objects are found at a uniform parameter; from 0.89 on, mostly between a- and a+, each is matched wrongly."""
    random, count, alpha_first, alpha, start = np.random.default_rng(6), 49, 0.1, 0.2, 0.89
    risks = {Raw: [], LossTable: []}
    for _ in range(150):
        found = np.sort(random.random(count))
        points = np.sort(np.append(found, start))
        reached = np.append(-np.inf, points)
        lost = found[:, None] > reached
        values = np.stack([lost | (reached >= start), lost], axis=2).astype(float)
        for kind, of_kind in risks.items():
            control = SeqCRC(alpha_first, {"class": alpha})
            control.calibrate(StepLosses.from_table(points, lost), {"class": kind(points, [1.0], values)})
            wrong = control.threshold >= start and control.thresholds["class"] < 1
            of_kind.append(1.0 if wrong else 1 - control.threshold)
    assert np.mean(risks[LossTable]) <= alpha
    assert np.mean(risks[Raw]) > 1.2 * alpha


def test_the_threshold_of_all_examples_lies_between_the_two_of_the_first_step():
    random = np.random.default_rng(7)
    for _ in range(30):
        first, second = random_tables(random, 10)
        points = np.arange(first.shape[1] - 1)
        whole = [StepLosses.from_table(points, first), LossTable(points, points, second).safest()]
        star = max(each.least(2) for each in whole)
        for rest in held_out(10):
            control = SeqCRC(0.2, {"held": 0.4}).calibrate(
                StepLosses.from_table(points, first[rest]), {"held": LossTable(points, points, second[rest])}
            )
            assert control.optimistic <= star <= control.threshold


def test_the_first_step_controls_the_second_losses_at_their_safest_too():
    """Of 19 examples one is always lost in the second step, unless the first goes to 3."""
    first = np.tile([1.0, 0, 0, 0], (19, 1))
    values = np.tile(np.array([1.0, 0, 0, 0])[:, None], (19, 1, 2))
    values[:2, :3] = 1
    points = np.arange(3)
    losses = {"held": LossTable(points, [0.0], values)}
    control = SeqCRC(0.1, {"held": 0.2}).calibrate(StepLosses.from_table(points, first), losses)
    assert (control.optimistic, control.threshold) == (0, 2)


def test_alphas_that_leave_the_second_step_no_room_say_which_would_do():
    scores = np.linspace(0.1, 0.9, 19)
    with pytest.raises(ValueError, match=r"least 0.1 \+ 1 / \(n \+ 1\) = 0.15: raise it to 0.15, or lower") as error:
        SeqCRC(0.1, {"held": 0.12}).calibrate(misses(scores), {"held": Held(scores, scores)})
    assert "lower the first one to 0.07, or calibrate on 49 examples" in str(error.value)
    scores = np.linspace(0.1, 0.9, 49)
    control = SeqCRC(0.1, {"held": 0.12}).calibrate(misses(scores), {"held": Held(scores, scores)})
    assert control.count == 49
    with pytest.raises(
        ValueError, match=r"the alpha of held is 0.3.* 0.42: raise it to 0.42, or lower the first one to 0.28\."
    ):
        SeqCRC(0.4, {"held": 0.3}).calibrate(misses(scores), {"held": Held(scores, scores)})


@pytest.mark.parametrize(("count", "alpha_first", "alpha"), [(97, 0.115, 0.12), (7, 0.2, 0.3), (33, 0.2, 0.21)])
def test_each_remedy_that_is_named_will_do(count, alpha_first, alpha):
    with pytest.raises(ValueError, match="raise it to") as error:
        check_levels(alpha_first, {"held": alpha}, count)
    numbers = re.findall(r"(?:raise it to|lower the first one to|calibrate on) (\d+(?:\.\d+)?)", str(error.value))
    raised, lowered, examples = map(float, numbers)
    check_levels(alpha_first, {"held": raised}, count)
    check_levels(lowered, {"held": alpha}, count)
    check_levels(alpha_first, {"held": alpha}, int(examples))
    with pytest.raises(ValueError, match="raise it to"):
        check_levels(alpha_first, {"held": alpha}, int(examples) - 1)


def test_so_few_examples_that_no_single_change_will_do_say_so():
    with pytest.raises(ValueError, match="calibrate on more examples, with a smaller first one"):
        check_levels(0.6, {"held": 0.3}, 1)


def test_the_condition_is_met_by_an_alpha_that_equals_it_as_a_decimal():
    """0.1 + 0.2 exceeds 0.3 in float64."""
    scores = np.linspace(0.1, 0.9, 9)
    assert SeqCRC(0.2, {"held": 0.3}).calibrate(misses(scores), {"held": Held(scores, scores)}).infeasible == ()


def test_too_few_examples_for_the_first_alpha_keep_all_and_say_so():
    scores = np.linspace(0.1, 0.9, 9)
    with pytest.warns(UserWarning, match="9 examples are too few for alpha=0.05; 19 would do"):
        control = SeqCRC(0.05, {"held": 0.2}).calibrate(misses(scores), {"held": Held(scores, scores)})
    assert control.threshold == math.inf
    assert control.infeasible == ("first",)


def test_losses_that_stay_large_give_the_largest_parameters_and_say_so():
    points, values = [0.0], np.ones((19, 2, 2))
    losses = {"held": LossTable(points, points, values)}
    control = SeqCRC(0.1, {"held": 0.2}).calibrate(StepLosses.from_table(points, values[:, 0]), losses)
    assert control.thresholds == {"held": math.inf}
    assert control.infeasible == ("first", "held")


def test_losses_that_do_not_fit_are_errors():
    scores, fewer = np.linspace(0.1, 0.9, 19), np.linspace(0.1, 0.9, 18)
    with pytest.raises(ValueError, match="of 18 examples, the first step's of 19"):
        SeqCRC(0.1, {"held": 0.2}).calibrate(misses(scores), {"held": Held(fewer, fewer)})
    with pytest.raises(ValueError, match="give one of each"):
        SeqCRC(0.1, {"held": 0.2}).calibrate(misses(scores), {"place": Held(scores, scores)})
    with pytest.raises(ValueError, match="the alpha of held must be strictly between 0 and 1"):
        SeqCRC(0.1, {"held": 1.2})
    with pytest.raises(ValueError, match=r"\(n, 2, 2\)"):
        LossTable([0.0], [0.0], np.zeros((3, 2, 3)))
