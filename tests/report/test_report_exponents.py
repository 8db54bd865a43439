"""Exponents by layer and step: what is drawn, what is left out, and what the page says where there is nothing."""

import json
from collections import Counter
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from benchopt.plotting.base import BasePlot
from benchopt.plotting.generate_matplotlib import get_plot_figure
from benchopt.plotting.helpers import reset_solver_styles, update_plot_data_style
from made_up import ADAMW, CHAIN, DIGITS, EVALUATIONS, TRAINING, fail, noise, training_frame
from test_report_plots import HOSTILE, hostile_frame
from test_report_training_plots import PLOTS, assert_plain

from orthobench.optim.inspection import exponents as harness_exponents
from orthobench.report.exponents import COLUMN, exponent_traces, layer_styles, protocol, solver_menu, ylabel
from orthobench.report.page import safe

Plot = PLOTS["exponents"]
_OTHERS = "learning_rate=0.05,weight_decay=0.01]"
TIGHT = f"Schatten-Muon[adamw_learning_rate=0.01,exponent=tightness,{_OTHERS}"
MIX = f"Schatten-Muon[adamw_learning_rate=0.01,exponent=two_directions,{_OTHERS}"
LAYERS = ("stem.weight", "blocks.10.query", "blocks.2.query", "a.last")  # neither sorted, nor sorted backwards


def exponent(layer, seed, step):
    """A made-up exponent within (0, 1)."""
    return round(0.2 * (1 + LAYERS.index(layer)) * noise(layer, seed, step) * (1 - step / 400), 4)


def told(seed, step, layers=LAYERS):
    return json.dumps({layer: exponent(layer, seed, step) for layer in layers})


def frame(seeds=10, solvers=(TIGHT, ADAMW), datasets=(DIGITS,)):
    """Rows in which the solvers called Schatten-Muon have exponents."""
    rows = training_frame(lambda *key: 0.5 * noise(*key), seeds=seeds, solvers=solvers, datasets=datasets)
    rows[COLUMN] = [
        told(seed, step) if solver.startswith("Schatten") else ""
        for solver, seed, step in rows[["solver_name", "idx_rep", "stop_val"]].itertuples(index=False, name=None)
    ]
    return rows


def failed(rows, seeds, status="diverged", solver=TIGHT):
    """Turn the ends of cells into failures, which hold no text."""
    rows = fail(rows, solver, seeds, status)
    rows.loc[rows["objective_status"] != "ok", COLUMN] = np.nan
    return rows


def at(rows, seed, step, solver=TIGHT):
    return (rows["solver_name"] == solver) & (rows["idx_rep"] == seed) & (rows["stop_val"] == step)


def with_text(text, seed=3, step=40, **options):
    rows = frame(**options)
    return rows.assign(**{COLUMN: rows[COLUMN].astype(object).mask(at(rows, seed, step), text)})


def draw(rows, solver=TIGHT, dataset=DIGITS):
    traces, failures = exponent_traces(rows, dataset, TRAINING, solver)
    return {trace.label: trace for trace in traces if trace.kind == "curve"}, failures, traces


def page(rows):
    """Return the figures of the page by (dataset, objective, solver)."""
    plot = Plot()
    plot._check()
    return plot._get_all_plots(rows)[0]


def the_only(figures):
    (figure,) = figures.values()
    return figure


@pytest.fixture(autouse=True)
def _same_styles_in_every_test():
    reset_solver_styles()


# ----- curves -----


@pytest.mark.parametrize("seeds", [10, 4])
def test_a_curve_is_the_median_over_seeds_with_its_interval(seeds):
    curves, failures, _ = draw(frame(seeds).sample(frac=1, random_state=0))
    assert not failures
    depth = 2 if seeds == 10 else 1  # of ten values, the second and the ninth; the range below 6
    for layer in LAYERS:
        values = np.sort([[exponent(layer, seed, step) for seed in range(seeds)] for step in EVALUATIONS], axis=1)
        assert curves[layer].x == list(EVALUATIONS)
        assert curves[layer].y == pytest.approx(np.median(values, axis=1))
        assert curves[layer].y_low == pytest.approx(values[:, depth - 1])
        assert curves[layer].y_high == pytest.approx(values[:, -depth])
        assert curves[layer].n == seeds


