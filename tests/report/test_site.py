"""The site without a browser: what is on its pages, what is wrong with results, and that it is the same each time."""

import html
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import time

import numpy as np
import pandas as pd
import published
import pytest
from made_up import ADAMW, DIGITS, DOCS, SGD, training_frame, training_rows
from scipy import stats

from orthobench.report import performance
from orthobench.report.claims import Check
from orthobench.report.claims_file import Query
from orthobench.report.site import build, render, vendor, workers
from orthobench.report.site.findings import ORDER, sentence
from orthobench.report.site.plots import plain
from orthobench.report.site.results import CELL, POINT, read_results
from orthobench.report.site.tables import leading_number, slugs
from orthobench.report.verify import tables_of

CSP = "default-src 'none'; script-src 'self'"


@pytest.fixture(scope="module")
def files():
    return published.files()


def pages(files):
    return {path: content.decode() for path, content in files.items() if path.endswith(".html")}


def test_two_renderings_are_the_same_to_the_last_byte(files):
    again, _ = render(published.results(), root=published.ROOT)
    assert list(again) == list(files)
    assert [path for path in files if again[path] != files[path]] == []


def test_the_figures_of_a_leaderboard_are_those_of_a_plain_loop(files):
    frame = published.training()
    page = next(text for path, text in pages(files).items() if path.startswith("training/one/1-digits"))
    header, *rows = tables_of(page)["board-one-1-held_out_loss"]
    shown = {row[header.index("solver")].split()[0]: row for row in rows}
    for solver, short in ((ADAMW, "AdamW"), (SGD, "SGD")):
        values = []
        for seed in range(8):
            own = frame[(frame.solver_name == solver) & (frame.dataset_name == DIGITS) & (frame.idx_rep == seed)]
            if (own.objective_status == "ok").all():
                values.append(own.sort_values("stop_val").objective_held_out_loss.iloc[-1])
        assert shown[short][header.index("n")] == str(len(values))
        mean, half = map(float, shown[short][header.index("mean")].split(" ± "))
        assert mean == pytest.approx(np.mean(values), rel=5e-3)
        quantile = stats.t.ppf(0.975, len(values) - 1)
        assert half == pytest.approx(quantile * np.std(values, ddof=1) / len(values) ** 0.5, rel=1e-2)
    assert shown["SGD"][header.index("failures")] == "2 diverged"
    assert shown["SGD"][header.index("rank")].endswith("†")


def test_each_page_is_small_has_a_strict_policy_and_no_script_of_its_own(files):
    for path, text in pages(files).items():
        assert len(text) < 1_000_000, path
        assert text.count(f'Content-Security-Policy" content="{CSP}') == 1, path
        assert not re.findall(r"<script(?![^>]*\bsrc=)", text), path
        if path.endswith("/benchopt.html"):
            continue  # of Benchopt's template, with hashes: see test_site_benchopt.py
        assert not re.findall(r"\son\w+=", re.sub(r"&#34;|&#39;", "", text.replace(" onerror=&#34;", ""))), path
        for source in re.findall(r'(?:src|href)="([^"#]+)', text):
            assert (
                source.startswith(("https://", "../", "assets/", "solvers/"))
                or "/" in source
                or source.endswith((".html", ".svg", ".xml"))
            )


def test_links_within_the_site_lead_somewhere(files):
    known = set(files) | {f"assets/{each.name}" for each in vendor.SCRIPTS}
    for path, text in pages(files).items():
        for target, anchor in re.findall(r'(?:src|href)="(?!https:|data:)([^"#]*)#?([^"]*)"', text):
            parts = path.split("/")[:-1]
            for part in filter(None, target.split("/")):
                parts = parts[:-1] if part == ".." else [*parts, part]
            found = "/".join(parts) if target else path
            assert found in known, (path, target)
            if anchor and "=" not in anchor and found.endswith(".html"):
                ids = re.findall(r'id="([^"]+)"', files[found].decode())
                assert anchor in ids or f"{anchor}-details" in ids, (path, target, anchor)


