"""A solver's first screen, the page that says how to cite, and how a solver is added: what they say is so."""

import html
import re
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import numpy as np
import published
import pytest
from conftest import ROOT
from made_up import ADAMW, DIGITS, SGD, TURBO
from scipy import stats

from orthobench.report.leaderboard import NO_GUARANTEE, Row
from orthobench.report.methods_file import FILE, load_methods
from orthobench.report.site import advice, dispute, render, versus
from orthobench.report.statistics import Comparison

METHODS = load_methods(ROOT / FILE)


@pytest.fixture(scope="module")
def files():
    return published.files()


def solver_page(files, name, benchmark="training"):
    return html.unescape(files[f"{benchmark}/solvers/{name}.html"].decode())


def listed(page, heading):
    """Return the sentences below a heading, without their links."""
    part = page.partition(f'<h2 id="{heading}">')[2].partition("</section>")[0]
    return [re.sub(r"<[^>]*>", "", each) for each in re.findall(r"<li>(.*?)</li>", part, re.DOTALL)]


# ----- use it if, not if -----


def test_what_speaks_for_a_method_is_said_with_the_figures_of_the_rows(files):
    sentences = listed(solver_page(files, "turbo-muon"), "use")
    assert 1 <= len(sentences) <= 4
    rows, compared = published.training().sort_values("stop_val"), 0
    last = rows.groupby(["dataset_name", "solver_name", "idx_rep"]).tail(1).set_index("idx_rep")
    for sentence in sentences:
        found = re.fullmatch(
            r"Held-out loss \(nats\): (\S+) lower than AdamW on (.+) \(95 % interval (\S+) to (\S+), n = (\d+)\)\.",
            sentence,
        )
        if not found:
            continue
        compared += 1
        size, dataset, low, high, n = found.groups()
        own = last[last["dataset_name"].str.startswith(dataset.partition(" ")[0].partition(",")[0])]
        one, other = (own.loc[own["solver_name"] == each, "objective_held_out_loss"] for each in (TURBO, ADAMW))
        gap = other - one
        half = stats.t.ppf(0.975, len(gap) - 1) * gap.std() / len(gap) ** 0.5
        assert len(gap) == int(n)
        assert gap.mean() == pytest.approx(float(size), rel=5e-3)
        assert [gap.mean() - half, gap.mean() + half] == pytest.approx([float(low), float(high)], rel=1e-2)
    assert compared


def test_failed_cells_speak_against_a_method(files):
    rows = published.training()
    failed = rows[(rows["solver_name"] == SGD) & (rows["objective_status"] == "diverged")]
    count = len(failed[["dataset_name", "idx_rep"]].drop_duplicates())
    (sentence,) = [each for each in listed(solver_page(files, "sgd"), "avoid") if "failed" in each]
    assert sentence.startswith(f"Cells failed ({count} diverged) on ")
    assert "digits" in sentence


def test_the_baselines_page_says_that_it_is_the_baseline(files):
    page = solver_page(files, "adamw")
    assert any("It is the baseline" in each for each in listed(page, "open"))
    assert "lower than AdamW" not in page


def made(rank="1", difference=-0.1, p=0.001, n=10, failures=(), mean=1.0, baseline_rank="2"):
    """Return a comparison of two made-up solvers by a metric of which lower is better."""
    test = Comparison(difference, difference - 0.05, difference + 0.05, p, n)
    common = {"time": np.nan, "time_low": np.nan, "time_high": np.nan, "note": ""}
    row = Row("New", rank, n, mean, mean, mean, test, failures=Counter(failures), **common)
    base = Row("Old", baseline_rank, n, 1.0, 1.0, 1.0, None, failures=Counter(), **common)
    machine = SimpleNamespace(rows_path=lambda setting, solver: "training/one/1.html#new")
    outcome = advice._outcome(row, base, "held_out_loss")
    board = SimpleNamespace(first="held_out_loss", setting="s")
    return advice.Compared("digits", machine, board, row, base, outcome)


def told(compared, **options):
    """Return the texts of the advice on a made-up method."""
    options = {"is_baseline": False, "reasons": [], "reference": ""} | options
    against = advice.Against("Old", options["is_baseline"], "New", 1, (compared,) if compared else ())
    found = advice.advise(against, [], "training/index.html", options["reasons"], options["reference"])
    return {
        name: ["".join(part.text for part in sentence) for sentence in getattr(found, name)]
        for name in ("use", "avoid", "open")
    }


