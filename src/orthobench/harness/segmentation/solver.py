"""The base of every solver of segmentation: it names a kind of layer, a rate and a loss, or a noise level too."""

import torch

from ..lipschitz.solver import CHOICES as LIPSCHITZ_CHOICES
from ..lipschitz.solver import LOSS as LIPSCHITZ_LOSS
from ..lipschitz.solver import LipschitzSolver
from ..training.solver import ADAMW_BETAS
from .task import CONSTANT

# The parameters of the loss, which every solver has. All pixels share what a Lipschitz constant allows, so that margins
# are small, and the temperature with them.
LOSS = {**LIPSCHITZ_LOSS, "temperature": [0.0625], "margin": [0.0]}

# The parameters of smoothing: of its noise, copies that choose a class, copies that are tested, what an image's tests
# may err with, and their correction.
SMOOTHING = {"sigma": [0.25], "n0": [10], "n": [1000], "significance": [0.001], "correction": ["holm"]}
CHOICES = (*LIPSCHITZ_CHOICES, *SMOOTHING)


class SegmentationSolver(LipschitzSolver):
    """Trains the task's network with one kind of layer, by AdamW without decay.

    A solver sets :attr:`layer` and has the parameters ``learning_rate`` and `LOSS`. The certificates are the harness's:
    from the constant that the solver claims, or, with ``sigma``, from noisy copies, which it draws itself.

    Attributes
    ----------
    layer : str
        A key of `orthobench.lipschitz.layers.LAYERS`, or ``"constant"``: one class for all pixels.
    sigma : float
        Standard deviation of the noise of training and smoothing, in units of pixels; 0 for a Lipschitz certificate.
    n0, n, significance, correction
        As `orthobench.segmentation.SegCertify` takes them (the significance is its alpha).
    """

    cell = "orthobench.harness.segmentation.cell:SegmentationCell"
    yours = (*LipschitzSolver.yours, *SMOOTHING)
    sigma = 0.0
    n0, n, significance, correction = (SMOOTHING[name][0] for name in ("n0", "n", "significance", "correction"))

    def optimizers(self, model):
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        return [torch.optim.AdamW(trained, lr=self.learning_rate, betas=ADAMW_BETAS, weight_decay=0.0)]

    def skip(self, task):
        """Skip a padding for which the kind of layer has no bound."""
        return (False, None) if self.layer == CONSTANT else super().skip(task)
