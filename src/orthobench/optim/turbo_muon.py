"""Muon with any orthogonaliser, for matrices and convolution kernels, many of them at a time."""

import math

import torch

from .momentum import MomentumOptimizer, check_range
from .powers import orthogonalise_all
from .torch_names import take_torchs_names


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
    maximize : bool
        Whether to go up, along the negative gradients.
    split : None, "stacked", int or sequence of int
        Which matrices a parameter holds, each of which is orthogonalised, and scaled by f, for itself: one (None); one
        for each index of the first dimension, as experts (E, m, n) are stacked ("stacked"); that many blocks of equally
        many rows; or blocks of these numbers of rows, which sum to m, as those of query, key and value.
    transposed : bool
        Whether parameters are stored as inputs by outputs (n, m), as `Conv1D` of transformers does.
    master_weights : bool
        For parameters in bfloat16 or float16: whether steps are taken in float32. The momentum is kept in it, and so is
        what rounding took from each entry, which is put back before the next step. float32 parameters don't change.
    ns_coefficients, ns_steps, adjust_lr_fn, eps
        The names of torch.optim.Muon. `ns_coefficients` is one triple (a, b, c) for `ns_steps` steps, a list of
        triples, one a step, or an `orthobench.linalg.Recipe`. If it or `ns_steps` is given, the update is
        orthogonalised by that iteration instead of `orthogonaliser`, the other one being torch's default.
        `adjust_lr_fn` is `adjust_lr`. `eps` has no effect: no orthogonaliser here needs one.

    Raises
    ------
    TypeError, ValueError
        If an option is out of its range, or a parameter has fewer than 2 dimensions, isn't real floating-point or can't
        be split so; in `add_param_group` too, which then leaves the optimizer as it was. `step` raises on sparse
        gradients, and, in every process, if processes don't have gradients for the same parameters.

    Warns
    -----
    UserWarning
        On parameters narrower than float32 without `master_weights`: steps and decay of less than half the spacing of
        their type are lost. On vectors with three dimensions or more, such as gains (m, 1, 1), which suit AdamW. On
        coefficients of one's own whose polynomials are negative somewhere: steps go uphill there.

    Notes
    -----
    Updates of equal shape, type and device are orthogonalised as one batch. Gradients are not modified. A parameter
    without gradient, or without entries, is left alone; the decay applies where the gradient is zero.

    The moving average is 1 - mu times the sum M <- mu M + G of other versions; an orthogonaliser doesn't see the scale.

    It takes the place of torch.optim.Muon, and loads its state: the momentum and the options, with which it goes on as
    torch's would. Passed by keyword, all arguments of that class are taken. What differs by default:

    ===================  ==========================  ================================
    option               torch.optim.Muon            TurboMuon
    ===================  ==========================  ================================
    lr                   0.001                       0.02
    weight_decay         0.1                         0
    iteration            5 steps of Muon's triple    "turbo_muon", 4 steps
    eps                  1e-7                        none: the scale has no influence
    parameters           matrices                    kernels and stacks too
    third argument       weight_decay                momentum
    ===================  ==========================  ================================

    The kernel of a transposed convolution has its inputs first, and is orthogonalised as it is stored. The kernels of
    a grouped convolution are the rows of one matrix.

    Parameters that are sharded (DTensor, as by FSDP2) are gathered for the orthogonalisation, whole in each process;
    momentum and steps stay sharded. On the meta device, where there are no values, a step makes the state.

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

    is_separable = True

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
        maximize=False,
        split=None,
        transposed=False,
        master_weights=False,
        ns_coefficients=None,
        ns_steps=None,
        adjust_lr_fn=None,
        eps=None,
    ):
        self.process_group = process_group
        if eps is not None:
            check_range("eps", eps, math.inf, "it has no effect here")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "nesterov": nesterov,
            "weight_decay": weight_decay,
            "adjust_lr": adjust_lr,
            "orthogonaliser": orthogonaliser,
            "steps": steps,
            "dtype": dtype,
            "maximize": maximize,
            "split": split,
            "transposed": transposed,
            "master_weights": master_weights,
            "ns_coefficients": ns_coefficients,
            "ns_steps": ns_steps,
        }
        if adjust_lr_fn is not None:
            defaults["adjust_lr_fn"] = adjust_lr_fn
        take_torchs_names(defaults, has_eps=False)
        super().__init__(params, defaults)

    def directions(self, params, gradients, matrices, group):
        """Return the matrices, orthogonalised."""
        return orthogonalise_all(matrices, group, self.process_group)
