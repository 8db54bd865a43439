"""``methods.toml``: what it tells of methods is true of this repository, its code runs, and what is wrong is named."""

import re

import pytest
import torch
from conftest import ROOT

from orthobench.report.benchmarks import BENCHMARKS
from orthobench.report.claims_file import load_claims
from orthobench.report.methods_file import FILE, Methods, load_methods, of_id, solver_id

METHODS = load_methods(ROOT / FILE)
LIBRARIES = ("opacus", "orthogonium", "pytorch_optimizer")


def solvers():
    """Name all solvers of the repository as the file does."""
    return {
        solver_id(folder, name)
        for folder in BENCHMARKS
        for path in (ROOT / folder / "solvers").glob("*.py")
        for name in re.findall(r'^    name = "(.+)"$', path.read_text(), re.MULTILINE)
    }


def named():
    entries = (*METHODS.publications, *METHODS.snippets, *METHODS.same, *METHODS.references)
    return {solver for each in entries for solver in each.solvers}


def test_every_solver_that_is_named_exists():
    assert named() <= solvers()


def test_every_solver_has_code_that_uses_it_once_or_is_declared_not_to_be_used():
    shown = [solver for each in (*METHODS.snippets, *METHODS.references) for solver in each.solvers]
    assert sorted(shown) == sorted(solvers())


def test_code_fits_beside_the_picture():
    codes = [each.of(solver) for each in METHODS.snippets for solver in each.solvers]
    assert max(len(line) for code in codes for line in code.splitlines()) <= 72


def run(code):
    """Run code, and return its names; the test is skipped where a library is missing."""
    names = {}
    try:
        exec(compile(code, FILE, "exec"), names)  # noqa: S102 - code of methods.toml
    except ModuleNotFoundError as error:
        if error.name.partition(".")[0] not in LIBRARIES:
            raise
        pytest.skip(f"{error.name} is not installed")
    return names


@pytest.mark.parametrize("solver", sorted(solver for each in METHODS.snippets for solver in each.solvers))
def test_code_runs_and_does_something(solver):
    code = METHODS.snippet_of(solver)
    torch.manual_seed(0)
    names = run(code)
    made = [value for value in names.values() if isinstance(value, torch.Tensor)]
    made += [each for value in names.values() if isinstance(value, list) for each in value if torch.is_tensor(each)]
    model = names.get("model")
    if "optimizer.step" in code:  # it has trained
        model = names["model"]
        torch.manual_seed(0)
        before = run(re.split(r"\n(?:# A Poisson|for _|model\()", code)[0])["model"]
        pairs = zip(before.parameters(), model.parameters(), strict=True)
        assert any(not torch.equal(old, new) for old, new in pairs)
    made += list(model.parameters()) if model is not None else []
    assert made
    assert all(each.isfinite().all() for each in made if each.is_floating_point())
    if "predict_sets" in code:
        assert names["sets"].shape == (5, 10)


def test_claims_and_publications_agree_on_authors_and_years():
    by_address = {each.address.rstrip("/"): each for each in METHODS.publications if each.address}
    compared = set()
    for folder in BENCHMARKS:
        for claim in load_claims(ROOT / folder / "claims.toml"):
            address = claim.reference.replace("arXiv:", "https://arxiv.org/abs/").rstrip("/")
            publication = by_address[address]
            assert claim.paper.split()[0].rstrip(",") == publication.authors[0].split()[-1], claim.id
            assert f"({publication.year})" in claim.paper, claim.id
            compared.add(publication.key)
    assert len(compared) > 10


def test_bibtex_has_all_authors_in_order_and_closes_its_braces():
    for each in METHODS.publications:
        told = each.bibtex
        assert told.startswith(f"@{each.kind}{{{each.key},\n")
        assert told.count("{") == told.count("}")
        assert re.search(r"author = \{(.*)\},", told)[1].split(" and ") == each.authors
        assert re.search(r"title = \{\{(.*)\}\},", told)[1] == each.title
        assert f"eprint = {{{each.arxiv}}}" in told or not each.arxiv


def test_a_method_is_found_elsewhere_by_its_name_and_by_an_entry():
    others = solvers()
    assert METHODS.elsewhere("Turbo-Muon", others) == {
        "benchmark_muon/Turbo-Muon": "",
        "benchmark_lipschitz/Newton-Schulz": "the iteration, of weights",
    }
    assert "Muon" in METHODS.elsewhere("benchmark_muon/Turbo-Muon", others)
    assert METHODS.elsewhere("benchmark_muon/Lion", others) == {}
    assert METHODS.elsewhere("Turbo-Muon", {"Turbo-Muon"}) == {}


def test_names_of_solvers_say_their_folders():
    assert [of_id("SVD"), of_id("benchmark_muon/SGD")] == [(".", "SVD"), ("benchmark_muon", "SGD")]
    assert [solver_id(".", "SVD"), solver_id("benchmark_muon", "SGD")] == ["SVD", "benchmark_muon/SGD"]


def test_without_a_file_nothing_is_known(tmp_path):
    assert load_methods(tmp_path / FILE) == Methods()


GOOD = 'key = "a2020b"\nkind = "misc"\ntitle = "T"\nauthors = ["Ada B"]\nyear = 2020\nsolvers = ["SVD"]\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[paper]]\n", "unknown tables paper"),
        ("publication = 1\n", "allowed: tables"),
        (
            "[[publication]]\n" + GOOD.replace('key = "a2020b"\n', ""),
            "keys key: unknown, missing, empty or of another type",
        ),
        ("[[publication]]\n" + GOOD + 'editor = "C"\n', "keys editor"),
        ("[[publication]]\n" + GOOD.replace("2020\n", '"2020"\n'), "keys year"),
        ("[[publication]]\n" + GOOD.replace('["Ada B"]', "[]"), "'authors' is empty"),
        ("[[publication]]\n" + GOOD.replace('["Ada B"]', "[1]"), "'authors' is"),
        ("[[publication]]\n" + GOOD.replace('"misc"', '"online"'), "'kind' is 'online'"),
        ("[[publication]]\n" + GOOD.replace('"T"', '"50 % more"'), "reads as its own"),
        ("[[publication]]\n" + GOOD.replace('["SVD"]', '["benchmark_none/A"]'), "the folder 'benchmark_none'"),
        (f"[[publication]]\n{GOOD}[[publication]]\n{GOOD}", "keys a2020b are there several times"),
        ('[[snippet]]\ncode = "pass"\nsolvers = {SVD = 1}\n', "allowed: a table of texts"),
        ('[[same]]\nhow = "so"\nsolvers = ["SVD"]\n', "allowed: two or more"),
        ("[[publication]\n", "not a TOML file"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, told):
    path = tmp_path / FILE
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(told)):
        load_methods(path)
