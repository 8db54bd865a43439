"""Claims about training: directions, equal hyper-parameters, cells that did not reach the target, and the real file."""

import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up import (
    ADAMW,
    DIGITS,
    DOCS,
    EVALUATIONS,
    GAUSSIAN,
    HALVED,
    TASKS,
    TORCH_MUON,
    TRAINING,
    TURBO,
    fail,
    falling,
    noise,
    root_frame,
    training_frame,
    training_rows,
)

from orthobench.report.benchmarks import BENCHMARKS
from orthobench.report.claims import check_claims, check_columns, format_check, format_verdict, load_claims, protocol
from orthobench.report.command import main
from orthobench.report.names import parameters
from orthobench.report.reports import find_claims

pytestmark = pytest.mark.usefixtures("wide_terminal")

ROOT = Path(__file__).parents[2]
REAL = ROOT / "benchmark_muon" / "claims.toml"
CIFAR = "cifar10[network=vit,steps=100]"
SCHATTEN, FAST_SCHATTEN = (
    f"Schatten-p[adamw_learning_rate=0.01,learning_rate=0.05,method={method},refresh_every=100,weight_decay=0.01]"
    for method in ("eigh", "products")
)
SOAP = "SOAP[learning_rate=0.01,weight_decay=0.01]"
SCION = "SCION[learning_rate=0.01,momentum=0.1,scale=10.0]"

HEAD = """benchmark = "benchmark_muon"
solvers = ["AdamW", "torch.optim.Muon", "Turbo-Muon", "Turbo-Muon[orthogonaliser=turbo_muon]"]
[[claim]]
id = "a-claim"
method = "Muon"
text = "Better."
source = { paper = "A paper", arxiv = "2512.04632", where = "abstract" }
[claim.query]
"""
QUERY = {
    "metric": '"held_out_loss"',
    "datasets": '["digits*", "python_docs*"]',
    "solver": '"torch.optim.Muon"',
    "baseline": '"AdamW"',
    "direction": '"lower"',
}
STEPS = {"metric": '"steps_to_target"', "direction": '"not higher"', "factor": "0.8", "datasets": '["digits*"]'}


@pytest.fixture
def write(tmp_path):
    def write(head=HEAD, **changes):
        path = tmp_path / "claims.toml"
        query = {**QUERY, **changes}
        path.write_text(head + "".join(f"{key} = {value}\n" for key, value in query.items() if value))
        return path

    return write


@pytest.fixture
def check(write):
    def check(frame, **changes):
        (verdict,) = check_claims(frame, load_claims(write(**changes)))
        query = verdict.claim.query
        assert all(len(format_check(each, query)) == len(check_columns(query)) for each in verdict.checks)
        assert format_verdict(verdict)[0] == verdict.label
        return verdict

    return check


# ----- directions -----


def test_a_lower_loss_and_a_higher_accuracy_are_better(check):
    rows = training_frame()
    accuracy = {"metric": '"held_out_accuracy"'}
    assert check(rows).verdict == "reproduced"
    assert check(rows, **accuracy, direction='"higher"').verdict == "reproduced"
    assert check(rows, **accuracy, direction='"not lower"', tolerance="0.01").verdict == "reproduced"
    swapped = {"solver": '"AdamW"', "baseline": '"torch.optim.Muon"'}
    assert check(rows, **swapped).reason == "holds on 0, fails on 2, open on 0 of 2; fails: higher: everywhere"
    assert (
        check(rows, **accuracy, **swapped, direction='"higher"').reason
        == "holds on 0, fails on 2, open on 0 of 2; fails: lower: everywhere"
    )
    verdict = check(rows, **accuracy, **swapped, direction='"not lower"', tolerance="0.01")
    assert verdict.reason == "holds on 0, fails on 2, open on 0 of 2; fails: more than 1 % lower: everywhere"
    assert all(each.low < each.high < each.bound < 0 for each in verdict.checks)
    assert "bound: at least -0.00" in format_verdict(verdict)[4]


def test_a_tie_is_not_lower_within_a_tolerance_and_decides_nothing_about_higher(check):
    rows = training_frame(falling(dict.fromkeys(HALVED, 20.0)), seeds=10)
    accuracy = {"metric": '"held_out_accuracy"'}
    assert check(rows, **accuracy, direction='"not lower"', tolerance="0.01").verdict == "reproduced"
    assert check(rows, **accuracy, direction='"not lower"', tolerance="1e-5").verdict == "inconclusive"
    verdict = check(rows, **accuracy, direction='"higher"')
    expected = "holds on 0, fails on 0, open on 2 of 2; open: no difference found: everywhere"
    assert (verdict.verdict, verdict.reason) == ("inconclusive", expected)


