"""The next byte of the documentation that ships with Python."""

from functools import partial

from orthobench.data import python_docs
from orthobench.harness.training import TaskDataset, TrainingTask
from orthobench.models import byte_transformer


class Dataset(TaskDataset):
    """About 370 kB of English prose and code, each paragraph once, read byte by byte by a small GPT."""

    name = "python_docs"
    parameters = {"steps": [100], "width": [64], "depth": [2], "context": [64]}

    def task(self, seed):
        make_model = partial(byte_transformer, width=self.width, depth=self.depth, context=self.context)
        sizes = {"batch_size": 16, "steps": self.steps}
        return TrainingTask(make_model, python_docs(self.context), **sizes, target=2.6)
