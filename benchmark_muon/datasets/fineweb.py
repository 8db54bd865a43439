"""FineWeb, for GPT-2: the task of modded-nanogpt's track 3."""

from functools import partial

from orthobench.data import fineweb, shards_for
from orthobench.harness.training import TaskDataset, TrainingTask
from orthobench.models import gpt2

HEAD_SIZE = 128


class Dataset(TaskDataset):
    """Web text (Penedo et al., 2024) in GPT-2's tokens, for a GPT-2 of 124M parameters, in batches of 524,288 tokens.

    Network, data, batch and target are those of track 3 of modded-nanogpt, where Muon takes 3,250 steps; the order of
    the data and the schedule are the harness's. It downloads the shards that all steps take, 200 MB for every 190 of
    them. `micro_batch_size` (sequences at once) decides how much memory it takes, not what is computed.
    """

    name = "fineweb"
    parameters = {
        "steps": [3250],
        "batch_size": [512],
        "context": [1024],
        "micro_batch_size": [16],
        "width": [768],
        "depth": [12],
    }

    def task(self, seed):
        parts = fineweb(self.context, self.folder(), shards_for(self.steps * self.batch_size, self.context))
        sizes = {"width": self.width, "depth": self.depth, "heads": max(1, self.width // HEAD_SIZE)}
        make_model = partial(gpt2, **sizes, context=self.context)
        length = {"steps": self.steps, "batch_size": self.batch_size, "micro_batch_size": self.micro_batch_size}
        return TrainingTask(make_model, parts, **length, target=3.28, evaluations=max(1, self.steps // 125))
