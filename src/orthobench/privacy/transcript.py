"""What a private training run did, step by step, as far as its privacy depends on it."""

import copy
import math
from numbers import Real
from typing import NamedTuple

ADJACENCIES = ("add_or_remove_one",)


class Event(NamedTuple):
    """Equal steps in a row: Gaussian mechanisms on one Poisson sample of the data."""

    sampling_rate: float
    noise_multiplier: float
    steps: int


class Transcript:
    """What happened, recorded as it happens: sampling rate, noise multipliers and number of the steps.

    A step runs one or several Gaussian mechanisms on the same sample, each with a noise multiplier s_i: the standard
    deviation of its noise over the L2 norm of what one example can change. Together they are one Gaussian mechanism
    with s = (sum of s_i^-2)^(-1/2), since their outputs, scaled by the deviations, differ by a vector of norm 1 / s.

    Where a loader tells the transcript what it sampled (:meth:`sampled`), a step recorded at another rate, or a second
    one on the same sample, is refused: sampling and accounting can't disagree.

    Parameters
    ----------
    adjacency : str
        Which data sets are neighbours: those where one has an example more, "add_or_remove_one".

    Attributes
    ----------
    extra_delta : float
        The probability that a bound which the noise was made for did not hold, to be added to delta.

    Raises
    ------
    ValueError
        For another adjacency.
    """

    def __init__(self, adjacency="add_or_remove_one"):
        if adjacency not in ADJACENCIES:
            raise ValueError(f"adjacency={adjacency!r}: give {' or '.join(ADJACENCIES)}")
        self.adjacency = adjacency
        self.extra_delta = 0.0
        self._events = []
        self._samples = None  # (rate, how many were drawn): None where no loader tells

    def __eq__(self, other):
        return isinstance(other, Transcript) and self.state_dict() == other.state_dict()

    __hash__ = None

    def __repr__(self):
        return f"Transcript({self.steps} steps, events={list(map(tuple, self._events))}, {self.adjacency})"

    @property
    def steps(self):
        """Number of recorded steps."""
        return sum(event.steps for event in self._events)

    @property
    def events(self):
        """The steps as a tuple of `Event`: (sampling rate, effective noise multiplier, number of steps in a row)."""
        return tuple(self._events)

    def sampled(self, sampling_rate):
        """Note that a loader has drawn the sample of the next step.

        Parameters
        ----------
        sampling_rate : float
            In (0, 1].

        Raises
        ------
        ValueError
            If the rate is none, or not the one of the samples before.
        """
        rate = check_rate(sampling_rate)
        if self._samples is None:
            self._samples = (rate, self.steps)
        if self._samples[0] != rate:
            raise ValueError(f"a sample at the rate {rate:g} after some at {self._samples[0]:g}: use one loader")
        self._samples = (rate, self._samples[1] + 1)

    def record(self, sampling_rate, noise_multipliers):
        """Add a step.

        Parameters
        ----------
        sampling_rate : float
            With which each example was part of the sample, in (0, 1].
        noise_multipliers : sequence of float
            One for each mechanism of the step, positive.

        Raises
        ------
        ValueError
            If a number is out of its range, or the step does not fit what the loader has drawn.
        """
        rate, noise = check_rate(sampling_rate), combined(noise_multipliers)
        self._check_sample(rate)
        last = self._events[-1] if self._events else None
        if last is not None and last[:2] == (rate, noise):
            self._events[-1] = last._replace(steps=last.steps + 1)
        else:
            self._events.append(Event(rate, noise, 1))

    def _check_sample(self, rate):
        if self._samples is None:
            return
        drawn_at, drawn = self._samples
        if rate != drawn_at:
            raise ValueError(f"a step is recorded at the rate {rate:g}, and its batch was drawn at {drawn_at:g}")
        if self.steps >= drawn:
            raise ValueError(f"step {self.steps + 1} is recorded after {drawn} batches: record one step a batch")

    def add_failure_probability(self, probability):
        """Add to `extra_delta` the probability that a bound fails, such as that of a random estimate of a norm.

        Raises
        ------
        ValueError
            If it is not in [0, 1).
        """
        if not 0 <= probability < 1:
            raise ValueError(f"a failure probability of {probability!r}: give one in [0, 1)")
        self.extra_delta += float(probability)

    def copy(self):
        """Return a transcript of its own with the same steps."""
        return copy.deepcopy(self)

    def state_dict(self):
        """Return what :meth:`load_state_dict` needs to go on counting: plain numbers."""
        return {
            "adjacency": self.adjacency,
            "extra_delta": self.extra_delta,
            "events": [tuple(event) for event in self._events],
            "samples": self._samples,
        }

    def load_state_dict(self, state):
        """Go on from a state of :meth:`state_dict`.

        Raises
        ------
        ValueError
            If it is one of another adjacency.
        """
        if state["adjacency"] != self.adjacency:
            raise ValueError(f"a transcript of adjacency {state['adjacency']!r}, this one has {self.adjacency!r}")
        self.extra_delta = float(state["extra_delta"])
        self._events = [Event(*event) for event in state["events"]]
        self._samples = None if state["samples"] is None else tuple(state["samples"])


def combined(noise_multipliers):
    """Return the noise multiplier of several Gaussian mechanisms on one sample: (sum of s_i^-2)^(-1/2).

    Raises
    ------
    ValueError
        If there is none, or one isn't positive and finite.
    """
    found = [float(each) for each in noise_multipliers]
    for each in found:
        if not (math.isfinite(each) and each > 0):
            raise ValueError(f"a noise multiplier of {each!r}: give positive, finite ones; without noise is no privacy")
    if not found:
        raise ValueError("no noise multiplier: give one for each mechanism of the step, at least one")
    return found[0] if len(found) == 1 else math.fsum(each**-2 for each in found) ** -0.5


def check_rate(sampling_rate):
    """Return a sampling rate as a float.

    Raises
    ------
    TypeError, ValueError
        If it is not a number in (0, 1].
    """
    if isinstance(sampling_rate, bool) or not isinstance(sampling_rate, Real):
        raise TypeError(f"a sampling rate of {sampling_rate!r}: give a number in (0, 1]")
    if not 0 < sampling_rate <= 1:
        raise ValueError(f"a sampling rate of {sampling_rate!r}: give one in (0, 1], the batch size over the examples")
    return float(sampling_rate)
