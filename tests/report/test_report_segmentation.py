"""The report on rows of `benchmark_segmentation`: the figures, the pictures, the plots, the claims."""

import base64
import io
import json
import math
import re
import tomllib
import zlib

import matplotlib.pyplot as plt
import numpy as np
import pytest
import yaml
from benchopt.plotting import plot_benchmark
from benchopt.plotting.generate_matplotlib import get_plot_figure
from benchopt.plotting.helpers import reset_solver_styles, update_plot_data_style
from benchopt.results.parquet import to_parquet
from benchopt.utils.temp_benchmark import temp_benchmark
from made_up import fail
from made_up_segmentation import AOC, CAYLEY, CONSTANT, PICTURE, PLAIN, RADII, SCENES, SEGMENTATION, SMOOTHING, SOLVERS
from made_up_segmentation import segmentation_frame as rows_of
from matplotlib.image import imread, imsave
from test_report_plots import HOSTILE, ROOT, hostile_frame, plot_classes
from test_report_training_plots import assert_plain

from orthobench.report import benchmarks, pictures, segmentation
from orthobench.report.claims import check_claims, load_claims
from orthobench.report.leaderboard import leaderboard
from orthobench.report.plausible import implausible
from orthobench.report.site import benchopt_pages
from orthobench.report.site.plots import configuration, draw_all
from orthobench.report.statistics import median_interval

FOLDER = ROOT / "benchmark_segmentation"
BENCHMARK = benchmarks.BENCHMARKS["benchmark_segmentation"]
REAL = FOLDER / "claims.toml"
PLOTS = plot_classes(FOLDER / "plots")
STAR, CROSS = 17, 4


@pytest.fixture(autouse=True)
def _same_styles_in_every_test():
    reset_solver_styles()


def last(rows, solver, column):
    """Last values of a solver, by seed."""
    own = rows[(rows["solver_name"] == solver) & (rows["stop_val"] == 200)]
    return own.set_index("idx_rep")[f"objective_{column}"]


def of_kind(traces, kind, solver=None):
    return [trace for trace in traces if trace.kind == kind and solver in (None, trace.solver)]


# ----- the rows -----


def test_rows_are_recognised_possible_and_on_a_board_of_each_metric():
    rows = fail(rows_of(seeds=3), CAYLEY, [1], "refuted")
    assert benchmarks.recognise(rows) is BENCHMARK
    assert implausible(rows, BENCHMARK) == []
    for metric in BENCHMARK.leaderboards:
        board = {each.solver: each for each in leaderboard(rows, SCENES, SEGMENTATION, metric, BENCHMARK.baseline)}
        assert set(board) == set(SOLVERS)
        assert dict(board[CAYLEY].failures) == {"refuted": 1}
        without = metric.startswith(("lipschitz", "radius")) or metric.endswith(("_128", "_255"))
        assert (board[SMOOTHING].rank == "n/a") == without
    assert BENCHMARK.range_of("value") == (0, 1)


# ----- against radius -----


def test_how_many_pixels_is_a_curve_which_ones_a_dashed_line_and_the_attack_a_star_that_tells_its_gap():
    rows = rows_of()
    traces = segmentation.pixel_traces(rows, SCENES, SEGMENTATION)
    (curve,), (star,) = of_kind(traces, "curve", AOC), of_kind(traces, "attacked", AOC)
    (which,) = of_kind(traces, "dashed", AOC)
    assert curve.x == which.x == [0.0, *map(float, RADII)]
    columns = ["pixel_accuracy", *(f"certified_pixel_accuracy_{radius}" for radius in RADII)]
    for place, column in enumerate(columns):
        expected = median_interval(last(rows, AOC, column))
        found = curve.y[place], curve.y_low[place], curve.y_high[place]
        assert found == (expected.estimate, expected.low, expected.high)
    assert which.y[1:] == [last(rows, AOC, f"which_pixels_{radius}").median() for radius in RADII]
    assert all(one <= many for one, many in zip(which.y, curve.y, strict=True))
    assert (star.x, star.y) == ([36], [last(rows, AOC, "attacked_pixel_accuracy").median()])
    gap = last(rows, AOC, "attack_gap").median()
    assert star.label == f"AOC: attacked, {gap:.4f} above what is certified"
    assert (curve.label, which.label) == ("AOC", "AOC: which pixels")


