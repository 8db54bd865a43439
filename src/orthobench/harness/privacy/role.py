"""The stand's half of a cell of private training: one stand sums gradients of batches, another steps on noisy sums."""

import math

import torch
import torch._dynamo  # torch's optimizers do, at their first step: better once, before the fork

from ...privacy.mechanisms import Mechanism
from ...privacy.network_factory import network_factory
from ..checks import check_optimizers
from ..seeds import seed_everything
from ..stand.roles import Role, Timer
from ..stand.wire import claim
from ..status import InvalidResult

try:
    import opacus  # noqa: F401 - it takes a second
    from opacus.optimizers import AdaClipDPOptimizer  # noqa: F401
    from opacus.utils import fast_gradient_clipping_utils  # noqa: F401
except ImportError:  # the mechanism that needs it says so
    pass

WARM_UP_STEPS = 3


class PrivateRole(Role):
    """Answers ``prepare``, ``query``, ``apply`` and ``peak``; the bench asks a stand for one of the middle two alone.

    Neither has training examples of its own: batches come with the questions, and go.
    """

    def receive(self, plan, network, shape):
        """Take what is known of the run, and the network's name with the shape of an example."""
        self._plan, self._network, self._shape = plan, network, shape

    def prepare_solver(self):
        """Hand the solver nothing: it is told the plan when it makes its mechanism."""
        self._timer = Timer(self.device)

    def skip(self, epsilon):
        """Ask the solver whether it applies, for which kind of network, and what it claims."""
        claimed = claim(self.solver.claim(epsilon))
        return super().skip(plan=self._plan, epsilon=epsilon) | {"kind": self.solver.network, "claimed": claimed}

    def prepare(self, *weights, warm_up):
        """Warm up a half of the mechanism, "sum_gradients", "apply" or none, then make it; return its state."""
        seed_everything(self.seed, self.device)
        if warm_up:
            self._make(weights)
            count = max(1, round(self._plan.expected_batch_size)) if warm_up == "sum_gradients" else 0
            inputs = torch.randn(count, *self._shape, device=self.device)
            inputs *= self._plan.input_norm / math.sqrt(math.prod(self._shape))
            targets = torch.randint(self._plan.classes, (count,), device=self.device)
            for _ in range(min(WARM_UP_STEPS, self._plan.steps)):
                _, sums = self._mechanism.sum_gradients(inputs, targets)
                if warm_up == "apply":  # of zeros
                    self._mechanism.apply(sums)
        self._make(weights)
        seed_everything(self.seed, self.device)
        self.reset_peak_memory()
        return {"state": self._mechanism.state()}

    def query(self, inputs, targets, *weights, state):
        """Return the sums of a batch and what is claimed of them, for weights and a state."""
        self._load(weights)
        seed_everything(self.seed, self.device)
        inputs, targets = inputs.to(self.device), targets.to(self.device)
        (blocks, total, sums), seconds, _ = self._timer.run(self._sum, state, inputs, targets)
        blocks = [{"names": list(each.names), "bound": claim(each.bound), "std": claim(each.std)} for each in blocks]
        return {"names": list(sums), "blocks": blocks, "loss": float(total), "seconds": seconds}, list(sums.values())

    def _sum(self, state, inputs, targets):
        self._mechanism.load_state(state)
        return self._mechanism.blocks(), *self._mechanism.sum_gradients(inputs, targets)

    def apply(self, *sums, names, factor):
        """Step on noisy sums, at a share of the highest learning rate; return weights and state."""
        noisy = {name: each.to(self.device, copy=True) for name, each in zip(names, sums, strict=True)}
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        answer, seconds, _ = self._timer.run(self._step, noisy)
        return answer | {"seconds": seconds}, [each.detach().clone() for each in self._parameters]

    def _step(self, noisy):
        self._mechanism.apply(noisy)
        failure = claim(self._mechanism.failure_probability)
        return {"state": self._mechanism.state(), "failure_probability": failure}

    def peak(self):
        """Return the most memory that was used on the device."""
        return {"peak_memory_bytes": self.peak_memory_bytes()}

    def _make(self, weights):
        factory = network_factory(self._network, self.solver.network, self._shape, self._plan.classes)
        model = factory(self.seed).to(self.device).train()
        self._parameters = [each for each in model.parameters() if each.requires_grad]
        self._load(weights)
        self._optimizer = self.solver.optimizer(model.parameters())
        check_optimizers([self._optimizer], model)
        self._rates = [float(group["lr"]) for group in self._optimizer.param_groups]
        self._mechanism = self.solver.mechanism(self._optimizer, model, self._plan)
        if not isinstance(self._mechanism, Mechanism):
            raise InvalidResult(
                f"`mechanism` returned a {type(self._mechanism).__name__}: return a `Mechanism` of "
                "orthobench.harness.privacy (see benchmark_dp/README.md)"
            )

    def _load(self, weights):
        with torch.no_grad():
            for parameter, each in zip(self._parameters, weights, strict=True):
                parameter.copy_(each)
