"""DP-SGD by clipping each example's gradient: Opacus' hooks, ghost and adaptive clipping; AUTO-S on ghost norms."""

import copy
import warnings
from functools import partial

import torch

from ..lipschitz.losses import check_number
from ..models.hooks import Structure, refuse_hooks
from .example_gradients import check_examples, check_layers, check_seen, recording, take_off_copies, wrapped_model
from .inner import check_parameters, noise_generator, trained_parameters
from .release import Block, add_noise, draw_noise, effective_multiplier
from .transcript import Transcript, check_rate

WAYS = ("hooks", "ghost", "adaptive", "automatic")

# Of adaptive clipping (Andrew et al., 2021): the share of examples that is left as it is, the rate at which the
# threshold follows it, and the noise of the count, as a share of the expected batch size.
QUANTILE, THRESHOLD_RATE, COUNT_NOISE = 0.5, 0.2, 0.05
THRESHOLDS = (1e-6, 1e6)

# The name of that count beside the parameters'.
COUNT = "count of unclipped examples"

# Of AUTO-S (Bu et al., 2023).
STABILITY = 0.01


class ClippedGradients:
    """A private optimizer that bounds what each example adds to the gradient by clipping it.

    A step has three parts: :meth:`sum_gradients`, which alone sees examples; noise for the :meth:`blocks`; and
    :meth:`apply`. The gradients of examples, their norms and clipped sums are Opacus', and so is the scaling before the
    optimizer's step. Noise is `orthobench.privacy.release.draw_noise`, the numbers that Opacus would draw.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Any, of all trained parameters of the model: it gets the private mean gradient.
    model : torch.nn.Module
        Without layers that mix examples, and without hooks.
    clip_norm : float
        The norm that an example's gradient is clipped to; with "adaptive", the first; with "automatic", the norm that
        all are scaled towards.
    noise_multiplier : float
        Of the whole step, the count of "adaptive" included.
    expected_batch_size : int or float
        What the noisy sum is divided by, however many examples a batch has.
    sampling_rate : float
        With which each example is in the batch, for the transcript.
    way : {"ghost", "hooks", "adaptive", "automatic"}
        How: Opacus' gradients of each example, its ghost norms, its adaptive threshold (with the gradients of each
        example), or AUTO-S on ghost norms.
    generator : torch.Generator, optional
        Of the noise, on the model's device; one with a seed of the operating system by default.
    secure : bool
        Draw the noise from the operating system's cryptographic generator instead; it can't be repeated.
    transcript : Transcript, optional
        Each step is recorded in it.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of those allowed, or a layer's gradients can't be clipped by example: those that
        `orthobench.privacy.example_gradients.check_layers` finds here, others at the first step. If there are hooks; in
        a step, if layers, hooks or parameters aren't what they were.

    Notes
    -----
    Opacus divides the count of "adaptive" by the size of the batch as it was, which the noise doesn't cover, and takes
    its sensitivity for 1/2, which that of a count isn't. Here the count is that of b - 1/2, for b in {0, 1}, divided by
    the expected size, as Andrew et al. have it.

    Who knows a generator's seed knows the noise: give one for experiments that are to be repeated, none for a release.
    Torch's generators are no cryptographic ones either; `secure=True` is. Clipped sums and noise are floating-point
    numbers, which aren't those that the proofs are about: their last bits can tell of an example (Mironov, "On
    significance of the least significant bits for differential privacy", 2012), and their rounding, in the order of a
    sum, can be more than the bound has it (Casacuberta et al., "Widespread underestimation of sensitivity in
    differentially private libraries", 2022). Secure noise hinders the first, and nothing here the second.
    """

    def __init__(
        self,
        optimizer,
        model,
        *,
        clip_norm,
        noise_multiplier,
        expected_batch_size,
        sampling_rate,
        way="ghost",
        generator=None,
        secure=False,
        transcript=None,
    ):
        if way not in WAYS:
            raise ValueError(f"way={way!r}: give one of {', '.join(WAYS)}")
        if secure and generator is not None:
            raise ValueError("secure=True takes no generator: its numbers come from the operating system")
        check_layers(model)
        take_off_copies(model)
        refuse_hooks(model)
        self.parameters = trained_parameters(model, optimizer)
        device = next(iter(self.parameters.values())).device
        self.generator, self.secure = None if secure else noise_generator(generator, device), secure
        self.model, self.optimizer, self.way = model, optimizer, way
        self.noise_multiplier = check_number("noise_multiplier", noise_multiplier, 0, strict=True)
        self.sampling_rate = check_rate(sampling_rate)
        self.transcript = Transcript() if transcript is None else transcript
        settings = {
            "noise_multiplier": self.noise_multiplier,
            "max_grad_norm": check_number("clip_norm", clip_norm, 0, strict=True),
            "expected_batch_size": check_number("expected_batch_size", expected_batch_size, 0, strict=True),
        }
        self._ghost = way in ("ghost", "automatic")
        self._wrapped, self._inner = _wrap(model, optimizer, way, settings)
        self._structure = Structure(model)
        self._layers = [
            each for each in model.modules() if any(own.requires_grad for own in each.parameters(recurse=False))
        ]
        self._checked = None

    @property
    def clip_norm(self):
        """The most that an example adds to the sum of the gradients, as it is now."""
        return float(self._inner.max_grad_norm)

    @clip_norm.setter
    def clip_norm(self, norm):
        self._inner.max_grad_norm = check_number("clip_norm", norm, 0, strict=True)
        if self._ghost:
            self._wrapped.max_grad_norm = self._inner.max_grad_norm

    def blocks(self):
        """Return the blocks of the next step: one of all parameters, and with "adaptive" that of the count."""
        check_parameters(self.optimizer, self.parameters)
        noise = self.noise_multiplier
        if self.way != "adaptive":
            return [Block(tuple(self.parameters), self.clip_norm, noise * self.clip_norm)]
        std = self._inner.unclipped_num_std
        noise = (noise**-2 - (2 * std) ** -2) ** -0.5
        return [Block(tuple(self.parameters), self.clip_norm, noise * self.clip_norm), Block((COUNT,), 0.5, std)]

    def step(self, inputs, targets, loss):
        """Do one private step on a batch, which may be empty.

        Parameters
        ----------
        inputs, targets : torch.Tensor
            (n, ...) and (n, ...).
        loss : callable
            Of outputs and targets; returns the loss of each example, (n,). Each new one is checked on two made-up
            examples: give the same in every step.

        Returns
        -------
        torch.Tensor
            The sum of the losses, (), detached: not private.

        Raises
        ------
        ValueError
            If the loss or a layer mixes examples, or one's gradients aren't those of its layer's call.
        """
        blocks = self.blocks()
        total, sums = self.sum_gradients(inputs, targets, loss)
        noise = draw_noise(sums, blocks, self.generator, self.secure)
        self.transcript.record(self.sampling_rate, [effective_multiplier(blocks, self.noise_multiplier)])
        self.apply(add_noise(sums, noise))
        return total

    def sum_gradients(self, inputs, targets, loss):
        """Sum the clipped gradients of a batch: the one part of a step that sees examples.

        An example whose gradient isn't finite adds zero. It is found by halves of the batch, which takes longer, but
        no error tells of it.

        Parameters
        ----------
        inputs, targets, loss
            As of :meth:`step`.

        Returns
        -------
        torch.Tensor
            The sum of the losses, (), detached.
        dict of str to torch.Tensor
            By parameter, the sum of the clipped gradients; with "adaptive" also `COUNT`, the sum over the examples of
            1/2 for each that is left as it is, and of -1/2 for each that is clipped.
        """
        self._structure.check()
        if not len(inputs):  # no layer need take an empty batch
            sums = {name: torch.zeros_like(each) for name, each in self.parameters.items()}
            nothing = torch.zeros((), device=inputs.device)
            return nothing, sums | ({COUNT: nothing.clone()} if self.way == "adaptive" else {})
        with warnings.catch_warnings():
            # Torch says so of Opacus' hooks whenever inputs need no gradient, which is as it should be.
            warnings.filterwarnings("ignore", message="Full backward hook is firing")
            self._check(inputs, targets, loss)
            return self._sum_finite(inputs, targets, loss)

    def _sum_finite(self, inputs, targets, loss):
        total, sums = self._sum(inputs, targets, loss)
        if torch.stack([each.sum().double() for each in sums.values()]).isfinite().all():
            return total, sums
        if len(inputs) == 1:
            return torch.zeros_like(total), {name: torch.zeros_like(each) for name, each in sums.items()}
        half = len(inputs) // 2
        total, sums = self._sum_finite(inputs[:half], targets[:half], loss)
        more, others = self._sum_finite(inputs[half:], targets[half:], loss)
        return total + more, {name: each + others[name] for name, each in sums.items()}

    def _sum(self, inputs, targets, loss):
        self._inner.zero_grad(set_to_none=True)
        total = self._backward(inputs, targets, loss)
        self._inner.accumulate() if self._ghost else self._inner.clip_and_accumulate()
        sums = {name: each.summed_grad for name, each in self.parameters.items()}
        if self.way == "adaptive":
            sums[COUNT] = self._inner.unclipped_num - self._inner.sample_size / 2
        self._inner.zero_grad(set_to_none=True)
        return total, sums

    def _check(self, inputs, targets, loss):
        if torch.is_autocast_enabled(inputs.device.type):
            raise ValueError("autocast is on: leave it for private steps, which need gradients in float32 or float64")
        if not all(module.training for module in self._layers):
            raise ValueError("the model is in eval mode, in which Opacus sees no example: call its train() before")
        if loss != self._checked:  # equal are a method's two looks, too
            check_examples(self._wrapped, self.parameters, inputs, targets, partial(_losses, loss))
            self._inner.zero_grad(set_to_none=True)
            self._checked = loss if len(inputs) > 1 else None

    def _backward(self, inputs, targets, loss):
        """Leave the gradient of each example on the parameters, or with ghost norms their clipped sum."""
        with recording(self._wrapped):
            losses = _losses(loss, self._wrapped(inputs), targets)
            losses.sum().backward(retain_graph=self._ghost)
            check_seen(self._wrapped, self.parameters)
        if self._ghost:  # a second pass, for the sum with their weights
            self._inner.zero_grad(set_to_none=True)
            (self._wrapped.get_clipping_coef() * losses).sum().backward()
            for each in self.parameters.values():
                each._norm_sample = None
        return losses.detach().sum()

    def apply(self, noisy):
        """Step on noisy sums, and move the threshold of "adaptive": what this does costs no privacy.

        Parameters
        ----------
        noisy : dict of str to torch.Tensor
            What :meth:`sum_gradients` returned, with noise.
        """
        for name, each in self.parameters.items():
            each.grad = noisy[name].clone()
            if not self._ghost:
                each.grad_sample = each.new_zeros(0, *each.shape)  # Opacus counts batches by it
        self._inner.scale_grad()
        if self.way == "adaptive":
            self._inner.move(float(noisy[COUNT]))
        self.optimizer.step()
        self._inner.zero_grad(set_to_none=True)

    def release(self):
        """Take what Opacus put on the model off again."""
        self._wrapped.to_standard_module()

    def __deepcopy__(self, memo):
        # Opacus' hooks know the layers and the parameters that they were made for: the copy gets hooks of its own.
        model, optimizer, generator, transcript = (
            copy.deepcopy(each, memo) for each in (self.model, self.optimizer, self.generator, self.transcript)
        )
        names = ("noise_multiplier", "sampling_rate", "clip_norm", "way", "secure")
        settings = {name: getattr(self, name) for name in names}
        settings |= {"expected_batch_size": self._inner.expected_batch_size, "generator": generator}
        other = memo[id(self)] = type(self)(optimizer, model, transcript=transcript, **settings)
        other._checked = copy.deepcopy(self._checked, memo)
        if not hasattr(self._wrapped, "autograd_grad_sample_hooks"):
            other.release()
        return other

    def __reduce_ex__(self, protocol):
        raise TypeError(
            "ClippedGradients has hooks on its model, and can't be pickled, nor copied without it: save the "
            "state_dict() of both, or take copy.deepcopy"
        )

    def state_dict(self):
        """Return what :meth:`load_state_dict` needs to go on, the noise's generator and the transcript included."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "clip_norm": self.clip_norm,
            "generator": None if self.secure else self.generator.get_state(),
            "transcript": self.transcript.state_dict(),
        }

    def load_state_dict(self, state):
        """Go on from a state of :meth:`state_dict`, of an optimizer made with the same arguments."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.clip_norm = state["clip_norm"]
        if not self.secure and state["generator"] is not None:
            self.generator.set_state(state["generator"])
        self.transcript.load_state_dict(state["transcript"])


