"""Stored detections of any detector, and the truth: from an .npz file, or from COCO's results and annotations."""

import json
import zipfile
import zlib
from pathlib import Path

import numpy as np

from orthobench.data.download import check_content

ARRAYS = (
    *("pred_boxes", "pred_scores", "pred_probabilities", "pred_offsets"),
    *("true_boxes", "true_labels", "true_offsets", "image_sizes"),
)


def stored_detections(file, sha256, annotations=None, annotations_sha256=None):
    """Read detections and truths of N images.

    Parameters
    ----------
    file : str or path-like
        An .npz file with the arrays `ARRAYS`: boxes (P, 4) and (T, 4) as left, top, right, bottom in pixels; scores
        (P,); probabilities (P, C); labels (T,); offsets (N + 1,), rows offsets[i] to offsets[i + 1] - 1 being of image
        i; widths and heights (N, 2). Or COCO's results, a .json file, of which each box has one class and one score.
    sha256 : str
        Of the file.
    annotations, annotations_sha256 : str, optional
        COCO's annotations, for a .json file: crowds are left out, and classes numbered by rising category id.

    Returns
    -------
    dict of str to array
        By the names of `ARRAYS`; of COCO's results without "pred_probabilities".

    Raises
    ------
    FileNotFoundError, ValueError
        If a file isn't there, is another one, or holds something else; nothing in it is run.
    """
    path = _checked(file, sha256)
    if path.suffix == ".npz":
        return _npz(path)
    if path.suffix != ".json" or annotations is None:
        raise ValueError(f"file is {str(file)!r}: give an .npz file, or a .json file with its annotations")
    return _coco(path, _checked(annotations, annotations_sha256))


def _checked(file, sha256):
    if not file:
        raise FileNotFoundError("file is missing: give the path of stored detections")
    path = Path(file).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there: give the path of stored detections")
    if not sha256:
        raise ValueError(f"sha256 of {path} is missing: give it, so that the rows say what they are of")
    return check_content(path, sha256)


def _npz(path):
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is no .npz file, or half of one: write it by numpy.savez")
    try:
        with np.load(path, allow_pickle=False) as file:
            names = file.files
            found = {name: file[name] for name in ARRAYS if name in names}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, ValueError) as error:
        raise ValueError(f"{path} can't be read ({error}): write arrays of numbers by numpy.savez") from error
    missing = [name for name in ARRAYS if name not in found]
    if missing:
        raise ValueError(f"{path} has no {', '.join(missing)}: it has {', '.join(names)}")
    for name, each in found.items():
        if each.dtype.kind not in "iuf":
            raise ValueError(f"{name} of {path} is of the type {each.dtype}: write an array of real numbers")
    return found


def _coco(path, annotations):
    found, told = (_json(each) for each in (path, annotations))
    try:
        images = {each["id"]: place for place, each in enumerate(told["images"])}
        sizes = np.array([[each["width"], each["height"]] for each in told["images"]], dtype=float)
        classes = {each: place for place, each in enumerate(sorted(each["id"] for each in told["categories"]))}
        true = [each for each in told["annotations"] if not each.get("iscrowd", 0)]
        truths = _rows(true, images, lambda each: classes[each["category_id"]])
        results = _rows(found, images, lambda each: float(each["score"]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} or {annotations} isn't of COCO's form, lists of objects with its names: {error!r} is missing, or "
            "of another type"
        ) from error
    if len(images) < len(told["images"]):
        raise ValueError(f"{annotations} has an image twice, by its id: leave one out")
    return {
        **{f"pred_{name}": each for name, each in zip(("boxes", "scores", "offsets"), results, strict=True)},
        **{f"true_{name}": each for name, each in zip(("boxes", "labels", "offsets"), truths, strict=True)},
        "image_sizes": sizes,
    }


def _json(path):
    try:
        return json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no JSON: {error}") from error


def _rows(entries, images, value_of):
    """Return boxes (left, top, right, bottom), a value of each, and offsets, image by image."""
    ordered = sorted(entries, key=lambda each: images[each["image_id"]])
    boxes = np.array([each["bbox"] for each in ordered], dtype=float).reshape(len(ordered), 4)
    boxes[:, 2:] += boxes[:, :2]
    places = np.array([images[each["image_id"]] for each in ordered], dtype=np.int64)
    counts = np.bincount(places, minlength=len(images))
    values = np.array([value_of(each) for each in ordered], dtype=None if ordered else np.int64)
    return boxes, values, np.concatenate([[0], counts.cumsum()])
