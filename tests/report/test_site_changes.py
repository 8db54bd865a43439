"""The changes of published results in a small repository: which verdicts moved, the feed, what verify can check."""

import html
import os
import re
import shutil
import subprocess
from xml.etree import ElementTree

import published
import pytest
from made_up import ADAMW, DIGITS, HALVED, TURBO, falling, training_frame

from orthobench.report import history
from orthobench.report.site import changes as changes_of
from orthobench.report.site import render
from orthobench.report.site.changes import changes
from orthobench.report.site.documents import Documents
from orthobench.report.site.results import read_results
from orthobench.report.site.verdicts import judge
from orthobench.report.verify import OF_HISTORY, check_site

PLACE = "training/one/cpu.parquet"
HOSTILE = '</script><script>alert(1)</script> & "x" ]]> \x1b[31m é'
CLAIMS = """
benchmark = "benchmark_muon"
solvers = ["AdamW", "Turbo-Muon"]
[[claim]]
id = "less-loss"
method = "Turbo-Muon"
text = "A lower loss than AdamW's."
source = { paper = "A paper", arxiv = "2512.04632", where = "abstract" }
[claim.query]
metric = "held_out_loss"
datasets = ["digits*"]
solver = "Turbo-Muon"
baseline = "AdamW"
direction = "lower"
"""
SUPERSEDED = f"""
[[superseded]]
benchmark = "benchmark_muon"
solver = "Turbo-Muon"
commits = ["{published.COMMIT}"]
reason = "It was wrong."
"""
RENAMED = """
[[alias]]
benchmark = "benchmark_muon"
solver = "Old Muon"
now = "Turbo-Muon"
reason = "It has another name."
"""
SMALL = "reproduced (small scale)"
FAILS = "not reproduced (small scale)"
ATOM = "{http://www.w3.org/2005/Atom}"


def rows(steps=12.0, **options):
    """Rows on which Turbo-Muon halves the loss in so many steps, AdamW in 20."""
    loss = falling(HALVED | {TURBO: steps})
    options = {"solvers": (ADAMW, TURBO), "datasets": (DIGITS,)} | options
    return published.provenance(training_frame(loss, **options))


