"""Verdicts on pages: each claim once however many machines there are, its counts as a bar, and badges."""

import re
from collections import Counter
from xml.etree import ElementTree

import published
import pytest
from made_up import ADAMW, DIGITS, DOCS, HALVED, TURBO, falling, training_frame

from orthobench.report import command
from orthobench.report.site import render
from orthobench.report.site.badges import MARGIN, width
from orthobench.report.site.documents import Documents
from orthobench.report.site.findings import matrix
from orthobench.report.site.results import read_results
from orthobench.report.site.verdicts import bar, judge, summary
from orthobench.report.verify import tables_of

CLAIM = """
[[claim]]
id = "ID"
method = "Turbo-Muon"
text = "A lower loss than AdamW's."
source = { paper = "A paper", arxiv = "2512.04632", where = "abstract" }
[claim.query]
metric = "held_out_loss"
datasets = ["digits*|python_docs*"]
solver = "Turbo-Muon"
baseline = "AdamW"
direction = "lower"
device = "DEVICE"
"""
SVG = "{http://www.w3.org/2000/svg}"


def rows(steps, datasets, **options):
    loss = falling(HALVED | {TURBO: steps})
    return published.provenance(training_frame(loss, solvers=(ADAMW, TURBO), datasets=datasets, **options))


def written(folder, frames):
    """Write a root with two claims, about any device and about a GPU, and results; return the folder of these."""
    (folder / "benchmark_muon").mkdir()
    told = [CLAIM.replace("ID", name).replace("DEVICE", device) for name, device in (("a", "any"), ("b", "cuda"))]
    head = 'benchmark = "benchmark_muon"\nsolvers = ["AdamW", "Turbo-Muon"]\n'
    (folder / "benchmark_muon" / "claims.toml").write_text(head + "".join(told))
    (folder / "claims.toml").write_text((published.ROOT / "claims.toml").read_text())
    return published.write(folder / "results", frames)


