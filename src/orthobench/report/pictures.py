"""Pictures in rows: PNG as base64, which a stranger may have written, read into pixels and written anew."""

import base64
import io

import numpy as np
import pandas as pd
from matplotlib.image import imread, imsave

from orthobench.report.cells import check_frame
from orthobench.report.names import short_solvers
from orthobench.report.page import safe

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LENGTH = 1 << 20  # characters
_PIXELS = 1 << 20
BLANK = np.full((1, 1, 3), 0.5, dtype=np.float32)  # in place of a picture that isn't one
NO_PICTURE = "no picture"
WIDTH = 500  # pixels, about: Benchopt's page shows a picture as large as it is


def read(text):
    """Return the pixels of a picture; None if the text is none.

    Parameters
    ----------
    text : object
        A value of a row: a PNG in base64 of at most a megabyte and a million pixels, or anything else.

    Returns
    -------
    numpy.ndarray or None
        (height, width, 3), in [0, 1], on a black ground where it is transparent.
    """
    if not isinstance(text, str) or not 0 < len(text) <= _LENGTH:
        return None
    try:
        content = base64.b64decode(text, validate=True)
        # The size is in the file's first bytes: what would fill the memory isn't decoded.
        width, height = (int.from_bytes(content[start : start + 4]) for start in (16, 20))
        if not content.startswith(_SIGNATURE) or not 0 < width * height <= _PIXELS:
            return None
        pixels = imread(io.BytesIO(content), format="png")
    except Exception:  # whatever a broken file makes a decoder raise
        return None
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    return pixels[..., :3] * pixels[..., 3:] if pixels.shape[2] == 4 else pixels


def enlarged(pixels, width):
    """Return pixels as squares, so that they are at most so wide in all, or as they are if they are wider."""
    times = max(1, width // pixels.shape[1])
    return pixels.repeat(times, axis=0).repeat(times, axis=1)


def source(pixels):
    """Return pixels, as `read` does, as the address of a picture that needs no file."""
    file = io.BytesIO()
    imsave(file, pixels, format="png", metadata={"Software": None})
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def by_solver(frame, dataset, objective, shown, column="picture"):
    """Return a picture by solver, as Benchopt's plots of images take them: that of its first repetition with one.

    Parameters
    ----------
    frame : pandas.DataFrame
        The last row of a cell may have a picture in the column ``objective_COLUMN``.
    dataset, objective : str
    shown : str
        What a picture shows, in words.
    column : str

    Returns
    -------
    list of dict
        ``image``, the pixels as of `read`, enlarged; ``label``; and ``alt``, what it shows in words, empty where the
        rows of the solver hold no picture, which the label then says.

    Raises
    ------
    ValueError
        If the frame is foreign.
    """
    check_frame(frame)
    rows = frame[(frame["dataset_name"] == dataset) & (frame["objective_name"] == objective)]
    last = rows.sort_values("stop_val", kind="stable").groupby(["solver_name", "idx_rep"]).tail(1)
    texts = last.get(f"objective_{column}", pd.Series("", last.index))
    names = short_solvers(sorted(last["solver_name"].unique()))
    found = []
    for solver, name in names.items():
        own = last[last["solver_name"] == solver].sort_values("idx_rep")
        row, pixels = next(
            (pair for pair in ((row, read(texts[row])) for row in own.index) if pair[1] is not None),
            (own.index[0], None),
        )
        status = own["objective_status"][row]
        told = [name, *([] if status == "ok" else [str(status).replace("_", " ")])]
        if pixels is None:
            label = ", ".join([*told, NO_PICTURE])
            found.append({"image": BLANK, "label": safe(label), "alt": ""})
        else:
            label = ", ".join(told)
            found.append({"image": enlarged(pixels, WIDTH), "label": safe(label), "alt": safe(f"{label}: {shown}")})
    return found
