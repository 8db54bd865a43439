"""Training on one class: each batch is half inliers, half points that the network itself makes up."""

import torch

from ...lipschitz.one_class import OneClassLoss, sample_complement
from ..training import Trainer

# Of the adapted Newton-Raphson steps; the authors' have more, of a network that costs less to evaluate.
SAMPLING = {"steps": 4, "eta": 1.0}
BOX = (0.0, 1.0)


class OneClassTrainer(Trainer):
    """Trains on inliers and on samples of Q_t, with targets 1 and 0, in this order; see `orthobench.lipschitz`.

    It takes the first half of the indices of each batch, so that batches are the same for every solver.
    """

    def _batch(self):
        ((inliers, _),) = super()._batch()
        inliers = inliers[: len(inliers) // 2]
        samples = sample_complement(
            self.model,
            len(inliers),
            inliers.shape[1:],
            BOX,
            generator=self._augmentation,
            dtype=inliers.dtype,
            device=self.device,
            **SAMPLING,
        )
        targets = torch.zeros(2 * len(inliers), dtype=torch.int64, device=self.device)
        targets[: len(inliers)] = 1
        return [(torch.cat([inliers, samples]), targets)]


def one_class_loss():
    """Return the loss of outputs (2n, 1), those of inliers first, and of their targets."""
    loss = OneClassLoss()

    def of_halves(outputs, targets):
        return loss(*outputs.tensor_split(2))

    return of_halves
