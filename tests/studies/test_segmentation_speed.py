"""The command that prints what certifying a segmentation costs measures what it says."""

import re
import time

import numpy as np
import torch
from made_up_clock import MadeUpClock, made_up_clock

from orthobench.studies import segmentation_speed

CPU = torch.device("cpu")


def test_the_share_is_that_of_the_processor_time_of_a_forward_pass(monkeypatch):
    clock = MadeUpClock()
    monkeypatch.setattr(time, "process_time", clock)
    network, certify = segmentation_speed.lipschitz_unet, segmentation_speed.certify

    def slow_network(*arguments, **options):
        model = network(*arguments, **options)
        model.register_forward_hook(lambda *_: clock.advance(2.0))
        return model

    def slow_certify(*arguments, **options):
        clock.advance(0.5)
        return certify(*arguments, **options)

    monkeypatch.setattr(segmentation_speed, "lipschitz_unet", slow_network)
    monkeypatch.setattr(segmentation_speed, "certify", slow_certify)
    line = segmentation_speed.beside_the_forward_pass(CPU, 1, width=4, depth=1, side=8, classes=3)
    assert line.endswith("take 25.00% of the processor time of a forward pass (500.0 of 2000 ms)")
    assert "width 4, depth 1, 8 x 8, 3 classes: certificates A and B at 5 radii" in line


def test_a_line_for_each_radius_has_the_time_and_what_was_certified(monkeypatch):
    made_up_clock(monkeypatch, tick=0.25)
    monkeypatch.setattr(time, "process_time", MadeUpClock(0.5))
    few, all_ = segmentation_speed.with_iou(CPU, 1, side=32, classes=3, radii=(0.001, 1e6))
    assert re.fullmatch(
        r"32 x 32, 3 classes, radius 0.001: 0.25 s an image with the least IoU of each class, 0.50 s of processor time "
        r"\(certified pixel accuracy 0.9\d, mIoU 0.[89]\d\)",
        few,
    )
    assert all_.endswith("(certified pixel accuracy 0.00, mIoU 0.00)")


def test_memory_is_that_of_tensors_and_arrays(monkeypatch):
    def certify(logits, *_, **__):
        return torch.ones(25 * logits[:, 0].numel()), np.ones(10 * logits[:, 0].numel())  # 100 and 80 bytes a pixel

    monkeypatch.setattr(segmentation_speed, "certify", certify)
    line = segmentation_speed.memory(sides=(128, 256), classes=10)
    found = re.fullmatch(
        r"memory beyond the logits \(40 bytes a pixel\): (\d+) bytes a pixel at 128 x 128, (\d+) .*", line
    )
    assert 180 <= int(found[2]) <= int(found[1]) < 185
