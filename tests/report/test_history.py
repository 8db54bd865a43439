"""What happens to published rows of solvers that are renamed, and of methods that have changed since."""

import json
import re

import pandas as pd
import published
import pytest
from made_up import ADAMW, DIGITS, DOCS, GAUSSIAN, SGD, TRAINING, TURBO, fail, objective, root_frame, training_frame

from orthobench.report import history
from orthobench.report.claims import check_claims, load_claims
from orthobench.report.command import main
from orthobench.report.leaderboard import format_row, leaderboard
from orthobench.report.publish import publish
from orthobench.report.site import render
from orthobench.report.site.results import read_results
from orthobench.report.verify import tables_of, verify

pytestmark = pytest.mark.usefixtures("wide_terminal")

PLACE = "training/one/cpu.parquet"
EARLIER = TURBO.replace("Turbo-Muon", "Turbo")
YOU = TURBO.replace("=turbo_muon", "=you")
REASON = "its first step went uphill & <b>"
ALIASES = """
[[alias]]
benchmark = "benchmark_muon"
solver = "Turbo"
now = "Turbo-Muon"
reason = "others <b> call it so"

[[alias]]
benchmark = "benchmark_muon"
solver = "Turbo-Muon"
parameter = "orthogonaliser"
value = "you"
now = "turbo_muon"
reason = "another reason"
"""


def superseded(solver, more=""):
    return (
        f'[[superseded]]\nbenchmark = "benchmark_muon"\nsolver = "{solver}"\n'
        f'commits = ["{published.COMMIT[:7]}"]\nreason = "{REASON}"\n{more}\n'
    )


def rows(solvers=(SGD, ADAMW, TURBO), datasets=(DIGITS, DOCS), called=()):
    """Rows of solvers, some of which are called otherwise."""
    frame = training_frame(solvers=solvers, datasets=datasets).replace({"solver_name": dict(called)})
    return published.provenance(frame).assign(p_solver_orthogonaliser="you")


def write(folder, frame, text):
    published.write(folder, {PLACE: frame})
    (folder / "history.toml").write_text(text)
    return folder


def read(folder):
    (result,), problems = read_results(folder)
    assert problems == []
    return result


def test_rows_have_the_names_of_today(tmp_path):
    parts = rows((ADAMW,), (DIGITS,), {ADAMW: EARLIER}), rows((SGD,), (DOCS,), {SGD: YOU})
    frame = pd.concat(parts, ignore_index=True)
    found = read(write(tmp_path, frame, ALIASES)).frame
    assert set(found["solver_name"]) == {TURBO}
    assert found["ran_as"].tolist() == frame["solver_name"].tolist()
    by_name = {name: set(own) for name, own in found.groupby("ran_as")["p_solver_orthogonaliser"]}
    assert by_name == {EARLIER: {"you"}, YOU: {"turbo_muon"}}


def test_rows_from_before_there_was_a_parameter_get_its_value(tmp_path):
    text = ALIASES.split("\n\n")[0].replace('"Turbo"', '"AdamW"').replace('"Turbo-Muon"', '"no"\nparameter = "fused"')
    later = ADAMW.replace("[", "[fused=yes,")
    frame = read(write(tmp_path, rows((ADAMW, SGD), called={SGD: later}), text)).frame
    assert set(frame["solver_name"]) == {ADAMW.replace("[", "[fused=no,"), later}


def test_files_with_and_without_an_entry_make_one_result(tmp_path):
    folder = write(
        tmp_path, rows((TURBO,), called={TURBO: EARLIER}), ALIASES.split("\n\n")[0] + "\n" + superseded("AdamW")
    )
    published.write(folder, {"training/one/more.parquet": rows((SGD,)), "training/one/third.parquet": rows((ADAMW,))})
    assert verify(folder)[0] == []
    files, _ = render(folder, root=published.ROOT)
    page = "".join(files[path].decode() for path in files if re.match(r"training/one/\d-digits", path))
    assert "-s &#39;Turbo[" in page
    assert "-s &#39;SGD[" in page


def test_a_solver_may_have_several_entries_which_name_it_as_rows_do(tmp_path):
    later = ALIASES.split("\n\n")[1].replace('"Turbo-Muon"', '"Turbo"')
    for text in (ALIASES.split("\n\n")[0] + "\n" + later, later + ALIASES.split("\n\n")[0]):
        folder = write(tmp_path, rows((ADAMW, TURBO), called={TURBO: YOU.replace("Turbo-Muon", "Turbo")}), text)
        assert set(read(folder).frame["solver_name"]) == {ADAMW, TURBO}
        assert verify(folder)[0] == []


