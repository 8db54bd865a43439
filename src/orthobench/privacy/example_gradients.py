"""Gradients of each example, and their norms: Opacus' rules where they are right, and what is let in at all."""

import math
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from ..models.hooks import label

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TYPES = (torch.float32, torch.float64)

# Layers whose parameters get no gradient of one tensor in, one tensor out.
REPLACEMENTS = {
    nn.RNNBase: "DPRNN, DPGRU or DPLSTM of opacus.layers, with batch_first=True",
    nn.MultiheadAttention: "DPMultiheadAttention of opacus.layers, with batch_first=True",
    nn.EmbeddingBag: "Embedding, and a sum or a mean",
    nn.Bilinear: "Linear layers",
}

# Of a gradient, by which those of autograd and of Opacus may differ; of a loss, by which company may change it.
GRADIENT_SHARE, LOSS_SHARE = 2e-3, 1e-4
ROUNDING = 1e-6


def check_layers(model):
    """Raise unless each layer's gradients can be clipped by example; what a layer computes is for `check_examples`.

    Parameters
    ----------
    model : torch.nn.Module

    Raises
    ------
    ValueError
        If a layer shares statistics among examples or keeps what it saw of them, scales gradients by a batch, or has
        parameters whose gradients can't be told by example; it names the layer and what to put in its place.
    """
    for name, module in model.named_modules():
        reason = _reason(module)
        if reason:
            raise ValueError(f"{label(name, module)} {reason}")


def _reason(module):
    if isinstance(module, _BatchNorm):
        return "mixes the examples of a batch: replace it, such as by GroupNorm"
    if isinstance(module, _NormBase) and module.track_running_stats:
        return "keeps running statistics, which no noise covers: give track_running_stats=False"
    trained = [each for each in module.parameters(recurse=False) if each.requires_grad]
    if isinstance(module, nn.Embedding) and module.max_norm is not None:
        return "has a max_norm, which changes the weights that a batch looks up: leave it out"
    if not trained:
        return None
    for kind, other in REPLACEMENTS.items():
        if isinstance(module, kind):
            return f"has no gradients by example: use {other}"
    if isinstance(module, nn.Embedding) and (module.scale_grad_by_freq or module.sparse):
        return "scales gradients by a batch, or has sparse ones: leave out scale_grad_by_freq and sparse"
    if any(map(nn.parameter.is_lazy, trained)):
        return "has no shape yet: run the model once before"
    if any(True for _ in module.buffers()):
        return "trains parameters beside a buffer, which may hold what no noise covers: freeze it, or keep them apart"
    found = {each.dtype for each in trained} - set(TYPES)
    if found:
        return f"is in {found.pop()}, which rounds gradients to above their bound: give float32 or float64"
    return None


class Watching:
    """What hooks on the layers belong to. It refuses calls of a layer whose gradients Opacus would get wrong.

    A copy of the model has copies of the hooks, which do nothing: they belong to a copy of this that is off.
    """

    labels = None  # by layer; None of a copy

    def capture_activations_hook(self, module, inputs, output):
        """Look at a call of a layer."""
        if self.hooks_enabled and not _is_plain_call(inputs, output):
            raise ValueError(
                f"{self.labels[module]} has parameters of its own, and not one tensor (n, ...) in and one out, in "
                "float32 or float64: give it these, or freeze it"
            )
        super().capture_activations_hook(module, inputs, output)

    def __deepcopy__(self, memo):
        other = memo[id(self)] = type(self).__new__(type(self))
        nn.Module.__init__(other)
        other.hooks_enabled = False
        return other

    def __reduce_ex__(self, protocol):
        raise TypeError(
            "the model has hooks for the gradients of examples, which can't be pickled: save its state_dict(), or call "
            "`release()` of the ClippedGradients before"
        )