def test_hostile_texts_are_text_everywhere(files):
    for path, content in files.items():
        if path.endswith((".html", ".svg")) or path.startswith("data/"):
            assert b"<script>alert" not in content, path
            assert b"<img src=x" not in content, path


def test_home_tells_claims_cards_and_dates(files):
    home = files["index.html"].decode()
    header, *rows = tables_of(home)["claims"]
    assert header[0] == "verdict"
    assert {row[0].partition(" (")[0] for row in rows} <= set(ORDER)
    assert "2026-01-02" in home
    for folder in ("orthogonalisation", "training", "robustness"):
        assert f'href="{folder}/index.html"' in home
        assert files[f"assets/{folder}.svg"].startswith(b"<?xml")


def names(selector):
    """Return whether a solver's name is that of a selector: its family, with its parameters."""
    own, _, given = selector.rstrip("]").partition("[")
    return lambda name: name.partition("[")[0] == own and all(each in name for each in given.split(","))


def test_what_was_found_is_said_with_the_figures_of_the_rows(files):
    home = html.unescape(files["index.html"].decode())
    told = re.findall(r"<li><span class=\"verdict [a-z-]+\">(.*?)</span>: <q>(.*?)</q>\s*(.*?) <a href=\"(.*?)\"", home)
    assert 1 <= len(told) <= 8
    compared = 0
    for _, _, figure, href in told:
        page, _, anchor = href.partition("#")
        assert f'id="{anchor}"' in files[page].decode()
        found = re.fullmatch(
            r"Held-out loss \(nats\): (.+) is (\S+) (lower|higher) than (.+) "
            r"\(95 % interval (\S+) to (\S+), n = (\d+), (\w+)\)\.", figure
        )  # fmt: skip
        if not found:
            continue
        compared += 1
        ours, size, side, theirs, low, high, n, dataset = found.groups()
        rows = published.frames()["training/one/cpu.parquet"]
        rows = rows[rows["dataset_name"].str.startswith(dataset)].sort_values("stop_val")
        last = rows.groupby(["solver_name", "idx_rep"]).tail(1).set_index("idx_rep")
        one, other = (
            last.loc[last["solver_name"].map(names(each)), "objective_held_out_loss"] for each in (ours, theirs)
        )
        gap = one - other
        assert len(gap) == int(n)
        gap *= {"lower": -1, "higher": 1}[side]  # a difference and its interval have the sign of what is said
        assert gap.mean() == pytest.approx(float(size), rel=5e-3)
        half = stats.t.ppf(0.975, len(gap) - 1) * gap.std() / len(gap) ** 0.5
        assert [gap.mean() - half, gap.mean() + half] == pytest.approx([float(low), float(high)], rel=1e-2)
    assert compared


@pytest.mark.parametrize(
    ("estimate", "relation", "factor", "told"),
    [
        (-20.0, "", None, "A is 20.0 lower than B (95 % interval 20.0 to ∞"),
        (-20.0, "≤", None, "A is at least 20.0 lower than B (95 % interval 20.0 to ∞"),
        (-20.0, "≥", None, "A is at most 20.0 lower than B (95 % interval 20.0 to ∞"),
        (0.5, "≤", None, "A is at most 0.500 higher than B (95 % interval -∞ to 0.500"),
        (0.0, "", None, "A is the same as B (95 % interval -∞ to 0.00"),
        (0.5, "≤", 0.7, "A is at most 0.500 times B (95 % interval -∞ to 0.500"),
    ],
)
def test_a_figure_and_its_interval_are_said_the_right_way_round(estimate, relation, factor, told):
    query = Query("steps_to_target", ("*",), "A", "B", "lower", "benchmark_muon", factor=factor)
    check = Check(DIGITS, "", "holds", "", 8, estimate, -np.inf, estimate, relation=relation)
    assert f"Steps to the target: {told}, n = 8" in sentence(check, query)