def judged(results):
    found, _ = judge(Documents(results.parent), read_results(results)[0])
    return {each.verdict.claim.id: each for each in found if each.benchmark.folder == "benchmark_muon"}


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Rows of a CPU, on which it holds, and of a GPU with more data sets, on one of which it fails."""
    frames = {
        "training/a_cpu/cpu.parquet": rows(12.0, (DIGITS,)),
        "training/gpu/gpu.parquet": rows(60.0, (DIGITS, DOCS), device="cuda"),
    }
    return written(tmp_path_factory.mktemp("two"), frames)


@pytest.fixture(scope="module")
def pages(two):
    files, problems = render(two, root=two.parent)
    assert problems == []
    return files


def test_two_machines_do_not_double_the_claims(two, pages):
    one = judged(two)
    assert list(one) == ["a", "b"]
    every, _ = judge(Documents(two.parent), read_results(two)[0])
    listed = 2 + (two.parent / "claims.toml").read_text().count("[[claim]]")
    assert len(every) == listed
    assert summary(every).startswith(f"{listed} claims: 0 reproduced, 2 not reproduced, 0 inconclusive")
    home = pages["index.html"].decode()
    assert len(tables_of(home)["claims"]) == listed + 1
    assert summary(every) in home
    cells = [cell for _, verdicts in matrix(every, lambda benchmark: None) for own in verdicts for cell in own]
    assert len(cells) == listed
    assert "2 claims: 0 reproduced, 2 not reproduced" in pages["training/index.html"].decode()


def test_the_verdict_with_the_most_tests_stands_and_the_others_are_inside(two):
    claim = judged(two)["a"]
    assert (claim.machine, claim.verdict.verdict, len(claim.verdict.tested)) == ("gpu", "not reproduced", 2)
    assert [(each.machine, each.verdict.verdict) for each in claim.others] == [("a_cpu", "reproduced")]
    about = judged(two)["b"]  # a GPU alone
    assert (about.machine, about.others, about.disagreement) == ("gpu", (), "")


@pytest.mark.parametrize("more", ["a_cpu", "gpu"])
def test_the_outcome_has_no_part_in_which_verdict_stands(tmp_path, more):
    sets = {name: (DIGITS, DOCS) if name == more else (DIGITS,) for name in ("a_cpu", "gpu")}
    frames = {f"training/{name}/x.parquet": rows(12.0 if name == "gpu" else 60.0, own) for name, own in sets.items()}
    assert judged(written(tmp_path, frames))["a"].machine == more


def test_machines_that_disagree_are_shown_to_on_every_page(pages):
    told = "reproduced on a_cpu, not reproduced on gpu"
    page, home = pages["training/index.html"].decode(), pages["index.html"].decode()
    assert f"<strong>The rows disagree:</strong> {told}." in page
    assert page.count("(the rows disagree)</span>") == home.count("(the rows disagree)</small>") == 1
    assert f"disagreement: {told}" in " ".join(tables_of(home)["claims"][1])
    assert f"The rows disagree: {told}." in home
    tables = tables_of(page)
    assert {"claim-a-gpu", "claim-a-a_cpu", "claim-b-gpu"} <= tables.keys()
    assert [len(tables[f"claim-a-{machine}"]) - 1 for machine in ("gpu", "a_cpu")] == [2, 1]
    assert page.count('id="claim-a"') == 1


def test_machines_that_agree_are_not_said_to_disagree(tmp_path):
    frames = {f"training/{name}/x.parquet": rows(12.0, (DIGITS,)) for name in ("one", "two")}
    claim = judged(written(tmp_path, frames))["a"]
    assert (claim.machine, [each.machine for each in claim.others]) == ("one", ["two"])
    assert claim.disagreement == ""


def test_the_terminal_judges_published_files_machine_by_machine(two, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "500")
    paths = [str(path) for path in sorted((two / "training").rglob("*.parquet"))]
    assert command.main([*paths, "--claims"]) == 0
    told = capsys.readouterr().out
    assert "2 claims: 0 reproduced, 2 not reproduced" in told
    assert "of the rows of: gpu" in told
    assert "on a_cpu: reproduced (small scale): held_out_loss" in told
    assert "disagreement: reproduced on a_cpu, not reproduced on gpu" in told
    assert command.main([paths[0], "--claims"]) == 0
    assert "2 claims: 1 reproduced, 0 not reproduced, 0 inconclusive, 1 not run here" in capsys.readouterr().out


def test_the_command_of_the_home_page_gives_the_verdicts_of_the_home_page(two, pages):
    home = pages["index.html"].decode()
    commands = re.findall(r"orthobench report ([^<]*) --claims", home)
    assert commands == ["results/training/a_cpu/cpu.parquet results/training/gpu/gpu.parquet"]


# ----- bars -----


def test_a_bar_counts_the_tests(two, pages):
    claim = judged(two)["a"]
    own = bar(claim.verdict)
    counts = Counter(check.outcome for check in claim.verdict.checks)
    assert {outcome: length for outcome, _, length in own.parts} == counts
    assert sum(length for *_, length in own.parts) == own.total
    assert own.told == "holds on 0, fails on 2, open on 0 of 2"
    assert claim.verdict.reason.startswith(own.told)
    page, home = pages["training/index.html"].decode(), pages["index.html"].decode()
    assert f"<small>{own.told}</small>" in page
    assert f'role="img" aria-label="{own.told}"' in home
    drawn = re.findall(r'<rect class="(\w+)" x="(\d+)" y="0" width="(\d+)" height="1"/>', page)
    assert ("fails", "0", "2") in drawn
    assert ("holds", "0", "1") in drawn


def test_parts_of_a_bar_lie_side_by_side(tmp_path):
    loss = falling(HALVED | {TURBO: 12.0})
    worse = falling(HALVED | {TURBO: 60.0})

    def mixed(solver, dataset, seed, step):
        return (loss if dataset == DIGITS else worse)(solver, dataset, seed, step)

    frame = published.provenance(training_frame(mixed, solvers=(ADAMW, TURBO), datasets=(DIGITS, DOCS)))
    claim = judged(written(tmp_path, {"training/one/x.parquet": frame}))["a"]
    assert bar(claim.verdict).parts == (("holds", 0, 1), ("fails", 1, 1))
    assert bar(judged(tmp_path / "results")["b"].verdict) is None


# ----- badges -----


def test_badges_count_the_claims_and_their_texts_fit(two, pages):
    found = {path: ElementTree.fromstring(content) for path, content in pages.items() if path.startswith("badges/")}
    assert set(found) == {"badges/orthobench.svg", "badges/training.svg", "badges/training/turbo-muon.svg"}
    for path, root in found.items():
        told = root.findtext(f"{SVG}title")
        assert told == root.get("aria-label")
        texts = root.findall(f".//{SVG}text")
        edges = [0, float(re.match(r"M(\d+)", root.find(f"{SVG}path").get("d"))[1]), float(root.get("width"))]
        for each, start, end in zip(texts, edges, edges[1:], strict=False):
            assert float(each.get("textLength")) == width(each.text)
            assert float(each.get("x")) == start + MARGIN
            assert float(each.get("x")) + width(each.text) + MARGIN == end
        counts = dict.fromkeys(re.findall(r"\d+", told))
        assert texts[1].text.startswith("0 reproduced, 2 not"), counts
        assert ("open" in texts[1].text) == (path == "badges/orthobench.svg")
    assert found["badges/training.svg"].findtext(f".//{SVG}text") == "OrthoBench Training"


def test_the_markdown_of_a_badge_leads_to_its_page(pages):
    page = pages["training/index.html"].decode()
    site = "https://orthobench.github.io/orthobench/"
    told = re.findall(r"\[!\[([^\]]*)\]\(([^)]*)\)\]\(([^)]*)\)", page)
    assert len(told) == 2
    for alternative, picture, target in told:
        assert alternative.startswith("OrthoBench T")
        assert picture.removeprefix(site) in pages
        assert target.removeprefix(site) == "training/index.html"
    assert f"]({site}badges/orthobench.svg)]({site}index.html)" in pages["index.html"].decode()


def test_no_text_of_a_claim_is_markup_in_a_badge(tmp_path):
    results = written(tmp_path, {"training/one/x.parquet": rows(12.0, (DIGITS,))})
    path = tmp_path / "benchmark_muon" / "claims.toml"
    path.write_text(path.read_text().replace('method = "Turbo-Muon"', 'method = "<b>&](x) $1$"'))
    files, _ = render(results, root=tmp_path)
    (name,) = [path for path in files if path.startswith("badges/training/")]
    assert ElementTree.fromstring(files[name]).findtext(f".//{SVG}text") == "OrthoBench <b>&](x) $1$"
    assert "![OrthoBench &lt;b&gt;&amp;)(x) $1$: verdicts on" in files["training/index.html"].decode()
