"""The bases of the root benchmark's solvers. A solver's code runs in its stand alone; the bench reads its file."""

from ...linalg import aol_rescale, newton_schulz
from ...linalg.recipes import get_recipe

# What a method may apply before it iterates; its limit is then the polar factor of the rescaled matrix.
PRECONDITIONERS = {"aol": aol_rescale}

_YOURS = ("orthogonalise", "preconditioner", "exponents", "skip")


class DirectOrthogonaliser:
    """A direct method: one point. A solver implements :meth:`orthogonalise`, which must leave its input as it is.

    Attributes
    ----------
    preconditioner : str or None
        A key of `PRECONDITIONERS` if the method rescales its input, so that it has a limit of its own.
    exponents : tuple of float or None
        Exponents e for which the method computes U S^e V^T; the default is the polar factor alone. None means any.
    exponent : float
        The one to compute in this cell.
    device : torch.device
        Where the matrices are.
    """

    cell = "orthobench.harness.orthogonalisation.cell:DirectCell"
    yours = _YOURS
    name = ""
    preconditioner = None
    exponents = (0,)
    exponent = 0
    device = None

    def orthogonalise(self, matrices):
        """Return the orthogonalised ``matrices`` (a list of tensors, on one device)."""
        raise NotImplementedError

    def skip(self, exponent, **known):
        """Skip the exponents that the method doesn't compute."""
        if self.exponents is None or exponent in self.exponents:
            return False, None
        available = ", ".join(f"{each:g}" for each in self.exponents)
        return True, f"{self.name} does not compute U S^e V^T for e = {exponent:g}, only for e = {available}"


class IterativeOrthogonaliser(DirectOrthogonaliser):
    """An iterative method: one point for each number of iterations from 1 to ``steps``.

    Attributes
    ----------
    steps : int
    """

    cell = "orthobench.harness.orthogonalisation.cell:IterativeCell"
    yours = (*_YOURS, "steps")
    steps = 1

    def orthogonalise(self, matrices, steps):
        """Return the orthogonalised ``matrices`` (a list of tensors, on one device) after ``steps`` iterations."""
        raise NotImplementedError


class NewtonSchulz(IterativeOrthogonaliser):
    """A recipe of `orthobench.linalg.RECIPES`, which says how many steps there are and what comes before them.

    A solver sets ``recipe``, as an attribute or a parameter.

    Attributes
    ----------
    method : str
        As for `newton_schulz`: "plain" or "gram".
    """

    yours = (*IterativeOrthogonaliser.yours, "recipe", "method")
    method = "plain"

    @property
    def steps(self):
        """The number of published steps."""
        return len(get_recipe(self.recipe).coefficients)

    @property
    def preconditioner(self):
        """What the recipe applies first."""
        return get_recipe(self.recipe).preconditioner

    def orthogonalise(self, matrices, steps):
        return newton_schulz(matrices, self.recipe, steps, self.method)
