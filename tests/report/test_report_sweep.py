"""Learning rates by equal tuning: which is chosen, what is flagged, the figure, and the lines for a configuration."""

import itertools
import json
import math
import re
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import yaml
from benchopt.benchmark import Benchmark
from benchopt.plotting import plot_benchmark
from benchopt.plotting.generate_matplotlib import get_plot_figure
from benchopt.plotting.helpers import reset_solver_styles, update_plot_data_style
from benchopt.results.parquet import to_parquet
from benchopt.results.result_processing import merge
from benchopt.utils.parametrized_name_mixin import product_param
from benchopt.utils.temp_benchmark import temp_benchmark
from made_up import CHAIN, DIGITS, DOCS, TRAINING, root_frame, training_rows
from scipy import stats
from test_report_plots import HOSTILE, hostile_frame
from test_report_training_plots import FOLDER, PLOTS, assert_plain

from orthobench.report.benchmarks import BENCHMARKS
from orthobench.report.command import main
from orthobench.report.names import selected, shortest_selector, without
from orthobench.report.sweep import (
    AT_THE_EDGE,
    choices,
    columns,
    format_method,
    menu,
    method_and_rate,
    protocol,
    solver_lines,
    sweep,
    sweep_traces,
)
from orthobench.report.text import read_frame, render_learning_rates

pytestmark = pytest.mark.usefixtures("wide_terminal")

TUNING = TRAINING.replace("held_out", "tuning")
RATES = (0.001, 0.01, 0.1)
ADAMW, SGD = "AdamW[weight_decay=0.01]", "SGD[momentum=0.9]"
MUON, TURBO = (
    f"Turbo-Muon[adamw_learning_rate=0.01,orthogonaliser={name},weight_decay=0.01]" for name in ("muon", "turbo_muon")
)
BAD = None  # a cell that diverged


@pytest.fixture(autouse=True)
def _same_styles_in_every_test():
    reset_solver_styles()


def solver(method, rate):
    """A solver's name as Benchopt writes it: its parameters in the order of the alphabet."""
    family, _, inside = method.removesuffix("]").partition("[")
    return f"{family}[{','.join(sorted([*filter(None, inside.split(',')), f'learning_rate={rate}']))}]"


def rows_of(losses, objective=TUNING):
    """Rows from ``losses[method][rate][data set]``, the last losses by seed, or one of them for a single seed."""
    rows = []
    for method, by_rate in losses.items():
        for rate, by_dataset in by_rate.items():
            for dataset, last in by_dataset.items():
                for seed, loss in enumerate(last if isinstance(last, list) else [last]):
                    name = method if rate is None else solver(method, rate)
                    end = 1.0 if loss is BAD else loss
                    cell = training_rows(name, dataset, seed, [2.3, 1.0, end], objective=objective)
                    if loss is BAD:
                        why = {"objective_status": "diverged", "objective_message": f"no finite loss at {rate}"}
                        numbers = {key: np.nan for key, value in cell[-1].items() if isinstance(value, float)}
                        cell[-1] |= {**numbers, **why, "time": 0.2}
                    rows += cell
    return pd.DataFrame(rows)


def on_digits(method=ADAMW, **by_rate):
    """Rows of one method on one data set, with ``r0_01=loss`` for the loss at the rate 0.01."""
    return rows_of({method: {float(key[1:].replace("_", ".")): {DIGITS: loss} for key, loss in by_rate.items()}})


def only(rows):
    (method,) = sweep(rows, TUNING)
    return method


def flags(rows, objective=TUNING):
    return {method.name: method.flags for method in sweep(rows, objective)}


# ----- names -----


def test_a_method_is_the_name_without_its_learning_rate():
    assert method_and_rate("AdamW[learning_rate=0.01,weight_decay=0.01]") == (ADAMW, 0.01)
    assert method_and_rate("Adam[learning_rate=1e-05]") == ("Adam", 1e-05)
    tuple_inside = "Adam[betas=(0.9, 0.95),learning_rate=1,name=x]"
    assert method_and_rate(tuple_inside) == ("Adam[betas=(0.9, 0.95),name=x]", 1.0)
    assert method_and_rate(solver(MUON, 0.05)) == (MUON, 0.05)  # the rate of its AdamW stays
    assert without("Adam", "learning_rate") == "Adam"