def test_rows_of_another_benchmark_keep_their_names(tmp_path):
    told = history.load(write(tmp_path, rows(), ALIASES) / "history.toml")
    frame = root_frame(solvers=["Turbo-Muon"]).assign(solver_name="Turbo")
    assert set(told.apply(frame, ".")["solver_name"]) == {"Turbo"}
    assert set(told.apply(frame, "benchmark_muon")["solver_name"]) == {"Turbo-Muon"}


def test_a_renamed_solver_and_the_rows_under_its_new_name_are_the_same_cells(tmp_path):
    folder = write(tmp_path, rows(), ALIASES)
    published.write(tmp_path, {"training/one/more.parquet": rows((TURBO,), called={TURBO: EARLIER})})
    _, (problem,) = read_results(folder)
    assert problem.where == "training/one/more.parquet"
    assert f"are in {PLACE} too, such as {TURBO}" in problem.what


@pytest.mark.parametrize(
    ("text", "hit"),
    [
        (superseded("Turbo-Muon"), {(TURBO, DIGITS), (TURBO, DOCS)}),
        (superseded("Turbo-Muon", 'datasets = ["digits"]'), {(TURBO, DIGITS)}),
        (superseded("Turbo-Muon[orthogonaliser=turbo_muon]"), {(TURBO, DIGITS), (TURBO, DOCS)}),
        (superseded("Turbo-Muon[orthogonaliser=muon]"), set()),
        (superseded("Turbo-Muon").replace(published.COMMIT[:7], "fedcba9"), set()),
    ],
)
def test_an_entry_is_about_a_solver_commits_and_data_sets(tmp_path, text, hit):
    result = read(write(tmp_path, rows(), text))
    old = history.old(result.frame)
    assert set(zip(old["solver_name"], old["dataset_name"], strict=True)) == hit
    assert set(old.get("superseded", ())) <= {REASON}
    assert len(result.current) + len(old) == len(result.frame) == len(rows())


def test_superseded_rows_have_no_place_and_change_no_other_row(tmp_path):
    frame = read(write(tmp_path, rows(), superseded("Turbo-Muon"))).frame
    *others, last = leaderboard(frame, DIGITS, TRAINING, "held_out_loss", "AdamW")
    assert others == leaderboard(rows((SGD, ADAMW)), DIGITS, TRAINING, "held_out_loss", "AdamW")
    before = {row.solver: row for row in leaderboard(rows(), DIGITS, TRAINING, "held_out_loss", "AdamW")}[TURBO]
    assert (last.solver, last.rank, last.difference, last.note) == (TURBO, "superseded", None, REASON)
    assert (last.mean, last.low, last.n) == (before.mean, before.low, before.n)
    assert format_row(last)[0] == "superseded"


def test_one_solver_may_have_rows_of_both_kinds(tmp_path):
    frame = rows()
    late = frame["idx_rep"] >= 4
    frame["objective_env_commit"] = frame["objective_env_commit"].mask(late, "fedcba9876543210")
    frame = read(write(tmp_path, frame, superseded("Turbo-Muon"))).frame
    *_, old = found = leaderboard(frame, DIGITS, TRAINING, "held_out_loss", "AdamW")
    assert [(row.n, row.rank == "superseded") for row in found if row.solver == TURBO] == [(4, False), (4, True)]
    assert old.rank == "superseded"


def test_claims_count_superseded_rows_as_none(tmp_path):
    claims = load_claims(published.ROOT / "benchmark_muon" / "claims.toml")
    frame = read(write(tmp_path, rows(), superseded("Turbo-Muon"))).frame
    assert check_claims(frame, claims) == check_claims(rows((SGD, ADAMW)), claims) != check_claims(rows(), claims)