def test_smoothing_ends_where_its_samples_certify_nothing():
    traces = segmentation.pixel_traces(rows_of(seeds=2), SCENES, SEGMENTATION)
    (curve,) = of_kind(traces, "curve", SMOOTHING)
    assert curve.x == [0.0, 26.0, 36.0, 43.0]


@pytest.mark.parametrize(
    ("metric", "clean", "attacked"),
    [("certified_miou", "miou", "attacked_miou"), ("certified_class_accuracy", "class_accuracy", None)],
)
def test_figures_by_class_begin_with_the_clean_one_and_have_a_star_where_it_was_attacked(metric, clean, attacked):
    rows = rows_of(seeds=3)
    traces = segmentation.class_traces(rows, SCENES, SEGMENTATION, metric)
    (curve,), stars = of_kind(traces, "curve", CAYLEY), of_kind(traces, "attacked", CAYLEY)
    columns = [clean, *(f"{metric}_{radius}" for radius in RADII)]
    assert curve.y == [last(rows, CAYLEY, column).median() for column in columns]
    assert [star.y[0] for star in stars] == ([last(rows, CAYLEY, attacked).median()] if attacked else [])
    assert all(star.label == "Cayley: attacked" for star in stars)


def test_failed_cells_are_crosses_and_no_part_of_a_curve():
    rows = fail(fail(rows_of(seeds=3), PLAIN, range(3), "refuted"), AOC, [2], "timeout")
    for traces in (
        segmentation.pixel_traces(rows, SCENES, SEGMENTATION),
        segmentation.class_traces(rows, SCENES, SEGMENTATION, "certified_miou"),
    ):
        assert sorted(trace.label for trace in of_kind(traces, "failed")) == [
            "AOC: 1 timeout of 3 seeds (drawn in the corner)",
            "Plain: 3 refuted of 3 seeds (drawn in the corner)",
        ]
        assert {trace.kind for trace in traces if trace.solver == PLAIN} == {"failed"}
        assert [trace.n for trace in of_kind(traces, "curve", AOC)] == [2]


def test_axes_say_what_is_on_them():
    assert segmentation.ylabel("certified_miou") == "certified mIoU (higher is better)"
    told = PLOTS["cost"]().get_metadata(rows_of(seeds=1), SCENES, SEGMENTATION, "forward_passes")
    assert told["xlabel"] == "forward passes an input (lower is better)"
    assert told["ylabel"] == "certified class accuracy at 36/255 (higher is better)"


def test_costs_are_drawn_against_the_headline():
    rows = rows_of(seeds=3)
    for metric in segmentation.COSTS:
        data = PLOTS["cost"]().plot(rows, SCENES, SEGMENTATION, metric)
        points = {trace["label"]: (trace["x"][0], trace["y"][0]) for trace in data if len(trace["x"]) == 1}
        assert points["Smoothing"] == (
            last(rows, SMOOTHING, metric).median(),
            last(rows, SMOOTHING, "certified_class_accuracy_36").median(),
        )


# ----- pictures -----


def png(pixels, **options):
    file = io.BytesIO()
    imsave(file, pixels, format="png", **options)
    return file.getvalue()


def text(content):
    return base64.b64encode(content).decode()


def chunk(kind, content):
    return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)


EVERY = np.arange(3 * 256, dtype=np.uint8).reshape(16, 16, 3)
GOOD = png(EVERY)
HUGE = (
    GOOD[:8] + chunk(b"IHDR", (60_000).to_bytes(4) * 2 + bytes([8, 2, 0, 0, 0])) + chunk(b"IDAT", zlib.compress(b"0"))
)


