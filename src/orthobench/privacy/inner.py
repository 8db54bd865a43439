"""What private optimizers take: an optimizer of all that is trained, and of nothing else, and a source of noise."""

import inspect

import torch


def trained_parameters(model, optimizer, known=None):
    """Return the parameters that a model trains, by name.

    Parameters
    ----------
    model : torch.nn.Module
    optimizer : torch.optim.Optimizer
    known : dict of str to torch.nn.Parameter, optional
        Those that layers are known to use; by default all are.

    Raises
    ------
    ValueError
        If there are none, the optimizer trains others, or a step of it looks at the data again.
    """
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise ValueError(
            f"a step of {type(optimizer).__name__} computes the loss again, which no noise covers: give an optimizer "
            "whose steps take the gradients alone, such as SGD or Adam"
        )
    trained = {name: each for name, each in model.named_parameters() if each.requires_grad}
    if not trained:
        raise ValueError("the model has no parameter to train: give one with requires_grad")
    unknown = [] if known is None else [name for name in trained if name not in known]
    given = _trained_identities(optimizer)
    missing = [name for name, each in trained.items() if id(each) not in given]
    if unknown or missing or len(given) != len(trained):
        raise ValueError(
            f"the optimizer trains {len(given)} parameters, the model trains {len(trained)}"
            + (f", of which it lacks {', '.join(missing)}" if missing else "")
            + (f", of which no layer uses {', '.join(unknown)}" if unknown else "")
            + ": give it those of the model, all that are trained and no others"
        )
    return trained


def check_parameters(optimizer, trained):
    """Raise ValueError unless an optimizer trains the parameters that it did, and steps on gradients of no others.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
    trained : dict of str to torch.nn.Parameter
        What `trained_parameters` returned.
    """
    if _trained_identities(optimizer) != {id(each) for each in trained.values()}:
        raise ValueError(
            "the optimizer trains other parameters than before, and noise is for those: make both anew, or freeze "
            "parameters again"
        )
    if any(
        each.grad is not None and not each.requires_grad for group in optimizer.param_groups for each in group["params"]
    ):
        raise ValueError("a frozen parameter has a gradient, which gets no noise: set it to None")


def noise_generator(generator, device):
    """Return the generator of noise, or of batches; for None, one with a seed of the operating system.

    Parameters
    ----------
    generator : torch.Generator or None
    device : torch.device
        Of the weights; the CPU, for batches.

    Raises
    ------
    TypeError, ValueError
        If it is none, or on another device.
    """
    if generator is None:
        generator = torch.Generator(device)
        generator.seed()
    if not isinstance(generator, torch.Generator):
        raise TypeError(f"generator is a {type(generator).__name__}: give a torch.Generator on {device}, or None")
    if generator.device.type != device.type:
        raise ValueError(f"generator is on {generator.device}: give one on {device}")
    return generator


def _trained_identities(optimizer):
    return {id(each) for group in optimizer.param_groups for each in group["params"] if each.requires_grad}
