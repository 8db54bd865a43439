"""A picture of detections: what is there, what the detector found, and what is guaranteed."""

import numpy as np

from ..png import as_text, shown

SIDE = 200  # pixels of a scene, about
TRUE, FOUND, OUTER = (60, 200, 80), (255, 255, 255), (255, 150, 30)


def picture(images, truths, detections, sets):
    """Return a PNG, as text in base64: scenes, two in a row, with boxes and class sets.

    True boxes are green, the detector's boxes that are kept white, and their outer boxes orange, cut to the image, with
    the classes in the set of each in their corner.

    Parameters
    ----------
    images : Tensor (k, c, h, w)
        In [0, 1]; in grey, by the first channel, unless c is 3. They are the first k of those that the others are of.
    truths : Truths
    detections : Detections
    sets : PredictedSets
    """
    from PIL import Image

    scenes = [_scene(image, index, truths, detections, sets) for index, image in enumerate(images)]
    width, height = scenes[0].size
    drawn = Image.new("RGB", (2 * width + 1, (len(scenes) + 1) // 2 * (height + 1) - 1), FOUND)
    for index, scene in enumerate(scenes):
        drawn.paste(scene, (index % 2 * (width + 1), index // 2 * (height + 1)))
    return as_text(np.asarray(drawn))


def _scene(image, index, truths, detections, sets):
    from PIL import Image, ImageDraw

    pixels = shown(image).numpy()
    scale = max(1, SIDE // max(pixels.shape[:2]))
    drawn = Image.fromarray(pixels.repeat(scale, axis=0).repeat(scale, axis=1))
    pen = ImageDraw.Draw(drawn)
    pen.fontmode = "1"  # letters of one colour
    rows = np.arange(*detections.offsets[index : index + 2])
    rows = rows[sets.kept[rows]]
    true = truths.boxes[slice(*truths.offsets[index : index + 2])]
    for boxes, colour in ((sets.boxes[rows], OUTER), (true, TRUE), (detections.boxes[rows], FOUND)):
        for corners in _corners(boxes, scale, drawn.size):
            pen.rectangle(corners, outline=colour)
    if sets.classes is not None:
        for (left, top, *_), classes in zip(
            _corners(sets.boxes[rows], scale, drawn.size), sets.classes[rows], strict=True
        ):
            pen.text((left + 2, top), _told(np.flatnonzero(classes)), fill=OUTER)
    return drawn


def _corners(boxes, scale, size):
    """Return the first and the last pixel of boxes, cut to an image of a size, in a scale: a list of lists of int."""
    scaled = np.clip(scale * boxes, 0, np.tile(size, 2)).round().astype(int)
    first = np.minimum(scaled[:, :2], np.array(size) - 1)
    return np.concatenate([first, np.maximum(scaled[:, 2:] - 1, first)], axis=1).tolist()


def _told(classes):
    return " ".join(map(str, classes)) if len(classes) < 4 else f"{len(classes)} classes"
