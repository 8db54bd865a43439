"""A private run saved and restored as a whole: model, optimizer and loader, in one call.

One without the others breaks what is counted on: noise or batches that come a second time, after weights or steps that
they weren't drawn for, can be told from fresh ones.
"""

import copy

PARTS = ("model", "optimizer", "loader")


def checkpoint(model, optimizer, loader):
    """Return the state of a private run, a copy, for `torch.save`.

    Parameters
    ----------
    model : torch.nn.Module
    optimizer : ClipFreeOptimizer or ClippedGradients
        Its state holds those of the noise and of the transcript.
    loader : PoissonLoader

    Returns
    -------
    dict of str to dict
        The state of each, under "model", "optimizer" and "loader".
    """
    return {
        name: copy.deepcopy(each.state_dict()) for name, each in zip(PARTS, (model, optimizer, loader), strict=True)
    }


def restore(state, model, optimizer, loader):
    """Go on from a state of :func:`checkpoint`, with the steps that would have followed.

    Parameters
    ----------
    state : dict of str to dict
    model, optimizer, loader
        Made as those that were saved.

    Raises
    ------
    ValueError
        If a part of the state is missing, or isn't one of this loader, model or optimizer.

    Examples
    --------
    >>> import torch
    >>> from orthobench.privacy.clip_free import ClipFreeOptimizer
    >>> from orthobench.privacy.networks import private_mlp
    >>> from orthobench.privacy.sampling import PoissonLoader
    >>> def run():
    ...     model, data = private_mlp(0), torch.full((100, 64), 1 / 8)
    ...     optimizer = ClipFreeOptimizer(
    ...         torch.optim.SGD(model.parameters(), lr=0.1),
    ...         model,
    ...         loss_constant=1.0,
    ...         input_norm=1.0,
    ...         expected_batch_size=10,
    ...         noise_multiplier=2.0,
    ...         sampling_rate=0.1,
    ...     )
    ...     return model, optimizer, PoissonLoader([data], 10, 20, torch.Generator().manual_seed(0))
    >>> first, again = run(), run()
    >>> first[1].step()
    >>> restore(checkpoint(*first), *again)
    >>> again[1].transcript.steps
    1
    """
    if not isinstance(state, dict) or {*state} != {*PARTS}:
        found = ", ".join(map(str, state)) if isinstance(state, dict) else type(state).__name__
        raise ValueError(f"a state of {found or 'nothing'}: give one of `checkpoint`, of {', '.join(PARTS)}")
    if state["optimizer"].keys() != optimizer.state_dict().keys():
        raise ValueError(
            f"the state isn't one of a {type(optimizer).__name__}: its optimizer has {', '.join(state['optimizer'])}"
        )
    loader.load_state_dict(state["loader"])
    try:
        model.load_state_dict(state["model"])
    except RuntimeError as error:
        raise ValueError(f"the state isn't one of this model: {error}") from error
    optimizer.load_state_dict(state["optimizer"])
