"""Images in rows: what is shown of one, and a PNG as text."""

import base64
import io

COLOURS = 128


def shown(image):
    """Return an image (c, h, w) as bytes (h, w, 3), cut to [0, 1]: in grey, by its first channel, unless c is 3."""
    colours = image if len(image) == 3 else image[:1].expand(3, -1, -1)
    return (255 * colours.clamp(0, 1)).round().byte().movedim(0, -1)


def as_text(pixels):
    """Return bytes (h, w, 3), an array, as a PNG of `COLOURS` colours in base64."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).quantize(COLOURS).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()
