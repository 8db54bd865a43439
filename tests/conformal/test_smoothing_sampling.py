"""Noise: its distribution, its independence of batches, and gradients through it at bounded memory."""

import math

import pytest
import torch
from scipy import stats
from smoothing_toys import CLASSES, FEATURES, METHODS, Linear, examples, seeded

from orthobench.conformal import APS, LAC
from orthobench.conformal.smoothing import RCP1, RSCP, gaussian_noise, uniform_in_ball
from orthobench.conformal.smoothing.sampling import own_generator, reduce_over_noise


def test_gaussian_noise_is_standard_normal_and_of_the_inputs_type():
    noise = gaussian_noise(torch.zeros(40, 3, 5), 100, seeded())
    assert noise.shape == (40, 100, 3, 5)
    assert stats.kstest(noise.flatten().numpy(), "norm").pvalue > 1e-3
    assert gaussian_noise(torch.zeros(2, 3, dtype=torch.float16), 7, seeded()).dtype == torch.float16
    assert gaussian_noise(torch.zeros(2, 3, dtype=torch.float64), 7, seeded()).dtype == torch.float64


@pytest.mark.parametrize("shape", [(1,), (3,), (4, 4), (3, 5, 5)])
def test_the_noise_of_an_input_doesnt_depend_on_the_batch(shape):
    for draw in (gaussian_noise, uniform_in_ball):
        together, generator = draw(torch.zeros(6, *shape), 5, seeded()), seeded()
        apart = torch.cat([draw(torch.zeros(2, *shape), 5, generator) for _ in range(3)])
        assert torch.equal(together, apart)
        assert together.flatten(1).unique(dim=0).shape[0] == 6


@pytest.mark.parametrize("shape", [(1,), (2,), (3, 4)])
def test_points_of_the_ball_are_uniform(shape):
    radius, dimension = 2.5, math.prod(shape)
    points = uniform_in_ball(torch.zeros(20, *shape, dtype=torch.float64), 500, seeded(), radius).flatten(2)
    lengths = points.norm(dim=2).flatten()
    assert lengths.max() <= radius * (1 + 1e-12)
    assert stats.kstest((lengths / radius).numpy() ** dimension, "uniform").pvalue > 1e-3
    # Of one coordinate, rho^2 / r^2 ~ Beta(1/2, (d + 1)/2), and both signs are as likely.
    first = points[..., 0].flatten().numpy() / radius
    assert stats.kstest(first**2, stats.beta(0.5, (dimension + 1) / 2).cdf).pvalue > 1e-3
    assert stats.binomtest(int((first > 0).sum()), len(first)).pvalue > 1e-3


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("batch_size", [1, 50])
def test_sets_and_thresholds_dont_depend_on_the_batch_size_and_no_batch_is_larger(method, batch_size):
    x, y = examples(30, seeded())
    models, results = (Linear(), Linear()), []
    for model, size in zip(models, (4096, batch_size), strict=True):
        generator = seeded(1)
        predictor = METHODS[method](0.3, 0.2, sigma=0.5, samples=32, batch_size=size)
        predictor.calibrate(model, x, y, generator=generator)
        sets = predictor.predict_sets(x[:20], generator=generator)
        results.append((predictor.threshold, sets, predictor.prediction_scores(x[:20], generator=generator)))
    assert max(map(len, models[1].seen)) <= batch_size
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(results[0][2], results[1][2], rtol=1e-12, atol=1e-12)
    assert torch.equal(results[0][1], results[1][1])


def mean_score(x, generator, batch_size=50):
    """Return the mean over noise of the logits of a network that isn't linear."""

    def scores(inputs, drawn_by):
        counted.append(len(inputs))
        return torch.stack([inputs.sin().sum(1), inputs.prod(1)], 1)

    counted = []
    result = reduce_over_noise(
        scores, gaussian_noise, x, samples=20, reduce=lambda each: each.mean(1), generator=generator,
        batch_size=batch_size,
    )  # fmt: skip
    return result, counted


