"""Plots of the site: looks, what is shown at first, what plots open on, time and error, intervals that are possible."""

import ast
import itertools
import json
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import published
import pytest
from in_stands import BEFORE, PROCESS, pooled, root_before, root_since
from made_up import (
    ADAMW,
    CAYLEY,
    DIGITS,
    DOCS,
    GAUSSIAN,
    MOMENTA,
    PLAIN,
    SGD,
    TRAINING,
    fail,
    robustness_frame,
    root_frame,
    training_frame,
)
from scipy import stats

from orthobench.report import exponents, history, page, sweep
from orthobench.report.benchmarks import BENCHMARKS, METRICS
from orthobench.report.names import family
from orthobench.report.site import comparisons, palette
from orthobench.report.site.boards import BEST, boards_of, leading
from orthobench.report.site.figures import grouped, scatter
from orthobench.report.site.plots import benchmark_plots, configuration, draw_all
from orthobench.report.site.results import Result

TUNING = TRAINING.replace("held_out", "tuning")


def result_of(frame, benchmark="."):
    return Result(BENCHMARKS[benchmark], "one", (), frame)


def plots_of(result):
    """The plots of a result by name, and its boards."""
    folder = published.ROOT / result.benchmark.folder
    own, get_style = boards_of(result), palette.style_of(palette.looks([result]))
    found = comparisons.front_plots(result, own, get_style)
    found += benchmark_plots(draw_all(folder, result.current, get_style), configuration(folder), own, get_style)
    return {plot.name: plot for plot in found + comparisons.comparison_plots(result, own, get_style)}, own


def fronts(result):
    """The plot of time and error of a result, and its boards."""
    own = boards_of(result)
    (plot,) = comparisons.front_plots(result, own, palette.style_of(palette.looks([result])))
    return plot, own


def named(count, error=lambda place: 0.1 * (1 + place), seeds=8, datasets=(GAUSSIAN,)):
    """Rows of many solvers, `s00` the best; the baseline is the worst."""
    one = root_frame(solvers=("SVD",), seeds=seeds, datasets=datasets)
    names = [*(f"s{place:02d}" for place in range(count - 1)), "Muon"]
    figures = ["objective_relative_error", "objective_value"]
    scaled = [one.assign(solver_name=name) for name in names]
    for place, frame in enumerate(scaled):
        frame[figures] *= 10 * error(place)
    return pd.concat(scaled, ignore_index=True)


def last(frame, metric, **where):
    """The last values of a metric by solver, of good cells, by a plain loop."""
    found = {}
    for key, value in where.items():
        frame = frame[frame[key] == value]
    for (solver, _), own in frame.groupby(["solver_name", "idx_rep"]):
        if (own["objective_status"] == "ok").all():
            found.setdefault(solver, []).append(own.sort_values("stop_val")[f"objective_{metric}"].iloc[-1])
    return {solver: np.array(values) for solver, values in found.items()}


def half(values):
    return stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5


# ----- the front -----


def point(time, value, off=""):
    return comparisons.Point(SimpleNamespace(mean=value), SimpleNamespace(mean=time), off)


def undominated(found, sign):
    """The front by its definition, over all pairs."""
    fair = [each for each in found if not each.off]

    def beaten(one):
        return any(
            other.time.mean <= one.time.mean
            and sign * other.row.mean <= sign * one.row.mean
            and (other.time.mean, other.row.mean) != (one.time.mean, one.row.mean)
            for other in fair
        )

    return [each for each in fair if not beaten(each)]


@pytest.mark.parametrize("higher", [False, True])
def test_the_front_is_what_no_other_point_beats(higher):
    generator = np.random.default_rng(0)
    for size in range(30):
        # Small integers: many points are as fast, as good, or the same.
        pairs = generator.integers(1, 8, (size, 2)).tolist()
        found = [point(time, value, "failed" * (generator.random() < 0.2)) for time, value in pairs]
        kept = comparisons.front(found, higher)
        assert sorted(map(id, kept)) == sorted(map(id, undominated(found, -1 if higher else 1)))
        assert [each.time.mean for each in kept] == sorted(each.time.mean for each in kept)


