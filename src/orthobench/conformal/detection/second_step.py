"""Losses of the second step, prepared once for a pool of images: any part, at any first parameter, is array work then.

As the first parameter grows, boxes are added by falling scores, tied ones together. Of an image it only matters when
this changes what its true boxes need: each change begins a stage.
"""

import copy
import math
from abc import abstractmethod
from fractions import Fraction

import numpy as np

from ..risk import MonotoneLosses, SequentialLosses, StepLosses
from ..risk.losses import exact_sum
from .boxes import covered_share, margin_needs, outer_boxes
from .inputs import ragged
from .matching import images


class StagedLosses(SequentialLosses):
    """Losses of images whose second parameter is needed in stages; ``losses[images]`` are those of some of the images.

    Images without true boxes have no loss; where there are true ones and nothing is kept it is 1.
    """

    def __init__(self, truths):
        self._counts, self._images = truths.counts, np.arange(len(truths))
        self._begins, self._stages = [], np.zeros(len(truths) + 1, dtype=np.int64)

    def __getitem__(self, images):
        """Return the losses of some of the images: by a slice, indices, or a mask."""
        part = copy.copy(self)
        part._images = self._images[images]
        return part

    @property
    def count(self):
        """The number of images."""
        return len(self._images)

    def safest(self):
        """Return the losses in the first parameter, at the largest second one: 1 while nothing is kept."""
        first = self._stages[self._images]
        found = np.flatnonzero(self._stages[self._images + 1] > first)
        return one_event(-self._begins[first[found]], found, self._true_counts)

    def at(self, first):
        """Return the losses in the second parameter, each the largest of this and all larger first parameters."""
        return self._from_stage(first, last=True)

    def fixed(self, first):
        """Return the losses in the second parameter as they are, at a first one that doesn't depend on these images."""
        return self._from_stage(first, last=False)

    @abstractmethod
    def _from_stage(self, first, last):
        """Return the losses in the stages that images are in, or, if ``last``, the largest up to the last stages."""

    @property
    def _true_counts(self):
        return self._counts[self._images]

    def _begin(self, index, scores, changes):
        """Note the stages of an image: which of its scores, of all different ones, begin one."""
        self._begins.append(scores[changes])
        self._stages[index + 1] = len(self._begins[-1])

    def _all_begun(self):
        """Note that all images have been seen."""
        self._begins = np.concatenate([np.zeros(0), *self._begins])
        self._stages = self._stages.cumsum()

    def _current(self, first):
        """Return of the images where a box is kept: the place, the stage from 0 on, and how many stages there are."""
        reached = np.concatenate([[0], (self._begins >= -first).cumsum()])
        stage = (reached[self._stages[self._images + 1]] - reached[self._stages[self._images]]) - 1
        kept = np.flatnonzero(stage >= 0)
        pool = self._images[kept]
        return kept, stage[kept], self._stages[pool + 1] - self._stages[pool]


class NeededParameters(StagedLosses):
    """The share of the true boxes of an image that need more than the second parameter, or 1 where it exceeds a share.

    Whether the j-th largest need of an image's true boxes exceeds the parameter says whether j of them are lost. So the
    supremum over all larger sets of kept boxes takes, of each j, the largest of these needs.

    Parameters
    ----------
    detections, truths : Detections, Truths
    needs : function of an `Image`
        What each true box needs when the first 1, 2, ... boxes are kept, (T, P).
    allowed : float, optional
        The share that is no loss; None for the share itself as the loss.
    """

    def __init__(self, detections, truths, needs, allowed=None):
        super().__init__(truths)
        self._allowed, raw, largest = allowed, [np.zeros(0)], [np.zeros(0)]
        self._widths, sizes = np.zeros(len(truths), dtype=np.int64), np.zeros(len(truths), dtype=np.int64)
        for image in images(detections, truths):
            ends = image.ends
            falling = -np.sort(-needs(image)[:, ends], axis=0)
            if allowed is not None:
                decisive = math.floor(Fraction(str(allowed)) * len(falling))
                falling = falling[decisive : decisive + 1]
            changes = changed(falling)
            self._begin(image.index, image.scores[ends], changes)
            stages = falling[:, changes]
            raw.append(stages.T.ravel())
            largest.append(np.maximum.accumulate(stages[:, ::-1], axis=1)[:, ::-1].T.ravel())
            self._widths[image.index], sizes[image.index] = len(stages), stages.size
        self._all_begun()
        self._raw, self._largest, self._starts = np.concatenate(raw), np.concatenate(largest), sizes.cumsum() - sizes

    def _from_stage(self, first, last):
        kept, stage, _ = self._current(first)
        widths = self._widths[self._images[kept]]
        rows = ragged(self._starts[self._images[kept]] + stage * widths, widths)
        needs, owners, counts = (self._largest if last else self._raw)[rows], np.repeat(kept, widths), self._true_counts
        if self._allowed is None:
            return StepLosses.from_needs(needs, owners, start=counts, parts=np.maximum(counts, 1))
        return one_event(needs, owners, counts)


