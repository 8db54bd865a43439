"""Networks with a Lipschitz constant that is known: layers, losses, bounds and certificates of robustness."""

from .attacks import nearest_adversarial, pgd_l2
from .bounds import lower_bound, upper_bound
from .certificates import certified_accuracy, certified_auroc, certified_radius, logit_rounding
from .layers import LAYERS, export_plain, make_layer
from .losses import LOSSES, make_loss

__all__ = [
    "LAYERS",
    "LOSSES",
    "certified_accuracy",
    "certified_auroc",
    "certified_radius",
    "export_plain",
    "logit_rounding",
    "lower_bound",
    "make_layer",
    "make_loss",
    "nearest_adversarial",
    "pgd_l2",
    "upper_bound",
]
