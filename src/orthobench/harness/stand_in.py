"""What stands for something that can't be had."""


class StandIn:
    """Raises an error, whatever is asked of it.

    For what is missing (the task of a data set whose files can't be had: each cell then ends as a row that says why)
    and for what is withheld (the parts that a solver is evaluated on).

    Parameters
    ----------
    error : Exception
    """

    def __init__(self, error):
        self.error = error

    def __getattr__(self, name):
        if name.startswith("__"):  # Python's own questions, such as how to copy it
            raise AttributeError(name)
        self._refuse()

    def __len__(self):
        self._refuse()

    def __getitem__(self, index):
        self._refuse()

    def _refuse(self):
        raise self.error.with_traceback(None)
