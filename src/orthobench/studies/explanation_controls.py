"""What muFidelity gives to maps whose worth is known: nothing to constant and to random ones, all to an exact one.

``orthobench study explanation-controls`` prints it, of a network and of a linear model on digits.
"""

import torch

from ..data import digits
from ..explanations import ClassScore, gradient_input, make_baseline, mu_fidelity, random_maps, saliency
from ..lipschitz.networks import layers_of
from ..models import lipschitz_convnet
from .goals import Figure

STANDARD_ERRORS, ROUNDING = 3.0, 1e-5


def figures(images, seed=0):
    """Yield the `Figure` of each control: of a 1-Lipschitz network and of a linear model, of random weights."""
    inputs = digits()[0][:images]
    score = _explained(lipschitz_convnet(seed, **layers_of("cayley")), inputs)
    for name in ("zero", "uniform"):
        baseline = make_baseline(name, score.images, seed=seed)
        maps = {
            "a constant map": torch.ones(len(score), *score.images.shape[2:]),
            "random maps": random_maps(score.images, seed),
        }
        found = mu_fidelity(score, [*maps.values(), saliency(score)], baseline, seed=seed)
        for own, values in zip(maps, found, strict=False):
            mean, error = float(values.mean()), float(values.std() / len(values) ** 0.5)
            text = (
                f"muFidelity of {own}, baseline {name}: {mean:.4f} over {len(values)} images, over its standard error"
            )
            yield Figure(text, abs(mean) / error if error else abs(mean), at_most=STANDARD_ERRORS)
        yield Figure(f"muFidelity of saliency, baseline {name}", float(found[-1].mean()))
    generator = torch.Generator().manual_seed(seed)
    linear = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(inputs[0].numel(), 10))
    with torch.no_grad():
        for parameter in linear.parameters():
            parameter.normal_(generator=generator)
    score = _explained(linear, inputs)
    exact = mu_fidelity(score, gradient_input(score), make_baseline("zero", score.images), seed=seed)
    yield Figure(
        "1 - muFidelity of gradient times input of a linear model, baseline zero, the largest",
        float((1 - exact).abs().max()),
        at_most=ROUNDING,
    )


def _explained(model, inputs):
    """Return the score of the class that a model, which nobody trained, chooses."""
    with torch.no_grad():
        return ClassScore(model, inputs, model(inputs).argmax(1))


def main(arguments):
    """Print the report."""
    for figure in figures(arguments.images, arguments.seed):
        print(figure.line(), flush=True)