def test_layers_come_in_the_order_of_the_model():
    rows = frame(seeds=2)
    assert list(draw(rows)[0]) == list(LAYERS)
    backwards = {text: json.dumps(dict(reversed(json.loads(text).items()))) for text in rows[COLUMN] if text}
    assert list(draw(rows.replace({COLUMN: backwards}))[0]) == list(reversed(LAYERS))
    # One row in another order is the same model.
    mixed = with_text(told(3, 40, sorted(LAYERS)), seeds=4)
    assert draw(mixed)[0] == draw(frame(seeds=4))[0]


def test_exponents_are_those_of_one_solver_on_one_data_set():
    rows = frame(seeds=3, solvers=(TIGHT, MIX, ADAMW), datasets=(DIGITS, CHAIN))
    other = rows[(rows["solver_name"] == MIX) | (rows["dataset_name"] == CHAIN)].index
    rows.loc[other, COLUMN] = json.dumps({"another": 0.9})
    assert list(draw(rows)[0]) == list(LAYERS)
    assert list(draw(rows, MIX)[0]) == list(draw(rows, TIGHT, CHAIN)[0]) == ["another"]


def test_one_seed_has_a_curve_without_interval():
    curves, _, traces = draw(frame(seeds=1))
    assert [trace.kind for trace in traces] == ["curve"] * len(LAYERS) + ["line"] * 2
    assert curves["a.last"].y == [exponent("a.last", 0, step) for step in EVALUATIONS]
    assert curves["a.last"].y_low is None
    assert "(n = 1)" in protocol(traces, Counter())


def test_sgd_and_muon_are_lines_across_of_no_solver():
    _, _, traces = draw(frame(seeds=2))
    assert [(trace.label, trace.x, trace.y) for trace in traces if trace.solver is None] == [
        ("SGD: 1", [0.0, 100.0], [1.0, 1.0]),
        ("Muon: 0", [0.0, 100.0], [0.0, 0.0]),
    ]


def test_a_point_without_exponents_begins_a_curve_later():
    rows = frame(seeds=3)
    rows.loc[(rows["stop_val"] == 0), COLUMN] = ""
    assert draw(rows)[0]["a.last"].x == list(EVALUATIONS[1:])


def test_what_the_harness_writes_is_what_is_read():
    class Optimizer:
        def exponents(self):
            return {"stem.weight": np.float64(0.123456), 1: 1.0, "mix": -1.0, "quasi-norm": -0.5}

    rows = frame(seeds=1).replace({COLUMN: {told(0, step): harness_exponents([Optimizer()]) for step in EVALUATIONS}})
    assert {label: curve.y[-1] for label, curve in draw(rows)[0].items()} == {
        "stem.weight": 0.1235,
        "1": 1.0,
        "mix": -1.0,
        "quasi-norm": -0.5,
    }
    assert draw(rows.assign(**{COLUMN: harness_exponents([object()])}))[2] == []


# ----- failures -----


def test_failed_seeds_are_left_out_and_counted():
    rows = failed(failed(frame(), [2, 5]), [7], "timeout")
    rows.loc[at(rows, 2, 20), COLUMN] = json.dumps({"of another run": 0.1})  # not even read
    rows.loc[at(rows, 5, 20), COLUMN] = "{"
    curves, failures, traces = draw(rows)
    assert failures == {"diverged": 2, "timeout": 1}
    assert curves == draw(rows[~rows["idx_rep"].isin([2, 5, 7])])[0]
    assert {trace.kind for trace in traces} == {"curve", "line"}
    assert "(n = 7)" in protocol(traces, failures)
    assert protocol(traces, failures).endswith("; left out: 3 failed cells (2 diverged, 1 timeout)")
    assert "left out" not in protocol(traces, Counter())
    assert "left out: 3 failed cells (2 diverged, 1 timeout)" in the_only(page(rows))["title"]


def test_other_solvers_failures_do_not_count():
    assert draw(failed(frame(), [1, 2], solver=ADAMW))[1] == Counter()


def test_a_solver_whose_cells_all_failed_has_an_empty_figure_that_says_so():
    figure = the_only(page(failed(frame(seeds=3), range(3), "out_of_memory")))
    assert figure["data"] == []
    assert figure["title"].endswith("no exponents: 3 out of memory")


# ----- what is no exponents -----