def test_the_worst_check_of_a_higher_claim_is_the_lowest(check):
    def loss(solver, dataset, seed, step):
        level = 0.2 if solver == ADAMW else 0.15 if dataset == DIGITS else 0.1
        return level * noise(solver, dataset, seed, step)

    verdict = check(training_frame(loss), metric='"held_out_accuracy"', direction='"higher"')
    assert "worst: held_out_accuracy of torch.optim.Muon - AdamW: 0.04" in format_verdict(verdict)[4]
    assert "n = 8, digits, p = " in format_verdict(verdict)[4]


def test_a_ratio_of_accuracies_works_upwards(check):
    rows = training_frame()
    ours, theirs = (
        rows[(rows.solver_name == solver) & (rows.stop_val == 100) & (rows.dataset_name == DIGITS)].set_index("idx_rep")
        for solver in (TORCH_MUON, ADAMW)
    )
    ratio = np.exp(np.log(ours.objective_held_out_accuracy / theirs.objective_held_out_accuracy).mean())
    query = {"metric": '"held_out_accuracy"', "direction": '"higher"', "datasets": '["digits*"]'}
    verdict = check(rows, **query, factor=f"{ratio - 0.02}")
    assert verdict.verdict == "reproduced"
    assert verdict.checks[0].estimate == pytest.approx(ratio)
    assert check(rows, **query, factor=f"{ratio + 0.02}").verdict == "not reproduced"


# ----- what is compared -----


def test_rows_of_the_tuning_part_are_no_evidence(check):
    tuning = training_frame(objective=TRAINING.replace("held_out", "tuning"))
    assert check(tuning).reason == "no rows of digits*; no rows of python_docs*"
    both = pd.concat([tuning, training_frame()])
    assert len(check(both).checks) == 2


def test_options_that_are_on_tell_checks_apart(check):
    autocast = training_frame(falling(dict.fromkeys(HALVED, 20.0)), objective=TRAINING.replace("False", "True", 1))
    verdict = check(pd.concat([training_frame(), autocast]))
    assert [each.setting for each in verdict.checks] == ["", "autocast"] * 2
    assert verdict.reason == (
        "holds on 2, fails on 0, open on 2 of 4; open: no difference found: digits (autocast), python_docs (autocast)"
    )


def test_alternatives_of_a_pattern_need_one_data_set(check):
    rows = training_frame(datasets=[DOCS])
    assert check(rows, datasets='["shakespeare*|python_docs*"]').verdict == "reproduced"
    assert check(rows, datasets='["shakespeare*|mnist*"]').reason == "no rows of shakespeare* or mnist*"


def at_rates(rates, loss=None):
    """Rows of Turbo-Muon and of torch's Muon at several learning rates."""
    named = [name.replace("0.05", rate) for name in (TORCH_MUON, TURBO) for rate in rates]
    return training_frame(loss or (lambda s, d, seed, step: 0.2 * noise(s, d, seed, step)), solvers=named)


SAME = {
    "solver": '"Turbo-Muon[orthogonaliser=turbo_muon]"',
    "baseline": '"torch.optim.Muon"',
    "direction": '"not higher"',
    "tolerance": "0.05",
    "datasets": '["digits*"]',
}


def test_solvers_are_compared_at_equal_hyper_parameters(check):
    def loss(solver, dataset, seed, step):
        worse = solver.startswith("Turbo") and parameters(solver)["learning_rate"] == "0.1"
        return (0.3 if worse else 0.2) * noise(solver, dataset, seed, step)

    verdict = check(at_rates(["0.02", "0.1"], loss), **SAME, same='["learning_rate", "weight_decay"]')
    assert [each.setting for each in verdict.checks] == [
        "learning_rate=0.02, weight_decay=0.01",
        "learning_rate=0.1, weight_decay=0.01",
    ]
    assert verdict.reason == (
        "holds on 1, fails on 1, open on 0 of 2; "
        "fails: more than 5 % higher: digits (learning_rate=0.1, weight_decay=0.01)"
    )


def test_values_that_one_of_the_two_was_not_run_with_say_nothing(check):
    rows = at_rates(["0.02", "0.1"])
    rows = rows[rows["solver_name"] != TORCH_MUON.replace("0.05", "0.1")]
    (only,) = check(rows, **SAME, same='["learning_rate"]').checks
    assert only.n == 8
    rows = rows[rows["solver_name"] != TURBO.replace("0.05", "0.02")]
    reason = "no rows of Turbo-Muon[orthogonaliser=turbo_muon] and torch.optim.Muon with the same learning_rate"
    assert check(rows, **SAME, same='["learning_rate"]').reason == f"{reason}: digits"