def test_the_site_shows_superseded_rows_with_the_reason_and_compares_without_them(tmp_path):
    folder = write(
        tmp_path / "with", rows(called={TURBO: EARLIER}), ALIASES.split("\n\n")[0] + "\n" + superseded("Turbo-Muon")
    )
    files, problems = render(folder, root=published.ROOT)
    assert problems == []
    page = files["training/index.html"].decode()
    header, *found = next(own for key, own in tables_of(page).items() if key.startswith("board"))
    last = dict(zip(header, found[-1], strict=True))
    assert last["rank"] == "superseded"
    assert last["first message"] == REASON
    assert '<dt class="superseded">superseded</dt>' in page
    ranks = next(own for key, own in tables_of(page).items() if key.startswith("overview"))
    assert [row[1] for row in ranks[1:]].count("superseded") == 1
    detail = next(text.decode() for path, text in files.items() if re.match(r"training/one/\d-digits", path))
    told = next(own for key, own in tables_of(detail).items() if key.startswith("rows-turbo"))
    assert {row[-1] for row in told[1:]} == {f"superseded: {REASON}"}
    assert "-s &#39;Turbo[" in detail  # at the commit of its rows, that is its name
    solver = files["training/solvers/turbo-muon.html"].decode()
    assert f"<dd><code>{EARLIER}</code>: others &lt;b&gt; call it so</dd>" in solver
    without, _ = render(published.write(tmp_path / "without", {PLACE: rows((SGD, ADAMW))}), root=published.ROOT)
    drawn = [path for path in files if re.match(r"data/training/one/(?!board|benchopt)", path)]
    assert drawn == [path for path in without if re.match(r"data/training/one/(?!board|benchopt)", path)]
    differing = [path for path in drawn if files[path] != without[path]]
    assert differing == [path for path in drawn if "/front-" in path]  # which mark them, and have the same front
    assert differing
    for path in differing:
        one, other = (
            json.loads(f"[{own[path].decode()[len('orthobench.receive(') : -3]}]")[1]["data"]
            for own in (files, without)
        )
        old = [trace for trace in one if trace["name"].endswith("(superseded)")]
        assert [trace["marker"]["symbol"] >= 100 for trace in old] == [True]
        assert [trace for trace in one if trace not in old] == other


def test_a_result_whose_rows_are_all_superseded_has_its_pages(tmp_path):
    text = "".join(map(superseded, ("Turbo-Muon", "SGD", "AdamW")))
    files, problems = render(write(tmp_path, rows(), text), root=published.ROOT)
    assert problems == []
    board = next(
        own for key, own in tables_of(files["training/index.html"].decode()).items() if key.startswith("board")
    )
    assert {row[0] for row in board[1:]} == {"superseded"}


def test_the_report_of_published_files_reads_it_too(tmp_path, capsys):
    folder = write(tmp_path, rows(), superseded("Turbo-Muon", 'datasets = ["digits"]'))
    assert main([str(folder / PLACE)]) == 0
    first, *others = capsys.readouterr().out.split("\n\n\n")
    assert re.search(r"^superseded +Turbo-Muon\[", first, re.MULTILINE)
    assert f"! Turbo-Muon: {REASON}" in first
    assert TURBO not in first.partition("steps to the target")[2]
    assert all("superseded" not in each for each in others)


def test_figures_of_other_metrics_and_objectives_are_marked_too(tmp_path):
    frame = published.provenance(root_frame(solvers=("SVD", "Muon")))
    published.write(tmp_path, {"orthogonalisation/one/cpu.parquet": frame})
    (tmp_path / "history.toml").write_text(superseded("Muon").replace("benchmark_muon", "."))
    found = leaderboard(read(tmp_path).frame, GAUSSIAN, objective(), "time_per_matrix_s", "SVD")
    assert [(row.solver, row.rank) for row in found] == [("SVD", "1"), ("Muon", "superseded")]


# ----- cells that are run again -----

AGAIN = "fedcba9876543210fedcba9876543210fedcba98"
ALSO = "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f"


def run_again(solvers=(TURBO,), commit=AGAIN, better=0.5, date="2026-02-02T03:04:05"):
    """The rows of solvers by another commit, with other figures."""
    frame = rows(solvers).assign(objective_env_commit=commit, run_date=date, solver_description="As it is now")
    columns = ["objective_held_out_loss", "objective_value", "objective_step_time_ms"]
    return frame.assign(**{column: frame[column] * better for column in columns})


def with_again(folder, name="again", text=None, **more):
    """Published rows, a solver's of which are superseded, and in another file its cells once more."""
    text = superseded("Turbo-Muon") if text is None else text
    folder = write(folder, rows(), text)
    files = {f"training/one/{name}.parquet": run_again()} | {
        f"training/one/{each}.parquet": own for each, own in more.items()
    }
    published.write(folder, files)
    return folder