def test_the_matrix_has_each_claim_once_and_badges_say_on_what(files):
    home = files["index.html"].decode()
    matrix = home.partition('<table id="matrix">')[2].partition("</table>")[0]
    listed = tables_of(home)["claims"][1:]
    assert len(re.findall(r"<a href|<span title", matrix)) == len(listed)
    assert [each.strip() for each in re.findall(r'<th scope="col">(.*?)</th>', matrix)] == ["method", *ORDER]
    assert 'class="badge">CPU, digits' in home


def test_the_command_of_a_row_names_all_that_it_depends_on(files):
    page = next(text for path, text in pages(files).items() if path.startswith("training/two/1-digits"))
    told = page.replace("&#39;", "'")
    assert f"git checkout {published.COMMIT}" in told
    assert "ORTHOBENCH_DEVICE=cuda ORTHOBENCH_THREADS=1 benchopt run benchmark_muon" in told
    assert f"-d '{DIGITS}' -s '{ADAMW}' -r 3 --seed 0" in told


def test_downloads_are_the_published_rows(files):
    assert (
        files["downloads/training/one/cpu.parquet"] == (published.results() / "training/one/cpu.parquet").read_bytes()
    )
    table = pd.read_csv(io.BytesIO(files["downloads/training/one/cpu.csv"]))
    assert len(table) == len(published.training())
    assert "objective_message" in table


def test_data_of_plots_is_what_a_script_can_read(files):
    index = json.loads("[" + files["data/training/index.js"].decode()[len("orthobench.receive(") : -3] + "]")[1]
    assert {"differences", "targets", "profiles", "learning_curve"} <= set(index["plots"])
    for own in index["plots"].values():
        for told in own.values():
            assert ",".join(map(str, told["first"])) in told["choices"]
            assert all(path in files for path in told["choices"].values())


def test_a_method_has_one_colour_everywhere(files):
    colours = {}
    for path, content in files.items():
        if path.startswith("data/training") and "board" not in path and "index" not in path:
            _, figure = json.loads("[" + content.decode()[len("orthobench.receive(") : -3] + "]")
            for trace in figure.get("data", []):
                if trace.get("marker") and trace["name"] in ("AdamW", "SGD", ADAMW, SGD):
                    colours.setdefault(trace["name"].split("[")[0], set()).add(trace["marker"]["color"])
    assert all(len(found) == 1 for found in colours.values())
    assert len(colours) == 2


# ----- what is wrong with results -----


def test_no_results_give_a_site_that_says_so(tmp_path):
    files, problems = render(tmp_path, root=published.ROOT)
    assert problems == []
    assert "No rows are published yet" in files["index.html"].decode()
    assert {row[0] for row in tables_of(files["index.html"].decode())["claims"][1:]} == {"not run here"}


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        render(tmp_path / "nowhere")


def test_without_a_repository_there_are_tables_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = published.write(tmp_path / "r", {"training/one/cpu.parquet": published.training()})
    files, problems = render(folder)
    assert problems == []
    assert "training/index.html" in files


def test_corrupt_foreign_and_misplaced_files_are_left_out_by_name(tmp_path):
    folder = published.write(tmp_path, {"training/one/good.parquet": published.training()})
    (folder / "training/one/corrupt.parquet").write_bytes(b"PAR1 nothing PAR1")
    pd.DataFrame({"a": [1]}).to_parquet(folder / "training/one/foreign.parquet")
    published.training().to_parquet(folder / "misplaced.parquet")
    published.training().iloc[:0].to_parquet(folder / "training/one/hollow.parquet")
    files, problems = render(folder, root=published.ROOT)
    told = {problem.where: problem.what for problem in problems}
    assert "not a parquet file" in told["training/one/corrupt.parquet"]
    assert "columns dataset_name" in told["training/one/foreign.parquet"]
    assert "not where results are" in told["misplaced.parquet"]
    assert "no rows" in told["training/one/hollow.parquet"]
    assert len(told) == 4
    assert all(where in files["index.html"].decode() for where in told)


