"""Logits of ImageNet, or of any other images, that were computed before."""

from orthobench.harness.conformal import SPLITS, LogitsDataset


class Dataset(LogitsDataset):
    """Logits and labels of a Lipschitz network, from `file`, an .npz; for vanilla sets and lip-rcp at scale."""

    name = "imagenet_logits"
    parameters = {
        **SPLITS, "file": [""], "lipschitz_constant": [1.0], "radius": [0.02], "splits": [20], "calibration": [15000],
        "evaluation": [5000], "pool": [45000],
    }  # fmt: skip