def test_a_name_that_selects_several_solvers_is_untested(check):
    verdict = check(at_rates(["0.02", "0.1"]), **SAME)
    expected = "several solvers are Turbo-Muon[orthogonaliser=turbo_muon]: run or report on one: digits"
    assert (verdict.verdict, verdict.reason) == ("not run here", expected)
    verdict = check(training_frame(), **{**SAME, "solver": '"Turbo-Muon"'})
    assert verdict.reason == "several solvers are Turbo-Muon: run or report on one: digits"


# ----- targets -----


def reaching(ours, theirs, seeds=8):
    """Rows on the digits in which the solvers reach the target at the given evaluations; None for never."""
    rows = []
    for seed in range(seeds):
        for solver, places in ((TORCH_MUON, ours), (ADAMW, theirs)):
            first = places[seed % len(places)]
            losses = [0.2 if first is not None and place >= first else 2.0 for place in range(len(EVALUATIONS))]
            rows += training_rows(solver, DIGITS, seed, losses)
    return pd.DataFrame(rows)


def test_steps_to_the_target_are_compared_as_ratios(check):
    verdict = check(reaching([1, 2], [3, 4]), **STEPS)
    assert verdict.verdict == "reproduced"
    assert verdict.checks[0].estimate == pytest.approx(np.sqrt(1 / 3 * 2 / 4))
    assert (
        check(reaching([3], [3]), **STEPS).reason
        == "holds on 0, fails on 1, open on 0 of 1; fails: higher than 0.800 times AdamW: digits"
    )
    in_time = {**STEPS, "metric": '"time_to_target_s"'}
    assert check(reaching([1, 2], [3, 4]), **in_time).checks[0].estimate == pytest.approx(np.sqrt(1 / 3 * 2 / 4))


def test_a_solver_that_did_not_reach_the_target_can_not_hold(check):
    # Seven seeds at a third of the steps, and one that never got there: dropped, it would be reproduced.
    verdict = check(reaching([1] * 7 + [None], [3]), **STEPS)
    expected = (
        "holds on 0, fails on 0, open on 1 of 1; open: 1 cells of torch.optim.Muon did not reach the target: digits"
    )
    assert (verdict.verdict, verdict.reason) == ("inconclusive", expected)
    (only,) = verdict.checks
    assert (only.n, only.relation, only.high) == (8, "≥", np.inf)
    assert np.isnan(only.p)


def test_a_solver_that_never_reaches_the_target_fails(check):
    verdict = check(reaching([None], [3, 2]), **STEPS)
    assert verdict.reason == "holds on 0, fails on 1, open on 0 of 1; fails: higher than 0.800 times AdamW: digits"
    assert verdict.checks[0].estimate == pytest.approx(np.sqrt(100 / 60 * 100 / 40))
    # A bound: at least as much, with nothing known above.
    figure = format_verdict(verdict)[4]
    assert "torch.optim.Muon / AdamW: ≥ 2.04 [1.70, ∞], bound: at most 0.800 (evaluated every 20 steps)" in figure


def test_a_baseline_that_did_not_reach_the_target_counts_with_how_far_it_got(check):
    # At least 100 steps: the ratio is 0.4 at most.
    verdict = check(reaching([2], [None]), **STEPS)
    assert (verdict.verdict, verdict.checks[0].estimate) == ("reproduced", pytest.approx(0.4))
    assert "torch.optim.Muon / AdamW: ≤ 0.400 [0.00, 0.400], bound" in format_verdict(verdict)[4]
    # It is not known to be more than anything, however much it looks like it.
    assert check(reaching([3, 4], [None]), **{**STEPS, "factor": "0.5"}).verdict == "inconclusive"
    # 80 of more than 100 steps is not known to be more than 0.7 times as many.
    unknown = check(reaching([4], [3] * 7 + [None]), **{**STEPS, "factor": "0.7"})
    assert (
        unknown.reason
        == "holds on 0, fails on 0, open on 1 of 1; open: 1 cells of AdamW did not reach the target: digits"
    )


def test_a_target_that_neither_reached_says_nothing(check):
    for places in ([None], [1] * 7 + [None]):
        verdict = check(reaching(places, places), **STEPS)
        assert verdict.verdict == "inconclusive"
        assert "did not reach the target" in verdict.reason
        assert format_verdict(verdict)[4] == "n/a"