def test_machines_and_solvers_with_names_alike_have_pages_of_their_own(tmp_path):
    rows = published.provenance(training_frame(solvers=(SGD, ADAMW), datasets=(DIGITS,), seeds=2))
    rows["solver_name"] = rows["solver_name"].replace({SGD: "Adam-W[learning_rate=0.1]", ADAMW: "Adam W"})
    machines = ["one", "One", "a b", "a-b"]
    folder = published.write(tmp_path, {f"training/{each}/cpu.parquet": rows for each in machines})
    files, problems = render(folder, root=published.ROOT)
    assert problems == []
    assert len([path for path in files if re.fullmatch(r"downloads/training/.*/cpu\.csv", path)]) == len(machines)
    assert len([path for path in files if re.fullmatch(r"training/solvers/.*", path)]) == 2
    page = files["training/index.html"].decode()
    assert {"solvers/adam-w.html", "solvers/adam-w-2.html"} <= set(re.findall(r'href="([^"#]*)"', page))


def test_two_files_of_a_machine_may_not_claim_one_cell(tmp_path):
    whole = published.training()
    part = whole[whole["solver_name"] == ADAMW].head(6)
    frames = {"training/one/a.parquet": whole, "training/one/b.parquet": part, "training/two/b.parquet": part}
    found, problems = read_results(published.write(tmp_path, frames))
    assert [each.where for each in problems] == ["training/one/b.parquet"]
    assert "1 of its cells are in training/one/a.parquet too" in problems[0].what
    assert [each.machine for each in found] == ["one", "two"]


def test_the_same_point_twice_in_a_file_is_left_out(tmp_path):
    whole = published.training()
    doubled = pd.concat([whole, whole.head(1)], ignore_index=True)
    found, problems = read_results(published.write(tmp_path, {"training/one/a.parquet": doubled}))
    assert not found
    assert "same point twice" in problems[0].what


def test_100_000_rows_take_less_than_a_minute(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "ENOUGH", 10**9)  # all in this process, whose time is what is measured
    rows = published.provenance(training_frame(solvers=(SGD, ADAMW), datasets=(DIGITS, DOCS)))
    rows = rows[rows["stop_val"] > 0].drop(columns=["objective_steps_to_target", "objective_time_to_target_s"])
    copies = [rows.assign(stop_val=rows["stop_val"] + step) for step in range(-(-100_000 // len(rows)))]
    big = pd.concat(copies, ignore_index=True).drop_duplicates(POINT, ignore_index=True)
    big["stop_val"] = big.groupby(CELL).cumcount()
    more = [big.assign(idx_rep=big["idx_rep"] + 8 * place) for place in range(-(-100_000 // len(big)))]
    big = pd.concat(more, ignore_index=True)
    assert len(big) >= 100_000
    folder = published.write(tmp_path, {"training/one/big.parquet": big})
    start = time.process_time()
    files, problems = render(folder, root=published.ROOT)
    assert time.process_time() - start < 60
    assert problems == []
    assert max(len(content) for path, content in files.items() if path.endswith(".html")) < 1_000_000


# ----- building -----


def test_only_an_earlier_site_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(vendor, "vendored", lambda script: b"")
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="no site of ours"):
        build(tmp_path / "empty", out)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileExistsError, match="no site of ours"):
        build(tmp_path / "empty", out)
    assert (out / "mine.txt").read_text() == "mine"
    new = tmp_path / "new"
    build(tmp_path / "empty", new)
    (new / "claims").mkdir()
    (new / "claims" / "mine.txt").write_text("mine")  # among the pages, and not of them
    with pytest.raises(FileExistsError, match=r"claims/mine\.txt is not of an earlier site"):
        build(tmp_path / "empty", new)
    assert (new / "claims" / "mine.txt").read_text() == "mine"
    (new / "claims" / "mine.txt").unlink()
    before = (new / "index.html").read_bytes()
    (new / "index.html").write_text("stale")
    build(tmp_path / "empty", new)
    assert (new / "index.html").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "new", "out"]


def test_a_site_behind_a_link_is_replaced_where_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(vendor, "vendored", lambda script: b"")
    (tmp_path / "empty").mkdir()
    (tmp_path / "site").symlink_to(tmp_path / "served")
    for _ in range(2):
        build(tmp_path / "empty", tmp_path / "site")
        assert (tmp_path / "site").is_symlink()
        assert (tmp_path / "served" / "index.html").is_file()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "served", "site"]
        (tmp_path / "served" / "index.html").unlink()


def test_folders_of_others_beside_a_site_are_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(vendor, "vendored", lambda script: b"")
    (tmp_path / "empty").mkdir()
    others = [".site.v2.123-a.unfinished", ".site.notes.unfinished", ".site.4194305-a.unfinished"]
    for each in others:
        (tmp_path / each).mkdir()
    build(tmp_path / "empty", tmp_path / "site")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*others[:2], "empty", "site"])  # one was ours


