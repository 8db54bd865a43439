"""The plots of `benchmark_lipschitz`: what they hand to Benchopt, and the page that Benchopt makes of it."""

import json
import math
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import yaml
from benchopt.plotting import plot_benchmark
from benchopt.plotting.generate_matplotlib import get_plot_figure
from benchopt.plotting.helpers import reset_solver_styles, update_plot_data_style
from benchopt.results.parquet import to_parquet
from benchopt.utils.temp_benchmark import temp_benchmark
from made_up import (
    AOC,
    BCOP,
    CAYLEY,
    COOL,
    LARGER_BATCH,
    ONE_CLASS,
    PLAIN,
    ROBUSTNESS,
    SHAPES,
    WARM,
    fail,
    robustness_frame,
)
from made_up_explanations import explanations_frame
from test_report_plots import HOSTILE, ROOT, hostile_frame, plot_classes
from test_report_training_plots import assert_plain

from orthobench.report.robustness import overhead_menu

FOLDER = ROOT / "benchmark_lipschitz"
PLOTS = plot_classes(FOLDER / "plots")
STAR, CROSS = 17, 4


@pytest.fixture(autouse=True)
def _same_styles_in_every_test():
    reset_solver_styles()


def few(**columns):
    return robustness_frame(seeds=2, solvers=(PLAIN, CAYLEY, AOC)).assign(**columns)


def failures():
    rows = robustness_frame(seeds=3, datasets=[SHAPES, LARGER_BATCH])
    rows = fail(fail(rows, BCOP, range(3), "timeout"), AOC, [1], "diverged")
    return fail(rows, PLAIN, [0], "refuted")


def all_failed():
    """What is left if every cell failed before its first evaluation: the columns of a failure alone."""
    rows = few()
    rows = rows[rows["stop_val"] == 0]
    for solver in (PLAIN, CAYLEY, AOC):
        rows = fail(rows, solver, range(2), "error")
    kept = ("objective_name", "objective_value", "objective_status", "objective_message", "objective_env_device")
    return rows[[name for name in rows if not name.startswith("objective_") or name in kept]]


def hostile_inside():
    """Names that are hostile where the report takes them apart."""
    rows = robustness_frame(seeds=1, datasets=[SHAPES, LARGER_BATCH])
    for column, word in (("dataset_name", "small"), ("objective_name", "held_out"), ("solver_name", "cross_entropy")):
        rows[column] = rows[column].str.replace(word, HOSTILE, regex=False)
    return rows


FRAMES = {
    "ordinary": robustness_frame(
        seeds=3,
        solvers=(PLAIN, CAYLEY, COOL, WARM),
        datasets=[SHAPES, LARGER_BATCH],
        objectives=[ROBUSTNESS, ONE_CLASS],
    ),
    "failures": failures(),
    "one seed": robustness_frame(seeds=1),
    "one point": few()[lambda rows: rows["stop_val"] == 0],
    "all failed": all_failed(),
    "no attack": few(objective_attacked_accuracy=np.nan),
    "no times": few().drop(columns=["objective_step_time_ms", "objective_inference_time_ms"]),
    "zero times": few(objective_step_time_ms=0.0),
    "no batch size": few(dataset_name="digits"),
    "whole numbers": few(objective_accuracy=1).astype({"stop_val": "int32", "idx_rep": "int32"}),
    "hostile text": hostile_frame(failures()),
    "hostile inside": hostile_inside(),
}


