"""The Newton-Schulz iterations of the library pytorch-optimizer."""

import torch
from pytorch_optimizer.optimizer.utils.matrix import zero_power_via_gram_newton_schulz, zero_power_via_newton_schulz_5

from orthobench.harness import IterativeOrthogonaliser
from orthobench.linalg.shapes import map_by_shape


class Solver(IterativeOrthogonaliser):
    """pytorch-optimizer's Newton-Schulz and Gram Newton-Schulz, equal shapes in one batch."""

    name = "pytorch-optimizer"
    requirements = ["pip::pytorch-optimizer"]
    parameters = {"weights": ["quintic", "polar_express_safer"], "gram": [False, True]}
    steps = 5

    def orthogonalise(self, matrices, steps):
        return map_by_shape(lambda X: self.iterate(X, steps), matrices)

    def iterate(self, X, steps):
        if not self.gram:
            return zero_power_via_newton_schulz_5(X, num_steps=steps, weights=self.weights, dtype=X.dtype)
        # The library runs the Gram form in float16, not in bfloat16, where it is not stable.
        dtype = torch.float16 if X.dtype == torch.bfloat16 else X.dtype
        return zero_power_via_gram_newton_schulz(X, num_steps=steps, weights=self.weights, dtype=dtype).to(X.dtype)
