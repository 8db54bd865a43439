"""What is installed is what was pinned, and the lint finds what runs data as code."""

import itertools
import json
import re
import subprocess
import sys
import tomllib

import pytest
import yaml
from conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = {path.name for path in ROOT.glob("requirements*.lock")}
# A file of one line for each of these rules, which no file is excused from as a whole.
UNSAFE = {
    "S102": "exec(input())",
    "S301": "pickle.loads(given)",
    "S307": "eval(input())",
    "S506": "yaml.load(given, Loader=yaml.Loader)",
    "S602": "subprocess.run(given, shell=True)",
    "S605": "os.system(given)",
    "TID251": "cloudpickle.loads(given)",
}
IMPORTS = "import os\nimport pickle\nimport subprocess\n\nimport cloudpickle\nimport yaml\n\ngiven = input()\n"


def reported(source, name):
    """Return the pairs of line and rule that the lint reports of a source, as if it were a file of that name."""
    command = [sys.executable, "-m", "ruff", "check", "--output-format", "json", "--stdin-filename", name, "-"]
    done = subprocess.run(command, input=source, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    return {(each["location"]["row"], each["code"]) for each in json.loads(done.stdout)}


@pytest.mark.parametrize("name", ["src/orthobench/harness/new.py", "solvers/new.py", "tests/test_new.py"])
def test_the_lint_reports_what_runs_data_as_code_or_a_shell(name):
    source = IMPORTS + "\n".join([*UNSAFE.values(), ""])
    first = IMPORTS.count("\n") + 1
    assert set(zip(itertools.count(first), UNSAFE, strict=False)) <= reported(source, name)
    safe = "import json\nimport subprocess\n\nimport yaml\n\ngiven = yaml.safe_load(input())\n"
    assert reported(safe + "json.loads(given)\nsubprocess.run([given])\n", name) == set()


def test_no_rule_against_them_is_switched_off_for_files():
    lint = PROJECT["tool"]["ruff"]["lint"]
    assert {"S", "TID251"} <= set(lint["select"])
    ignored = {*lint["ignore"], *itertools.chain(*lint["per-file-ignores"].values())}
    assert not [rule for rule in UNSAFE for each in ignored if rule.startswith(each)]


def test_an_exception_from_them_says_why():
    lines = [line for path in ROOT.rglob("*.py") if ".venv" not in path.parts for line in path.read_text().splitlines()]
    exceptions = [line for line in lines if re.search(r"# noqa: [A-Z\d, ]*(S\d{3}|TID251)", line)]
    assert len(exceptions) > 10
    assert not [line for line in exceptions if not re.search(r"# noqa: [A-Z\d, ]+ - \w", line)]


@pytest.mark.parametrize("path", sorted(ROOT.glob(".github/workflows/*.yml")), ids=lambda path: path.name)
def test_actions_are_pinned_by_commit(path):
    jobs = yaml.safe_load(path.read_text())["jobs"].values()
    used = [step["uses"] for job in jobs for step in job["steps"] if "uses" in step]
    assert used
    assert path.read_text().count("uses:") == len(used)
    for each in used:
        assert re.search(rf"uses: {each} # v\d+\.\d+\.\d+\n", path.read_text()), each
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", each)


def test_every_lock_is_audited():
    text = (ROOT / ".github" / "workflows" / "audit.yml").read_text()
    assert set(re.findall(r"-r (\S+)", text)) == LOCKS


def locked(name):
    """Map the packages of a lock, as PyPI writes them, to their version and the number of their hashes."""
    text = re.sub(r"^#.*\n", "", (ROOT / name).read_text(), flags=re.MULTILINE).replace("\\\n", "")
    line = r"([\w.-]+)==([\w.]+)(?: ;[^-]+)?((?: +--hash=sha256:[0-9a-f]{64})*) *"
    found = [re.fullmatch(line, each).groups() for each in text.splitlines()]
    return {package.lower(): (version, hashes.count("--hash")) for package, version, hashes in found}


def test_the_locks_pin_every_dependency_exactly():
    pinned = locked("requirements.lock") | locked("requirements-torch.lock") | locked("requirements-triton.lock")
    assert pinned["torch"][0] == "2.13.0"
    assert pinned["benchopt"][0] == "1.10.0"
    extras = PROJECT["project"]["optional-dependencies"]
    extras = extras["cluster"] + extras["gpu"] + extras["libraries"] + extras["site"] + extras["test"]
    for requirement in PROJECT["project"]["dependencies"] + extras:
        assert re.match(r"[\w-]+", requirement)[0].lower().replace("_", "-") in pinned, requirement


def test_all_but_torch_have_hashes_for_every_system_and_the_installation_asks_for_them():
    hashed = locked("requirements.lock") | locked("requirements-triton.lock")
    assert "torch" not in hashed
    assert min(count for _, count in hashed.values()) > 0
    # Compiled code has a file for each system and Python.
    assert min(hashed[name][1] for name in ("numpy", "pandas", "pyarrow", "scipy", "scikit-learn")) > 20
    installed = re.findall(r"install (.*)--requirement (\S+\.lock)", (ROOT / "Makefile").read_text())
    assert {name for _, name in installed} == LOCKS
    assert {name for options, name in installed if "--require-hashes" not in options} == {"requirements-torch.lock"}
