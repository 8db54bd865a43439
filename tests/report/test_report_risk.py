"""The report on rows of `benchmark_crc`: the figures, the closed forms, the plots, the claims and their comparisons."""

import itertools
import json
import math
import re
import tomllib
from fractions import Fraction

import numpy as np
import pytest
import yaml
from benchopt.plotting import plot_benchmark
from benchopt.plotting.helpers import reset_solver_styles, update_plot_data_style
from benchopt.results.parquet import to_parquet
from benchopt.utils.temp_benchmark import temp_benchmark
from made_up import fail
from made_up_risk import (
    APS,
    DIGITS,
    LTT,
    MULTIPLICATIVE,
    PLAIN,
    QUALITY,
    RISK,
    SEQCRC,
    SIMULATED,
    SOLVERS,
    SPLIT,
    objective,
)
from made_up_risk import risk_frame as rows_of
from scipy import stats
from test_report_plots import HOSTILE, ROOT, hostile_frame, plot_classes
from test_report_training_plots import assert_plain

from orthobench.report import benchmarks, pictures, risk
from orthobench.report.claims import check_claims, decisive, format_verdict, load_claims
from orthobench.report.leaderboard import NO_GUARANTEE, leaderboard
from orthobench.report.names import without
from orthobench.report.plausible import implausible
from orthobench.report.site.findings import sentence
from orthobench.report.statistics import median_interval

FOLDER = ROOT / "benchmark_crc"
BENCHMARK = benchmarks.BENCHMARKS["benchmark_crc"]
REAL = FOLDER / "claims.toml"
PLOTS = plot_classes(FOLDER / "plots")
CROSS, NO_SYMBOL = 4, 41
TWO = (objective(), objective("0.03/0.1/0.1"))
FAMILY = without(RISK, "alphas")


@pytest.fixture(autouse=True)
def _same_styles_in_every_test():
    reset_solver_styles()


def values(rows, solver, column, name=RISK):
    own = rows[(rows["solver_name"] == solver) & (rows["objective_name"] == name)]
    return own.set_index("idx_rep")[f"objective_{column}"]


def of_kind(traces, kind, solver=None):
    return [trace for trace in traces if trace.kind == kind and solver in (None, trace.solver)]


# ----- the rows -----


def test_rows_are_recognised_possible_and_on_a_board_of_each_metric():
    rows = fail(rows_of(seeds=3), SPLIT, [1], "refuted")
    assert benchmarks.recognise(rows) is BENCHMARK
    assert implausible(rows, BENCHMARK) == []
    for metric in BENCHMARK.leaderboards:
        board = {each.solver: each for each in leaderboard(rows, DIGITS, RISK, metric, BENCHMARK.baseline)}
        assert set(board) == set(SOLVERS)
        assert dict(board[SPLIT].failures) == {"refuted": 1}
        assert (board[PLAIN].rank == NO_GUARANTEE) == (metric in BENCHMARK.guaranteed)
        assert (board[SEQCRC].rank == "n/a") == (metric == "risk_joint")
    assert BENCHMARK.range_of("value") == (0, math.inf)


@pytest.mark.parametrize("changes", [{"risk_loc": 1.2}, {"volume_ratio": -0.1}, {"p_value_cls": 2.0}])
def test_impossible_figures_are_named(changes):
    rows = rows_of(seeds=1).assign(**{f"objective_{name}": value for name, value in changes.items()})
    assert any(f"objective_{next(iter(changes))} is outside" in each for each in implausible(rows, BENCHMARK))


# ----- levels -----


def test_levels_are_exact_and_the_maximum_has_the_sum():
    found = risk.levels(objective("0.02/0.05/0.1"))
    assert found["cnf"] == Fraction(1, 50)
    assert found["max"] == found["joint"] == Fraction(3, 20)
    assert risk.levels(objective("2e-2/.05/0.10")) == found


@pytest.mark.parametrize(
    "told", ["0.02/0.05", "0.02/0.05/1e9", "0.02/0.05/2", "0.02/0.05/-0.1", "0.02/0.05/0", "a/b/c", HOSTILE]
)
def test_what_tells_no_levels_has_none(told):
    assert risk.levels(f"Risk[alphas={told},match=mix]") == {}
    assert risk.levels("Risk[match=mix]") == {}


def test_a_menu_has_objectives_without_their_levels():
    assert risk.level_menu(rows_of(seeds=1, objectives=TWO)) == {FAMILY: FAMILY}


# ----- against the level -----


