"""The shape of a learning-rate schedule."""


def warmup_stable_decay(step, steps, warmup=0.05, decay=0.4):
    """Return what the learning rate of one step is multiplied by: up, constant, and linearly down to zero.

    Parameters
    ----------
    step : int
        From 0 to ``steps - 1``.
    steps : int
        Of the whole run.
    warmup, decay : float
        Shares of the steps spent rising from 0 and falling to 0, at most 1 together.

    Returns
    -------
    float
        In (0, 1]: no step is wasted on a rate of zero.

    Raises
    ------
    ValueError
        If the step is not one of the run, or a share is not in its range.
    """
    if not 0 <= step < steps:
        raise ValueError(f"step is {step}: give one from 0 to {steps - 1}")
    if not (warmup >= 0 and decay >= 0 and warmup + decay <= 1):
        raise ValueError(f"warmup={warmup} and decay={decay}: give shares of the steps, at most 1 together")
    rising = (step + 1) / (warmup * steps) if warmup else 1.0
    falling = (steps - step) / (decay * steps) if decay else 1.0
    return min(rising, 1.0, falling)
