"""Split conformal prediction: coverage of inputs that nobody has changed."""

from .predictor import Predictor


class SplitConformal(Predictor):
    """Split conformal prediction. It guarantees coverage on clean inputs alone: its claim has a radius of 0.

    Parameters
    ----------
    score, alpha, batch_size
        As of `Predictor`.

    Notes
    -----
    Papadopoulos, Proedrou, Vovk and Gammerman, "Inductive confidence machines for regression", ECML 2002; Vovk,
    Gammerman and Shafer, "Algorithmic learning in a random world", 2005.

    Examples
    --------
    >>> import torch
    >>> from orthobench.conformal import Margin
    >>> images, labels = torch.randn(100, 3, generator=torch.Generator().manual_seed(0)), torch.arange(100) % 3
    >>> model = torch.nn.Identity()
    >>> SplitConformal(Margin(), alpha=0.1).calibrate(model, images, labels).predict_sets(images[:2]).shape
    torch.Size([2, 3])
    """

    def __init__(self, score, alpha, *, batch_size=1024):
        super().__init__(score, alpha, batch_size=batch_size)

    def _prediction_scores(self, x, generator):
        return self._scores(x, generator)