@pytest.mark.parametrize(
    ("options", "place", "said"),
    [
        ({}, "use", "0.100 lower than Old on digits"),
        ({"difference": 0.1}, "avoid", "0.100 higher than Old on digits"),
        (
            {"p": 0.2},
            "open",
            "solvers): digits (-0.100, interval -0.150 to -0.0500, n = 10).",
        ),
        ({"n": 7, "p": np.nan}, "open", "Too few seeds to tell, fewer than 8: digits."),
        ({"rank": NO_GUARANTEE}, "avoid", "it claims none, or what it claims is refuted, on digits"),
        ({"baseline_rank": NO_GUARANTEE}, "open", "Not compared, because Old has no figure there, no guarantee or"),
        ({"mean": np.nan, "rank": "failed", "failures": ["diverged"]}, "avoid", "Cells failed (1 diverged) on digits."),
    ],
)
def test_each_outcome_is_said_where_it_belongs_and_nowhere_else(options, place, said):
    sentences = told(made(**options))
    found = [(where, each) for where, own in sentences.items() for each in own if "speaks for it" not in each]
    assert len(found) == 1
    assert found[0][0] == place
    assert said in found[0][1]
    assert any("Nothing that was measured here speaks for it over Old." in each for each in sentences["open"]) == (
        not sentences["use"] and "Not compared" not in said
    )


def test_what_is_not_to_be_used_has_nothing_that_speaks_for_it():
    sentences = told(made(), reference="it is old")
    assert sentences == {"use": [], "avoid": ["It is here for reference: it is old."], "open": []}


def test_a_method_without_its_guarantee_wins_nothing_however_good_its_figure():
    assert told(made(rank=NO_GUARANTEE, difference=-5.0))["use"] == []


def test_superseded_rows_are_said_to_be_compared_with_nothing():
    sentences = told(None, reasons=["It has changed."])
    assert sentences == {
        "use": [], "avoid": [], "open": ["Its rows are superseded, and compared with nothing: It has changed."],
    }  # fmt: skip


def test_the_largest_differences_come_first_and_the_rest_is_named():
    sizes = (0.1, 0.5, 0.3, 0.2)
    against = advice.Against("Old", False, "New", 1, tuple(made(difference=-size) for size in sizes))
    found = ["".join(part.text for part in each) for each in advice.advise(against, [], "", []).use]
    assert [re.search(r": (\S+) lower", each)[1] for each in found[:2]] == ["0.500", "0.300"]
    assert found[2] == "Likewise on 2 more: digits, digits."
    assert len(found) == 3


def test_data_sets_are_named_by_what_tells_them_apart():
    one, other = (SimpleNamespace(result=SimpleNamespace(machine=name)) for name in ("one", "other"))
    loud = SimpleNamespace(dataset="digits[a=1]", objective="Private[audit=True,epsilon=2,part=held_out]")
    quiet = SimpleNamespace(dataset="digits[a=1]", objective="Private[audit=False,epsilon=1,part=held_out]")
    assert advice._labels([(one, loud), (one, quiet)]) == ["digits, audit, epsilon=2", "digits, epsilon=1"]
    assert advice._labels([(one, loud), (other, loud)]) == ["digits, one", "digits, other"]


# ----- the picture -----


def test_each_picture_is_there_with_its_figures_in_words(files):
    pages = [path for path in files if re.fullmatch(r"training/solvers/[^/]+\.html", path)]
    pictures = 0
    for path in pages:
        found = re.search(r'<img src="\.\./\.\./(assets/[^"]+\.svg)" alt="([^"]+)"', files[path].decode())
        if found:
            pictures += 1
            assert files[found[1]].startswith(b"<?xml")
            assert re.fullmatch(r"Difference to AdamW in .*: \S.* %, from \S+ to \S+\.", html.unescape(found[2]))
    assert pictures
    assert 'class="versus"' not in solver_page(files, "adamw")


def test_the_picture_is_of_the_differences_in_percent_of_the_baselines_mean(files):
    alternative = re.search(r'<img[^>]* alt="([^"]+)"', solver_page(files, "turbo-muon"))[1]
    shown = float(re.search(r"digits[^;]*? (-?[\d.e-]+) %", alternative)[1])
    rows = published.training()
    own = rows[rows["dataset_name"] == DIGITS].sort_values("stop_val").groupby(["solver_name", "idx_rep"]).tail(1)
    one, other = (own.loc[own["solver_name"] == each, "objective_held_out_loss"].to_numpy() for each in (TURBO, ADAMW))
    assert shown == pytest.approx(100 * (one - other).mean() / other.mean(), rel=1e-2)


def test_differences_stay_as_they_are_where_a_mean_is_not_positive():
    compared = made()
    zero = replace(compared.baseline, mean=0.0)
    values, unit = versus.scaled([replace(compared, baseline=zero)])
    assert unit == ""
    assert values[0][0] == pytest.approx(-0.1)


# ----- how to use it, where else it is -----


def commands(page):
    return re.findall(r'<pre tabindex="0" aria-label="([^"]*)"><code>(.*?)</code>', page, re.DOTALL)