def test_gradients_are_those_of_the_noise_that_the_value_was_computed_with():
    x = examples(9, seeded())[0].requires_grad_()
    generator = seeded(1)
    value, counted = mean_score(x, generator)
    after = generator.get_state()
    (gradient,) = torch.autograd.grad(value.sum(), x)
    assert torch.equal(generator.get_state(), after)  # though the noise was drawn once more
    assert sum(counted) == 2 * 9 * 20
    noisy = (x.unsqueeze(1) + gaussian_noise(x.detach(), 20, seeded(1))).flatten(0, 1)
    plain = torch.stack([noisy.sin().sum(1), noisy.prod(1)], 1).unflatten(0, (9, 20)).mean(1)
    torch.testing.assert_close(value, plain)
    torch.testing.assert_close(gradient, torch.autograd.grad(plain.sum(), x)[0])


def test_the_gradient_is_recomputed_for_each_backward_pass_whatever_was_drawn_meanwhile():
    x = examples(9, seeded())[0].requires_grad_()
    generator = seeded(1)
    first, second = mean_score(x, generator)[0], mean_score(x, generator)[0]
    torch.randn(5, generator=generator)
    gradients = [torch.autograd.grad(each.sum(), x)[0] for each in (second, first)]
    again = mean_score(x, seeded(1))[0]
    torch.testing.assert_close(torch.autograd.grad(again.sum(), x)[0], gradients[1])
    assert not torch.allclose(*gradients)


def test_without_a_generator_torchs_own_decides():
    predictor = RSCP(LAC(bounded=True), 0.2, sigma=0.5, samples=8).attach(Linear())
    x, _ = examples(5, seeded())
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(predictor.prediction_scores(x))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    generator = seeded()
    assert own_generator(generator, torch.device("cpu")) is generator


def test_a_randomised_score_draws_from_the_same_generator():
    x, y = examples(40, seeded())
    torch.manual_seed(5)
    before = torch.get_rng_state()
    runs = []
    for seed in (1, 1, 2):
        generator = seeded(seed)
        predictor = RSCP(APS(), 0.2, 0.1, sigma=0.5, samples=16).calibrate(Linear(), x, y, generator=generator)
        runs.append(predictor.prediction_scores(x, generator=generator))
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])
    assert torch.equal(torch.get_rng_state(), before)


def test_noisy_copies_of_several_inputs_are_scored_together():
    model, (x, _) = Linear(), examples(200, seeded())
    RSCP(LAC(bounded=True), 0.2, sigma=0.25, samples=64, batch_size=3200).attach(model).prediction_scores(x)
    assert [len(each) for each in model.seen] == 4 * [3200]


def test_no_graph_is_kept_where_the_inputs_need_no_gradient():
    model = torch.nn.Linear(FEATURES, CLASSES).double()
    x, y = examples(40, seeded())
    for make in METHODS.values():
        predictor = make(0.2, 0.1, sigma=0.5, samples=16).calibrate(model, x, y, generator=seeded())
        if predictor.forward_passes_per_input > 1:
            assert not predictor.true_class_score(x, y, generator=seeded()).requires_grad


def test_every_copy_of_an_input_is_the_input_plus_sigma_times_its_noise():
    model, (x, _) = Linear(), examples(6, seeded())
    RCP1(LAC(), 0.2, sigma=0.25).attach(model).prediction_scores(x, generator=seeded(3))
    expected = x + 0.25 * gaussian_noise(x, 1, seeded(3))[:, 0]
    torch.testing.assert_close(model.take(), expected)


def test_no_input_is_no_set():
    x, y = examples(40, seeded())
    for make in METHODS.values():
        predictor = make(0.2, 0.1, sigma=0.5, samples=16).calibrate(Linear(), x, y, generator=seeded())
        assert predictor.predict_sets(torch.zeros(0, FEATURES, dtype=torch.float64)).shape == (0, CLASSES)
