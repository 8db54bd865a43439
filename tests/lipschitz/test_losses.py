"""The losses: against their formulas in plain Python, their Lipschitz constants, and which of them are separable."""

import math

import pytest
import torch
from torch.nn import functional

from orthobench.lipschitz.losses import (
    HEADLINE_MARGIN,
    LOSSES,
    BalancedHKR,
    BalancedKR,
    CategoricalHinge,
    CrossEntropy,
    KantorovichRubinstein,
    LseHKR,
    MulticlassHinge,
    RunningSoftHKR,
    SoftHKR,
    TorchlipHKR,
    make_loss,
)

SEPARABLE = [name for name, kind in LOSSES.items() if kind.separable]
DEPENDENT = [name for name, kind in LOSSES.items() if not kind.separable]
# Options away from the defaults, at which every term of the formulas counts.
OPTIONS = {
    "cross_entropy": {"temperature": 0.7, "margin": 0.9},
    "hinge": {"margin": 1.3},
    "categorical_hinge": {"margin": 0.8},
    "kr": {},
    "hkr": {"alpha": 0.6, "margin": 1.7},
    "soft_hkr": {"alpha": 0.7, "margin": 0.9, "temperature": 1.5},
    "lse_hkr": {"alpha": 0.4, "margin": 1.2, "penalty": 1.8},
    "balanced_kr": {},
    "balanced_hkr": {"alpha": 0.6, "margin": 1.7},
    "torchlip_hkr": {"alpha": 0.6, "margin": 1.7},
    "running_soft_hkr": {"alpha": 0.7, "margin": 0.9, "temperature": 1.5},
}


def relu(number):
    return max(0.0, number)


def cross_entropy(own, others, temperature, margin):
    scores = [(own - margin) / temperature] + [other / temperature for other in others]
    return temperature * (math.log(sum(math.exp(score) for score in scores)) - scores[0])


def hinge(own, others, margin):
    classes = 1 + len(others)
    return ((classes - 1) * relu(margin / 2 - own) + sum(relu(margin / 2 + other) for other in others)) / classes


def categorical_hinge(own, others, margin):
    return relu(margin - (own - max(others)))


def kr(own, others):
    return (own + sum(others)) / (1 + len(others)) - own


def hkr(own, others, alpha, margin):
    return (1 - alpha) * kr(own, others) + alpha * hinge(own, others, margin)


def soft_hkr(own, others, alpha, margin, temperature):
    total = sum(math.exp(temperature * other) for other in others)
    weights = [math.exp(temperature * other) / total for other in others]
    terms = [(1 - alpha) * other + alpha * relu(margin / 2 + other) for other in others]
    rest = sum(weight * term for weight, term in zip(weights, terms, strict=True))
    return -(1 - alpha) * own + alpha * relu(margin / 2 - own) + rest


def lse_hkr(own, others, alpha, margin, penalty):
    if len(others) == 1:
        highest = others[0]
    else:
        scale = math.log(len(others)) / (penalty * margin / 2)
        highest = math.log(sum(math.exp(scale * other) for other in others)) / scale
    return (1 - alpha) * (highest - own) + alpha * (relu(margin / 2 - own) + relu(margin / 2 + highest))


FORMULAS = {
    "cross_entropy": cross_entropy,
    "hinge": hinge,
    "categorical_hinge": categorical_hinge,
    "kr": kr,
    "hkr": hkr,
    "soft_hkr": soft_hkr,
    "lse_hkr": lse_hkr,
}


