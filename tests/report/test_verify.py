"""What `orthobench verify` finds: rows that can't be trusted, missing cells, a site that says something else."""

import hashlib
import json
import random
import re
import shutil
from dataclasses import dataclass

import pandas as pd
import published
import pytest
from made_up import ADAMW, DIGITS, TRAINING, TURBO, training_frame

from orthobench import cli
from orthobench.report.site import render, vendor
from orthobench.report.verify import compare_site, tables_of, verify
from orthobench.runs.planned import planned_cells

PLACE = "training/one/cpu.parquet"
SCRIPT = vendor.Script("made-up", "1", "package/made-up.js", hashlib.sha256(b"script").hexdigest())


def rows():
    return published.provenance(training_frame(solvers=(ADAMW, TURBO), datasets=(DIGITS,), seeds=3))


def problems(folder, frame, **options):
    found, notes = verify(published.write(folder, {PLACE: frame}), **options)
    return [each.what for each in found], [each.what for each in notes if "not checked" not in each.what]


def test_good_rows_have_no_problem(tmp_path):
    assert problems(tmp_path, rows()) == ([], [])


@pytest.mark.parametrize("dirty", [True, None])
def test_rows_with_uncommitted_changes_are_counted(tmp_path, dirty):
    frame = rows()
    frame["objective_env_dirty"] = [dirty if place < 2 else False for place in range(len(frame))]
    (what,), _ = problems(tmp_path, frame)
    assert what.startswith(f"2 of {len(frame)} rows were computed with uncommitted changes")


def test_rows_need_a_commit(tmp_path):
    (what,), _ = problems(tmp_path / "a", rows().assign(objective_env_commit="unknown"))
    assert "unknown commit" in what
    (what,), _ = problems(tmp_path / "b", rows().drop(columns="objective_env_commit"))
    assert "tell no commit" in what


def test_a_repetition_that_others_have_is_missed(tmp_path):
    frame = rows()
    (what,), _ = problems(tmp_path, frame[(frame["solver_name"] != TURBO) | (frame["idx_rep"] != 1)])
    assert f"{TURBO} on {DIGITS}" in what
    assert what.endswith("no repetition 1.")


@dataclass
class Plan:
    dataset: str
    objective: str
    solver: str
    seeds: tuple
    reason: object

    def skipped(self):
        if isinstance(self.reason, Exception):
            raise self.reason
        return self.reason


@pytest.mark.parametrize(
    ("reason", "missing", "skipped"),
    [("", 1, 0), ("takes no such network", 0, 1), (OSError("no data"), 1, 0)],
)
def test_planned_cells_are_there_or_skipped(tmp_path, reason, missing, skipped):
    (tmp_path / "benchmark_muon" / "configs").mkdir(parents=True)
    (tmp_path / "benchmark_muon" / "configs" / "cpu.yml").write_text("")
    plan = [Plan(DIGITS, TRAINING, name, (0, 1, 2), "") for name in (ADAMW, TURBO)]
    plan.append(Plan(DIGITS, TRAINING, "Shampoo[learning_rate=0.01]", (0, 1, 2), reason))
    options = {"root": tmp_path, "planned": lambda folder, configuration: plan}
    found, notes = problems(tmp_path / "results", rows(), **options)
    assert (len(found), len(notes)) == (missing, skipped)
    assert all("Shampoo[learning_rate=0.01]" in each for each in found + notes)
    assert all("(OSError: no data)" in each for each in found) or not isinstance(reason, Exception)
    plan[0] = Plan(DIGITS, TRAINING, ADAMW, (0, 1, 2, 3), "")
    found, _ = problems(tmp_path / "results", rows(), **options)
    assert any(f"{ADAMW} on {DIGITS}, {TRAINING}: no repetition 3" in each for each in found)


def test_rows_from_before_a_parameter_existed_count_where_the_history_tells_its_value(tmp_path):
    (tmp_path / "benchmark_muon" / "configs").mkdir(parents=True)
    (tmp_path / "benchmark_muon" / "configs" / "cpu.yml").write_text("")
    plan = [
        Plan(DIGITS, TRAINING, name, (0, 1, 2), "") for name in (ADAMW, TURBO.replace("weight", "refresh=20,weight"))
    ]
    options = {"root": tmp_path, "planned": lambda folder, configuration: plan}
    found, _ = problems(tmp_path / "results", rows(), **options)
    assert len(found) == 1
    entry = {"benchmark": "benchmark_muon", "solver": "Turbo-Muon", "parameter": "refresh", "now": "20", "reason": "a"}
    lines = ["[[alias]]", *(f'{key} = "{value}"' for key, value in entry.items())]
    (tmp_path / "results" / "history.toml").write_text("\n".join(lines))
    (tmp_path / "benchmark_muon" / "solvers").mkdir()
    (tmp_path / "benchmark_muon" / "solvers" / "turbo_muon.py").write_text('    name = "Turbo-Muon"\n')
    assert problems(tmp_path / "results", rows(), **options) == ([], [])


