"""What is measured of explanations, on networks that are explained exactly, and on ones that lie about themselves."""

import json
import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from lipschitz_toys import CPU, make_task
from torch import nn

from orthobench.data import Examples, Parts, digit_blocks, null_block_mask
from orthobench.harness.lipschitz.explanation import FIDELITY, FIGURES, TEXTS, Explanation
from orthobench.lipschitz.evaluation import frozen_copy, in_float64
from orthobench.models import lipschitz_convnet
from orthobench.report import pictures

SIZE = (1, 4, 4)
CLOCKS = [f"explanation_time_ms_{name}" for name in ("saliency", "gradient_input", "smoothgrad", "integrated")]


class Linear(nn.Module):
    """Logits (s, -s) / sqrt(2) of s = (w, x) + b, times a factor: Lipschitz by |w|, as a whole."""

    def __init__(self, weight, bias=0.0, factor=1.0):
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight.flatten()), bias
        self.factor = factor / 2**0.5

    def forward(self, x):
        score = self.factor * (x.flatten(1) @ self.weight + self.bias)
        return torch.stack([score, -score], 1)


def two_classes(count=24, seed=0, gap=0.3):
    """Images of two classes, one the other moved along a direction in which they don't spread, and that direction."""
    generator = torch.Generator().manual_seed(seed)
    direction = torch.rand(SIZE, generator=generator) - 0.5
    direction /= direction.norm()
    spread = 0.1 * (torch.rand(count, *SIZE, generator=generator) - 0.5)
    spread -= (spread * direction).flatten(1).sum(1).view(-1, 1, 1, 1) * direction
    middle = 0.5 + spread
    inputs = torch.cat([middle + gap * direction, middle - gap * direction])
    return Examples(inputs, torch.arange(2).repeat_interleave(count)), direction


def explain(model, part, claimed=1.0, task=None, constant=None, draw=False, seed=0, **options):
    task = task or make_task(classes=len(part.targets.unique()))
    task = replace(task, parts=Parts(part, part, part), **options)
    plain = frozen_copy(model)
    explanation = Explanation(plain, in_float64(plain, task.shape), task, part, CPU, seed)
    return explanation.figures(claimed, constant or claimed, draw)


def linear_case():
    part, direction = two_classes()
    return Linear(direction, bias=-0.5 * float(direction.sum())), part, direction


@pytest.fixture(scope="module")
def linear():
    model, part, _ = linear_case()
    return explain(model, part, claimed=1.0 + 1e-6)


def test_of_a_linear_network_all_is_known(linear):
    figures, doubts = linear
    assert doubts == []
    assert set(figures) == {*FIGURES, *TEXTS, "explained"}
    assert figures["explained"] == 48
    assert figures["mu_fidelity_zero_gradient_input"] == pytest.approx(1, abs=1e-5)
    assert figures["saturation"] == pytest.approx(1, abs=1e-5)
    assert figures["tightness"] == pytest.approx(1, abs=0.02)
    assert figures["newton_excess"] == pytest.approx(1, abs=0.02)
    assert figures["newton_lands"] == pytest.approx(0, abs=1e-9)
    for name in ("smoothgrad_distance", "stability_saliency", "stability_smoothgrad"):
        assert figures[name] == pytest.approx(0, abs=1e-6)
    for reach in (100, 150, 200):
        assert figures[f"fooling_rate_{reach}"] == figures[f"boxed_fooling_rate_{reach}"] == 1
    assert figures["counterfactual_hit"] == 1
    assert math.isnan(figures["block_share_10"])
    assert figures["maps_picture"] == figures["counterfactuals_picture"] == ""


def test_of_a_translation_the_gradient_is_the_transport_and_leads_the_means_by_nothing(linear):
    figures, _ = linear
    assert figures["transport_cosine"] == pytest.approx(1, abs=1e-5)
    assert figures["transport_cosine_mean"] == pytest.approx(1, abs=1e-5)
    assert figures["transport_lead"] == pytest.approx(0, abs=1e-5)


def test_leads_are_differences_and_gains_are_between_the_curves(linear):
    figures, _ = linear
    rivals = [figures[f"mu_fidelity_uniform_{name}"] for name in ("smoothgrad", "integrated")]
    assert figures["saliency_lead"] == figures[FIDELITY] - max(rivals)
    curves = json.loads(figures["removal_curves"])
    shares = torch.tensor(curves["shares"])
    assert (curves["shares"][0], curves["shares"][-1]) == (0, 1)
    for kind, sign in (("deletion", -1), ("insertion", 1)):
        assert set(curves[kind]) == {"saliency", "gradient_input", "smoothgrad", "integrated", "random"}
        random = torch.tensor(curves[kind].pop("random"))
        for name, own in curves[kind].items():
            between = sign * float(torch.trapezoid(torch.tensor(own) - random, shares))
            assert between == pytest.approx(figures[f"{kind}_gain_{name}"], abs=2e-4)


def test_a_random_map_is_worth_nothing(linear):
    figures, _ = linear
    for baseline in ("zero", "uniform"):
        # 48 images, 200 sets each of 16 pixels: of a single image the standard deviation is about 0.26
        assert abs(figures[f"mu_fidelity_{baseline}_random"]) < 3 * 0.26 / 48**0.5


