"""Splits, measured sets and attacks, against plain loops and exact worst cases."""

import itertools
import math

import numpy as np
import pytest
import torch
from conformal_toys import CLASSES, RADIUS, SHAPE, Corners, make_task, measured, method_of, points
from scipy.stats import binom

from orthobench.conformal import (
    APRCP,
    APS,
    LAC,
    RAPS,
    VRCPC,
    VRCPI,
    Claim,
    LipschitzConformal,
    Margin,
    SplitConformal,
)
from orthobench.conformal.networks import make_network, trained_network
from orthobench.conformal.outcomes import set_shares, worst_class_coverage
from orthobench.conformal.smoothing import CAS, RCP1, BinCP, RSCPPlus
from orthobench.data import Examples
from orthobench.data.logits import load_logits
from orthobench.data.parts import distinct
from orthobench.harness.conformal import ConformalObjective
from orthobench.harness.conformal.task import Network
from orthobench.harness.status import InvalidResult, Refuted

SMOOTH = {"sigma": 0.1, "samples": 32}


def test_splits_are_disjoint_cover_the_pool_differ_and_come_back_with_the_seed():
    task = make_task()
    seen = set()
    for parts, again in zip(task.parts(), task.parts(), strict=True):
        assert sorted(torch.cat(parts).tolist()) == list(range(600))
        assert [len(part) for part in parts] == [200, 100, 300]
        assert all(map(torch.equal, parts, again))
        seen.add(tuple(parts[0].tolist()))
    assert len(seen) == task.splits
    assert not torch.equal(next(make_task(seed=5).parts())[0], next(task.parts())[0])


def test_what_is_withheld_is_in_no_part_and_costs_calibration_examples():
    for calibration, evaluation, test in make_task().parts([3, 5, 8]):
        assert not {3, 5, 8} & set(torch.cat([calibration, evaluation, test]).tolist())
        assert [len(calibration), len(evaluation), len(test)] == [197, 100, 300]


def test_what_is_attacked_is_a_random_part_of_the_pool():
    task = make_task()
    part = task.random_part(200)
    assert part.tolist() == sorted({*part.tolist()})
    assert len(part) == 200
    assert 250 < part.double().mean() < 350
    assert not torch.equal(part, make_task(seed=1).random_part(200))
    assert torch.equal(task.random_part(1000), torch.arange(600))
    # It has nothing to do with what calibrates in any split.
    shared = [len({*calibration.tolist()} & {*part.tolist()}) for calibration, _, _ in task.parts()]
    assert 45 < np.mean(shared) < 90


def test_a_pool_without_tests_is_an_error():
    with pytest.raises(ValueError, match="no test example beside 200 for calibration and 100"):
        make_task(count=300)


def test_copies_are_in_no_two_parts():
    examples = points(50, 0)
    doubled = Examples(torch.cat([examples.inputs, examples.inputs[:20]]), examples.targets.repeat(2)[:70])
    assert torch.equal(distinct(doubled).inputs, examples.inputs)


@pytest.mark.parametrize("score", [LAC(), Margin()], ids=str)
def test_measured_sets_are_those_of_a_plain_loop(score):
    sets = measured(lambda: SplitConformal(score, 0.1), attacked=0).clean
    task, plain = make_task(), SplitConformal(score, 0.1)
    hits, sizes = [], []
    for calibration, _, test in task.parts():
        plain.calibrate(Corners(), *task.pool[calibration])
        found = plain.predict_sets(task.pool.inputs[test])
        hits.append(found[torch.arange(300), task.pool.targets[test]])
        sizes.append(found.sum(1))
    assert torch.equal(torch.cat(hits), torch.cat(sets.hits))
    assert torch.equal(torch.cat(sizes), torch.cat(sets.sizes))
    assert sets.coverage == pytest.approx(float(torch.cat(hits).double().mean()))
    assert sum(set_shares(sets, CLASSES).values()) <= 1
    by_class = [float(torch.cat(hits)[torch.cat([task.pool.targets[p[2]] for p in task.parts()]) == c].double().mean())
                for c in range(CLASSES)]  # fmt: skip
    assert worst_class_coverage(sets, task.pool.targets) == pytest.approx(min(by_class))
    assert all(map(torch.equal, sets.misses, (~each for each in sets.hits)))
    assert sets.part == 600