def test_equality_of_censored_figures_is_untested(check):
    equal = {**STEPS, "direction": '"equal"', "tolerance": "0.5", "factor": ""}
    assert check(reaching([3], [3]), **equal).verdict == "reproduced"
    for ours, theirs in (([3] * 7 + [None], [3]), ([3], [3] * 7 + [None])):
        assert "did not reach the target" in check(reaching(ours, theirs), **equal).reason


def test_failed_cells_of_a_target_are_failed_cells(check):
    good = reaching([1], [3], seeds=12)
    verdict = check(fail(good, TORCH_MUON, [0, 1], "out_of_memory"), **STEPS)
    assert verdict.reason == (
        "holds on 0, fails on 0, open on 1 of 1; open: 2 cells of torch.optim.Muon failed where AdamW did not: digits"
    )
    assert check(fail(good, TORCH_MUON, range(8)), **STEPS).verdict == "not reproduced"
    assert check(fail(good, ADAMW, [0, 1]), **STEPS).verdict == "reproduced"


def test_rows_without_a_target_are_untested(check):
    rows = reaching([1], [3])
    assert check(rows.drop(columns="objective_target"), **STEPS).reason == "no target: digits"
    assert check(rows.assign(objective_target=np.nan), **STEPS).reason == "no target: digits"


def test_the_rules_are_those_of_the_claims_that_are_shown(write):
    target, loss = load_claims(write(**STEPS)), load_claims(write())
    assert "did not reach a target" in protocol(target)
    assert "did not reach a target" not in protocol(loss)
    assert protocol(loss).startswith("on each data set and objective")
    assert protocol(load_claims(ROOT / "claims.toml")).startswith("on each data set and type")


# ----- the file -----


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"metric": '"relative_error"'}, "key 'query.metric' is 'relative_error'; allowed: held_out_loss, "),
        ({"metric": '["held_out_loss"]'}, "key 'query.metric' is ['held_out_loss']; allowed: held_out_loss, "),
        ({"direction": '"higher"'}, "key 'query.direction' is 'higher'; allowed: lower, not higher, equal."),
        (
            {"metric": '"held_out_accuracy"'},
            "key 'query.direction' is 'lower'; allowed: higher, not lower, equal.",
        ),
        ({"dtype": '["float32"]'}, "unknown key 'query.dtype'; allowed: metric, datasets, solver"),
        ({"shape": '"1:4"'}, "unknown key 'query.shape'"),
        ({"same": '"learning_rate"'}, "key 'query.same' is 'learning_rate'; allowed: a list of texts."),
        (
            {"head": HEAD.replace('"benchmark_muon"', '"benchmark_moon"')},
            "key 'benchmark' is 'benchmark_moon'; allowed: ., benchmark_crc, benchmark_dp, benchmark_lipschitz, "
            "benchmark_muon, benchmark_rcp, benchmark_segmentation.",
        ),
        ({"head": HEAD.replace('"benchmark_muon"', "[1]")}, "key 'benchmark' is [1]; allowed: "),
    ],
)
def test_a_mistake_in_the_file_is_named_with_what_is_allowed(write, changes, expected):
    path = write(**changes)
    with pytest.raises(ValueError, match="allowed") as error:
        load_claims(path)
    assert expected in str(error.value)


def test_the_real_claims_use_the_names_listed_in_their_file():
    claims = load_claims(REAL)
    solvers = tomllib.loads(REAL.read_text())["solvers"]
    assert {claim.query.benchmark for claim in claims} == {"benchmark_muon"}
    assert {claim.query.metric for claim in claims} <= set(BENCHMARKS["benchmark_muon"].claims)
    assert {name for claim in claims for name in (claim.query.solver, claim.query.baseline)} == set(solvers)
    assert {claim.method for claim in claims} == {"Turbo-Muon", "Muon", "Schatten-p", "SOAP", "SCION"}


