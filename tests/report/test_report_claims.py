"""Published claims: when each verdict comes out, what a mistake in claims.toml is answered with, and the real file."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up import DATASETS, GAUSSIAN, MOMENTA, POWER_LAW, STEPS, WIDE, cell_rows, constant, fail, noise, root_frame
from scipy import stats

from orthobench.report.benchmarks import ORTHOGONALISATION
from orthobench.report.cells import REQUIRED
from orthobench.report.claims import (
    CHECK_COLUMNS,
    COLUMNS,
    check_claims,
    decisive,
    format_check,
    format_verdict,
    load_claims,
    matches,
    summary,
)
from orthobench.report.command import main
from orthobench.report.text import read_frame, together

pytestmark = pytest.mark.usefixtures("wide_terminal")

ROOT = Path(__file__).parents[2]
REAL = ROOT / "claims.toml"
PUBLISHED = ROOT / "results/orthogonalisation/epyc_2_cores/cpu.parquet"

HEAD = 'solvers = ["Muon", "Turbo-Muon"]\n'
CLAIM = """
[[claim]]
id = "a-claim"
method = "Turbo-Muon"
text = "As good with a step less."
source = { paper = "A paper", arxiv = "2512.04632", where = "abstract" }
[claim.query]
"""
QUERY = {
    "metric": '"relative_error"',
    "datasets": '["gaussian*", "spectrum*", "momenta*"]',
    "dtype": '["float32"]',
    "solver": '"Turbo-Muon"',
    "baseline": '"Muon"',
    "direction": '"not higher"',
    "tolerance": "0.05",
}
LOWER = {"direction": '"lower"', "tolerance": ""}
SPEED = {
    "metric": '"time_per_matrix_s"',
    "datasets": '["gaussian*"]',
    "factor": "0.5",
    "tolerance": "",
    "device": '"cuda"',
}


@pytest.fixture
def write(tmp_path):
    def write(text=CLAIM, head=HEAD, **changes):
        query = {**QUERY, **changes}
        path = tmp_path / "claims.toml"
        path.write_text(head + text + "".join(f"{key} = {value}\n" for key, value in query.items() if value))
        return path

    return write


@pytest.fixture
def check(write):
    def check(frame, **changes):
        (verdict,) = check_claims(frame, load_claims(write(**changes)))
        texts = format_verdict(verdict)
        assert len(texts) == len(COLUMNS)
        assert all(len(format_check(each, verdict.claim.query)) == len(CHECK_COLUMNS) for each in verdict.checks)
        return verdict

    return check


def turbo(value, other=0.1, where=DATASETS):
    """Turbo-Muon's figure is ``value`` on some data sets; everything else is ``other``."""
    return lambda s, d, t, seed: (value if s == "Turbo-Muon" and d in where else other) * noise(s, d, t, seed)


# ----- verdicts -----


def test_a_true_claim_is_reproduced(check):
    verdict = check(root_frame(turbo(0.05)))
    assert (verdict.verdict, verdict.reason) == ("reproduced", "holds on 4, fails on 0, open on 0 of 4")
    assert {each.reason for each in verdict.checks} == {"at most 5 % higher"}
    assert {each.reason for each in check(root_frame(turbo(0.05)), **LOWER).checks} == {"lower"}


def test_a_false_claim_is_not_reproduced(check):
    verdict = check(root_frame(turbo(0.2)))
    assert (verdict.verdict, verdict.reason) == (
        "not reproduced",
        "holds on 0, fails on 4, open on 0 of 4; fails: more than 5 % higher: everywhere",
    )
    assert (
        check(root_frame(turbo(0.2)), **LOWER).reason
        == "holds on 0, fails on 4, open on 0 of 4; fails: higher: everywhere"
    )