def with_grad(predictor):
    """Return ``score(inputs, labels)`` of a predictor of the task's network."""
    predictor.attach(Corners())

    def score(inputs, labels):
        return predictor.prediction_scores(inputs).gather(1, labels[:, None]).squeeze(1)

    return score


@pytest.mark.parametrize(
    ("make", "worst"),
    [
        (lambda: LipschitzConformal(LAC("sigmoid"), 0.1, RADIUS), 1.0),
        (lambda: LipschitzConformal(Margin(), 0.1, RADIUS), 2**0.5),
        (lambda: SplitConformal(Margin(), 0.1), 2**0.5),
    ],
)
def test_the_search_by_the_method_s_score_reaches_the_exact_worst_case(make, worst):
    measurement = measured(make)
    inputs, labels, score = (
        measurement.inputs[measurement.part],
        measurement.labels[measurement.part],
        with_grad(make()),
    )
    own, margin, moved = measurement.searches
    lost = (score(inputs, labels) - score(own, labels)).double()
    torch.testing.assert_close(lost, torch.full((300,), worst * RADIUS).double(), atol=2e-3, rtol=0)
    assert measurement.agreement == 1
    for each in (own, margin, moved):
        assert ((each - inputs).flatten(1).double().norm(dim=1) <= RADIUS * (1 + 1e-6)).all()
        assert each.min() >= 0
        assert each.max() <= 1
    # The bench's search is by the margin, which is what it lowers as far as can be, whatever the method's score is.
    margins = with_grad(SplitConformal(Margin(), 0.1))
    lost = (margins(inputs, labels) - margins(margin, labels)).double()
    torch.testing.assert_close(lost, torch.full((300,), 2**0.5 * RADIUS).double(), atol=2e-3, rtol=0)


@pytest.mark.parametrize("make", [lambda: SplitConformal(Margin(), 0.1), lambda: SplitConformal(LAC("sigmoid"), 0.1)])
def test_attacked_sets_are_those_of_the_worst_input_of_all_searches(make):
    measurement = measured(make, splits=3)
    labels, score = measurement.labels[measurement.part], with_grad(make())
    worst = torch.stack([score(each, labels) for each in measurement.searches]).min(0).values
    for place, hits, threshold in zip(
        measurement.attacked.examples, measurement.attacked.hits, measurement.thresholds, strict=True
    ):
        rows = torch.searchsorted(measurement.part, place)
        assert torch.equal(worst[rows] >= threshold, hits)


class Hidden(SplitConformal):
    """Its scores have a gradient that leads uphill, in a direction of no use, or none."""

    def __init__(self, sign):
        super().__init__(Margin(), 0.1)
        self.sign = sign

    def _prediction_scores(self, x, generator):
        scores = super()._prediction_scores(x, generator)
        elsewhere = self.sign * scores + 3 * x.flatten(1)[:, 3:]
        return scores.detach() + (elsewhere - elsewhere.detach()) * (self.sign != 0)


@pytest.mark.parametrize("sign", [-1, 0])
def test_a_gradient_that_differences_contradict_changes_the_search_and_is_no_verdict(sign):
    measurement, honest = measured(lambda: Hidden(sign)), measured(lambda: SplitConformal(Margin(), 0.1))
    assert measurement.agreement < 0.6
    assert honest.agreement == 1
    # By finite differences, it is about as good.
    labels, score = measurement.labels[measurement.part], with_grad(SplitConformal(Margin(), 0.1))
    lost = [
        (score(each.inputs[each.part], labels) - score(each.searches[0], labels)).mean()
        for each in (measurement, honest)
    ]
    assert lost[0] > 0.8 * lost[1]
    assert measurement.attacked.coverage == pytest.approx(honest.attacked.coverage, abs=0.01)


class Steps(SplitConformal):
    """Ranks: flat almost everywhere, with a gradient to guide an attack."""

    def _prediction_scores(self, x, generator):
        scores = super()._prediction_scores(x, generator)
        return (20 * scores).round().detach() / 20 + (scores - scores.detach())