@pytest.mark.parametrize("name", ["again", "zzz"])  # before and after the superseded one, cpu
def test_a_superseded_cell_that_is_run_again_has_its_place(tmp_path, name):
    folder = with_again(tmp_path, name)
    assert verify(folder)[0] == []
    result = read(folder)
    expected = pd.concat([rows((SGD, ADAMW)), run_again()], ignore_index=True)
    order = ["solver_name", "dataset_name", "idx_rep", "stop_val"]
    now, wanted = (each.sort_values(order).reset_index(drop=True) for each in (result.current, expected))
    pd.testing.assert_frame_equal(now[wanted.columns], wanted, check_dtype=False)
    for metric in ("held_out_loss", "held_out_accuracy"):
        *others, last = leaderboard(result.frame, DIGITS, TRAINING, metric, "AdamW")
        assert others == leaderboard(expected, DIGITS, TRAINING, metric, "AdamW")
        assert (others == leaderboard(rows(), DIGITS, TRAINING, metric, "AdamW")) == (metric == "held_out_accuracy")
        assert (last.solver, last.rank, last.note) == (TURBO, "superseded", REASON)
    claims = load_claims(published.ROOT / "benchmark_muon" / "claims.toml")
    assert check_claims(result.frame, claims) == check_claims(expected, claims)


def test_failures_that_are_superseded_are_not_counted_as_failed_cells(tmp_path, capsys):
    published.write(tmp_path, {PLACE: fail(rows(), TURBO, (0, 1)), "training/one/later.parquet": run_again(better=1.0)})
    (tmp_path / "history.toml").write_text(superseded("Turbo-Muon"))
    assert main([str(tmp_path)]) == 0
    assert " 0 failed" in " ".join(capsys.readouterr().out.split())
    assert main([str(tmp_path), "--failures"]) == 0
    assert "no cell failed" in capsys.readouterr().out
    (tmp_path / "history.toml").unlink()
    assert main([str(tmp_path / PLACE)]) == 0
    assert " 4 failed" in " ".join(capsys.readouterr().out.split())


def test_publish_takes_cells_whose_rows_are_superseded_and_no_others(tmp_path):
    folder = write(tmp_path / "results", rows(), superseded("Turbo-Muon"))
    good, bad = tmp_path / "good.parquet", tmp_path / "bad.parquet"
    run_again().to_parquet(good)
    run_again((SGD,)).to_parquet(bad)
    kept = (folder / PLACE).read_bytes()
    assert publish(good, folder, "one") == folder / "training/one/good.parquet"
    with pytest.raises(ValueError, match=r"are in training/one/\w+.parquet too, such as SGD.*history.toml"):
        publish(bad, folder, "one")
    with pytest.raises(ValueError, match="such as Turbo-Muon"):  # both are current
        publish(good, folder, "one", name="once_more")
    assert (folder / PLACE).read_bytes() == kept
    assert verify(folder)[0] == []


def test_a_copy_of_superseded_rows_is_still_a_conflict(tmp_path):
    folder = write(tmp_path, rows(), superseded("Turbo-Muon"))
    published.write(folder, {"training/one/more.parquet": rows((TURBO,))})
    _, (problem,) = read_results(folder)
    assert f"are in {PLACE} too, such as {TURBO}" in problem.what


def test_cells_may_be_superseded_several_times(tmp_path):
    text = superseded("Turbo-Muon") + superseded("Turbo-Muon").replace(published.COMMIT[:7], AGAIN).replace(
        REASON, "so was this"
    )
    third = run_again(commit=ALSO, better=0.25, date="2026-03-02T03:04:05")
    folder = with_again(tmp_path, text=text, third=third)
    assert verify(folder)[0] == []
    found = leaderboard(read(folder).frame, DIGITS, TRAINING, "held_out_loss", "AdamW")
    assert [row.rank == "superseded" for row in found if row.solver == TURBO] == [False, True, True]
    assert [row.note for row in found if row.rank == "superseded"] == [REASON, "so was this"]
    one_commit = text.replace("so was this", REASON)
    (folder / "history.toml").write_text(one_commit)
    files, problems = render(folder, root=published.ROOT)
    assert problems == []
    detail = next(text.decode() for path, text in files.items() if re.match(r"training/one/\d-digits", path))
    told = next(own for key, own in tables_of(detail).items() if key.startswith("rows-turbo"))
    assert [row[-1] for row in told[1:]] == [""] * 8 + [f"superseded: {REASON}"] * 16


def test_pages_of_cells_that_are_run_again_tell_how_the_new_rows_are_made(tmp_path):
    folder = with_again(tmp_path, "zzz")
    files, problems = render(folder, root=published.ROOT)
    assert problems == []
    detail = next(text.decode() for path, text in files.items() if re.match(r"training/one/\d-digits", path))
    own = detail.partition('class="rows">\n<h3><a href="../../training/solvers/turbo-muon.html">')[2]
    own = own.partition("</section>")[0]
    assert f"git checkout {AGAIN}" in own
    assert f"<dt>commit</dt><dd>{AGAIN}</dd>" in own
    assert published.COMMIT not in own
    assert "As it is now" in files["training/solvers/turbo-muon.html"].decode()
    board = next(own for key, own in tables_of(detail).items() if key.startswith("board"))
    assert [row[0] for row in board[1:] if row[1].startswith("Turbo-Muon")][1:] == ["superseded"]