class Repository:
    """A repository of claims and results, whose commits are an hour apart."""

    def __init__(self, folder):
        self.folder, self.hours = folder, 0
        self.git("init", "--quiet", "--initial-branch=main", ".")
        (folder / "benchmark_muon").mkdir()
        (folder / "benchmark_muon" / "claims.toml").write_text(CLAIMS)
        shutil.copy(published.ROOT / "claims.toml", folder)

    def git(self, *arguments):
        when = f"2026-01-01T{self.hours:02}:00:00+02:00"
        person = {f"GIT_{role}_{what}": "a" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        dates = {f"GIT_{role}_DATE": when for role in ("AUTHOR", "COMMITTER")}
        env = {**os.environ, **person, **dates, "GIT_CONFIG_GLOBAL": os.devnull}
        done = subprocess.run(["git", *arguments], cwd=self.folder, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, subject, frame=None, texts=()):
        self.hours += 1
        if frame is not None:
            published.write(self.folder / "results", {PLACE: frame})
        for name, text in dict(texts).items():
            (self.folder / name).write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", subject)
        return self.git("rev-parse", "HEAD")

    @property
    def results(self):
        return self.folder / "results"


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """Rows whose verdict moves with each commit, with a merge, superseded rows and a hostile subject."""
    made = Repository(tmp_path_factory.mktemp("repository"))
    made.commit("Rows that hold", rows())
    made.commit("No rows", texts={"README.md": "Nothing\n"})
    made.commit(HOSTILE, rows(60.0))
    made.git("checkout", "--quiet", "-b", "branch")
    made.commit("A first try", rows(15.0))
    made.commit("A second one", rows(13.0))
    made.git("checkout", "--quiet", "main")
    made.commit("Meanwhile", texts={"README.md": "Something\n"})
    made.hours += 1
    made.git("merge", "--quiet", "--no-ff", "--message", "Merge better rows", "branch")
    made.commit("Superseded", texts={"results/history.toml": SUPERSEDED})
    made.commit("Claims", texts={"benchmark_muon/claims.toml": CLAIMS.replace("loss than", "held-out loss than")})
    made.commit("Rows of now", rows(11.0), {"results/history.toml": ""})
    return made


@pytest.fixture(scope="module")
def files(repository):
    found, problems = render(repository.results, root=repository.folder)
    assert problems == []
    return found


@pytest.fixture(scope="module")
def found(repository):
    return changes(repository.results, Documents(repository.folder), repository.git("rev-parse", "HEAD"))


def test_each_commit_of_the_main_line_tells_its_files_and_which_verdicts_moved(found):
    told = [
        (each.subject, [path for _, path in each.files if "SUMS" not in path],
         [(move.judged.verdict.claim.id, move.before, move.after) for move in each.moves])
        for each in found.listed
    ]  # fmt: skip
    place = f"results/{PLACE}"
    assert told == [
        ("Rows of now", ["results/history.toml", place], [("less-loss", "not run here", SMALL)]),
        ("Claims", ["benchmark_muon/claims.toml"], []),
        ("Superseded", ["results/history.toml"], [("less-loss", SMALL, "not run here")]),
        ("Merge better rows", [place], [("less-loss", FAILS, SMALL)]),
        (HOSTILE.replace("\x1b", " "), [place], [("less-loss", SMALL, FAILS)]),
        (
            "Rows that hold",
            ["benchmark_muon/claims.toml", "claims.toml", place],
            [("less-loss", "not run here", SMALL)],
        ),
    ]
    assert [each.date for each in found.listed][-1] == "2025-12-31T23:00:00Z"
    assert [each.subject for each in found.listed if each.rules] == ["Claims"]
    assert (found.older, found.lack) == (False, "")


def test_the_moves_end_at_the_verdicts_of_the_rows(repository, found):
    judged, _ = judge(Documents(repository.folder), read_results(repository.results)[0])
    last = {}
    for each in reversed(found.listed):
        last |= {(move.judged.benchmark.folder, move.judged.verdict.claim.id): move.after for move in each.moves}
    for each in judged:
        moved = last.get((each.benchmark.folder, each.verdict.claim.id), "not run here")
        assert moved == each.verdict.label


def test_old_rows_are_judged_under_the_names_of_today(tmp_path):
    made = Repository(tmp_path)
    old = rows()
    old["solver_name"] = old["solver_name"].str.replace("Turbo-Muon", "Old Muon")
    made.commit("Rows under an old name", old)
    made.commit("The name", texts={"results/history.toml": RENAMED})
    found = changes(made.results, Documents(tmp_path), made.git("rev-parse", "HEAD"))
    assert [len(each.moves) for each in found.listed] == [0, 1]
    assert history.load(made.results / "history.toml").aliases
    made.commit("Rows under the new name alone", rows(), {"results/history.toml": ""})
    found = changes(made.results, Documents(tmp_path), made.git("rev-parse", "HEAD"))
    assert [len(each.moves) for each in found.listed] == [0, 0, 1]


def test_what_was_published_and_can_not_be_read_costs_nothing_else(tmp_path):
    made = Repository(tmp_path)
    made.commit("Broken", rows(), {"results/history.toml": "[["})
    (made.results / PLACE).write_bytes(b"PAR1")
    made.commit("More so")
    made.commit("Mended", rows(), {"results/history.toml": ""})
    found = changes(made.results, Documents(tmp_path), made.git("rev-parse", "HEAD"))
    assert [[move.after for move in each.moves] for each in found.listed] == [[SMALL], ["not run here"], [SMALL]]


def test_rows_that_the_code_of_today_can_not_judge_say_nothing(repository, monkeypatch):
    def fail(frame, listed):
        return {}["a column"] if len(frame) else judged(frame, listed)

    judged = changes_of.check
    monkeypatch.setattr(changes_of, "check", fail)
    found = changes(repository.results, Documents(repository.folder), repository.git("rev-parse", "HEAD"))
    assert [each.moves for each in found.listed] == [()] * 6


def test_so_many_commits_are_listed_and_the_last_is_compared_with_the_one_before(repository, monkeypatch):
    monkeypatch.setattr(changes_of, "MOST", 3)
    few = changes(repository.results, Documents(repository.folder), repository.git("rev-parse", "HEAD"))
    assert [each.subject for each in few.listed] == ["Rows of now", "Claims", "Superseded"]
    assert [move.before for move in few.listed[-1].moves] == [SMALL]
    assert few.older


# ----- the page and the feed -----


def test_the_page_tells_the_changes_as_text(files, found):
    page = files["changes.html"].decode()
    assert "<script>alert" not in page
    assert html.escape("<script>alert(1)</script>") in page
    for each in found.listed:
        assert f'<article class="change" id="{each.anchor}">' in page
        assert f'<time datetime="{each.date}">{each.date[:10]}</time>' in page
        assert f"https://github.com/orthobench/orthobench/commit/{each.commit}" in page
    moves = re.findall(r'<a href="training/index.html#claim-less-loss">less loss</a>:\s*(.*?) → (.*?)</li>', page)
    plain = [tuple(re.sub("<.*?>", "", label) for label in move) for move in moves]
    assert plain == [(move.before, move.after) for each in found.listed for move in each.moves]
    assert all('href="changes.xml"' in files[path].decode() for path in ("index.html", "changes.html"))
    assert 'rel="alternate" href="../changes.xml" type="application/atom+xml"' in files["training/index.html"].decode()


def check_feed(content):
    """Return the entries of a feed that has all that RFC 4287 requires."""
    root = ElementTree.fromstring(content)
    assert root.tag == f"{ATOM}feed"
    entries = root.findall(f"{ATOM}entry")
    assert root.findtext(f"{ATOM}author/{ATOM}name")
    for each in (root, *entries):
        for name in ("id", "title", "updated"):
            (only,) = each.findall(f"{ATOM}{name}")
            assert only.text
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", each.findtext(f"{ATOM}updated"))
        assert each.findtext(f"{ATOM}id").startswith("https://")
        for link in each.findall(f"{ATOM}link"):
            assert link.get("href").startswith("https://")
        relations = [link.get("rel") for link in each.findall(f"{ATOM}link")]
        assert relations.count("alternate") == 1
    assert [link.get("rel") for link in root.findall(f"{ATOM}link")].count("self") == 1
    ids = [each.findtext(f"{ATOM}id") for each in entries]
    assert len(set(ids)) == len(ids)
    return entries


def test_the_feed_is_valid_and_has_the_same_entries(files, found):
    entries = check_feed(files["changes.xml"])
    assert [each.findtext(f"{ATOM}title") for each in entries] == [each.subject for each in found.listed]
    assert [each.findtext(f"{ATOM}updated") for each in entries] == [each.date for each in found.listed]
    for entry, each in zip(entries, found.listed, strict=True):
        content = entry.findtext(f"{ATOM}content")
        assert all(f"less-loss: {move.before} -> {move.after}" in content for move in each.moves)
        assert all(path in content for _, path in each.files)
        (page,) = [link.get("href") for link in entry.findall(f"{ATOM}link") if link.get("rel") == "alternate"]
        assert page == f"https://orthobench.github.io/orthobench/changes.html#{each.anchor}"
        assert f'id="{each.anchor}"' in files["changes.html"].decode()


def test_where_the_repository_is_elsewhere_the_links_lead_there():
    assert Documents(None, "https://github.com/Some-One/bench/").site == "https://some-one.github.io/bench/"
    assert Documents(None, "https://example.org/bench").site == "https://example.org/bench/"


# ----- without a history, and verify -----


def written(files, site):
    for path, content in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_bytes(content)
    return site


def copied(repository, folder, *, shallow):
    """Return a copy of the repository: a shallow clone, or without what git knows."""
    if shallow:
        repository.git("clone", "--quiet", "--depth", "1", repository.folder.as_uri(), str(folder))
    else:
        shutil.copytree(repository.folder, folder, ignore=shutil.ignore_patterns(".git"))
    return folder


@pytest.fixture
def site(files, tmp_path, monkeypatch):
    monkeypatch.setattr("orthobench.report.verify.SCRIPTS", ())
    return written(files, tmp_path / "site")


@pytest.mark.parametrize("shallow", [True, False])
def test_without_a_history_the_page_says_so_and_nothing_else_is_lost(repository, files, tmp_path, shallow):
    folder = copied(repository, tmp_path / "copy", shallow=shallow)
    there, problems = render(folder / "results", root=folder)
    assert problems == []
    assert list(there) == list(files)
    assert "Not checked: this copy has no" in there["changes.html"].decode()
    assert check_feed(there["changes.xml"]) == []
    if shallow:  # of the same commit
        assert [path for path in files if there[path] != files[path]] == list(OF_HISTORY)


def test_verify_compares_the_changes_with_the_history(repository, site):
    assert check_site(repository.results, site, repository.folder) == ([], [])
    page = site / "changes.html"
    page.write_text(page.read_text().replace("Rows of now", "Rows of yesterday"))
    ((problem,), notes) = check_site(repository.results, site, repository.folder)
    assert (problem.where, notes) == ("changes.html", [])


def test_the_settings_of_git_change_nothing(repository, found, monkeypatch):
    settings = {"i18n.logOutputEncoding": "ISO-8859-1", "log.showSignature": "true", "color.ui": "always"}
    monkeypatch.setenv("GIT_CONFIG_COUNT", str(len(settings)))
    for number, (name, value) in enumerate(settings.items()):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", name)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", value)
    again = changes(repository.results, Documents(repository.folder), repository.git("rev-parse", "HEAD"))
    assert [each.subject for each in again.listed] == [each.subject for each in found.listed]


