"""The command that prints what robust conformal prediction costs measures what it says."""

import re

import torch
from made_up_clock import made_up_clock

from orthobench.studies import conformal_speed

CPU = torch.device("cpu")


def test_a_line_for_each_score_has_the_ratio_and_the_memory(monkeypatch):
    made_up_clock(monkeypatch, tick=2.0**-10)  # by which both take the same
    lines = list(conformal_speed.prediction(CPU, 2, inputs=2000, classes=20))
    assert len(lines) == len(conformal_speed.SCORES)
    for line, name in zip(lines, conformal_speed.SCORES, strict=True):
        found = re.fullmatch(
            rf"2000 x 20 logits, {name}: time of lip-rcp over vanilla ([\d.]+); peak memory in boolean matrices: "
            r"lip-rcp ([\d.]+), vanilla ([\d.]+)",
            line,
        )
        assert found[1] == "1.00"
        # The same tensors, and the result among them.
        assert found[2] == found[3]
        assert float(found[2]) >= 1


def test_a_predictor_that_takes_longer_has_a_larger_ratio(monkeypatch):
    clock = made_up_clock(monkeypatch)

    def taking(kind, seconds):
        class Timed(kind):
            def predict_sets(self, x, **options):
                clock.advance(seconds)
                return super().predict_sets(x, **options)

        return Timed

    monkeypatch.setattr(conformal_speed, "LipschitzConformal", taking(conformal_speed.LipschitzConformal, 2.0))
    monkeypatch.setattr(conformal_speed, "SplitConformal", taking(conformal_speed.SplitConformal, 0.25))
    line = next(conformal_speed.prediction(CPU, 1, inputs=2000, classes=20))
    assert "time of lip-rcp over vanilla 8.00;" in line


def test_cas_is_timed_on_the_inputs_and_samples_that_are_named(monkeypatch):
    clock = made_up_clock(monkeypatch)

    class Timed(conformal_speed.CAS):
        def calibrate(self, *arguments, **options):
            clock.advance(100.0)
            return super().calibrate(*arguments, **options)

        def predict_sets(self, x, **options):
            clock.advance(len(x) / 1000)
            return super().predict_sets(x, **options)

    monkeypatch.setattr(conformal_speed, "CAS", Timed)
    assert conformal_speed.cas(CPU, 1200, 4) == "CAS, 1200 inputs, N = 4, 10 classes: 1.2 s"


def test_bytes_are_counted_while_tensors_live():
    def run():
        first = torch.zeros(1000)  # 4000 bytes
        second = first + 1  # 8000
        del first
        third = second.view(10, 100).add_(1)  # a view, in place: nothing new
        return second * 2, third  # 8000 again

    assert conformal_speed.peak_bytes(run) == 8000
    assert conformal_speed.peak_bytes(lambda: torch.zeros(3000, dtype=torch.bool)) == 3000
