"""Calibrated predictors in files of JSON, without pickle: what they were made with, and their calibration scores."""

import json
from pathlib import Path

import torch

from .aprcp import APRCP
from .lipschitz import LipschitzConformal
from .scores import APS, LAC, RAPS, Margin, MaxRatio, Score
from .smoothing import CAS, RCP1, RSCP, BinCP, RankTransform, RSCPPlus
from .split import SplitConformal
from .verified import VRCPC, VRCPI

_PREDICTORS = (SplitConformal, LipschitzConformal, VRCPI, VRCPC, RSCP, RSCPPlus, CAS, BinCP, RCP1, APRCP)
_SCORES = (LAC, Margin, MaxRatio, APS, RAPS)


def save(predictor, path):
    """Write a calibrated predictor to a file, all but its model.

    Parameters
    ----------
    predictor : Predictor
        One of this package, calibrated.
    path : str or Path

    Raises
    ------
    RuntimeError
        Before calibration.
    TypeError
        If the predictor or its score is of a class of your own: nothing is known of what those hold.
    """
    predictor._check_calibrated()
    if type(predictor) not in _PREDICTORS:
        raise TypeError(
            f"predictor must be one of this package, got {type(predictor).__name__}; keep its scores instead."
        )
    options = {name: _plain(value) for name, value in predictor._options().items()}
    (scores, labels), ranks = predictor._calibration, None
    if isinstance(predictor.score, RankTransform):
        ranks = predictor.score.hold_out.tolist()
    content = {
        "predictor": type(predictor).__name__,
        "options": options,
        "scores": scores.tolist(),
        "labels": None if labels is None else labels.tolist(),
        "ranks": ranks,
    }
    Path(path).write_text(json.dumps(content))


def load(path, model):
    """Return the calibrated predictor of a file that `save` wrote.

    Parameters
    ----------
    path : str or Path
    model : torch.nn.Module or callable
        The one that it was calibrated with: it isn't in the file, and another one has no claim.

    Returns
    -------
    Predictor

    Raises
    ------
    ValueError
        If the file is no such.
    """
    try:
        content = json.loads(Path(path).read_text())
        kind, options = _named(_PREDICTORS, content["predictor"]), dict(content["options"])
        (name, arguments), *_ = options.pop("score").items()
        predictor = kind(_named(_SCORES, name)(**arguments), **options)
        scores, labels, ranks = (content[each] for each in ("scores", "labels", "ranks"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} holds no predictor: {error}; give a file that save wrote.") from error
    predictor.attach(model)
    if ranks is not None:
        predictor._rank(torch.tensor(ranks, dtype=torch.float64))
    labels = None if labels is None else torch.tensor(labels, dtype=torch.int64)
    return predictor.calibrate_scores(torch.tensor(scores, dtype=torch.float64), labels)


def _named(classes, name):
    return {each.__name__: each for each in classes}[name]


def _plain(value):
    """Return what JSON holds: numbers, names, lists, and scores as their arguments by the name of their class."""
    if isinstance(value, Score):
        if type(value) not in _SCORES:
            raise TypeError(f"score must be one of this package, got {type(value).__name__}.")
        return {type(value).__name__: vars(value)}
    if isinstance(value, str | int | float | None):
        return value
    return torch.as_tensor(value).tolist()
