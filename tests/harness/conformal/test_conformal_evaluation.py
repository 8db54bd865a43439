"""Splits, measured sets and attacks, against plain loops and exact worst cases."""

import itertools

import numpy as np
import pytest
import torch
from conformal_toys import CLASSES, RADIUS, SHAPE, Corners, make_task, points
from scipy.stats import binom

from orthobench.conformal import APRCP, APS, LAC, VRCPI, LipschitzConformal, Margin, SplitConformal
from orthobench.conformal.smoothing import CAS, RCP1, BinCP, RSCPPlus
from orthobench.data import Examples
from orthobench.harness.conformal import ConformalObjective
from orthobench.harness.conformal.attacks import attack
from orthobench.harness.conformal.evaluation import CLEAN, Measurement, set_shares, worst_class_coverage
from orthobench.harness.conformal.networks import make_network, trained_network
from orthobench.harness.conformal.task import Network, distinct, load_logits
from orthobench.harness.status import InvalidResult

CPU = torch.device("cpu")
SMOOTH = {"sigma": 0.1, "samples": 32}


def measured(predictor, **options):
    task = make_task(**options)
    return Measurement(predictor, task, task.network("lipschitz"), CPU)


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


def test_a_pool_without_tests_is_an_error():
    with pytest.raises(ValueError, match="no test example beside 200 for calibration and 100"):
        make_task(count=300)


def test_copies_are_in_no_two_parts():
    examples = points(50, 0)
    doubled = Examples(torch.cat([examples.inputs, examples.inputs[:20]]), examples.targets.repeat(2)[:70])
    assert torch.equal(distinct(doubled).inputs, examples.inputs)


def test_a_solver_is_given_nothing_of_the_pool():
    task = make_task()
    given = task.for_solvers()
    pool = {row.tobytes() for row in task.pool.inputs.numpy()}
    for inputs in (given.calibration.inputs, given.test_inputs):
        assert len(inputs) == 100
        assert not {row.tobytes() for row in inputs.numpy()} & pool
    given.calibration.inputs.zero_()
    assert task.shown.inputs.abs().min() > 0


@pytest.mark.parametrize("score", [LAC(), Margin()], ids=str)
def test_measured_sets_are_those_of_a_plain_loop(score):
    predictor = SplitConformal(score, 0.1)
    sets = measured(predictor).sets(make_task().pool.inputs, CLEAN)
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


@pytest.mark.parametrize(
    ("make", "worst"),
    [
        (lambda: LipschitzConformal(LAC("sigmoid"), 0.1, RADIUS), 1.0),
        (lambda: LipschitzConformal(Margin(), 0.1, RADIUS), 2**0.5),
        (lambda: SplitConformal(Margin(), 0.1), 2**0.5),
    ],
)
def test_the_attack_reaches_the_exact_worst_case(make, worst):
    measurement = measured(make())
    before = measurement.predictor.true_class_score(measurement.inputs, measurement.labels)[:300]
    attacked = measurement.attacked(steps=20, restarts=1, examples=300, samples=16)
    after = measurement.predictor.true_class_score(attacked, measurement.labels[:300])
    torch.testing.assert_close(
        (before - after).double(), torch.full((300,), worst * RADIUS).double(), atol=2e-3, rtol=0
    )
    assert ((attacked - measurement.inputs[:300]).flatten(1).double().norm(dim=1) <= RADIUS * (1 + 1e-6)).all()
    assert attacked.min() >= 0
    assert attacked.max() <= 1


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
    measurement = measured(make(), splits=5)
    clean = measurement.sets(measurement.inputs, CLEAN)
    attacked = measurement.attacked(steps=5, restarts=1, examples=300, samples=8)
    outcome = measurement.sets(attacked, 3)
    moved = (attacked - measurement.inputs[:300]).flatten(1).norm(dim=1)
    assert moved.median() > RADIUS / 2
    assert 0.88 <= outcome.coverage <= clean.coverage + 0.02
    repeated = measurement.sets(measurement.inputs, CLEAN)
    assert all(map(torch.equal, clean.hits, repeated.hits))


@pytest.mark.parametrize("count", [300, 600])
def test_an_honest_method_at_its_exact_worst_case_is_doubted_no_more_often_than_the_p_value_says(count):
    """The same 300 of 600 examples in each split don't count as new ones each time."""
    objective = ConformalObjective()
    objective.alpha = 0.1
    found = []
    for seed in range(100):
        predictor = LipschitzConformal(LAC("sigmoid"), 0.1, RADIUS)
        measurement = measured(predictor, seed=1000 * seed)
        worst = measurement.inputs[:count].clone()
        worst.flatten(1)[torch.arange(count), measurement.labels[:count]] -= RADIUS
        sets = measurement.sets(worst, 3)
        found.append(objective._judged(predictor.claim, measurement, sets, RADIUS, "attacked")[0]["p_value_attacked"])
    for level in (0.001, 0.01, 0.1):
        assert sum(p <= level for p in found) <= binom.ppf(1 - 1e-4, 100, level)