def test_a_claim_that_is_half_the_truth_is_refuted_by_gradient_and_attack():
    model, part, _ = linear_case()
    figures, doubts = explain(model, part, claimed=0.5, constant=1.0 + 1e-6)
    broken, steep = doubts
    assert broken == "an attack broke the claim's certificates of 48 images"
    assert steep == "the gradient of a margin is 2 times as long as the claim allows for"
    assert figures["saturation"] == pytest.approx(1, abs=1e-5)  # certificates are by the larger constant
    assert figures["tightness"] == pytest.approx(1, abs=0.02)


def convnet(seed=0, classes=4, **options):
    from orthobench.lipschitz.networks import layers_of

    options = {"size": 4, "width": 4, "blocks": 1, "convolutions": 1} | options
    return lipschitz_convnet(seed, outputs=classes, **layers_of("cayley"), **options)


def labelled_by(model, part):
    """The same images, with the classes that a model gives them: all are right."""
    with torch.no_grad():
        return Examples(part.inputs, model.eval()(part.inputs).argmax(1))


class Scaled(nn.Sequential):
    def __init__(self, model, factor):
        super().__init__(model)
        self.factor = factor

    def forward(self, x):
        return self.factor * super().forward(x)


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_no_figure_depends_on_the_scale_of_a_network_whose_claim_has_it_too(factor):
    task, model = make_task(), convnet()
    part = labelled_by(model, Examples(task.parts.train.inputs[:12], task.parts.train.targets[:12]))
    found = [explain(Scaled(model, each), part, claimed=1.0001 * each, task=task) for each in (1.0, factor)]
    assert [doubts for _, doubts in found] == [[], []]
    (expected, _), (scaled, _) = found
    for name in {*FIGURES} - {*CLOCKS}:
        assert scaled[name] == pytest.approx(expected[name], rel=1e-3, abs=1e-3, nan_ok=True), name


def test_only_the_first_images_count_and_of_them_those_that_are_right():
    model, part, _ = linear_case()
    targets = part.targets.clone()
    targets[3] = 1 - targets[3]
    figures, _ = explain(model, Examples(part.inputs, targets), claimed=1.0 + 1e-6, explained=10)
    assert figures["explained"] == 9
    assert math.isnan(figures["transport_cosine"])  # all are of one class


def test_where_no_image_is_right_nothing_is_explained():
    model, part, _ = linear_case()
    figures, doubts = explain(model, Examples(part.inputs, 1 - part.targets), claimed=0.1)
    assert doubts == []
    assert (figures["explained"], figures[FIDELITY]) == (0, 0.0)
    assert all(math.isnan(figures[name]) for name in FIGURES if name != FIDELITY)


def test_a_network_that_gives_other_outputs_in_another_batch_is_caught():
    class Centred(Linear):
        def forward(self, x):
            return super().forward(x - x.mean(0, keepdim=True))

    part, direction = two_classes()
    with pytest.raises(ValueError, match=r"has other logits .*: they must depend on it alone"):
        explain(Centred(direction), part)


@pytest.mark.parametrize(("reads", "share"), [("digit", 0.0), ("block", 1.0)])
def test_a_network_that_reads_one_block_has_its_important_pixels_there(reads, share):
    images = digit_blocks("frame").train.inputs
    on_the_left = null_block_mask(images, "frame")[:, 0, 0]
    part = Examples(images[on_the_left][:3], torch.zeros(3, dtype=torch.int64))
    weight = 1 + torch.rand(8, 16, generator=torch.Generator().manual_seed(0))
    weight[:, slice(8) if reads == "digit" else slice(8, None)] = 0
    options = {"task": make_task(classes=2), "block": partial(null_block_mask, null="frame")}
    figures, doubts = explain(Linear(weight), part, claimed=1.0001 * float(weight.norm()), **options)
    assert doubts == []
    assert figures["explained"] == 3
    assert figures["block_share_10"] == share


def test_pictures_have_a_row_for_each_image_and_a_column_for_each_map():
    model, part, _ = linear_case()
    figures, _ = explain(model, part, claimed=1.0 + 1e-6, draw=True, pictures=True, explained=3)
    grid = pictures.read(figures["maps_picture"])
    assert grid.shape == (3 * 4 + 2, 5 * 4 + 4, 3)
    torch.testing.assert_close(torch.tensor(grid[:4, :4, 0]), part.inputs[0, 0], atol=0.02, rtol=0)
    assert (grid[:, 4] == 1).all()  # between two panels
    counterfactuals = pictures.read(figures["counterfactuals_picture"])
    assert counterfactuals.shape == (3 * 4 + 2, 3 * 4 + 2, 3)
    nearest = counterfactuals[:4, 10:14, 0]
    other = (part.inputs[24:, 0] - torch.tensor(nearest)).flatten(1).norm(dim=1).min()
    assert float(other) < 0.05  # an image of the other class


def test_pictures_are_drawn_only_where_the_licence_allows():
    model, part, _ = linear_case()
    figures, _ = explain(model, part, claimed=1.0 + 1e-6, draw=True, explained=3)
    assert figures["maps_picture"] == figures["counterfactuals_picture"] == ""