def test_an_honest_score_with_steps_is_attacked_all_the_same():
    measurement, smooth = (measured(lambda kind=kind: kind(Margin(), 0.1)) for kind in (Steps, SplitConformal))
    assert measurement.attacked.coverage < measurement.clean.coverage - 0.1
    assert measurement.attacked.coverage == pytest.approx(smooth.attacked.coverage, abs=0.08)


@pytest.mark.parametrize(
    "make",
    [
        lambda: CAS(LAC(bounded=True, temperature=0.05), 0.1, RADIUS, **SMOOTH),
        lambda: BinCP(LAC(), 0.1, RADIUS, **SMOOTH),
        lambda: RCP1(LAC(), 0.1, RADIUS, sigma=0.1),
        lambda: RSCPPlus(LAC(), 0.1, RADIUS, transform=True, **SMOOTH),
    ],
    ids=["CAS", "BinCP", "RCP1", "PTT"],
)
def test_smoothed_methods_are_attacked_through_their_noise_and_keep_what_they_claim(make):
    measurement, again = (measured(make, splits=5) for _ in range(2))
    assert measurement.noisy
    moved = (measurement.searches[1] - measurement.inputs[measurement.part]).flatten(1).norm(dim=1)
    assert moved.median() > RADIUS / 2
    assert 0.88 <= measurement.attacked.coverage <= measurement.clean.coverage + 0.02
    for sets in ("clean", "attacked"):
        assert all(map(torch.equal, getattr(measurement, sets).hits, getattr(again, sets).hits))


class Coin(SplitConformal):
    """Noise so large that a choice by it would be seen: coverage at the nominal level, at any input."""

    def _prediction_scores(self, x, generator):
        scores = super()._prediction_scores(x, generator)
        return scores + 100 * torch.randn(scores.shape, generator=generator)


def test_the_worst_of_several_inputs_is_not_chosen_by_the_noise_that_it_is_judged_with():
    measurement = measured(lambda: Coin(Margin(), 0.1), attacked=600, splits=40)
    assert measurement.noisy
    assert measurement.attacked.coverage == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize(
    ("make", "noisy", "passes"),
    [
        (lambda: SplitConformal(Margin(), 0.1), False, 1),
        (lambda: SplitConformal(RAPS(), 0.1), True, 1),
        (lambda: SplitConformal(APS(randomised=False), 0.1), False, 1),
        (lambda: BinCP(LAC(), 0.1, RADIUS, **SMOOTH), True, 32),
        (lambda: APRCP(LAC(), 0.1, RADIUS, samples=150), True, 1),
        (lambda: VRCPI(Margin(), 0.1, RADIUS, SHAPE), False, None),
        (lambda: VRCPC(Margin(), 0.1, RADIUS, SHAPE), False, 1),
    ],
)
def test_noise_and_passes_are_measured(make, noisy, passes):
    measurement = measured(make, dense(), splits=2)
    assert measurement.noisy is noisy
    # Bounds of 9 differences of two logits, of which inputs share a part, and a pass for checks.
    assert 1.01 < measurement.passes < 10 if passes is None else measurement.passes == passes


def dense():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, CLASSES, bias=False)).requires_grad_(False)
    model[1].weight.data = torch.eye(CLASSES, 4)
    return Network(model, 1.0)


@pytest.mark.parametrize("count", [300, 600])
def test_an_honest_method_at_its_exact_worst_case_is_doubted_no_more_often_than_the_p_value_says(count):
    """The same 300 of 600 examples in each split don't count as new ones each time."""
    objective = ConformalObjective()
    objective.alpha = 0.1
    found = []
    for seed in range(100):
        measurement = measured(lambda: LipschitzConformal(LAC("sigmoid"), 0.1, RADIUS), seed=1000 * seed, attacked=0)
        measurement.part = measurement.task.random_part(count)
        worst = measurement.inputs[measurement.part]
        worst.flatten(1)[torch.arange(count), measurement.labels[measurement.part]] -= RADIUS
        measurement._attack([worst])
        judged = objective._judged(measurement.claim, measurement, measurement.attacked, RADIUS, "attacked")[0]
        found.append(judged["p_value_attacked"])
    for level in (0.001, 0.01, 0.1):
        assert sum(p <= level for p in found) <= binom.ppf(1 - 1e-4, 100, level)


