"""Logits of a network that was run elsewhere, from a file that the user gives."""

from pathlib import Path

import numpy as np
import torch


def load_logits(file):
    """Return the logits (n, C), float32, and the labels (n,), int64, of a NumPy archive (.npz) with these two arrays.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it holds something else.
    """
    if not file or not Path(file).expanduser().is_file():
        raise FileNotFoundError(f"file={file!r}: give the path of an .npz with the arrays `logits` and `labels`")
    with np.load(Path(file).expanduser(), allow_pickle=False) as archive:
        missing = {"logits", "labels"} - set(archive.files)
        if missing:
            raise ValueError(f"{file} has no array {' and no '.join(sorted(missing))}: it has {archive.files}")
        logits, labels = (torch.from_numpy(archive[name]) for name in ("logits", "labels"))
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"{file} has logits {tuple(logits.shape)} and labels {tuple(labels.shape)}: expected (n, C), (n,)"
        )
    return logits.float(), labels.long()
