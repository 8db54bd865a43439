"""Work on several results at once, where there is much of it."""

import os

from joblib import Parallel, delayed

ENOUGH = 5000  # rows: with fewer, starting a process takes longer than the work


def at_once(function, arguments, rows):
    """Return what a function makes of each tuple of arguments, in their order.

    Parameters
    ----------
    function : callable
        It must not depend on what an earlier call left.
    arguments : list of tuple
    rows : int
        How many rows the work is on, all in all.
    """
    if rows < ENOUGH or len(arguments) < 2 or (os.cpu_count() or 1) < 2:
        return [function(*each) for each in arguments]
    return Parallel(n_jobs=min(os.cpu_count(), len(arguments)))(delayed(function)(*each) for each in arguments)
