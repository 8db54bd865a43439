"""The Newton-Schulz iterations of the library pytorch-optimizer."""

from pytorch_optimizer.optimizer.utils.matrix import zero_power_via_gram_newton_schulz, zero_power_via_newton_schulz_5

from orthobench.harness import IterativeOrthogonaliser
from orthobench.linalg.shapes import map_by_shape


class Solver(IterativeOrthogonaliser):
    """pytorch-optimizer's Newton-Schulz and Gram Newton-Schulz, equal shapes in one batch, in the working precision."""

    name = "pytorch-optimizer"
    requirements = ["pip::pytorch-optimizer"]
    parameters = {"weights": ["quintic", "polar_express_safer"], "gram": [False, True]}
    steps = 5

    def orthogonalise(self, matrices, steps):
        iterate = zero_power_via_gram_newton_schulz if self.gram else zero_power_via_newton_schulz_5
        return map_by_shape(lambda X: iterate(X, num_steps=steps, weights=self.weights, dtype=X.dtype), matrices)