def test_a_claim_that_fails_on_one_data_set_is_not_reproduced_and_says_where(check):
    verdict = check(root_frame(turbo(0.2, where=[MOMENTA])))
    assert verdict.verdict == "not reproduced"
    assert verdict.reason == (
        "holds on 3, fails on 1, open on 0 of 4; fails: more than 5 % higher: transformer momenta, step 20 (float32)"
    )
    assert decisive(verdict).dataset == MOMENTA
    assert decisive(verdict).estimate == pytest.approx(0.1, rel=0.03)
    figure = format_verdict(verdict)[4]
    assert figure.startswith("worst: relative_error of Turbo-Muon - Muon: ")
    assert "], bound: at most 0.00" in figure
    assert "n = 8, transformer momenta, step 20 (float32), p = " in figure
    assert figure.endswith(" (Holm-adjusted over the claim's 4 checks)")


def test_a_tie_is_within_a_tolerance_and_decides_nothing_about_lower(check):
    tie = root_frame(constant(0.1), seeds=10)
    assert check(tie).verdict == "reproduced"
    verdict = check(tie, **LOWER)
    expected = "holds on 0, fails on 0, open on 4 of 4; open: no difference found: everywhere"
    assert (verdict.verdict, verdict.reason) == ("inconclusive", expected)
    assert {each.outcome for each in verdict.checks} == {"inconclusive"}


def test_what_the_noise_hides_is_inconclusive_whatever_the_tolerance_is_compared_with(check):
    def noisy(solver, dataset, dtype, seed):
        return 0.1 * noise(solver, dataset, dtype, seed) ** 20  # 20 % of noise: the interval is wider than 5 %

    verdict = check(root_frame(noisy))
    assert verdict.verdict == "inconclusive"
    assert verdict.reason.startswith(
        "holds on 0, fails on 0, open on 4 of 4; open: may be more than 5 % higher, or not"
    )
    assert check(root_frame(noisy), tolerance="2").verdict == "reproduced"


def test_a_gap_that_surely_exists_is_inconclusive_until_it_surely_exceeds_the_tolerance(check):
    gap = root_frame(turbo(0.103))
    assert {each.reason for each in check(gap, **LOWER).checks} == {"higher"}
    for tolerance, expected in (("0.05", "reproduced"), ("0.03", "inconclusive"), ("0.01", "not reproduced")):
        verdict = check(gap, tolerance=tolerance)
        assert verdict.verdict == expected
        for each in verdict.checks:
            assert each.bound == pytest.approx(float(tolerance) * 0.1, rel=0.02)
            sides = {"holds": each.high <= each.bound, "fails": each.low > each.bound}
            assert sides.get(each.outcome, True)


def test_a_margin_is_a_difference_whatever_the_baselines_mean_is(check):
    gap = root_frame(turbo(0.103))
    for shift in (0.0, -0.1):  # Muon's mean is 0.1, then 0
        rows = gap.assign(objective_relative_error=gap["objective_relative_error"] + shift)
        for margin, expected in (("0.02", "reproduced"), ("0.003", "inconclusive"), ("0.0002", "not reproduced")):
            verdict = check(rows, tolerance="", margin=margin)
            assert verdict.verdict == expected
            assert {each.bound for each in verdict.checks} == {float(margin)}
    assert "fails: more than 0.000200 higher: everywhere" in verdict.reason
    assert ", bound: at most 0.000200" in format_verdict(verdict)[4]


def test_a_claim_of_equality_needs_the_interval_within_the_tolerance(check):
    near = root_frame(turbo(0.103))
    equal = {"direction": '"equal"'}
    assert check(near, **equal, tolerance="0.1").verdict == "reproduced"
    assert check(near, **equal, tolerance="0.03").verdict == "inconclusive"
    assert (
        check(near, **equal, tolerance="0.01").reason
        == "holds on 0, fails on 4, open on 0 of 4; fails: more than 1 % off: everywhere"
    )
    far = root_frame(turbo(0.05))
    assert check(far, **equal, tolerance="0.1").verdict == "not reproduced"
    assert ", bound: within ±0.01" in format_verdict(check(far, **equal, tolerance="0.1"))[4]


