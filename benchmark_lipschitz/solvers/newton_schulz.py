"""Dense layers orthogonalised by Turbo-Muon's Newton-Schulz iteration, of this package."""

from orthobench.harness.lipschitz import LOSS, LipschitzSolver


class Solver(LipschitzSolver):
    """Newton-Schulz iteration as a parametrisation (Boissin et al., 2025): for networks of dense layers alone."""

    name = "Newton-Schulz"
    parameters = {"learning_rate": [0.3], **LOSS}
    layer = "newton_schulz"
