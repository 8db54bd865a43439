"""Results that reach the objective and never the cache."""


class Unsaved:
    """Holds what a solver hands to the objective, and pickles to nothing.

    Benchopt pickles the result of each run into its cache; models and matrices would fill the disk.

    Parameters
    ----------
    value : object
    """

    def __init__(self, value=None):
        self.value = value

    def __reduce__(self):
        return Unsaved, ()


def unwrap(value):
    """Return what an `Unsaved` holds; any other value as it is."""
    return value.value if isinstance(value, Unsaved) else value
