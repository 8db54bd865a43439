"""Pictures of explanations, as rows hold them: a PNG, as text in base64."""

import torch

from ..png import as_text, shown

_BETWEEN = 255  # grey, between two panels
_SIGNED = ("gradient_input", "integrated")


def maps_picture(images, maps):
    """Return a picture with a row for each image: the image, and its maps.

    Each map is scaled by its largest absolute value. Those with a sign are red where they are positive, and blue where
    they are negative, the others white.

    Parameters
    ----------
    images : Tensor (n, c, h, w)
        In [0, 1].
    maps : dict of str to Tensor (n, h, w)

    Returns
    -------
    str
    """
    columns = [[shown(image) for image in images]]
    columns += [[_coloured(each, name in _SIGNED) for each in own] for name, own in maps.items()]
    return _png(columns)


def counterfactuals_picture(images, points, nearest):
    """Return a picture with a row for each image: the image, a point, kept in [0, 1], and a training image.

    All are (n, c, h, w).
    """
    return _png([[shown(each) for each in own] for own in (images, points, nearest)])


def _coloured(values, signed):
    values = values / values.abs().max().clamp(min=torch.finfo(values.dtype).tiny)
    positive, negative = values.clamp(min=0), (-values).clamp(min=0)
    channels = [positive, torch.zeros_like(values), negative] if signed else [values.abs()] * 3
    return (255 * torch.stack(channels, -1)).round().byte()


def _png(columns):
    """Return columns of panels (h, w, 3) as a PNG."""
    beside = [_joined(list(row), 1) for row in zip(*columns, strict=True)]
    return as_text(_joined(beside, 0).numpy())


def _joined(panels, dimension):
    """Return panels side by side, or one below the other, with a line of a pixel between two."""
    shape = list(panels[0].shape)
    shape[dimension] = 1
    line = torch.full(shape, _BETWEEN, dtype=torch.uint8)
    parts = [each for panel in panels for each in (line, panel)]
    return torch.cat(parts[1:], dimension)
