"""Times that are to be compared: each method in turn, in one process, several times."""

import statistics

from ..device import Stopwatch


def times_in_turn(methods, device, repetitions):
    """Time each method in turn, ``repetitions`` times, after a warm-up of all.

    Parameters
    ----------
    methods : dict of str to callable
    device : torch.device
    repetitions : int

    Returns
    -------
    dict of str to list of float
        Seconds of each, in the order of the repetitions: what belongs together was timed together.
    """
    times = {name: [] for name in methods}
    for repetition in range(repetitions + 1):
        for name, method in methods.items():
            stopwatch = Stopwatch(device)
            stopwatch.start()
            method()
            stopwatch.stop()
            if repetition:
                times[name].append(stopwatch.elapsed_s)
    return times


def medians(methods, device, repetitions):
    """Return the median seconds of each method, timed as `times_in_turn` does."""
    return {name: statistics.median(times) for name, times in times_in_turn(methods, device, repetitions).items()}
