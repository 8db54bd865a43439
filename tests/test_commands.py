"""`orthobench`: its help needs nothing that takes long to import, every study is a command, old names answer."""

import argparse
import ast
import importlib
import os
import subprocess
import sys

import pytest
import torch
from conftest import ROOT

from orthobench import cli, old_names
from orthobench.studies.commands import COMMANDS, module_of

STUDIES = [(command, name) for command, (*_, studies) in COMMANDS.items() for name in studies]
FOLDER = ROOT / "src" / "orthobench" / "studies"


def command_lines(parser, words=()):
    """Return each command of a parser as words, the first one none."""
    below = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
    named = [
        line for each in below for name, own in each.choices.items() for line in command_lines(own, (*words, name))
    ]
    return [words, *named]


def given(command, name):
    """Return the options of a study, by what argparse calls them."""
    options = COMMANDS[command][-1][name].options.items()
    return {option.lstrip("-").replace("-", "_"): how for option, how in options}


def test_help_imports_nothing_that_takes_long():
    lines = command_lines(cli._parser())
    assert {("report",), ("run",), ("speed", "optimizer"), ("study", "killed-runs")} <= set(lines)
    code = f"""
import sys
from orthobench.cli import main
for words in {lines}:
    try:
        main([*words, "--help"])
    except SystemExit as end:
        assert end.code == 0, words
    loaded = {{"torch", "pandas", "numpy", "benchopt"}} & set(sys.modules)
    assert not loaded, (words, loaded)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("usage: orthobench") == len(lines)


def test_every_study_is_a_command_and_every_command_a_study():
    functions = {
        path.stem: {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}
        for path in FOLDER.glob("*.py")
    }
    studies = {f"orthobench.studies.{name}" for name, own in functions.items() if "main" in own}
    assert sorted(module_of(*each) for each in STUDIES) == sorted(studies)


@pytest.mark.parametrize(("command", "name"), STUDIES)
def test_a_study_reads_the_options_that_its_command_has(command, name):
    path = FOLDER / f"{module_of(command, name).split('.')[-1]}.py"
    (main,) = (node for node in ast.parse(path.read_text()).body if getattr(node, "name", "") == "main")
    read = {
        node.attr
        for node in ast.walk(main)
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "arguments"
    }
    assert read == set(given(command, name))


@pytest.mark.parametrize(
    ("command", "name", "option", "module", "constant"),
    [
        ("speed", "orthogonaliser", "dtypes", "studies.orthogonaliser_speed", "REFERENCES"),
        ("speed", "kernels", "dtype", "linalg.kernels.availability", "DTYPES"),
        ("speed", "optimizer", "method", "optim.schatten_options", "METHODS"),
        ("speed", "privacy", "projections", "privacy.projection", "PROJECTIONS"),
        ("study", "honest-solvers", "benchmark", "studies.honest_solvers", "CONTROLS"),
        ("study", "scheduling", "backend", "studies.scheduling", "ENGINES"),
    ],
)
def test_choices_are_those_that_a_study_knows(command, name, option, module, constant):
    known = getattr(importlib.import_module(f"orthobench.{module}"), constant)
    choices = given(command, name)[option]["choices"]
    assert sorted(choices) == sorted(str(each).removeprefix("torch.") for each in known)


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_name_is_told_with_those_that_there_are(command, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main([command, "nothing"])
    told = capsys.readouterr().err
    assert end.value.code == 2
    assert f"orthobench {command}: error: " in told
    assert "'nothing'" in told
    assert all(name in told for name in COMMANDS[command][-1])


def test_what_a_study_cannot_do_is_an_error(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert cli.main(["speed", "kernels"]) == 2
    assert capsys.readouterr().err.startswith("error: no GPU here takes the kernels: ")


# ----- old names -----


@pytest.mark.parametrize("name", old_names.NEW)
def test_an_old_name_becomes_the_new_command(name, monkeypatch, capsys):
    became = []
    monkeypatch.setattr(os, "execv", lambda *call: became.append(call))
    monkeypatch.setattr(sys, "orig_argv", ["python", "-X", "dev", "-m", name, "--help", "-m"])
    monkeypatch.setattr(sys, "argv", ["-m", "--help", "-m"])
    old_names.answer()
    assert capsys.readouterr().err == f"python -m {name} is now `orthobench {old_names.NEW[name]}`\n"
    ((program, words),) = became
    assert (program, words[:5]) == (sys.executable, [sys.executable, "-X", "dev", "-m", "orthobench"])
    assert words[5:] == [*old_names.NEW[name].split(), "--help", "-m"]
    assert tuple(old_names.NEW[name].split()) in command_lines(cli._parser())


@pytest.mark.parametrize("name", ["orthobench", "orthobench.cli", "pytest", "another.orthobench.report"])
def test_other_modules_are_left_alone(name, monkeypatch, capsys):
    monkeypatch.setattr(os, "execv", lambda *call: pytest.fail("became another process"))
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", name, "orthobench.report"])
    monkeypatch.setattr(sys, "argv", ["-m", "orthobench.report"])
    old_names.answer()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "options"), [("orthobench.studies.speed", ["--dtypes=float8"]), ("orthobench.report", ["--nothing"])]
)
def test_an_old_name_tells_the_new_one_and_does_the_same(name, options):
    new = old_names.NEW[name].split()
    old, now = (
        subprocess.run([sys.executable, "-m", *words, *options], capture_output=True, text=True)
        for words in ([name], ["orthobench", *new])
    )
    assert old.stderr == f"python -m {name} is now `orthobench {' '.join(new)}`\n" + now.stderr
    assert options[0].removeprefix("--dtypes=") in now.stderr
    assert (old.returncode, now.returncode) == (2, 2)
