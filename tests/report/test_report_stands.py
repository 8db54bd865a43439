"""Rows of solvers in a process of their own beside rows from before: times and memory never mix, all else does."""

import io
import json

import numpy as np
import pandas as pd
import published
import pytest
from in_stands import (
    BEFORE,
    IN_PROCESS,
    PROCESS,
    TRANSPORT_S,
    WALL,
    in_stand,
    lost,
    pooled,
    root_before,
    root_since,
    shifted,
    training_before,
    training_since,
)
from made_up import (
    ADAMW,
    CAYLEY,
    DIGITS,
    GAUSSIAN,
    MOMENTA,
    OWN_MUON,
    PLAIN,
    ROBUSTNESS,
    SHAPES,
    TRAINING,
    TURBO,
    WIDE,
    fail,
    objective,
    robustness_frame,
    root_frame,
)

from orthobench.report import (
    cells,
    claims,
    curves,
    leaderboard,
    learning,
    medians,
    performance,
    profiles,
    robustness,
    separable,
    stands,
    steps,
    survival,
    tables,
    text,
)
from orthobench.report.site import render
from orthobench.report.site.results import read_results
from orthobench.report.verify import tables_of, verify

NOTE = "whose times and memory don't mix"
ROOT_PLACE, TRAINING_PLACE = (GAUSSIAN, objective()), (DIGITS, TRAINING)


@pytest.fixture(scope="module")
def root():
    return pooled(root_before(), root_since())


@pytest.fixture(scope="module")
def training():
    return pooled(training_before(), training_since())


# ----- kinds -----


def test_rows_without_a_stand_are_from_before():
    frame = root_frame(solvers=("SVD", "Muon"), seeds=1)
    assert set(stands.kinds(frame)) == {BEFORE}
    told = frame.assign(objective_env_stand=[None, "none", *[PROCESS] * (len(frame) - 2)])
    assert list(stands.kinds(told)) == [BEFORE, BEFORE, *[PROCESS] * (len(frame) - 2)]
    strings = told.assign(objective_env_stand=told["objective_env_stand"].astype("string"))
    assert list(stands.kinds(strings)) == list(stands.kinds(told))


def test_a_cell_that_failed_before_it_had_a_stand_is_of_the_kind_of_its_file():
    since = lost(root_since(), "Muon", 9)
    assert (since["objective_env_stand"] == "none").sum() == len((GAUSSIAN, MOMENTA))
    assert set(stands.kinds(since)) == {PROCESS}
    before = lost(root_before(), "Muon", 0, objective_env_stand=None)
    more = pooled(*(shifted(root_before(), 8 * times) for times in (2, 3, 4)))
    frame = text.together([("a", since), ("b", pooled(before, more))])  # most rows are from before
    kinds = pd.Series(stands.kinds(frame), frame.index)
    assert set(kinds[frame["idx_rep"].between(8, 15)]) == {PROCESS}
    assert set(kinds[~frame["idx_rep"].between(8, 15)]) == {BEFORE}
    alone = since[since["objective_env_stand"] == "none"]
    frame = text.together(
        [("a", alone), ("b", root_since().query("idx_rep != 9"))]
    )  # a file of failures: as the machine's others
    assert set(stands.kinds(frame)) == {PROCESS}


def test_a_late_failure_is_of_the_kind_of_its_cell(root):
    failed = fail(root, "Muon", (3, 9))
    bad = failed["objective_status"] != "ok"
    failed.loc[bad, "objective_env_stand"] = "none"
    kinds = stands.kinds(failed)[bad]
    assert dict(zip(failed.loc[bad, "idx_rep"], kinds, strict=True)) == {3: BEFORE, 9: PROCESS}


@pytest.mark.parametrize("kind", [PROCESS, "none", None])
def test_failures_split_no_group(kind):
    frame = lost(root_since().assign(objective_env_stand=kind), "Muon", 9)
    assert list(stands.apart(frame)) == [""]
    rows = leaderboard.leaderboard(frame, *ROOT_PLACE, "time_per_matrix_s", "Turbo-Muon")
    assert {row.solver: (row.stand, row.failures.total()) for row in rows} == {"Muon": ("", 1), "Turbo-Muon": ("", 0)}
    assert NOTE not in leaderboard.protocol(rows, "time_per_matrix_s", "Turbo-Muon")