def test_pixels_survive_reading_and_writing_to_the_last_bit():
    read = pictures.read(text(GOOD))
    assert (255 * read == EVERY).all()
    styled = update_plot_data_style({"scene": {"key": {"type": "image", "title": "", "data": [{"image": read}]}}})
    for address in (pictures.source(read), styled["scene"]["key"]["data"][0]["image"]):
        kind, _, told = address.partition(",")
        assert kind == "data:image/png;base64"
        assert (np.rint(255 * imread(io.BytesIO(base64.b64decode(told)))[..., :3]) == EVERY).all()


def test_what_follows_a_picture_in_its_file_goes_nowhere():
    address = pictures.source(pictures.read(text(GOOD + HOSTILE.encode())))
    assert HOSTILE.encode() not in base64.b64decode(address.partition(",")[2])


@pytest.mark.parametrize(
    "value",
    [
        None, 1.0, math.nan, "", "no picture", HOSTILE, text(GOOD) + "<", "data:image/png;base64," + text(GOOD),
        text(GOOD[:8]), text(GOOD[:40]), text(b"GIF89a" + GOOD[6:]), text(b"<svg/>" + GOOD), text(HUGE),
        text(GOOD + bytes(1 << 20)),
    ],
    ids=range(14),
)  # fmt: skip
def test_what_is_no_picture_is_none(value):
    assert pictures.read(value) is None


def test_transparent_pixels_are_on_black_and_grey_ones_have_three_channels():
    clear = np.zeros((2, 2, 4), dtype=np.uint8)
    clear[..., 0], clear[0, :, 3] = 255, 255
    assert pictures.read(text(png(clear))).tolist() == [[[1, 0, 0]] * 2, [[0, 0, 0]] * 2]
    assert pictures.read(PICTURE).tolist() == [[[0, 0, 0], [1, 1, 1]]]


def without_pictures():
    """One solver never had a picture, one has a text in its place, one was refuted, and one has none but later."""
    rows = fail(rows_of(seeds=2, solvers=(*SOLVERS, CONSTANT)), PLAIN, [0], "refuted")
    rows.loc[rows["solver_name"] == CAYLEY, "objective_picture"] = np.nan
    rows.loc[rows["solver_name"] == SMOOTHING, "objective_picture"] = HOSTILE
    own = rows["solver_name"] == AOC
    rows.loc[own, "objective_picture"] = np.where(rows.loc[own, "idx_rep"] == 1, PICTURE, "")
    return rows


def test_each_solver_has_its_first_picture_or_says_that_there_is_none():
    found = segmentation.scenes(without_pictures(), SCENES, SEGMENTATION)
    assert [each["label"] for each in found] == [
        "AOC", "Cayley, no picture", "Constant", "Plain, refuted", "Smoothing, no picture",
    ]  # fmt: skip
    for each in found:
        there = "no picture" not in each["label"]
        assert bool(each["alt"]) == there
        assert (each["image"].shape == (250, 500, 3)) == there
    assert found[0]["alt"].startswith("AOC: the image, the classes")


def test_rows_without_the_column_have_no_picture():
    rows = rows_of(seeds=1).drop(columns="objective_picture")
    labels = [each["label"] for each in segmentation.scenes(rows, SCENES, SEGMENTATION)]
    assert len(labels) == 4
    assert all(label.endswith(", no picture") for label in labels)


def test_our_pages_have_addresses_of_pictures_and_benchopts_too():
    drawn = draw_all(FOLDER, without_pictures(), lambda label: {"color": (0, 0, 0, 1), "marker": 0})
    (scene,) = [each for each in drawn if each.name == "scene"]
    page = benchopt_pages.content(drawn, configuration(FOLDER))
    (shown,) = page.plots["scene"].values()
    assert shown["type"] == "image"
    assert "<br" not in shown["title"]
    sources = [each["image"] for each in shown["data"]]
    assert sources[0] == pictures.source(pictures.enlarged(pictures.read(PICTURE), 500))
    assert sources[1] == pictures.source(pictures.BLANK)
    assert all(re.fullmatch(r"data:image/png;base64,[A-Za-z0-9+/=]+", each) for each in sources)
    json.dumps(shown, allow_nan=False)
    assert len(scene.made) == 1


# ----- the plots -----


