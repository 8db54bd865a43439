"""Poisson sampling: each example is part of each batch on its own, with the same probability."""

import os

import numpy as np
import torch

from orthobench.models.checks import check_integer

from .inner import noise_generator

# Random numbers in [0, 1) are multiples of 2^-53, as float64 has them.
BITS = 53


def secure_bits(count, bits):
    """Return independent integers in [0, 2^bits) from the operating system's cryptographic generator.

    Parameters
    ----------
    count : int
    bits : int
        Up to 53, so that float64 holds them exactly.

    Returns
    -------
    numpy.ndarray
        (count,), float64.
    """
    drawn = np.frombuffer(os.urandom(8 * count), dtype=np.uint64)
    return (drawn >> np.uint64(64 - bits)).astype(np.float64)


class PoissonLoader:
    """Batches in which each example is, independently, with probability q = expected_batch_size / N.

    Sizes vary, and a batch may be empty: that is what amplification by Poisson sampling assumes. An empty batch is
    yielded like any other, since its step costs privacy too.

    N and q are public: accounting compares data sets with an example more or less at the same q.

    Parameters
    ----------
    tensors : sequence of torch.Tensor
        Each (N, ...), on one device, N >= 1.
    expected_batch_size : int or float
        In (0, N].
    steps : int
        Number of batches, all iterations over the loader together.
    generator : torch.Generator, optional
        Source of randomness, on the CPU; one with a seed of the operating system by default. Who knows it knows which
        examples a batch has: then sampling amplifies nothing.
    secure : bool
        Draw from the operating system's cryptographic generator instead; such batches can't be repeated.
    transcript : Transcript, optional
        Told of each batch before it is yielded: it refuses steps at another rate, or more of them than batches.

    Attributes
    ----------
    sizes : list of int
        Those of the batches so far.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of those allowed.
    """

    def __init__(self, tensors, expected_batch_size, steps, generator=None, secure=False, transcript=None):
        if isinstance(tensors, torch.Tensor):
            raise TypeError("tensors is one Tensor: give a sequence of them, such as [inputs, targets]")
        self.tensors = tuple(tensors)
        self.count = _common_length(self.tensors)
        if not 0 < expected_batch_size <= self.count:
            raise ValueError(
                f"expected_batch_size={expected_batch_size!r}: give one in (0, {self.count}], the examples"
            )
        if secure and generator is not None:
            raise ValueError("secure=True takes no generator: its numbers come from the operating system")
        self.expected_batch_size = expected_batch_size
        self.steps = check_integer("steps", steps, 1)
        self.generator = None if secure else noise_generator(generator, torch.device("cpu"))
        self.secure, self.transcript = secure, transcript
        self.sizes = []

    @property
    def sampling_rate(self):
        """The probability with which an example is in a batch."""
        return float(self.expected_batch_size / self.count)

    def __len__(self):
        """Return the number of batches that are left."""
        return self.steps - len(self.sizes)

    def __iter__(self):
        while len(self):
            yield self.draw()

    def draw(self):
        """Return the next batch: a tuple of tensors (size, ...), copies.

        Raises
        ------
        IndexError
            If all batches were drawn.
        """
        if not len(self):
            raise IndexError(f"all {self.steps} batches were drawn: make the loader with more steps")
        indices = (self._uniform() < self.sampling_rate).nonzero().flatten()
        if self.transcript is not None:
            self.transcript.sampled(self.sampling_rate)
        self.sizes.append(len(indices))
        return tuple(each.index_select(0, indices.to(each.device)) for each in self.tensors)

    def _uniform(self):
        """Return N independent numbers in [0, 1), float64."""
        if not self.secure:
            return torch.rand(self.count, generator=self.generator, dtype=torch.float64)
        return torch.from_numpy(secure_bits(self.count, BITS) * 2.0**-BITS)

    def state_dict(self):
        """Return what :meth:`load_state_dict` needs to go on from here."""
        generator = None if self.generator is None else self.generator.get_state()
        return {"sizes": list(self.sizes), "generator": generator, "sampling_rate": self.sampling_rate}

    def load_state_dict(self, state):
        """Go on from a state of :meth:`state_dict`, with the batches that would have followed (unless `secure`).

        Raises
        ------
        ValueError
            If it is one of another sampling rate.
        """
        if state["sampling_rate"] != self.sampling_rate:
            raise ValueError(f"a state of the rate {state['sampling_rate']:g}: this loader has {self.sampling_rate:g}")
        self.sizes = list(state["sizes"])
        if self.generator is not None and state["generator"] is not None:
            self.generator.set_state(state["generator"])


def _common_length(tensors):
    if not tensors or not all(isinstance(each, torch.Tensor) and each.ndim for each in tensors):
        raise TypeError(f"tensors is {[type(each).__name__ for each in tensors]}: give tensors (N, ...), at least one")
    lengths = {len(each) for each in tensors}
    if len(lengths) > 1:
        raise ValueError(f"the tensors have {sorted(lengths)} rows: give as many of each")
    (count,) = lengths
    if not count:
        raise ValueError("the data hold no example (N = 0): give at least one")
    return count
