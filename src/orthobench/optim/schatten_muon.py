"""The optimizers between SGD and Muon: steps along U S^e V^T, with an exponent that is given, scheduled or chosen."""

from types import MappingProxyType

import torch
import torch.distributed

from ..linalg.scaling import at_least_float32
from .activations import ActivationMoments
from .blocks import count_matrices, divide, whole
from .exponent_choice import STATISTICS, add_statistics, choose, statistics
from .momentum import ADJUSTMENTS, MomentumOptimizer, describe_parameters
from .powers import pin, precondition, raise_to_powers, two_directions
from .schatten_options import check_recordable, check_schatten_options, check_suits

# The first gradients and inputs of a run say little about the others.
FIRST_REFRESH = 10


class SchattenMuon(MomentumOptimizer):
    r"""Momentum whose singular values are raised to a power e: SGD for e = 1, Muon for e = 0, and what is between.

    For each parameter W with gradient G, seen as a matrix (m, n) as in `TurboMuon`::

        M <- mu M + (1 - mu) G
        U  = mu M + (1 - mu) G        if nesterov, else M
        W <- (1 - lr weight_decay) W
        W <- W - lr f(m, n) N(P S^e Q^T),   U = P S Q^T

    With e in [0, 1] it is steepest descent in the Schatten norm of order 1 + 1/e. N stands for the norm that the step
    is given. For e = 0 the factor is the orthogonaliser's, and this is `TurboMuon` to the last bit.

    Parameters
    ----------
    params, lr, momentum, nesterov, weight_decay
        See `TurboMuon`. A dict of parameters may override any option but `activations`.
    exponent : float, callable or str
        - a number e from -1/2 to 1;
        - a function of the number of steps done that returns one, such as `dynmuon_schedule`;
        - the name of a criterion, by which an exponent is chosen for each parameter, again and again: "bound",
          "momentum" or "tightness" (see `bound_exponent`, `momentum_exponent`, `tightness_exponent`), or
          "two_directions", which mixes U and its polar factor instead (see `two_direction_step`).
    activations : ActivationMoments, optional
        Of the parameters with a criterion, which need it. It serves one optimizer.
    refresh_every : int
        Exponents are chosen anew in each such step; and in the tenth, if that comes first.
    adjust_lr : {"original", "match_rms_adamw", "spectral", "none"}
        f: see `TurboMuon`; "none" is 1.
    norm : {"muon", "frobenius", "spectral", "none"}
        - "muon": singular values are divided by their root mean square before they are raised to the power, so that
          the step is Muon's for e = 0 and of norm sqrt(min(m, n)) for e = 1, whatever the scale of the gradients;
        - "frobenius": ||.||_F is sqrt(min(m, n)), with a `kappa` sqrt(min(m, n)) (kappa sqrt(max(m, n)))^e, and f
          after it;
        - "spectral": the largest singular value is 1;
        - "none": nothing is scaled.
    kappa : float, optional
        For "frobenius" alone, with adjust_lr="none", which would else scale tall matrices once more, and not with
        "two_directions", which has no e. (lr' / lr) sqrt((1 - beta1) / (1 + beta1)) brings the steps for e = 1 to the
        size of those of Adam at the rate lr' (the "kappa pin").
    preconditioner : {None, "padam", "adam"}
        With v the average of G^2, bias-corrected as U then is, D = (v + eps)^(-a) multiplies U entry by entry before
        its singular values are taken, and the result after. "padam": a = e / (2 (1 + e)), which is Adam for e = 1 and
        nothing for e = 0; e >= 0. "adam": a = 1/4, which is MuAdam for e = 0. With the norm "muon" the second
        multiplication leaves ||.||_F as it is.
    beta2, eps : float
        Of the preconditioner. eps is inside the root: the square of Adam's.
    orthogonaliser, steps, dtype
        See `TurboMuon`; for e = 0 and for "two_directions".
    process_group
        See `TurboMuon`; other powers are shared too. What a criterion chooses is the choice of the first process.
    maximize, split, transposed, master_weights
        See `TurboMuon`; a criterion takes parameters of one matrix only.
    bias_correction : bool
        Whether the momentum is divided by 1 - mu^t in the t-th step, before it is mixed with the gradient for
        `nesterov`; this changes the first steps alone. A preconditioner corrects the mixture instead where it is False.
    smooth_curvatures : bool
        For "tightness": whether the q_i^T C q_i are averaged by `smoothing` too, by their place i. For
        ``ActivationMoments(..., smoothing=0)``, which then gives the C of a single step.
    method : {"eigh", "svd", "products"}
        How other powers are computed, in float32 at least: see `schatten_power`, and Notes for the cost. With
        "products" e is one of 0, 1/8, 1/4, 1/2, 1, and a criterion chooses among these.
    exponent_range : (float, float)
        The range from which a criterion chooses: within [0, 1], or [-1/2, 1] for "tightness".
    initial_exponent : float
        Until something is chosen, and as long as there are no statistics of the inputs of a parameter's layers. For
        "two_directions" the share of U.
    smoothing : float
        In [0, 1): of what a criterion takes from the gradient of a single step, averaged over the refreshes, the first
        one being taken as it is. For "momentum" and "tightness" that is the p_i^T G q_i, for "two_directions" the
        <G, D_i>. Not smoothed here are the singular values, which are those of the momentum, and the curvatures
        q_i^T C q_i, for `ActivationMoments` smooths C; "bound" needs no more than these.

    Attributes
    ----------
    activations : ActivationMoments or None
    PUBLISHED : mapping
        The options with which this is the algorithm of "From SGD to Muon", for
        ``activations=ActivationMoments(model, parameters, smoothing=0)``; options may be overridden, as `lr`. Against
        the defaults: the momentum is bias-corrected before Nesterov's step; a step has the Frobenius norm
        sqrt(min(m, n)) for every e, tall matrices included; exponents are chosen by "tightness", from averages of the
        alignment and of the curvatures, up to 1 / 1.02. Two things are ours: powers are those of `method`, where their
        code has a Taylor series, and the directions that are compared are those of the step, where their code corrects
        the bias of the momentum before it takes the gradient in.

    Raises
    ------
    TypeError, ValueError
        If an option is out of its range or doesn't go with another, or a parameter isn't one that `TurboMuon` takes
        or, with a criterion, isn't among those of `activations`; in `add_param_group` too, which then leaves the
        optimizer as it was.

    Notes
    -----
    With e = 1, norm="none" and adjust_lr="none" this is torch.optim.SGD with the rate (1 - mu) lr: M is an average
    here, a sum there.

    "bound" takes U for the gradient; the others compare the directions of U by the gradient of the step. No criterion
    sees the preconditioner or the decay. An exponent is kept where the gradient or U isn't finite, where no
    exponent predicts a finite decrease > 0, and where the best mix of two directions points against U.

    Costs, for a matrix with m <= n, in products of 2 m^2 n operations (in brackets: of 2 m^3):

    =================  ==============================================================================================
    e = 0              those of the orthogonaliser: 8 (4) for "turbo_muon", in `dtype`; "two_directions" too
    e = 1              none
    method="eigh"      3, and an eigendecomposition of order m, in float64
    method="svd"       1, and a singular value decomposition, in float32
    method="products"  20 (10), in full float32
    choosing e         3, and an eigendecomposition of order m; for "tightness" n / m more, for "bound" and "momentum"
                       the eigenvalues of C, of order n; in float64
    two_directions     choosing: 2 n / m in float64, and those of the orthogonaliser
    norm="spectral"    1 more, and the eigenvalues of a matrix of order m, in float64
    =================  ==============================================================================================

    Powers of equal shapes are taken as one batch where the exponents are equal: always with a number or a schedule,
    often with "products". Batches of products suit a GPU, and factorisations of one matrix after the other don't; on a
    CPU the three methods take times of the same order.

    The state dict holds all statistics and exponents, but neither a function of the step nor the hooks. Load it into an
    optimizer that was made with the same `exponent`, and with `activations` for its own model: these get the averages,
    and training goes on to the last bit. A deep copy has hooks if the model is copied along, as a tuple with it.

    References
    ----------
    "From SGD to Muon", arXiv:2605.19781: the family, the criteria, the preconditioners and the kappa pin. Wu et al.
    (2026), DynMuon, arXiv:2605.17109: negative exponents.

    Examples
    --------
    >>> from orthobench.models import digits_convnet
    >>> from orthobench.optim import ActivationMoments, SchattenMuon, route_parameters
    >>> model = digits_convnet(0)
    >>> matrices = route_parameters(model).matrix
    >>> activations = ActivationMoments(model, matrices)
    >>> optimizer = SchattenMuon(matrices, exponent="tightness", activations=activations)

    As published:

    >>> activations = ActivationMoments(model, matrices, smoothing=0)
    >>> optimizer = SchattenMuon(matrices, activations=activations, **SchattenMuon.PUBLISHED | {"lr": 0.05})
    """

    adjustments = ADJUSTMENTS | {"none": lambda m, n: 1.0}
    # "From SGD to Muon" as its code has it; its p = 1 / e is from 1.02 to 50, and as good as 50 runs as Muon.
    PUBLISHED = MappingProxyType(
        {
            "lr": 0.02,
            "momentum": 0.95,
            "nesterov": True,
            "bias_correction": True,
            "exponent": "tightness",
            "exponent_range": (0.0, 1 / 1.02),
            "initial_exponent": 0.0,
            "refresh_every": 100,
            "smoothing": 0.95,
            "smooth_curvatures": True,
            "norm": "frobenius",
            "adjust_lr": "none",
            "orthogonaliser": "polar_express",
        }
    )
    later_options = MomentumOptimizer.later_options | {"bias_correction": False, "smooth_curvatures": False}

    def __init__(
        self,
        params,
        lr=0.02,
        momentum=0.95,
        nesterov=True,
        weight_decay=0.0,
        exponent=0.0,
        activations=None,
        refresh_every=100,
        adjust_lr="original",
        norm="muon",
        kappa=None,
        preconditioner=None,
        beta2=0.999,
        eps=1e-16,
        orthogonaliser="turbo_muon",
        steps=None,
        dtype=torch.bfloat16,
        method="eigh",
        exponent_range=(0.0, 1.0),
        initial_exponent=0.0,
        smoothing=0.9,
        process_group=None,
        maximize=False,
        split=None,
        transposed=False,
        master_weights=False,
        bias_correction=False,
        smooth_curvatures=False,
    ):
        if activations is not None and not isinstance(activations, ActivationMoments):
            raise TypeError(
                f"activations must be an ActivationMoments, got {type(activations).__name__}; make one with "
                "ActivationMoments(model, parameters)."
            )
        self.activations, self.process_group = activations, process_group
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "nesterov": nesterov,
            "weight_decay": weight_decay,
            "exponent": exponent,
            "refresh_every": refresh_every,
            "adjust_lr": adjust_lr,
            "norm": norm,
            "kappa": kappa,
            "preconditioner": preconditioner,
            "beta2": beta2,
            "eps": eps,
            "orthogonaliser": orthogonaliser,
            "steps": steps,
            "dtype": dtype,
            "method": method,
            "exponent_range": exponent_range,
            "initial_exponent": initial_exponent,
            "smoothing": smoothing,
            "maximize": maximize,
            "split": split,
            "transposed": transposed,
            "master_weights": master_weights,
            "bias_correction": bias_correction,
            "smooth_curvatures": smooth_curvatures,
            "steps_done": 0,
        }
        super().__init__(params, defaults)

    def exponents(self):
        """Return the exponent of each parameter in the last step: for logs.

        Returns
        -------
        dict of str or int to float
            By name, where the parameters were given with names, else by their place among all. For "two_directions"
            the share of U in the mix, from -1 to 1: 1 is SGD, 0 is Muon, as for exponents.
        """
        found = {}
        for group in self.param_groups:
            names = group.get("param_names") or range(len(found), len(found) + len(group["params"]))
            last = max(group["steps_done"] - 1, 0)
            found.update(zip(names, self._exponents(group["params"], group, last), strict=True))
        return found

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
        if self.activations is not None and self.activations.collecting:
            self._update_moments()
        super().step()
        for group in self.param_groups:
            group["steps_done"] += 1
        self._ask_for_activations()
        return loss

    def look_ahead(self, params, gradients, momenta, group):
        """Return the averages to make directions of: the momenta, or Nesterov's; of bias-corrected momenta if asked."""
        if group["bias_correction"]:
            momenta = self._corrected(momenta, params, group)
            gradients = [gradient.to(M.dtype) for gradient, M in zip(gradients, momenta, strict=True)]
        return super().look_ahead(params, gradients, momenta, group)

    def directions(self, params, gradients, matrices, group):
        """Return the matrices with their singular values raised to powers, and of the norm asked for."""
        if _is_due(group):
            self._choose(params, gradients, matrices, group)
        owners = params if group["split"] is None else [p for p in params for _ in range(count_matrices(p, group))]
        exponents = self._exponents(owners, group, group["steps_done"])
        factors = self._preconditioners(params, gradients, group)
        if factors is not None:
            if not group["bias_correction"]:
                matrices = self._corrected(matrices, owners, group, int(group["nesterov"]))
            matrices = [factor * matrix for factor, matrix in zip(factors, matrices, strict=True)]
        for p in params if "updates" in statistics(group) else ():
            self.state[p]["updates"] += 1
        if group["exponent"] == "two_directions":
            directions = self._mixes(params, matrices, group)
        else:
            directions = raise_to_powers(matrices, exponents, group, self.process_group)
        if factors is not None:
            directions = precondition(factors, directions, group["norm"])
        return pin(directions, exponents, group)

    def _init_group(self, group, params, gradients, momenta, remainders):
        """Make all of the state too: torch.distributed.checkpoint drops what a fresh optimizer doesn't have."""
        is_mixed = super()._init_group(group, params, gradients, momenta, remainders)
        names = statistics(group)
        for p in params if names else ():
            if not names <= self.state[p].keys():
                add_statistics(self.state[p], p, group)
        return is_mixed

    def check_options(self, options):
        """Raise TypeError or ValueError unless the options are in their ranges, and go together."""
        super().check_options(options)
        check_schatten_options(options)
        self._check_activations(options, len(self.param_groups) - 1, options["exponent"])

    def check_capturable(self):
        """Raise ValueError unless steps can be recorded by `CapturedStep`."""
        super().check_capturable()
        for group in self.param_groups:
            check_recordable(group)

    def add_param_group(self, param_group):
        """Add a dict of parameters and options, as `torch.optim.Optimizer.add_param_group` does."""
        if self.param_groups:  # a schedule goes on where the others are
            param_group = {"steps_done": self.param_groups[0]["steps_done"], **param_group}
        super().add_param_group(param_group)
        self._ask_for_activations()

    def make_plain(self, group):
        """Replace options that can't be saved in a group of a state dict: see Notes of the class."""
        super().make_plain(group)
        if callable(group["exponent"]):
            group["exponent"] = None

    def check_state(self, state_dict):
        """Raise ValueError if a callable exponent that isn't saved is missing here too, or activations are."""
        for index, (group, saved) in enumerate(zip(self.param_groups, state_dict["param_groups"], strict=False)):
            exponent = saved.get("exponent", group["exponent"])
            if exponent is None and not callable(group["exponent"]):
                raise ValueError(
                    f"the exponent of group {index} was a function, which isn't saved: make the optimizer with it."
                )
            self._check_activations(group, index, exponent)

    def restore(self, state_dict, own_groups):
        """Copy the state anew, hand C over, and take callables back."""
        super().restore(state_dict, own_groups)
        for group, own in zip(self.param_groups, own_groups, strict=True):
            if group["exponent"] is None:
                group["exponent"] = own["exponent"]
            for p in group["params"]:
                if isinstance(self.state.get(p, {}).get("weights"), list):  # as they were in earlier versions
                    self.state[p]["weights"] = torch.tensor(
                        self.state[p]["weights"], dtype=torch.float64, device=p.device
                    )
            for p in group["params"] if self.activations is not None else []:
                self.activations.moments.pop(p, None)
                moment = self.state.get(p, {}).get("input_moment")
                if moment is not None and moment.any():  # zero is none
                    self.activations.moments[p] = moment
        self._ask_for_activations()

    def state_dtype(self, name, p, group):
        """Return the type of an entry of a parameter's state."""
        return STATISTICS[name](p.dtype) if name in STATISTICS else super().state_dtype(name, p, group)

    def __getstate__(self):
        return {**super().__getstate__(), "activations": self.activations}

    def _ask_for_activations(self):
        if self.activations is not None:
            self.activations.collecting = any(map(_is_due, self.param_groups))

    def _exponents(self, params, group, steps_done):
        exponent = group["exponent"]
        if isinstance(exponent, str):
            return [self.state.get(p, {}).get("exponent", float(group["initial_exponent"])) for p in params]
        if callable(exponent):
            exponent = exponent(steps_done)
        return [check_suits(exponent, group)] * len(params)

    def _choose(self, params, gradients, matrices, group):
        for p, gradient, matrix in zip(params, gradients, matrices, strict=True):
            if p in self.activations.moments:
                choose(self.state[p], whole(gradient).flatten(1), matrix, self.activations.moments[p], group)
        if self.process_group is not None:
            self._take_the_choices_of_the_first(params)

    def _take_the_choices_of_the_first(self, params):
        """Exponents say who does which work; devices may round so that they differ."""
        states = [self.state[p] for p in params]
        choices = [(state["exponent"], state["weights"].tolist() if "weights" in state else []) for state in states]
        device = params[0].device
        torch.distributed.broadcast_object_list(choices, group=self.process_group, group_src=0, device=device)
        for state, (exponent, weights) in zip(states, choices, strict=True):
            state["exponent"] = exponent
            if "weights" in state:
                state["weights"].copy_(torch.tensor(weights, dtype=torch.float64))

    def _update_moments(self):
        """Take the inputs of this step into the averages; the state holds the same tensors, to be saved."""
        self.activations.update()
        for group in self.param_groups:
            for p in group["params"]:
                if isinstance(group["exponent"], str) and p in self.activations.moments:
                    self.state[p]["input_moment"] = self.activations.moments[p]

    def _mixes(self, params, matrices, group):
        mixes = []
        for p, (first, second) in zip(params, two_directions(matrices, group, self.process_group), strict=True):
            weights = self.state[p]["weights"]
            if group["norm"] != "none":
                weights = weights / weights.abs().sum()
            mixes.append(weights[0] * first + weights[1] * second.to(first.dtype))
        return mixes

    def _preconditioners(self, params, gradients, group):
        """Take the gradients into v, and return the factors D as matrices, or None."""
        kind, beta2 = group["preconditioner"], group["beta2"]
        if kind is None:
            return None
        factors = []
        exponents = self._exponents(params, group, group["steps_done"])
        for p, gradient, exponent in zip(params, gradients, exponents, strict=True):
            state = self.state[p]
            # In bfloat16 an average would stand still: it has no number between 0.996 and 1.
            squares = whole(gradient).flatten(1).to(at_least_float32(p.dtype)).square()
            v = state["second_moment"].lerp_(squares, 1 - beta2) / (1 - beta2 ** (state["updates"] + 1))
            power = exponent / (2 * (1 + exponent)) if kind == "padam" else 0.25
            factors.append((v + group["eps"]) ** -power)
        if group["split"] is None and not group["transposed"]:
            return factors
        return [
            piece.flatten(1) for piece in divide([D.view(p.shape) for D, p in zip(factors, params, strict=True)], group)
        ]

    def _corrected(self, averages, owners, group, ahead=0):
        """Divide averages of this step by the sum of their weights, in float32 at least."""
        sums = [1 - group["momentum"] ** (self.state[p]["updates"] + 1 + ahead) for p in owners]
        return [each.to(at_least_float32(each.dtype)) / total for each, total in zip(averages, sums, strict=True)]

    def _check_activations(self, group, index, exponent):
        """Raise ValueError if an exponent, for a group of parameters, is a criterion that has nothing to go by."""
        if not isinstance(exponent, str):
            return
        if group.get("split") is not None or group.get("transposed"):
            raise ValueError(
                f"exponent={exponent!r} takes parameters of one matrix (m, n), with split=None and transposed=False; "
                "give a number or a function for the others, in a group of their own."
            )
        if self.activations is None:
            raise ValueError(
                f"exponent={exponent!r} needs activations; pass ActivationMoments(model, parameters), or a number."
            )
        for p, which in zip(group["params"], describe_parameters(group, index), strict=True):
            if p not in self.activations:
                raise ValueError(
                    f"{which} has exponent={exponent!r}, but isn't among the parameters of activations; pass it to "
                    "ActivationMoments too, or put it into a group with a number."
                )


def _is_due(group):
    """Whether exponents are chosen in the next step of a group."""
    step, every = group["steps_done"] + 1, group["refresh_every"]
    return isinstance(group["exponent"], str) and (step % every == 0 or step == min(FIRST_REFRESH, every))