class PixelWise(StagedLosses):
    """1 - the mean share of the true boxes' areas that the outer boxes of their matches cover.

    Parameters
    ----------
    detections, truths : Detections, Truths
    matched : function of an `Image`
        The match of each true box when the first 1, 2, ... boxes are kept, (T, P).
    margins : {"additive", "multiplicative"}
    """

    def __init__(self, detections, truths, matched, margins):
        super().__init__(truths)
        self._margins, pairs, sizes = margins, [np.zeros((2, 0, 4))], np.zeros(len(truths), dtype=np.int64)
        for image in images(detections, truths):
            ends = image.ends
            match = matched(image)[:, ends]
            changes = changed(match)
            self._begin(image.index, image.scores[ends], changes)
            ways = match[:, changes].T
            pairs.append(np.stack([np.tile(image.true_boxes, (len(ways), 1)), image.boxes[ways.ravel()]]))
            sizes[image.index] = ways.size
        self._all_begun()
        self._pairs, self._starts = np.concatenate(pairs, axis=1), sizes.cumsum() - sizes

    def _from_stage(self, first, last):
        kept, stage, stages = self._current(first)
        true_counts = self._true_counts
        ways = stages - stage if last else np.ones_like(stage)
        widths = true_counts[kept]
        rows = ragged(self._starts[self._images[kept]] + stage * widths, ways * widths)
        lost = (true_counts > 0).astype(float)
        lost[kept] = 0.0
        true, predicted = self._pairs[:, rows]
        return AreaLosses(true, predicted, np.repeat(widths, ways), np.repeat(kept, ways), lost, self._margins)


class AreaLosses(MonotoneLosses):
    """The largest, among the ways to match the true boxes of an image, of the mean shares of their areas not covered.

    It falls without steps, so that `least` is the smallest float64 number at which the sum of the losses, each rounded
    to float64, is small enough.

    Parameters
    ----------
    true, predicted : array (M, 4)
        Pairs of boxes: those of a way to match follow those of another, the ways of an image those of another.
    pairs : array (W,)
        How many pairs each way has.
    owners : array (W,)
        The image of each way, ascending.
    lost : array (n,)
        Of images without one: their losses.
    margins : {"additive", "multiplicative"}
    """

    largest = 1.0

    def __init__(self, true, predicted, pairs, owners, lost, margins):
        self._true, self._predicted, self._pairs, self._lost, self._margins = true, predicted, pairs, lost, margins
        self._ways = pairs.cumsum() - pairs
        self._images, self._starts = np.unique(owners, return_index=True)

    @property
    def count(self):
        """The number of images, n."""
        return len(self._lost)

    def values(self, parameter):
        """Return the losses (n,) at a margin."""
        losses = self._lost.copy()
        if len(self._images):
            outer = outer_boxes(self._predicted, max(parameter, 0.0), self._margins)
            ways = np.add.reduceat(1 - covered_share(self._true, outer), self._ways) / self._pairs
            losses[self._images] = np.maximum.reduceat(ways, self._starts)
        return losses

    def sum(self, parameter):
        """Return the sum of the losses at a margin, a `Fraction`, without further rounding."""
        return exact_sum(self.values(parameter))

    def least(self, total):
        """Return the smallest margin, 0 or more, at which the losses sum to at most a total; infinity if none does.

        Parameters
        ----------
        total : Fraction

        Returns
        -------
        float
        """
        if self.sum(0.0) <= total:
            return 0.0
        needs = margin_needs(self._true, self._predicted, self._margins)
        low, high = 0.0, float(needs[np.isfinite(needs)].max(initial=0.0))
        if self.sum(high) > total:
            return math.inf
        # Non-negative floats rise as the integers with the same bits do.
        low, high = (int(np.float64(each).view(np.int64)) for each in (low, high))
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.sum(float(np.int64(middle).view(np.float64))) <= total else (middle, high)
        return float(np.int64(high).view(np.float64))


def one_event(needs, owners, counts):
    """Return losses that are 1 where there are true boxes, until the need of their image is reached."""
    return StepLosses.from_needs(needs, owners, start=counts > 0, parts=np.ones_like(counts))


def changed(columns):
    """Return which columns of an array (T, A) differ from the one before, (A,): the first one does."""
    different = np.ones(columns.shape[1], dtype=bool)
    different[1:] = (columns[:, 1:] != columns[:, :-1]).any(axis=0)
    return different