def take_off_copies(model):
    """Take the hooks off a model that it has as a copy of one that is watched: they do nothing."""
    for module in model.modules():
        for hooks in (module._forward_hooks, module._backward_hooks):
            for key, hook in list(hooks.items()):
                watching = getattr(getattr(hook, "func", hook), "__self__", None)
                if isinstance(watching, Watching) and watching.labels is None:
                    del hooks[key]
                    vars(model).pop("autograd_grad_sample_hooks", None)  # Opacus' list of them


# Subclasses of Opacus' are made when they are needed: importing it takes a second.


def wrapped_model(model, *, clip_norm=None, factor=None):
    """Wrap a model so that a backward pass leaves each example's gradients, or their norms, on its parameters.

    Parameters
    ----------
    model : torch.nn.Module
    clip_norm : float, optional
        If given, norms; else gradients.
    factor : callable, optional
        Of the clip norm and the norms of the examples, (n,): what each gradient is multiplied by. By default it is
        Opacus'.

    Returns
    -------
    opacus.grad_sample.AbstractGradSampleModule
        Which computes nothing but in `recording`, and says with `leaves` by what name it leaves it.
    """
    from opacus.grad_sample import GradSampleModule, GradSampleModuleFastGradientClipping
    from opacus.grad_sample.functorch import prepare_layer

    class Gradients(Watching, GradSampleModule):
        leaves = "grad_sample"
        GRAD_SAMPLERS = _gradient_rules(GradSampleModule.GRAD_SAMPLERS)

    class Norms(Watching, GradSampleModuleFastGradientClipping):
        leaves = "_norm_sample"
        GRAD_SAMPLERS = _gradient_rules(GradSampleModule.GRAD_SAMPLERS)
        NORM_SAMPLERS = _norm_rules(GradSampleModuleFastGradientClipping.NORM_SAMPLERS)

        def capture_activations_hook(self, module, inputs, output):
            # The norm of a sum over several uses needs the gradients themselves.
            if any(getattr(each, "_forward_counter", 0) for each in module.parameters()):
                self.use_ghost_clipping = False
            super().capture_activations_hook(module, inputs, output)

        def get_clipping_coef(self):
            if factor is None:
                return super().get_clipping_coef()
            return factor(self.max_grad_norm, self.get_norm_sample())

    for module in filter(_is_beyond_opacus, model.modules()):
        prepare_layer(module)
    if clip_norm is None:
        wrapped = Gradients(model, loss_reduction="sum")
    else:
        wrapped = Norms(model, loss_reduction="sum", max_grad_norm=clip_norm)
    wrapped.labels = {module: label(name, module) for name, module in model.named_modules()}
    wrapped.disable_hooks()
    return wrapped


def _is_plain_call(inputs, output):
    tensors = len(inputs) == 1 and isinstance(inputs[0], torch.Tensor) and isinstance(output, torch.Tensor)
    return tensors and output.dtype in TYPES


def _gradient_rules(known):
    """Return Opacus' rules by kind of layer, mended."""
    from opacus.grad_sample.functorch import ft_compute_per_sample_gradient as by_functorch

    def other(layer, activations, backprops):
        prepared = hasattr(layer, "ft_compute_sample_grad")
        return (by_functorch if prepared else known[type(layer)])(layer, activations, backprops)

    def convolution(layer, activations, backprops):
        # Opacus reads strides that only contiguous images have.
        return other(layer, [activations[0].contiguous()], backprops)

    def embedding(layer, activations, backprops):
        return other(layer, activations, _without_padding(layer, activations, backprops))

    return known | dict.fromkeys(CONVOLUTIONS, convolution) | {nn.LayerNorm: other, nn.Embedding: embedding}


def _is_beyond_opacus(module):
    """Say whether Opacus' rule for a kind of layer is wrong with the options of this one."""
    if type(module) in CONVOLUTIONS:
        return module.padding_mode != "zeros"  # it takes any padding for zeros
    return type(module) is nn.LayerNorm and module.bias is None