def test_rows_of_one_kind_are_as_without_the_column():
    frame = training_before()
    for kind in ("none", None):
        told = frame.assign(objective_env_stand=kind)
        for metric in ("step_time_ms", "held_out_loss"):
            texts = [text.render_leaderboard(each, *TRAINING_PLACE, metric) for each in (frame, told)]
            assert texts[0] == texts[1]


# ----- time -----


def test_the_methods_time_is_that_of_the_harness_where_the_solver_ran_in_a_stand():
    since = root_since()
    counts = since["dataset_name"].map({GAUSSIAN: 4, MOMENTA: 2})  # of the name, and of what the rows say by matrix
    expected = since["objective_time_per_matrix_s"] * counts
    np.testing.assert_allclose(stands.method_time(since), expected)
    since = training_since()
    expected = 1e-3 * since["objective_step_time_ms"].fillna(0) * since["objective_steps"]
    np.testing.assert_allclose(stands.method_time(since), expected)
    for frame in (root_before(), root_before().assign(objective_env_stand="none")):
        np.testing.assert_array_equal(stands.method_time(frame), frame["time"])
    unknown = since.drop(columns="objective_steps")
    assert np.isnan(stands.method_time(unknown)).all()


def test_no_cell_has_the_time_of_the_transport(root, training):
    for frame, place, metric in ((root, ROOT_PLACE, "relative_error"), (training, TRAINING_PLACE, "held_out_loss")):
        found = cells.cells(frame, *place, metric)
        assert {cell.stand for cell in found} == {PROCESS, BEFORE}
        assert max(cell.time.max() for cell in found) < 10 < TRANSPORT_S


# ----- leaderboards -----


def test_times_rank_and_compare_among_their_own_kind(root):
    rows = leaderboard.leaderboard(root, *ROOT_PLACE, "time_per_matrix_s", "Muon")
    found = {(row.solver, row.stand): row for row in rows}
    assert [row.stand for row in rows] == [PROCESS] * 2 + [BEFORE] * 3
    assert {key: row.rank for key, row in found.items()} == {
        ("Turbo-Muon", PROCESS): "1", ("Muon", PROCESS): "2",
        ("SVD", BEFORE): "1-3", ("Muon", BEFORE): "1-3", ("Turbo-Muon", BEFORE): "1-3",
    }  # fmt: skip
    assert found["Turbo-Muon", PROCESS].difference.difference == pytest.approx(1e-3 / 3 - 1e-3 / 2, rel=0.05)
    assert abs(found["Turbo-Muon", BEFORE].difference.difference) < 5e-5
    for kind, frame in ((PROCESS, root_since()), (BEFORE, root_before())):
        alone = leaderboard.leaderboard(frame, *ROOT_PLACE, "time_per_matrix_s", "Muon")
        own = [row for row in rows if row.stand == kind]
        assert [leaderboard.format_row(row)[2:] for row in own] == [leaderboard.format_row(row)[2:] for row in alone]
    assert leaderboard.format_row(rows[0])[1] == "Turbo-Muon (process)"
    told = leaderboard.protocol(rows, "time_per_matrix_s", "Muon")
    assert f"several kinds (env_stand: process; before), {NOTE}" in told
    assert "difference to Muon" in told


def test_other_figures_stay_together_and_the_time_beside_them_is_of_one_kind(root):
    plain = root.drop(columns="objective_env_stand")
    rows, pooled_rows = (leaderboard.leaderboard(each, *ROOT_PLACE, "relative_error", "Muon") for each in (root, plain))
    own, others = ([leaderboard.format_row(row)[:-2] for row in each] for each in (rows, pooled_rows))
    assert own == others
    by_solver = {row.solver: row for row in rows}
    assert by_solver["Muon"].n == 16
    assert leaderboard.format_row(by_solver["Muon"])[-2] == "0.00201 (process)"
    assert by_solver["Muon"].time_high < 4e-3
    assert leaderboard.format_row(by_solver["SVD"])[-2] == "0.00399 (before)"
    assert NOTE in leaderboard.protocol(rows, "relative_error", "Muon")
    assert NOTE not in leaderboard.protocol(pooled_rows, "relative_error", "Muon")


