"""The command that prints the ratios measures what it says."""

import re

import torch
from made_up_clock import made_up_clock

from orthobench.studies import orthogonaliser_speed as speed

CPU = torch.device("cpu")
TICK_S = 2.0**-10


def test_medians_are_those_of_each_method_run_in_turn(monkeypatch):
    clock, order = made_up_clock(monkeypatch), []
    seconds = {"short": [9.0, 0.25, 0.125, 8.0], "long": [0.0, 4.0, 2.0, 1.0]}

    def method(name):
        order.append(name)
        clock.advance(seconds[name].pop(0))

    times = speed.medians({"short": lambda: method("short"), "long": lambda: method("long")}, CPU, 3)
    assert order == ["short", "long"] * 4  # a warm-up, then three repetitions
    assert times == {"short": 0.25, "long": 2.0}


def test_the_reference_methods_compute_what_ours_does():
    matrices = [torch.randn(20, 30, generator=torch.Generator().manual_seed(seed)) for seed in range(2)]
    ours = speed.newton_schulz(matrices, "muon")
    for reference, tolerance in ((speed.plain_loop(matrices), 1e-4), (speed.torch_muon(matrices), 0.05)):
        for mine, other in zip(ours, reference, strict=True):
            assert torch.linalg.norm(mine - other) <= tolerance * torch.linalg.norm(mine)


def test_the_report_has_a_line_a_shape_and_type_with_its_ratios(monkeypatch):
    """With a clock by which all takes the same."""
    made_up_clock(monkeypatch, TICK_S)
    head, *lines = speed.report(CPU, 1, [(2, 16, 24), (1, 32, 32)])
    assert "1 repetitions" in head
    assert len(lines) == 4
    for line in lines:
        m, n = map(int, re.search(r"x \((\d+), (\d+)\)", line).groups())
        efficiency = 5 * (4 * m * m * n + 2 * m**3) / (2 * m * m * n)
        assert line.endswith(f"muon 1.00, turbo_muon 1.00; matmul_efficiency of muon {efficiency:.2f}")


def test_the_report_is_of_the_types_asked_for():
    _, line = speed.report(CPU, 1, [(2, 16, 24)], ["float32"])
    assert "2 x (16, 24) float32, time against a plain loop of Muon's" in line


def test_the_choice_of_the_form_is_told_beside_its_time(monkeypatch):
    made_up_clock(monkeypatch, TICK_S)
    wide, square = speed.choices(CPU, 1, [(2, 16, 128), (1, 32, 32)])
    assert wide.endswith("auto takes the Gram form")
    assert square.endswith("auto takes the plain form")
    for line in (wide, square):
        time, operations = re.search(r"time ([\d.]+), operations ([\d.]+)", line).groups()
        assert time == "1.00"
        assert (float(operations) < 1) is (line is wide)
