"""Private training without clipping: any optimizer of torch, with bounds, noise and projections around its step."""

import math

import torch
from torch.optim import optimizer as torch_optimizers

from ..lipschitz.losses import check_number
from ..models.checks import check_integer
from ..models.hooks import Structure
from .allocation import ALLOCATIONS, noise_stds
from .inner import check_parameters, noise_generator, trained_parameters
from .inputs import InputClipping
from .losses import private_loss
from .projection import PROJECTIONS, ProbabilisticProjection, Projection
from .release import Block, add_noise, draw_noise, effective_multiplier
from .sensitivity import SLACK, Sensitivity, parameter_norm
from .transcript import Transcript, check_rate


class ClipFreeOptimizer(torch.optim.Optimizer):
    """Train a Lipschitz network privately: noise for bounds that hold for every example, and no example's gradient.

    In each step: bounds of one example's share of the gradient of each parameter, for the norms that the weights have;
    noise on the gradients; a step of the given optimizer; a projection of the weights, so that no singular value is
    above 1. All but the noise is post-processing of what is private already.

    The gradients must be those of the sum of the examples' losses over the expected batch size, on a Poisson sample:
    `loss` computes it. The model's inputs are clipped to the norm by hooks, and one that isn't finite adds zero
    (`orthobench.privacy.inputs.InputClipping`): no error tells of an example.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Of all parameters of the model that are trained, and no others.
    model : torch.nn.Module
        Of the layers that `orthobench.privacy.rules` knows, without hooks. Its weights are changed in steps only.
    loss_constant : float or callable
        L, a bound of the norm of the gradient of one example's loss with respect to the outputs, before clipping. Or a
        function of a bound of the norm of the outputs: ``partial(loss_constant, loss, classes)``, with
        `orthobench.privacy.losses.loss_constant`, is lower.
    input_norm : float
        That each example is clipped to; infinite if the model starts with `ClipInput`.
    expected_batch_size : float
    noise_multiplier : float
        sigma, positive: of one Gaussian mechanism as private as the step, whatever the allocation.
    sampling_rate : float
        With which an example is part of a batch, in (0, 1].
    allocation : {"global", "per_layer", "optimal"}
        How noise is divided, see `noise_stds`.
    loss_gradient_clip : float, optional
        c, to which `loss` clips the gradient of each example's loss. The noise then is for min(L, c).
    projection : {"cholesky", "gelfand", "svd", "probabilistic"} or Projection
        See `orthobench.privacy.projection`.
    project_every : int
        Steps from one projection to the next. In between, the norms that the bounds are for grow by the learning rate
        times the norm of the noisy gradient: for `torch.optim.SGD` without momentum and hooks only.
    input_shape : sequence of int, optional
        Of an example: for biases, and for poolings of overlapping windows.
    transcript : Transcript, optional
        Where each step is recorded; a new one by default.
    generator : torch.Generator, optional
        Of the noise, on the device of the weights; one with a seed of the operating system by default.
    secure : bool
        Draw the noise from the operating system's cryptographic generator instead; it can't be repeated.

    Attributes
    ----------
    transcript : Transcript
    inputs : InputClipping
        Its count ``changed``, of examples that were clipped or left out, is not private.
    norms : dict of str to float
        A bound of the norm of each parameter as it is.
    bounds, stds : dict of str to float
        Of the last step: bounds of one example's share of each gradient; standard deviations of its noise.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of its range, a layer has no rule, or a hook, or the parameters aren't the model's. In a
        step, if layers, hooks or parameters aren't what they were.

    Notes
    -----
    Noise comes from a pseudo-random generator, unless it is secure, in floating-point numbers, and stands for exact
    Gaussian noise, as in other libraries (`ClippedGradients` says what that is worth). A parameter without gradient
    gets noise all the same. Weights that are changed between steps, as `load_state_dict` does, are measured again
    before the next one; a write through ``.data`` goes unseen. `release` takes the hooks off the model.

    Examples
    --------
    >>> from functools import partial
    >>> from orthobench.lipschitz.losses import CrossEntropy
    >>> from orthobench.privacy.losses import loss_constant
    >>> from orthobench.privacy.networks import private_mlp
    >>> model, criterion = private_mlp(0), CrossEntropy(temperature=0.1, margin=0.0)
    >>> optimizer = ClipFreeOptimizer(
    ...     torch.optim.SGD(model.parameters(), lr=0.1),
    ...     model,
    ...     loss_constant=partial(loss_constant, criterion, 10),
    ...     input_norm=1.0,
    ...     expected_batch_size=8,
    ...     noise_multiplier=2.0,
    ...     sampling_rate=0.1,
    ... )
    >>> images, targets = torch.full((9, 64), 1 / 8), torch.zeros(9, dtype=torch.int64)
    >>> optimizer.loss(criterion, model(images), targets).backward()
    >>> optimizer.step()
    >>> optimizer.transcript.steps
    1
    """

    def __init__(
        self,
        optimizer,
        model,
        *,
        loss_constant,
        input_norm,
        expected_batch_size,
        noise_multiplier,
        sampling_rate,
        allocation="global",
        loss_gradient_clip=None,
        projection="cholesky",
        project_every=1,
        input_shape=None,
        transcript=None,
        generator=None,
        secure=False,
    ):
        if secure and generator is not None:
            raise ValueError("secure=True takes no generator: its numbers come from the operating system")
        self.secure = secure
        self.noise_multiplier = check_number("noise_multiplier", noise_multiplier, 0, strict=True)
        self.sampling_rate = check_rate(sampling_rate)
        if allocation not in ALLOCATIONS:
            raise ValueError(f"allocation is {allocation!r}: give one of {', '.join(ALLOCATIONS)}")
        self.allocation = allocation
        self.project_every = check_integer("project_every", project_every, 1)
        self._sensitivity = Sensitivity(
            model, input_norm, loss_constant, expected_batch_size, loss_gradient_clip, input_shape=input_shape
        )
        self._parameters = {name: each for name, each in model.named_parameters() if name in self._sensitivity.limits}
        self._trained = trained_parameters(model, optimizer, self._parameters)
        super().__init__(optimizer.param_groups, optimizer.defaults)
        self.inner = optimizer
        self._check_inner()
        self._share_groups()
        self.generator = noise_generator(generator, next(iter(self._parameters.values())).device)
        self.projection = _projection(projection, self.generator)
        self.transcript = Transcript() if transcript is None else transcript
        self.norms, self.bounds, self.stds = {}, {}, {}
        self._versions, self._since = {}, 0
        self._measure()
        self._model, self._structure = model, Structure(model)
        self._dtype = next(iter(self._parameters.values())).dtype
        self.inputs = InputClipping(model, self._sensitivity.input_norm)

    def loss(self, criterion, outputs, targets):
        """Compute the loss whose gradient the bounds are for: `private_loss`, with this batch size and clipping.

        Raises
        ------
        ValueError
            If the model isn't what it was, or wasn't called since the last step.
        TypeError
            If outputs are of another type than the weights had, as those of autocast are.
        """
        self._check_model()
        if not self.inputs.passed:
            raise ValueError(
                "the outputs aren't those of a call of the model, whose hooks clip inputs: call it, not its forward or "
                "its layers"
            )
        if outputs.dtype != self._dtype:
            raise TypeError(
                f"outputs are of {outputs.dtype}, the bounds are for {self._dtype}: others round more; leave the "
                "weights in the type that they had, and autocast out"
            )
        size, clip = self._sensitivity.expected_batch_size, self._sensitivity.loss_gradient_clip
        return private_loss(criterion, outputs, targets, size, clip)

    def current_bounds(self):
        """Return the bounds of one example's share of each gradient, for the weights as they are."""
        self._measure()
        return self._sensitivity.bounds(self.norms)

    def blocks(self):
        """Return the mechanisms of the next step, a `Block` for each parameter, on the mean gradients."""
        self._check_model()
        self.bounds = self.current_bounds()
        sizes = {name: parameter.numel() for name, parameter in self._trained.items()}
        self.stds = noise_stds(self.bounds, sizes, self.noise_multiplier, self.allocation)
        return [Block((name,), self.bounds[name], self.stds[name]) for name in self._trained]

    @torch.no_grad()
    def step(self, closure=None):
        """Add noise to the gradients, step, project, and record it.

        Parameters
        ----------
        closure : None
            A second look at the data would have to be paid for.

        Raises
        ------
        ValueError
            If there is a closure, or a hook before the step, weights aren't finite any more, or model or optimizer
            aren't what they were.
        """
        if closure is not None:
            raise ValueError("closure must be None: each step sees its batch once; compute the gradients before it")
        if self._optimizer_step_pre_hooks or torch_optimizers._global_optimizer_pre_hooks:
            raise ValueError("a hook before the step has gradients without noise: register it on the given optimizer")
        self._check_inner()
        blocks, gradients = self.blocks(), self.gradients()
        # Equal steps are one event of the transcript.
        self.transcript.record(self.sampling_rate, (effective_multiplier(blocks, self.noise_multiplier),))
        self.apply(add_noise(gradients, draw_noise(gradients, blocks, self.generator, self.secure)))

    def gradients(self):
        """Return the gradients by parameter, 0 where there is none: what noise is for."""
        return {
            name: torch.zeros_like(each) if each.grad is None else each.grad for name, each in self._trained.items()
        }

    @torch.no_grad()
    def apply(self, noisy):
        """Step on noisy mean gradients, and project: what this does costs no privacy.

        Parameters
        ----------
        noisy : dict of str to torch.Tensor
            By parameter.
        """
        self._check_inner()
        for name, parameter in self._trained.items():
            parameter.grad = noisy[name]
        self.inner.step()
        self.inputs.passed = False
        self._since += 1
        if self._since < self.project_every:
            self._grow()
        else:
            self._project()

    def note_norms(self, norms):
        """Take bounds of the norms of the weights as they are, which would be measured again otherwise.

        Parameters
        ----------
        norms : dict of str to float
            Not checked: the noise is made for them.
        """
        self._note(dict(norms))

    def state_dict(self):
        """Return the state of the given optimizer, of the noise, of the norms and of the transcript.

        `orthobench.privacy.checkpoint` takes those of the model and the loader along.
        """
        self._measure()
        return {
            "inner": self.inner.state_dict(),
            "generator": self.generator.get_state(),
            "transcript": self.transcript.state_dict(),
            "projection": self.projection.state_dict(),
            "norms": dict(self.norms),
            "since": self._since,
        }

    @torch.no_grad()
    def load_state_dict(self, state_dict):
        """Go on from a state of :meth:`state_dict`, of the weights that the model has.

        They are measured: where they aren't those of the state, the larger norm counts.

        Raises
        ------
        ValueError
            If the state is of other parameters.
        """
        norms = self._larger_norms(state_dict["norms"])
        self.inner.load_state_dict(state_dict["inner"])
        self._share_groups()
        self.generator.set_state(state_dict["generator"])
        self.transcript.load_state_dict(state_dict["transcript"])
        self.projection.load_state_dict(state_dict["projection"])
        self._since = state_dict["since"]
        self._note(norms)

    def release(self):
        """Take the hooks that clip inputs off the model, when the training is over."""
        self.inputs.take_off(self._model)

    def add_param_group(self, param_group):
        """Refuse parameters that the model doesn't have; those of the given optimizer are taken in once."""
        if hasattr(self, "inner"):
            raise ValueError("the parameters are those of the model: make a new optimizer for others")
        super().add_param_group(param_group)

    def __getstate__(self):
        # That of torch keeps the groups and the state alone.
        self._measure()
        return self.__dict__.copy()

    def __setstate__(self, state):
        super().__setstate__(state)
        self._note(self.norms)  # the copies of the parameters count their changes anew

    def _share_groups(self):
        self.param_groups, self.state = self.inner.param_groups, self.inner.state

    # --- what bounds are for -----------------------------------------------------------------------------------------

    def _check_model(self):
        """Raise unless the model's passes are those that bounds were derived for."""
        self._structure.check()
        if not self.inputs.is_on(self._model):
            raise ValueError(
                "the hooks that clip inputs are off the model: make a new optimizer, and step with that one"
            )

    def _check_inner(self):
        """Raise unless the given optimizer trains what gets noise, and moves weights no further than is known."""
        check_parameters(self.inner, self._trained)
        if self.project_every > 1:
            _check_plain(self.inner)

    # --- norms -------------------------------------------------------------------------------------------------------

    def _measure(self):
        """Bound the norms of parameters that something else has changed."""
        for name, parameter in self._parameters.items():
            if self._versions.get(name) != _version(parameter):
                self.norms[name] = self._bounded(parameter_norm(name, parameter, self.projection.norm), parameter)
                self._versions[name] = _version(parameter)
        self.projection.workspace.release()

    def _larger_norms(self, saved):
        """Return the norms of a state, or those that the parameters have, where these are larger."""
        if saved.keys() != self._parameters.keys():
            raise ValueError(f"a state of {', '.join(saved)}: the model has {', '.join(self._parameters)}")
        norms = {}
        for name, parameter in self._parameters.items():
            exact, rounding = parameter_norm(name, parameter), 1 + SLACK[parameter.dtype]
            norms[name] = saved[name] if exact <= saved[name] * rounding else exact
        return norms

    def _project(self):
        norms = dict(self.norms)
        for name, parameter in self._trained.items():
            norms[name] = self._bounded(self._projected(name, parameter), parameter)
        self.projection.workspace.release()
        self._since = 0
        self._note(norms)

    def _projected(self, name, parameter):
        if parameter.ndim == 1:
            norm, limit = parameter_norm(name, parameter), self._sensitivity.limits[name]
            if norm > limit:
                parameter.mul_(limit / norm)
            return min(norm, limit)
        matrix = parameter.detach().flatten(1)
        bound = self.projection.project(name, matrix)
        if not bound < math.inf:
            raise ValueError(
                f"{name} has entries that aren't finite: the training has diverged; lower the learning rate"
            )
        if matrix.data_ptr() != parameter.data_ptr():  # a copy, of a weight that isn't contiguous
            parameter.copy_(matrix.view(parameter.shape))
        return bound

    def _grow(self):
        """Bound the norms after a step of plain SGD: of (1 - lr decay) W - lr U."""
        norms = dict(self.norms)
        rates = {id(each): group for group in self.inner.param_groups for each in group["params"]}
        for name, parameter in self._trained.items():
            group, update = rates[id(parameter)], parameter.grad
            rate = float(group["lr"])
            if parameter.ndim == 1:
                growth = float(torch.linalg.vector_norm(update))
            else:
                growth = self._bounded(self.projection.growth(name, update.flatten(1)), parameter)
            norms[name] = abs(1 - rate * group["weight_decay"]) * norms[name] + abs(rate) * growth
        self._note(norms)

    def _note(self, norms):
        self.norms = norms
        self._versions = {name: _version(parameter) for name, parameter in self._parameters.items()}

    def _bounded(self, bound, parameter):
        """Return a bound; charge the transcript for the probability that it is none."""
        if self.projection.failure_probability and parameter.ndim > 1:
            self.transcript.add_failure_probability(self.projection.failure_probability)
        return bound


