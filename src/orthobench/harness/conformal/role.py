"""The stand's half of a conformal cell: it has a copy of the network and a predictor, and answers what it is asked."""

import copy
import pickle

import torch
import torch._dynamo  # checkpoints and torch's dispatch modes do, when the first is used: better before the fork

from ...conformal import Predictor
from ...linalg.products import ProductCounter
from ...lipschitz.bounds.jacobian import evaluating
from ..seeds import seed_everything
from ..stand.roles import Role, Timer, check_plain
from ..status import InvalidResult
from .solver import Problem

# Inputs that are scored before the clock starts.
WARM_UP = 32


class ConformalRole(Role):
    """Answers ``begin``, ``fit``, ``prepare``, ``scores``, ``thresholds`` and ``gradient``.

    The bench asks a stand for calibration scores, thresholds, prediction scores or gradients, never for two of these:
    labels come with ``fit``, of examples that are in neither calibration nor test, and with ``gradient`` alone.
    """

    def receive(self, alpha, radius, shape):
        """Take what a predictor is made for."""
        self._wanted = alpha, radius, tuple(shape)

    def prepare_solver(self):
        """Keep a clock."""
        self._timer = Timer(self.device)

    def adopt(self, solver):
        """Take a solver that is no file's."""
        self.solver = solver
        self.prepare_solver()

    def skip(self, images, families):
        """Ask the solver whether it applies, and to which family of networks."""
        return super().skip(images=images, families=families) | {"network": str(self.solver.network)}

    def begin(self, network):
        """Take a copy of the network, make the predictor, and say what it claims."""
        network = pickle.loads(network.numpy().tobytes())  # noqa: S301 - the bench's own bytes
        self._model = network["model"].to(self.device)
        seed_everything(self.seed, self.device)
        predictor = self.solver.predictor(Problem(*self._wanted, network["constant"]))
        if not isinstance(predictor, Predictor):
            raise InvalidResult(f"{self.solver.name} made a {type(predictor).__name__}: expected a Predictor")
        if predictor.attach(self._model) is not predictor or predictor.model is not self._model:
            raise InvalidResult("the predictor evaluates another model than the harness's")
        self._predictor, claim = predictor, predictor.claim
        return {
            **{name: getattr(claim, name) for name in ("alpha", "radius", "norm", "kind")},
            "hold_out": predictor.hold_out if predictor.transform else None,
            "reusable_scores": bool(predictor.reusable_scores),
            "sigma": getattr(predictor, "sigma", None),
            "lipschitz_constant": getattr(predictor, "lipschitz_constant", None),
        }

    def fit(self, inputs, labels, seed):
        """Fit what the method fits to labels."""
        self._predictor.fit_transform(inputs.to(self.device), labels.to(self.device), generator=self._noise(seed))

    def prepare(self, *calibration, shape, **question):
        """Score throw-away inputs."""
        self.scores(torch.rand(WARM_UP, *shape), *calibration, seed=self.seed, **question)

    def scores(self, inputs, *calibration, purpose, seed, points, counted=False):
        """Score all classes of inputs.

        Parameters
        ----------
        inputs : Tensor (n, ...)
        *calibration : Tensor (points,)
            At prediction, of a predictor whose scores depend on them: the sorted scores of the calibration.
        purpose : {"calibration", "prediction"}
        seed : int
            Of the noise.
        points : int
            Number of calibration examples.
        counted : bool
            Whether passes of the network are counted, off the clock.
        """
        predictor = self._calibrated(calibration, points)
        method = predictor.calibration_scores if purpose == "calibration" else predictor.prediction_scores
        x, noise = inputs.to(self.device, copy=True), self._noise(seed)
        seed_everything(self.seed, self.device)
        if counted:
            passes, scores = self._counted(method, x, noise)
            return {"passes": passes}, [scores]
        self.reset_peak_memory()
        scores, seconds, _ = self._timer.run(self._call, method, x, noise)
        return {"seconds": seconds, "peak_memory_bytes": self.peak_memory_bytes()}, [scores]

    def thresholds(self, *calibrations):
        """Choose a threshold by each vector of sorted scores of the true classes."""
        found = []
        for scores in calibrations:
            seed_everything(self.seed, self.device)
            found.append(float(self._predictor.calibrate_scores(scores.to(self.device)).threshold))
        return {}, [torch.tensor(found, dtype=torch.float64)]

    def gradient(self, inputs, classes, *calibration, seed, points, samples, slope):
        """Return the prediction scores (n,) of a class for each input, and their gradient if ``slope``.

        Of a method that averages over more than ``samples`` copies with noise, over so many.
        """
        predictor = copy.copy(self._calibrated(calibration, points))
        if hasattr(predictor, "samples"):
            predictor.samples = min(predictor.samples, samples)
        x = inputs.to(self.device, copy=True).requires_grad_(slope)
        seed_everything(self.seed, self.device)
        with evaluating(self._model), torch.set_grad_enabled(slope):
            scores = predictor._prediction_scores(x, self._noise(seed))
            scores = scores.gather(1, classes.to(self.device)[:, None]).squeeze(1)
            if not slope:
                return {}, [scores.detach()]
            found = None
            if scores.requires_grad:
                (found,) = torch.autograd.grad(scores.sum(), x, allow_unused=True)
        return {}, [scores.detach(), torch.zeros_like(x) if found is None else found.detach()]

    def _calibrated(self, calibration, points):
        self._predictor.points = points
        return self._predictor.calibrate_scores(calibration[0].to(self.device)) if calibration else self._predictor

    def _noise(self, seed):
        return torch.Generator(self.device).manual_seed(seed)

    def _call(self, method, x, noise):
        scores = method(x, generator=noise)
        check_plain([scores], self.device)
        return scores.detach()

    def _counted(self, method, x, noise):
        """Return how many passes of the network an input takes, and the scores.

        Inputs of the network are counted, and the operations of all matrix products and convolutions, in those of one
        pass: the more of both, for a method may go by another way through the network, such as bounds do.
        """
        with evaluating(self._model), ProductCounter() as one:
            self._model(x[:1])
        rows = []
        handle = self._model.register_forward_pre_hook(lambda module, arguments: rows.append(len(arguments[0])))
        try:
            with ProductCounter() as all_of_it:
                scores = self._call(method, x, noise)
        finally:
            handle.remove()
        return max(sum(rows), all_of_it.flops / one.flops if one.flops else 0) / len(x), scores