@pytest.mark.parametrize("name", ["Prodigy", ADAMW, *(f"Adam[learning_rate={x}]" for x in ("auto", "nan", "0", "inf"))])
def test_a_name_without_a_positive_learning_rate_is_a_method_without_a_rate(name):
    assert method_and_rate(name) == (name, None)


def test_selectors_are_the_shortest_that_select_one_and_name_what_they_must():
    names = [solver(method, rate) for method in (ADAMW, MUON, TURBO) for rate in RATES] + ["SGD[learning_rate=1.0]"]
    found = {name: shortest_selector(name, names, "learning_rate") for name in names}
    assert found[solver(ADAMW, 0.01)] == "AdamW[learning_rate=0.01]"
    assert found[solver(TURBO, 0.1)] == "Turbo-Muon[learning_rate=0.1,orthogonaliser=turbo_muon]"
    assert found["SGD[learning_rate=1.0]"] == "SGD[learning_rate=1.0]"
    assert all(selected(names, text) == [name] for name, text in found.items())
    same_start = ["A[betas=(0.9, 0.95)]", "A[betas=(0.9, 0.99)]"]
    assert [shortest_selector(name, same_start) for name in same_start] == same_start


# ----- the choice -----


def test_the_choice_has_the_least_product_of_mean_losses_by_brute_force():
    rng = np.random.default_rng(0)
    for _ in range(20):
        losses = {
            method: {rate: {name: rng.uniform(0.1, 3, 3).tolist() for name in (DIGITS, DOCS, CHAIN)} for rate in RATES}
            for method in (ADAMW, SGD, MUON, TURBO)
        }
        expected = {
            method: min(RATES, key=lambda rate: math.prod(sum(each) / 3 for each in by_rate[rate].values()))
            for method, by_rate in losses.items()
        }
        assert choices(rows_of(losses)) == expected


def test_with_opposite_optima_the_sum_of_logarithms_decides():
    # 0.001 is best on digits, 0.1 on python_docs and by the sum of the losses themselves.
    losses = {0.001: {DIGITS: 0.1, DOCS: 3.0}, 0.01: {DIGITS: 0.4, DOCS: 0.7}, 0.1: {DIGITS: 0.5, DOCS: 0.58}}
    method = only(rows_of({ADAMW: losses}))
    assert method.chosen.rate == 0.01
    assert [each.score for each in method.rates] == pytest.approx(np.log([0.3, 0.28, 0.29]).tolist())
    assert sum(losses[0.1].values()) < sum(losses[0.01].values())


def test_the_mean_over_seeds_and_its_interval_are_those_of_student():
    last = [0.3, 0.5, 0.4, 0.45]
    outcome = only(on_digits(r0_01=last)).chosen.outcomes[DIGITS]
    expected = stats.t.interval(0.95, 3, np.mean(last), stats.sem(last))
    assert (outcome.n, outcome.mean) == (4, pytest.approx(np.mean(last)))
    assert (outcome.low, outcome.high) == pytest.approx(expected)


def test_one_seed_is_enough_for_a_choice_and_has_no_interval():
    method = only(on_digits(r0_001=0.5, r0_01=0.4, r0_1=0.6))
    outcome = method.chosen.outcomes[DIGITS]
    assert (method.chosen.rate, outcome.n, outcome.mean) == (0.01, 1, 0.4)
    assert math.isnan(outcome.low)
    assert format_method(method, [method])[3] == "0.400 n/a"


def test_a_rate_with_a_failed_cell_on_any_data_set_is_not_eligible():
    good = {DIGITS: [0.5, 0.5], DOCS: [0.5, 0.5]}
    losses = {0.001: good, 0.01: {DIGITS: [0.1, 0.1], DOCS: [0.1, BAD]}, 0.1: good, 1.0: {DIGITS: [BAD] * 2, DOCS: 2.0}}
    method = only(rows_of({ADAMW: losses}))
    assert method.chosen.rate == 0.001
    assert [each.eligible for each in method.rates] == [True, False, True, False]
    assert method.rates[1].outcomes[DOCS].failures == {"diverged": 1}
    assert method.rates[1].outcomes[DOCS].mean == 0.1
    assert "not eligible: 0.01 (1 diverged)" in method.flags
    assert "not eligible: 1 (2 diverged, 1 missing)" in method.flags
    assert method.note == "no finite loss at 0.01"