def test_the_figure_is_that_of_the_checks_that_gave_the_verdict(check):
    def error(solver, dataset, dtype, seed):
        if solver == "Turbo-Muon" and dataset == MOMENTA:
            return 0.13 if seed % 2 else 0.01
        return 0.1 * noise(solver, dataset, dtype, seed)

    verdict = check(root_frame(error))
    assert verdict.verdict == "inconclusive"
    assert max(verdict.checks, key=lambda each: each.estimate).dataset != MOMENTA  # it holds with a larger figure
    assert decisive(verdict).dataset == MOMENTA


def test_verdicts_are_counted(check):
    counted = summary([check(root_frame(turbo(0.05))), check(root_frame(constant(0.1)), **LOWER)])
    assert counted == "2 claims: 1 reproduced, 0 not reproduced, 1 inconclusive, 0 not run here"


def test_too_few_seeds_give_no_verdict(check):
    verdict = check(root_frame(turbo(0.2), seeds=7))
    assert verdict.verdict == "not run here"
    assert verdict.reason == "7 common seeds, 8 needed: everywhere"


def test_too_few_seeds_on_one_data_set_are_a_reason_and_move_no_verdict(check):
    rows = root_frame(turbo(0.05))
    few = rows[(rows["dataset_name"] != WIDE) | (rows["idx_rep"] < 3)]
    alone = rows[rows["dataset_name"] != WIDE]
    verdict = check(few)
    assert (verdict.verdict, verdict.reason) == (
        "reproduced",
        "holds on 3, fails on 0, open on 0 of 3; not tested: 3 common seeds, 8 needed: gaussian 64x256 (float32)",
    )
    # Nor do they weaken the others' tests.
    assert [each.p for each in verdict.checks if each.n == 8] == [each.p for each in check(alone).checks]


def test_a_baseline_without_the_figures_of_an_opponent_tests_nothing(check):
    rows = root_frame(turbo(0.05)).assign(objective_orthogonality_error=0.3)
    assert check(rows, needs="{ orthogonality_error = 0.2 }").verdict == "reproduced"
    verdict = check(rows, needs="{ certified_accuracy_36 = 0.4 }")
    assert verdict.verdict == "not run here"
    assert "is no opponent: no column certified_accuracy_36" in verdict.reason
    verdict = check(rows, needs="{ orthogonality_error = 0.4 }")
    told = "Muon is no opponent: orthogonality_error 0.300, 0.400 needed: everywhere"
    assert (verdict.verdict, verdict.reason) == ("not run here", told)
    verdict = check(rows, no_opponent='"it was tuned for another metric"')
    told = "Muon is no opponent: it was tuned for another metric"
    assert (verdict.verdict, verdict.reason, verdict.checks) == ("not run here", told, ())


def test_variants_in_another_file_stay_out_of_a_query_that_names_its_own(check):
    rows = root_frame(turbo(0.05)).replace({"solver_name": {"Muon": "Muon[steps=5]"}})
    variants = rows[rows["solver_name"] == "Muon[steps=5]"].assign(solver_name="Muon[steps=7]")
    both = together([("cpu", rows), ("variants", variants)])
    assert "several solvers are Muon" in check(both).reason
    assert check(both, configuration='"cpu"').verdict == "reproduced"
    assert check(rows, configuration='"cpu"').verdict == "reproduced"  # a file alone is taken as it is


def test_only_common_seeds_count(check):
    rows = root_frame(turbo(0.05), seeds=14)
    rows = rows[~((rows.solver_name == "Muon") & (rows.idx_rep < 3))]
    rows = rows[~((rows.solver_name == "Turbo-Muon") & (rows.idx_rep > 9))]
    verdict = check(rows)
    assert {each.n for each in verdict.checks} == {7}
    assert verdict.verdict == "not run here"


