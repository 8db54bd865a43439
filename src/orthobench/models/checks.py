"""One check, and one wording, for the integers that users give."""

import operator


def check_integer(name, value, low, high=None):
    """Return an integer argument as an int.

    Parameters
    ----------
    name : str
        What the argument is called in the message.
    value : int
        Any integer type, numpy's too, but not a bool.
    low, high : int
        Smallest and largest allowed value; no largest if `high` is None.

    Returns
    -------
    int
        The same value.

    Raises
    ------
    TypeError
        If it is not an integer.
    ValueError
        If it is outside the range.
    """
    allowed = f"an integer >= {low}" if high is None else f"an integer in {low}..{high}"
    try:
        integer = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        integer = None
    if integer is None:
        raise TypeError(f"{name} is {value!r}: give {allowed}")
    if integer < low or (high is not None and integer > high):
        raise ValueError(f"{name} is {integer}: give {allowed}")
    return integer