def test_without_an_eligible_rate_there_is_no_choice_and_it_is_said():
    rows = on_digits(r0_001=[BAD, 0.1], r0_01=[0.1, BAD])
    method = only(rows)
    assert (method.chosen, method.flags[0]) == (None, "no choice: every rate has failed cells")
    assert choices(rows) == {ADAMW: None}
    assert format_method(method, [method])[2:4] == ["none", "n/a"]
    assert solver_lines([method])[1:] == [f"  # {ADAMW}: no choice: every rate has failed cells"]
    assert "n/a" in render_learning_rates(rows, TUNING)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_good_cell_without_a_finite_loss_counts_as_failed(value):
    method = only(on_digits(r0_001=[0.5, 0.5], r0_01=[0.1, value], r0_1=[0.6, 0.6]))
    assert method.chosen.rate == 0.001
    assert method.rates[1].outcomes[DIGITS].failures == {"no value": 1}


def test_a_failed_cell_counts_as_failed_whatever_its_last_loss():
    rows = on_digits(r0_001=[0.5, 0.5], r0_01=[0.1, 0.1])
    late = (rows["solver_name"] == solver(ADAMW, 0.01)) & (rows["idx_rep"] == 1) & (rows["stop_val"] == 40)
    rows.loc[late, "objective_status"] = "timeout"
    method = only(rows)
    assert method.chosen.rate == 0.001
    assert method.rates[1].outcomes[DIGITS].failures == {"timeout": 1}
    assert method.rates[1].outcomes[DIGITS].losses == (0.1,)


def test_a_seed_that_others_have_counts_as_failed_where_it_is_missing():
    losses = {rate: {DIGITS: [0.5, 0.5], DOCS: [0.5, 0.5]} for rate in RATES}
    losses[0.01] = {DIGITS: [0.1, 0.1], DOCS: [0.1]}
    losses[0.1] = {DIGITS: [0.2, 0.2]}
    method = only(rows_of({ADAMW: losses}))
    assert method.chosen.rate == 0.001
    assert method.flags[1:] == ("not eligible: 0.01 (1 missing)", "not eligible: 0.1 (2 missing)")


def test_a_data_set_that_has_nothing_for_a_method_is_left_out_and_named():
    everywhere = {rate: {DIGITS: [0.5, 0.5], DOCS: [rate + 0.1] * 2} for rate in RATES}
    rows = rows_of({ADAMW: everywhere, MUON: {0.1: {DOCS: [0.1, 0.1]}, **{r: {DOCS: [0.5, 0.5]} for r in RATES[:2]}}})
    assert choices(rows) == {ADAMW: 0.001, MUON: 0.1}
    assert f"no rows on {DIGITS}" in flags(rows)[MUON]
    methods = sweep(rows, TUNING)
    assert [format_method(each, methods)[3] for each in methods] == ["0.500 [0.500, 0.500]", "n/a"]


def test_ties_go_to_the_smaller_rate():
    assert only(on_digits(r0_1=0.3, r0_01=0.3, r0_001=0.4)).chosen.rate == 0.01
    # The same three losses in any order over the data sets are a tie, to the last bit.
    values = (0.1, 0.1, 0.3)
    assert len({sum(map(math.log, each)) for each in itertools.permutations(values)}) > 1
    for orders in itertools.permutations(itertools.permutations(values), 2):
        losses = {
            rate: dict(zip([DIGITS, DOCS, CHAIN], each, strict=True))
            for rate, each in zip([0.1, 0.01], orders, strict=True)
        }
        assert choices(rows_of({ADAMW: losses})) == {ADAMW: 0.01}


def test_a_loss_of_zero_is_the_best_one():
    assert only(on_digits(r0_01=0.1, r0_1=0.0)).chosen.rate == 0.1


@pytest.mark.parametrize(("best", "flagged"), [(0.001, True), (0.01, False), (0.1, True)])
def test_a_choice_at_an_end_of_its_grid_is_flagged(best, flagged):
    rows = rows_of({ADAMW: {rate: {DIGITS: 0.1 if rate == best else 0.2} for rate in RATES}})
    assert (AT_THE_EDGE in only(rows).flags) == flagged


def test_the_ends_are_those_of_the_whole_grid():
    assert only(on_digits(r0_001=0.3, r0_01=0.2, r0_1=BAD)).flags == ("not eligible: 0.1 (1 diverged)",)
    assert only(on_digits(r0_01=0.2)).flags == (AT_THE_EDGE,)
    assert solver_lines([only(on_digits(r0_01=0.2))])[1] == '  - "AdamW[learning_rate=0.01]"'