def test_the_two_clocks_and_the_one_are_two_kinds():
    frame = pooled(root_since(), in_stand(root_before(), WALL))
    found = stands.apart(frame, dataset_name=GAUSSIAN)
    assert list(found) == [PROCESS, WALL]
    assert {key: len(part) for key, part in found.items()} == {PROCESS: 72, WALL: 80}


def test_memory_is_apart_and_the_optimizers_state_is_not(training):
    by_metric = {
        metric: {row.stand for row in leaderboard.leaderboard(training, *TRAINING_PLACE, metric, "AdamW")}
        for metric in ("peak_memory_bytes", "optimizer_state_bytes", "optimizer_time_ms", "held_out_loss")
    }
    assert by_metric["peak_memory_bytes"] == by_metric["optimizer_time_ms"] == {PROCESS, BEFORE}
    assert by_metric["optimizer_state_bytes"] == by_metric["held_out_loss"] == {""}


def test_pairs_are_told_apart_within_a_kind(training):
    lines = separable.separable(training, *TRAINING_PLACE, "step_time_ms")
    assert lines[0].startswith("process: separable")
    assert "Turbo-Muon < AdamW" in lines[0]
    assert any(line.startswith("before: not separable: AdamW") for line in lines)
    assert NOTE in lines[-1]
    lines = separable.separable(training, *TRAINING_PLACE, "held_out_loss")
    assert not [line for line in lines if line.startswith(("process", "before")) or NOTE in line]


# ----- training -----


def test_step_times_are_apart(training):
    rows = steps.step_times(training, *TRAINING_PLACE)
    assert [(row.stand, row.solver) for row in rows[:2]] == [(PROCESS, TURBO), (PROCESS, ADAMW)]
    assert {row.solver for row in rows[2:]} == {ADAMW, OWN_MUON, TURBO}
    assert steps.format_row(rows[0])[1] == f"{TURBO} (process)"
    assert NOTE in steps.protocol(rows)
    assert NOTE not in steps.protocol(steps.step_times(training_since(), *TRAINING_PLACE))


def test_time_to_the_target_is_apart_and_steps_to_it_are_not(training):
    rows = survival.to_target(training, *TRAINING_PLACE, "time_to_target_s")
    told = {(row.solver, row.stand): row for row in rows}
    assert told[ADAMW, PROCESS].median.estimate == pytest.approx(0.08 * 2, rel=0.05)
    assert told[ADAMW, BEFORE].median.estimate == pytest.approx(0.08 * 5, rel=0.05)
    assert NOTE in survival.protocol(rows, [0.3], "time_to_target_s")
    rows = survival.to_target(training, *TRAINING_PLACE, "steps_to_target")
    assert {(row.solver, row.stand, row.n) for row in rows} == {(ADAMW, "", 16), (TURBO, "", 16), (OWN_MUON, "", 8)}
    assert NOTE not in survival.protocol(rows, [0.3], "steps_to_target")


# ----- figures -----


def test_curves_against_time_are_apart_and_those_against_work_are_not(root):
    traces = curves.error_traces(root, *ROOT_PLACE)
    found = {(trace.solver, trace.stand): trace for trace in traces if trace.kind == "curve"}
    assert set(found) == {(s, BEFORE) for s in ("SVD", "Muon", "Turbo-Muon")} | {
        (s, PROCESS) for s in ("Muon", "Turbo-Muon")
    }
    assert found["Muon", PROCESS].x[-1] == pytest.approx(2e-3, rel=0.05)
    assert found["Muon", PROCESS].label == "Muon (process)"
    assert NOTE in curves.protocol(traces)
    traces = curves.error_traces(root, *ROOT_PLACE, against="flops")
    assert {(trace.label, trace.n) for trace in traces if trace.kind == "curve"} == {("Muon", 16), ("Turbo-Muon", 16)}
    assert NOTE not in curves.protocol(traces, "flops")


