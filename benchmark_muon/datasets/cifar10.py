"""CIFAR-10."""

from functools import partial

from orthobench.data import cifar10, flip_and_shift
from orthobench.harness.training import TaskDataset, TrainingTask
from orthobench.models import airbench_cnn, vit
from orthobench.models.airbench import WHITENING_IMAGES


class Dataset(TaskDataset):
    """60,000 colour images of 32x32 pixels in 10 classes (Krizhevsky, 2009), for a CNN like airbench's or a ViT.

    `held_out=train_tail` holds out the last 5,000 training images instead of the test images, which it doesn't need.
    """

    name = "cifar10"
    parameters = {"network": ["cnn", "vit"], "steps": [800], "batch_size": [500], "held_out": ["test"]}

    def task(self, seed):
        parts = cifar10(self.folder(), held_out=self.held_out)
        # A copy: what is handed out with the factory must not be the data themselves.
        images = parts.train.inputs[:WHITENING_IMAGES].clone()
        networks = {"cnn": partial(airbench_cnn, images=images), "vit": vit}
        if self.network not in networks:
            raise ValueError(f"network={self.network!r}: expected {' or '.join(networks)}")
        sizes = {"batch_size": self.batch_size, "steps": self.steps}
        return TrainingTask(networks[self.network], parts, **sizes, target=0.5, augment=flip_and_shift)