def test_risks_run_along_their_levels_with_the_level_and_what_chance_allows():
    rows = rows_of(objectives=TWO)
    traces = risk.risk_traces(rows, DIGITS, FAMILY, "localisation")
    (curve,), (limit,) = of_kind(traces, "curve", SEQCRC), of_kind(traces, "dashed", SEQCRC)
    assert curve.x == limit.x == [0.05, 0.1]
    for place, name in enumerate(TWO):
        expected = median_interval(values(rows, SEQCRC, "risk_loc", name))
        assert (curve.y[place], curve.y_low[place], curve.y_high[place]) == (
            expected.estimate,
            expected.low,
            expected.high,
        )
    # A mean of 400 splits of standard deviation 0.02.
    reach = stats.t.ppf(0.995, 399) * 0.001
    assert limit.y == pytest.approx([0.05 + reach, 0.1 + reach])
    (level,) = [trace for trace in traces if trace.solver is None]
    assert level.x == level.y == [0.0, 0.1]


def test_chance_has_no_limit_where_nothing_is_judged_or_a_probability_is_claimed():
    for dataset in (DIGITS, SIMULATED):
        traces = risk.risk_traces(rows_of(datasets=(dataset,)), dataset, FAMILY, "localisation")
        assert {trace.solver for trace in of_kind(traces, "dashed")} == {SEQCRC, SPLIT}
        assert {trace.solver for trace in of_kind(traces, "curve")} == set(SOLVERS)


def test_the_maximum_is_against_the_sum_of_two_levels():
    traces = risk.risk_traces(rows_of(objectives=TWO), DIGITS, FAMILY, "maximum")
    assert of_kind(traces, "curve", SPLIT)[0].x == [0.1, 0.2]
    assert risk.risk_traces(rows_of(), DIGITS, FAMILY, "joint") == []


@pytest.mark.parametrize(("metric", "at"), [("volume_ratio", 0.1), ("boxes_per_image", 0.02), ("stretch", 0.05)])
def test_sizes_run_along_the_level_that_decides_them_among_guarantees(metric, at):
    rows = rows_of()
    traces = risk.size_traces(rows, DIGITS, FAMILY, metric)
    assert {trace.solver for trace in traces} == {SEQCRC, SPLIT, LTT}
    (curve,) = of_kind(traces, "curve", LTT)
    assert (curve.x, curve.y) == ([at], [values(rows, LTT, metric).median()])


def test_failed_cells_are_crosses_and_no_part_of_a_curve():
    rows = fail(fail(rows_of(seeds=3), SPLIT, range(3), "refuted"), SEQCRC, [2], "timeout")
    for traces in (
        risk.risk_traces(rows, DIGITS, FAMILY, "localisation"),
        risk.size_traces(rows, DIGITS, FAMILY, "volume_ratio"),
    ):
        assert sorted(trace.label for trace in of_kind(traces, "failed")) == [
            "SeqCRC: 1 timeout of 3 seeds (drawn in the corner)",
            "Split-3: 3 refuted of 3 seeds (drawn in the corner)",
        ]
        assert {trace.kind for trace in traces if trace.solver == SPLIT} == {"failed"}
        assert [trace.n for trace in of_kind(traces, "curve", SEQCRC)] == [2]


# ----- verdicts -----


def test_each_claim_is_judged_once_and_p_values_are_adjusted_over_the_file():
    rows = rows_of(datasets=(DIGITS, SIMULATED))
    rows.loc[rows["solver_name"] == SPLIT, "objective_p_value_cls"] = 1e-9
    found = risk.risk_verdicts(rows)
    # Four risks of two solvers, on both, and of one that claims a probability, on simulated images; 8 seeds.
    assert len(found) == 8 * 4 * (2 + 2 + 1)
    assert {(each.solver, each.risk) for each in found if each.refuted} == {(SPLIT, "classification")}
    assert found[0].adjusted == pytest.approx(1e-9 * len(found))
    assert found[0].level == 0.05
    cells, told = risk.verdicts_table(rows)
    assert len(cells) == len(found)
    assert "160 claims of a risk tested, 16 refuted\n" in told["title"]


def test_a_p_value_that_a_large_file_explains_does_not_refute():
    rows = rows_of()
    rows.loc[rows["solver_name"] == SPLIT, "objective_p_value_cls"] = 5e-4
    assert not any(each.refuted for each in risk.risk_verdicts(rows))


# ----- closed forms -----