@pytest.mark.parametrize("make", [VRCPI, VRCPC])
def test_a_verified_method_is_attacked(make):
    measurement = measured(lambda: make(Margin(), 0.1, RADIUS, SHAPE), dense(), splits=2)
    labels, score = measurement.labels[measurement.part], with_grad(SplitConformal(Margin(), 0.1))
    for each in measurement.searches[:2]:
        lost = score(measurement.inputs[measurement.part], labels) - score(each, labels)
        assert (lost > 0.9 * 2**0.5 * RADIUS).double().mean() > 0.95
    assert measurement.attacked.coverage < measurement.clean.coverage


def test_noisy_scores_are_judged_with_enough_splits_alone():
    objective = ConformalObjective()
    objective.alpha = 0.1
    for splits, untested in ((20, "needs 100 splits of noisy scores, these are 20"), (100, "")):
        measurement = measured(lambda: RCP1(LAC(), 0.1, RADIUS, sigma=0.1), splits=splits, attacked=0)
        figures, doubts = objective._judged(measurement.claim, measurement, measurement.clean, 0.0)
        assert (figures["judged"], figures["untested"]) == (not untested, untested)
        assert np.isnan(figures["p_value"]) == bool(untested)
        assert not doubts
        claim = SplitConformal(LAC(), 0.1).claim
        unclaimed, _ = objective._judged(claim, measurement, measurement.clean, RADIUS, "attacked")
        assert (unclaimed["judged_attacked"], unclaimed["untested_attacked"]) == (False, "")


def test_the_certified_curve_brackets_the_attacked_coverage():
    measurement = measured(lambda: SplitConformal(Margin(), 0.1), attacked=600)
    radii, lower, upper = measurement.bounds()
    at = int((radii - RADIUS).abs().argmin())
    assert lower[at] <= measurement.attacked.coverage <= upper[at]
    assert (lower.diff() <= 0).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: LipschitzConformal(Margin(), 0.1, RADIUS),
        lambda: SplitConformal(APS(), 0.1),
        lambda: SplitConformal(LAC(temperature=0.5), 0.1),
        lambda: VRCPC(Margin(), 0.1, RADIUS, SHAPE),
    ],
)
def test_the_curve_is_of_vanilla_sets_of_the_harness_s_continuous_scores(make):
    assert measured(make, dense(), splits=2, attacked=0).bounds() is None


class Depends(SplitConformal):
    """Scores that depend on their calibration: above its median they count twice."""

    reusable_scores = False
    asked = []

    def calibrate_scores(self, scores):
        self.median = float(scores.median())
        type(self).asked.append(scores)
        return super().calibrate_scores(scores)

    def _calibration_scores(self, x, generator, y=None):
        return super()._prediction_scores(x, generator)

    def _prediction_scores(self, x, generator):
        scores = super()._prediction_scores(x, generator)
        return torch.where(scores > self.median, 2 * scores - self.median, scores)


def test_scores_that_depend_on_the_calibration_are_asked_for_again_in_each_split():
    """Twice what is above the median: the same sets."""
    Depends.asked = []
    measurement, plain = (
        measured(lambda kind=kind: kind(Margin(), 0.1), splits=4) for kind in (Depends, SplitConformal)
    )
    for sets in ("clean", "attacked"):
        assert all(map(torch.equal, getattr(measurement, sets).hits, getattr(plain, sets).hits))
    assert all(torch.equal(each, each.sort().values) for each in Depends.asked)
    assert all(any(torch.equal(each, asked) for asked in Depends.asked) for each in measurement._sorted)


# --- what a stand is asked, and what the bench makes of its answers


class Diary(SplitConformal):
    """Notes what each of its processes is asked, in order."""

    transform, hold_out = True, 0.25

    def __init__(self, pages):
        super().__init__(Margin(), 0.1)
        self.page = []
        pages.append(self.page)

    def fit_transform(self, x, y, *, generator=None):
        self.page.append(("fit", x))

    def _calibration_scores(self, x, generator, y=None):
        self.page.append(("calibration", x))
        return super()._prediction_scores(x, generator)

    def _threshold(self, scores):
        self.page.append(("threshold", scores))
        return super()._threshold(scores)

    def _prediction_scores(self, x, generator):
        self.page.append(("gradient" if x.requires_grad else "prediction", x))
        return super()._prediction_scores(x, generator)


