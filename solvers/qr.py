"""An orthonormal basis by QR: orthogonal to rounding, and not the polar factor."""

from orthobench.harness import DirectOrthogonaliser
from orthobench.linalg import qr_factor


class Solver(DirectOrthogonaliser):
    """Q of the QR decomposition, R's diagonal made non-negative: what a cheap exact orthogonalisation gives."""

    name = "QR"

    def orthogonalise(self, matrices):
        return qr_factor(matrices)
