"""AdaMuon: Muon of the signs of a momentum, divided entry by entry by the root of a second moment."""

import math

import torch

from .turbo_muon import TurboMuon

EPS = 1e-8


class AdaMuon(TurboMuon):
    r"""Muon whose orthogonalised update is that of signs, and is scaled by a second moment of its own.

    For each parameter W with gradient G, seen as a matrix (m, n) as in `TurboMuon`::

        M <- mu M + (1 - mu) G
        U  = mu M + (1 - mu) G        if nesterov, else M
        O  = orthogonalise(sign(U))
        V <- mu V + (1 - mu) O^2      entry by entry
        D  = O / (sqrt(V) + 1e-8)
        W <- (1 - lr weight_decay) W
        W <- W - lr f(m, n) D sqrt(min(m, n)) / ||D||_F

    With the default f, 0.2 sqrt(max(m, n)), the root mean square of a step is 0.2 lr, about that of AdamW.

    Parameters
    ----------
    params : iterable of Parameter, of (name, Parameter), or of dict
        As for `TurboMuon`.
    lr : float or Tensor of one element
        Learning rate, >= 0.
    momentum : float
        mu, in [0, 1), of both averages.
    **options
        As for `TurboMuon`; by default ``adjust_lr="match_rms_adamw"`` and ``orthogonaliser="muon"``.

    Raises
    ------
    TypeError, ValueError
        As `TurboMuon` does.

    Notes
    -----
    The momentum of the paper is 1 / (1 - mu) times this one, which signs don't see; it corrects no bias of V, which the
    division by the norm cancels. Algorithm 1 has nesterov=False, and the authors' code True.

    References
    ----------
    Si, Zhang & Shen (2025), AdaMuon: adaptive Muon optimizer, arXiv:2507.11005, Algorithm 1.
    """

    is_separable = True

    def __init__(self, params, lr=1e-3, momentum=0.95, adjust_lr="match_rms_adamw", orthogonaliser="muon", **options):
        settings = {"lr": lr, "momentum": momentum, "adjust_lr": adjust_lr, "orthogonaliser": orthogonaliser}
        super().__init__(params, **settings, **options)

    def _init_group(self, group, params, *others):
        is_mixed = super()._init_group(group, params, *others)
        for p in params:
            state = self.state[p]
            if "second_moment" not in state:  # flat, of all its matrices
                state["second_moment"] = torch.zeros(p.numel(), dtype=state["momentum_buffer"].dtype, device=p.device)
        return is_mixed

    def directions(self, params, gradients, updates, group):
        """Return the orthogonalised signs of the updates, scaled."""
        signs = torch._foreach_sign(updates)
        torch._foreach_add_(signs, torch._foreach_mul(updates, 0))  # that of NaN is 0: it would stand still in silence
        directions = super().directions(params, gradients, signs, group)
        moments = [self.state[p]["second_moment"] for p in params]
        directions = [each.to(moments[0].dtype) for each in directions]
        moments = _like(moments, directions)
        torch._foreach_mul_(moments, group["momentum"])
        torch._foreach_addcmul_(moments, directions, directions, 1 - group["momentum"])
        roots = torch._foreach_sqrt(moments)
        torch._foreach_add_(roots, EPS)
        torch._foreach_div_(directions, roots)
        scales = [math.sqrt(min(each.shape)) / (each.norm() + EPS) for each in directions]
        torch._foreach_mul_(directions, scales)
        return directions


def _like(vectors, matrices):
    """Return views of the vectors, of which each has the entries of one or more of the matrices, of their shapes."""
    views = []
    for vector in vectors:
        start = 0
        while start < len(vector):
            matrix = matrices[len(views)]
            views.append(vector[start : start + matrix.numel()].view(matrix.shape))
            start += matrix.numel()
    return views
