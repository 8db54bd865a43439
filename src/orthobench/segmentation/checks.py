"""What logits and labels of a segmentation must be, and the errors that say so."""

import operator

import torch

from ..lipschitz.certificates import ROUNDING_UNITS

# Of a pixel without a label, by default: that of Cityscapes' and Pascal VOC's files.
IGNORED = 255


def check_logits(logits):
    """Return the largest absolute logit (B,) of each image, float64; raise unless logits (B, K, H, W) can be used."""
    if not isinstance(logits, torch.Tensor):
        raise TypeError(f"logits must be a torch.Tensor, got {type(logits).__name__}; convert them by torch.as_tensor.")
    if logits.dtype not in ROUNDING_UNITS:
        allowed = ", ".join(str(dtype).removeprefix("torch.") for dtype in ROUNDING_UNITS)
        raise TypeError(f"logits must be of dtype {allowed}, got {logits.dtype}; convert them by .double().")
    if logits.ndim != 4 or logits.shape[1] < 2 or not logits.numel():
        raise ValueError(
            "logits must have the shape (B, K, H, W) with B, H, W >= 1 and K >= 2, got "
            f"{tuple(logits.shape)}; of one score make two logits, 0 and the score."
        )
    low, high = logits.detach().flatten(1).aminmax(dim=1)  # both are NaN if an entry is
    largest = torch.maximum(high, -low).double()
    if not largest.isfinite().all():
        image = (~largest.isfinite()).nonzero()[0].item()
        raise ValueError(
            f"logits must be finite, got NaN or infinity in image {image}: nothing can be certified; evaluate it in a "
            "wider type, or count its pixels as wrong."
        )
    return largest


def check_labels(labels, shape, classes, ignore_index=IGNORED):
    """Return labels as int64, 0 where there is none, and which pixels have one; raise unless they fit.

    Parameters
    ----------
    labels : Tensor (B, H, W)
    shape : sequence of int or None
        (B, H, W); any if None.
    classes : int
        K.
    ignore_index : int or None
        The label of pixels without one; None if there are none.
    """
    if not isinstance(labels, torch.Tensor):
        raise TypeError(f"labels must be a torch.Tensor, got {type(labels).__name__}; convert them by torch.as_tensor.")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f"labels must be of an integer type, got {labels.dtype}; convert them by .long().")
    if labels.ndim != 3 or (shape is not None and labels.shape != torch.Size(shape)):
        wanted = "(B, H, W)" if shape is None else tuple(shape)
        raise ValueError(
            f"labels must have the shape {wanted}, one for each pixel of the logits, got {tuple(labels.shape)}; "
            "resize the logits to the labels, or the labels to nearest neighbours."
        )
    if ignore_index is not None:
        _check_ignore_index(ignore_index, classes)
    labels = labels.long()
    labelled = torch.ones_like(labels, dtype=torch.bool) if ignore_index is None else labels != ignore_index
    labels = torch.where(labelled, labels, 0)
    if labels.numel() and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(
            f"labels must be in 0..{classes - 1} for {classes} logits, or {ignore_index} where ignored, got "
            f"{labels.min().item()} to {labels.max().item()}; number the classes from 0, and give ignore_index."
        )
    return labels, labelled


def _check_ignore_index(ignore_index, classes):
    try:
        index = operator.index(ignore_index)
    except TypeError:
        raise TypeError(f"ignore_index must be an integer or None, got {ignore_index!r}; {IGNORED} is usual.") from None
    if 0 <= index < classes:
        raise ValueError(
            f"ignore_index is {index}, which is one of the {classes} classes: its pixels would count for nothing; "
            "give another number, such as -1, to them, or None if every pixel has a label."
        )