def test_the_plan_of_a_configuration_is_what_benchopt_would_run():
    folder = published.ROOT / "benchmark_muon"
    plan = planned_cells(folder, folder / "configs" / "cpu.yml")
    told = {(each.dataset.split("[")[0], each.solver.split("[")[0]) for each in plan}
    assert ("digits", "AdamW") in told
    assert {each.seeds for each in plan} == {tuple(range(8))}
    by_solver = {each.solver.split("[")[0]: each for each in plan if each.dataset.startswith("digits")}
    assert "AdamW alone" in by_solver["torch.optim.Muon"].skipped()
    assert by_solver["AdamW"].skipped() == ""


def test_a_configuration_that_names_what_is_not_there_is_an_error(tmp_path):
    path = tmp_path / "wrong.yml"
    path.write_text("solver: [Nobody]\n")
    with pytest.raises(ValueError, match=r"wrong\.yml: .*Nobody"):
        planned_cells(published.ROOT / "benchmark_muon", path)


# ----- the site -----


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The files of a small site, and the folder that holds them."""
    folder = tmp_path_factory.mktemp("small")
    files, _ = render(published.write(folder / "results", {PLACE: rows()}), root=published.ROOT)
    for path, content in {**files, f"assets/{SCRIPT.name}": b"script"}.items():
        (folder / "site" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "site" / path).write_bytes(content)
    return files, folder / "site"


@pytest.fixture
def copied(small, tmp_path, monkeypatch):
    files, site = small
    monkeypatch.setattr("orthobench.report.verify.SCRIPTS", (SCRIPT,))
    return files, shutil.copytree(site, tmp_path / "site")


def test_a_site_that_says_what_the_rows_say_has_no_problem(copied):
    assert compare_site(*copied) == []


def test_an_edited_figure_is_found(copied):
    files, site = copied
    page = site / "training" / "index.html"
    text = page.read_text()
    key, table = next((key, table) for key, table in tables_of(text).items() if key.startswith("board"))
    mean = table[1][table[0].index("mean")]
    page.write_text(text.replace(f">{mean}<", ">0.0123<", 1))
    (problem,) = compare_site(files, site)
    assert problem.where == "training/index.html"
    assert f"table {key}, row 1, column 3 says '0.0123', and the rows give '{mean}'" in problem.what


def test_edited_data_downloads_and_pages_are_found(copied):
    files, site = copied
    data = next(path for path in files if re.match(r"data/training/one/learning-curve-1\.js", path))
    told = json.loads("[" + files[data].decode()[len("orthobench.receive(") : -3] + "]")
    told[1]["data"][0]["y"][0] *= 1.001
    (site / data).write_text(f"orthobench.receive({json.dumps(told)[1:-1]});\n")
    (site / "downloads/training/one/cpu.csv").write_text("edited")
    (site / "index.html").unlink()
    (site / "training" / "stale.html").write_text("<table id='a'></table>")
    found = {each.where: each.what for each in compare_site(files, site)}
    assert set(found) == {data, "downloads/training/one/cpu.csv", "index.html", "training/stale.html"}
    assert "differs from what the rows give, first in line 1" in found[data]


@pytest.mark.parametrize("seed", range(3))
def test_any_changed_byte_is_found(copied, seed):
    files, site = copied
    generator = random.Random(seed)
    path = generator.choice(sorted(path for path, content in files.items() if content))
    content = bytearray(files[path])
    content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
    (site / path).write_bytes(content)
    assert [each.where for each in compare_site(files, site)] == [path]


def test_files_and_scripts_of_others_are_found(copied):
    files, site = copied
    (site / "assets" / SCRIPT.name).write_bytes(b"another")
    (site / "assets" / "more.js").write_bytes(b"script")
    found = {each.where: each.what for each in compare_site(files, site)}
    assert "not the script" in found.pop(f"assets/{SCRIPT.name}")
    assert found == {"assets/more.js": "is a file that no published row gives."}


def test_links_in_a_site_are_found(copied, tmp_path):
    files, site = copied
    (site / "elsewhere").symlink_to(tmp_path)
    (site / "index.html").unlink()
    (site / "index.html").symlink_to(tmp_path / "nowhere")
    found = {each.where: each.what for each in compare_site(files, site)}
    assert found == {
        "index.html": "is no file; build the site again.",
        "elsewhere": "is a file that no published row gives.",
    }


# ----- the command -----


def test_the_command_says_how_many_problems_there_are(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where there is no history
    published.write(tmp_path / "good", {"training/one/mine.parquet": rows()})
    assert cli.main(["verify", "--results", str(tmp_path / "good")]) == 0
    assert "0 problems" in capsys.readouterr().out
    (tmp_path / "good/training/one/bad.parquet").write_bytes(b"bad")
    published.write(tmp_path / "good", {})
    assert cli.main(["verify", "--results", str(tmp_path / "good")]) == 1
    captured = capsys.readouterr()
    assert "1 problem in" in captured.out
    assert "bad.parquet: " in captured.err
    assert cli.main(["verify", "--results", str(tmp_path / "nowhere")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_published_results_have_no_problem():
    """The rows under results/, without the configurations, which `orthobench verify` reads too."""
    found, _ = verify(published.ROOT / "results")
    assert found == []
    assert isinstance(pd.read_parquet(next((published.ROOT / "results").rglob("*.parquet"))), pd.DataFrame)
