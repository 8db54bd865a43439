"""The command that prints the ratios measures what it says."""

import re
import time

import torch

from orthobench.studies import speed

CPU = torch.device("cpu")


def test_medians_are_those_of_each_method_run_in_turn():
    order = []

    def method(name, seconds):
        order.append(name)
        time.sleep(seconds)

    times = speed.medians({"short": lambda: method("short", 0.01), "long": lambda: method("long", 0.1)}, CPU, 3)
    assert order == ["short", "long"] * 4  # a warm-up, then three repetitions
    assert 0.01 <= times["short"] < 0.1 <= times["long"]


def test_the_reference_methods_compute_what_ours_does():
    matrices = [torch.randn(20, 30, generator=torch.Generator().manual_seed(seed)) for seed in range(2)]
    ours = speed.newton_schulz(matrices, "muon")
    for reference, tolerance in ((speed.plain_loop(matrices), 1e-4), (speed.torch_muon(matrices), 0.05)):
        for mine, other in zip(ours, reference, strict=True):
            assert torch.linalg.norm(mine - other) <= tolerance * torch.linalg.norm(mine)


def test_the_harness_probe_runs_the_iteration():
    matrices = [torch.randn(8, 8, generator=torch.Generator().manual_seed(0))]
    probe = speed.harness_probe(matrices)
    probe.run(5)
    assert probe.failure is None
    assert torch.equal(probe._outputs[0], speed.newton_schulz(matrices, "muon")[0])


def test_the_report_has_a_line_a_shape_and_type_with_positive_ratios():
    head, *lines = speed.report(CPU, 1, [(2, 16, 24), (1, 32, 32)])
    assert "1 repetitions" in head
    assert len(lines) == 4
    for line in lines:
        ratios = re.search(r"muon ([\d.]+), turbo_muon ([\d.]+); matmul_efficiency of muon ([\d.]+)", line)
        assert all(float(ratio) > 0 for ratio in ratios.groups())


def test_the_report_is_of_the_types_asked_for():
    _, line = speed.report(CPU, 1, [(2, 16, 24)], ["float32"])
    assert "2 x (16, 24) float32, time against a plain loop of Muon's" in line


def test_the_choice_of_the_form_is_told_beside_its_time():
    wide, square = speed.choices(CPU, 1, [(2, 16, 128), (1, 32, 32)])
    assert wide.endswith("auto takes the Gram form")
    assert square.endswith("auto takes the plain form")
    for line in (wide, square):
        assert all(float(ratio) > 0 for ratio in re.search(r"time ([\d.]+), operations ([\d.]+)", line).groups())