def test_each_point_has_the_means_and_intervals_of_its_rows_and_the_front_is_theirs():
    frame = published.training()
    plot, _ = fronts(result_of(frame, "benchmark_muon"))
    figure = plot.figures[DIGITS, TRAINING, "held_out_loss", "step_time_ms", ""]
    where = {"dataset_name": DIGITS, "objective_name": TRAINING}
    losses, times = (last(frame, metric, **where) for metric in ("held_out_loss", "step_time_ms"))
    marks = {trace["name"]: trace for trace in figure.data if trace.get("marker")}
    for solver, shown in ((ADAMW, "AdamW"), (SGD, "SGD (2 diverged)")):
        mark = marks[shown]
        for axis, values in (("x", times[solver]), ("y", losses[solver])):
            assert mark[axis] == pytest.approx([values.mean()], rel=1e-5)
            for side in ("array", "arrayminus"):
                assert mark[f"error_{axis}"][side] == pytest.approx([half(values)], rel=1e-4)
    assert marks["AdamW"]["text"] == ["baseline"]
    assert "text" not in marks["SGD (2 diverged)"]

    failed = [solver for solver in losses if solver == SGD or solver.startswith("Evil")]
    found = [point(times[solver].mean(), losses[solver].mean(), "failed" * (solver in failed)) for solver in losses]
    wanted = sorted((each.time.mean, each.row.mean) for each in undominated(found, 1))
    (line,) = [trace for trace in figure.data if trace["mode"] == "lines"]
    assert line["x"] == pytest.approx([time for time, _ in wanted], rel=1e-5)
    assert line["y"] == pytest.approx([loss for _, loss in wanted], rel=1e-5)
    assert {name for name, mark in marks.items() if mark["marker"]["symbol"] >= 100} == {
        name for name in marks if name.startswith(("SGD", "Evil"))
    }
    assert "Pareto front of these means" in figure.title[2]


def test_times_of_two_kinds_of_process_are_never_in_one_picture():
    frame = pooled(root_before(), root_since())
    plot, _ = fronts(result_of(frame))
    shown = {}
    for (dataset, _, metric, _, kind), figure in plot.figures.items():
        if metric == "relative_error":
            shown[dataset, kind] = {trace["name"]: trace["x"] for trace in figure.data if trace.get("marker")}
    assert set(shown) == set(itertools.product((GAUSSIAN, MOMENTA), (PROCESS, BEFORE)))
    for (dataset, kind), marks in shown.items():
        rows = frame[(frame["objective_env_stand"] == PROCESS) == (kind == PROCESS)]
        times = last(rows, "time_per_matrix_s", dataset_name=dataset)
        assert {name: x[0] for name, x in marks.items()} == pytest.approx(
            {name: values.mean() for name, values in times.items()}, rel=1e-5
        )


def test_what_was_superseded_is_marked_and_off_the_front_and_absent_where_its_process_was_of_another_kind():
    rows = root_frame(solvers=("SVD", "Muon", "Turbo-Muon"), datasets=(GAUSSIAN,), error=lambda s, *_: len(s))
    old = rows["solver_name"] == "SVD"  # the best
    reasons = rows.assign(**{history.SUPERSEDED: np.where(old, "it was wrong", None), "objective_env_commit": "c0ffee"})
    plot, _ = fronts(result_of(reasons))
    figure = plot.figures[plot.first]
    marks = {trace["name"]: trace["marker"]["symbol"] for trace in figure.data if trace.get("marker")}
    assert {name for name, symbol in marks.items() if symbol >= 100} == {"SVD (superseded)"}
    assert len(marks) == 3
    (line,) = [trace for trace in figure.data if trace["mode"] == "lines"]
    assert min(line["y"]) == pytest.approx(4)
    plot, _ = fronts(result_of(reasons.assign(objective_env_stand=np.where(old, BEFORE, PROCESS))))
    assert not [t["name"] for t in plot.figures[plot.first].data if t["name"].startswith("SVD")]


