"""What the compiler is told of functions, without an import of it: that takes as long as the import of torch itself."""


def assume_constant(function):
    """Let `torch.compile` call a function while it traces, and take what it returns as a constant.

    The same as `torch.compiler.assume_constant_result`, which imports the compiler.

    Parameters
    ----------
    function : callable

    Returns
    -------
    callable
        The same.
    """
    function._dynamo_marked_constant = True
    return function
