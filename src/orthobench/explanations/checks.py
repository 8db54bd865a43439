"""What images and maps must be, and the errors that say so."""

import torch

# A map whose values differ by less, as a share of the largest, is a constant that was rounded in float32.
CONSTANT = 2.0**-20


def check_images(images):
    """Return images without a graph; raise unless they are finite, floating-point, of shape (N, channels, ...)."""
    if not isinstance(images, torch.Tensor) or not images.is_floating_point() or images.ndim < 3:
        got = f"{images.dtype} {tuple(images.shape)}" if isinstance(images, torch.Tensor) else type(images).__name__
        raise TypeError(
            f"images must be a floating-point tensor (N, channels, ...), got {got}; convert them by .float(), and view "
            "vectors (N, n) as (N, 1, n)."
        )
    if not images.numel():
        raise ValueError(f"images must hold at least one image and pixel, got the shape {tuple(images.shape)}.")
    check_finite("images", images)
    return images.detach()


def check_finite(name, tensor):
    """Raise ValueError unless the entries of a tensor (b, ...) are finite."""
    if not tensor.isfinite().all():
        bad = int((~tensor.isfinite()).flatten(1).any(1).nonzero()[0])
        raise ValueError(
            f"{name} must be finite, got NaN or infinity at place {bad} of {len(tensor)}; leave it out, or evaluate in "
            "float64."
        )


def check_maps(maps, images):
    """Return maps in float64; raise TypeError or ValueError unless they are finite, one number for each pixel."""
    maps = check_map_values(maps)
    expected = (len(images), *images.shape[2:])
    if maps.shape != expected:
        raise ValueError(
            f"maps must have the shape {expected}, one number a pixel, got {tuple(maps.shape)}; sum those with a sign "
            "over the channels."
        )
    return maps.to(images.device)


def check_several_maps(maps, images):
    """Return a map of each image, or a list of such, as (m, N, ...) in float64; errors are those of `check_maps`."""
    if not isinstance(maps, list | tuple):
        return check_maps(maps, images)[None]
    if not maps:
        raise ValueError("maps is an empty list: give at least one map of each image.")
    return torch.stack([check_maps(each, images) for each in maps])


def check_map_values(maps):
    """Return maps (N, ...) in float64, those constant but for rounding exactly so; raise unless they are finite."""
    if not isinstance(maps, torch.Tensor) or not maps.is_floating_point() or maps.ndim < 2 or not maps.numel():
        got = f"{maps.dtype} {tuple(maps.shape)}" if isinstance(maps, torch.Tensor) else type(maps).__name__
        raise TypeError(f"maps must be a floating-point tensor (N, ...) that isn't empty, got {got}.")
    check_finite("maps", maps)
    maps = maps.detach().double()
    low, high = (each.view(-1, *[1] * (maps.ndim - 1)) for each in maps.flatten(1).aminmax(dim=1))
    return torch.where(high - low > CONSTANT * torch.maximum(high, -low), maps, low)