def conformal_frame(sizes):
    """Rows of conformal sets: sizes, and whether they are guaranteed, by solver."""
    rows = []
    for (solver, (size, guaranteed)), seed in itertools.product(sizes.items(), range(8)):
        figures = {"set_size": size + 0.01 * seed, "value": size, "coverage": 0.9, "guaranteed": guaranteed,
                   "prediction_time_s": 1e-3 * size, "calibration_time_s": 1e-3}  # fmt: skip
        cell = {"solver_name": solver, "idx_rep": seed, **{f"objective_{name}": each for name, each in figures.items()}}
        rows.append({"dataset_name": "digits[radius=0.25]", "objective_name": "Coverage[alpha=0.1]", "stop_val": 1,
                     "time": 1.0, "objective_status": "ok", "objective_message": "", **cell})  # fmt: skip
    return pd.DataFrame(rows)


def test_what_guarantees_nothing_is_off_the_front_and_never_among_the_best():
    sizes = {"CAS": (2.0, True), "Vanilla": (0.5, False), **{f"m{place}": (1 + place, True) for place in range(9)}}
    result = result_of(conformal_frame(sizes), "benchmark_rcp")
    plot, (board,) = fronts(result)
    assert leading(board, "set_size") == {"CAS", *(f"m{place}" for place in range(BEST))}
    assert "Vanilla" not in leading(board, "prediction_time_s")  # although it is the fastest
    figure = plot.figures[plot.first]
    marks = {trace["name"]: trace["marker"]["symbol"] for trace in figure.data if trace.get("marker")}
    assert marks["Vanilla (no guarantee)"] >= 100
    assert max(symbol for name, symbol in marks.items() if name[0] != "V") < 100
    assert "Vanilla (no guarantee)" not in figure.leading
    (line,) = [trace for trace in figure.data if trace["mode"] == "lines"]
    assert min(line["y"]) > 1


# ----- what is shown at first -----


def test_the_baseline_and_the_six_best_are_shown_at_first():
    frame = named(23)
    plots, (board,) = plots_of(result_of(frame))
    means = {solver: values.mean() for solver, values in last(frame, "relative_error").items()}
    wanted = {"Muon", *sorted(means, key=means.get)[:6]}
    assert len(wanted) == 7
    assert leading(board, "relative_error") == wanted
    curves = plots["error_against_time"]
    figure = curves.figures[curves.first]
    assert set(figure.leading) == wanted
    assert {trace["legendgroup"] for trace in figure.data} == set(means)
    assert "6 best other solvers by relative error" in figure.as_json()["led"]
    front = plots["front"].figures[plots["front"].first]
    assert wanted <= set(front.leading)


def test_a_figure_of_few_solvers_shows_them_all():
    plots, _ = plots_of(result_of(named(7)))
    for plot in plots.values():
        assert all(not figure.leading for figure in plot.figures.values()), plot.name


def test_on_the_tuning_part_methods_are_shown_each_at_all_its_learning_rates():
    rates, one = (0.01, 0.1), training_frame(solvers=(SGD,), datasets=(DIGITS,), objective=TUNING, seeds=2)
    frames = []
    for place, rate in itertools.product(range(9), rates):
        name = "AdamW" if place == 8 else f"M{place}"
        losses = {"objective_held_out_loss": one["objective_held_out_loss"] * (1 + place + rate)}
        frames.append(one.assign(solver_name=f"{name}[learning_rate={rate}]", **losses))
    plots, (board,) = plots_of(result_of(pd.concat(frames, ignore_index=True), "benchmark_muon"))
    assert leading(board, "held_out_loss") == {"AdamW", *(f"M{place}[learning_rate=0.01]" for place in range(BEST))}
    figure = plots["learning_rates"].figures[plots["learning_rates"].first]
    assert set(figure.leading) == {"AdamW", *(f"M{place}" for place in range(BEST))}
    assert figure.led.startswith("the baseline and")


def test_lines_without_symbols_are_told_apart_by_dashes_and_bars_are_not_dashed():
    get_style = palette.style_of({"A": palette.Look(0, 0), "B": palette.Look(0, 1)})
    look = {"color": (0, 0, 0), "marker": page.NO_SYMBOL}
    lines = {"A": ([1, 2], [3, 4]), "B": ([1, 2], [3, 4]), "bar": ([1, 1], [3, 4])}
    traces = [
        {"label": name, "x": x, "y": y, "solver": name.replace("bar", "B"), **look} for name, (x, y) in lines.items()
    ]
    drawn = scatter(traces, {}, get_style=get_style).data
    assert [each["line"].get("dash") for each in drawn] == [*palette.DASHES[:2], None]