def test_learning_curves_are_apart_against_time(training):
    traces = learning.learning_traces(training, *TRAINING_PLACE, against="time")
    assert {trace.stand for trace in traces if trace.solver} == {PROCESS, BEFORE}
    assert [trace.label.split(":")[0] for trace in traces if trace.solver is None] == ["target"]
    assert NOTE in learning.protocol(traces)
    traces = learning.learning_traces(training, *TRAINING_PLACE)
    assert {trace.stand for trace in traces} == {""}
    assert NOTE not in learning.protocol(traces)


def test_time_against_size_is_apart():
    places = {"datasets": (GAUSSIAN, GAUSSIAN.replace("128", "256"), WIDE)}
    traces = profiles.traces_by_size(pooled(root_before(**places), root_since(**places)), objective(), "square")
    found = {(trace.solver, trace.stand): trace for trace in traces if trace.kind == "curve"}
    assert len(found) == 5
    assert found["Turbo-Muon", PROCESS].y == pytest.approx([1e-3 / 3] * 2, rel=0.05)
    assert NOTE in profiles.protocol(traces)


def test_costs_and_overheads_are_apart():
    before = robustness_frame(solvers=(PLAIN, CAYLEY))
    since = robustness_frame({PLAIN: (0.02, 90.0, 1.0), CAYLEY: (0.05, 0.6, 2.0)}, solvers=(PLAIN, CAYLEY))
    frame = pooled(before, in_stand(shifted(since, 8)))
    traces = medians.point_traces(frame, SHAPES, ROBUSTNESS, "step_time_ms", "accuracy")
    assert len([trace for trace in traces if trace.kind == "curve"]) == 4
    assert NOTE in medians.protocol(traces, "shown")
    traces = medians.point_traces(frame, SHAPES, ROBUSTNESS, "parameters", "accuracy")
    assert len([trace for trace in traces if trace.kind == "curve"]) == 2
    dataset = next(iter(robustness.overhead_menu(frame).values()))
    traces = robustness.overhead_traces(frame, dataset, ROBUSTNESS)
    ratios = {trace.stand: trace.y[0] for trace in traces if trace.kind == "curve"}
    assert ratios == {PROCESS: pytest.approx(2, rel=0.05), BEFORE: pytest.approx(4, rel=0.05)}


def test_profiles_of_times_have_the_baseline_of_their_own_kind(root):
    found = performance.profiles(root, [GAUSSIAN, MOMENTA], objective(), "time_per_matrix_s", "Muon")
    curves_of = {(each.solver, each.stand): each for each in found}
    assert len(curves_of) == 5
    assert min(curves_of["Turbo-Muon", PROCESS].factors) == pytest.approx(2 / 3, rel=0.05)
    assert min(curves_of["Turbo-Muon", BEFORE].factors) == pytest.approx(1, rel=0.05)
    assert len(performance.profiles(root, [GAUSSIAN, MOMENTA], objective(), "relative_error", "Muon")) == 3


# ----- claims -----

CLAIM = """
solvers = ["Muon", "Turbo-Muon"]
[[claim]]
id = "a-claim"
method = "Turbo-Muon"
text = "Faster."
source = { paper = "A paper", arxiv = "2512.04632", where = "abstract" }
[claim.query]
metric = "METRIC"
datasets = ["gaussian*"]
dtype = ["float32"]
solver = "Turbo-Muon"
baseline = "Muon"
direction = "lower"
"""


@pytest.fixture
def claim(tmp_path):
    def write(metric="time_per_matrix_s"):
        path = tmp_path / "claims.toml"
        path.write_text(CLAIM.replace("METRIC", metric))
        return path

    return write


def test_a_claim_about_times_has_a_verdict_for_each_kind(root, claim):
    since, before = claims.check_claims(root, claims.load_claims(claim()))
    assert (since.stand, since.verdict) == (PROCESS, "reproduced")
    assert (before.stand, before.verdict) == (BEFORE, "inconclusive")
    assert since.checks[0].n == before.checks[0].n == 8
    assert "(process)" in claims.format_verdict(since)[4]
    (alone,) = claims.check_claims(root_since(), claims.load_claims(claim()))
    assert alone.checks == since.checks
    assert alone.stand == ""


