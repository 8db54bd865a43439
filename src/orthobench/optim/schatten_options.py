"""What the options of `SchattenMuon` may be, and which go together."""

import math
from numbers import Real

import torch

from ..linalg.schatten import WEIGHTS, check_exponent
from .criteria import check_exponent_range
from .momentum import check_choice, check_range

CRITERIA = ("bound", "momentum", "tightness", "two_directions")
NORMS = ("muon", "frobenius", "spectral", "none")
PRECONDITIONERS = (None, "padam", "adam")
METHODS = ("eigh", "svd", "products")
# The exponents for which matrix products, or nothing, will do.
PRODUCT_EXPONENTS = (0.0, *WEIGHTS, 1.0)


def check_schatten_options(options):
    """Raise TypeError or ValueError unless the options are in their ranges, and go together."""
    check_choice("norm", options["norm"], NORMS, "'muon' is the default")
    check_choice("preconditioner", options["preconditioner"], PRECONDITIONERS, "None is none")
    check_choice("method", options["method"], METHODS, "'eigh' is the default")
    check_range("beta2", options["beta2"], 1, "0.999 is the default")
    check_range("smoothing", options["smoothing"], 1, "0.9 is the default, 0 is none")
    # Less would be lost in float32, and 0^-a is infinite.
    _check_positive("eps", options["eps"], torch.finfo(torch.float32).tiny, "1e-16 is the default")
    if options["kappa"] is not None:
        _check_positive("kappa", options["kappa"], 0, "None is the default")
        if options["norm"] != "frobenius":
            raise ValueError(f"kappa must be None with norm={options['norm']!r}; it is for 'frobenius'.")
        if options["adjust_lr"] != "none":
            raise ValueError(
                f"adjust_lr must be 'none' with kappa, got {options['adjust_lr']!r}; kappa says how long a step is."
            )
        if options["exponent"] == "two_directions":
            raise ValueError("kappa must be None with exponent='two_directions', which has no exponent to raise it to.")
    for name in ("bias_correction", "smooth_curvatures"):
        if not isinstance(options[name], bool):
            raise TypeError(f"{name} must be True or False, got {options[name]!r}.")
    if options["smooth_curvatures"] and options["exponent"] != "tightness":
        raise ValueError(
            f"smooth_curvatures must be False with exponent={options['exponent']!r}; it is for 'tightness', whose "
            "curvatures are along the singular pairs."
        )
    every = options["refresh_every"]
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise ValueError(f"refresh_every must be an integer >= 1, got {every!r}; 100 is the default.")
    _check_exponent_option(options)


def check_suits(exponent, options):
    """Return an exponent as a float; raise unless it is in range, and suits the method and the preconditioner."""
    exponent = check_exponent(exponent)
    if options["method"] == "products" and exponent not in PRODUCT_EXPONENTS:
        raise ValueError(
            f"exponent must be one of {PRODUCT_EXPONENTS} with method='products', got {exponent}; use method='eigh'."
        )
    if options["preconditioner"] == "padam" and exponent < 0:
        raise ValueError(f"exponent must be >= 0 with preconditioner='padam', got {exponent}; use 'adam' or None.")
    return exponent


def check_recordable(options):
    """Raise ValueError unless a step does the same each time, and waits for nothing."""
    exponent = options["exponent"]
    if isinstance(exponent, str) or callable(exponent):
        raise ValueError("exponent must be a number for a recorded step, which does the same each time.")
    if options["preconditioner"] is not None or options["bias_correction"]:
        raise ValueError(
            f"preconditioner must be None and bias_correction False for a recorded step, got "
            f"{options['preconditioner']!r} and {options['bias_correction']}: a correction of averages changes from "
            "step to step."
        )
    if exponent not in (0, 1) and options["method"] != "products":
        raise ValueError(
            f"method={options['method']!r} waits for the device, so that its step can't be recorded; use 'products'."
        )
    if options["norm"] == "spectral":
        raise ValueError("norm='spectral' waits for the device, so that its step can't be recorded; use 'muon'.")


def _check_exponent_option(options):
    exponent = options["exponent"]
    if isinstance(exponent, str):
        check_choice("exponent", exponent, CRITERIA, "or give a number from -0.5 to 1, or a function of the step")
        if exponent == "two_directions" and options["preconditioner"] == "padam":
            raise ValueError("preconditioner='padam' needs an exponent, and 'two_directions' has none; use 'adam'.")
        if exponent == "two_directions":
            check_exponent(options["initial_exponent"])
        else:
            check_suits(options["initial_exponent"], options)
            _check_choosable(exponent, options)
    elif isinstance(exponent, Real) and not isinstance(exponent, bool):
        check_suits(exponent, options)
    elif not callable(exponent):
        raise TypeError(
            "exponent must be a number from -0.5 to 1, a function of the step, or one of "
            f"{', '.join(map(repr, CRITERIA))}, got {exponent!r} ({type(exponent).__name__})."
        )


def _check_choosable(criterion, options):
    try:
        low, high = options["exponent_range"]
    except (TypeError, ValueError):
        raise ValueError(
            f"exponent_range must be two numbers, got {options['exponent_range']!r}; (0, 1) is the default."
        ) from None
    low, high = check_exponent_range(criterion, low, high)
    if options["preconditioner"] == "padam" and low < 0:
        raise ValueError(f"exponent_range must be within [0, 1] with preconditioner='padam', got {low} to {high}.")
    if options["method"] == "products" and not any(low <= each <= high for each in PRODUCT_EXPONENTS):
        raise ValueError(
            f"exponent_range must hold one of {PRODUCT_EXPONENTS} with method='products', got {low} to {high}."
        )


def _check_positive(name, value, least, remedy):
    allowed = f"a finite number >= {least:.3g}" if least else "a finite number > 0"
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name} must be {allowed}, got {value!r} ({type(value).__name__}); {remedy}.")
    if not (0 < value < math.inf and value >= least):
        raise ValueError(f"{name} must be {allowed}, got {value!r}; {remedy}.")