def _version(parameter):
    """Return what changes when torch, or another tensor in its place, changes a parameter."""
    return parameter._version, parameter.data_ptr()


def _check_plain(optimizer):
    """Raise unless steps are bounded by the gradient: a scheduler may have written to the groups."""
    momentum = max(abs(group.get("momentum", 0)) for group in optimizer.param_groups)
    hooks = (
        optimizer._optimizer_step_pre_hooks,
        optimizer._optimizer_step_post_hooks,
        torch_optimizers._global_optimizer_pre_hooks,
        torch_optimizers._global_optimizer_post_hooks,
    )
    if type(optimizer) is not torch.optim.SGD or momentum or any(hooks):
        raise ValueError(
            "project_every above 1 needs torch.optim.SGD without momentum and hooks, whose steps are bounded by the "
            f"gradient: got {type(optimizer).__name__} with momentum {momentum:g} and {sum(map(len, hooks))} hooks; "
            "give project_every=1, or cycle_momentum=False to OneCycleLR and CyclicLR"
        )


def _projection(projection, generator):
    if isinstance(projection, Projection):
        return projection
    if projection not in PROJECTIONS:
        raise ValueError(f"projection is {projection!r}: give one of {', '.join(PROJECTIONS)}")
    if projection == "probabilistic":
        return ProbabilisticProjection(generator=generator)
    return PROJECTIONS[projection]()
