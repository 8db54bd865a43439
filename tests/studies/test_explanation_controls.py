"""The command that prints what maps of known worth get judges each, and sees a metric that rewards them."""

import torch

from orthobench import cli
from orthobench.studies import explanation_controls


def test_maps_of_known_worth_get_it(capsys):
    cli.main(["study", "explanation-controls", "--images", "60", "--seed", "1"])
    lines = capsys.readouterr().out.splitlines()
    judged = [line for line in lines if "at most" in line]
    assert len(judged) == 5
    assert all(line.endswith(": holds") for line in judged), judged
    assert "over 60 images" in lines[0]


def test_a_metric_that_rewards_what_says_nothing_is_seen(monkeypatch):
    def generous(score, maps, baseline, **options):
        several = len(maps) if isinstance(maps, list) else 1
        return 0.5 + 0.01 * torch.rand(several, len(score))

    monkeypatch.setattr(explanation_controls, "mu_fidelity", generous)
    found = list(explanation_controls.figures(images=20))
    assert [each.holds for each in found if each.goal] == 5 * [False]