BUILD = """
import sys
from pathlib import Path
from orthobench.report.site import build as _, vendor
from orthobench.report.site.build import build
vendor.vendored = lambda script: b""
print("begins", flush=True)
build(*map(Path, sys.argv[1:3]), root=Path(sys.argv[3]))
"""


def test_a_killed_build_leaves_the_old_site_whole_and_does_not_block_the_next(tmp_path):
    rows = published.provenance(training_frame(solvers=(SGD, ADAMW), datasets=(DIGITS,), seeds=2))
    results = published.write(tmp_path / "results", {"training/one/cpu.parquet": rows})
    command = [sys.executable, "-c", BUILD, str(results), str(tmp_path / "site"), str(published.ROOT)]

    def started():
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "begins\n"
        return process

    def content():
        files = (path for path in (tmp_path / "site").rglob("*") if path.is_file())
        return {path.relative_to(tmp_path / "site").as_posix(): path.read_bytes() for path in files}

    begin = time.monotonic()
    assert started().wait() == 0
    whole, took = content(), time.monotonic() - begin
    assert "training/index.html" in whole
    published.write(tmp_path / "results", {"training/one/cpu.parquet": rows.assign(run_date="2027-01-01T00:00:00")})
    kills = int(os.environ.get("KILLED_BUILDS", "3"))
    for number in range(kills):
        process = started()
        time.sleep((number + 0.7) / kills * took)
        process.kill()
        process.communicate()
        left = content()
        if left != whole:  # it was done already
            assert b"2027" in left["downloads/training/one/cpu.csv"]
            assert left.keys() == whole.keys()
    assert started().wait() == 0
    assert b"2027" in content()["downloads/training/one/cpu.csv"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results", "site"]


def test_the_site_needs_no_solver_and_no_torch(tmp_path):
    rows = published.provenance(training_frame(solvers=(SGD, ADAMW), datasets=(DIGITS,), seeds=2))
    folder = published.write(tmp_path, {"training/one/cpu.parquet": rows})
    code = (
        "import sys; from orthobench.report.site import render; "
        f"files, _ = render({str(folder)!r}, root={str(published.ROOT)!r}); assert 'training/index.html' in files; "
        "assert 'training/one/benchopt.html' in files; "
        "assert 'torch' not in sys.modules; files = [str(getattr(m, '__file__', '')) for m in sys.modules.values()]; "
        "assert not [each for each in files if 'benchmark_muon/solvers' in each]"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# ----- scripts of others -----


def packed(script, content, folder):
    with tarfile.open(folder / script.archive, "w:gz") as archive:
        member = tarfile.TarInfo(script.member)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))


