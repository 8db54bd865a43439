"""How long a step of TurboMuon takes against one of other Muons, as ratios of times measured in one run.

``python -m orthobench.harness.optimizer_speed`` prints them. Nothing else should run meanwhile.
"""

import argparse

import torch

from ..models import byte_transformer, hidden_weights
from ..optim import TurboMuon
from .device import resolve_device
from .speed import medians

BATCH, CONTEXT = 8, 64
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


def main(argv=None):
    """Print the report."""
    parser = argparse.ArgumentParser(
        prog="python -m orthobench.harness.optimizer_speed", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--repetitions", type=int, default=15, help="alternating repetitions (default 15)")
    parser.add_argument("--threads", type=int, default=2, help="torch's threads on a CPU (default 2)")
    parser.add_argument("--width", type=int, default=256, help="of the transformer (default 256)")
    parser.add_argument("--depth", type=int, default=4, help="blocks of the transformer (default 4)")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    for line in report(resolve_device(), arguments.repetitions, arguments.width, arguments.depth):
        print(line, flush=True)


if __name__ == "__main__":
    main()