def test_rates_are_in_the_order_of_numbers():
    rows = rows_of({ADAMW: {rate: {DIGITS: 0.5} for rate in (10.0, 1e-05, 2.0, 0.0003)}})
    assert [each.rate for each in only(rows).rates] == [1e-05, 0.0003, 2.0, 10.0]


def test_grids_of_different_length_are_flagged():
    losses = {rate: {DIGITS: 0.1 if rate == 0.01 else 0.2} for rate in RATES}
    rows = rows_of({ADAMW: losses, SGD: losses, TURBO: {0.01: losses[0.01], 0.1: losses[0.1]}})
    found = flags(rows)
    assert (found[ADAMW], found[SGD]) == ((), ())
    assert found[TURBO] == (AT_THE_EDGE, "unequal tuning: the longest grid has 3 rates, this one 2")


def test_a_method_without_a_learning_rate_is_named_and_chooses_nothing():
    rows = rows_of({ADAMW: {rate: {DIGITS: 0.5} for rate in RATES}, "Prodigy": {None: {DIGITS: 0.1}}})
    assert choices(rows) == {ADAMW: 0.001, "Prodigy": None}
    assert flags(rows)["Prodigy"] == ("no choice: its name holds no positive learning rate",)
    assert {trace.label for trace in sweep_traces(rows, DIGITS, TUNING)} == {"AdamW", "chosen"}


# ----- the parts -----


def both_parts():
    """Tuning rows whose best rate is 0.01, and held-out rows of it, of another rate and of another objective."""
    tuning = {0.001: {DIGITS: [0.5, 0.6]}, 0.01: {DIGITS: [0.2, 0.4]}, 0.1: {DIGITS: [0.9, BAD]}}
    final = {0.01: {DIGITS: [0.35, 0.36, 0.37, 0.38, 0.39, 0.40, 0.41, 0.42]}, 0.1: {DIGITS: [0.01] * 8}}
    other = {0.01: {DIGITS: [7.0] * 8}}
    return pd.concat(
        [
            rows_of({ADAMW: tuning, SGD: tuning}),
            rows_of({ADAMW: final}, TRAINING),
            rows_of({ADAMW: other}, TRAINING.replace("autocast=False", "autocast=True")),
        ]
    )


def test_rows_on_the_held_out_part_choose_nothing():
    rows = both_parts()
    assert choices(rows) == choices(rows[rows["objective_name"] == TUNING]) == {ADAMW: 0.01, SGD: 0.01}
    with pytest.raises(ValueError, match=r"chosen from objectives with part=tuning alone.*has 'Training\[.*tuning\]'"):
        sweep(rows, TRAINING)


