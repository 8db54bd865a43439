"""What sets do on test examples, over many splits of one pool: coverage and sizes."""

from dataclasses import dataclass, replace

import torch


@dataclass
class Sets:
    """Outcomes over all splits, clean or attacked: one entry for each tested example of each split.

    Attributes
    ----------
    examples : list of Tensor
        Indices into the pool, one tensor a split.
    hits, sizes : list of Tensor
        Whether the set held the true class; how many classes it held.
    part : int
        How many of the examples that the splits divide may be tested: a part of them shares its luck.
    """

    examples: list
    hits: list
    sizes: list
    part: int

    @property
    def coverage(self):
        """Mean over all splits."""
        return float(torch.cat(self.hits).double().mean())

    @property
    def size(self):
        """Mean over all splits."""
        return float(torch.cat(self.sizes).double().mean())

    @property
    def misses(self):
        """Whether the sets did without the true class."""
        return [~each for each in self.hits]


def together(several):
    """Return the `Sets` that hold the outcomes of several, split by split."""
    parts = [
        [torch.cat(each) for each in zip(*(getattr(sets, name) for sets in several), strict=True)]
        for name in ("examples", "hits", "sizes")
    ]
    return replace(several[0], **dict(zip(("examples", "hits", "sizes"), parts, strict=True)))


def worst_class_coverage(sets, labels):
    """Return the least mean coverage of a class that was tested."""
    places, hits = torch.cat(sets.examples), torch.cat(sets.hits).double()
    classes = labels[places]
    return min(float(hits[classes == each].mean()) for each in classes.unique())


def set_shares(sets, classes):
    """Return the shares of empty, singleton and full sets."""
    sizes = torch.cat(sets.sizes)
    shares = {"empty": sizes == 0, "singleton": sizes == 1, "full": sizes == classes}
    return {f"{name}_share": float(each.double().mean()) for name, each in shares.items()}