def _norm_rules(known):
    def embedding(layer, activations, backprops):
        return known[nn.Embedding](layer, activations, _without_padding(layer, activations, backprops))

    def linear(layer, activations, backprops):
        if backprops.ndim == 2:
            return known[nn.Linear](layer, activations, backprops)
        inputs, gradients = activations[0].flatten(1, -2), backprops.flatten(1, -2)
        found = {}
        if layer.weight.requires_grad:
            found[layer.weight] = _product_norms(gradients, inputs)
        if layer.bias is not None and layer.bias.requires_grad:
            found[layer.bias] = gradients.sum(1).norm(dim=1)
        return found

    return {nn.Linear: linear, nn.Embedding: embedding}


def _product_norms(gradients, inputs):
    """Return the Frobenius norm of G^T X for each pair in (n, T, m) and (n, T, k)."""
    if inputs.shape[1] ** 2 > gradients.shape[2] * inputs.shape[2]:
        return (gradients.mT @ inputs).flatten(1).norm(dim=1)
    # Where places cancel, the rounding of squares in float32 alone would be more than the norm.
    return (_gram(gradients) * _gram(inputs)).sum((1, 2)).clamp(min=0).sqrt().to(gradients.dtype)


def _gram(x):
    x = x.double()
    return x @ x.mT


def _without_padding(layer, activations, backprops):
    """Set to zero what flows back to the row that an embedding doesn't train."""
    if layer.padding_idx is None:
        return backprops
    return backprops.masked_fill((activations[0] == layer.padding_idx).unsqueeze(-1), 0)


@contextmanager
def recording(wrapped):
    """Let passes leave what they find of the examples; one that fails leaves nothing.

    Parameters
    ----------
    wrapped : opacus.grad_sample.AbstractGradSampleModule
        Of `wrapped_model`.
    """
    wrapped.enable_hooks()
    try:
        yield
    except BaseException:
        _forget(wrapped)
        raise
    finally:
        wrapped.disable_hooks()


def _forget(wrapped):
    for module in wrapped.modules():
        for name in ("activations", "max_batch_len"):
            module.__dict__.pop(name, None)
    for parameter in wrapped.parameters():
        if parameter.requires_grad:
            parameter.grad_sample, parameter._norm_sample, parameter._forward_counter = None, None, 0
            parameter.__dict__.pop("_current_grad_sample", None)


def check_seen(wrapped, parameters):
    """Raise ValueError if a backward pass left nothing of the examples on a parameter.

    Parameters
    ----------
    wrapped : opacus.grad_sample.AbstractGradSampleModule
        Of `wrapped_model`.
    parameters : dict of str to torch.nn.Parameter
        Those that are trained.
    """
    missing = [name for name, each in parameters.items() if getattr(each, wrapped.leaves, None) is None]
    if missing:
        raise ValueError(
            f"no call of a layer led from {missing[0]} to the loss: freeze it with requires_grad_(False), or use it in "
            "the layer's own forward"
        )


def check_examples(wrapped, parameters, inputs, targets, loss):
    """Compare a model and a loss with what clipping takes for granted, on two examples.

    One example's loss must not depend on the other, nor on how many there are, and no buffer on either; the gradients
    of each must be those of autograd. Floating-point inputs are made up, of the shape of those given: they say nothing
    of the data.

    Parameters
    ----------
    wrapped : opacus.grad_sample.AbstractGradSampleModule
        Of `wrapped_model`.
    parameters : dict of str to torch.nn.Parameter
        Those that are trained.
    inputs, targets : torch.Tensor
        (n, ...) and (n, ...), n >= 1.
    loss : callable
        Of outputs and targets; returns the loss of each example, (n,).

    Raises
    ------
    ValueError
        If they don't agree; it says what to change.
    """
    pair = [0, 1 % len(inputs)]
    inputs, targets = inputs[pair], targets[pair]
    if inputs.is_floating_point():
        inputs = torch.rand(
            inputs.shape,
            generator=torch.Generator(inputs.device).manual_seed(0),
            dtype=inputs.dtype,
            device=inputs.device,
        )
    devices = [inputs.device] if inputs.device.type == "cuda" else []
    buffers = {name: each.clone() for name, each in wrapped.named_buffers()}
    with torch.random.fork_rng(devices):
        _check_company(wrapped, buffers, inputs, targets, loss, devices)
        _check_gradients(wrapped, parameters, inputs, targets, loss)
    _put_back(wrapped, buffers)


