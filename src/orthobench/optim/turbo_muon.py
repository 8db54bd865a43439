"""Muon with any orthogonaliser, for matrices and convolution kernels, many of them at a time."""

from functools import partial

import torch

from ..linalg import orthogonalise
from .momentum import MomentumOptimizer
from .sharding import share_work


class TurboMuon(MomentumOptimizer):
    r"""Momentum whose update is orthogonalised: Muon, by default with Turbo-Muon's orthogonaliser.

    For each parameter W with gradient G, seen as a matrix (m, n): m is its first dimension, n the product of all
    others, so that a convolution kernel is a matrix of output channels by their inputs::

        M <- mu M + (1 - mu) G
        U  = mu M + (1 - mu) G        if nesterov, else M
        W <- (1 - lr weight_decay) W
        W <- W - lr f(m, n) orthogonalise(U)

    Parameters
    ----------
    params : iterable of Parameter, of (name, Parameter), or of dict
        Of 2 or more dimensions; `route_parameters` says which parameters of a network. A dict may override any option
        below for its parameters.
    lr : float or Tensor of one element
        Learning rate, >= 0. A tensor may change without recompilation under ``torch.compile``.
    momentum : float
        mu, in [0, 1).
    nesterov : bool
        Whether the update looks one step ahead.
    weight_decay : float
        >= 0; decoupled, with lr as it is given, whatever `adjust_lr`.
    adjust_lr : {"original", "match_rms_adamw", "spectral"}
        f: sqrt(max(1, m / n)), as in Muon; 0.2 sqrt(max(m, n)), with which an lr and a weight decay tuned for AdamW can
        be kept; or sqrt(m / n), with which a step changes the root mean square of the outputs by at most lr times that
        of the inputs, whatever the shape.
    orthogonaliser : str
        One of `orthobench.linalg.ORTHOGONALISERS`; "muon" makes this Muon.
    steps : int, optional
        Newton-Schulz steps; as many as were published by default. Fewer are the first ones; with "turbo_muon_last", the
        last ones, as in the code of Turbo-Muon's authors.
    dtype : torch.dtype or None
        In which the update is orthogonalised: bfloat16, float32, float64, or None for that of the parameter. All else
        is done in the type of the parameter, that of the momentum too.
    process_group : torch.distributed.ProcessGroup, optional
        Processes that hold the same parameters and have summed their gradients: each orthogonalises a share of the
        updates, and all get all of them. By default each process works for itself.

    Raises
    ------
    TypeError, ValueError
        If an option is out of its range, or a parameter has fewer than 2 dimensions or isn't real floating-point; in
        `add_param_group` too, which then leaves the optimizer as it was. `step` raises on sparse gradients.

    Notes
    -----
    Updates of equal shape, type and device are orthogonalised as one batch. Gradients are not modified. A parameter
    without gradient, or without entries, is left alone; the decay applies where the gradient is zero.

    The moving average is 1 - mu times the sum M <- mu M + G of other versions; an orthogonaliser doesn't see the scale.

    The kernel of a transposed convolution has its inputs first, and is orthogonalised as it is stored. The kernels of
    a grouped convolution are the rows of one matrix.

    Under ``torch.compile`` a Python lr that a scheduler changes is recompiled once or twice; a tensor isn't.

    References
    ----------
    Jordan et al. (2024), Muon: an optimizer for hidden layers in neural networks. Boissin et al. (2025), Turbo-Muon,
    arXiv:2512.04632. Liu et al. (2025), Muon is scalable for LLM training, arXiv:2502.16982: "match_rms_adamw".
    Bernstein & Newhouse (2024), Old optimizer, new norm, arXiv:2409.20325, and Pethick et al. (2025), Training deep
    learning models with norm-constrained LMOs, arXiv:2502.07529: "spectral".

    Examples
    --------
    >>> from orthobench.models import digits_convnet
    >>> from orthobench.optim import TurboMuon, route_parameters
    >>> routes = route_parameters(digits_convnet(0))
    >>> optimizers = [TurboMuon(routes.matrix, lr=0.02), torch.optim.AdamW(routes.other, lr=3e-4)]
    """

    process_group = None  # of a copy too, which is not part of the group

    def __init__(
        self,
        params,
        lr=0.02,
        momentum=0.95,
        nesterov=True,
        weight_decay=0.0,
        adjust_lr="original",
        orthogonaliser="turbo_muon",
        steps=None,
        dtype=torch.bfloat16,
        process_group=None,
    ):
        self.process_group = process_group
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "nesterov": nesterov,
            "weight_decay": weight_decay,
            "adjust_lr": adjust_lr,
            "orthogonaliser": orthogonaliser,
            "steps": steps,
            "dtype": dtype,
        }
        super().__init__(params, defaults)

    def directions(self, params, gradients, updates, group):
        """Return the updates as matrices, orthogonalised."""
        matrices = [update.flatten(1).to(group["dtype"] or update.dtype) for update in updates]
        method = partial(orthogonalise, orthogonaliser=group["orthogonaliser"], steps=group["steps"])
        return share_work(method, matrices, self.process_group)
