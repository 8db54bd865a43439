"""The plots of `benchmark_muon`: what they hand to Benchopt, and the page that Benchopt makes of it."""

import json
import math
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
import yaml
from benchopt.plotting import plot_benchmark
from benchopt.plotting.generate_matplotlib import get_plot_figure
from benchopt.plotting.helpers import reset_solver_styles, update_plot_data_style
from benchopt.results.parquet import to_parquet
from benchopt.utils.temp_benchmark import temp_benchmark
from made_up import ADAMW, CHAIN, DIGITS, DOCS, HALVED, SGD, TORCH_MUON, TRAINING, TURBO, fail, training_frame
from test_report_plots import HOSTILE, ROOT, hostile_frame, plot_classes
from test_report_plots import PLOTS as ROOT_PLOTS

FOLDER = ROOT / "benchmark_muon"
PLOTS = plot_classes(FOLDER / "plots")
FEW = (SGD, ADAMW, TURBO)


@pytest.fixture(autouse=True)
def _same_styles_in_every_test():
    reset_solver_styles()


def failures():
    """A solver that failed late with some seeds, one with all, and one before it had a value."""
    rows = training_frame(seeds=3, solvers=FEW, datasets=[DIGITS, CHAIN])
    rows = fail(fail(rows, TURBO, [1], "timeout"), ADAMW, range(3))
    never = (rows["solver_name"] == SGD) & (rows["idx_rep"] == 2)
    return fail(rows[~never | (rows["stop_val"] == 0)], SGD, [2], "out_of_memory")


def all_failed():
    """What is left if every cell failed before its first evaluation: the columns of a failure alone."""
    rows = training_frame(seeds=2, solvers=FEW, datasets=[DIGITS])
    rows = rows[rows["stop_val"] == 0]
    for solver in FEW:
        rows = fail(rows, solver, range(2), "error")
    kept = ("objective_name", "objective_value", "objective_status", "objective_message", "objective_env_device")
    return rows[[name for name in rows if not name.startswith("objective_") or name in kept]]


def few(**columns):
    return training_frame(seeds=2, solvers=FEW, datasets=[DIGITS]).assign(**columns)


def hostile_inside():
    """Routes and parameters that are hostile where the report takes them apart."""
    rows = few(objective_parameters_by_route=json.dumps({HOSTILE: 3}))
    for column, word in (("dataset_name", "width"), ("objective_name", "autocast"), ("solver_name", "turbo_muon")):
        rows[column] = rows[column].str.replace(word, HOSTILE, regex=False)
    return rows


FRAMES = {
    "ordinary": training_frame(seeds=8, datasets=[DIGITS, CHAIN]),
    "failures": failures(),
    "one seed": training_frame(seeds=1, solvers=FEW),
    "one point": few()[lambda rows: rows["stop_val"] == 0],
    "all failed": all_failed(),
    "no accuracy": few(objective_held_out_accuracy=np.nan),
    "no target": few(objective_target=np.nan, objective_steps_to_target=np.nan),
    "no routes": few(objective_parameters_by_route="{"),
    "columns that disagree": few(objective_steps_to_target=7.0),
    "no times": few().drop(columns=[name for name in few() if name.endswith("_time_ms")]),
    "whole numbers": few(objective_held_out_accuracy=1, objective_floor=0, objective_target=1).astype(
        {"stop_val": "int32", "idx_rep": "int32", "objective_held_out_loss": "float32"}
    ).drop(columns="objective_steps_to_target"),
    "hostile text": hostile_frame(failures()),
    "hostile inside": hostile_inside(),
}  # fmt: skip


def assert_plain(value):
    """Whether these are Python's own types alone: an ndarray breaks the whole page."""
    if type(value) in (list, tuple):
        for each in value:
            assert_plain(each)
    elif type(value) is dict:
        for key, each in value.items():
            assert_plain(key)
            assert_plain(each)
    else:
        assert type(value) in (str, int, float, bool), type(value)


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
    for each in data.values():
        if plot.type == "table":
            assert {len(row) for row in each["data"]} <= {len(each["columns"])}


@pytest.mark.filterwarnings("ignore::UserWarning")  # a crowded layout
@pytest.mark.parametrize("name", ["ordinary", "failures", "one seed", "one point", "no accuracy", "all failed"])
def test_learning_curves_can_be_drawn_by_matplotlib_too(name, tmp_path):
    data, _ = PLOTS["learning_curve"]()._get_all_plots(FRAMES[name])
    for key, each in list(data.items())[:4]:
        (figure,) = get_plot_figure(update_plot_data_style({"x": {key: each}}, plotly=False)["x"], tmp_path)
        assert len(figure.axes[0].lines) == len(each["data"])
        plt.close(figure)


def test_a_solver_has_one_colour_in_all_figures():
    data, _ = PLOTS["learning_curve"]()._get_all_plots(FRAMES["failures"])
    colours = {}
    for each in data.values():
        for trace in each["data"]:
            family = re.match(r"[\w-]+", trace["label"])[0]
            colours.setdefault(family, set()).add(trace["color"])
    assert set(colours) == {"SGD", "AdamW", "Turbo-Muon", "target", "floor"}
    assert {len(found) for found in colours.values()} == {1}
    own = [next(iter(colours[name])) for name in ("SGD", "AdamW", "Turbo-Muon", "target")]
    assert len(set(own)) == 4