def test_seeds_of_two_kinds_are_no_pairs(claim):
    """The solver's cells are of one kind, the baseline's of the other, on the same seeds."""
    before, since = root_before(), shifted(root_since(), -8)
    frame = pooled(before[before["solver_name"] == "Muon"], since[since["solver_name"] == "Turbo-Muon"])
    (verdict,) = claims.check_claims(frame, claims.load_claims(claim()))
    assert verdict.verdict == "not run here"
    rows = leaderboard.leaderboard(frame, *ROOT_PLACE, "time_per_matrix_s", "Muon")
    assert [(row.solver, row.rank, row.difference) for row in rows] == [("Turbo-Muon", "1", None), ("Muon", "1", None)]
    (verdict,) = claims.check_claims(frame, claims.load_claims(claim("relative_error")))
    assert verdict.checks[0].n == 8


def test_a_claim_about_other_figures_has_one(root, claim):
    (verdict,) = claims.check_claims(root, claims.load_claims(claim("relative_error")))
    assert verdict.checks[0].n == 16
    assert verdict.stand == ""


def test_tables_of_claims_tell_the_kind(root, claim):
    cells_of, told = tables.claims_table(root, claim(), "all")
    assert len(cells_of) == 2
    assert NOTE in told["title"].replace("’", "'")  # noqa: RUF001
    cells_of, told = tables.claims_table(root, claim(), "a-claim")
    assert ["(process)" in row[4] for row in cells_of] == [True, False]
    assert "reproduced: holds on 1, fails on 0, open on 0 of 1 (process)" in told["title"]
    assert "Published claims, 1 claim: 1 reproduced" in tables.claims_table(root, claim(), "all")[1]["title"]
    told = text.render_claims(root, claims.load_claims(claim()))
    assert "1 claim: 1 reproduced" in told
    assert "on (before): inconclusive" in told


# ----- the site -----


def write(folder, frames):
    return published.write(folder, {name: published.provenance(frame) for name, frame in frames.items()})


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """The site of rows of both kinds."""
    frames = {
        "orthogonalisation/one/before.parquet": root_before(),
        "orthogonalisation/one/since.parquet": lost(root_since(), "Muon", 9),
        "training/one/before.parquet": training_before(),
        "training/one/since.parquet": training_since(),
    }
    files, problems = render(write(tmp_path_factory.mktemp("mixed"), frames), root=published.ROOT)
    assert problems == []
    return {path: content.decode() for path, content in files.items() if not path.endswith(".parquet")}


@pytest.fixture(scope="module")
def since(tmp_path_factory):
    """The site of rows of stands alone."""
    frames = {
        "orthogonalisation/one/since.parquet": lost(root_since(), "Muon", 9),
        "training/one/since.parquet": training_since(),
    }
    files, problems = render(write(tmp_path_factory.mktemp("since"), frames), root=published.ROOT)
    assert problems == []
    return {path: content.decode() for path, content in files.items() if not path.endswith(".parquet")}


def plain(page):
    return page.replace("&#39;", "'")


def test_pages_with_rows_of_both_kinds_say_so(mixed):
    for path, page in mixed.items():
        if path.startswith(("orthogonalisation/", "training/")) and not path.endswith("benchopt.html"):
            several = "solvers/svd" not in path
            assert (f"{NOTE}: each is compared with its own kind alone.</p>" in plain(page)) == several, path


def test_pages_with_rows_of_one_kind_do_not(since):
    assert [path for path, page in since.items() if NOTE in plain(page)] == []
    assert "(process)" not in since["training/index.html"].replace("processor (process)", "")
    files = {path: content.decode(errors="replace") for path, content in published.files().items()}
    assert [path for path, page in files.items() if NOTE in plain(page)] == []


def test_no_page_shows_the_time_of_the_transport(mixed, since):
    shown = {f"{TRANSPORT_S:.0f}", f"{TRANSPORT_S:.1f}", f"{TRANSPORT_S:.2e}".replace("+0", ""), "1.00e4"}
    for files in (mixed, since):
        for path, page in files.items():
            if path.endswith(".html"):
                cells_of = {cell for rows in tables_of(page).values() for row in rows for cell in row}
                assert not shown & cells_of, path
            if path.startswith("data/"):
                assert str(TRANSPORT_S) not in page, path


