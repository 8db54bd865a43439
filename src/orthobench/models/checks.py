"""Checks, and their wording, for the integers that users give."""

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


def check_multiple(name, value, factor, factor_name=None):
    """Raise ValueError unless an integer is a multiple of another.

    Parameters
    ----------
    name : str
        What the integer is called in the message.
    value, factor : int
        The integer, and what it must be a multiple of: a positive integer.
    factor_name : str
        The argument that `factor` is the value of; none if None.
    """
    if value % factor:
        of = factor if factor_name is None else f"{factor_name}, {factor}"
        raise ValueError(f"{name} is {value}: give a multiple of {of}")