def test_all_that_is_drawn_of_a_solver_is_one_group():
    frame = fail(robustness_frame(solvers=(PLAIN, CAYLEY)), CAYLEY, (0, 1))
    plots, _ = plots_of(result_of(frame, "benchmark_lipschitz"))
    curves = plots["certified_by_radius"]
    groups = {}
    for trace in curves.figures[curves.first].data:
        groups.setdefault(trace["legendgroup"], set()).add(trace["name"])
    assert set(groups) == {"Plain", "Cayley"}
    assert len(groups["Cayley"]) == 3  # the curve, the attacked accuracy, the failed cells


def test_labels_without_a_solver_or_of_two_kinds_are_groups_of_their_own():
    told = [("A", "A"), ("A", "A: attacked"), ("A", "A, at 0.1: 2 diverged"), ("B", "B: lower"), ("B", "B: upper")]
    told += [(None, "target: 0.9"), ("A", "A (process)"), ("A", "A: attacked (process)"), ("A", "C: as it varies")]
    traces = [{"label": label, **({"solver": solver} if solver else {})} for solver, label in told]
    assert grouped(traces) == ["A", "A", "A", "B", "B", "target: 0.9", "A (process)", "A (process)", "C"]


# ----- what plots open on -----


def test_each_plot_opens_on_the_setting_metric_and_baseline_of_the_first_leaderboard():
    tuning = training_frame(solvers=(SGD, ADAMW), datasets=(DOCS, DIGITS), objective=TUNING, seeds=2)
    few = training_frame(solvers=(SGD, ADAMW), datasets=(DOCS,), seeds=3)
    frame = pd.concat([tuning, few, training_frame(solvers=(SGD, ADAMW), datasets=(DIGITS,))], ignore_index=True)
    plots, own = plots_of(result_of(frame, "benchmark_muon"))
    headline = own[0]
    assert (headline.setting.dataset, headline.setting.objective, headline.first) == (DIGITS, TRAINING, "held_out_loss")
    assert frame["dataset_name"].iloc[0] == DOCS  # what menus begin with
    wanted = {"data set": DIGITS, "objective": TRAINING, "metric": "held_out_loss", "baseline": ADAMW}
    assert {"front", "learning_curve", "differences", "targets", "step_time"} <= set(plots)
    opened = set()
    for plot in plots.values():
        for place, (option, chosen) in enumerate(zip(plot.options, plot.first, strict=True)):
            offered = {choice[place] for choice in plot.figures}
            if option in wanted and wanted[option] in offered:
                assert chosen == wanted[option], (plot.name, option)
                opened.add(option)
    assert opened == set(wanted)


def test_a_plot_that_has_a_parameter_on_its_axis_opens_on_the_rest_of_the_name():
    sizes = [f"digits[batch_size={size},steps=120]" for size in (64, 256)]
    other = [each.replace("digits", "other") for each in sizes]
    frame = pd.concat(
        [
            robustness_frame(solvers=(PLAIN, CAYLEY), datasets=other, seeds=3),
            robustness_frame(solvers=(PLAIN, CAYLEY), datasets=sizes),
        ],
        ignore_index=True,
    )
    plots, own = plots_of(result_of(frame, "benchmark_lipschitz"))
    assert own[0].setting.dataset == sizes[0]
    assert plots["step_overhead"].first[0] == "digits[steps=120]"


# ----- intervals -----