@pytest.mark.parametrize("rows", FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize("name", PLOTS)
def test_plots_give_plain_json_for_any_frame(name, rows):
    plot = PLOTS[name]()
    plot._check()
    data, menus = plot._get_all_plots(rows)
    assert len(data) == math.prod(map(len, menus.values())) >= 1
    styled = update_plot_data_style({name: data})  # colours as text
    assert_plain(styled)
    text = json.dumps(styled, allow_nan=False)
    assert not set("<>&") & set(text.replace("<br />", ""))


@pytest.mark.filterwarnings("ignore::UserWarning")  # a crowded layout
@pytest.mark.parametrize("kind", ["certified_by_radius", "accuracy_robustness", "cost", "step_overhead"])
def test_figures_can_be_drawn_by_matplotlib_too(kind, tmp_path):
    data, _ = PLOTS[kind]()._get_all_plots(FRAMES["failures"])
    for key, each in list(data.items())[:2]:
        (figure,) = get_plot_figure(update_plot_data_style({"x": {key: each}}, plotly=False)["x"], tmp_path)
        assert len(figure.axes[0].lines) == len(each["data"])
        plt.close(figure)


def test_a_solver_has_one_colour_in_all_figures():
    colours = {}
    for kind in ("certified_by_radius", "cost", "step_overhead"):
        data, _ = PLOTS[kind]()._get_all_plots(FRAMES["failures"])
        for each in data.values():
            for trace in each["data"]:
                if trace["label"] != "Plain: 1":
                    colours.setdefault(re.match(r"\w+", trace["label"])[0], set()).add(trace["color"])
    assert set(colours) == {"Plain", "Cayley", "BCOP", "AOC"}
    assert {len(found) for found in colours.values()} == {1}
    assert len(set.union(*colours.values())) == 4


def test_only_failures_are_crosses_and_only_attacks_are_stars():
    data, _ = PLOTS["certified_by_radius"]()._get_all_plots(FRAMES["failures"])
    traces = [trace for each in data.values() for trace in each["data"]]
    assert {trace["label"] for trace in traces if trace["marker"] == STAR} == {
        f"{name}: attacked" for name in ("Plain", "Cayley", "AOC")
    }
    crosses = {trace["label"] for trace in traces if trace["marker"] == CROSS}
    assert len(crosses) == 3
    assert all("of 3 seeds" in label for label in crosses)


def test_a_frame_of_failures_alone_shows_them():
    tables, menus = PLOTS["leaderboard"]()._get_all_plots(FRAMES["all failed"])
    assert menus["metric"] == ["value"]
    (table,) = tables.values()
    assert {row[0] for row in table["data"]} == {"failed"}
    for kind in ("certified_by_radius", "accuracy_robustness", "cost"):
        data, _ = PLOTS[kind]()._get_all_plots(FRAMES["all failed"])
        assert {trace["marker"] for each in data.values() for trace in each["data"]} == {CROSS}


def test_axes_say_which_way_is_better():
    rows = FRAMES["ordinary"]
    told = {kind: PLOTS[kind]() for kind in ("certified_by_radius", "accuracy_robustness", "cost", "step_overhead")}
    assert told["certified_by_radius"].get_metadata(rows, SHAPES, ONE_CLASS)["ylabel"].startswith("certified AUROC")
    loss = told["accuracy_robustness"].get_metadata(rows, SHAPES, ROBUSTNESS)
    assert (loss["xlabel"], loss["ylabel"]) == (
        "accuracy (higher is better)",
        "certified accuracy at 36/255 (higher is better)",
    )
    assert told["cost"].get_metadata(rows, SHAPES, ROBUSTNESS, "parameters")["xlabel"] == (
        "trained parameters (lower is better)"
    )
    (name,) = overhead_menu(rows)
    assert "that of Plain" in told["step_overhead"].get_metadata(rows, name, ROBUSTNESS, "step_time_ms")["ylabel"]


def test_no_name_of_a_plot_begins_with_another():
    """The page finds a plot's menus by how their names begin."""
    assert not [(one, other) for one in PLOTS for other in PLOTS if one != other and other.startswith(one)]


# ----- the page -----


@pytest.mark.parametrize("name", ["ordinary", "all failed", "hostile text"])
def test_benchopt_makes_a_page_with_our_plots_first(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # temp_benchmark makes its folder here
    plots = {path.name: path.read_text() for path in (FOLDER / "plots").glob("*.py")}
    config, claims = (FOLDER / "config.yml").read_text(), {"claims.toml": (FOLDER / "claims.toml").read_text()}
    with temp_benchmark(plots=plots, config=config, extra_files=claims) as benchmark:
        folder = benchmark.get_output_folder()
        folder.mkdir(parents=True, exist_ok=True)
        to_parquet(FRAMES[name], folder / "run.parquet")
        plot_benchmark(folder / "run.parquet", benchmark, display=False)
        page = (folder / f"{benchmark.name}_run.html").read_text()

    menu = re.search(r'<select id="plot_kind".*?</select>', page, flags=re.DOTALL)[0]
    names = yaml.safe_load(config)["plots"]
    assert sorted(PLOTS) == sorted(names) == re.findall(r'<option value="(\w+)"', menu)
    views = re.findall(r'onclick="setConfig\(this\)"[^>]*>([^<]*)<', page)
    assert views[:2] == ["Certified accuracy against radius", "Leaderboard"]
    data = json.loads(re.search(r"window\._plots = (.*);\n", page)[1], parse_constant=pytest.fail)
    assert sorted(data) == sorted(names)
    assert "<img src=x" not in page
    assert "alert(1)</script>" not in page
    # The key that the page builds from its menus, as the browser reads them, is that of the data.
    for kind, plot in PLOTS.items():
        chosen = [
            re.search(rf'id="change_{kind}_{option}".*?<option value="([^"]*)"', page, flags=re.DOTALL)[1]
            for option in plot.options
        ]
        assert "_".join([kind, *chosen]) in data[kind]


def test_first_views_choose_what_their_plots_offer():
    config = yaml.safe_load((FOLDER / "config.yml").read_text())
    rows = pd.concat([FRAMES["ordinary"], explanations_frame(seeds=1)], ignore_index=True)
    for view in config["plot_configs"].values():
        kind = view["plot_kind"]
        menus = {key: values(rows) if callable(values) else values for key, values in PLOTS[kind].options.items()}
        chosen = {key.removeprefix(f"{kind}_"): value for key, value in view.items() if key.startswith(f"{kind}_")}
        assert all(value in menus[key] for key, value in chosen.items()), view
        if "scale" in view:
            first = {key: next(iter(values)) for key, values in menus.items()} | chosen
            assert view["scale"] == PLOTS[kind]().get_metadata(rows, **first)["scale"]
    assert {view["plot_kind"] for view in config["plot_configs"].values()} == set(PLOTS)


def test_every_solver_is_in_the_leaderboard_of_an_ordinary_result():
    for metric in ("certified_accuracy_36", "certified_auroc_36", "lipschitz_claimed"):
        table = PLOTS["leaderboard"]().plot(FRAMES["ordinary"], SHAPES, ROBUSTNESS, metric)
        shown = {cell.replace("\\", "") for row in table for cell in row[:2]}
        assert {PLAIN, CAYLEY, COOL, WARM} <= shown
