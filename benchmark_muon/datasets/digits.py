"""Scikit-learn's handwritten digits: real, and shipped with it."""

from functools import partial

from orthobench.data import digits_parts
from orthobench.harness.training import TaskDataset, TrainingTask
from orthobench.models import digits_convnet


class Dataset(TaskDataset):
    """1,797 grey images of 8x8 pixels in 10 classes, for a small convolutional network."""

    name = "digits"
    parameters = {"steps": [120], "width": [16]}

    def task(self, seed):
        make_model = partial(digits_convnet, width=self.width)
        return TrainingTask(make_model, digits_parts(), batch_size=128, steps=self.steps, target=0.1)