@pytest.mark.parametrize("shallow", [True, False])
def test_without_a_history_verify_checks_all_but_the_changes(repository, site, tmp_path, shallow):
    folder = copied(repository, tmp_path / "copy", shallow=shallow)
    (site / "changes.xml").write_text("anything")
    problems, notes = check_site(folder / "results", site, folder)
    assert problems == []
    (note,) = [str(each) for each in notes]
    assert note.startswith("changes.html and changes.xml: not checked: ")
    (site / "training" / "index.html").write_text("edited")
    (site / "changes.xml").unlink()
    problems, _ = check_site(folder / "results", site, folder)
    assert sorted(each.where for each in problems) == ["changes.xml", "training/index.html"]


def test_a_site_of_an_earlier_commit_is_compared_as_of_that(repository, site, tmp_path):
    clone = tmp_path / "clone"
    repository.git("clone", "--quiet", repository.folder.as_uri(), str(clone))
    later = Repository.__new__(Repository)
    later.folder, later.hours = clone, 20
    head = later.commit("A README", texts={"README.md": "More\n"})
    problems, (note,) = check_site(later.results, site, clone)
    assert problems == []
    assert f"and {head[:12]} is checked out: footers and changes are compared as of the first" in note.what
    later.commit("Other rows", rows(60.0))
    problems, _ = check_site(later.results, site, clone)
    assert "training/index.html" in [each.where for each in problems]
    assert "changes.html" not in [each.where for each in problems]


def test_a_site_of_a_commit_that_there_is_not_is_a_problem(repository, site):
    index = site / "index.html"
    head = repository.git("rev-parse", "HEAD")
    for page in site.rglob("*.html"):
        page.write_text(page.read_text().replace(head, "f" * 40).replace(head[:12], "f" * 12))
    assert "f" * 40 in index.read_text()
    problems, _ = check_site(repository.results, site, repository.folder)
    assert [str(each) for each in problems] == [
        "index.html: is of commit ffffffffffff, which is not in the history: build it again."
    ]
