"""What optimizers share that average gradients and turn the average, as a matrix, into another one."""

import math
from numbers import Real

import torch

from ..linalg import RECIPES, check_orthogonaliser
from ..linalg.shapes import DTYPES

# What lr is multiplied by for a matrix (m, n).
ADJUSTMENTS = {
    "original": lambda m, n: math.sqrt(max(1, m / n)),
    "match_rms_adamw": lambda m, n: 0.2 * math.sqrt(max(m, n)),
    "spectral": lambda m, n: math.sqrt(m / n),
}


class MomentumOptimizer(torch.optim.Optimizer):
    """Momentum, decoupled decay and a step along the directions that a subclass makes of the momenta.

    A subclass implements `directions`, and extends `check_options` by those of its own.
    """

    adjustments = ADJUSTMENTS

    def directions(self, params, gradients, updates, group):
        """Return the matrices (m, n) to step along, in any floating-point type; no argument may be modified.

        Parameters
        ----------
        params, gradients, updates : list of Tensor
            Of one device and type. The updates are averages of the gradients, and may be the optimizer's own.
        group : dict
            The options.

        Returns
        -------
        list of Tensor
        """
        raise NotImplementedError

    def add_param_group(self, param_group):
        """Add a dict of parameters and options, as `torch.optim.Optimizer.add_param_group` does."""
        super().add_param_group(param_group)
        try:
            self.check_options(param_group)
            self._check_parameters(param_group, len(self.param_groups) - 1)
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
        ready = []
        # All groups are looked at before one is changed: who raises has not done half a step.
        for group in self.param_groups:
            params, gradients, momenta = [], [], []
            self._init_group(group, params, gradients, momenta)
            ready.append((group, params, gradients, momenta))
        for group, params, gradients, momenta in ready:
            if params:
                alike = self._group_tensors_by_device_and_dtype([params, gradients, momenta])
                for tensors, _ in alike.values():
                    self._update(*tensors, group)
        return loss

    # The name that torch.compile knows: it runs this method instead of tracing it.
    def _init_group(self, group, params, gradients, momenta):
        """Append the parameters that have gradients, these, and their momenta to the lists."""
        for p in group["params"]:
            if p.grad is None or p.numel() == 0:
                continue
            if p.grad.layout != torch.strided:
                raise ValueError(
                    f"{type(self).__name__} takes dense gradients, got {p.grad.layout} for a parameter of shape "
                    f"{tuple(p.shape)}; use nn.Embedding(..., sparse=False), or give the parameter to "
                    "torch.optim.SparseAdam."
                )
            state = self.state[p]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(p)
            params.append(p)
            gradients.append(p.grad)
            momenta.append(state["momentum_buffer"])

    def _update(self, params, gradients, momenta, group):
        """Do one step on lists of tensors of one device and type."""
        lr, mu, weight_decay = group["lr"], group["momentum"], group["weight_decay"]
        if isinstance(lr, torch.Tensor):
            lr = lr.squeeze()
        torch._foreach_lerp_(momenta, gradients, 1 - mu)
        updates = torch._foreach_lerp(gradients, momenta, mu) if group["nesterov"] else momenta
        directions = self.directions(params, gradients, updates, group)

        if weight_decay:
            _add_scaled(params, params, -lr * weight_decay)
        by_factor = {}
        for p, direction in zip(params, directions, strict=True):
            subset = by_factor.setdefault(self.adjustments[group["adjust_lr"]](*direction.shape), ([], []))
            subset[0].append(p)
            # Sums of one type and layout are faster, on a CPU and on a GPU.
            subset[1].append(direction.to(p.dtype, memory_format=torch.contiguous_format).view(p.shape))
        for factor, (subset, steps) in by_factor.items():
            _add_scaled(subset, steps, -lr * factor)

    def check_options(self, options):
        """Raise TypeError or ValueError unless the options are in their ranges."""
        lr = options["lr"]
        if isinstance(lr, torch.Tensor):
            if lr.numel() != 1:
                raise ValueError(f"lr must be a number or a tensor of one element, got shape {tuple(lr.shape)}.")
            lr = lr.item()
        check_range("lr", lr, math.inf, "0.02 is the default")
        check_range("momentum", options["momentum"], 1, "0.95 is the default")
        check_range("weight_decay", options["weight_decay"], math.inf, "0 is none")
        if not isinstance(options["nesterov"], bool):
            raise TypeError(f"nesterov must be True or False, got {options['nesterov']!r}.")
        check_choice("adjust_lr", options["adjust_lr"], self.adjustments, "'original' is Muon's")
        check_orthogonaliser(options["orthogonaliser"], options["steps"])
        if options["dtype"] not in (None, *DTYPES):
            allowed = ", ".join(map(str, DTYPES))
            raise ValueError(
                f"dtype must be one of {allowed}, or None for that of the parameter, got {options['dtype']!r}; "
                "torch.bfloat16 is the default."
            )

    def check_capturable(self):
        """Raise ValueError unless steps can be recorded by `CapturedStep`."""
        if getattr(self, "process_group", None) is not None:
            raise ValueError("process_group must be None for a recorded step: what processes exchange isn't recorded.")
        for group in self.param_groups:
            if group["orthogonaliser"] not in RECIPES:
                raise ValueError(
                    f"orthogonaliser={group['orthogonaliser']!r} waits for the device, so that its step can't be "
                    "recorded; use a recipe of orthobench.linalg.RECIPES, such as 'turbo_muon'."
                )

    def _check_parameters(self, group, group_index):
        takes = type(self).__name__ + " takes"
        for p, which in zip(group["params"], describe_parameters(group, group_index), strict=True):
            if p.ndim < 2:
                raise ValueError(
                    f"{which} has shape {tuple(p.shape)}; {takes} 2 or more dimensions: route scalars and vectors "
                    "to AdamW (see orthobench.optim.route_parameters)."
                )
            allowed = DTYPES if group["dtype"] is None else (*DTYPES, torch.float16)
            if p.dtype not in allowed:
                raise ValueError(
                    f"{which} has dtype {p.dtype}; with dtype={group['dtype']} {takes} "
                    f"{', '.join(map(str, allowed))}: convert the parameter, or route it to another optimizer."
                )


def _add_scaled(params, others, scale):
    """Add `scale` times the others to the parameters.

    The product is rounded to the type of the parameters at worst; a factor such as 1 - lr weight_decay would be lost
    in bfloat16, which has no number between 0.996 and 1.
    """
    if isinstance(scale, torch.Tensor):  # as alpha, its value would have to be fetched from the device
        torch._foreach_add_(params, torch._foreach_mul(others, scale))
    else:
        torch._foreach_add_(params, others, alpha=scale)


def check_range(name, value, upper, remedy):
    """Raise TypeError or ValueError unless a value is a number in [0, upper)."""
    allowed = "a finite number >= 0" if upper == math.inf else f"a number in [0, {upper})"
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name} must be {allowed}, got {value!r} ({type(value).__name__}); {remedy}.")
    if not 0 <= value < upper:
        raise ValueError(f"{name} must be {allowed}, got {value!r}; {remedy}.")


def check_choice(name, value, choices, remedy):
    """Raise ValueError unless a value is one of the choices."""
    if value not in tuple(choices):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}; {remedy}.")


def describe_parameters(group, group_index):
    """Return what to call the parameters of a group in a message."""
    names = group.get("param_names") or [None] * len(group["params"])
    return [
        f"parameter {index} of group {group_index}" + (f", {name!r}," if name else "")
        for index, name in enumerate(names)
    ]
