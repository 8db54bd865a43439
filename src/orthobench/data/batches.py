"""Which examples are in each batch: decided by a seed, and by nothing that a solver does."""

import zlib

import torch

# An order of more examples, such as all windows of a long text, would fill memory, and repeats are rare without it.
LARGEST_EPOCH = 2**24


class BatchOrder:
    """The indices of each batch.

    Every example comes once an epoch, in an order drawn anew for each; a batch that the end of an epoch leaves
    incomplete is filled from the next. Of more than ``LARGEST_EPOCH`` examples, indices are drawn independently.

    Parameters
    ----------
    count : int
        Number of examples.
    batch_size : int
        At most ``count``.
    seed : int
    """

    def __init__(self, count, batch_size, seed):
        if not 1 <= batch_size <= count:
            raise ValueError(f"batch_size is {batch_size}: give one from 1 to {count}, the number of examples")
        self.count, self.batch_size = count, batch_size
        self.generator = torch.Generator().manual_seed(seed)
        self.waiting = torch.empty(0, dtype=torch.int64)

    def draw(self):
        """Return the indices of the next batch, int64, (batch_size,)."""
        if self.count > LARGEST_EPOCH:
            return torch.randint(self.count, (self.batch_size,), generator=self.generator)
        if len(self.waiting) < self.batch_size:
            self.waiting = torch.cat([self.waiting, torch.randperm(self.count, generator=self.generator)])
        batch, self.waiting = self.waiting.tensor_split([self.batch_size])
        return batch

    @staticmethod
    def checksum(indices):
        """Return a number that tells batches apart, from the result of :meth:`draw`."""
        return zlib.crc32(indices.numpy())

    def state_dict(self):
        """Return what :meth:`load_state_dict` needs to go on from here."""
        return {"generator": self.generator.get_state(), "waiting": self.waiting.clone()}

    def load_state_dict(self, state):
        """Go on from a state of :meth:`state_dict`."""
        self.generator.set_state(state["generator"])
        self.waiting = state["waiting"].clone()