def test_a_result_without_tuning_rows_is_refused_with_the_remedy(tmp_path, capsys):
    rows = rows_of({ADAMW: {0.01: {DIGITS: 0.5}}}, TRAINING)
    with pytest.raises(ValueError, match=r"part=tuning alone, and this result has none\. .*tune\.yml"):
        sweep(rows, TRAINING)
    for each in (rows, root_frame(seeds=1), rows[:0]):
        with pytest.raises(ValueError, match=r"expected one objective with part=tuning, this result has none"):
            choices(each)
    with pytest.raises(ValueError, match="not a result file"):
        choices(rows.drop(columns="idx_rep"))
    rows.to_parquet(tmp_path / "run.parquet")
    assert main([str(tmp_path / "run.parquet"), "--learning-rates"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"error: {tmp_path / 'run.parquet'}: ")
    assert "part=tuning" in printed.err


def test_several_tuning_objectives_are_kept_apart(tmp_path, capsys):
    autocast = TUNING.replace("autocast=False", "autocast=True")
    best = {TUNING: 0.001, autocast: 0.1}
    rows = pd.concat(
        rows_of({ADAMW: {rate: {DIGITS: 0.1 if rate == best[name] else 0.2} for rate in RATES}}, name) for name in best
    )
    with pytest.raises(ValueError, match=r"expected one .* has 'Training\[autocast=False.*, 'Training\[autocast=True"):
        choices(rows)
    assert {name: choices(rows, name)[ADAMW] for name in best} == best
    rows.to_parquet(tmp_path / "run.parquet")
    assert main([str(tmp_path / "run.parquet"), "--learning-rates"]) == 0
    assert re.findall(r'- "AdamW\[learning_rate=(.*)\]"', capsys.readouterr().out) == ["0.001", "0.1"]


def test_two_runs_in_one_file_are_refused():
    with pytest.raises(ValueError, match="one file at a time"):
        choices(pd.concat([on_digits(r0_01=0.1)] * 2))


# ----- the figure -----


def drawn(rows, dataset=DIGITS):
    """The traces by kind."""
    found = {}
    for trace in sweep_traces(rows, dataset, TUNING):
        found.setdefault(trace.kind, []).append(trace)
    return found


def test_the_figure_shows_means_ranges_the_choice_failures_and_the_final_figure():
    found = drawn(both_parts())
    adamw, sgd = found["curve"]
    assert (adamw.label, adamw.x, adamw.y, adamw.n) == ("AdamW", [0.001, 0.01], pytest.approx([0.55, 0.3]), 2)
    assert (adamw.y_low, adamw.y_high) == ([0.5, 0.2], [0.6, 0.4])  # two seeds: the range
    assert [(trace.x, trace.y) for trace in found["chosen"]] == [([0.01], [pytest.approx(0.3)])] * 2
    # The worst finite value of the figure is the highest end of a band, not the survivor at the failed rate.
    assert [(trace.label, trace.x, trace.y) for trace in found["failed"]] == [
        ("AdamW, at 0.1: 1 diverged", [0.1], [0.6]),
        ("SGD, at 0.1: 1 diverged", [0.1], [0.6]),
    ]
    (final,), (bar,) = found["final"], found["line"]
    assert (final.label, final.x, final.n) == ("AdamW, final figure: held-out part, n = 8", [0.01], 8)
    last = np.arange(35, 43) / 100
    assert final.y == pytest.approx([last.mean()])
    assert (bar.label, bar.x) == (final.label, [0.01, 0.01])
    assert bar.y == pytest.approx(stats.t.interval(0.95, 7, last.mean(), stats.sem(last)))
    assert sgd.label == "SGD"


@pytest.fixture
def two_files(tmp_path):
    """The rows of a sweep and those of its choice, as two configurations write them."""
    rows, tuning = both_parts(), tmp_path / "tune.parquet"
    rows[rows["objective_name"] == TUNING].assign(run_date="2026-01-01").to_parquet(tuning)
    rows[rows["objective_name"] == TRAINING].assign(run_date="2026-01-02").to_parquet(tmp_path / "cpu.parquet")
    return tuning, tmp_path / "cpu.parquet"


def test_the_sweep_and_its_final_figure_may_lie_in_two_files(two_files):
    assert "final" not in drawn(read_frame(two_files[0]))
    (final,) = drawn(read_frame(*two_files))["final"]
    assert (final.x, final.n) == ([0.01], 8)


def test_a_page_of_merged_files_shows_both(two_files, tmp_path):
    merge(two_files, keep="all", output=tmp_path / "both.parquet")
    found = drawn(pd.read_parquet(tmp_path / "both.parquet"))
    assert len(found["final"]) == 1
    assert len(found["failed"]) == 2  # a failure at the step of a good point is not merged away


def test_the_command_takes_both_files(two_files, tmp_path, capsys):
    files = list(map(str, two_files))
    assert main([*files, "--learning-rates"]) == 0
    assert '"AdamW[learning_rate=0.01]"' in capsys.readouterr().out
    assert main(files) == 0
    printed = capsys.readouterr().out
    assert f"{TUNING} | {DIGITS}" in printed
    assert f"{TRAINING} | {DIGITS}" in printed


def test_methods_of_one_family_are_told_apart_in_the_figure():
    by_rate = {rate: {DIGITS: 0.5} for rate in RATES}
    found = drawn(rows_of({MUON: by_rate, TURBO: by_rate}))
    assert [trace.label for trace in found["curve"]] == [
        "Turbo-Muon[orthogonaliser=muon]",
        "Turbo-Muon[orthogonaliser=turbo_muon]",
    ]
    assert [trace.y_low for trace in found["curve"]] == [None, None]  # one seed


def test_the_star_is_at_the_rate_that_all_data_sets_choose_together():
    losses = {0.001: {DIGITS: 0.1, DOCS: 3.0}, 0.01: {DIGITS: 0.4, DOCS: 0.7}, 0.1: {DIGITS: 0.8, DOCS: 0.5}}
    rows = rows_of({ADAMW: losses})
    assert [(drawn(rows, name)["chosen"][0].x, drawn(rows, name)["chosen"][0].y) for name in (DIGITS, DOCS)] == [
        ([0.01], [0.4]),
        ([0.01], [0.7]),
    ]


def test_bars_stay_positive():
    last = [0.001] * 7 + [5.0]
    (curve,) = drawn(on_digits(r0_01=last, r0_1=[1.0] * 8))["curve"]
    assert stats.t.interval(0.95, 7, np.mean(last), stats.sem(last))[0] < 0
    assert curve.y_low == [0.001, 1.0]


def test_failures_are_drawn_where_nothing_has_a_value():
    found = drawn(on_digits(r0_01=[BAD, BAD], r0_1=[BAD, BAD]))
    assert list(found) == ["failed"]
    assert [(trace.x, trace.y) for trace in found["failed"]] == [([0.01], [1.0]), ([0.1], [1.0])]


def test_a_final_run_that_failed_is_a_cross_at_the_chosen_rate():
    rows = pd.concat(
        [on_digits(r0_01=[0.1, 0.1], r0_1=[0.2, 0.2]), rows_of({ADAMW: {0.01: {DIGITS: [BAD] * 3}}}, TRAINING)]
    )
    found = drawn(rows)
    assert "final" not in found
    assert [(trace.label, trace.x) for trace in found["failed"]] == [("AdamW, final figure: 3 diverged", [0.01])]


def test_a_method_has_the_colour_of_its_final_solver_in_other_figures():
    rows = both_parts()
    curves = PLOTS["learning_curve"]().plot(rows, DIGITS, TRAINING, "held_out_loss", "steps")
    (colour,) = {trace["color"] for trace in curves if trace["label"] == "AdamW[learning_rate=0.01]"}
    (other,) = {trace["color"] for trace in curves if trace["label"] == "AdamW[learning_rate=0.1]"}
    found = PLOTS["learning_rates"]().plot(rows, DIGITS, TUNING)
    own = {trace["label"]: trace["color"] for trace in found}
    assert {own[label] for label in own if label.startswith("AdamW")} == {colour} != {other}
    assert own["SGD"] not in (colour, other)


def test_failures_choices_and_final_figures_have_symbols_of_their_own():
    by_rate = {0.01: {DIGITS: [0.1, 0.2]}, 0.1: {DIGITS: [BAD, 0.2]}}
    many = {f"solver {number}": by_rate for number in range(45)}
    rows = pd.concat([rows_of(many), rows_of({"solver 0": {0.01: {DIGITS: [0.3]}}}, TRAINING)])
    symbols = {}
    for trace in PLOTS["learning_rates"]().plot(rows, DIGITS, TUNING):
        kind = next((k for k in ("chosen", "final figure", "diverged") if k in trace["label"]), "curve")
        symbols.setdefault(kind, set()).add(trace["marker"])
    assert symbols["diverged"] == {4}
    assert symbols["chosen"] == {17}
    assert symbols["final figure"] == {18, 41}  # the mark, and the bar without one
    assert not symbols["curve"] & {3, 4, 17, 18, 41}


def test_the_menu_offers_the_objectives_on_the_tuning_part():
    assert menu(both_parts()) == [TUNING]
    held_out = rows_of({ADAMW: {0.01: {DIGITS: 0.5}}}, TRAINING)
    assert menu(held_out) == [TRAINING]
    for name, names in (("learning_rates", (DIGITS, TRAINING)), ("chosen_rates", (TRAINING,))):
        plot = PLOTS[name]()
        assert plot.plot(held_out, *names) == []
        assert "part=tuning alone, and this result has none" in plot.get_metadata(held_out, *names)["title"]


# ----- the page -----


def hostile_inside():
    rows = both_parts()
    for column, word in (("dataset_name", "width"), ("objective_name", "compile"), ("solver_name", "weight_decay")):
        rows[column] = rows[column].str.replace(word, HOSTILE, regex=False)
    return rows


def never_a_value():
    """Every cell failed before its first evaluation: the columns of a failure alone."""
    rows = on_digits(r0_01=[BAD, BAD], r0_1=[BAD, BAD])[lambda rows: rows["objective_status"] != "ok"]
    kept = ("objective_name", "objective_value", "objective_status", "objective_message")
    return rows[[name for name in rows if not name.startswith("objective_") or name in kept]]


FRAMES = {
    "both parts": both_parts(),
    "one seed": on_digits(r0_01=0.1, r0_1=0.2),
    "held out alone": rows_of({ADAMW: {0.01: {DIGITS: 0.5}}}, TRAINING),
    "no choice": on_digits(r0_01=[0.1, BAD]),
    "never a value": never_a_value(),
    "no learning rate": rows_of({"Prodigy": {None: {DIGITS: 0.1}}}),
    "zeros": on_digits(r0_01=[0.0, 0.0]),
    "other types": on_digits(r0_01=[1, 2]).astype({"idx_rep": "int32", "objective_held_out_loss": "float32"}),
    "two runs": pd.concat([on_digits(r0_01=0.1)] * 2),
    "hostile text": hostile_frame(both_parts()),
    "hostile inside": hostile_inside(),
    "hostile data set": both_parts().assign(dataset_name=HOSTILE),
}


@pytest.mark.parametrize("rows", FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize("name", ["learning_rates", "chosen_rates"])
def test_plots_give_plain_json_for_any_frame(name, rows):
    plot = PLOTS[name]()
    plot._check()
    data, menus = plot._get_all_plots(rows)
    assert len(data) == math.prod(map(len, menus.values())) >= 1
    styled = update_plot_data_style({name: data})
    assert_plain(styled)
    assert not set("<>&") & set(json.dumps(styled, allow_nan=False).replace("<br />", ""))
    for each in data.values():
        if plot.type == "table":
            assert {len(row) for row in each["data"]} <= {len(each["columns"])}


@pytest.mark.filterwarnings("ignore::UserWarning")  # a crowded layout
@pytest.mark.parametrize("name", ["both parts", "one seed", "no choice", "held out alone"])
def test_the_figure_can_be_drawn_by_matplotlib_too(name, tmp_path):
    data, _ = PLOTS["learning_rates"]()._get_all_plots(FRAMES[name])
    (figure,) = get_plot_figure(update_plot_data_style({"x": data}, plotly=False)["x"], tmp_path)
    (each,) = data.values()
    assert len(figure.axes[0].lines) == len(each["data"])
    assert (figure.axes[0].get_xscale(), figure.axes[0].get_yscale()) == ("log", "log")
    plt.close(figure)


def test_the_hostile_frame_still_chooses():
    (objective,) = {name for name in hostile_inside()["objective_name"] if "part=tuning" in name}
    methods = sweep(hostile_inside(), objective)
    assert [method.chosen.rate for method in methods] == [0.01, 0.01]
    lines = solver_lines(methods)
    assert yaml.safe_load("\n".join(lines)) == {"solver": ["AdamW[learning_rate=0.01]", "SGD[learning_rate=0.01]"]}


@pytest.mark.parametrize("name", ["both parts", "hostile text", "hostile inside", "hostile data set"])
def test_benchopt_finds_the_data_of_both_plots_on_its_page(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # temp_benchmark makes its folder here
    plots = {path.name: path.read_text() for path in (FOLDER / "plots").glob("*.py")}
    config, claims = (FOLDER / "config.yml").read_text(), {"claims.toml": (FOLDER / "claims.toml").read_text()}
    with temp_benchmark(plots=plots, config=config, extra_files=claims) as benchmark:
        folder = benchmark.get_output_folder()
        folder.mkdir(parents=True, exist_ok=True)
        to_parquet(FRAMES[name], folder / "run.parquet")
        plot_benchmark(folder / "run.parquet", benchmark, display=False)
        page = (folder / f"{benchmark.name}_run.html").read_text()
    assert "<img src=x" not in page
    assert "alert(1)</script>" not in page
    data = json.loads(re.search(r"window\._plots = (.*);\n", page)[1], parse_constant=pytest.fail)
    for kind in ("learning_rates", "chosen_rates"):
        chosen = [
            re.search(rf'id="change_{kind}_{option}".*?<option value="([^"]*)"', page, flags=re.DOTALL)[1]
            for option in PLOTS[kind].options
        ]
        assert "_".join([kind, *chosen]) in data[kind]


# ----- the table and the command -----


def test_the_table_has_method_grid_choice_losses_and_flags():
    losses = {0.001: {DIGITS: 0.1, DOCS: 3.0}, 0.01: {DIGITS: 0.4, DOCS: 0.7}, 0.1: {DIGITS: BAD, DOCS: 0.5}}
    rows = rows_of({ADAMW: losses})
    methods = sweep(rows, TUNING)
    assert columns(methods) == ["method", "learning rates", "chosen", "loss on digits", "loss on python_docs", "flags"]
    flagged = "not eligible: 0.1 (1 diverged)"
    expected = [ADAMW, "0.001, 0.01, 0.1", "0.01", "0.400 n/a", "0.700 n/a", flagged]
    assert format_method(methods[0], methods) == expected
    assert "n = 1" in protocol(methods)
    plot = PLOTS["chosen_rates"]()
    ((name, *_, shown, note),) = plot.plot(rows, TUNING)
    assert (name.replace("\\", ""), shown, note) == (ADAMW, flagged, "no finite loss at 0.1")
    assert len(plot.get_metadata(rows, TUNING)["columns"]) == 7


def test_the_command_prints_the_table_and_then_lines_to_paste(tmp_path, capsys):
    rows = rows_of(
        {
            ADAMW: {rate: {DIGITS: 0.1 if rate == 0.01 else 0.2} for rate in RATES},
            MUON: {rate: {DIGITS: 0.1 if rate == 0.001 else 0.2} for rate in RATES},
            TURBO: {rate: {DIGITS: 0.1 if rate == 0.1 else 0.2} for rate in RATES},
            SGD: {rate: {DIGITS: BAD} for rate in RATES},
        }
    )
    rows.to_parquet(tmp_path / "run.parquet")
    assert main([str(tmp_path / "run.parquet"), "--learning-rates"]) == 0
    table, pasted = capsys.readouterr().out.split("\nsolver:")
    assert f"\n{TUNING}\n" in table
    assert "! SGD: no finite loss at 0.001" in table
    assert table.count(AT_THE_EDGE) == 2
    assert yaml.safe_load("solver:" + pasted) == {
        "solver": [
            "AdamW[learning_rate=0.01]",
            "Turbo-Muon[learning_rate=0.001,orthogonaliser=muon]",
            "Turbo-Muon[learning_rate=0.1,orthogonaliser=turbo_muon]",
        ]
    }
    assert '  - "AdamW[learning_rate=0.01]"\n' in pasted
    assert f"  # {SGD}: no choice: every rate has failed cells" in pasted
    with pytest.raises(SystemExit):
        main([str(tmp_path / "run.parquet"), "--learning-rates", "--claims"])


def test_pasted_lines_select_the_chosen_configurations_of_the_real_solvers():
    benchmark = Benchmark(FOLDER)
    classes = [each for each in benchmark.get_solvers() if each.is_installed()]
    names = {
        each._get_parametrized_name(**{**parameters, "learning_rate": rate})
        for each in classes
        for parameters in product_param(each.parameters)
        if "learning_rate" in parameters
        for rate in (1e-05, 0.003, 1.0)
    }
    losses = {}
    for name in names:
        method, rate = method_and_rate(name)
        loss = 0.1 if rate == sorted((1e-05, 0.003, 1.0))[len(method) % 3] else 0.2
        losses.setdefault(method, {})[rate] = {DIGITS: loss}
    methods = sweep(rows_of(losses), TUNING)
    assert {"AdamW", "SGD", "Turbo-Muon", "torch.optim.Muon"} <= {each.name.split("[")[0] for each in methods}

    lines = yaml.safe_load("\n".join(solver_lines(methods)))["solver"]
    assert len(lines) == len(methods)
    for line, method in zip(lines, methods, strict=True):
        ((matched, parameters),) = benchmark.check_solver_patterns([line])
        (configuration,) = product_param(parameters)
        assert matched._get_parametrized_name(**configuration) == method.chosen.solver


def test_a_method_whose_value_says_nothing_is_tuned_by_what_its_benchmark_names(monkeypatch):
    """A network without constraints certifies nothing at any rate."""
    frame = rows_of({SGD: {rate: {DIGITS: 1.0} for rate in RATES}, ADAMW: {0.001: {DIGITS: 0.5}, 0.01: {DIGITS: 0.6}}})
    accuracies = dict(zip(RATES, (0.5, 0.9, 0.7), strict=True))
    for rate, accuracy in accuracies.items():
        frame.loc[frame["solver_name"] == solver(SGD, rate), "objective_held_out_accuracy"] = accuracy
    told = replace(BENCHMARKS["benchmark_muon"], tuned={"SGD": "1 - held_out_accuracy"})
    monkeypatch.setattr("orthobench.report.sweep.recognise", lambda frame: told)
    adamw, sgd = sweep(frame, TUNING)
    assert (adamw.chosen.rate, sgd.chosen.rate) == (0.001, 0.01)
    assert [rate.outcomes[DIGITS].mean for rate in sgd.rates] == pytest.approx([0.5, 0.1, 0.3])
    assert "chosen by 1 - held_out_accuracy" in sgd.flags
    assert not any("chosen by" in flag for flag in adamw.flags)