@pytest.mark.parametrize(
    "text",
    [
        *("{", "nothing", "[0.5]", "3", "null", 0.5, '{"a": "0.5"}', '{"a": null}', '{"a": true}', '{"a": {"b": 0}}'),
        *('{"a": NaN}', '{"a": Infinity}', '{"a": -1.01}', '{"a": 1.01}', '{"a": 1' + "0" * 400 + "}"),
    ],
)
def test_text_that_is_no_exponents_is_named_with_what_is_allowed(text):
    rows = with_text(text)
    with pytest.raises(ValueError, match="a JSON object of numbers from -1 to 1 by layer") as error:
        draw(rows)
    for part in (TIGHT, "repetition 3", DIGITS, "after 40 steps", repr(text)[1:20], "`benchopt run`"):
        assert part in str(error.value)
    assert draw(rows, ADAMW)[2] == []


def test_a_mistake_in_the_rows_is_shown_and_does_not_cost_the_page():
    figures = page(with_text("{", solvers=(TIGHT, MIX)))
    assert len(figures) == 2
    wrong, right = (next(each for key, each in figures.items() if name in key) for name in ("tightness", "two_dir"))
    assert wrong["data"] == []
    assert f"error: {TIGHT}, repetition 3" in wrong["title"]
    assert len(right["data"]) == 3 * len(LAYERS) + 2


def test_seeds_of_different_layers_are_an_error():
    rows = frame(seeds=3)
    for step in EVALUATIONS:
        rows.loc[at(rows, 1, step), COLUMN] = json.dumps({"stem.weight": 0.1, "new": 0.2})
    expected = r"different layers, a\.last, blocks\.10.*in repetition 0 alone and new in repetition 1 alone; allowed:"
    with pytest.raises(ValueError, match=expected):
        draw(rows)
    assert "error: " in the_only(page(rows))["title"]
    assert draw(failed(rows, [1]))[0]["a.last"].n == 2  # a seed that failed is none


@pytest.mark.parametrize("seed", [0, 2])
def test_a_layer_more_or_less_in_one_row_is_an_error(seed):
    less = told(seed, 40, [name for name in LAYERS if name != "blocks.2.query"])
    with pytest.raises(ValueError, match=rf"blocks\.2\.query in .* 0 alone and nothing in repetition {seed} alone"):
        draw(with_text(less, seed=seed))
    more = json.dumps({**json.loads(told(seed, 40)), "new": 0.5})
    with pytest.raises(ValueError, match=rf"nothing in repetition 0 alone and new in repetition {seed} alone"):
        draw(with_text(more, seed=seed))


def test_a_good_seed_that_tells_nothing_is_an_error():
    rows = frame(seeds=3)
    rows.loc[rows["idx_rep"] == 2, COLUMN] = ""
    with pytest.raises(ValueError, match="and nothing in repetition 2 alone"):
        draw(rows)


def test_points_that_are_there_twice_are_an_error():
    with pytest.raises(ValueError, match="the same point twice"):
        draw(pd.concat([frame(seeds=2), frame(seeds=2)]))


def test_a_foreign_frame_is_named():
    with pytest.raises(ValueError, match="not a result file of OrthoBench"):
        solver_menu(pd.DataFrame({"a": [1]}))


# ----- the page -----


def test_only_solvers_with_exponents_are_offered():
    rows = frame(seeds=2, solvers=(ADAMW, MIX, TIGHT))
    assert solver_menu(rows) == {MIX: MIX, TIGHT: TIGHT}
    assert list(solver_menu(failed(rows, [0, 1], solver=MIX))) == [MIX, TIGHT]  # of what came before it failed
    hostile = hostile_frame(rows)
    assert solver_menu(hostile) == {safe(name + HOSTILE): name + HOSTILE for name in (MIX, TIGHT)}


NOTHING = {
    "no column": frame(seeds=2).drop(columns=COLUMN),
    "no solver": frame(seeds=2, solvers=(ADAMW,)),
    "failures alone": frame(seeds=2).assign(**{COLUMN: np.nan}),
    "None": frame(seeds=2).assign(**{COLUMN: None}),
    "no rows": frame(seeds=2)[:0],
}


@pytest.mark.parametrize("rows", NOTHING.values(), ids=NOTHING)
def test_rows_without_exponents_have_an_empty_figure(rows):
    assert solver_menu(rows) == {"none": ""}
    assert draw(rows)[2] == []
    if len(rows):
        figure = the_only(page(rows))
        assert figure["data"] == []
        assert figure["title"].endswith("\nnone\nno row here tells an exponent")


