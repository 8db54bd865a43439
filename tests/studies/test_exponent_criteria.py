"""The study of the criteria: its facts at full size, and that it says what it measured."""

import math
import re

import pytest
import torch

from orthobench import cli
from orthobench.studies import exponent_criteria as study


@pytest.fixture(scope="module")
def results():
    """Every case at full size; to the end where that is what is claimed."""
    return study.study(0, {"SGD": 60, "Muon": 60, "two_directions": 60, "tightness": 3, "bound": 3, "momentum": 3})


def test_predicted_and_actual_decrease_agree_to_1e_8(results):
    assert study.worst_prediction(results) < 1e-8


def test_the_bound_attains_99_percent_of_the_best_first_step(results):
    assert study.worst_bound(results) >= 0.99


def test_two_directions_end_as_well_as_the_better_of_sgd_and_muon_in_5_of_7_cases(results):
    assert len(results) == 7
    assert sum(map(study.two_directions_hold, results.values())) >= 5


def test_the_bound_attains_99_percent_for_most_of_8_seeds():
    attained = [study.worst_bound(study.study(seed, {"bound": 1, "tightness": 1})) for seed in range(8)]
    assert sum(share >= 0.99 for share in attained) >= 6
    assert min(attained) > 0.98


def test_the_claims_hold_for_another_seed():
    assert study.claims_by_seed([4]) == [(True, True)]


def test_what_bound_and_momentum_maximise_is_a_lower_bound_and_tightness_is_exact(results):
    for descents in results.values():
        for name in ("bound", "momentum"):
            assert 0.3 < descents[name].worst_guarantee <= 1
        assert all(descents[name].worst_guarantee == 0 for name in ("SGD", "Muon", "tightness", "two_directions"))
    assert study.worst_guarantee(results) <= 1


def test_no_method_of_the_family_takes_more_in_the_first_step_than_tightness(results):
    for descents in results.values():
        for name in ("SGD", "Muon", "bound", "momentum"):
            assert descents[name].first_decrease <= descents["tightness"].first_decrease * (1 + 1e-9)


def test_gaps_shrink_and_the_first_is_the_loss_above_the_least(results):
    for case in study.CASES:
        A, Y = study._problem(case, 0)
        best = torch.linalg.pinv(A.T) @ Y.T
        least = study._loss(best.T, A, Y)
        start = study._loss(torch.zeros_like(best.T), A, Y)
        for name, descent in results[case.name].items():
            assert descent.gaps[0] == pytest.approx(start - least, rel=1e-9)
            if name != "momentum":
                assert all(after <= before for before, after in zip(descent.gaps, descent.gaps[1:], strict=False))


def test_the_problems_are_what_their_names_say(monkeypatch):
    made = {case.name: study._problem(case, 3)[0] for case in study.CASES}
    assert all(A.shape == (128, 1024) and A.dtype == torch.float64 for A in made.values())
    assert made["relu"].min() == 0
    assert made["relu centred"].mean(dim=1).abs().max() < 1e-12
    stable = {name: float(A.square().sum() / torch.linalg.matrix_norm(A, 2) ** 2) for name, A in made.items()}
    assert stable["white"] > 60
    assert 2 < stable["relu"] < 5 < stable["relu centred"]
    assert 2 < stable["power law"] < 3
    assert stable["spike"] < 1.2
    eigenvalues = torch.linalg.eigvalsh(made["power law"] @ made["power law"].T / 1024).flip(0)
    expected = torch.arange(1, 129, dtype=torch.float64) ** -1.5
    assert (eigenvalues[:20] / expected[:20]).log().abs().max() < 0.3
    monkeypatch.setattr(study, "NOISE", 0)
    ranks = [int(torch.linalg.matrix_rank(study._problem(case, 0)[1])) for case in study.CASES]
    assert ranks == [96, 96, 96, 96, 96, 8, 8]


def test_a_prediction_that_is_wrong_would_be_seen(monkeypatch):
    right = study.predicted_decrease
    monkeypatch.setattr(study, "predicted_decrease", lambda G, D, C: right(G, D, 1.001 * C))
    descent = study.descend(study.CASES[0], study.METHODS["SGD"], 0, 3)
    assert descent.worst_prediction > 1e-8


@pytest.mark.parametrize("method", ["tightness", "bound", "momentum"])
def test_a_criterion_that_predicts_what_does_not_come_would_be_seen(method, monkeypatch):
    right = study.tightness_exponent

    def wrong(*arguments):
        return right(*arguments)._replace(decrease=1.001 * right(*arguments).decrease)

    monkeypatch.setattr(study, "tightness_exponent", wrong)
    assert study.descend(study.CASES[0], study.METHODS[method], 0, 2).worst_prediction > 1e-4


def test_a_bound_above_the_decrease_would_be_seen(monkeypatch):
    right = study.bound_exponent
    monkeypatch.setattr(study, "bound_exponent", lambda G, C: right(G, 0.1 * C))
    assert study.descend(study.CASES[0], study.METHODS["bound"], 0, 1).worst_guarantee > 1


def descent(*gaps, worst=1e-10):
    return study.Descent(gaps, worst)


