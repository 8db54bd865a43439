"""Tiny Shakespeare."""

from functools import partial

from orthobench.data import shakespeare
from orthobench.harness.training import TaskDataset, TrainingTask
from orthobench.models import byte_transformer


class Dataset(TaskDataset):
    """1.1 MB of Shakespeare's plays (Karpathy, 2015), read byte by byte by a GPT."""

    name = "shakespeare"
    parameters = {"steps": [1000], "width": [256], "depth": [4], "context": [128]}

    def task(self, seed):
        parts = shakespeare(self.context, self.folder())
        make_model = partial(byte_transformer, width=self.width, depth=self.depth, context=self.context)
        return TrainingTask(make_model, parts, batch_size=32, steps=self.steps, target=1.6)
