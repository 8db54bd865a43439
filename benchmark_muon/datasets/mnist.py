"""MNIST."""

from functools import partial

from orthobench.data import mnist
from orthobench.harness.training import TaskDataset, TrainingTask
from orthobench.models import convnet


class Dataset(TaskDataset):
    """70,000 handwritten digits, grey, 28x28 pixels (LeCun et al., 1998), for a small convolutional network."""

    name = "mnist"
    parameters = {"steps": [1000], "width": [32]}

    def task(self, seed):
        make_model = partial(convnet, width=self.width)
        return TrainingTask(make_model, mnist(self.folder()), batch_size=128, steps=self.steps, target=0.04)