@pytest.mark.parametrize(
    ("images", "first", "second", "expected"),
    [
        (19, "0.1", "0.2", (0.2, 0.2421, 0.2421)),
        (99, "0.05", "0.1", (0.1, 0.1094, 0.1391)),
        (199, "0.05", "0.1", (0.1, 0.1047, 0.1445)),
    ],
)
def test_closed_forms_have_known_values(images, first, second, expected):
    forms = risk.closed_forms(images, Fraction(first), Fraction(second))
    assert [float(each) for each in vars(forms).values()] == pytest.approx(expected, abs=5e-5)


def test_without_enough_images_there_is_no_closed_form():
    assert risk.closed_forms(18, Fraction("0.05"), Fraction("0.2")) is None
    assert risk.closed_forms(19, Fraction("0.1"), Fraction("0.1")) is None


@pytest.mark.parametrize(("images", "first", "second"), [(19, "0.1", "0.2"), (49, "0.06", "0.1")])
def test_closed_forms_are_those_of_a_simulation(images, first, second):
    """An object is kept if it needs at most a, and held if its margin is at most b: the risk of new ones is 1 - a b."""
    count, first, second = 10_000, Fraction(first), Fraction(second)
    needs, margins = np.random.default_rng(0).random((2, count, images))
    missed, lost = (math.floor(level * (images + 1)) - 1 for level in (first, second))  # the new image is one more
    a = -np.sort(-needs, axis=1)[:, missed]

    def risks(left_out, exceeding):
        """Calibrate the second step on all but some images, of which so many may exceed its margin."""
        return 1 - a * -np.sort(-margins[:, left_out:], axis=1)[:, exceeding]

    simulated = (
        risks(missed + 1, lost - missed - 1),
        risks(missed, lost - missed),
        risks(missed, math.floor(second * (images - missed + 1)) - 1),
    )
    forms = vars(risk.closed_forms(images, first, second)).values()
    for form, found in zip(forms, simulated, strict=True):
        assert found.mean() == pytest.approx(float(form), abs=4 * found.std() / math.sqrt(count))


def test_compositions_are_of_simulated_images_without_duplicates():
    others = SIMULATED.replace("False", "True")
    name = objective("0.05/0.1/0.1", localisation="box_wise", match="hausdorff")
    rows = rows_of(datasets=(DIGITS, SIMULATED, others), objectives=(name,))
    found = risk.compositions(rows)
    assert {each.dataset for each in found} == {SIMULATED}
    assert len(found) == len(SOLVERS) * 2
    (one,) = [each for each in found if (each.solver, each.risk) == (SEQCRC, "localisation")]
    own = rows[rows["dataset_name"] == SIMULATED]
    assert one.measured == pytest.approx(values(own, SEQCRC, "risk_loc", name).mean())
    assert one.error == pytest.approx(0.02 / math.sqrt(2000 * 8))
    assert one.forms.sequential == Fraction(1, 10)
    cells, told = risk.composition_table(rows)
    assert len(cells) == len(found)
    assert len(told["columns"]) == len(cells[0])


# ----- pictures -----


def test_each_solver_has_its_first_picture_or_says_that_there_is_none():
    rows = fail(rows_of(seeds=2), SPLIT, [0], "refuted")
    rows.loc[rows["solver_name"] == LTT, "objective_picture"] = HOSTILE
    found = risk.scenes(rows, DIGITS, RISK)
    assert [each["label"] for each in found] == ["LTT-HB, no picture", "SeqCRC", "Split-3, refuted", "Uncalibrated"]
    assert found[1]["alt"].startswith("SeqCRC: true boxes in green")
    assert found[0]["image"] is pictures.BLANK


# ----- the plots -----


def all_failed():
    rows = rows_of(seeds=2)
    for solver in SOLVERS:
        rows = fail(rows, solver, range(2), "error")
    kept = ("objective_name", "objective_value", "objective_status", "objective_message", "objective_env_device")
    return rows[[name for name in rows if not name.startswith("objective_") or name in kept]]


def hostile_inside():
    rows = rows_of(seeds=1)
    for column, word in (("dataset_name", "400"), ("objective_name", "0.05/"), ("solver_name", "additive")):
        rows[column] = rows[column].str.replace(word, HOSTILE, regex=False)
    return rows