def test_a_row_that_is_run_again_is_of_the_configuration_of_the_one_in_whose_place_it_is(tmp_path):
    text = superseded("Turbo-Muon") + superseded("Turbo-Muon").replace(published.COMMIT[:7], AGAIN)
    third = run_again(commit=ALSO, date="2026-03-02T03:04:05")
    frame = read(with_again(tmp_path, text=text, third=third)).frame
    assert set(frame["configuration"]) == {"cpu"}


# ----- verify -----


def test_verify_says_how_many_rows_are_superseded(tmp_path):
    problems, notes = verify(write(tmp_path, rows(), superseded("Turbo-Muon")))
    assert problems == []
    third = len(rows()) // 3
    assert f"{PLACE}: {third} of {3 * third} rows are superseded: {REASON}." in map(str, notes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (superseded("Lion"), "superseded 'Lion' of 'benchmark_muon' is about no row"),
        (superseded("Turbo-Muon").replace(published.COMMIT[:7], "fedcba9"), "is about no row"),
        (superseded("Turbo-Muon", 'datasets = ["mnist"]'), "is about no row"),
        (ALIASES.split("\n\n")[0], "alias 'Turbo' of 'benchmark_muon' is about no row"),
    ],
)
def test_verify_fails_on_an_entry_about_no_row(tmp_path, text, message):
    ((problem,), _) = verify(write(tmp_path, rows(), text))
    assert problem.where == "history.toml"
    assert message in problem.what


def test_verify_fails_on_a_solver_that_the_benchmark_has_not(tmp_path):
    text = '[[alias]]\nbenchmark = "benchmark_muon"\nsolver = "AdamW"\nnow = "Adam"\nreason = "a"\n'
    problem, _ = verify(write(tmp_path, rows(), text), published.ROOT)[0]  # the other: a made-up commit
    assert re.search(r"names the solver 'Adam'; allowed: .*AdamW.*Turbo-Muon", problem.what)
    assert verify(tmp_path)[0] == []  # without the repository that can't be known


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[alias", "not a TOML file"),
        ("[[renamed]]\nsolver = 'a'", "unknown tables renamed; allowed: alias, superseded"),
        (
            '[[alias]]\nbenchmark = "."\nsolver = "A"',
            "alias number 1: keys now, reason: unknown, missing, empty or of another type",
        ),
        (
            ALIASES + "old = 'a'",
            "alias number 2: keys old: unknown, missing, empty or of another type; allowed: benchmark",
        ),
        (ALIASES.replace('parameter = "orthogonaliser"\n', ""), "alias number 2: 'value' is there without"),
        (ALIASES + ALIASES, "alias number 3 renames what number 1 does; allowed: once"),
        (ALIASES.replace("benchmark_muon", "muon"), "'benchmark' is 'muon'; allowed: ., benchmark_crc, benchmark_dp"),
        (ALIASES.split("\n\n")[0].replace("[[alias]]", "[alias]"), r"alias is \{.*\}; allowed: tables \[\[alias\]\]"),
        ("superseded = 'all'", r"superseded is 'all'; allowed: tables \[\[superseded\]\]"),
        (
            superseded("Muon").replace(REASON, " "),
            "superseded number 1: keys reason: unknown, missing, empty or of another type",
        ),
        (superseded("Muon", "datasets = [1]"), r"'datasets' is \[1\]; allowed: a list of texts"),
        (superseded("Muon", "datasets = []"), r"'datasets' is \[\]; allowed: a list of texts"),
        (superseded("Muon").replace(f'"{published.COMMIT[:7]}"', ""), r"'commits' is \[\]; allowed: a list of texts"),
        (superseded("Muon").replace(published.COMMIT[:7], "v1"), r"'commits' is \['v1'\]; allowed: a list of texts"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path, text, message):
    folder = write(tmp_path, rows(datasets=(DIGITS,)), text)
    _, (problem,) = read_results(folder)
    assert problem.where == "history.toml"
    assert re.search(message, problem.what)
    assert [each.where for each in verify(folder)[0]] == ["history.toml"]
    assert main([str(folder / PLACE)]) == 1


def test_the_published_history_is_right():
    results = published.ROOT / "results"
    told = history.load(results / "history.toml")
    found, _ = read_results(results)
    assert history.problems(told, [(each.benchmark.folder, each.frame) for each in found], published.ROOT) == []
