"""The post-training transformation: a score's rank among hold-out scores, stretched where the threshold will lie."""

import torch

from ...lipschitz.certificates import check_positive
from ..quantile import check_alpha
from ..scores import Score
from .smoothed import with_gradient_of


class RankTransform(Score):
    """sigmoid((r - alpha) / T'), with the share r of hold-out examples whose scores are less.

    A mean over noise of it tells apart, better than one of the score itself, what is on the two sides of the threshold
    alpha of the ranks. It is increasing, and a function of the hold-out set: which it may be of neither the calibration
    examples nor, for small sets, the training examples.

    Parameters
    ----------
    score : Score
        Any; it needn't be bounded.
    alpha : float
        Strictly between 0 and 1.
    hold_out : Tensor (m,)
        Scores of the true classes of m >= 1 examples, with noise if the transformed score is to be taken under noise.
    temperature : float
        T' > 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these.

    Notes
    -----
    Yan, Romano and Weng, "Provably robust conformal prediction with improved efficiency", ICLR 2024, section 4.1, for
    scores that are high where a class conforms. A step function: its gradient here is that of a sigmoid of the score
    around the alpha-quantile of the hold-out scores, as wide as their standard deviation.
    """

    def __init__(self, score, alpha, hold_out, *, temperature=1 / 400):
        check_positive("temperature", temperature, "1/400 is the default")
        if not isinstance(hold_out, torch.Tensor) or hold_out.ndim != 1 or not len(hold_out):
            got = tuple(hold_out.shape) if isinstance(hold_out, torch.Tensor) else type(hold_out).__name__
            raise ValueError(f"hold_out must be a tensor (m,) with m >= 1, got {got}; hold more examples out.")
        self.score, self.randomised = score, score.randomised
        self.alpha, self.temperature = check_alpha(alpha), float(temperature)
        self.hold_out = hold_out.detach().double().sort().values
        self._centre = self.hold_out[int(self.alpha * len(hold_out))]
        self._width = self.hold_out.std(correction=0) or torch.ones_like(self._centre)

    def _scores(self, logits, generator):
        own = self.score(logits, generator).double()
        less = torch.searchsorted(self.hold_out, own.detach().contiguous())
        ranks = less.double() / len(self.hold_out)
        stretched = ((ranks - self.alpha) / self.temperature).sigmoid()
        return with_gradient_of(stretched, ((own - self._centre) / self._width).sigmoid())

    def lowered(self, scores, error):
        # Ranks are compared among each other: a tie of them stays one.
        return scores

    def bounds(self, classes):
        return 0.0, 1.0

    def __repr__(self):
        return f"RankTransform({self.score!r}, alpha={self.alpha:g}, {len(self.hold_out)} held out)"