def _put_back(wrapped, buffers):
    """Give buffers the values that they had; return those that they have."""
    left = {}
    for name, each in wrapped.named_buffers():
        left[name] = each.clone()
        each.copy_(buffers[name])
    return left


@torch.no_grad()
def _check_company(wrapped, buffers, inputs, targets, loss, devices):
    def computed(chosen):
        with torch.random.fork_rng(devices):  # each time the same random numbers, those of dropout say
            outputs = wrapped(inputs[chosen])
            return outputs, loss(outputs, targets[chosen]), _put_back(wrapped, buffers)

    outputs, own, left = computed([0, 1])
    # Each one beside itself, in its place: one may depend on those before it, or on those with a smaller loss, alone.
    _, first, left_by_itself = computed([0, 0])
    _, second, _ = computed([1, 1])
    beside_itself = torch.stack([first[0], second[1]])
    for name, each in left.items():
        if not bool(((each == left_by_itself[name]) | each.isnan()).all()):
            raise ValueError(
                f"the buffer {name.removeprefix('_module.')} keeps what it sees of the examples, which no noise "
                "covers: leave it out, or fix it for private steps"
            )
    scale = 0.0
    if isinstance(outputs, torch.Tensor):
        scale = float(outputs.abs().max())
        alone = torch.cat([loss(outputs[i : i + 1], targets[i : i + 1]) for i in (0, 1)])
        if not _is_close(own, alone, scale):
            raise ValueError(
                "the loss of an example depends on how many others there are: return that of each, (n,), of its own "
                "output and target alone, such as with reduction='none'"
            )
    if not _is_close(own, beside_itself, scale):
        raise ValueError(
            "the loss of an example depends on another one: a layer or the loss mixes the examples of a batch, or "
            "takes another dimension than the first for theirs; replace it"
        )


def _is_close(one, other, scale):
    return torch.allclose(one, other, rtol=LOSS_SHARE, atol=ROUNDING * scale, equal_nan=True)


@contextmanager
def _in_words():
    """Say of an error in a recorded pass that it is one of recording: without, passes are fine."""
    try:
        yield
    except (AttributeError, NotImplementedError, RuntimeError, TypeError) as error:
        raise ValueError(
            f"Opacus finds no gradients by example: {error}; replace or freeze that layer, and do nothing in place"
        ) from error


def _check_gradients(wrapped, parameters, inputs, targets, loss):
    wanted = list(parameters.values())
    with recording(wrapped), _in_words():
        losses = loss(wrapped(inputs), targets)
    truth = [torch.autograd.grad(each, wanted, retain_graph=True, allow_unused=True) for each in losses]
    truth = [
        [torch.zeros_like(each) if own is None else own for each, own in zip(wanted, gradients, strict=True)]
        for gradients in truth
    ]
    with recording(wrapped), _in_words():
        losses.sum().backward()
        check_seen(wrapped, parameters)
    for index, gradients in enumerate(truth):
        norm = float(torch.stack([each.norm() for each in gradients]).norm())
        for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True):
            found = getattr(parameter, wrapped.leaves)
            off = math.inf
            if len(found) == len(inputs):
                expected = gradient if wrapped.leaves == "grad_sample" else gradient.norm()
                off = float((found[index] - expected).norm())
            if off > GRADIENT_SHARE * norm:
                raise ValueError(
                    f"the gradients of each example with respect to {name} aren't those of autograd: use it by "
                    "calling its layer with one tensor (n, ...) alone, nowhere else"
                )
