"""Each benchmark's ``benchmark.toml``: what the READMEs repeat of it, and what is refused."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from orthobench.report import benchmarks
from orthobench.report.benchmarks import BENCHMARKS

SMALL = """
question = "how large?"
results = "sizes"
baseline = "A"
monitored = ["size"]
leaderboards = ["size"]
claims = ["size"]

[[columns]]
names = ["size"]
meaning = "of it"
label = "size"
range = [0, 1]
"""


@pytest.mark.parametrize("folder", BENCHMARKS)
def test_the_readmes_table_of_columns_is_the_declared_one(folder):
    text = (ROOT / folder / "README.md").read_text()
    table = "| column | meaning |" + text.split("| column | meaning |")[1].split("\n\n")[0]
    assert table == BENCHMARKS[folder].table()


def test_the_readme_asks_what_the_benchmarks_declare():
    table = (ROOT / "README.md").read_text().split("| folder | question | state |\n")[1].split("\n\n")[0]
    asked = {re.search(r"`([^`]+)`", row)[1]: row.split("|")[2].strip() for row in table.splitlines()[1:]}
    assert asked == {folder: benchmark.question for folder, benchmark in BENCHMARKS.items()}


def test_every_benchmark_of_the_repository_has_a_file():
    folders = {path.parent.name for path in ROOT.glob("benchmark_*/objective.py")}
    assert {"."} | folders == set(BENCHMARKS)


def write(root, text, folder="benchmark_new"):
    (root / folder).mkdir(exist_ok=True)
    (root / folder / "benchmark.toml").write_text(text)


def test_without_a_repository_each_command_says_what_is_missing(tmp_path):
    package = Path(benchmarks.__file__).parents[1]
    (tmp_path / "site-packages").mkdir()
    shutil.copytree(package, tmp_path / "site-packages" / "orthobench", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site-packages")}
    for command in (["report", "a.parquet"], ["quick"], ["verify"]):
        done = subprocess.run(
            [sys.executable, "-m", "orthobench", *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 2
        assert done.stderr.startswith("error: no benchmark.toml: results are reported from a clone")
        assert done.stderr.count("\n") == 1


def test_a_new_benchmark_needs_its_file_alone(tmp_path):
    write(tmp_path, SMALL, ".")
    write(tmp_path, SMALL.replace("size", "width"))
    found, _, metrics = benchmarks._declared(tmp_path)
    assert list(found) == [".", "benchmark_new"]
    assert (metrics["width"].label, found["benchmark_new"].columns[0].range) == ("width", (0, 1))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (('label = "size"', 'label = "another size"'), "declare it equally"),
        (('claims = ["size"]', 'claims = ["weight"]'), "'weight' is no column with a label"),
        (('label = "size"', 'label = "size"\nbetter = "lowest"'), "better is lower or higher"),
        (('names = ["size"]', ""), "names"),
        (('baseline = "A"', ""), "baseline"),
        (('baseline = "A"', 'baseline = "A"\nbaselines = "A"'), "baselines"),
        (('baseline = "A"', "baseline = A"), "Invalid value"),
        (('baseline = "A"', "baseline = 5"), "baseline is 5, not a str"),
        (('names = ["size"]', 'names = "size"'), "names is 'size', not a list of texts"),
        (('label = "size"', "label = 5"), "label is 5, not a str"),
        (('label = "size"', 'label = "size"\ncounted = "no"'), "counted is 'no', not a bool"),
        (("range = [0, 1]", 'range = ["a", "b"]'), "not a list of numbers"),
        (("range = [0, 1]", "range = [0]"), r"range is \[0\], not two numbers in ascending order"),
        (("range = [0, 1]", "range = [1, 0]"), "not two numbers in ascending order"),
        (('leaderboards = ["size"]', "leaderboards = []"), "not a list of texts with one or more"),
        (('leaderboards = ["size"]', 'leaderboards = "size"'), "leaderboards is 'size', not a list of texts"),
        (('monitored = ["size"]', 'monitored = ["2 - size"]'), "'2 - size' is no column"),
        (('baseline = "A"', 'baseline = "A"\nguaranteed = ["weight"]'), "'weight' is no column with a label"),
        (('baseline = "A"', 'baseline = "A"\nevidence = {part = "test"}'), "not a table of lists"),
    ],
)
def test_a_file_that_is_wrong_is_named_with_what_is_wrong(tmp_path, change, told):
    write(tmp_path, SMALL, ".")
    write(tmp_path, SMALL.replace(*change))
    with pytest.raises(ValueError, match=told) as error:
        benchmarks._declared(tmp_path)
    assert "benchmark_new" in str(error.value)