def test_a_missing_solver_and_missing_data_sets_are_named(check):
    verdict = check(root_frame(solvers=["SVD", "Muon"]))
    assert (verdict.verdict, verdict.reason) == ("not run here", "no rows of Turbo-Muon: everywhere")
    verdict = check(root_frame(turbo(0.05), datasets=[GAUSSIAN, POWER_LAW]))
    told = "holds on 2, fails on 0, open on 0 of 2; not tested: no rows of momenta*, dtype float32"
    assert (verdict.verdict, verdict.reason) == ("not run here", told)
    verdict = check(root_frame(turbo(0.2), datasets=[GAUSSIAN, POWER_LAW]))
    assert verdict.verdict == "not reproduced"  # one data set is enough for that
    assert verdict.reason.endswith("; not tested: no rows of momenta*, dtype float32")


def test_another_type_or_exponent_is_no_evidence(check):
    rows = root_frame(turbo(0.2))
    assert check(rows, dtype='["bfloat16"]').verdict == "not run here"
    rows["objective_name"] = "Orthogonalisation[dtype=float32,exponent=0.5]"
    assert check(rows).verdict == "not run here"


def test_the_type_of_the_rows_is_a_condition_of_its_own(check):
    rows = root_frame(
        lambda s, d, t, seed: turbo(0.2 if t == "bfloat16" else 0.05)(s, d, t, seed), dtypes=("float32", "bfloat16")
    )
    assert check(rows, dtype='["float32"]').verdict == "reproduced"
    verdict = check(rows, dtype='["float32", "bfloat16"]')
    assert verdict.verdict == "not reproduced"
    assert verdict.reason.startswith("holds on 4, fails on 4, open on 0 of 8; fails: ")


def test_survivors_alone_do_not_show_that_a_claim_holds(check):
    good = root_frame(turbo(0.05), seeds=12)
    verdict = check(fail(good, "Turbo-Muon", [0, 1], "out_of_memory", [MOMENTA]))
    assert verdict.verdict == "inconclusive"
    failed = "2 cells of Turbo-Muon failed where Muon did not"
    assert verdict.reason == (
        f"holds on 3, fails on 0, open on 1 of 4; open: {failed}: transformer momenta, step 20 (float32)"
    )
    # But that it fails they do show, and a failure of the baseline is none of the claim.
    bad = root_frame(turbo(0.2), seeds=12)
    assert check(fail(bad, "Turbo-Muon", [0, 1], "out_of_memory", [MOMENTA])).verdict == "not reproduced"
    assert check(fail(good, "Muon", [0, 1])).verdict == "reproduced"
    assert check(fail(fail(good, "Muon", [0, 1]), "Turbo-Muon", [0, 1])).verdict == "reproduced"


@pytest.mark.parametrize("status", ["diverged", "refuted"])
def test_a_method_that_diverges_with_eight_seeds_fails(check, status):
    verdict = check(fail(root_frame(turbo(0.05)), "Turbo-Muon", range(8), status, [POWER_LAW]))
    assert verdict.verdict == "not reproduced"
    assert verdict.reason == (
        "holds on 3, fails on 1, open on 0 of 4; "
        f"fails: Turbo-Muon {status} where Muon did not: power_law 128x128 (float32)"
    )


def test_a_method_without_time_or_memory_is_not_run(check):
    verdict = check(fail(root_frame(turbo(0.05)), "Turbo-Muon", range(8), "timeout"))
    assert verdict.verdict == "not run here"
    assert verdict.reason == "0 common seeds, 8 of Turbo-Muon failed, 8 needed: everywhere"


def test_the_numbers_of_iterations_can_be_chosen(check):
    rows = root_frame(turbo(0.05))
    # Made-up errors grow by their last value with each step left out: Turbo-Muon after 1 has 0.2, Muon after 5 0.1.
    assert check(rows, steps="[4, 5]").verdict == "reproduced"
    assert check(rows, steps="[1, 5]").verdict == "not reproduced"
    verdict = check(rows, steps="[9, 5]")
    assert (verdict.verdict, verdict.reason) == (
        "not run here",
        "0 common seeds at 9 and 5 iterations, 8 needed: everywhere",
    )


# ----- ratios and devices -----


