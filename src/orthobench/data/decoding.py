"""Image files, decoded with Pillow, which is imported only when it is needed."""

import io


def pillow():
    """Return `PIL.Image`; ImportError says what to install if it isn't there."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("to read images needs Pillow: pip install pillow") from error
    return Image


def decode(content, what, formats, read):
    """Decode an image file.

    Parameters
    ----------
    content : bytes
    what : str
        The file, for messages.
    formats : tuple of str
        Pillow's names of those that it may have, whatever the file is called.
    read : callable
        From an image of Pillow, open no longer than this call, to the result.

    Returns
    -------
    object
        What `read` returns.

    Raises
    ------
    ValueError
        If it is no such image, or `read` raises ValueError.
    """
    image = pillow()
    try:
        with image.open(io.BytesIO(content), formats=formats) as opened:
            return read(opened)
    except (OSError, SyntaxError, ValueError, image.DecompressionBombError) as error:
        raise ValueError(f"{what} is not the {' or '.join(formats)} image that it must be ({error})") from error
