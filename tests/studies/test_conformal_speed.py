"""The command that prints what robust conformal prediction costs measures what it says."""

import re
from time import sleep

import torch

from orthobench.studies import conformal_speed

CPU = torch.device("cpu")


def test_a_line_for_each_score_has_the_ratio_and_the_memory():
    lines = list(conformal_speed.prediction(CPU, 2, inputs=2000, classes=20))
    assert len(lines) == len(conformal_speed.SCORES)
    for line, name in zip(lines, conformal_speed.SCORES, strict=True):
        found = re.fullmatch(
            rf"2000 x 20 logits, {name}: time of lip-rcp over vanilla ([\d.]+); peak memory in boolean matrices: "
            r"lip-rcp ([\d.]+), vanilla ([\d.]+)",
            line,
        )
        assert float(found[1]) > 0
        # The same tensors, and the result among them.
        assert found[2] == found[3]
        assert float(found[2]) >= 1


def test_a_predictor_that_takes_longer_has_a_larger_ratio(monkeypatch):
    class Slow(conformal_speed.LipschitzConformal):
        def predict_sets(self, x, **options):
            sleep(0.1)
            return super().predict_sets(x, **options)

    monkeypatch.setattr(conformal_speed, "LipschitzConformal", Slow)
    line = next(conformal_speed.prediction(CPU, 1, inputs=2000, classes=20))
    assert float(re.search(r"over vanilla ([\d.]+)", line)[1]) > 5


def test_cas_is_timed_on_the_inputs_and_samples_that_are_named():
    assert re.fullmatch(r"CAS, 1200 inputs, N = 4, 10 classes: [\d.]+ s", conformal_speed.cas(CPU, 1200, 4))


def test_bytes_are_counted_while_tensors_live():
    def run():
        first = torch.zeros(1000)  # 4000 bytes
        second = first + 1  # 8000
        del first
        third = second.view(10, 100).add_(1)  # a view, in place: nothing new
        return second * 2, third  # 8000 again

    assert conformal_speed.peak_bytes(run) == 8000
    assert conformal_speed.peak_bytes(lambda: torch.zeros(3000, dtype=torch.bool)) == 3000
