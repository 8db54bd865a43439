"""The plots of the root benchmark: what they hand to Benchopt, and the page that Benchopt makes of it."""

import importlib.util
import json
import math
import re
import sys
from collections import Counter
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import yaml
from benchopt.plotting import plot_benchmark
from benchopt.plotting.generate_matplotlib import get_plot_figure
from benchopt.plotting.helpers import reset_solver_styles, update_plot_data_style
from benchopt.results.parquet import to_parquet
from benchopt.utils.temp_benchmark import temp_benchmark
from made_up import DATASETS, STEPS, fail, root_frame
from test_report_cells import NAN, cell, every_status, frame

from orthobench.report.curves import error_traces, protocol
from orthobench.report.page import options, rank_cell, safe, shorten, table_cell

ROOT = Path(__file__).parents[2]
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=\"alert('2')\">&lt;"


def plot_classes(folder):
    """Map the name of each file of plots in a folder to its class."""
    found = {}
    for path in sorted(folder.glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"{folder.parent.name}_plot_{path.stem}", path)
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found[path.stem] = module.Plot
    return found


PLOTS = plot_classes(ROOT / "plots")
SCATTERS = [name for name, plot in PLOTS.items() if plot.type == "scatter"]


SOME = ("SVD", "Muon", "Turbo-Muon")


def traces(rows):
    return error_traces(rows, "Gaussian", "Polar factor")


@pytest.fixture(autouse=True)
def _same_styles_in_every_test():
    reset_solver_styles()


def hostile_frame(rows):
    rows = rows.copy()
    for column in ("solver_name", "dataset_name", "objective_name", "objective_message"):
        rows[column] = rows[column] + HOSTILE
    return rows


def hostile_inside():
    """Names and layers that are hostile where the report takes them apart."""
    rows = root_frame(seeds=2, solvers=SOME, datasets=[*DATASETS, "spectrum[columns=8,kind=levy,rows=8]"])
    for column, word in (("dataset_name", "transformer"), ("dataset_name", "levy"), ("objective_name", "float32")):
        rows[column] = rows[column].str.replace(word, HOSTILE, regex=False)
    rows["objective_by_matrix"] = rows["objective_by_matrix"].str.replace(
        "blocks", json.dumps(HOSTILE)[1:-1], regex=False
    )
    return rows


def all_failed():
    rows = root_frame(seeds=2)
    for solver in STEPS:
        rows = fail(rows, solver, range(3))
    return rows[rows["objective_status"] != "ok"]


FRAMES = {
    "every status": every_status(10),
    "every status, hostile text": hostile_frame(every_status(3)),
    "one seed": every_status(1),
    "one point": frame(cell("Muon", 0, [0.1])),
    "all failed": frame(*[cell(name, seed, [], "error", times=[NAN]) for name in "AB" for seed in range(3)]),
    "zeros": frame(*[cell("Muon", seed, [0.0, 0.0], times=[0.0, 0.0]) for seed in range(3)]),
    "root": fail(root_frame(), "CANS", [1, 2]),
    "root, hostile text": hostile_frame(fail(root_frame(seeds=2, solvers=SOME), "Muon", [1])),
    "root, hostile inside": hostile_inside(),
    "root, one seed": root_frame(seeds=1),
    "root, all failed": all_failed(),
    "root, no matrices": root_frame(seeds=2, solvers=SOME).drop(columns="objective_by_matrix"),
    "root, other text for matrices": root_frame(seeds=2, solvers=SOME).assign(objective_by_matrix='[{"name": "0"}, 3]'),
    "root, no figures but the error": root_frame(seeds=2, solvers=SOME)[
        [name for name in root_frame(seeds=1) if not name.endswith(("flops", "per_matrix_s", "gap", "by_matrix"))]
    ],
    "root and foreign rows": pd.concat([root_frame(seeds=2, solvers=SOME), every_status(2)]),
}