def test_a_verified_method_is_attacked_by_the_clean_score_of_its_network():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, CLASSES, bias=False))
    model[1].weight.data = torch.eye(CLASSES, 4)
    task = make_task()
    predictor = VRCPI(Margin(), 0.1, RADIUS, SHAPE)
    measurement = Measurement(predictor, task, Network(model, 1.0), CPU)
    attacked = measurement.attacked(steps=20, restarts=1, examples=300, samples=1)
    before, after = (predictor.true_class_score(each, measurement.labels[:300])
                     for each in (measurement.inputs[:300], attacked))  # fmt: skip
    assert ((before - after) > 0.95 * 2**0.5 * RADIUS).double().mean() > 0.95


@pytest.mark.parametrize(
    ("make", "noisy"),
    [
        (lambda: SplitConformal(LAC(), 0.1), False),
        (lambda: SplitConformal(APS(randomised=False), 0.1), False),
        (lambda: SplitConformal(APS(), 0.1), True),
        (lambda: APRCP(LAC(), 0.1, RADIUS, samples=256), True),
        (lambda: RCP1(LAC(), 0.1, RADIUS, sigma=0.1), True),
        (lambda: BinCP(LAC(), 0.1, RADIUS, **SMOOTH), True),
    ],
    ids=["LAC", "APS", "randomised APS", "aPRCP", "RCP1", "BinCP"],
)
def test_noise_is_found_by_scoring_twice(make, noisy):
    predictor = make()
    if not noisy:
        predictor.sigma = 0.1  # what it is called doesn't count
    assert measured(predictor, splits=1).noisy == noisy


def test_noisy_scores_are_judged_with_enough_splits_alone():
    objective = ConformalObjective()
    objective.alpha = 0.1
    for splits, untested in ((20, "needs 100 splits of noisy scores, these are 20"), (100, "")):
        predictor = RCP1(LAC(), 0.1, RADIUS, sigma=0.1)
        measurement = measured(predictor, splits=splits)
        sets = measurement.sets(measurement.inputs, CLEAN)
        figures, doubts = objective._judged(predictor.claim, measurement, sets, 0.0)
        assert (figures["judged"], figures["untested"]) == (not untested, untested)
        assert np.isnan(figures["p_value"]) == bool(untested)
        assert not doubts
        unclaimed, _ = objective._judged(SplitConformal(LAC(), 0.1).claim, measurement, sets, RADIUS, "attacked")
        assert (unclaimed["judged_attacked"], unclaimed["untested_attacked"]) == (False, "")


def test_the_certified_curve_brackets_the_attacked_coverage():
    measurement = measured(SplitConformal(Margin(), 0.1))
    radii, lower, upper = measurement.bounds()
    attacked = measurement.sets(measurement.attacked(steps=10, restarts=1, examples=600, samples=1), 3).coverage
    at = int((radii - RADIUS).abs().argmin())
    assert lower[at] <= attacked <= upper[at]
    assert (lower.diff() <= 0).all()


def test_a_predictor_whose_sets_are_others_than_its_scores_give_is_an_error():
    class Smaller(SplitConformal):
        def predict_sets(self, x, **options):
            sets = super().predict_sets(x, **options)
            sets[:, -1] = False
            return sets

    with pytest.raises(InvalidResult, match="other sets than prediction_scores"):
        measured(Smaller(Margin(), 0.01))


def test_a_predictor_with_a_model_of_its_own_is_an_error():
    class Own(SplitConformal):
        def attach(self, model):
            return super().attach(Corners(2.0))

    with pytest.raises(InvalidResult, match="another model"):
        measured(Own(Margin(), 0.1))


def test_attacks_of_parts_and_with_one_seed_are_the_same():
    predictor = SplitConformal(Margin(), 0.1).attach(Corners())
    predictor.threshold = 0.0
    examples = points(100, 3)
    first, again = (
        attack(predictor, examples.inputs, examples.targets, RADIUS, steps=4, restarts=2, samples=1, seed=7)
        for _ in range(2)
    )
    assert torch.equal(first, again)


# --- networks


@pytest.mark.parametrize(
    ("family", "architecture"), [*itertools.product(["lipschitz", "standard", "noise"], ["dense", "convolutional"])]
)
def test_every_network_trains_and_a_lipschitz_one_has_its_constant(family, architecture):
    train = Examples(torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(64) % 3)
    options = {"architecture": architecture, "width": 8, "steps": 3, "batch_size": 16, "sigma": 0.1, "seed": 1}
    model, constant = trained_network(family, train, 3, **options)
    again, same = trained_network(family, train, 3, **options)
    assert model is not again
    assert all(map(torch.equal, model.state_dict().values(), again.state_dict().values()))
    assert constant == same
    assert model(train.inputs).shape == (64, 3)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    if family == "lipschitz":
        assert 0.5 < constant < 1 + 1e-4
    other = trained_network(family, train, 3, **options | {"seed": 2})[0]
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
