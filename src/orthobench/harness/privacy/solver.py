"""The base of every solver that trains privately: it brings a mechanism, whose parts run in stands."""

import math

import torch


class PrivateSolver:
    """Trains the task's network with a mechanism. A solver sets :attr:`network` and implements :meth:`mechanism`.

    Attributes
    ----------
    network : {"unconstrained", "lipschitz"}
        The kind that it is a method for.
    private : bool
        Whether it is: the others run at an epsilon of infinity, and only they do.
    device : torch.device
    """

    cell = "orthobench.harness.privacy.cell:PrivateCell"
    yours = ("mechanism", "optimizer", "claim", "network", "private", "skip")
    name = ""
    network = "lipschitz"
    private = True
    device = None

    def mechanism(self, optimizer, model, plan):
        """Return the mechanism, a `Mechanism`. It is called in each of two processes, which use a half each.

        Parameters
        ----------
        optimizer : torch.optim.Optimizer
            It gets the private mean gradient.
        model : torch.nn.Module
            On its device.
        plan : Plan
            What is given: noise, sampling, batch size, bounds.
        """
        raise NotImplementedError

    def optimizer(self, parameters):
        """Return the optimizer, with the highest learning rate: by default plain SGD with `learning_rate`."""
        return torch.optim.SGD(parameters, lr=self.learning_rate)

    def claim(self, epsilon):
        """Return the epsilon that is claimed for the run: by default the one that the noise was chosen for."""
        return epsilon

    def skip(self, plan, epsilon):
        """Skip an epsilon of infinity if the method is private, any other if it isn't."""
        if self.private == math.isfinite(epsilon):
            return False, None
        reason = "is private: give a finite epsilon" if self.private else "is not private: give epsilon=inf"
        return True, f"{self.name} {reason}"
