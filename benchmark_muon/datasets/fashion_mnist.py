"""Fashion-MNIST."""

from functools import partial

from orthobench.data import fashion_mnist
from orthobench.harness.training import TaskDataset, TrainingTask
from orthobench.models import convnet


class Dataset(TaskDataset):
    """70,000 pictures of clothing, grey, 28x28 pixels (Xiao et al., 2017), for a small convolutional network."""

    name = "fashion_mnist"
    parameters = {"steps": [1000], "width": [32]}

    def task(self, seed):
        make_model = partial(convnet, width=self.width)
        return TrainingTask(make_model, fashion_mnist(self.folder()), batch_size=128, steps=self.steps, target=0.3)