def test_a_claim_about_a_gpu_is_not_run_on_a_cpu_and_shows_its_figure(check):
    verdict = check(root_frame(time=turbo(4e-4, 1e-3)), **SPEED)
    assert (verdict.verdict, verdict.reason) == ("not run here", "it is about cuda, and these rows are from: cpu")
    assert verdict.checks == ()
    figure = format_verdict(verdict)[4]
    assert figure.startswith("no evidence, on another device: worst: time_per_matrix_s of Turbo-Muon / Muon: 0.4")
    assert "n = 8" in figure


def test_a_claim_about_a_gpu_has_its_verdict_on_one(check):
    fast = root_frame(time=turbo(4e-4, 1e-3), device="cuda")
    slow = root_frame(time=turbo(8e-4, 1e-3), device="cuda")
    assert check(fast, **SPEED).verdict == "reproduced"
    verdict = check(slow, **SPEED)
    assert verdict.verdict == "not reproduced"
    assert "higher than 0.500 times Muon: everywhere" in verdict.reason
    ratio = decisive(verdict)
    assert ratio.low < ratio.estimate < ratio.high
    assert ratio.estimate == pytest.approx(0.8, rel=0.02)


def test_noise_does_not_reproduce_a_claim_of_speed(check):
    def time(solver, dataset, dtype, seed):
        level = 5.2e-4 if solver == "Turbo-Muon" else 1e-3  # 0.52 times as much, where 0.5 is claimed
        return level * noise(solver, dataset, dtype, seed) ** 20

    verdict = check(root_frame(time=time, device="cuda"), **SPEED)
    assert verdict.verdict == "inconclusive"
    assert verdict.reason == (
        "holds on 0, fails on 0, open on 2 of 2; open: not separated from 0.500 times Muon: everywhere"
    )
    assert all(each.low < 0.5 < each.high for each in verdict.checks)
    assert "], bound: at most 0.500, n = 8" in format_verdict(verdict)[4]
    quiet = root_frame(time=turbo(4.8e-4, 1e-3), device="cuda")
    verdict = check(quiet, **SPEED)
    assert verdict.verdict == "reproduced"
    assert all(each.high < 0.5 for each in verdict.checks)


def test_up_to_is_inconclusive_where_no_data_set_decides(check):
    def time(solver, dataset, dtype, seed):
        slow = 8e-4 if dataset == WIDE else 5e-4
        return (slow if solver == "Turbo-Muon" else 1e-3) * noise(solver, dataset, dtype, seed) ** 20

    verdict = check(root_frame(time=time, device="cuda"), **SPEED, scope='"any"')
    assert verdict.verdict == "inconclusive"
    assert verdict.reason == (
        "holds on 0, fails on 1, open on 1 of 2; fails: higher than 0.500 times Muon: gaussian 64x256 (float32); "
        "open: not separated from 0.500 times Muon: gaussian 128x128 (float32)"
    )


def test_rows_that_do_not_say_their_device_are_no_evidence(check):
    rows = root_frame(time=turbo(8e-4, 1e-3), device="cuda").drop(columns="objective_env_device")
    assert check(rows, **SPEED).reason == "it is about cuda, and these rows are from: unknown"


def test_up_to_needs_one_data_set(check):
    rows = root_frame(time=turbo(4e-4, 1e-3, where=[WIDE]), device="cuda")
    assert check(rows, **SPEED).verdict == "not reproduced"
    verdict = check(rows, **SPEED, scope='"any"')
    assert verdict.verdict == "reproduced"
    assert verdict.reason.startswith(
        "holds on 1, fails on 1, open on 0 of 2; holds: gaussian 64x256 (float32); fails: "
    )
    assert decisive(verdict).dataset == WIDE
    slow = root_frame(time=turbo(8e-4, 1e-3), device="cuda")
    assert check(slow, **SPEED, scope='"any"').reason.startswith("holds on 0, fails on 2, open on 0 of 2; fails: ")


def test_a_claim_about_wide_matrices_looks_at_no_other(check):
    rows = root_frame(time=turbo(4e-4, 1e-3, where=[WIDE]), device="cuda")
    assert check(rows, **SPEED, shape='"1:4"').verdict == "reproduced"
    assert check(rows, **SPEED, shape='"square"').verdict == "not reproduced"


