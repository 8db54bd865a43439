"""A small problem: which of four directions an example points to, with noise; and how to train on it."""

from types import SimpleNamespace

import torch
from torch.nn.functional import normalize

from orthobench.data.parts import Examples, Parts
from orthobench.harness.privacy import ClipFree, Clipping, NonPrivate, Plan, PrivateTask
from orthobench.harness.privacy.loop import PrivateRun, Question, read_state, read_sums, read_weights
from orthobench.harness.stand.bench import LocalStand

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


def kind_of(name):
    return "unconstrained" if name == "clipping" else "lipschitz"


def make_plan(task, noise=1.0):
    return Plan(noise, task.sampling_rate, task.batch_size, task.steps, task.input_norm, task.classes)


def make_stand(name, task, seed, noise, optimizer):
    """A stand in this process, with a solver that is no file."""
    stand = LocalStand("orthobench.harness.privacy.role:PrivateRole")
    stand.role = stand._role
    stand.role.device, stand.role.seed = CPU, seed
    stand.role.receive(make_plan(task, noise), task.network, task.shape)
    stand.role.solver = SimpleNamespace(mechanism=MAKES[name], optimizer=optimizer, network=kind_of(name))
    stand.role.prepare_solver()
    return stand


def make_run(name="clip_free", task=None, seed=3, noise=1.0, rate=0.5, optimizer=None, **options):
    """A run with two stands in this process, which are its attributes, and `ask` for what a third answers."""
    task, optimizer = task or make_task(), optimizer or sgd(rate)
    summing, stepping, other = (make_stand(name, task, seed, noise, optimizer) for _ in range(3))
    model = task.model_factory(kind_of(name))(seed)
    weights = {key: each.detach() for key, each in model.named_parameters()}

    def query(stand, question):
        tensors = question.inputs, question.targets, *question.weights.values()
        return read_sums(stand.ask("query", *tensors, state=question.state), weights, noise > 0)

    def apply(noisy, factor):
        answer = stepping.ask("apply", *noisy.values(), names=list(noisy), factor=factor)
        return read_weights(answer, weights)

    state = [read_state(each.ask("prepare", *weights.values(), warm_up="")) for each in (summing, stepping, other)][1]
    question = Question(weights, state, *(each[:0] for each in vars(task.parts.train).values()))
    run = PrivateRun(task, make_plan(task, noise), question, lambda each: query(summing, each), apply, seed, **options)
    run.summing, run.stepping, run.ask = summing.role, stepping.role, lambda each: query(other, each)[1]
    return run


def trained(name="clip_free", **options):
    run = make_run(name, **options)
    for _ in range(run.task.steps):
        run.step()
    return run


def model_of(name, run):
    model = run.task.model_factory(kind_of(name))(0)
    model.load_state_dict(run.question.weights)
    return model