def batch(count=40, classes=5, scale=1.0, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    outputs = scale * torch.randn(count, classes, generator=generator, dtype=torch.float64)
    return outputs.to(dtype), torch.randint(classes, (count,), generator=generator)


def gradient(loss, outputs, targets):
    outputs = outputs.clone().requires_grad_()
    loss(outputs, targets).backward()
    return outputs.grad


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("name", SEPARABLE)
def test_each_term_is_that_of_the_formula(name, classes):
    outputs, targets = batch(classes=classes, scale=1.5)
    loss = make_loss(name, **OPTIONS[name])
    expected = []
    for row, target in zip(outputs.tolist(), targets.tolist(), strict=True):
        own = row.pop(target)
        expected.append(FORMULAS[name](own, row, **OPTIONS[name]))
    expected = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(loss.per_example(outputs, targets), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(loss(outputs, targets), expected.mean(), rtol=1e-12, atol=1e-12)


def test_every_separable_loss_has_a_formula_and_every_loss_options():
    assert set(FORMULAS) == set(SEPARABLE)
    assert set(OPTIONS) == set(LOSSES)


def test_without_margin_and_temperature_it_is_plain_cross_entropy():
    outputs, targets = batch()
    loss = CrossEntropy(temperature=1, margin=0)(outputs, targets)
    torch.testing.assert_close(loss, functional.cross_entropy(outputs, targets))


def test_cross_entropy_of_no_temperature_is_the_categorical_hinge():
    outputs, targets = batch()
    for margin in (0, 0.5, 2):
        cold = CrossEntropy(temperature=1e-4, margin=margin).per_example(outputs, targets)
        torch.testing.assert_close(cold, CategoricalHinge(margin).per_example(outputs, targets), atol=1e-3, rtol=0)


def test_default_cross_entropy_is_that_of_the_comparison_of_layers():
    loss = make_loss("cross_entropy")
    assert (loss.temperature, loss.margin) == (0.25, HEADLINE_MARGIN)
    assert pytest.approx(0.3993, abs=1e-4) == HEADLINE_MARGIN


def test_two_opposite_outputs_give_the_binary_losses():
    """Of f and -f at f/2: KR is -y f, the hinge relu(m/2 - y f)."""
    scores, targets = batch(classes=1)[0], batch(classes=2)[1]
    signs = 2.0 * targets - 1
    outputs = torch.cat([-scores, scores], 1)
    torch.testing.assert_close(KantorovichRubinstein().per_example(outputs, targets), -signs * scores[:, 0])
    expected = (0.45 - signs * scores[:, 0]).relu()
    torch.testing.assert_close(MulticlassHinge(0.9).per_example(outputs, targets), expected)


def test_the_log_sum_exp_is_between_the_highest_and_that_plus_the_penalty():
    outputs, targets = batch(classes=8)
    highest = CategoricalHinge(0).per_example(outputs, targets)  # minus the target's; 0 where that is the highest
    gap = LseHKR(alpha=0, margin=1.4, penalty=0.5).per_example(outputs, targets)
    wrong = highest > 0
    assert wrong.any()
    assert (gap >= highest - 1e-12)[wrong].all()
    assert (gap <= highest + 0.5 * 0.7 + 1e-12)[wrong].all()


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_finite_differences(name):
    outputs, targets = batch(count=6, scale=1.5)
    loss = make_loss(name, **OPTIONS[name]).eval()  # the running mean stays
    assert torch.autograd.gradcheck(lambda o: loss(o, targets), outputs.requires_grad_(), eps=1e-7, atol=1e-6)


@pytest.mark.parametrize("name", SEPARABLE)
def test_no_gradient_and_no_difference_quotient_exceeds_the_lipschitz_constant(name):
    for classes in (2, 3, 10, 200):
        constant = LOSSES[name](**OPTIONS[name]).lipschitz_constant(classes)
        loss = make_loss(name, **OPTIONS[name])
        for scale in (0.01, 1, 10, 100):
            outputs, targets = batch(300, classes, scale, seed=classes)
            norms = len(targets) * gradient(loss, outputs, targets).norm(dim=1)
            assert norms.max() <= constant * (1 + 1e-12)
            others = outputs + scale * batch(300, classes, seed=1)[0]
            change = loss.per_example(others, targets) - loss.per_example(outputs, targets)
            assert (change.abs() <= constant * (others - outputs).norm(dim=1) + 1e-12).all()
        assert constant <= loss.lipschitz_constant()


def steepest(loss, classes, steps=150):
    """The largest norm of a gradient that ascent on the outputs finds."""
    starts = [batch(60, classes, scale, seed=2)[0] for scale in (0.3, 1, 3, 10)]
    outputs = torch.cat(starts).requires_grad_()
    targets = torch.zeros(len(outputs), dtype=torch.int64)
    optimizer = torch.optim.Adam([outputs], lr=0.1)
    for _ in range(steps):
        terms = loss.per_example(outputs, targets).sum()
        norms = torch.autograd.grad(terms, outputs, create_graph=True)[0].norm(dim=1)
        if not norms.requires_grad:  # piecewise linear
            break
        optimizer.zero_grad()
        (-norms.sum()).backward()
        optimizer.step()
    return norms.max().item()


@pytest.mark.parametrize("name", [name for name in SEPARABLE if name != "soft_hkr"])
def test_the_lipschitz_constant_is_the_least(name):
    loss = make_loss(name, **OPTIONS[name])
    for classes in (2, 4):
        constant = loss.lipschitz_constant(classes)
        assert 0.99 * constant <= steepest(loss, classes) <= constant * (1 + 1e-12)
    assert loss.lipschitz_constant() == pytest.approx(loss.lipschitz_constant(10**6), rel=1e-5)


def test_the_bound_of_soft_hkr_holds_under_ascent_and_is_no_more_than_twice_too_large():
    for classes in (2, 3, 10, 100):
        loss = SoftHKR(**OPTIONS["soft_hkr"])
        constant = loss.lipschitz_constant(classes)
        assert 0.5 * constant <= steepest(loss, classes) <= constant
    assert SoftHKR().lipschitz_constant() == math.inf


def test_log_probabilities_vary_no_more_than_the_bound_of_soft_hkr_takes_for_granted():
    for outcomes in (2, 3, 9, 99, 999):
        high = torch.linspace(1e-4, 1 - 1e-4, 2000, dtype=torch.float64)  # one outcome, the others equally likely
        variance = high * (1 - high) * (high.log() - ((1 - high) / (outcomes - 1)).log()) ** 2
        w = (batch(2000, outcomes, 3.0)[0]).softmax(1)
        random = (w * w.log() ** 2).sum(1) - (w * w.log()).sum(1) ** 2
        bound = math.log(outcomes - 1) ** 2 / 4 + 1
        assert max(variance.max(), random.max()) <= bound
        assert variance.max() >= bound - 1


@pytest.mark.parametrize("name", SEPARABLE)
def test_changing_one_label_changes_the_gradient_of_that_example_only(name):
    outputs, targets = batch(classes=4)
    loss = make_loss(name, separable=True, **OPTIONS[name])
    before = gradient(loss, outputs, targets)
    for changed in (0, 17):
        other = targets.clone()
        other[changed] = (other[changed] + 1) % 4
        difference = gradient(loss, outputs, other) - before
        assert difference[changed].abs().max() > 1e-3
        difference[changed] = 0
        assert not difference.any()


@pytest.mark.parametrize("name", SEPARABLE)
def test_the_loss_of_a_batch_is_the_mean_of_the_losses_of_its_examples(name):
    outputs, targets = batch(classes=4)
    loss = make_loss(name, **OPTIONS[name])
    alone = torch.stack([loss(outputs[i : i + 1], targets[i : i + 1]) for i in range(len(targets))])
    torch.testing.assert_close(loss(outputs, targets), alone.mean(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", DEPENDENT)
def test_in_a_batch_dependent_loss_an_example_changes_the_gradients_of_others(name):
    outputs, targets = batch(classes=4)
    loss = make_loss(name, **OPTIONS[name])
    before = gradient(loss, outputs, targets)
    loss = make_loss(name, **OPTIONS[name])
    targets[0] = (targets[0] + 1) % 4
    outputs[0] *= 100  # the running mean doesn't depend on labels
    assert (gradient(loss, outputs, targets) - before)[1:].abs().max() > 1e-6


@pytest.mark.parametrize("name", DEPENDENT)
def test_a_batch_dependent_loss_is_refused_where_separability_is_asked_for(name):
    assert not make_loss(name).separable
    with pytest.raises(ValueError, match=f"name is '{name}', whose terms depend .* give one of .*hkr") as caught:
        make_loss(name, separable=True)
    assert not any(f" {other}," in str(caught.value) for other in DEPENDENT)
    with pytest.raises(ValueError, match="no Lipschitz constant for one example"):
        make_loss(name).lipschitz_constant()


def test_the_balanced_form_is_the_separable_one_on_a_balanced_batch_alone():
    outputs = batch(30, 5)[0]
    balanced, unbalanced = torch.arange(30) % 5, torch.arange(30) % 5
    unbalanced[:11] = 0
    for targets, equal in ((balanced, True), (unbalanced, False)):
        for name, kind in (("kr", BalancedKR()), ("hkr", BalancedHKR(**OPTIONS["hkr"]))):
            separable = make_loss(name, **OPTIONS[name])(outputs, targets)
            assert torch.isclose(kind(outputs, targets), separable) == equal


def test_the_balanced_form_is_the_mean_over_classes_of_differences_of_means():
    outputs, targets = batch(17, 4)
    targets[targets == 2] = 1  # a class without examples
    terms = [
        outputs[targets != k, k].mean() - outputs[targets == k, k].mean() if (targets == k).any() else 0.0
        for k in range(4)
    ]
    torch.testing.assert_close(BalancedKR()(outputs, targets), sum(terms) / 4 * 3 / 4)
    assert BalancedKR()(outputs, torch.zeros_like(targets)) == 0  # one class alone: nothing to tell it from


@pytest.mark.parametrize("alpha", [0.0, 0.6, 0.98, 1.0])
def test_the_library_torchlips_form_is_its_formula_and_the_balanced_form_of_another_alpha(alpha):
    outputs, targets = batch(30, 4)
    loss = TorchlipHKR(alpha, margin=0.7)(outputs, targets)
    balanced = BalancedHKR(alpha * 3 / (4 - alpha), margin=0.7)(outputs, targets)
    torch.testing.assert_close(loss, balanced * ((1 - alpha) * 4 / 3 + alpha))
    targets[targets == 2] = 1  # a class without examples: the mean over none is 0
    onehot = functional.one_hot(targets, 4).double()
    share = onehot.mean(0)
    kr = (onehot * outputs / share.clamp(min=1 / 30) - (1 - onehot) * outputs / (1 - share)).mean()
    hinge = ((0.35 - (2 * onehot - 1) * outputs).relu() * (1 + 2 * onehot)).mean()
    torch.testing.assert_close(TorchlipHKR(alpha, margin=0.7)(outputs, targets), alpha * hinge - (1 - alpha) * kr)


def test_the_temperature_of_the_running_form_follows_the_outputs_in_training_alone():
    outputs, targets = batch()
    loss = RunningSoftHKR(alpha=0.7, margin=0.9, temperature=1.5, momentum=0.8)
    fixed = SoftHKR(alpha=0.7, margin=0.9, temperature=1.5)
    torch.testing.assert_close(loss.eval()(outputs, targets), fixed(outputs, targets))
    assert loss.magnitude == torch.tensor(0.9)
    loss.train()(100 * outputs, targets)
    magnitude = 0.8 * 0.9 + 0.2 * 100 * outputs.abs().mean()
    torch.testing.assert_close(loss.magnitude.double(), magnitude, rtol=1e-6, atol=0)
    cooler = SoftHKR(alpha=0.7, margin=0.9, temperature=1.5 * 0.9 / magnitude.item())
    torch.testing.assert_close(loss.eval()(outputs, targets), cooler(outputs, targets), rtol=1e-6, atol=0)
    again = RunningSoftHKR(alpha=0.7, margin=0.9, temperature=1.5)
    again.load_state_dict(loss.state_dict())
    assert again.magnitude == loss.magnitude


def test_the_running_form_is_that_of_a_public_library():
    losses = pytest.importorskip("orthogonium.losses")
    theirs = losses.SoftHKRMulticlassLoss(alpha=0.7, min_margin=0.9, alpha_mean=0.8, temperature=1.5)
    ours = RunningSoftHKR(alpha=0.7, margin=0.9, temperature=1.5, momentum=0.8)
    for step in range(4):
        outputs, targets = batch(scale=1 + step, seed=step, dtype=torch.float32)
        torch.testing.assert_close(ours(outputs, targets), theirs(outputs, targets))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("name", LOSSES)
def test_narrow_outputs_are_computed_with_in_float32(name, dtype):
    outputs, targets = batch(scale=3, dtype=dtype)
    loss = make_loss(name)(outputs, targets)
    assert loss.dtype == torch.float32
    exact = make_loss(name)(outputs.double(), targets)
    torch.testing.assert_close(loss.double(), exact, rtol=1e-5, atol=1e-5)
    assert gradient(make_loss(name), outputs, targets).dtype == dtype


@pytest.mark.parametrize("name", LOSSES)
def test_outputs_of_any_size_give_finite_losses_and_gradients(name):
    for scale in (0.0, 1e4):
        outputs, targets = batch(scale=scale, dtype=torch.float32)
        loss = make_loss(name)
        assert loss(outputs, targets).isfinite()
        assert gradient(loss, outputs, targets).isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_wrong_batches_are_refused(name):
    loss = make_loss(name)
    outputs, targets = batch(count=3, dtype=torch.float32)
    for wrong, message in (
        ((outputs[:, :1], targets), "C >= 2"),
        ((outputs[0], targets), r"outputs of shape \(5,\)"),
        ((outputs, targets[:2]), r"targets of \(2,\)"),
        ((outputs, targets.unsqueeze(1)), r"targets of \(3, 1\)"),
        ((outputs[:0], targets[:0]), "N >= 1"),
    ):
        with pytest.raises(ValueError, match=message):
            loss(*wrong)
    for wrong in ((outputs, targets.float()), (outputs.long(), targets), (outputs, targets.int())):
        with pytest.raises(TypeError, match="give floating-point ones and int64"):
            loss(*wrong)
    with pytest.raises(TypeError, match="targets is of type list: give a tensor"):
        loss(outputs, targets.tolist())


@pytest.mark.parametrize(
    ("name", "option", "value", "message"),
    [
        ("cross_entropy", "temperature", 0, "temperature is 0: give a number > 0"),
        ("cross_entropy", "margin", -0.1, "margin is -0.1: give a number >= 0"),
        ("hinge", "margin", math.nan, "margin is nan"),
        ("categorical_hinge", "margin", math.inf, "margin is inf"),
        ("hkr", "alpha", 10, "alpha is 10: give a number >= 0 and <= 1"),
        ("soft_hkr", "temperature", -1, "temperature is -1"),
        ("lse_hkr", "margin", 0, "margin is 0: give a number > 0"),
        ("lse_hkr", "penalty", 0, "penalty is 0"),
        ("balanced_hkr", "alpha", 1.1, "alpha is 1.1"),
        ("running_soft_hkr", "momentum", 2, "momentum is 2"),
        ("hkr", "temperature", 1, "hkr has no option temperature: give some of alpha, margin"),
        ("kr", "margin", 1, "kr has no option margin: it has none"),
        ("balanced_kr", "margin", 1, "balanced_kr has no option margin"),
    ],
)
def test_wrong_options_are_refused(name, option, value, message):
    with pytest.raises(ValueError, match=message):
        make_loss(name, **{option: value})


def test_other_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="name is 'focal': give one of cross_entropy, hinge"):
        make_loss("focal")
    with pytest.raises(TypeError, match=r"alpha is '0\.9': give a number"):
        make_loss("hkr", alpha="0.9")
    with pytest.raises(TypeError, match="margin is True"):
        make_loss("hkr", margin=True)
    with pytest.raises(ValueError, match="classes is 1: give an integer >= 2"):
        make_loss("hkr").lipschitz_constant(1)