def test_tables_of_times_are_apart(mixed):
    page = next(page for path, page in mixed.items() if path.startswith("orthogonalisation/one/1-"))
    found = tables_of(page)
    header, *rows = found["board-one-1-time_per_matrix_s"]
    place = header.index("solver")
    assert [(row[0], row[place]) for row in rows[:2]] == [("1-2", "Turbo-Muon (process)"), ("1-2†", "Muon (process)")]
    assert [row[place] for row in rows[2:]] == ["SVD (before)", "Muon (before)", "Turbo-Muon (before)"]
    header, *rows = found["board-one-1-relative_error"]
    assert {row[place]: row[header.index("n")] for row in rows} == {"SVD": "8", "Muon": "15", "Turbo-Muon": "16"}
    assert f"{NOTE}" in plain(page).split('id="board-one-1-time_per_matrix_s"')[1].split("</caption>")[0]


def test_the_solvers_page_names_the_kind_beside_the_machine(mixed):
    header, *rows = tables_of(mixed["orthogonalisation/solvers/turbo-muon.html"])["results"]
    machine, metric = header.index("machine"), header.index("metric")
    told = {(row[metric], row[machine]) for row in rows}
    assert {("time per matrix (s)", "one (process)"), ("time per matrix (s)", "one (before)")} <= told
    assert ("relative error", "one") in told


def test_plots_of_differences_and_targets_are_apart(mixed):
    told = [page for path, page in mixed.items() if path.startswith("data/training/one/differences")]
    times = [page for page in told if "time per step (ms): solver minus" in page]
    assert times
    for page in times:
        _, figure = json.loads("[" + page[len("orthobench.receive(") : -3] + "]")
        x = {trace["name"]: trace["x"][0] for trace in figure["data"]}
        assert x["Turbo-Muon[orthogonaliser=turbo_muon] (process)"] == pytest.approx(-1, rel=0.1)
        assert abs(x["Turbo-Muon[orthogonaliser=turbo_muon] (before)"]) < 0.2
        assert NOTE in figure["title"][-1].replace("’", "'")  # noqa: RUF001
    told = [page for path, page in mixed.items() if path.startswith("data/training/one/targets")]
    assert [("(process)" in page, "before)" in page) for page in told] == [(False, False), (True, True)]


def test_verdicts_of_two_kinds_have_places_of_their_own(mixed):
    page = mixed["training/index.html"]
    ids = [each.split('"')[0] for each in page.split('id="')[1:]]
    assert len(ids) == len(set(ids))


def test_the_column_is_explained_where_rows_have_it(since):
    for path in ("training/index.html", next(path for path in since if path.startswith("training/one/1-"))):
        assert "<code>stand</code> tells in what process the solver ran" in since[path]
    assert ">stand</th>" in since["training/index.html"]
    page = published.files()["training/index.html"].decode()
    assert "<code>stand</code>" not in page


def test_downloads_hold_the_rows_as_they_are(since):
    table = pd.read_csv(io.StringIO(since["downloads/orthogonalisation/one/since.csv"]))
    assert set(table["objective_env_stand"]) == {PROCESS, "none"}


# ----- rows of a debugger -----


def test_rows_of_the_harness_process_are_not_published(tmp_path):
    frame = training_since()
    frame.loc[:2, "objective_env_stand"] = IN_PROCESS
    folder = write(tmp_path, {"training/one/bad.parquet": frame, "training/one/good.parquet": training_before()})
    found, _ = verify(folder)
    (problem,) = [each for each in found if each.where == "training/one/bad.parquet"]
    assert problem.what.startswith(f"3 of {len(frame)} rows were computed in the harness's own process")
    assert "run again without ORTHOBENCH_IN_PROCESS" in problem.what
    (result,), _ = read_results(folder)
    assert [file.name for file in result.files] == ["good"]
    files, problems = render(folder, root=published.ROOT)
    assert problem in problems
    assert "training/one/bad.parquet" in files["index.html"].decode()
    assert "downloads/training/one/bad.parquet" not in files


@pytest.mark.parametrize("kind", [PROCESS, WALL, "none"])
def test_other_kinds_are(tmp_path, kind):
    frame = training_since().assign(objective_env_stand=kind)
    assert verify(write(tmp_path, {"training/one/mine.parquet": frame}))[0] == []
