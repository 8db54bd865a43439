"""A simulated text, whose entropy rate is known exactly: no model can do better."""

from functools import partial

from orthobench.data import markov
from orthobench.harness.training import TaskDataset, TrainingTask
from orthobench.models import byte_transformer


class Dataset(TaskDataset):
    """A Markov chain for a small GPT; the least loss that a model can expect is drawn as the floor."""

    name = "markov"
    parameters = {"steps": [240], "order": [1], "vocabulary": [64], "context": [64]}

    def task(self, seed):
        chain = markov(seed, self.context, vocabulary=self.vocabulary, order=self.order)
        make_model = partial(byte_transformer, width=96, depth=2, context=self.context, vocabulary=self.vocabulary)
        sizes = {"batch_size": 32, "steps": self.steps}
        return TrainingTask(make_model, chain.parts, **sizes, target=1.05 * chain.floor, floor=chain.floor)
