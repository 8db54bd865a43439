"""What optimizers share that average gradients and turn the average, as a matrix, into another one."""

import math
import warnings
from numbers import Real

import torch

from ..linalg import RECIPES, Recipe, check_orthogonaliser
from ..linalg.recipes import SINGULAR_VALUES
from ..linalg.scaling import at_least_float32
from ..linalg.shapes import DTYPES
from .blocks import STACKED, check_division, check_split, divide, is_sharded, shard_like, whole
from .sharding import check_alike
from .torch_names import from_plain, plain, take_torchs_names

# What lr is multiplied by for a matrix (m, n).
ADJUSTMENTS = {
    "original": lambda m, n: math.sqrt(max(1, m / n)),
    "match_rms_adamw": lambda m, n: 0.2 * math.sqrt(max(m, n)),
    "spectral": lambda m, n: math.sqrt(m / n),
}


# Of the parameters that a CPU steps at a time: the work on them stays in its cache, and needs no fresh memory.
CHUNK_BYTES = 2**21


class MomentumOptimizer(torch.optim.Optimizer):
    """Momentum, decoupled decay and a step along the directions that a subclass makes of the momenta.

    A subclass implements `directions`, and extends `check_options` and `state_dtype` by those of its own.
    """

    adjustments = ADJUSTMENTS
    # Whether the direction of a parameter depends on that one alone: a class with directions of its own says so anew.
    is_separable = False
    process_group = None  # of a copy too, which is not part of the group
    # Options that states and pickles of earlier versions don't have.
    later_options = {"maximize": False, "split": None, "transposed": False, "master_weights": False}

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        if {"directions", "look_ahead"} & vars(cls).keys():
            cls.is_separable = vars(cls).get("is_separable", False)

    def __init__(self, params, defaults):
        if not isinstance(params, torch.Tensor):
            params = list(params)
            if not params:
                raise ValueError(
                    f"{type(self).__name__} got no parameters: none of the model's goes to the matrix method. "
                    "print(route_parameters(model)) says why; send some there with overrides, or train it with AdamW."
                )
        super().__init__(params, defaults)

    def directions(self, params, gradients, matrices, group):
        """Return the matrices (m, n) to step along, in any floating-point type; no argument may be modified.

        Parameters
        ----------
        params, gradients : list of Tensor
            Of one device and type; the gradients may be sharded as the parameters are.
        matrices : list of Tensor (m, n)
            The averages of the gradients, one or more of each parameter (see `blocks.divide`), and maybe the
            optimizer's own memory.
        group : dict
            The options.

        Returns
        -------
        list of Tensor
        """
        raise NotImplementedError

    def look_ahead(self, params, gradients, momenta, group):
        """Return the averages to make directions of: the momenta, or Nesterov's."""
        return torch._foreach_lerp(gradients, momenta, group["momentum"]) if group["nesterov"] else momenta

    def add_param_group(self, param_group):
        """Add a dict of parameters and options, as `torch.optim.Optimizer.add_param_group` does."""
        take_torchs_names(param_group, has_eps="eps" in self.defaults)
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
            lists = [], [], [], []
            mixed = self._init_group(group, *lists)
            ready.append((group, mixed, lists))
        processes = self._processes()
        if processes is not None:
            check_alike(self._describe_step(), processes, self.param_groups[0]["params"][0].device)
        for group, mixed, (params, gradients, momenta, remainders) in ready:
            if params:
                if mixed:
                    gradients = [gradient.to(M.dtype) for gradient, M in zip(gradients, momenta, strict=True)]
                if group["maximize"]:
                    gradients = torch._foreach_neg(gradients)
                alike = self._group_tensors_by_device_and_dtype([params, gradients, momenta, remainders])
                for tensors, _ in alike.values():
                    for chunk in self._chunks(tensors) if processes is None else [tensors]:
                        self._update(*chunk, group)
        return loss

    def _chunks(self, tensors):
        """Divide lists of tensors into those to step at a time: on a CPU of one shape, and few."""
        if not self.is_separable or tensors[0][0].device.type != "cpu":
            return [tensors]
        by_shape, chunks = {}, []
        for each in zip(*tensors, strict=True):
            by_shape.setdefault(each[0].shape, []).append(each)
        for alike in by_shape.values():
            size = max(1, CHUNK_BYTES // (alike[0][0].element_size() * alike[0][0].numel()))
            chunks += [list(zip(*alike[i : i + size], strict=True)) for i in range(0, len(alike), size)]
        return [[list(column) for column in chunk] for chunk in chunks]

    # The name that torch.compile knows: it runs this method instead of tracing it.
    def _init_group(self, group, params, gradients, momenta, remainders):
        """Append the parameters that have gradients, these, their momenta, and what rounding took from them or None.

        Returns whether a gradient is of another type than its momentum, as torch.Tensor.grad_dtype allows.
        """
        is_mixed, is_wide = False, group["master_weights"]
        for p in group["params"]:
            gradient = p.grad
            if gradient is None or p.numel() == 0:
                continue
            if gradient.layout != torch.strided:
                raise ValueError(
                    f"{type(self).__name__} takes dense gradients, got {gradient.layout} for a parameter of shape "
                    f"{tuple(p.shape)}; use nn.Embedding(..., sparse=False), or give the parameter to "
                    "torch.optim.SparseAdam."
                )
            state, dtype = self.state[p], p.dtype
            remainder = None
            if is_wide and dtype != at_least_float32(dtype):
                dtype = at_least_float32(dtype)
                if "remainder" not in state:
                    state["remainder"] = torch.zeros_like(p, dtype=dtype)
                remainder = state["remainder"]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(p, dtype=dtype)
            is_mixed |= gradient.dtype != dtype
            params.append(p)
            gradients.append(gradient)
            momenta.append(state["momentum_buffer"])
            remainders.append(remainder)
        return is_mixed

    def _update(self, params, gradients, momenta, remainders, group):
        """Do one step on lists of tensors of one device and type."""
        if params[0].is_meta:  # no values: the state is all that a step makes
            return
        lr, mu, weight_decay = group["lr"], group["momentum"], group["weight_decay"]
        if isinstance(lr, torch.Tensor):
            lr = lr.squeeze()
        torch._foreach_lerp_(momenta, gradients, 1 - mu)
        updates = self.look_ahead(params, gradients, momenta, group)
        matrices = [piece.flatten(1) for piece in divide([whole(update) for update in updates], group)]
        directions = self.directions(params, gradients, matrices, group)

        weights = params
        if remainders[0] is not None:
            weights = [p + remainder for p, remainder in zip(params, remainders, strict=True)]
        if weight_decay:
            _add_scaled(weights, weights, -lr * weight_decay)
        # Of sharded ones the step is made whole, then sharded.
        targets = [torch.zeros(W.shape, dtype=W.dtype, device=W.device) if is_sharded(W) else W for W in weights]
        by_factor = {}
        for piece, direction in zip(divide(targets, group), directions, strict=True):
            subset = by_factor.setdefault(self.adjustments[group["adjust_lr"]](*direction.shape), ([], []))
            subset[0].append(piece)
            # Sums of one type and layout are faster, on a CPU and on a GPU.
            subset[1].append(direction.to(piece.dtype, memory_format=torch.contiguous_format).view(piece.shape))
        for factor, (subset, steps) in by_factor.items():
            _add_scaled(subset, steps, -lr * factor)
        for weight, target in zip(weights, targets, strict=True):
            if target is not weight:
                weight.add_(shard_like(target, weight))
        if remainders[0] is not None:
            for p, weight, remainder in zip(params, weights, remainders, strict=True):
                p.copy_(weight)
                remainder.copy_(weight - p)

    def _processes(self):
        """Return the processes that step together, or None."""
        if self.process_group is not None:
            return self.process_group
        for group in self.param_groups:
            for p in group["params"]:
                if is_sharded(p) and p.device_mesh.ndim == 1:
                    return p.device_mesh.get_group()
        return None

    def _describe_step(self):
        """Yield a parameter's name, and what must be the same of it in all processes."""
        for index, group in enumerate(self.param_groups):
            done = f" after {group['steps_done']} steps" if "steps_done" in group else ""
            for p, which in zip(group["params"], describe_parameters(group, index), strict=True):
                gradient = "without gradient" if p.grad is None else "with gradient"
                yield which, f"{tuple(p.shape)} {p.dtype} {gradient}{done}"

    def state_dict(self):
        """Return the state as plain data; a `Recipe` as a dict."""

        def make_plain(_, state):
            for group in state["param_groups"]:
                self.make_plain(group)

        # Before the hooks of others, which may return anything.
        handle = self.register_state_dict_post_hook(make_plain, prepend=True)
        try:
            return super().state_dict()
        finally:
            handle.remove()

    def make_plain(self, group):
        """Replace options that can't be saved in a group of a state dict."""
        group["orthogonaliser"] = plain(group["orthogonaliser"])

    def load_state_dict(self, state_dict):
        """Load a state of `state_dict`, or of torch.optim.Muon.

        What is kept in float32 whatever the type of the parameter stays so; options that the state doesn't have are
        those of this optimizer.

        Raises
        ------
        ValueError
            As in `torch.optim.Optimizer.load_state_dict`; or if what isn't saved is missing here: a function for
            `exponent`, or the activations for a criterion.
        """
        found, own = {}, self.param_groups

        def look(_, state):
            self.check_state(state)
            found.update(state)

        # What the hooks of others make of the dict is what counts; their last ones see the finished optimizer.
        handles = [
            self.register_load_state_dict_pre_hook(look),
            self.register_load_state_dict_post_hook(lambda _: self.restore(found, own), prepend=True),
        ]
        try:
            super().load_state_dict(state_dict)
        finally:
            for handle in handles:
                handle.remove()

    def check_state(self, state_dict):
        """Raise ValueError unless a state suits this optimizer; nothing was changed yet."""

    def restore(self, state_dict, own_groups):
        """Copy the state anew, which torch shares with the dict or casts; `own_groups` are those before the load."""
        indices = [index for group in state_dict["param_groups"] for index in group["params"]]
        params = [(p, group) for group in self.param_groups for p in group["params"]]
        for (p, group), index in zip(params, indices, strict=True):
            for name, value in state_dict["state"].get(index, {}).items():
                if isinstance(value, torch.Tensor):
                    self.state[p][name] = value.to(p.device, self.state_dtype(name, p, group), copy=True)
                elif value == {}:  # what torch.distributed.checkpoint makes of a name that it didn't find
                    del self.state[p][name]

    def state_dtype(self, name, p, group):
        """Return the type of an entry of a parameter's state."""
        return at_least_float32(p.dtype) if group["master_weights"] else p.dtype

    def __setstate__(self, state):
        super().__setstate__(state)
        for group in self.param_groups:
            take_torchs_names(group, has_eps="eps" in self.defaults)
            for name, value in {**self.later_options, **self.defaults}.items():
                group.setdefault(name, value)
            group["orthogonaliser"] = from_plain(group["orthogonaliser"])

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
        for name in ("nesterov", "maximize", "transposed", "master_weights"):
            if not isinstance(options[name], bool):
                raise TypeError(f"{name} must be True or False, got {options[name]!r}.")
        options["split"] = check_split(options["split"])
        check_choice("adjust_lr", options["adjust_lr"], self.adjustments, "'original' is Muon's")
        if isinstance(options["orthogonaliser"], Recipe):
            _warn_of_ascent(options["orthogonaliser"], options["steps"])
        else:
            check_orthogonaliser(options["orthogonaliser"], options["steps"])
        if options["steps"] is not None:
            options["steps"] = int(options["steps"])  # states hold plain numbers
        if options["dtype"] not in (None, *DTYPES):
            allowed = ", ".join(map(str, DTYPES))
            raise ValueError(
                f"dtype must be one of {allowed}, or None for that of the parameter, got {options['dtype']!r}; "
                "torch.bfloat16 is the default."
            )

    def check_capturable(self):
        """Raise ValueError unless steps can be recorded by `CapturedStep`."""
        if self._processes() is not None:
            raise ValueError("process_group must be None for a recorded step: what processes exchange isn't recorded.")
        for group in self.param_groups:
            if not isinstance(group["orthogonaliser"], Recipe) and group["orthogonaliser"] not in RECIPES:
                raise ValueError(
                    f"orthogonaliser={group['orthogonaliser']!r} waits for the device, so that its step can't be "
                    "recorded; use a recipe of orthobench.linalg.RECIPES, such as 'turbo_muon'."
                )

    def _check_parameters(self, group, group_index):
        takes = type(self).__name__ + " takes"
        narrow = []
        for p, which in zip(group["params"], describe_parameters(group, group_index), strict=True):
            if p.ndim < 2:
                raise ValueError(
                    f"{which} has shape {tuple(p.shape)}; {takes} 2 or more dimensions: route scalars and vectors "
                    "to AdamW (see orthobench.optim.route_parameters)."
                )
            if p.ndim > 2 and 0 < p.numel() == max(p.shape) and group["split"] != STACKED:
                warnings.warn(
                    f"{which} has shape {tuple(p.shape)}, a vector's: gains of that shape, as of LayerScale, are "
                    "better routed to AdamW (see orthobench.optim.route_parameters).",
                    stacklevel=6,
                )
            allowed = DTYPES if group["dtype"] is None else (*DTYPES, torch.float16)
            if p.dtype not in allowed:
                raise ValueError(
                    f"{which} has dtype {p.dtype}; with dtype={group['dtype']} {takes} "
                    f"{', '.join(map(str, allowed))}: convert the parameter, or route it to another optimizer."
                )
            check_division(p.shape, group["split"], group["transposed"], which)
            if p.dtype != at_least_float32(p.dtype):
                narrow.append(which)
        if narrow and not group["master_weights"]:
            warnings.warn(
                f"{narrow[0]} is narrower than float32 ({len(narrow)} of the group are): steps and decay of less than "
                "half of its spacing, 0.2 % of an entry in bfloat16, are lost to rounding, so that it may stand still; "
                "pass master_weights=True.",
                stacklevel=6,
            )


def _warn_of_ascent(recipe, steps):
    if not recipe.scalar_minimum(steps) > 0:
        warnings.warn(
            f"the polynomials of {recipe.name!r} aren't positive on {SINGULAR_VALUES}: they turn singular directions "
            "around, along which steps go uphill; use others, such as those of 'turbo_muon'.",
            stacklevel=7,
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