def test_a_solver_without_exponents_on_a_data_set_has_an_empty_figure_there():
    rows = frame(seeds=2, datasets=(DIGITS, CHAIN))
    rows.loc[rows["dataset_name"] == CHAIN, COLUMN] = ""
    empty = {"digits" in key: not figure["data"] for key, figure in page(rows).items()}
    assert empty == {True: False, False: True}


def hostile_layers():
    rows = hostile_frame(frame(seeds=2))
    renamed = json.dumps(HOSTILE)[1:-1]
    return rows.assign(**{COLUMN: rows[COLUMN].str.replace("blocks", renamed, regex=False)})


PAGES = {
    "ordinary": frame(),
    "one seed": frame(seeds=1),
    "one point": frame(seeds=2)[lambda rows: rows["stop_val"] == 0],
    "failures": failed(frame(seeds=3, solvers=(TIGHT, MIX)), [1]),
    "whole numbers": frame(seeds=2).astype({"stop_val": "int32", "idx_rep": "int32"}).assign(
        **{COLUMN: '{"a": 1, "b": 0}'}
    ),
    "strings of pandas": frame(seeds=2).astype({COLUMN: "string"}),
    "hostile": hostile_layers(),
    "hostile and wrong": hostile_frame(frame(seeds=2).assign(**{COLUMN: HOSTILE})),
    "nothing": NOTHING["no column"],
}  # fmt: skip


@pytest.mark.parametrize("name", PAGES)
def test_figures_are_plain_json_without_markup(name):
    figures = update_plot_data_style({"exponents": page(PAGES[name])})
    assert_plain(figures)
    text = json.dumps(figures, allow_nan=False)
    assert not set("<>&") & set(text.replace("<br />", ""))
    drawn = all(each["data"] for each in figures["exponents"].values())
    assert drawn == (name not in ("nothing", "hostile and wrong"))


def test_hostile_layers_keep_their_curves():
    labels = {trace["label"] for trace in the_only(page(PAGES["hostile"]))["data"]}
    assert {label.replace(safe(HOSTILE), "blocks") for label in labels} == {*LAYERS, "SGD: 1", "Muon: 0"}


def test_layers_have_looks_of_their_own_by_depth_and_take_none_from_solvers():
    drawn = the_only(page(frame(seeds=1)))["data"]
    *layers, sgd, muon = drawn
    assert len({trace["color"] for trace in layers} | {sgd["color"]}) == len(LAYERS) + 1
    assert len({trace["marker"] for trace in layers}) == len(LAYERS)
    assert sgd["color"] == muon["color"]
    lightness = [sum(trace["color"][:3]) for trace in layers]
    assert lightness == sorted(lightness)
    assert BasePlot._label_dict == {}


def test_neighbours_among_many_layers_differ_in_their_markers():
    names = [f"blocks.{number}" for number in range(72)]
    rows = frame(seeds=1).assign(**{COLUMN: json.dumps(dict.fromkeys(names, 0.5))})
    traces = draw(rows)[2]
    assert list(layer_styles(traces)) == names
    curves = [trace for trace in Plot().plot(rows, DIGITS, TRAINING, safe(TIGHT)) if trace["label"] in names]
    assert len({(trace["color"], trace["marker"]) for trace in curves}) == 72
    assert all(one["marker"] != other["marker"] for one, other in pairwise(curves))


def test_the_axis_says_what_the_numbers_are():
    figures = page(frame(seeds=2, solvers=(TIGHT, MIX)))
    labels = {("tightness" in key): figure["ylabel"] for key, figure in figures.items()}
    assert labels == {True: "exponent e of U S^e V^T", False: "share of the gradient in the mix with its polar factor"}
    assert {(figure["xlabel"], figure["scale"]) for figure in figures.values()} == {("training steps", "linear")}
    assert ylabel("") == labels[True]


@pytest.mark.filterwarnings("ignore::UserWarning")  # a crowded layout
@pytest.mark.parametrize("name", ["ordinary", "one point", "nothing"])
def test_figures_can_be_drawn_by_matplotlib_too(name, tmp_path):
    figures = page(PAGES[name])
    (figure,) = get_plot_figure(update_plot_data_style({"x": figures}, plotly=False)["x"], tmp_path)
    assert len(figure.axes[0].lines) == len(the_only(figures)["data"])
    plt.close(figure)
