"""The command that simulates verdicts simulates methods that are what they claim, and says where a goal is missed."""

import itertools

import numpy as np
import pytest

from orthobench import cli
from orthobench.studies import coverage_verdicts
from orthobench.studies.coverage_verdicts import CALIBRATIONS, METHODS, SPLIT_COUNTS, Setting, alarms, settings


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("part", [None, 30])
@pytest.mark.parametrize("excess", [0.0, 0.06])
def test_the_mean_loss_is_the_claim_s_and_what_is_added_to_it(method, part, excess):
    setting, random = Setting(50, 4, part, method, tests=40, excess=excess), np.random.default_rng(0)
    means = [np.concatenate(setting.losses(random)[1]).mean() for _ in range(800)]
    step = 1 / (50 * setting.objects + 1)
    expected = setting.alpha + round(excess / step) * step
    assert np.mean(means) == pytest.approx(expected, abs=5 * np.std(means) / 800**0.5)


def test_splits_test_what_they_are_not_calibrated_on_within_the_part():
    random = np.random.default_rng(0)
    examples, losses = Setting(50, 8, tests=40).losses(random)
    assert [len(each) for each in examples] == [len(each) for each in losses] == [40] * 8
    assert len({tuple(each) for each in examples}) == 8
    examples, losses = Setting(50, 8, part=30, tests=40).losses(random)
    assert max(map(max, examples)) < 30
    assert [len(each) for each in examples] == [len(each) for each in losses]


def test_every_size_is_simulated_without_noise_and_every_method_with_enough_splits():
    found = [(each.calibration, each.splits, bool(each.part)) for each in settings() if each.method == "exact"]
    assert sorted(found) == sorted(itertools.product(CALIBRATIONS, SPLIT_COUNTS, (False, True)))
    assert {each.method for each in settings() if each.splits == 100} == set(METHODS)


def test_a_share_of_small_p_values_is_shown_beside_its_goal(capsys, monkeypatch):
    few = [Setting(50, 1), Setting(50, 100, part=30, method="noisy")]
    monkeypatch.setattr(coverage_verdicts, "settings", lambda: few)
    cli.main(["study", "coverage-verdicts", "--cells", "3"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("exact, calibration 50, splits 1, whole pool: P(p < 0.05): ")
    assert lines[2].startswith("noisy, calibration 50, splits 100, 30 of 250: P(p < 0.05): ")
    assert lines[4] == "refuted of these 6 cells: 0.000; at most 0: holds"
    assert (
        lines[5] == "exact, calibration 400, splits 100, whole pool: refuted, 0.02 too low: 1.000; at least 0.9: holds"
    )
    assert lines[6].startswith("exact, calibration 400, splits 100, 400 of 800: refuted, 0.1 too low: ")
    assert len(lines) == 7
    small, tiny = alarms(few[0], np.array([0.01] * 10 + [0.5] * 90))
    assert (small.value, small.verdict(), tiny.verdict()) == (0.1, "DOES NOT HOLD", "holds")
    assert alarms(few[0], np.array([np.nan, 0.5]))[0].verdict() == "DOES NOT HOLD"