def test_no_stand_is_asked_what_would_help_it_with_another_answer():
    pages = []
    measurement = measured(lambda: Diary(pages), splits=2)
    kinds = [list(dict.fromkeys(kind for kind, _ in page)) for page in pages]
    aside = ["fit", "threshold", "prediction", "calibration", "gradient"]
    timed = ["fit", "prediction", "threshold"]
    assert kinds == [["fit", "calibration"], aside, timed, *3 * [["fit", "prediction"]]]
    # Thresholds come before all inputs but those of the hold-out, which are in no part of any split.
    held_out = pages[0][0][1]
    assert len(held_out) == 50
    tested = torch.cat([measurement.inputs[torch.cat(split)] for split in measurement.splits]).flatten(1)
    assert (torch.cdist(held_out.flatten(1), tested) > 0).all()
    assert len(measurement.splits[0][0]) == 150
    # Nobody sees two searches, or one and the clean inputs.
    for page in pages[2:]:
        inputs = [x for kind, x in page if kind == "prediction" and len(x) > 32]
        assert all(torch.equal(each, inputs[0]) for each in inputs)


@pytest.mark.parametrize("share", [0.0, 1.0, 1.25, -0.5, "half", True, math.nan, math.inf])
def test_a_hold_out_is_a_share_strictly_between_0_and_1(share):
    class Held(SplitConformal):
        transform, hold_out = True, share

        def fit_transform(self, x, y, *, generator=None):
            """Nothing."""

    with pytest.raises(InvalidResult, match="hold_out"):
        measured(lambda: Held(Margin(), 0.1))


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        *((kind(0.25), 0.25) for kind in (float, np.float32, np.float64, torch.tensor)),
        *((value, None) for value in (True, None, "0.25", math.nan, math.inf, -math.inf, 0.0, -1)),
    ],
)
def test_what_a_predictor_says_of_its_noise_is_a_positive_number_or_nothing(told, expected):
    class Says(SplitConformal):
        sigma = lipschitz_constant = told

    method = method_of(lambda: Says(Margin(), 0.1), make_task())
    with method.aside():
        assert (method.description.sigma, method.description.lipschitz_constant) == (expected, expected)


def test_a_hold_out_leaves_something_to_calibrate_with():
    class Held(SplitConformal):
        transform, hold_out = True, 0.999

    with pytest.raises(InvalidResult, match=r"hold_out=0\.999 leaves none of 200 examples to calibrate with"):
        measured(lambda: Held(Margin(), 0.1))


def altered(change):
    class Altered(SplitConformal):
        def prediction_scores(self, x, *, generator=None):
            return change(super().prediction_scores(x, generator=generator))

    return lambda: Altered(Margin(), 0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda scores: scores[:, :2], r"the prediction scores are torch.float32 \(600, 2\): expected"),
        (lambda scores: scores > 0, "expected float32 or float64"),
        (lambda scores: scores.half(), "expected float32 or float64"),
        (lambda scores: scores * torch.nan, "have NaN among them"),
        (lambda scores: scores.numpy(), "is a ndarray, expected a tensor"),
    ],
)
def test_scores_are_a_number_for_each_class(change, message):
    with pytest.raises(InvalidResult, match=message):
        measured(altered(change))


def test_infinite_scores_and_thresholds_are_numbers():
    measurement = measured(altered(lambda scores: torch.full_like(scores, torch.inf)))
    assert measurement.clean.coverage == measurement.attacked.coverage == 1
    assert measurement.clean.size == CLASSES


def test_a_threshold_is_a_number():
    class Nothing(SplitConformal):
        def _threshold(self, scores):
            return float("nan")

    with pytest.raises(InvalidResult, match="the thresholds are no 20 numbers"):
        measured(lambda: Nothing(Margin(), 0.1))