def test_intervals_of_shares_stay_shares():
    def wild(seed):
        return 1.0 if seed else 0.0

    frame = robustness_frame(solvers=(PLAIN, CAYLEY))
    good = frame["stop_val"] > 0
    for name in ("objective_certified_accuracy_36", "objective_accuracy"):
        frame.loc[good & (frame["solver_name"] == CAYLEY), name] = frame["idx_rep"].map(wild)
        frame.loc[good & (frame["solver_name"] == PLAIN), name] = 1.0 - frame["idx_rep"].map(wild)
    values = np.array([wild(seed) for seed in range(8)])
    assert values.mean() + half(values) > 1  # without care the bars would leave what is possible
    plots, _ = plots_of(result_of(frame, "benchmark_lipschitz"))
    checked = 0
    for choice, figure in plots["front"].figures.items():
        if "accuracy" in choice[2]:
            for trace in figure.data:
                if trace.get("marker"):
                    (y,), (up,), (down,) = trace["y"], trace["error_y"]["array"], trace["error_y"]["arrayminus"]
                    assert 0 <= y - down <= y + up <= 1 + 1e-9
                    checked += 1
    for choice, figure in plots["differences"].figures.items():
        if "accuracy" in choice[2]:
            for trace in figure.data:
                (x,), (up,), (down,) = trace["x"], trace["error_x"]["array"], trace["error_x"]["arrayminus"]
                assert -1 <= x - down <= x + up <= 1
                checked += 1
    for plot in plots.values():  # bands of curves
        for choice, figure in plot.figures.items():
            if plot.name == "certified_by_radius" or (plot.name == "accuracy_robustness"):
                ys = [y for trace in figure.data for y in trace["y"] if y is not None]
                assert 0 <= min(ys) <= max(ys) <= 1, choice
                checked += 1
    assert checked > 10


# ----- looks -----

# Machado, Oliveira and Fernandes (2009), severity 1: what colour-blind readers see, of linear RGB.
BLIND = {
    "none": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def linear(colour):
    """Linear RGB of a colour as ``#RRGGBB``, or as numbers from 0 to 1."""
    if isinstance(colour, str):
        colour = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    value = np.array(colour[:3])
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    """The contrast of two colours by WCAG 2."""
    low, high = sorted(float(linear(each) @ [0.2126, 0.7152, 0.0722]) for each in (one, other))
    return (high + 0.05) / (low + 0.05)


def oklab(rgb):
    """Björn Ottosson's OKLab of linear RGB."""
    to_lms = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
              [0.0883024619, 0.2817188376, 0.6299787005]]  # fmt: skip
    to_lab = [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
              [0.0259040371, 0.7827717662, -0.8086757660]]  # fmt: skip
    return np.array(to_lab) @ np.cbrt(np.array(to_lms) @ np.clip(rgb, 0, 1))


def page_colours():
    """The colours of the page in light and in the dark, from the style sheet."""
    style = (published.ROOT / "src/orthobench/report/site/static/site.css").read_text()
    return re.findall(r"--page: (#[0-9a-f]{6})", style)


def test_colours_stand_out_from_the_light_and_from_the_dark_page():
    pages = page_colours()
    assert len(pages) == 2
    layers = exponents.layer_styles([SimpleNamespace(solver=str(place)) for place in range(40)])
    drawn = [*palette.COLOURS, page.GREY, sweep._MARKS["chosen"]["color"], *(each["color"] for each in layers.values())]
    for colour, shown in itertools.product(drawn, pages):
        assert contrast(colour, shown) >= 3, (colour, shown)


@pytest.mark.parametrize("kind", BLIND)
def test_colours_differ_for_all_readers(kind):
    seen = [oklab(np.array(BLIND[kind]) @ linear(colour)) for colour in palette.COLOURS]
    least = min(np.linalg.norm(one - other) for one, other in itertools.combinations(seen, 2))
    assert least > 0.07  # a difference of 0.02 is just noticed


def test_23_solvers_are_told_apart_and_the_first_families_by_colour_alone():
    frame = named(23)
    looks = palette.looks([result_of(frame)])
    assert len(looks) == 23
    numbers = [(look.colour, look.number % len(page.SYMBOLS)) for look in looks.values()]
    dashes = [(look.colour, look.number % len(palette.DASHES)) for look in looks.values()]
    assert len(set(numbers)) == len(set(dashes)) == 23
    best = ["Muon", *(f"s{place:02d}" for place in range(len(palette.COLOURS) - 1))]
    assert len({looks[each].colour for each in best}) == len(palette.COLOURS)