@pytest.mark.parametrize("rows", FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize("name", PLOTS)
def test_plots_give_plain_json_for_any_frame(name, rows):
    plot = PLOTS[name]()
    plot._check()
    data, menus = plot._get_all_plots(rows)
    assert len(data) == math.prod(map(len, menus.values())) >= 1
    text = json.dumps(update_plot_data_style({name: data}), allow_nan=False)
    assert not set("<>&") & set(text.replace("<br />", ""))


DRAWN = [every_status(3), *(FRAMES[name] for name in ("one point", "all failed", "zeros"))]


@pytest.mark.filterwarnings("ignore::UserWarning")  # a crowded layout, a logarithmic axis without positive values
@pytest.mark.parametrize(
    ("name", "rows"),
    [*(("error_against_time", rows) for rows in DRAWN), *((name, FRAMES["root"]) for name in SCATTERS)],
)
def test_scatter_can_be_drawn_by_matplotlib_too(name, rows, tmp_path):
    data, _ = PLOTS[name]()._get_all_plots(rows)
    key, first = next(iter(data.items()))
    (figure,) = get_plot_figure(update_plot_data_style({"x": {key: first}}, plotly=False)["x"], tmp_path)
    assert len(figure.axes[0].lines) == len(first["data"]) > 0
    plt.close(figure)


def test_the_curve_is_the_median_with_its_interval():
    curves = {trace.label: trace for trace in traces(every_status()) if trace.kind == "curve"}
    rows = every_status()
    turbo = rows[rows.solver_name == "Turbo"].groupby("stop_val")
    assert curves["Turbo"].x == pytest.approx(turbo["time"].median().tolist())
    assert curves["Turbo"].y == pytest.approx(turbo["objective_value"].median().tolist())
    by_step = [sorted(values) for _, values in turbo["objective_value"]]
    assert curves["Turbo"].y_low == [values[1] for values in by_step]  # of ten values, the second and the ninth
    assert curves["Turbo"].y_high == [values[8] for values in by_step]


def test_a_solver_with_one_point_has_visible_bars_for_error_and_time():
    rows = frame(*[cell("SVD", seed, [0.1 + seed / 10], times=[1.0 + seed]) for seed in range(10)])
    *bars, curve = traces(rows)
    assert [bar.kind for bar in bars] == ["line", "line"]
    assert {bar.label for bar in bars} == {curve.label}  # shown and hidden together
    assert (bars[0].x, bars[0].y) == ([5.5, 5.5], pytest.approx([0.2, 0.9]))
    assert (bars[1].x, bars[1].y) == ([2.0, 9.0], pytest.approx([0.55, 0.55]))


def test_a_cell_that_stops_early_counts_all_along_the_curve():
    rows = frame(*[cell("Muon", seed, [0.9, 0.5, 0.1][: 2 + seed % 2]) for seed in range(4)])
    (curve,) = [trace for trace in traces(rows) if trace.kind == "curve"]
    assert curve.n == 4
    assert curve.y == pytest.approx([0.9, 0.5, 0.3])
    assert "n = 4" in protocol([curve])


def test_failed_cells_move_no_curve():
    good = [cell("Muon", seed, [0.5, 0.1]) for seed in range(4)]
    bad = cell("Muon", 4, [1e-6, 1e-7], "diverged")
    assert [t for t in traces(frame(*good, bad)) if t.label == "Muon"] == traces(frame(*good))


def test_each_failed_cell_has_a_cross_where_it_failed_and_says_why():
    rows = frame(
        *[cell("Muon", seed, [0.5, 0.1], "diverged", times=[1.0, 2.0, 3.0 + seed]) for seed in range(2)],
        cell("Muon", 2, [], "out_of_memory", times=[0.0]),
        cell("Muon", 3, [0.5, 0.1]),
    )
    crosses = [trace for trace in traces(rows) if trace.kind == "failed"]
    assert [(cross.label, cross.x, cross.y) for cross in crosses] == [
        ("Muon: diverged, 2 of 4 seeds", [3.0], [0.1]),
        ("Muon: diverged, 2 of 4 seeds", [4.0], [0.1]),
        ("Muon: out of memory, 1 of 4 seeds (no value: drawn at the top)", [pytest.approx(1.06e-3)], [0.5]),
    ]


def test_only_failures_are_drawn_as_crosses():
    rows = frame(*[cell(f"solver {i}", 0, [0.1]) for i in range(45)], cell("bad", 0, [], "error"))
    plot = PLOTS["error_against_time"]()
    drawn = plot.plot(rows, "Gaussian", "Polar factor", "relative_error")
    crosses = {4, 104, 204, 304, 3, 103, 203, 303}  # Plotly's "x" and "cross"
    assert {trace["label"] for trace in drawn if trace["marker"] in crosses} == {
        "bad: error, 1 of 1 seeds (no value: drawn at the top)"
    }


def test_menus_show_safe_names_that_lead_back_to_the_data():
    look_alike = "a\u2039b"
    rows = frame(
        cell("Muon", 0, [0.1], dataset="a<b"),
        cell("Muon", 0, [0.2], dataset="plain"),
        cell("Muon", 0, [0.3], dataset=look_alike),
    )
    assert options(rows, "dataset_name") == {look_alike: "a<b", "plain": "plain", f"{look_alike} (2)": look_alike}
    plot = PLOTS["leaderboard"]()
    means = [plot.plot(rows, name, "Polar factor", "relative_error")[0][2] for name in options(rows, "dataset_name")]
    assert means == ["0*.*100", "0*.*200", "0*.*300"]


def test_safe_text_is_one_line_without_markup_and_plain_text_stays():
    assert safe("Muon[steps=3, a_b=0.1]") == "Muon[steps=3, a_b=0.1]"
    assert not set(safe(HOSTILE + "\n\x1b[31m\u2028`")) & set("<>&\"'`\n\x1b\u2028")
    assert shorten("x" * 100) == "x" * 79 + "…"
    assert shorten("short") == "short"


def test_table_cells_keep_their_digits_and_show_names_as_they_are():
    assert table_cell("1.50e-8") == "1*.*50e-8"
    assert table_cell("10") == "10"
    assert table_cell("__init__ *x*") == r"\_\_init\_\_ \*x\*"
    ranks = ["10", "2-3", "1†", "failed"]
    assert sorted(ranks, key=lambda rank: rank_cell(rank, width=2).replace("\u2007", " ")) == [
        "1†",
        "2-3",
        "10",
        "failed",
    ]


def test_the_table_is_that_of_the_leaderboard():
    plot = PLOTS["leaderboard"]()
    arguments = every_status(), "Gaussian", "Polar factor", "relative_error"
    table, metadata = plot.plot(*arguments), plot.get_metadata(*arguments)
    assert {len(row) for row in table} == {len(metadata["columns"])}
    assert [row[1] for row in table] == ["SVD", "Muon[steps=3]", "Turbo", "Diverges", "Slow", "Big", "Cheat", "Never"]
    assert metadata["columns"][metadata["default_order_column"]].strip() == "mean"
    title = metadata["title"].splitlines()
    assert title[:2] == ["Polar factor", "Gaussian"]
    for rule in ("relative error", "n = 5 to 10", "95 %", "Holm", "n ≥ 8", "Muon[steps=3]"):
        assert rule in title[2]


PAGES = ("every status, hostile text", "root", "root, hostile text", "root, hostile inside")


@pytest.mark.parametrize("rows", [FRAMES[name] for name in PAGES], ids=PAGES)
def test_benchopt_makes_a_page_with_our_plots_first(rows, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # temp_benchmark makes its folder here
    plots = {path.name: path.read_text() for path in (ROOT / "plots").glob("*.py")}
    config, claims = (ROOT / "config.yml").read_text(), {"claims.toml": (ROOT / "claims.toml").read_text()}
    with temp_benchmark(plots=plots, config=config, extra_files=claims) as benchmark:
        folder = benchmark.get_output_folder()
        folder.mkdir(parents=True, exist_ok=True)
        to_parquet(rows, folder / "run.parquet")
        plot_benchmark(folder / "run.parquet", benchmark, display=False)
        page = (folder / f"{benchmark.name}_run.html").read_text()

    menu = re.search(r'<select id="plot_kind".*?</select>', page, flags=re.DOTALL)[0]
    names = yaml.safe_load(config)["plots"]
    assert sorted(PLOTS) == sorted(names) == re.findall(r'<option value="(\w+)"', menu)
    views = re.findall(r'onclick="setConfig\(this\)"[^>]*>([^<]*)<', page)
    assert views[:3] == ["Error against time", "Leaderboard", "Claims"]
    data = json.loads(re.search(r"window\._plots = (.*);\n", page)[1], parse_constant=pytest.fail)
    assert sorted(data) == sorted(names)
    assert "<img src=x" not in page
    assert "alert(1)</script>" not in page
    # The key that the page builds from its menus, as the browser reads them, is that of the data.
    for name, plot in PLOTS.items():
        chosen = [
            re.search(rf'id="change_{name}_{option}".*?<option value="([^"]*)"', page, flags=re.DOTALL)[1]
            for option in plot.options
        ]
        assert "_".join([name, *chosen]) in data[name]


def test_first_views_choose_what_their_plots_offer():
    config = yaml.safe_load((ROOT / "config.yml").read_text())
    for view in config["plot_configs"].values():
        kind = view["plot_kind"]
        offered = PLOTS[kind].options.items()
        menus = {key: values(FRAMES["root"]) if callable(values) else values for key, values in offered}
        chosen = {key.removeprefix(f"{kind}_"): value for key, value in view.items() if key.startswith(f"{kind}_")}
        assert all(value in menus[key] for key, value in chosen.items()), view
    assert {view["plot_kind"] for view in config["plot_configs"].values()} == set(PLOTS)


def test_a_mistake_in_the_claims_is_shown_and_does_not_cost_the_page(tmp_path, monkeypatch):
    broken = tmp_path / "claims.toml"
    monkeypatch.setattr("orthobench.report.plots.ROOT", tmp_path)
    data, menus = PLOTS["claims"]()._get_all_plots(root_frame(seeds=1))
    assert menus == {"claim": ["all"]}
    assert data["claims_all"]["data"] == []
    assert data["claims_all"]["title"].startswith(f"error: {broken}: no such file")


def test_the_table_of_claims_has_a_row_a_claim_and_a_table_for_each():
    data, menus = PLOTS["claims"]()._get_all_plots(FRAMES["root"])
    table = data["claims_all"]
    counted = Counter(row[0] for row in table["data"])
    assert counted["inconclusive"] >= 1
    told = ", ".join(f"{counted[each]} {each}" for each in ("reproduced", "not reproduced", "inconclusive"))
    assert f"{counted.total()} claims: {told}" in table["title"]
    assert len(table["data"]) == len(menus["claim"]) - 1 >= 7
    assert {len(row) for row in table["data"]} == {len(table["columns"])}
    one = data["claims_turbo-muon-as-good-as-muon"]
    assert len(one["data"]) == len(DATASETS)
    assert {len(row) for row in one["data"]} == {len(one["columns"])}
    assert "Holm" in one["title"]