def made_up(**ends):
    descents = {name: descent(10.0, 5.0, end) for name, end in dict.fromkeys(study.METHODS, 2.0).items()}
    return descents | {name: descent(10.0, 5.0, end) for name, end in ends.items()}


def test_who_ends_lower_is_named_best_first():
    assert study.better_than(made_up(), "tightness") == []
    assert study.better_than(made_up(SGD=1.0, bound=0.5), "tightness") == ["bound", "SGD"]
    assert study.better_than(made_up(SGD=1.0, bound=0.5), "bound") == []
    # Both have solved the problem: which is lower is rounding.
    assert study.better_than(made_up(tightness=1e-14, SGD=1e-16), "tightness") == []
    assert study.two_directions_hold(made_up(two_directions=1e-13, SGD=1e-16))
    assert not study.two_directions_hold(made_up(two_directions=1.5, Muon=1.0))


def test_claims_that_fail_are_said_to(monkeypatch):
    monkeypatch.setattr(study, "STEPS", (1, 2))
    good = {str(index): made_up() for index in range(5)}
    bad = {"a": made_up(two_directions=3.0), "b": made_up(two_directions=3.0, SGD=1.0)}
    *lines, prediction, lower, bound, mix = study.report(good | bad)
    assert prediction == "predicted against actual decrease of a step: within 1e-10 (1e-8 holds)"
    assert lower == "what bound and momentum maximise, a lower bound, over the actual decrease: 0.000 or less (1 holds)"
    assert bound == "first decrease of bound over that of tightness: 1.0000 or more (0.99 holds)"
    assert mix.endswith("in 5 of 7 cases (5 holds)")
    # Of the last case: the mix ends at 3, SGD at 1, all others at 2.
    lower = ["SGD", "SGD", "SGD", "SGD, Muon, tightness, bound, momentum"]
    assert lines[-4:] == [
        f"  {criterion}, greedy: not the best end, lower: {names}"
        for criterion, names in zip(study.CRITERIA, lower, strict=True)
    ]
    assert lines[7:11] == [f"  {criterion}, greedy: no method ends lower" for criterion in study.CRITERIA]
    bad["a"]["bound"] = study.Descent((10.0, 5.1, 2.0), 1e-7, 1.1)
    *_, prediction, lower, bound, mix = study.report(bad)
    assert lower.endswith("1.100 or less (1 DOES NOT HOLD)")
    assert prediction.endswith("within 1e-07 (1e-8 DOES NOT HOLD)")
    assert bound.endswith("0.9800 or more (0.99 DOES NOT HOLD)")
    assert mix.endswith("in 0 of 2 cases (5 DOES NOT HOLD)")


def test_seeds_for_which_a_claim_holds_are_counted(monkeypatch):
    monkeypatch.setattr(study, "STEPS", (1, 2))

    def some(seed, steps):
        assert steps == {"bound": 1, "tightness": 1, "SGD": 2, "Muon": 2, "two_directions": 2}
        mix = 3.0 if seed == 1 else 1.0
        return {str(case): made_up(two_directions=mix, bound=2.0) for case in range(7)}

    monkeypatch.setattr(study, "study", some)
    (line,) = study.report_seeds(range(4))
    assert line == "seeds 0 to 3: bound attains 0.99 for 4 of 4, two_directions 5 cases for 3 of 4"


@pytest.mark.parametrize("arguments", [[], ["--seed", "5", "--seeds", "3"]])
def test_the_command_prints_every_method_of_every_case_and_the_claims(arguments, monkeypatch, capsys):
    monkeypatch.setattr(study, "STEPS", (1, 2))
    seeds, counted = [], []
    monkeypatch.setattr(study, "claims_by_seed", lambda seeds: counted.extend(seeds) or [(True, False)] * len(seeds))
    original = study.descend

    def seen(case, method, seed, steps):
        seeds.append(seed)
        return original(case, method, seed, steps)

    monkeypatch.setattr(study, "descend", seen)
    cli.main(["study", "exponent-criteria", *arguments])
    *lines, last = capsys.readouterr().out.splitlines()
    assert set(seeds) == {5 if arguments else 0}
    assert counted == list(range(3 if arguments else 8))
    assert last.startswith(
        f"seeds 0 to {counted[-1]}: bound attains 0.99 for {len(counted)} of {len(counted)}, two_dir"
    )
    assert len(lines) == 7 * (1 + 6 + 4) + 4
    for case in study.CASES:
        at = next(i for i, line in enumerate(lines) if line.startswith(f"{case.name}: gap "))
        assert [line.split()[0] for line in lines[at + 1 : at + 7]] == list(study.METHODS)
        shares = [float(re.search(r"first decrease / tightness ([\d.]+),", line)[1]) for line in lines[at + 1 : at + 7]]
        assert shares[2] == 1
        assert [line.split(",")[0].strip() for line in lines[at + 7 : at + 11]] == list(study.CRITERIA)
    assert all(math.isfinite(float(each)) for line in lines for each in re.findall(r"steps (\S+),", line))
    assert sum(line.endswith("holds)") for line in lines[-4:]) >= 1