def test_a_ratio_of_what_is_not_positive_is_untested(check):
    assert "a ratio needs relative_error > 0" in check(root_frame(constant(0.0)), factor="0.5", tolerance="").reason


def test_brackets_of_a_pattern_are_brackets():
    assert matches(GAUSSIAN, "gaussian[*rows=128]")
    assert not matches(GAUSSIAN, "gaussian[*rows=64]")
    assert not matches("gaussianc", GAUSSIAN[:-1] + "]")


# ----- the file -----


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"metric": ""}, "claim 'a-claim': key 'query.metric' is missing; required: metric, datasets"),
        ({"metric": '"accuracy"'}, "claim 'a-claim': key 'query.metric' is 'accuracy'; allowed: relative_error, "),
        ({"direction": '"higher"'}, "key 'query.direction' is 'higher'; allowed: lower, not higher, equal."),
        ({"direction": '"equal"', "tolerance": ""}, "with direction 'equal'; allowed: a tolerance or a margin alone."),
        ({"direction": '"equal"', "factor": "2"}, "with direction 'equal'; allowed: a tolerance or a margin alone."),
        ({"direction": '"lower"'}, "with direction 'lower'; allowed: a factor, or none."),
        ({"tolerance": ""}, "with direction 'not higher'; allowed: exactly one of these, for no number of seeds"),
        (
            {"factor": "0.9"},
            "keys 'query.factor', 'query.tolerance' and 'query.margin' with direction 'not higher'; allowed: exactly",
        ),
        ({"solver": '"Turbo"'}, "key 'query.solver' is 'Turbo'; allowed: Muon, Turbo-Muon."),
        ({"dtype": '"float32"'}, "key 'query.dtype' is 'float32'; allowed: a list of some of float32, bfloat16"),
        ({"datasets": "[]"}, "key 'query.datasets' is []; allowed: a list of texts."),
        ({"steps": "[4]"}, "key 'query.steps' is [4]; allowed: 'last', or two numbers of iterations"),
        ({"factor": "-1"}, "key 'query.factor' is -1; allowed: a number > 0."),
        ({"factor": "true"}, "key 'query.factor' is True; allowed: a number > 0."),
        ({"device": '"tpu"'}, "key 'query.device' is 'tpu'; allowed: any, cpu, cuda."),
        ({"devise": '"cpu"'}, "claim 'a-claim': unknown key 'query.devise'; allowed: metric, "),
        ({"text": CLAIM.replace('text = "As good with a step less."\n', "")}, "claim 'a-claim': key 'text' is missing"),
        ({"text": CLAIM.replace('"a-claim"', '"A claim"')}, "key 'id' is 'A claim'; allowed: lower-case letters"),
        ({"text": CLAIM.replace('id = "a-claim"\n', "")}, "claim number 1: key 'id' is missing"),
        ({"text": CLAIM.replace('arxiv = "2512.04632", ', "")}, "key 'source.arxiv' or 'source.url': allowed: exactly"),
        ({"text": CLAIM.replace("2512.04632", "Turbo")}, "key 'source.arxiv' is 'Turbo'; allowed: an arXiv identifier"),
        ({"text": re.sub('method = ".*"', r'method = "\\u0001"', CLAIM)}, "key 'method' is '\\x01'; allowed: some"),
        ({"text": CLAIM + "= 1"}, "not a TOML file"),
        ({"head": ""}, "key 'solvers' is missing; required: solvers, claim."),
    ],
)
def test_a_mistake_in_the_file_is_named_with_what_is_allowed(write, changes, expected):
    path = write(**changes)
    with pytest.raises(ValueError, match=r"allowed|required|TOML") as error:
        load_claims(path)
    assert str(error.value).startswith(f"{path}: ")
    assert expected in str(error.value)


def test_texts_are_one_line_without_control_characters(write):
    (claim,) = load_claims(write(text=re.sub('method = ".*"', r'method = "Turbo\\u001b[31m\\n\\u202eMuon"', CLAIM)))
    assert claim.method == "Turbo [31m  Muon"


