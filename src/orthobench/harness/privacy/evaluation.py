"""What is measured of a private run: tests of its mechanism, an audit, certificates, gradients against noise."""

import json
import math
from dataclasses import replace

import torch

from ...lipschitz.bounds import upper_bound
from ...lipschitz.certificates import certified_accuracy, certified_radius
from ...privacy import audit, mechanism_tests
from ...privacy.transcript import Transcript
from ..seeds import seed_everything
from ..status import Diverged
from ..training.evaluation import EXAMPLES_AT_ONCE, evaluation_mode, rebuild
from .loop import PrivateTrainer, plan_of

# Of the training examples: how many the tests begin from, and how many are tried in the end.
SEARCHED, TRIED, TYPICAL = 32, 4, 8
CANARY_REPETITIONS, NOISE_DRAWS = 300, 20_000
MEASURED_BATCH = 512

# Of a bound that certificates are divided by: a network of zeros names no class.
SMALLEST = 1e-12

# Radii of certificates, in 1/255, for inputs as the network gets them.
RADII = (1, 2, 4, 8, 16, 32)


class Examination:
    """Tests of a mechanism, on a trained network.

    Parameters
    ----------
    task : PrivateTask
    kind : str
    model : torch.nn.Module
        Trained.
    mechanism : callable
        As `PrivateSolver.mechanism`.
    noise_multiplier : float
    device : torch.device
    """

    def __init__(self, task, kind, model, mechanism, noise_multiplier, device):
        self._task, self._make_model, self._trained = task, task.model_factory(kind), model
        self._mechanism, self._device = mechanism, device
        self._plan = plan_of(task, noise_multiplier, Transcript(), device, 0)
        self._part = task.parts.train

    def make(self, optimizer, generator):
        """Return a fresh mechanism, as `orthobench.privacy.mechanism_tests` asks for it."""
        model = rebuild(self._make_model, 0, self._trained.state_dict(), self._device)
        plan = replace(self._plan, transcript=Transcript(), generator=generator)
        return self._mechanism(optimizer(model.parameters()), model, plan)

    def run(self, sizes, transcript, canary):
        """Run all tests.

        Parameters
        ----------
        sizes : list of int
            Of the batches that the harness's loader drew.
        transcript : Transcript
        canary : bool
            Whether single steps with and without a canary are repeated, too.

        Returns
        -------
        list of Finding
        str
            JSON: by parameter its bound and the norms that examples had.
        """
        probe = mechanism_tests.Probe(self.make, self._device)
        adversarial = self._adversarial(probe.mechanism)
        typical = tuple(each[:TYPICAL].to(self._device) for each in (self._part.inputs, self._part.targets))
        tried = [torch.cat(each) for each in zip(adversarial, typical, strict=True)]
        sensitivity, norms = mechanism_tests.sensitivity_test(self.make, *tried, device=self._device)
        found = [
            mechanism_tests.noise_test(self.make, *typical, NOISE_DRAWS, device=self._device),
            sensitivity,
            mechanism_tests.batch_size_test(sizes, len(self._part), self._task.sampling_rate),
            mechanism_tests.transcript_test(transcript, probe.mechanism.blocks(), len(sizes), self._task.sampling_rate),
        ]
        if canary:
            one = [each[:1] for each in adversarial]
            found.append(mechanism_tests.canary_test(self.make, *one, CANARY_REPETITIONS, device=self._device))
        return found, self._layers(norms, probe.mechanism.blocks(), len(adversarial[0]))

    def gradient_to_noise(self):
        """Return the norm of the mean gradient of a batch, as the mechanism makes it, over that of its noise."""
        count = min(MEASURED_BATCH, self._task.batch_size, len(self._part))
        mean = self.known(*(each[:count].to(self._device) for each in (self._part.inputs, self._part.targets)))
        signal = math.sqrt(sum(float(each.square().sum()) for each in mean.values()))
        blocks = mechanism_tests.Probe(self.make, self._device).mechanism.blocks()
        noise = math.sqrt(sum(block.std**2 * sum(mean[name].numel() for name in block.names) for block in blocks))
        return signal * (self._task.batch_size / count) / noise if noise else math.inf

    def known(self, inputs, targets):
        """Return what a batch adds to the private gradient with the weights as they are, without the noise."""
        with torch.random.fork_rng(devices=[]):
            (quiet, _), (loud, _) = (
                mechanism_tests.Probe(self.make, self._device).gradient(*each, seed=4)
                for each in ((inputs[:0], targets[:0]), (inputs, targets))
            )
        return {name: loud[name] - quiet[name] for name in loud}

    def _adversarial(self, mechanism):
        some = (each[:SEARCHED].to(self._device) for each in (self._part.inputs, self._part.targets))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            # On a network without the hooks of a mechanism.
            model = rebuild(self._make_model, 0, self._trained.state_dict(), self._device)
            return mechanism_tests.adversarial_examples(
                model, mechanism.loss, *some, self._task.input_norm, count=TRIED
            )

    def _layers(self, norms, blocks, adversarial):
        """Return by parameter its bound and the norms of examples, both of their sum: times the batch size."""
        bounds = {name: block.bound for block in blocks for name in block.names}
        found = []
        for name, own in norms.items():
            scaled = [each * self._task.batch_size for each in own]
            typical = scaled[adversarial:]
            figures = {"bound": bounds.get(name, 0.0) * self._task.batch_size, "largest": max(scaled)}
            found.append({"name": name, **figures, "mean": sum(typical) / len(typical)})
        return json.dumps(found)


def outputs_of(model, inputs, device):
    """Return the outputs of a model for inputs (n, ...).

    Raises
    ------
    Diverged
        If one isn't finite.
    """
    with evaluation_mode(model):
        outputs = torch.cat([model(some.to(device)) for some in inputs.split(EXAMPLES_AT_ONCE[device.type])])
    if not outputs.isfinite().all():
        raise Diverged("the model's outputs hold NaN or infinity: try a lower learning rate")
    return outputs


def audit_run(task, kind, methods, noise_multiplier, seed, device):
    """Train once more, with canaries, and audit the run.

    The auditor knows the examples, as the adversary of differential privacy does, and takes what they add off again.

    Parameters
    ----------
    task : PrivateTask
    kind : str
    methods : tuple of callable
        The solver's ``mechanism`` and ``optimizer``.
    noise_multiplier : float
    seed : int
    device : torch.device

    Returns
    -------
    dict
        ``epsilon_audit``, the lower bound; ``audit_power``, what it is on average for a mechanism that is as private as
        it claims, by simulation.
    """
    seed_everything(seed)
    model = task.model_factory(kind)(seed).to(device)
    smallest = min(each.numel() for each in model.parameters() if each.requires_grad)
    count = max(2, min(audit.CANARIES, smallest))
    canaries = audit.Canaries(count, task.sampling_rate, seed)
    known = Examination(task, kind, model, methods[0], noise_multiplier, device).known
    trainer = PrivateTrainer(task, model, *methods, noise_multiplier, seed, device, canaries, known)
    for _ in range(task.steps):
        trainer.step()
    simulated = audit.simulated_bounds(noise_multiplier, task.sampling_rate, task.steps, count, task.delta)
    return {"epsilon_audit": canaries.lower_bound(task.delta)[0], "audit_power": float(simulated.mean())}


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
