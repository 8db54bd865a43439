"""The command that says whether the goals for a GPU are reached: its figures are what they are called."""

import math
import sys
import types

import pandas as pd
import pytest
import torch

from orthobench import cli
from orthobench.linalg import newton_schulz, newton_schulz_flops
from orthobench.linalg.products import ProductCounter, symmetric_flops
from orthobench.studies import gpu_speed
from orthobench.studies.goals import Figure, ratios

CPU = torch.device("cpu")


def seconds(monkeypatch, **given):
    """Make all clocks of the command say what is given."""

    def in_turn(methods, device, repetitions):
        for method in methods.values():
            method()
        return {name: [given.get(name, 1.0)] * repetitions for name in methods}

    monkeypatch.setattr(gpu_speed, "times_in_turn", in_turn)


def by_name(figures):
    return {each.name.partition(": ")[2]: each for each in figures if isinstance(each, Figure)}


def test_a_figure_is_the_median_with_its_quartiles_and_is_judged_by_the_median():
    figure = Figure.of("time", [1.0, 4.0, 2.0, 3.0, 5.0], at_least=3.0)
    assert (figure.value, figure.low, figure.high, figure.count) == (3.0, 2.0, 4.0, 5)
    assert figure.line() == "time: 3.000 (2.000 to 4.000 in the middle half of 5); at least 3: holds"
    assert figure.line(judged=False).endswith("; at least 3: not judged")
    assert figure.row()["verdict"] == "holds"
    assert Figure("share", 0.2, at_most=0.1).line() == "share: 0.200; at most 0.1: DOES NOT HOLD"
    assert Figure("share", 0.1, at_most=0.1).holds
    assert Figure("share", math.nan, at_most=0.1).verdict() == "DOES NOT HOLD"
    assert Figure("share", 0.2).line() == "share: 0.200"
    assert Figure("share", 0.2).verdict() == ""


def test_ratios_are_of_what_was_timed_together():
    assert ratios({"a": [1.0, 6.0], "b": [2.0, 3.0]}, "a", "b") == [0.5, 2.0]


@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (4, 9), (9, 4)])
@pytest.mark.parametrize("recipe", ["muon", "turbo_muon", "cubic5"])
def test_symmetry_halves_the_products_that_are_symmetric(rows, columns, recipe):
    """Against the products that are done: those with a square result of the short side count half."""
    m, n = sorted((rows, columns))
    matrix = torch.randn(rows, columns)
    with ProductCounter() as counter:
        newton_schulz(matrix, recipe, method="plain")
    assert counter.flops == newton_schulz_flops(matrix, recipe, method="plain")
    steps = counter.products // (2 if recipe == "cubic5" else 3)
    last = 2 * m * m * n * steps  # the product of a polynomial in X X^T with X
    assert symmetric_flops(rows, columns, recipe) == last + (counter.flops - last) / 2


def test_orthogonalisation_is_judged_by_the_times(monkeypatch):
    times = {"turbo": 1.0, "torch": 1.6, "loop": 2.7, "products": 1.2, "muon": 1.3}
    seconds(monkeypatch, **times)
    figures = by_name(gpu_speed.orthogonalisation(CPU, 3, 16))
    expected = {
        "time of torch.optim.Muon's five steps, over Turbo-Muon's": (1.6, "holds"),
        "time of the plain loop of the original Muon, over Turbo-Muon's": (2.7, "DOES NOT HOLD"),
        "time of torch.optim.Muon's five steps, over ours": (1.6 / 1.3, ""),
        # 16 of the 24 size^3 operations are left, at the rate of plain products.
        "Turbo-Muon's rate, of that of plain products, counted by symmetry": (1.2 * 16 / 24, "holds"),
    }
    for name, (value, verdict) in expected.items():
        assert figures[name].value == pytest.approx(value)
        assert figures[name].verdict() == verdict


