"""What is measured of a private run: tests of its claims, certificates, gradients against noise."""

import json
from functools import partial

import torch

from ...lipschitz.bounds import upper_bound
from ...lipschitz.certificates import certified_accuracy, certified_radius
from ...privacy import mechanism_tests
from ...privacy.mechanisms import losses
from ...privacy.sums import gradient_to_noise

# Of the training examples: how many the tests begin from, and how many are tried in the end.
SEARCHED, TRIED, TYPICAL = 32, 4, 8
MEASURED_BATCH = 512

# Of the cross-entropies whose gradients the adversarial examples are searched by: the mechanism's own is a solver's.
TEMPERATURES = (1.0, 0.0625)

# Of a bound that certificates are divided by: a network of zeros names no class.
SMALLEST = 1e-12

# Radii of certificates, in 1/255, for inputs as the network gets them.
RADII = (1, 2, 4, 8, 16, 32)


def examine(task, kind, run, ask):
    """Test what a finished private run claimed.

    Parameters
    ----------
    task : PrivateTask
    kind : str
        Of the network.
    run : PrivateRun
    ask : callable
        Takes a `Question`, returns the `Summed` of a stand that has seen no batch before.

    Returns
    -------
    dict
        ``findings``, a list of `Finding`; ``layers``, JSON, by parameter its bound and the norms that examples had; and
        ``gradient_to_noise``, the norm of the sum of a batch over that of its noise, with the trained weights.
    """
    part, now = task.parts.train, run.question

    def ask_now(inputs, targets):
        return ask(now._replace(inputs=inputs, targets=targets))

    # Batches as they were in the run come first, so that nothing tells them from another run's.
    findings = []
    for question, summed in reversed(run.kept):
        ask_then = partial(_ask_at, ask, question)
        findings.append(mechanism_tests.sum_test(ask_then, question.inputs, question.targets, summed))
    adversarial = _adversarial(task, kind, now.weights)
    tried = [
        torch.cat([found, own[:TYPICAL]]) for found, own in zip(adversarial, (part.inputs, part.targets), strict=True)
    ]
    for index, (question, summed) in enumerate(run.kept):
        place = index % len(tried[0])
        more = [
            torch.cat([own, each[place : place + 1]])
            for own, each in zip((question.inputs, question.targets), tried, strict=True)
        ]
        findings.append(mechanism_tests.change_test(_ask_at(ask, question, *more), summed))
    sensitivity, norms = mechanism_tests.sensitivity_test(ask_now, *tried, (now.inputs, now.targets))
    layers = _layers(norms, ask_now(*(each[:0] for each in tried)).blocks, len(adversarial[0]))
    count = min(MEASURED_BATCH, task.batch_size, len(part))
    summed = ask_now(part.inputs[:count], part.targets[:count])
    return {
        "findings": [sensitivity, *findings, run.independence.test()],
        "layers": layers,
        "gradient_to_noise": gradient_to_noise(summed, now.weights, task.batch_size / count),
    }


def _ask_at(ask, question, inputs, targets):
    return ask(question._replace(inputs=inputs, targets=targets))


def _adversarial(task, kind, weights):
    part = task.parts.train
    some = part.inputs[:SEARCHED], part.targets[:SEARCHED]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = task.model_factory(kind)(0)
        model.load_state_dict(model.state_dict() | weights)
        found = [
            mechanism_tests.adversarial_examples(
                model, partial(losses, temperature=each), *some, task.input_norm, count=TRIED // len(TEMPERATURES)
            )
            for each in TEMPERATURES
        ]
    return [torch.cat(each) for each in zip(*found, strict=True)]


def _layers(norms, blocks, adversarial):
    """Return by parameter its bound and the norms of examples; those that aren't adversarial are typical."""
    bounds = {name: block.bound for block in blocks for name in block.names}
    figures = [
        {"name": name, "bound": bounds[name], "largest": max(own), "mean": sum(typical) / len(typical)}
        for name, own in norms.items()
        for typical in [own[adversarial:]]
    ]
    return json.dumps(figures)


def certificates(model, outputs, part, shape):
    """Return an upper bound of a network's Lipschitz constant, and what it certifies.

    Parameters
    ----------
    model : torch.nn.Module
    outputs : torch.Tensor
        (n, classes), of the part.
    part : Examples
    shape : tuple of int
        Of an example.

    Returns
    -------
    dict
        ``lipschitz_upper`` and ``certified_accuracy_RADIUS``, of right and certified examples, for `RADII`.
    """
    bound = float(upper_bound(model, shape).total)
    radii = certified_radius(outputs, part.targets, max(bound, SMALLEST))
    figures = {f"certified_accuracy_{each}": float(certified_accuracy(radii, each / 255)) for each in RADII}
    return {"lipschitz_upper": bound, **figures}
