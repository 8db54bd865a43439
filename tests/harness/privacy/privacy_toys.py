"""A small problem: which of four directions an example points to, with noise; and how to train on it."""

import torch
from torch.nn.functional import normalize

from orthobench.data.parts import Examples, Parts
from orthobench.harness.privacy import ClipFree, Clipping, NonPrivate, PrivateTask
from orthobench.harness.privacy.loop import PrivateTrainer

CPU = torch.device("cpu")
CLASSES, COUNT, FEATURES = 4, 120, 8
MAKES = {
    "clipping": lambda optimizer, model, plan: Clipping(optimizer, model, plan, clip_norm=0.1),
    "clip_free": lambda optimizer, model, plan: ClipFree(optimizer, model, plan, temperature=0.25),
    "not_private": lambda optimizer, model, plan: NonPrivate(optimizer, model, plan, temperature=0.25),
}


def make_parts(seed=0):
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for _ in range(3):
        targets = torch.arange(COUNT) % CLASSES
        inputs = 0.1 * torch.randn(COUNT, FEATURES, generator=generator)
        inputs[torch.arange(COUNT), targets] += 1
        parts.append(Examples(normalize(inputs, dim=1), targets))
    return Parts(*parts)


def make_task(**options):
    settings = {"parts": make_parts(), "classes": CLASSES, "batch_size": 30, "steps": 20, "network": "mlp-8"}
    return PrivateTask(**settings | options)


def sgd(rate):
    return lambda parameters: torch.optim.SGD(parameters, lr=rate)


def make_trainer(name="clip_free", task=None, seed=3, noise=1.0, rate=0.5, **options):
    task = task or make_task()
    torch.manual_seed(seed)
    model = task.model_factory("unconstrained" if name == "clipping" else "lipschitz")(seed)
    return PrivateTrainer(task, model, MAKES[name], sgd(rate), noise, seed, CPU, **options)


def trained(name="clip_free", **options):
    trainer = make_trainer(name, **options)
    for _ in range(trainer.task.steps):
        trainer.step()
    return trainer