FRAMES = {
    "ordinary": rows_of(seeds=3, datasets=(DIGITS, SIMULATED), objectives=TWO),
    "failures": fail(fail(rows_of(seeds=3), SPLIT, range(3), "refuted"), SEQCRC, [1], "timeout"),
    "one seed": rows_of(seeds=1),
    "all failed": all_failed(),
    "no risk": rows_of(seeds=2).drop(columns=["objective_risk_loc", "objective_judged_loc"]),
    "hostile text": hostile_frame(rows_of(seeds=2)),
    "hostile inside": hostile_inside(),
}


@pytest.mark.parametrize("rows", FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize("name", PLOTS)
def test_plots_give_plain_json_for_any_frame(name, rows):
    plot = PLOTS[name]()
    plot._check()
    data, menus = plot._get_all_plots(rows)
    assert len(data) == math.prod(map(len, menus.values())) >= 1
    styled = update_plot_data_style({name: data})  # colours and pictures as text
    assert_plain(styled)
    told = json.dumps(styled, allow_nan=False)
    assert "__incompatible__" not in told
    assert not set("<>&") & set(told.replace("<br />", ""))


def test_only_failures_are_crosses_and_limits_have_no_symbol():
    marks = {}
    for kind in ("risk_by_alpha", "size_by_alpha"):
        data, _ = PLOTS[kind]()._get_all_plots(FRAMES["failures"])
        for trace in (trace for each in data.values() for trace in each["data"]):
            marks.setdefault(trace["marker"], set()).add(trace["label"])
    assert {label.partition(":")[0] for label in marks[CROSS]} == {"SeqCRC", "Split-3"}
    assert {label for label in marks[NO_SYMBOL]} == {"the level", "SeqCRC: what chance allows"}


def test_no_name_of_a_plot_begins_with_another():
    """The page finds a plot's menus by how their names begin."""
    assert not [pair for pair in itertools.permutations(PLOTS, 2) if pair[1].startswith(pair[0])]


def test_benchopt_makes_a_page_with_our_plots_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # temp_benchmark makes its folder here
    plots = {path.name: path.read_text() for path in (FOLDER / "plots").glob("*.py")}
    config, claims = (FOLDER / "config.yml").read_text(), {"claims.toml": REAL.read_text()}
    with temp_benchmark(plots=plots, config=config, extra_files=claims) as benchmark:
        folder = benchmark.get_output_folder()
        folder.mkdir(parents=True, exist_ok=True)
        to_parquet(FRAMES["ordinary"], folder / "run.parquet")
        plot_benchmark(folder / "run.parquet", benchmark, display=False)
        page = (folder / f"{benchmark.name}_run.html").read_text()
    names = yaml.safe_load(config)["plots"]
    assert sorted(PLOTS) == sorted(names)
    data = json.loads(re.search(r"window\._plots = (.*);\n", page)[1], parse_constant=pytest.fail)
    assert sorted(data) == sorted(names)
    views = re.findall(r'onclick="setConfig\(this\)"[^>]*>([^<]*)<', page)
    assert views[:2] == ["Leaderboard", "Risk against its level"]


def test_first_views_choose_what_their_plots_offer():
    config, rows = yaml.safe_load((FOLDER / "config.yml").read_text()), FRAMES["ordinary"]
    for view in config["plot_configs"].values():
        kind = view["plot_kind"]
        menus = {key: each(rows) if callable(each) else each for key, each in PLOTS[kind].options.items()}
        chosen = {key.removeprefix(f"{kind}_"): each for key, each in view.items() if key.startswith(f"{kind}_")}
        assert all(each in menus[key] for key, each in chosen.items()), view
        if "scale" in view:
            first = {key: next(iter(each)) for key, each in menus.items()} | chosen
            assert view["scale"] == PLOTS[kind]().get_metadata(rows, **first)["scale"]
    assert {view["plot_kind"] for view in config["plot_configs"].values()} == set(PLOTS)


# ----- claims -----


def verdicts(rows):
    return {each.claim.id: each.verdict for each in check_claims(rows, load_claims(REAL))}


def test_the_claims_use_the_names_listed_in_their_file():
    claims = load_claims(REAL)
    named = {name for claim in claims for name in (claim.query.solver, claim.query.baseline)}
    assert named == set(tomllib.loads(REAL.read_text())["solvers"])
    assert {claim.query.benchmark for claim in claims} == {"benchmark_crc"}


def test_risks_are_judged_against_the_levels_that_are_claimed():
    told = verdicts(rows_of(datasets=(DIGITS, SIMULATED)))
    for name in ("seqcrc-risk-confidence", "seqcrc-risk-localisation", "seqcrc-risk-classification"):
        assert told[name] == "reproduced"
    assert told["seqcrc-joint-slack"] == "reproduced"
    assert told["railway-joint-slack"] == "not run here"
    assert told["single-split-smaller"] == "reproduced"
    tight = {**QUALITY, SEQCRC: (1.2, 3.0, "expectation")}
    told = verdicts(rows_of(quality=tight))
    assert told["seqcrc-risk-localisation"] == "not reproduced"
    assert told["seqcrc-joint-slack"] != "reproduced"  # 0.8 x 1.2 of the level, and 0.95


def test_sets_and_losses_are_compared_with_the_right_variants():
    variants = verdicts(rows_of(solvers=(SEQCRC, MULTIPLICATIVE, APS)))
    assert variants["multiplicative-smaller"] == variants["lac-smaller-than-aps"] == "reproduced"
    assert variants["giou-largest"] == "not run here"
    rows = rows_of(solvers=(SEQCRC,), objectives=(RISK, objective(match="giou"), objective(match="hausdorff")))
    giou = rows["objective_name"].str.contains("giou")
    rows.loc[giou, "objective_volume_ratio"] *= 2
    told = verdicts(rows)
    assert told["giou-largest"] == "reproduced"
    assert told["mix-smaller-than-hausdorff"] != "not run here"
    assert told["mix-smaller-than-lac"] == told["recall-fewer-boxes"] == "not run here"


HEAD = f'benchmark = "benchmark_crc"\nsolvers = ["{SEQCRC}", "{SPLIT}"]\n'
CLAIM = """
[[claim]]
id = "a-claim"
method = "SeqCRC"
text = "A risk is at most its level."
source = { paper = "A paper", arxiv = "2505.24038", where = "abstract" }
[claim.query]
"""
COLUMN = {
    "metric": '"risk_loc"',
    "datasets": '["*"]',
    "solver": f'"{SEQCRC}"',
    "column": '"claimed_loc"',
    "direction": '"not higher"',
}
OBJECTIVE = {**COLUMN, "column": "", "objective": '{ match = ["mix", "giou"] }', "direction": '"lower"'}


@pytest.fixture
def read(tmp_path):
    def read(query):
        path = tmp_path / "claims.toml"
        path.write_text(HEAD + CLAIM + "".join(f"{key} = {value}\n" for key, value in query.items() if value))
        (claim,) = load_claims(path)
        return claim

    return read


@pytest.fixture
def check(read):
    def check(rows, query, **changes):
        (verdict,) = check_claims(rows, [read({**query, **changes})])
        format_verdict(verdict)
        return verdict

    return check


@pytest.mark.parametrize(
    ("share", "factor", "expected", "reason"),
    [
        (0.9, "", "reproduced", "lower than claimed_loc"),
        (1.1, "", "not reproduced", "higher than claimed_loc"),
        (1.0, "", "inconclusive", "not separated from claimed_loc"),
        (1.0, "1.05", "reproduced", "lower than 1.05 times claimed_loc"),
        (1.0, "0.5", "not reproduced", "higher than 0.5 times claimed_loc"),
    ],
)
def test_a_metric_is_held_against_a_column_of_the_same_rows(check, share, factor, expected, reason):
    rows = rows_of()
    rows["objective_risk_loc"] = share * rows["objective_claimed_loc"] * (1 + 0.01 * (-1.0) ** rows["idx_rep"])
    verdict = check(rows, COLUMN, factor=factor)
    assert verdict.verdict == expected
    assert reason in {each.reason for each in verdict.checks}


def test_the_figure_is_the_mean_of_the_paired_differences_with_its_interval(check):
    rows = rows_of(quality={**QUALITY, SEQCRC: (0.9, 3.0, "expectation")})
    rows["objective_claimed_loc"] *= 1 + 0.1 * rows["idx_rep"]
    verdict = check(rows, COLUMN, factor="1.5")
    (found,) = verdict.checks
    own = values(rows, SEQCRC, "risk_loc") - 1.5 * values(rows, SEQCRC, "claimed_loc")
    test = stats.ttest_1samp(own, 0.0)
    assert found.estimate == pytest.approx(own.mean())
    assert [found.low, found.high] == pytest.approx(list(test.confidence_interval(0.95)))
    assert (found.p, found.n, found.bound) == (pytest.approx(test.pvalue), 8, 0.0)
    assert "risk_loc of SeqCRC[classes=lac,margins=additive] - 1.5 times claimed_loc: " in format_verdict(verdict)[4]
    assert "lower than 1.5 times claimed_loc (95 % interval" in sentence(decisive(verdict), verdict.claim.query)


def test_a_claim_about_a_risk_fails_where_its_solver_was_refuted(check):
    rows = rows_of(quality={**QUALITY, SEQCRC: (0.5, 3.0, "expectation")}, seeds=16)
    verdict = check(fail(rows, SEQCRC, range(8), "refuted"), COLUMN)
    assert verdict.verdict == "not reproduced"
    assert verdict.checks[0].reason == f"{SEQCRC} refuted"
    verdict = check(fail(rows, SEQCRC, range(2), "refuted"), COLUMN)
    assert verdict.verdict == "inconclusive"
    assert verdict.checks[0].reason == f"2 cells of {SEQCRC} failed"


def test_without_the_column_or_with_too_few_seeds_nothing_is_tested(check):
    assert "no column claimed_loc" in check(rows_of().drop(columns="objective_claimed_loc"), COLUMN).reason
    assert "0 common seeds" in check(rows_of().assign(objective_claimed_loc=np.nan), COLUMN).reason
    assert check(rows_of(seeds=7), COLUMN).verdict == "not run here"
    assert f"no rows of {SEQCRC}" in check(rows_of(solvers=(SPLIT,)), COLUMN).reason


def test_an_objective_is_compared_with_another_on_the_same_seeds(check):
    giou = objective(match="giou")
    rows = rows_of(solvers=(SEQCRC,), objectives=(RISK, giou))
    rows.loc[rows["objective_name"] == giou, "objective_risk_loc"] *= 1.5
    verdict = check(rows, OBJECTIVE)
    (found,) = verdict.checks  # that of the first value alone
    own = values(rows, SEQCRC, "risk_loc") - values(rows, SEQCRC, "risk_loc", giou)
    assert (verdict.verdict, found.n) == ("reproduced", 8)
    assert found.estimate == pytest.approx(own.mean())
    assert check(rows, OBJECTIVE, objective='{ match = ["giou", "mix"] }').verdict == "not reproduced"
    assert check(rows, OBJECTIVE, factor="0.7").verdict == "reproduced"


def test_each_objective_is_compared_with_the_one_that_differs_in_one_parameter(check):
    names = [
        objective(alphas, match=match) for alphas in ("0.02/0.05/0.05", "0.03/0.1/0.1") for match in ("mix", "giou")
    ]
    rows = rows_of(solvers=(SEQCRC,), objectives=names)
    rows.loc[rows["objective_name"].str.contains("giou"), "objective_risk_loc"] *= 1.5
    verdict = check(rows, OBJECTIVE)
    assert (verdict.verdict, len(verdict.checks)) == ("reproduced", 2)
    assert check(rows[rows["objective_name"] != names[1]], OBJECTIVE).reason.endswith(
        "not tested: no rows with match=giou: digit_boxes (alphas=0.02/0.05/0.05, confidence=count_threshold, "
        "localisation=pixel_wise, match=mix)"
    )


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({**COLUMN, "column": '"accuracy"'}, "key 'query.column' is 'accuracy'; allowed: volume_ratio, "),
        ({**COLUMN, "direction": '"lower"'}, "key 'query.column' with direction 'lower'; allowed: 'not higher', with"),
        ({**COLUMN, "margin": "0.1"}, "key 'query.column' with direction 'not higher'; allowed: 'not higher', with"),
        ({**COLUMN, "factor": "0"}, "key 'query.factor' is 0; allowed: a number > 0."),
        ({**COLUMN, "baseline": f'"{SPLIT}"'}, "keys 'query.baseline' and 'query.column'; allowed: one of the two."),
        ({**COLUMN, "column": ""}, "key 'query.baseline' is missing"),
        (
            {**OBJECTIVE, "objective": '{ match = ["mix"] }'},
            "key 'query.objective' is {'match': ['mix']}; allowed: a table",
        ),
        (
            {**OBJECTIVE, "objective": '{ match = ["mix", "mix"] }'},
            "allowed: a table of one parameter of the objective",
        ),
        ({**OBJECTIVE, "objective": '"mix"'}, "key 'query.objective' is 'mix'; allowed: a table"),
        ({**OBJECTIVE, "direction": '"not higher"'}, "with direction 'not higher'; allowed: exactly one of these"),
    ],
)
def test_a_mistake_in_a_query_is_named_with_what_is_allowed(read, query, expected):
    with pytest.raises(ValueError, match=r"allowed|missing") as error:
        read(query)
    assert expected in str(error.value)
