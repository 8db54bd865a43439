"""The base of the data sets that hand out a task: where their files are, and what stands for those that are missing."""

from benchopt import BaseDataset
from benchopt.benchmark import get_running_benchmark
from benchopt.config import get_data_path

from ..data.download import Exactly
from .stand_in import StandIn
from .strict import contain


class TaskDataset(BaseDataset):
    """A data set of examples. A subclass implements :meth:`task`."""

    def task(self, seed):
        """Return the task of one repetition, such as a `TrainingTask`; the seed matters to simulated data alone."""
        raise NotImplementedError

    def save_parameters(self, **parameters):
        """Set the parameters, those too that the class has a value of: Benchopt would leave them at that."""
        super().save_parameters(**parameters)
        vars(self).update(self._parameters)

    def folder(self):
        """Return where the files are, for the loaders of `orthobench.data`.

        The folder that Benchopt's ``data_paths`` has for this data set's name; else that of all data sets, Benchopt's
        ``data_home``, if it is set; else None, for the default.
        """
        benchmark = get_running_benchmark()
        if benchmark.get_setting("data_paths").get(self.name):
            return Exactly(get_data_path(self.name))
        return get_data_path() if benchmark.get_setting("data_home") else None

    def prepare(self):
        """Download what is missing (``benchopt prepare``)."""
        self.task(0)

    def get_data(self):
        """Return the task of this repetition, or what stands for it: a missing file must not end the whole run."""
        seed = self.get_seed(use_repetition=True)
        try:
            return {"task": self.task(seed)}
        except Exception as error:
            contain(error)
            return {"task": StandIn(error)}
