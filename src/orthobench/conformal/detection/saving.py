"""Calibrated controllers in files of JSON: what they were made with, thresholds, claim, and the number of images."""

import json
from dataclasses import asdict
from pathlib import Path

from .controllers import JointController, SequentialController, Thresholds
from .losses import DetectionLosses
from .rivals import (
    BonferroniController,
    FixedThresholdController,
    LTTController,
    MaxAdditiveController,
    SplitController,
    UncalibratedController,
)

_CONTROLLERS = (
    SequentialController,
    JointController,
    FixedThresholdController,
    SplitController,
    BonferroniController,
    MaxAdditiveController,
    LTTController,
    UncalibratedController,
)


def save(controller, path):
    """Write a calibrated controller to a file.

    Parameters
    ----------
    controller : RiskController
        One of this package, calibrated.
    path : str or Path

    Raises
    ------
    RuntimeError
        Before calibration.
    TypeError
        If the controller is of a class of your own: nothing is known of what it holds.
    """
    controller._check_calibrated()
    if type(controller) not in _CONTROLLERS:
        raise TypeError(
            f"controller must be one of this package, got {type(controller).__name__}; keep its thresholds instead."
        )
    content = {
        "controller": type(controller).__name__,
        "options": _plain(controller._options() | {"losses": asdict(controller.losses)}),
        "thresholds": _plain(asdict(controller.thresholds)),
        "count": controller.count,
        "claim": str(controller.claim),
    }
    Path(path).write_text(json.dumps(content, indent=1, allow_nan=False, default=float) + "\n")


def load(path):
    """Return the calibrated controller of a file that `save` wrote.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    RiskController

    Raises
    ------
    ValueError
        If the file is no such, or its claim isn't what its controller claims.
    """
    try:
        content = json.loads(Path(path).read_text())
        kind = {each.__name__: each for each in _CONTROLLERS}[content["controller"]]
        options = dict(content["options"])
        controller = kind(**options | {"losses": DetectionLosses(**options["losses"])})
        controller.thresholds = Thresholds(**{name: _number(each) for name, each in content["thresholds"].items()})
        controller.count, claim = content["count"], content["claim"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} holds no controller: {error}; give a file that save wrote.") from error
    if claim != str(controller.claim):
        raise ValueError(f"{path} claims {claim!r}, its controller {str(controller.claim)!r}; save it anew.")
    return controller


def _plain(value):
    """Return what JSON holds: numbers as they are, infinities by name."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return str(value) if value in (float("inf"), -float("inf")) else value


def _number(value):
    """Return the number, the tuple of them, or None, that `_plain` wrote."""
    if isinstance(value, list):
        return tuple(map(_number, value))
    return None if value is None else float(value)
