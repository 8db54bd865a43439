"""Certified semantic segmentation: of networks with a Lipschitz constant, by randomised smoothing; and an attack.

Models return logits (B, K, H, W); labels are (B, H, W), 255 where a pixel is ignored. Over a data set:

>>> import torch
>>> from orthobench.lipschitz import upper_bound
>>> from orthobench.lipschitz.networks import layers_of
>>> from orthobench.models import lipschitz_unet
>>> model = lipschitz_unet(0, **layers_of("cayley"), classes=3, width=8, depth=1)
>>> images, labels = torch.rand(4, 1, 8, 8), torch.randint(3, (4, 8, 8))
>>> bound = upper_bound(model, (1, 8, 8)).total
>>> metrics = CertifiedMetrics(class_pixels(labels, 3), [0, 36 / 255], bound)
>>> for batch in torch.arange(4).split(2):
...     metrics.add(model(images[batch]), labels[batch])
>>> clean, certified = metrics.pixel_accuracy
>>> attacked = pgd_l2(model, images, labels, 36 / 255, steps=2, low=0, high=1, lipschitz_constant=bound)
>>> bool(certified <= (model(attacked).argmax(1) == labels).double().mean() <= clean)
True
"""

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