def test_other_libraries_are_measured_where_they_are_installed(monkeypatch):
    lines = [each for each in gpu_speed.orthogonalisation(CPU, 1, 16) if isinstance(each, str)]
    assert len(lines) == 2
    assert all(line.startswith("not installed (No module named") for line in lines)
    assert "pip install git+https://github.com/microsoft/dion" in lines[0]
    assert "pip install gram-newton-schulz" in lines[1]

    def refuses(matrix):
        raise RuntimeError("needs a\nHopper")

    dion = types.ModuleType("dion.newton_schulz_triton")
    dion.newton_schulz_triton, dion.newton_schulz_triton_fast = refuses, torch.clone
    monkeypatch.setitem(sys.modules, "dion", types.ModuleType("dion"))
    monkeypatch.setitem(sys.modules, "dion.newton_schulz_triton", dion)
    gram = types.ModuleType("gram_newton_schulz")
    gram.GramNewtonSchulz = lambda gram_newton_schulz_reset_iterations: torch.clone
    monkeypatch.setitem(sys.modules, "gram_newton_schulz", gram)
    times = {"dion's AOL and four steps": 0.9, "gram-newton-schulz's five steps": 1.1}
    seconds(monkeypatch, **times)
    found = list(gpu_speed.orthogonalisation(CPU, 1, 16))
    assert found[0] == "dion's five steps can't run here: RuntimeError: needs a Hopper"
    figures = by_name(found)
    for name, verdict in zip(times, ("DOES NOT HOLD", "holds"), strict=True):
        figure = figures[f"time of {name}, over Turbo-Muon's"]
        assert figure.value == times[name]
        assert figure.verdict() == verdict


def test_a_step_is_measured_on_the_matrices_of_gpt2_and_on_small_ones(monkeypatch):
    seconds(monkeypatch, turbo_muon=0.4, **{"pytorch_optimizer.Muon": 0.8})
    monkeypatch.setattr(gpu_speed, "SMALL", [(4, 6), (5, 6)])
    figures = list(gpu_speed.steps(CPU, 2, 16, 1))
    assert figures[0].name == "a step on 6 matrices, GPT-2's: time of TurboMuon, over torch.optim.Muon's"
    assert (figures[0].value, figures[0].goal) == (0.4, "at most 0.5")
    assert figures[1].value == pytest.approx(0.5)
    assert any(each.name.startswith("a step on 2 matrices, small ones") for each in figures)


def test_the_gain_is_compared_with_what_the_share_saves(monkeypatch):
    """The clock of the phases and that of the steps are made to say what is expected."""
    original = gpu_speed._trainer
    phases = {
        torch.optim.Muon: {"data": 0.0, "forward": 3.0, "backward": 6.0, "optimizer": 1.0},
        gpu_speed.TurboMuon: {"data": 0.0, "forward": 3.0, "backward": 6.0, "optimizer": 0.4},
    }

    def trainer(task, kind, device):
        made, calls = original(task, kind, device), []

        def said():
            calls.append(None)
            return {name: value * (len(calls) - 1) for name, value in phases[kind].items()}

        made.phases.seconds = said
        return made

    monkeypatch.setattr(gpu_speed, "_trainer", trainer)
    seconds(monkeypatch, turbo=9.4, torch=10.0)
    figures = by_name(gpu_speed.training(CPU, 2, 16, 1, 8, 32, 1))
    assert figures["share of the optimizers in a step with torch.optim.Muon"].value == pytest.approx(0.1)
    assert figures["gain of a whole step over torch.optim.Muon"].value == pytest.approx(0.06)
    assert figures["the same from what the optimizers' share saves"].value == pytest.approx(0.06)
    assert figures["difference of the two"].value == pytest.approx(0.0, abs=1e-9)
    assert 0.9 < figures["training loss over torch.optim.Muon's"].value < 1.1


def test_the_command_prints_and_keeps_every_figure(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("ORTHOBENCH_DEVICE", "cpu")
    monkeypatch.setattr(gpu_speed, "SMALL", [(4, 6)])
    sizes = {"repetitions": 2, "size": 16, "width": 16, "depth": 1, "context": 8, "tokens": 32, "steps": 1}
    options = [text for name, value in sizes.items() for text in (f"--{name}", str(value))]
    path = tmp_path / "new" / "goals.parquet"
    cli.main(["speed", "gpu", *options, "--threads", str(torch.get_num_threads()), "--output", str(path)])
    lines = capsys.readouterr().out.splitlines()
    rows = pd.read_parquet(path)
    assert "for which there are no goals" in lines[0]
    assert all(any(line.startswith(name) for line in lines) for name in rows["name"])
    assert len(lines) == 1 + 1 + 2 + len(rows)  # the heading, and what is missing: a queue, two libraries
    assert set(rows["verdict"]) == {"", "not judged"}
    assert (rows["value"].dropna() == rows["value"].dropna()).all()
    assert rows["env_commit"].nunique() == rows["env_device_name"].nunique() == 1
    assert not any("DOES NOT HOLD" in line for line in lines)


# ----- on a device -----


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_events_agree_with_the_synchronised_clock_and_queued_work_is_billed():
    device = torch.device("cuda", torch.cuda.current_device())
    distance, queued = gpu_speed.clock(device, 9, 4096)
    # Their lower quartiles: what else runs on the machine delays some readings, and a clock that is wrong is so in all.
    assert distance.low <= 0.01
    assert queued.low < 0.5
