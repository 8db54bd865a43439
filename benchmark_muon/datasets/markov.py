"""A simulated text, whose entropy rate is known exactly: no model can do better."""

from functools import partial

from orthobench.data import markov
from orthobench.harness.training import TaskDataset, TrainingTask
from orthobench.models import byte_transformer


class Dataset(TaskDataset):
    """A Markov chain for a small GPT; its entropy rate is the floor of the held-out loss."""

    name = "markov"
    parameters = {"steps": [240], "order": [1], "vocabulary": [64], "context": [64]}

    def task(self, seed):
        parts, rate = markov(seed, self.context, vocabulary=self.vocabulary, order=self.order)
        make_model = partial(byte_transformer, width=96, depth=2, context=self.context, vocabulary=self.vocabulary)
        return TrainingTask(make_model, parts, batch_size=32, steps=self.steps, target=1.05 * rate, floor=rate)
