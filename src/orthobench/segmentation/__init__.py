"""Certified semantic segmentation: of networks with a Lipschitz constant, by randomised smoothing; and an attack."""

from .attacks import pgd_l2
from .certificates import least_radius, most_lost, most_value_lost, pixel_radii
from .costs import joining_costs, leaving_costs
from .iou import IoUChoices, iou_choices, least_iou
from .metrics import CertifiedMetrics, class_pixels
from .segcertify import ABSTAIN, SegCertify, Votes

__all__ = [
    "ABSTAIN",
    "CertifiedMetrics",
    "IoUChoices",
    "SegCertify",
    "Votes",
    "class_pixels",
    "iou_choices",
    "joining_costs",
    "least_iou",
    "least_radius",
    "leaving_costs",
    "most_lost",
    "most_value_lost",
    "pgd_l2",
    "pixel_radii",
]