def mixed(solver, dataset, seed, step):
    """All reach the target at 40 steps, AdamW at 60; Turbo-Muon and Schatten-p are as good as Muon but on CIFAR-10."""
    worse = {TURBO: 0.03, SCHATTEN: 0.02}.get(solver, 0.0) if dataset == CIFAR else 0.0
    halved = 16.0 if solver == ADAMW else 10.0
    own = noise(solver, dataset, seed, step) ** 0.3
    return (0.1 + worse + 2.2 * 0.5 ** (step / halved)) * noise(dataset, seed) * own


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_verdicts_of_the_real_claims_are_as_made_up(device):
    def time(solver, dataset, seed):
        step = {TORCH_MUON: 5.0, TURBO: 4.6, SCHATTEN: 5.5, FAST_SCHATTEN: 4.8, SOAP: 4.2}.get(solver, 4.7)
        return step * noise(solver, dataset, seed) ** 0.3

    solvers = (*HALVED, SCHATTEN, FAST_SCHATTEN, SOAP, SCION)
    rows = training_frame(mixed, time, seeds=9, solvers=solvers, datasets=[DOCS, CIFAR], device=device)
    verdicts = {verdict.claim.id: verdict for verdict in check_claims(rows, load_claims(REAL))}
    assert {name: verdict.verdict for name, verdict in verdicts.items()} == {
        "turbo-muon-end-to-end-language": "reproduced" if device == "cuda" else "not run here",
        "turbo-muon-end-to-end-vision": "not reproduced" if device == "cuda" else "not run here",
        "turbo-muon-quality": "not reproduced",
        "turbo-muon-accuracy": "not reproduced",
        "turbo-muon-no-retuning": "reproduced",
        "muon-half-the-compute": "not reproduced",
        "muon-speedrun": "reproduced",
        "schatten-p-overhead": "reproduced" if device == "cuda" else "not run here",
        "schatten-p-as-good-as-muon": "not reproduced",
        "schatten-p-as-good-as-adamw": "reproduced",
        "soap-iterations": "not reproduced",
        "soap-wall-clock": "reproduced" if device == "cuda" else "not run here",
        "scion-speedup": "reproduced",
    }
    assert (
        verdicts["turbo-muon-quality"].reason
        == "holds on 1, fails on 1, open on 0 of 2; fails: more than 1 % higher: cifar10"
    )
    assert verdicts["muon-speedrun"].checks[0].estimate == pytest.approx(40 / 60)
    assert (
        verdicts["muon-half-the-compute"].reason
        == "holds on 0, fails on 1, open on 0 of 1; fails: higher than 0.520 times AdamW: python_docs"
    )


# ----- the command -----


@pytest.mark.parametrize("where", [".", "benchmark_muon/outputs", "results/muon/machine"])
def test_the_claims_of_the_benchmark_are_found_from_the_rows(where, tmp_path, monkeypatch, capsys):
    for folder, text in ((".", "root"), ("benchmark_muon", "training")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "claims.toml").write_text(f"# {text}")
    path = tmp_path / where / "run.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "benchmark_muon/claims.toml").write_text(REAL.read_text())
    training_frame(datasets=[DIGITS]).to_parquet(path)
    monkeypatch.chdir(path.parent)
    assert main([path.name, "--claims"]) == 0
    assert "turbo-muon-quality" in capsys.readouterr().out


def test_the_claims_of_the_current_folder_are_found_for_rows_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert find_claims(tmp_path / "run.parquet", BENCHMARKS["benchmark_muon"]).resolve() == REAL
    monkeypatch.chdir(tmp_path)
    assert find_claims(tmp_path / "run.parquet", BENCHMARKS["benchmark_muon"]) == Path("benchmark_muon/claims.toml")
    path = tmp_path / "run.parquet"
    training_frame(seeds=1, datasets=[DIGITS]).to_parquet(path)
    assert main([str(path), "--claims"]) == 2


def test_claims_of_another_benchmark_are_not_run(tmp_path, capsys):
    path = tmp_path / "root.parquet"
    root_frame(seeds=1, datasets=[GAUSSIAN]).to_parquet(path)
    assert main([str(path), "--claims", str(REAL)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("NOT RUN HERE") == len(load_claims(REAL))
    path = tmp_path / "training.parquet"
    training_frame(seeds=1, datasets=TASKS).to_parquet(path)
    assert main([str(path), "--claims", str(ROOT / "claims.toml")]) == 0
    assert "REPRODUCED  " not in capsys.readouterr().out


def test_a_verdict_on_small_data_sets_alone_says_so(check):
    verdict = check(training_frame())
    assert (verdict.verdict, verdict.label) == ("reproduced", "reproduced (small scale)")
    rows = training_frame()
    rows["dataset_name"] = rows["dataset_name"].str.replace("digits", "cifar10")
    mixed = check(rows, datasets='["*"]')
    assert {each.dataset.partition("[")[0] for each in mixed.checks} >= {"cifar10", "python_docs"}
    assert (mixed.verdict, mixed.label) == ("reproduced", "reproduced")
    assert check(training_frame(seeds=3)).label == "not run here"