def _losses(loss, outputs, targets):
    losses = loss(outputs, targets)
    if losses.shape != (len(targets),):
        raise ValueError(
            f"the loss of {len(targets)} examples has the shape {tuple(losses.shape)}: return that of each, (n,), such "
            "as with reduction='none'"
        )
    return losses


def _wrap(model, optimizer, way, settings):
    """Return Opacus' model and optimizer for one way of clipping."""
    from opacus.optimizers import DPOptimizer, DPOptimizerFastGradientClipping

    if way in ("ghost", "automatic"):
        factor = (lambda clip, norms: clip / (norms + STABILITY)) if way == "automatic" else None
        wrapped = wrapped_model(model, clip_norm=settings["max_grad_norm"], factor=factor)
        return wrapped, DPOptimizerFastGradientClipping(optimizer, loss_reduction="mean", **settings)
    wrapped = wrapped_model(model)
    if way == "hooks":
        inner = DPOptimizer(optimizer, loss_reduction="mean", **settings)
    else:
        low, high = THRESHOLDS
        inner = _adaptive()(
            optimizer,
            loss_reduction="mean",
            target_unclipped_quantile=QUANTILE,
            clipbound_learning_rate=THRESHOLD_RATE,
            min_clipbound=low,
            max_clipbound=high,
            unclipped_num_std=max(COUNT_NOISE * settings["expected_batch_size"], settings["noise_multiplier"]),
            **settings,
        )
    return wrapped, inner


def _adaptive():
    from opacus.optimizers import AdaClipDPOptimizer

    class AdaptiveClipping(AdaClipDPOptimizer):
        """Opacus' adaptive clipping, its threshold from a count that has the sensitivity 1/2 it is accounted with."""

        def move(self, count):
            """Move the threshold, by the noisy sum of b - 1/2."""
            share = count / self.expected_batch_size + 1 / 2
            moved = (
                self.max_grad_norm
                * torch.tensor(-self.clipbound_learning_rate * (share - self.target_unclipped_quantile)).exp().item()
            )
            self.max_grad_norm = min(max(moved, self.min_clipbound), self.max_clipbound)

    return AdaptiveClipping
