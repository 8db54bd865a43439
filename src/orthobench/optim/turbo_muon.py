"""Muon with any orthogonaliser, for matrices and convolution kernels, many of them at a time."""

import math
from numbers import Real

import torch

from ..linalg import check_orthogonaliser, orthogonalise
from ..linalg.shapes import DTYPES

# What lr is multiplied by for a matrix (m, n).
ADJUSTMENTS = {
    "original": lambda m, n: math.sqrt(max(1, m / n)),
    "match_rms_adamw": lambda m, n: 0.2 * math.sqrt(max(m, n)),
    "spectral": lambda m, n: math.sqrt(m / n),
}


class TurboMuon(torch.optim.Optimizer):
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
        Newton-Schulz steps; as many as were published by default.
    dtype : torch.dtype or None
        In which the update is orthogonalised: bfloat16, float32, float64, or None for that of the parameter. All else
        is done in the type of the parameter, that of the momentum too.

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
    ):
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

    def add_param_group(self, param_group):
        """Add a dict of parameters and options, as `torch.optim.Optimizer.add_param_group` does."""
        super().add_param_group(param_group)
        try:
            _check_options(param_group)
            _check_parameters(param_group, len(self.param_groups) - 1)
        except (TypeError, ValueError):
            self.param_groups.pop()
            raise

    @torch.no_grad()
    def step(self, closure=None):
        """Do one step.

        Parameters
        ----------
        closure : callable, optional
            Computes the gradients and returns the loss.

        Returns
        -------
        object
            What `closure` returned, or None.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params, gradients, momenta = [], [], []
            self._init_group(group, params, gradients, momenta)
            if params:
                alike = self._group_tensors_by_device_and_dtype([params, gradients, momenta])
                for tensors, _ in alike.values():
                    _update(*tensors, group)
        return loss

    # The name that torch.compile knows: it runs this method instead of tracing it.
    def _init_group(self, group, params, gradients, momenta):
        """Append the parameters that have gradients, these, and their momenta to the lists."""
        for p in group["params"]:
            if p.grad is None or p.numel() == 0:
                continue
            if p.grad.layout != torch.strided:
                raise ValueError(
                    f"TurboMuon takes dense gradients, got {p.grad.layout} for a parameter of shape {tuple(p.shape)}; "
                    "use nn.Embedding(..., sparse=False), or give the parameter to torch.optim.SparseAdam."
                )
            state = self.state[p]
            if not state:
                state["momentum_buffer"] = torch.zeros_like(p)
            params.append(p)
            gradients.append(p.grad)
            momenta.append(state["momentum_buffer"])


def _update(params, gradients, momenta, group):
    """Do one step on lists of tensors of one device and type."""
    lr, mu, weight_decay = group["lr"], group["momentum"], group["weight_decay"]
    if isinstance(lr, torch.Tensor):
        lr = lr.squeeze()
    torch._foreach_lerp_(momenta, gradients, 1 - mu)
    updates = torch._foreach_lerp(gradients, momenta, mu) if group["nesterov"] else momenta
    matrices = [update.flatten(1).to(group["dtype"] or update.dtype) for update in updates]
    directions = orthogonalise(matrices, group["orthogonaliser"], group["steps"])

    if weight_decay:
        _add_scaled(params, params, -lr * weight_decay)
    by_factor = {}
    for p, direction in zip(params, directions, strict=True):
        subset = by_factor.setdefault(ADJUSTMENTS[group["adjust_lr"]](*direction.shape), ([], []))
        subset[0].append(p)
        # Sums of one type and layout are faster, on a CPU and on a GPU.
        subset[1].append(direction.to(p.dtype, memory_format=torch.contiguous_format).view(p.shape))
    for factor, (subset, steps) in by_factor.items():
        _add_scaled(subset, steps, -lr * factor)


def _add_scaled(params, others, scale):
    """Add `scale` times the others to the parameters.

    The product is rounded to the type of the parameters at worst; a factor such as 1 - lr weight_decay would be lost
    in bfloat16, which has no number between 0.996 and 1.
    """
    if isinstance(scale, torch.Tensor):  # as alpha, its value would have to be fetched from the device
        torch._foreach_add_(params, torch._foreach_mul(others, scale))
    else:
        torch._foreach_add_(params, others, alpha=scale)


def _check_options(options):
    lr = options["lr"]
    if isinstance(lr, torch.Tensor):
        if lr.numel() != 1:
            raise ValueError(f"lr must be a number or a tensor of one element, got shape {tuple(lr.shape)}.")
        lr = lr.item()
    _check_range("lr", lr, math.inf, "0.02 is the default")
    _check_range("momentum", options["momentum"], 1, "0.95 is the default")
    _check_range("weight_decay", options["weight_decay"], math.inf, "0 is none")
    if not isinstance(options["nesterov"], bool):
        raise TypeError(f"nesterov must be True or False, got {options['nesterov']!r}.")
    if options["adjust_lr"] not in tuple(ADJUSTMENTS):
        raise ValueError(
            f"adjust_lr must be one of {', '.join(map(repr, ADJUSTMENTS))}, got {options['adjust_lr']!r}; "
            "'original' is Muon's."
        )
    check_orthogonaliser(options["orthogonaliser"], options["steps"])
    if options["dtype"] not in (None, *DTYPES):
        allowed = ", ".join(map(str, DTYPES))
        raise ValueError(
            f"dtype must be one of {allowed}, or None for that of the parameter, got {options['dtype']!r}; "
            "torch.bfloat16 is the default."
        )


def _check_range(name, value, upper, remedy):
    allowed = "a finite number >= 0" if upper == math.inf else f"a number in [0, {upper})"
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name} must be {allowed}, got {value!r} ({type(value).__name__}); {remedy}.")
    if not 0 <= value < upper:
        raise ValueError(f"{name} must be {allowed}, got {value!r}; {remedy}.")


def _check_parameters(group, group_index):
    names = group.get("param_names")
    for index, p in enumerate(group["params"]):
        which = f"parameter {index} of group {group_index}"
        if names:
            which += f", {names[index]!r},"
        if p.ndim < 2:
            raise ValueError(
                f"{which} has shape {tuple(p.shape)}; TurboMuon takes 2 or more dimensions: route scalars and vectors "
                "to AdamW (see orthobench.optim.route_parameters)."
            )
        allowed = DTYPES if group["dtype"] is None else (*DTYPES, torch.float16)
        if p.dtype not in allowed:
            raise ValueError(
                f"{which} has dtype {p.dtype}; with dtype={group['dtype']} TurboMuon takes "
                f"{', '.join(map(str, allowed))}: convert the parameter, or route it to another optimizer."
            )
