"""Whether the goals for a GPU are reached: ratios within one run, each beside its goal, which is meant for one H200.

``orthobench speed gpu`` prints them, and says what DOES NOT HOLD. Nothing else should run meanwhile.
"""

import itertools
from functools import partial

import pandas as pd
import torch
from torch.optim._muon import _zeropower_via_newtonschulz as zeropower

from ..data import python_docs
from ..device import Stopwatch, peak_memory_bytes, reset_peak_memory, resolve_device
from ..harness.training import Trainer, TrainingTask
from ..linalg import RECIPES, newton_schulz
from ..linalg.products import symmetric_flops
from ..models import gpt2, hidden_weights
from ..optim import CapturedStep, TurboMuon, route_parameters
from ..provenance import PACKAGE, environment
from .goals import Figure, ratios
from .optimizer_speed import OPTIONS, optimizers
from .orthogonaliser_speed import MUON, plain_loop, rivals
from .timing import times_in_turn

HEAD_SIZE = 128
# As many shapes as a convolutional network may have, and several matrices of each.
SMALL = [(32 + 8 * i, 288 - 8 * i) for i in range(25) for _ in range(10)]
# Products that are queued to check the clock: long enough for 1 %.
QUEUED = 200


def orthogonalisation(device, repetitions, size):
    """Yield what Turbo-Muon's orthogonaliser takes on a gaussian matrix (size, size) in bfloat16, against others.

    Parameters
    ----------
    device : torch.device
    repetitions : int
    size : int

    Yields
    ------
    Figure or str
    """
    G = torch.randn(size, size, generator=torch.Generator().manual_seed(0)).to(device, torch.bfloat16)
    others, lines = rivals()
    for name, method in list(others.items()):
        try:
            method(G)
        except Exception as error:  # whatever a library raises on a device that it isn't for
            del others[name]
            lines.append(f"{name} can't run here: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
    yield from lines
    overwritten = G.clone()
    products = 3 * len(RECIPES["turbo_muon"].polynomials(None))
    methods = {
        "turbo": lambda: newton_schulz(G, "turbo_muon"),
        "muon": lambda: newton_schulz(G, "muon"),
        "torch": lambda: zeropower(overwritten, MUON, 5, 1e-7),
        "loop": lambda: plain_loop([G]),
        "products": lambda: [G @ G.mT for _ in range(products)],
        **{name: partial(method, G) for name, method in others.items()},
    }
    times = times_in_turn(methods, device, repetitions)
    where = f"{size} x {size} bfloat16"
    for other, name, goal in (
        ("torch", "torch.optim.Muon's five steps", 1.5),
        ("loop", "the plain loop of the original Muon", 2.8),
        *((name, name, 1.0) for name in others),
    ):
        yield Figure.of(f"{where}: time of {name}, over Turbo-Muon's", ratios(times, other, "turbo"), at_least=goal)
    yield Figure.of(f"{where}: time of torch.optim.Muon's five steps, over ours", ratios(times, "torch", "muon"))
    share = symmetric_flops(size, size, "turbo_muon") / (products * 2 * size**3)
    rates = [share * ratio for ratio in ratios(times, "products", "turbo")]
    yield Figure.of(f"{where}: Turbo-Muon's rate, of that of plain products, counted by symmetry", rates, at_least=0.75)
    peaks = {name: _peak_beside(methods[name], device) for name in ("turbo", "torch")}
    yield Figure(f"{where}: peak memory, over torch.optim.Muon's", peaks["turbo"] / peaks["torch"], at_most=1.01)


def _peak_beside(method, device):
    """Return the most bytes that a method takes, on a GPU beside what was there."""
    before = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
    reset_peak_memory(device)
    method()
    return peak_memory_bytes(device) - before


def steps(device, repetitions, width, depth):
    """Yield what `TurboMuon.step` takes on GPT-2's hidden matrices, and on many small ones, against others.

    Parameters
    ----------
    device : torch.device
    repetitions : int
    width, depth : int
        Of GPT-2.

    Yields
    ------
    Figure
    """
    shapes = [tuple(weight.shape) for weight in hidden_weights(_gpt2(0, width, depth, 1)).values()]
    for what, each, goal in (("GPT-2's", shapes, {"at_most": 0.5}), ("small ones of many shapes", SMALL, {})):
        weights = _with_gradients(each, device)
        methods = {name: optimizer.step for name, optimizer in optimizers(weights).items()}
        if device.type == "cuda":
            methods["recorded"] = CapturedStep(TurboMuon(_with_gradients(each, device), **OPTIONS))
            for _ in range(methods["recorded"].warm_up):
                methods["recorded"]()
        times = times_in_turn(methods, device, repetitions)
        peaks = {name: _peak_beside(methods[name], device) for name in ("turbo_muon", "torch.optim.Muon")}
        where = f"a step on {len(each)} matrices, {what}"
        over_torchs = ratios(times, "turbo_muon", "torch.optim.Muon")
        yield Figure.of(f"{where}: time of TurboMuon, over torch.optim.Muon's", over_torchs, **goal)
        if "pytorch_optimizer.Muon" in times:
            over_others = ratios(times, "turbo_muon", "pytorch_optimizer.Muon")
            yield Figure.of(f"{where}: time of TurboMuon, over pytorch_optimizer's Muon's", over_others)
        if "recorded" in times:
            over_plain = ratios(times, "recorded", "turbo_muon")
            yield Figure.of(f"{where}: time of TurboMuon in a CUDA graph, over that without", over_plain)
        peak = peaks["turbo_muon"] / peaks["torch.optim.Muon"]
        yield Figure(f"{where}: peak memory of TurboMuon's temporary tensors, over torch.optim.Muon's", peak)


def _with_gradients(shapes, device):
    generator = torch.Generator().manual_seed(0)
    weights = [torch.nn.Parameter(torch.randn(shape, generator=generator).to(device)) for shape in shapes]
    for weight in weights:
        weight.grad = torch.randn(weight.shape, generator=generator).to(device)
    return weights


def _gpt2(seed, width, depth, context):
    return gpt2(seed, width=width, depth=depth, heads=max(1, width // HEAD_SIZE), context=context)


def training(device, repetitions, width, depth, context, tokens, steps_at_once):
    """Yield what training GPT-2 with `TurboMuon` takes against torch.optim.Muon, on the bytes of Python's manual.

    Parameters
    ----------
    device : torch.device
    repetitions : int
    width, depth, context : int
        Of GPT-2.
    tokens : int
        In a batch.
    steps_at_once : int
        In a repetition.

    Yields
    ------
    Figure
    """
    sizes = {"batch_size": max(1, tokens // context), "steps": 1 + steps_at_once * (repetitions + 1)}
    make_model = partial(_gpt2, width=width, depth=depth, context=context)
    task = TrainingTask(make_model, python_docs(context), **sizes, target=0.0)
    makers = {name: partial(_trainer, task, kind, device) for name, kind in MUONS.items()}
    peaks = {name: _training_peak(make, device) for name, make in makers.items()}
    running = {name: make() for name, make in makers.items()}
    for trainer in running.values():
        trainer.step()
    before = {name: trainer.phases.seconds() for name, trainer in running.items()}
    turns = {name: partial(_several_steps, trainer, steps_at_once) for name, trainer in running.items()}
    times = times_in_turn(turns, device, repetitions)

    where = f"GPT-2, {sizes['batch_size'] * context:,} tokens a step"
    after = {name: trainer.phases.seconds() for name, trainer in running.items()}
    seconds = {name: {phase: after[name][phase] - before[name][phase] for phase in after[name]} for name in running}
    total = sum(seconds["torch"].values())
    saved = (seconds["torch"]["optimizer"] - seconds["turbo"]["optimizer"]) / total
    gain = Figure.of(
        f"{where}: gain of a whole step over torch.optim.Muon",
        [1 - ratio for ratio in ratios(times, "turbo", "torch")],
        at_least=0.05,
    )
    share = seconds["torch"]["optimizer"] / total
    yield Figure(f"{where}: share of the optimizers in a step with torch.optim.Muon", share, at_least=0.08)
    yield gain
    yield Figure(f"{where}: the same from what the optimizers' share saves", saved)
    yield Figure(f"{where}: difference of the two", abs(gain.value - saved), at_most=0.01)
    losses = {name: trainer.take_losses() for name, trainer in running.items()}
    yield Figure(f"{where}: training loss over torch.optim.Muon's", losses["turbo"] / losses["torch"], at_most=1.01)
    yield Figure(f"{where}: peak memory over torch.optim.Muon's", peaks["turbo"] / peaks["torch"], at_most=1.01)


MUONS = {"torch": torch.optim.Muon, "turbo": TurboMuon}


def _trainer(task, kind, device):
    def make_optimizers(model):
        routes = route_parameters(model)
        return [kind(routes.matrix, **OPTIONS), torch.optim.AdamW(routes.other, lr=1e-3)]

    torch.manual_seed(0)
    return Trainer(task, task.make_model(0).to(device), make_optimizers, 0, device, autocast=True)


def _several_steps(trainer, count):
    trainer.take_losses()  # what is left in the end is the loss of the last steps
    for _ in range(count):
        trainer.step()


def _training_peak(make, device):
    trainer = make()
    trainer.step()
    reset_peak_memory(device)
    trainer.step()
    return peak_memory_bytes(device)


def clock(device, repetitions, size):
    """Yield how the clock bills queued work: what CUDA events say beside it, and how long queueing alone takes.

    Parameters
    ----------
    device : torch.device
    repetitions : int
    size : int
        Of the products that are queued.

    Yields
    ------
    Figure or str
    """
    if device.type != "cuda":
        yield "a CPU has no queue, and no events to compare its clock with"
        return
    G = torch.randn(size, size, generator=torch.Generator().manual_seed(0)).to(device, torch.bfloat16)
    distances, shares = [], []
    for _ in range(repetitions + 1):
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        stopwatch = Stopwatch(device)
        stopwatch.start()
        first.record(torch.cuda.current_stream(device))
        for _ in range(QUEUED):
            G @ G.mT
        last.record(torch.cuda.current_stream(device))
        queued_s = stopwatch.reading_s()
        stopwatch.stop()
        distances.append(abs(first.elapsed_time(last) / 1e3 / stopwatch.elapsed_s - 1))
        shares.append(queued_s / stopwatch.elapsed_s)
    yield Figure.of("distance of CUDA events from the synchronised wall clock", distances[1:], at_most=0.01)
    yield Figure.of("time in which work is queued, of the time that is billed for it", shares[1:], at_most=0.5)


def main(arguments):
    """Print the report, and write its rows if asked to."""
    torch.set_num_threads(arguments.threads)
    device, repetitions = resolve_device(), arguments.repetitions
    found, where = [], environment(PACKAGE)
    is_judged = device.type == "cuda"
    judged = "" if is_judged else ", for which there are no goals"
    print(f"{where['env_device_name']}{judged}; torch {torch.__version__}, {repetitions} repetitions", flush=True)
    for figure in itertools.chain(
        clock(device, repetitions, arguments.size),
        orthogonalisation(device, repetitions, arguments.size),
        steps(device, repetitions, arguments.width, arguments.depth),
        training(
            device,
            repetitions,
            arguments.width,
            arguments.depth,
            arguments.context,
            arguments.tokens,
            arguments.steps,
        ),
    ):
        if isinstance(figure, Figure):
            found.append(figure.row(is_judged) | where)
            figure = figure.line(is_judged)
        print(figure, flush=True)
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(found).to_parquet(arguments.output)
