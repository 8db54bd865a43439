"""The command that prints what a clipless step costs measures the methods that it names, on the same network."""

import re
import sys

import pytest
import torch

from orthobench import cli
from orthobench.studies import privacy_speed as speed

CPU = torch.device("cpu")
SMALL = speed.Case(6, (8, 8), 5, 0.9)


def test_the_cases_are_those_of_the_targets():
    assert [(str(case), case.target) for case in speed.CASES] == [
        ("MLP 64-256-256-10, batch 2048", 0.6),
        ("MLP 784-1024-1024-10, batch 2048", 0.9),
        ("MLP 784-1024-1024-10, batch 512", 1.0),
    ]


def test_a_clipless_step_is_private_and_projects():
    step = speed.clipless_step(SMALL, CPU)
    before = [each.clone() for each in step.optimizer.param_groups[0]["params"]]
    step()
    step()
    assert step.optimizer.transcript.steps == 2
    assert min(step.optimizer.stds.values()) > 0
    for old, new in zip(before, step.optimizer.param_groups[0]["params"], strict=True):
        assert not torch.equal(old, new)
        assert torch.linalg.matrix_norm(new.detach().double(), 2) <= 1 + 1e-5


def test_plain_and_ghost_steps_train_the_same_network(monkeypatch):
    pytest.importorskip("opacus")
    made, original = [], speed._model
    monkeypatch.setattr(speed, "_model", lambda *arguments: made.append(original(*arguments)) or made[-1])
    steps = [make(SMALL, CPU) for make in (speed.plain_step, speed.clipless_step, speed.ghost_step)]
    first = [torch.cat([each.detach().flatten() for each in model.parameters()]) for model in made]
    assert torch.equal(first[0], first[1])
    assert torch.equal(first[0], first[2])
    for step, model, before in zip(steps, made, first, strict=True):
        step()
        assert not torch.equal(torch.cat([each.detach().flatten() for each in model.parameters()]), before)


def test_a_line_a_case_with_ratios_of_medians(monkeypatch):
    pytest.importorskip("opacus")
    monkeypatch.setattr(speed, "medians", lambda runs, *_: dict(zip(runs, (1.0, 4.0, 3.0, 8.0), strict=True)))
    lines = list(speed.step_times([SMALL], CPU, 1, ["cholesky", "svd"]))
    assert lines == [
        "MLP 6-8-8-10, batch 5, step with projection 'cholesky': 0.75 of ghost clipping (at most 0.90: holds), 3.00 of "
        "plain SGD; ghost clipping 4.00 of plain SGD",
        "MLP 6-8-8-10, batch 5, step with projection 'svd': 2.00 of ghost clipping, 8.00 of plain SGD; ghost clipping "
        "4.00 of plain SGD",
    ]


def test_verdicts():
    assert speed.verdict(0.6, 0.6) == "(at most 0.60: holds)"
    assert speed.verdict(0.601, 0.6) == "(at most 0.60: DOES NOT HOLD)"


def test_memory_is_that_of_processes_of_their_own(monkeypatch):
    assert speed.peak_memory("sgd", SMALL) > 5e7
    monkeypatch.setattr(speed, "peak_memory", lambda method, case: {"sgd": 100.0, "clipless": 112.0}[method])
    assert list(speed.memory([SMALL])) == [
        "MLP 6-8-8-10, batch 5, peak memory of the process: 1.12 of plain SGD (at most 1.10: DOES NOT HOLD)"
    ]


def test_the_options_are_those_of_the_report(monkeypatch, capsys):
    pytest.importorskip("opacus")
    threads = torch.get_num_threads()
    monkeypatch.setenv("ORTHOBENCH_DEVICE", "cpu")
    monkeypatch.setattr(speed, "CASES", (SMALL,))
    monkeypatch.setattr(speed, "peak_memory", lambda *_: 1.0)
    cli.main(["speed", "privacy", "--repetitions", "1", "--threads", str(threads), "--projections", "gelfand", "svd"])
    head, first, second, memory = capsys.readouterr().out.splitlines()
    assert f"{threads} threads" in head
    assert re.search(r"'gelfand': [\d.]+ of ghost clipping \(at most 0\.90", first)
    assert re.search(r"'svd': [\d.]+ of ghost clipping, ", second)
    assert memory.endswith("1.00 of plain SGD (at most 1.10: holds)")


def test_one_process_prints_its_peak(capsys):
    cli.main(["speed", "privacy", "--threads", str(torch.get_num_threads()), "--peak", "clipless", "6", "8", "8", "5"])
    assert float(capsys.readouterr().out) > 5e7


def test_without_opacus_the_command_says_how_to_install_it(monkeypatch, capsys):
    monkeypatch.setenv("ORTHOBENCH_DEVICE", "cpu")
    for name in ["opacus", *(each for each in sys.modules if each.startswith("opacus."))]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(speed, "CASES", (SMALL,))
    monkeypatch.setattr(speed, "peak_memory", lambda *_: 1.0)
    cli.main(["speed", "privacy", "--threads", str(torch.get_num_threads())])
    _, line, _ = capsys.readouterr().out.splitlines()
    assert line == "opacus is not installed: pip install 'orthobench[libraries]'"