def test_only_failures_are_crosses():
    data, _ = PLOTS["learning_curve"]()._get_all_plots(FRAMES["failures"])
    crosses = {trace["label"] for each in data.values() for trace in each["data"] if trace["marker"] == 4}
    assert crosses
    assert all("seeds" in label for label in crosses)


def test_the_frame_without_accuracy_has_an_empty_figure_and_a_table_of_n_a():
    curves, _ = PLOTS["learning_curve"]()._get_all_plots(FRAMES["no accuracy"])
    empty = [each for key, each in curves.items() if "accuracy" in key]
    assert [each["data"] for each in empty] == [[], []]
    tables, _ = PLOTS["leaderboard"]()._get_all_plots(FRAMES["no accuracy"])
    (table,) = [each for key, each in tables.items() if "accuracy" in key]
    assert [row[0] for row in table["data"]] == ["n/a"] * 3


def test_a_frame_of_failures_alone_shows_them():
    tables, menus = PLOTS["leaderboard"]()._get_all_plots(FRAMES["all failed"])
    assert menus["metric"] == ["value"]
    (table,) = tables.values()
    assert {row[0] for row in table["data"]} == {"failed"}
    assert {row[6] for row in table["data"]} == {"2 error"}
    curves, _ = PLOTS["learning_curve"]()._get_all_plots(FRAMES["all failed"])
    assert all("no value" in trace["label"] for each in curves.values() for trace in each["data"])


def test_the_table_of_an_accuracy_is_ordered_by_rank():
    plot = PLOTS["leaderboard"]()
    for metric, column in (("held_out_accuracy", "rank"), ("held_out_loss", "mean")):
        metadata = plot.get_metadata(FRAMES["ordinary"], DIGITS, TRAINING, metric)
        assert metadata["columns"][metadata["default_order_column"]].strip() == column


def test_the_table_of_targets_shows_reached_censored_and_failed():
    plot = PLOTS["steps_to_target"]()
    table = plot.plot(FRAMES["failures"], DIGITS, TRAINING, "steps_to_target")
    assert {row[1].split("[")[0]: [row[0], row[3], *row[5:]] for row in table} == {
        "SGD": ["not reached", "0 of 3", "2", "1 out of memory", "made to fail"],
        "AdamW": ["not reached", "0 of 3", "0", "3 diverged", "made to fail"],
        "Turbo-Muon": ["60", "2 of 3", "0", "1 timeout", "made to fail"],
    }
    disagreeing = plot.get_metadata(FRAMES["columns that disagree"], DIGITS, TRAINING, "steps_to_target")
    assert disagreeing["title"].splitlines()[-1].startswith("error: AdamW[")


def test_a_mistake_in_the_claims_is_shown_and_does_not_cost_the_page(tmp_path, monkeypatch):
    broken = tmp_path / "benchmark_muon" / "claims.toml"
    monkeypatch.setattr("orthobench.report.plots.ROOT", tmp_path)
    data, menus = PLOTS["claims"]()._get_all_plots(few())
    assert menus == {"claim": ["all"]}
    assert data["claims_all"]["title"].startswith(f"error: {broken}: no such file")
    assert data["claims_all"]["data"] == []


def test_rows_that_contradict_themselves_cost_no_page_of_claims():
    rows = training_frame(seeds=2, solvers=FEW, datasets=[DOCS]).assign(objective_steps_to_target=7.0)
    rows = rows.replace({"solver_name": {SGD: TORCH_MUON}})
    data, _ = PLOTS["claims"]()._get_all_plots(rows)
    assert data["claims_all"]["title"].startswith("error: ")
    assert data["claims_muon-speedrun"]["title"].startswith("error: ")
    assert data["claims_turbo-muon-quality"]["title"].startswith("On language and vision tasks")


@pytest.mark.parametrize("plots", [ROOT_PLOTS, PLOTS], ids=["root", "training"])
def test_no_name_of_a_plot_begins_with_another(plots):
    """The page finds a plot's menus by how their names begin."""
    assert not [(one, other) for one in plots for other in plots if one != other and other.startswith(one)]


# ----- the page -----


@pytest.mark.parametrize("name", ["ordinary", "all failed", "hostile text", "hostile inside"])
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
    assert views[:4] == ["Loss against steps", "Loss against time", "Leaderboard", "Steps to the target"]
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
    rows = FRAMES["ordinary"]
    for view in config["plot_configs"].values():
        kind = view["plot_kind"]
        offered = PLOTS[kind].options.items()
        menus = {key: values(rows) if callable(values) else values for key, values in offered}
        chosen = {key.removeprefix(f"{kind}_"): value for key, value in view.items() if key.startswith(f"{kind}_")}
        assert all(value in menus[key] for key, value in chosen.items()), view
        if "scale" in view:
            assert view["scale"] == PLOTS[kind]().get_metadata(rows, DIGITS, TRAINING, **chosen)["scale"]
    assert {view["plot_kind"] for view in config["plot_configs"].values()} == set(PLOTS)


def test_every_solver_is_in_every_table_of_an_ordinary_result():
    for name in ("leaderboard", "steps_to_target", "step_time", "parameters_by_route"):
        data, _ = PLOTS[name]()._get_all_plots(FRAMES["ordinary"])
        for each in data.values():
            shown = {cell.replace("\\", "") for row in each["data"] for cell in row[:2]}
            assert set(HALVED) <= shown, name