def all_failed():
    rows = rows_of(seeds=2)
    rows = rows[rows["stop_val"] == 0]
    for solver in SOLVERS:
        rows = fail(rows, solver, range(2), "error")
    kept = ("objective_name", "objective_value", "objective_status", "objective_message", "objective_env_device")
    return rows[[name for name in rows if not name.startswith("objective_") or name in kept]]


def hostile_inside():
    rows = rows_of(seeds=1)
    for column, word in (("dataset_name", "circular"), ("objective_name", "held_out"), ("solver_name", "entropy")):
        rows[column] = rows[column].str.replace(word, HOSTILE, regex=False)
    return rows


FRAMES = {
    "ordinary": rows_of(seeds=3),
    "failures": fail(fail(rows_of(seeds=3), CAYLEY, range(3), "timeout"), AOC, [1], "diverged"),
    "one seed": rows_of(seeds=1),
    "one point": rows_of(seeds=2)[lambda rows: rows["stop_val"] == 0],
    "all failed": all_failed(),
    "no attack": rows_of(seeds=2).assign(objective_attacked_pixel_accuracy=np.nan, objective_attack_gap=np.nan),
    "no gap": rows_of(seeds=2).drop(columns=["objective_attack_gap"]),
    "no pictures": without_pictures(),
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


@pytest.mark.filterwarnings("ignore::UserWarning")  # a crowded layout
@pytest.mark.parametrize("kind", ["pixels_by_radius", "classes_by_radius", "cost", "scene"])
def test_figures_can_be_drawn_by_matplotlib_too(kind, tmp_path):
    data, _ = PLOTS[kind]()._get_all_plots(FRAMES["no pictures"])
    key, each = next(iter(data.items()))
    (figure,) = get_plot_figure(update_plot_data_style({"x": {key: each}}, plotly=False)["x"], tmp_path)
    drawn = len(figure.axes[0].lines) if kind != "scene" else sum(len(axes.images) for axes in figure.axes)
    assert drawn == len(each["data"])
    plt.close(figure)


def test_only_failures_are_crosses_and_only_attacks_are_stars():
    data, _ = PLOTS["pixels_by_radius"]()._get_all_plots(FRAMES["failures"])
    marks = {}
    for trace in (trace for each in data.values() for trace in each["data"]):
        marks.setdefault(trace["marker"], set()).add(re.sub(r", 0.*", "", trace["label"]))
    assert marks[STAR] == {"AOC: attacked", "Plain: attacked", "Smoothing: attacked"}
    assert {label.partition(":")[0] for label in marks[CROSS]} == {"AOC", "Cayley"}


def test_a_frame_of_failures_alone_shows_them():
    for kind in ("pixels_by_radius", "classes_by_radius", "cost"):
        data, _ = PLOTS[kind]()._get_all_plots(FRAMES["all failed"])
        assert {trace["marker"] for each in data.values() for trace in each["data"]} == {CROSS}
    ((scene,), _) = (list(each) for each in PLOTS["scene"]()._get_all_plots(FRAMES["all failed"]))
    assert scene.startswith("scene_")
    labels = [each["label"] for each in PLOTS["scene"]().plot(FRAMES["all failed"], SCENES, SEGMENTATION)]
    assert labels == [f"{name}, error, no picture" for name in ("AOC", "Cayley", "Plain", "Smoothing")]


def test_no_name_of_a_plot_begins_with_another():
    """The page finds a plot's menus by how their names begin."""
    assert not [(one, other) for one in PLOTS for other in PLOTS if one != other and other.startswith(one)]


@pytest.mark.parametrize("name", ["ordinary", "all failed", "hostile text"])
def test_benchopt_makes_a_page_with_our_plots_first(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # temp_benchmark makes its folder here
    plots = {path.name: path.read_text() for path in (FOLDER / "plots").glob("*.py")}
    config, claims = (FOLDER / "config.yml").read_text(), {"claims.toml": REAL.read_text()}
    with temp_benchmark(plots=plots, config=config, extra_files=claims) as benchmark:
        folder = benchmark.get_output_folder()
        folder.mkdir(parents=True, exist_ok=True)
        to_parquet(FRAMES[name], folder / "run.parquet")
        plot_benchmark(folder / "run.parquet", benchmark, display=False)
        page = (folder / f"{benchmark.name}_run.html").read_text()
    names = yaml.safe_load(config)["plots"]
    assert sorted(PLOTS) == sorted(names)
    views = re.findall(r'onclick="setConfig\(this\)"[^>]*>([^<]*)<', page)
    assert views[:3] == ["Certified pixel accuracy against radius", "Leaderboard", "A scene"]
    data = json.loads(re.search(r"window\._plots = (.*);\n", page)[1], parse_constant=pytest.fail)
    assert sorted(data) == sorted(names)
    assert "<img src=x" not in page
    assert "alert(1)</script>" not in page
    (scene,) = data["scene"].values()
    assert all(each["image"].startswith("data:image/png;base64,") for each in scene["data"])


def test_first_views_choose_what_their_plots_offer():
    config, rows = yaml.safe_load((FOLDER / "config.yml").read_text()), FRAMES["ordinary"]
    for view in config["plot_configs"].values():
        kind = view["plot_kind"]
        menus = {key: values(rows) if callable(values) else values for key, values in PLOTS[kind].options.items()}
        chosen = {key.removeprefix(f"{kind}_"): value for key, value in view.items() if key.startswith(f"{kind}_")}
        assert all(value in menus[key] for key, value in chosen.items()), view
        if "scale" in view:
            first = {key: next(iter(values)) for key, values in menus.items()} | chosen
            assert view["scale"] == PLOTS[kind]().get_metadata(rows, **first)["scale"]
    assert {view["plot_kind"] for view in config["plot_configs"].values()} == set(PLOTS)


# ----- claims -----


def test_the_claims_use_the_names_listed_in_their_file():
    claims = load_claims(REAL)
    named = {name for claim in claims for name in (claim.query.solver, claim.query.baseline)}
    assert named == set(tomllib.loads(REAL.read_text())["solvers"])
    assert {claim.query.benchmark for claim in claims} == {"benchmark_segmentation"}


def verdicts(rows):
    return {each.claim.id: each.verdict for each in check_claims(rows, load_claims(REAL))}


def test_claims_are_judged_on_rows_that_can_say_something():
    told = verdicts(rows_of(solvers=(*SOLVERS, CONSTANT), device="cuda"))
    assert told == {
        "seg-faster": "reproduced",  # 0.4 ms against 300
        "seg-fewer-passes": "reproduced",
        "seg-comparable-certificates": "reproduced",
        "seg-robust-at-large-radius": "not run here",
        "seg-tight": "not reproduced",  # a gap of 0.07
        "seg-competitive-accuracy": "reproduced",
        "seg-tau-robustness": "not run here",
        "seg-tau-accuracy": "not run here",
    }
    slow = rows_of(device="cuda", quality=dict.fromkeys(SOLVERS, (0.2, 1.0, 2.0)))
    told = verdicts(slow)
    assert told["seg-faster"] == "not reproduced"
    assert verdicts(rows_of())["seg-faster"] == "not run here"  # on a CPU


def test_a_trade_off_and_a_large_radius_are_compared_with_the_right_variants():
    rows = rows_of(solvers=(AOC, CAYLEY, PLAIN))
    robust, accurate, smoothed = (
        AOC.replace("bjorck", "qr").replace("temperature=0.0625", "temperature=0.333"),
        AOC.replace("bjorck", "qr"),
        SMOOTHING.replace("sigma=0.25", "sigma=0.5"),
    )
    rows["solver_name"] = rows["solver_name"].replace({AOC: robust, CAYLEY: smoothed, PLAIN: accurate})
    told = verdicts(rows)
    assert told["seg-tau-robustness"] == told["seg-tau-accuracy"] == "reproduced"
    rows = rows_of(solvers=(AOC, CAYLEY)).replace({"solver_name": {CAYLEY: smoothed}})
    assert verdicts(rows)["seg-robust-at-large-radius"] == "reproduced"
