"""Steps of optimizers as CUDA graphs, for those that can be recorded."""

from .capture import CapturedStep


def recorded_steps(optimizers, warm_up):
    """Return a `CapturedStep` for each optimizer that says that its steps can be recorded.

    Others keep state in Python, wait for the device, or don't say; and a hook wouldn't be called by a recording.

    Parameters
    ----------
    optimizers : list of torch.optim.Optimizer
    warm_up : int
        Steps before the recording, as `CapturedStep` takes them.

    Returns
    -------
    dict of torch.optim.Optimizer to CapturedStep

    Raises
    ------
    ValueError
        If such an optimizer's parameters aren't on a CUDA device.
    """
    return {each: CapturedStep(each, warm_up=warm_up) for each in optimizers if _is_recordable(each)}


def _is_recordable(optimizer):
    if not hasattr(optimizer, "check_capturable") or _has_hooks(optimizer):
        return False
    try:
        optimizer.check_capturable()
    except ValueError:
        return False
    return True


def _has_hooks(optimizer):
    return bool(optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks)