def test_a_script_comes_from_the_folder_that_is_named_and_is_checked(tmp_path, monkeypatch):
    monkeypatch.setenv("ORTHOBENCH_VENDOR", str(tmp_path))
    monkeypatch.setenv("ORTHOBENCH_CACHE", str(tmp_path / "cache"))
    good = vendor.Script("made-up", "1.0.0", "package/a.js", vendor._digest(b"good"))
    with pytest.raises(RuntimeError, match=r"made-up-1\.0\.0\.tgz: no such file.*npm pack made-up@1\.0\.0"):
        vendor.vendored(good)
    packed(good, b"evil", tmp_path)
    with pytest.raises(RuntimeError, match="not the published file"):
        vendor.vendored(good)
    assert not (tmp_path / "cache").exists()
    packed(good, b"good", tmp_path)
    assert vendor.vendored(good) == b"good"
    (tmp_path / good.archive).unlink()
    assert vendor.vendored(good) == b"good"  # kept
    kept = next((tmp_path / "cache").rglob("a.js"))
    kept.write_bytes(b"spoilt")
    with pytest.raises(RuntimeError, match="no such file"):
        vendor.vendored(good)


def test_without_npm_the_error_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.delenv("ORTHOBENCH_VENDOR", raising=False)
    monkeypatch.setenv("ORTHOBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(vendor.shutil, "which", lambda name: None)
    with pytest.raises(RuntimeError, match=r"npm is missing.*ORTHOBENCH_VENDOR"):
        vendor.vendored(vendor.GRID)


# ----- parts -----


def test_the_markup_of_benchopts_tables_is_undone():
    from orthobench.report.page import rank_cell, table_cell

    for text in ("0.000123", "12.5", "a_b*c", "n/a", "2 diverged", "[0.1, 0.2]"):
        assert plain(table_cell(text)) == text
    assert plain(rank_cell("2-3", 2)) == "2-3"


def test_addresses_of_names_differ():
    assert list(slugs(["A b", "a-b", "A[b]"]).values()) == ["a-b", "a-b-2", "a-b-3"]
    assert leading_number("0.12 [0.1, 0.2]") == 0.12
    assert leading_number("1-3†") == 1
    assert leading_number("n/a") is None


def test_a_profile_is_the_share_of_data_sets_within_a_factor():
    rows = []
    for dataset, factor in (("a", 0.5), ("b", 2.0), ("c", 4.0)):
        for seed in range(3):
            rows += training_rows("Base", dataset, seed, [1.0, 1.0])
            rows += training_rows("Other", dataset, seed, [1.0, factor])
    (base, other) = sorted(
        performance.profiles(pd.DataFrame(rows), ["a", "b", "c"], rows[0]["objective_name"], "held_out_loss", "Base"),
        key=lambda each: each.solver,
    )
    assert base.share[base.factors.index(1.0)] == 1
    for factor, share in zip(other.factors, other.share, strict=True):
        wanted = np.mean([factor * (1 + 1e-9) >= each for each in (0.5, 2.0, 4.0)])
        assert share == pytest.approx(wanted)
    assert (other.datasets, other.n) == (3, 3)


def test_a_failed_cell_is_within_no_factor():
    rows = []
    for dataset in ("a", "b"):
        for seed in range(2):
            rows += training_rows("Base", dataset, seed, [1.0, 1.0])
            rows += training_rows("Other", dataset, seed, [1.0, 0.5])
    frame = pd.DataFrame(rows)
    frame.loc[(frame.solver_name == "Other") & (frame.dataset_name == "b"), "objective_status"] = "diverged"
    found = performance.profiles(frame, ["a", "b"], rows[0]["objective_name"], "held_out_loss", "Base")
    other = next(each for each in found if each.solver == "Other")
    assert max(other.share) == 0.5
    assert performance.profiles(frame, ["a", "b"], rows[0]["objective_name"], "held_out_loss", "Nobody") == []