def test_other_scores_while_passes_are_counted_are_refuted():
    class Cheaper(SplitConformal):
        def prediction_scores(self, x, *, generator=None):
            scores = super().prediction_scores(x, generator=generator)
            return scores if len(x) == 600 and not self.model._forward_pre_hooks else 0 * scores

    with pytest.raises(Refuted, match="other scores for the same inputs and noise while its passes are counted"):
        measured(lambda: Cheaper(Margin(), 0.1))


def test_a_predictor_with_a_model_of_its_own_is_an_error():
    class Own(SplitConformal):
        def attach(self, model):
            return super().attach(Corners(2.0))

    with pytest.raises(InvalidResult, match="another model"):
        measured(lambda: Own(Margin(), 0.1))


def test_a_claim_is_the_same_in_each_process_and_of_the_alpha_asked_for():
    alphas = iter([0.1, 0.1, 0.2])
    with pytest.raises(InvalidResult, match=r"claims alpha=0\.2: expected 0\.1"):
        measured(lambda: SplitConformal(Margin(), next(alphas)))
    radii = iter([0.1, 0.2])
    with pytest.raises(InvalidResult, match="says something else of itself in another process"):
        measured(lambda: LipschitzConformal(Margin(), 0.1, next(radii)))


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_a_claim_of_a_radius_in_any_norm_is_one_of_that_radius_in_l2(norm):
    """The ball of the other norm is the larger one."""
    objective = ConformalObjective()
    objective.alpha = 0.1

    class Claims(SplitConformal):
        @property
        def claim(self):
            return Claim(0.1, RADIUS, norm)

    measurement = measured(lambda: Claims(Margin(), 0.1), attacked=600, splits=20)
    for sets, radius, change, doubted in (
        (measurement.clean, 0.0, "", 0),
        (measurement.attacked, RADIUS, "attacked", 1),
    ):
        figures, doubts = objective._judged(measurement.claim, measurement, sets, radius, change)
        assert figures["judged" + f"_{change}" * bool(change)]
        assert len(doubts) == doubted


# --- networks


@pytest.mark.parametrize(
    ("family", "architecture"), [*itertools.product(["lipschitz", "standard", "noise"], ["dense", "convolutional"])]
)
def test_every_network_trains_and_a_lipschitz_one_has_its_constant(family, architecture):
    train = Examples(torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(64) % 3)
    options = {"architecture": architecture, "width": 8, "steps": 3, "batch_size": 16, "sigma": 0.1, "seed": 1}
    model, constant = trained_network(family, train.inputs, train.targets, 3, **options)
    again, same = trained_network(family, train.inputs, train.targets, 3, **options)
    assert model is not again
    assert all(map(torch.equal, model.state_dict().values(), again.state_dict().values()))
    assert constant == same
    assert model(train.inputs).shape == (64, 3)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    if family == "lipschitz":
        assert 0.5 < constant < 1 + 1e-4
    other = trained_network(family, train.inputs, train.targets, 3, **options | {"seed": 2})[0]
    assert not all(map(torch.equal, model.state_dict().values(), other.state_dict().values()))


def test_unknown_networks_are_named():
    with pytest.raises(ValueError, match="network='robust'"):
        make_network("robust", "dense", SHAPE, 3, 8, 0)
    with pytest.raises(ValueError, match="architecture='deep'"):
        make_network("noise", "deep", SHAPE, 3, 8, 0)


def test_logits_are_read_from_a_file_that_is_what_it_should_be(tmp_path):
    np.savez(tmp_path / "good.npz", logits=np.eye(4, 3), labels=np.arange(4) % 3)
    logits, labels = load_logits(str(tmp_path / "good.npz"))
    assert logits.dtype == torch.float32
    assert labels.tolist() == [0, 1, 2, 0]
    for wrong, message in (({"logits": np.eye(3)}, "no array labels"),
                           ({"logits": np.eye(3), "labels": np.arange(2)}, r"expected \(n, C\)")):  # fmt: skip
        np.savez(tmp_path / "wrong.npz", **wrong)
        with pytest.raises(ValueError, match=message):
            load_logits(str(tmp_path / "wrong.npz"))
    with pytest.raises(FileNotFoundError, match="give the path of an"):
        load_logits("")
