"""How long steps of TurboMuon and of SchattenMuon take against others, as ratios of times measured in one run.

``orthobench speed optimizer`` prints them. Nothing else should run meanwhile.
"""

from functools import partial

import torch

from ..device import resolve_device
from ..models import byte_transformer, hidden_weights
from ..optim import ActivationMoments, SchattenMuon, TurboMuon
from .timing import medians

BATCH, CONTEXT = 8, 64
TRAINING_CONTEXT = 256
# How much longer a training step with SchattenMuon may take, with a refresh in 100 steps, on 2 cores.
LARGEST_OVERHEAD = 1.10
OPTIONS = {"lr": 0.02, "weight_decay": 0.1}


def weights_with_gradients(device, width, depth):
    """Return the hidden weights of a byte transformer, with gradients of its loss on random bytes.

    Parameters
    ----------
    device : torch.device
    width, depth : int

    Returns
    -------
    list of torch.nn.Parameter
        Matrices (width, width), (4 width, width) and (width, 4 width), float32.
    """
    model = byte_transformer(0, width=width, depth=depth, context=CONTEXT).to(device)
    text = torch.randint(256, (BATCH, CONTEXT + 1), generator=torch.Generator().manual_seed(0)).to(device)
    logits = model(text[:, :-1])
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), text[:, 1:].flatten()).backward()
    return list(hidden_weights(model).values())


def optimizers(weights):
    """Return each optimizer on copies of its own of the weights and their gradients.

    Parameters
    ----------
    weights : list of torch.nn.Parameter

    Returns
    -------
    dict of str to torch.optim.Optimizer
        With Nesterov momentum of 0.95, the same learning rate and the same decay. That of pytorch-optimizer if that is
        installed.
    """
    made = {
        "turbo_muon": TurboMuon(_copies(weights), **OPTIONS),
        "muon": TurboMuon(_copies(weights), orthogonaliser="muon", **OPTIONS),
        "torch.optim.Muon": torch.optim.Muon(_copies(weights), **OPTIONS),
    }
    try:
        from pytorch_optimizer import Muon
    except ImportError:
        return made
    # It takes parameters for an AdamW of its own too, hence the mark.
    group = {"params": _copies(weights), "use_muon": True, **OPTIONS}
    return made | {"pytorch_optimizer.Muon": Muon([group])}


def _copies(weights):
    copies = [torch.nn.Parameter(weight.detach().clone()) for weight in weights]
    for copy, weight in zip(copies, weights, strict=True):
        copy.grad = weight.grad.clone()
    return copies


def report(device, repetitions, width, depth):
    """Yield the lines of the report.

    Parameters
    ----------
    device : torch.device
    repetitions : int
    width, depth : int
        Of the transformer.

    Yields
    ------
    str
    """
    weights = weights_with_gradients(device, width, depth)
    entries = sum(weight.numel() for weight in weights)
    yield (
        f"device {device}, {torch.get_num_threads()} threads, torch {torch.__version__}, {repetitions} repetitions; "
        f"{len(weights)} matrices of a transformer of width {width}, {entries:,} entries, float32"
    )
    times = medians({name: each.step for name, each in optimizers(weights).items()}, device, repetitions)
    for other in ("torch.optim.Muon", "pytorch_optimizer.Muon"):
        if other in times:
            yield (
                f"time of a step against {other}: TurboMuon {times['turbo_muon'] / times[other]:.2f}, "
                f"TurboMuon with orthogonaliser='muon' {times['muon'] / times[other]:.2f}"
            )
        else:
            yield f"{other} is not installed: pip install pytorch-optimizer"


class _Training:
    """A network in training on random bytes: hidden weights with one optimizer, the rest with AdamW."""

    def __init__(self, make_optimizer, device, width, depth, examples):
        self.model = byte_transformer(0, width=width, depth=depth, context=TRAINING_CONTEXT).to(device)
        hidden = list(hidden_weights(self.model).values())
        own = {id(weight) for weight in hidden}
        rest = [each for each in self.model.parameters() if id(each) not in own]
        self.optimizers = [make_optimizer(self.model, hidden), torch.optim.AdamW(rest, lr=1e-3)]
        generator = torch.Generator().manual_seed(0)
        self.text = torch.randint(256, (examples, TRAINING_CONTEXT + 1), generator=generator).to(device)

    def four_steps(self):
        for _ in range(4):
            logits = self.model(self.text[:, :-1])
            torch.nn.functional.cross_entropy(logits.flatten(0, 1), self.text[:, 1:].flatten()).backward()
            for optimizer in self.optimizers:
                optimizer.step()
                optimizer.zero_grad()


def _schatten_muon(refresh_every, method, model, weights):
    settings = {"exponent": "tightness", "initial_exponent": 0.5, "refresh_every": refresh_every, "method": method}
    return SchattenMuon(weights, activations=ActivationMoments(model, weights), **OPTIONS, **settings)


def schatten_overhead(device, repetitions, width, depth, tokens, method="eigh"):
    """Yield a line: what SchattenMuon, with exponents by "tightness", adds to a whole training step with TurboMuon.

    A refresh is dear and rare. Its cost c comes from steps of which every fourth refreshes, and steps of which none
    does; with a refresh in every hundredth, a step takes c / 100 more than these.

    Parameters
    ----------
    device : torch.device
    repetitions : int
        Of four steps each.
    width, depth : int
        Of the transformer.
    tokens : int
        In a batch.
    method : {"eigh", "svd", "products"}
        How powers are computed.

    Yields
    ------
    str
    """
    makers = {
        "turbo": lambda model, weights: TurboMuon(weights, **OPTIONS),
        "often": partial(_schatten_muon, 4, method),
        "never": partial(_schatten_muon, 10**9, method),
    }
    examples = max(1, tokens // TRAINING_CONTEXT)
    running = {name: _Training(make, device, width, depth, examples) for name, make in makers.items()}
    for each in running.values():  # past the first refresh, which is in the tenth step
        for _ in range(3):
            each.four_steps()
    times = medians({name: each.four_steps for name, each in running.items()}, device, repetitions)
    never = times["never"] / times["turbo"]
    rare = never + 4 * (times["often"] - times["never"]) / 100 / times["turbo"]
    verdict = "holds" if rare <= LARGEST_OVERHEAD else "DOES NOT HOLD"
    yield (
        f"whole training step of {examples * TRAINING_CONTEXT:,} tokens, SchattenMuon ({method}) over TurboMuon: "
        f"{never:.3f} without a refresh, {rare:.3f} with one in 100 steps (at most {LARGEST_OVERHEAD:.2f}: {verdict})"
    )


def main(arguments):
    """Print the report."""
    torch.set_num_threads(arguments.threads)
    sizes = arguments.repetitions, arguments.width, arguments.depth
    for line in report(resolve_device(), *sizes):
        print(line, flush=True)
    # These steps take seconds, and are told apart by few.
    few = max(1, arguments.repetitions // 5)
    for tokens in arguments.tokens:
        for line in schatten_overhead(resolve_device(), few, *sizes[1:], tokens, arguments.method):
            print(line, flush=True)