def test_the_page_shows_the_declared_code_and_a_command_that_names_the_baseline(files):
    shown = dict(commands(solver_page(files, "turbo-muon")))
    assert shown["Python code that uses Turbo-Muon"] == METHODS.snippet_of("benchmark_muon/Turbo-Muon")
    command = shown["Command that runs Turbo-Muon in the benchmark"]
    assert command == "benchopt run benchmark_muon -d digits -s Turbo-Muon -s AdamW"
    shown = dict(commands(solver_page(files, "adamw")))
    assert shown["Command that runs AdamW in the benchmark"] == "benchopt run benchmark_muon -d digits -s AdamW"


def test_a_method_is_linked_to_its_pages_in_other_benchmarks_both_ways(files):
    for path, other in (("training", "orthogonalisation"), ("orthogonalisation", "training")):
        page = files[f"{path}/solvers/turbo-muon.html"].decode()
        also = re.search(r'<p class="also">(.*?)</p>', page, re.DOTALL)[1]
        assert f'href="../../{other}/solvers/turbo-muon.html"' in also


# ----- dispute this result -----


def opened(address):
    parts = urlsplit(address)
    assert (parts.scheme, parts.netloc) == ("https", "github.com")
    assert parts.path.endswith("/issues/new")
    query = parse_qs(parts.query, strict_parsing=True)
    return query["title"][0], query["body"][0]


def disputes(page):
    return [html.unescape(each) for each in re.findall(r'<a href="([^"]*)">Dispute this result</a>', page)]


def test_an_issue_is_opened_with_the_cell_filled_in(files):
    (address,) = disputes(files["training/solvers/turbo-muon.html"].decode())
    title, body = opened(address)
    assert title.startswith(f"Dispute: {TURBO} on ")
    assert f"    git checkout {published.COMMIT}" in body
    assert f"-s '{TURBO}'" in body
    assert re.search(r"    figure: held-out loss \(nats\) [\d.]+, interval \[[\d., ]+\], n = 8", body)


def test_each_solver_of_a_page_of_rows_can_be_disputed_by_an_address_that_servers_take(files):
    page = files[next(path for path in files if path.startswith("training/one/1-"))].decode()
    addresses = disputes(page)
    assert len(addresses) == len(re.findall(r'<section id="[^"]*" class="rows">', page))
    assert all(len(each) <= dispute.MOST for each in addresses)
    bodies = [opened(each)[1] for each in addresses]
    assert [SGD in body for body in bodies].count(True) == 1
    assert all(line.startswith("    ") for body in bodies for line in body.split("\n")[6:] if line)


def test_a_long_text_is_cut_to_what_an_address_may_hold():
    address = dispute.issue("https://github.com/a/b", "é" * 5000, "<&\n" * 5000)
    assert len(address) <= dispute.MOST
    title, body = opened(address)
    assert title.endswith("é…")
    assert body.endswith("…")


# ----- how to cite, how to add a solver -----


def test_every_page_leads_to_how_to_cite(files):
    for path, content in files.items():
        if path.endswith(".html") and not path.endswith("/benchopt.html"):
            assert f'href="{"../" * path.count("/")}cite.html"' in content.decode(), path


def test_the_page_has_all_publications_with_their_methods(files):
    page = html.unescape(files["cite.html"].decode())
    shown = dict(commands(page))
    assert "@software{orthobench," in shown["OrthoBench as BibTeX"]
    for each in METHODS.publications:
        assert shown[f"{each.key} as BibTeX"] == each.bibtex
        assert f'<h3 id="{each.key}">' in page
    assert 'href="training/solvers/turbo-muon.html"' in page


def test_a_solvers_page_has_its_publications(files):
    shown = dict(commands(solver_page(files, "turbo-muon")))
    assert "boissin2025turbo as BibTeX" in shown


def test_each_benchmark_says_how_to_add_a_solver_with_files_that_there_are(files):
    for name in ("orthogonalisation", "training", "robustness"):
        page = html.unescape(files[f"{name}/index.html"].decode())
        (told,) = [text for label, text in commands(page) if label == "Commands that add a solver, run it and test it"]
        start = re.search(r"^cp (\S+) (\S+)/my_method\.py$", told, re.MULTILINE)
        assert (ROOT / start[1]).is_file()
        assert (ROOT / start[2]).is_dir()
        assert "class Solver(" in page.partition('<h2 id="add">')[2].partition("</section>")[0]


def test_a_broken_file_of_methods_is_named_and_the_site_goes_without(tmp_path):
    (tmp_path / FILE).write_text("[[paper]]\n")
    (tmp_path / "results").mkdir()
    files, problems = render(tmp_path / "results", root=tmp_path)
    assert [each.where for each in problems] == [FILE]
    assert "unknown tables paper" in problems[0].what
    assert "No publications are declared" in files["cite.html"].decode()