def test_variants_of_a_family_share_its_colour_in_all_benchmarks_and_differ_in_symbol_and_dash():
    solvers = [f"Turbo-Muon[orthogonaliser={name}]" for name in "abcde"]
    one = training_frame(solvers=(ADAMW,), datasets=(DIGITS,), seeds=2)
    many = pd.concat([one, *(one.assign(solver_name=solver) for solver in solvers)], ignore_index=True)
    results = [
        result_of(named(20)),
        result_of(root_frame(seeds=2, datasets=(GAUSSIAN,))),
        result_of(many, "benchmark_muon"),
    ]
    looks = palette.looks(results)
    assert {looks[name].colour for name in ["Turbo-Muon", *solvers]} == {looks["Turbo-Muon"].colour}
    numbers = [looks[name].number for name in solvers]
    for parts in (page.SYMBOLS, palette.DASHES):
        assert len({number % len(parts) for number in numbers}) == len(solvers)
    assert looks[palette.method(ADAMW)].colour != looks["Turbo-Muon"].colour


def test_a_learning_rate_changes_no_look():
    get_style = palette.style_of(palette.looks([result_of(training_frame(seeds=2), "benchmark_muon")]))
    assert get_style(ADAMW) == get_style(ADAMW.replace("learning_rate=0.01", "learning_rate=3"))


def figures_of(files, start="data/"):
    for path, content in files.items():
        if path.startswith(start) and not re.search(r"/(board-\d+|index|benchopt)\.js$", path):
            yield path, json.loads(f"[{content.decode()[len('orthobench.receive(') : -3]}]")[1]


def test_a_family_has_one_colour_on_all_pages_and_on_benchopts():
    files = published.files()
    known = {"AdamW", "SGD", "Turbo-Muon", "Muon", "SVD", "Cayley", "Plain"}
    colours, places = {}, {}
    for path, figure in figures_of(files):
        for trace in figure.get("data", []):
            name = family(trace["legendgroup"].partition(" (")[0].partition(":")[0])
            if name in known and trace.get("marker"):
                colours.setdefault(name, set()).add(trace["marker"]["color"])
                places.setdefault(name, set()).add(path.split("/")[1])
    for path, content in files.items():
        if path.startswith("data/") and path.endswith("/benchopt.js"):
            _, plots = json.loads(f"[{content.decode()[len('orthobench.receive(') : -3]}]")
            for plot in [each for kind in plots.values() for each in kind.values() if each["type"] == "scatter"]:
                for trace in plot["data"]:
                    name = family(trace.get("solver", ""))
                    if name in known:
                        colours.setdefault(name, set()).add(trace["color"])
                        places.setdefault(name, set()).add(path)
    assert set(colours) == known
    assert all(len(found) == 1 for found in colours.values()), colours
    assert {"orthogonalisation", "training", "data/training/one/benchopt.js"} <= places["Turbo-Muon"]
    red, green, blue = map(int, re.findall(r"\d+", next(iter(colours["AdamW"]))))
    assert f"#{red:02x}{green:02x}{blue:02x}" in files["assets/training.svg"].decode().lower()


def test_the_front_is_the_first_plot_of_each_benchmark():
    files = published.files()
    for name in ("orthogonalisation", "training", "robustness"):
        html = files[f"{name}/index.html"].decode()
        assert re.findall(r'data-plot="([^"]+)"', html)[0] == "front"


# ----- shared plots -----


@pytest.mark.parametrize("folder", BENCHMARKS)
def test_plots_that_every_benchmark_has_are_three_lines_on_a_shared_base(folder):
    names = [{path.name for path in (published.ROOT / each / "plots").glob("*.py")} for each in BENCHMARKS]
    shared = set.intersection(*names)
    assert shared == {"claims.py", "leaderboard.py"}
    for name in shared:
        text = (published.ROOT / folder / "plots" / name).read_text()
        assert len([line for line in text.splitlines() if line]) == 3
        says, comes, made = ast.parse(text).body
        assert isinstance(says, ast.Expr)
        assert (comes.module, [each.name for each in comes.names]) == ("orthobench.report.plots", [name[:-3]])
        assert ast.unparse(made) == f"Plot = {name[:-3]}({folder!r})"


def test_times_are_known_by_their_units():
    times = {metric for metric in METRICS if comparisons.is_time(metric)}
    assert {"time_per_matrix_s", "step_time_ms", "prediction_time_s"} <= times
    assert not times & {"peak_memory_bytes", "optimizer_share", "steps_to_target", "relative_error"}