def test_an_identifier_is_there_once(write):
    path = write()
    path.write_text(path.read_text() + path.read_text().removeprefix(HEAD))
    with pytest.raises(ValueError, match="claim 'a-claim': key 'id' is there 2 times; allowed: once"):
        load_claims(path)


def test_no_file_is_an_error_with_its_remedy(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Give the claims\.toml"):
        load_claims(tmp_path / "claims.toml")


def test_a_foreign_frame_is_refused():
    with pytest.raises(ValueError, match="the columns dataset_name"):
        check_claims(pd.DataFrame({"solver_name": ["Muon"]}), [])


# ----- the real claims -----


def test_the_real_claims_use_the_names_listed_in_their_file():
    claims = load_claims(REAL)
    solvers = tomllib.loads(REAL.read_text())["solvers"]
    assert len(claims) >= 7
    assert {claim.query.metric for claim in claims} <= set(ORTHOGONALISATION.claims)
    assert {name for claim in claims for name in (claim.query.solver, claim.query.baseline)} == set(solvers)
    assert set(solvers) <= set(STEPS)
    assert {claim.method for claim in claims} >= {"Turbo-Muon", "Polar Express", "CANS", "Gram Newton-Schulz"}


def mixed(solver, dataset, dtype, seed):
    """Errors of which some claims are true everywhere, some nowhere, and some here and there."""
    level = {"Muon": 0.2, "You-5": 0.1, "Turbo-Muon": 0.1005, "Polar Express": 0.12, "CANS": 0.11}.get(solver, 0.1)
    if dataset == MOMENTA and solver == "Turbo-Muon":
        level = 0.15
    return level * noise(dataset, seed) * noise(solver, dataset, dtype, seed)


def recomputed(claim, frame):
    """The verdict of one claim, by plain pandas and SciPy."""
    query = claim.query
    if query.device == "cuda" and frame["objective_env_device"].iloc[0] != "cuda":
        return "not run here"
    kinds = frame["dataset_name"].str.split("[").str[0] + "*"
    chosen = frame[kinds.isin(query.datasets) & frame["objective_name"].str.contains("|".join(query.dtype))]
    if query.shape == "1:4":
        chosen = chosen[chosen["dataset_name"] == WIDE]
    p_values, right = [], []
    for _, rows in chosen.groupby(["dataset_name", "objective_name"]):
        table = {}
        for place, solver in enumerate((query.solver, query.baseline)):
            own = rows[rows["solver_name"] == solver]
            step = own["stop_val"].max() if query.steps == "last" else query.steps[place]
            table[place] = own[own["stop_val"] == step].set_index("idx_rep")[f"objective_{query.metric}"]
        a, b = table[0].align(table[1], join="inner")
        if len(a) < 8:
            return "not run here"
        margin = (query.tolerance or 0) * b.mean()
        if query.factor:
            a, b = np.log(a), np.log(b * query.factor)
        above, below = stats.ttest_rel(a, b + margin), stats.ttest_rel(a, b - margin)
        right.append(above.statistic <= 0 and (query.direction != "equal" or below.statistic >= 0))
        if query.direction != "equal":
            p_values.append(above.pvalue)
        elif right[-1]:
            p_values.append(max(above.pvalue, below.pvalue))
        else:
            p_values.append(above.pvalue if above.statistic > 0 else below.pvalue)
    running, order = 0, np.argsort(p_values)
    adjusted = np.empty(len(order))
    for place, index in enumerate(order):
        running = max(running, (len(order) - place) * p_values[index])
        adjusted[index] = min(1, running)
    holds = [p <= 0.05 and side for p, side in zip(adjusted, right, strict=True)]
    fails = [p <= 0.05 and not side for p, side in zip(adjusted, right, strict=True)]
    for_all, for_one = (all, any) if query.scope == "all" else (any, all)
    return "reproduced" if for_all(holds) else "not reproduced" if for_one(fails) else "inconclusive"


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("seeds", [7, 9])
def test_verdicts_of_the_real_claims_are_those_of_plain_pandas(device, seeds):
    times = {"Turbo-Muon": 3.5e-4, "Gram Newton-Schulz": 7e-4}
    rows = root_frame(
        mixed,
        lambda s, d, t, seed: times.get(s, 1e-3) * noise(s, d, t, seed),
        seeds,
        dtypes=("float32", "bfloat16"),
        device=device,
    )
    claims = load_claims(REAL)
    verdicts = {verdict.claim.id: verdict.verdict for verdict in check_claims(rows, claims)}
    assert verdicts == {claim.id: recomputed(claim, rows) for claim in claims}
    if seeds >= 8:
        assert set(verdicts.values()) == {"reproduced", "not reproduced"} | (
            {"not run here"} if device == "cpu" else set()
        )
        assert verdicts["turbo-muon-saves-an-iteration"] == "not reproduced"  # on the momenta alone
        assert verdicts["turbo-muon-as-good-as-muon"] == "reproduced"


def test_verdicts_of_the_published_rows_are_those_of_plain_pandas():
    rows = read_frame(PUBLISHED)[[*REQUIRED, "objective_relative_error", "objective_env_device"]]
    claims = [claim for claim in load_claims(REAL) if claim.query.device == "any"]
    verdicts = {verdict.claim.id: verdict.verdict for verdict in check_claims(rows, claims)}
    rows["solver_name"] = rows["solver_name"].str.partition("[")[0]
    told = {claim.id: recomputed(claim, rows) for claim in claims if "bfloat16" in claim.query.dtype}
    assert {name: verdicts[name] for name in told} == told
    assert set(told.values()) == {"reproduced", "not reproduced"}


# ----- the command -----


def test_the_command_prints_the_verdicts(tmp_path, write, capsys):
    path = tmp_path / "run.parquet"
    rows = root_frame(turbo(0.2, where=[MOMENTA]))
    rows.to_parquet(path)
    assert main([str(path), "--claims", str(write())]) == 0
    printed = capsys.readouterr().out
    assert "NOT REPRODUCED  a-claim" in printed
    assert (
        "holds on 3, fails on 1, open on 0 of 4; fails: more than 5 % higher: transformer momenta, step 20 (float32)"
        in printed
    )
    assert "1 claim: 0 reproduced, 1 not reproduced, 0 inconclusive, 0 not run here" in printed
    assert "A paper, arXiv:2512.04632, abstract" in printed
    assert "Holm" in printed


def test_the_command_takes_the_claims_of_the_current_folder(tmp_path, monkeypatch, capsys):
    path = tmp_path / "run.parquet"
    root_frame(datasets=[GAUSSIAN]).to_parquet(path)
    monkeypatch.chdir(ROOT)
    assert main([str(path), "--claims"]) == 0
    assert "turbo-muon-saves-an-iteration" in capsys.readouterr().out
    monkeypatch.chdir(tmp_path)
    assert main([str(path), "--claims"]) == 2
    assert capsys.readouterr().err.startswith("error: claims.toml: no such file")


def test_two_runs_in_one_file_are_refused_by_the_command(tmp_path, write, capsys):
    path = tmp_path / "run.parquet"
    pd.concat([root_frame(datasets=[GAUSSIAN])] * 2).to_parquet(path)
    assert main([str(path), "--claims", str(write())]) == 1
    assert "report on one file at a time" in capsys.readouterr().err


def test_escape_sequences_of_a_result_do_not_reach_the_terminal(tmp_path, write, capsys):
    path = tmp_path / "run.parquet"
    hostile = "gaussian\x1b[2J"
    pd.DataFrame(
        [
            row
            for s in ("Muon", "Turbo-Muon")
            for seed in range(8)
            for row in cell_rows((s, hostile, "float32", seed), 0.1, 1)
        ]
    ).to_parquet(path)
    assert main([str(path), "--claims", str(write(datasets='["gaussian*"]'))]) == 0
    assert "\x1b" not in capsys.readouterr().out
