"""Explanations of classifiers: attribution maps, what they are worth, and counterfactuals along the gradient.

Of any torch model with logits (N, C). On the images that it, and those it is compared with, classify right:

>>> import torch
>>> from orthobench.data import digits
>>> from orthobench.lipschitz.networks import layers_of
>>> from orthobench.models import lipschitz_convnet
>>> model = lipschitz_convnet(0, **layers_of("cayley"))
>>> images, labels = (each[:200] for each in digits())
>>> right = right_in_all([model], images, labels)
>>> score = ClassScore(model, images[right], labels[right])
>>> baseline = make_baseline("uniform", score.images)
>>> fidelity = mu_fidelity(score, saliency(score), baseline, subsets=50)
>>> control = mu_fidelity(score, random_maps(score.images), baseline, subsets=50)
>>> bool((saturation(score) <= 1.0001).all())  # 1 is a Lipschitz constant of the network
True
"""

from .baselines import BASELINES, make_baseline
from .counterfactuals import (
    Distances,
    boundary_distances,
    fooled,
    newton_lands,
    newton_points,
    saturation,
)
from .faithfulness import Gains, deletion_gain, insertion_gain, mu_fidelity, replacement_curve
from .maps import MAPS, gradient_input, integrated_gradients, random_maps, saliency, smoothgrad
from .metrics import block_share, rank_distance, smoothgrad_distance, sparseness, stability
from .scores import ClassScore, right_in_all
from .transport import nearest_class, transport_cosine, transport_cosine_of_means, transport_plan

__all__ = [
    "BASELINES",
    "MAPS",
    "ClassScore",
    "Distances",
    "Gains",
    "block_share",
    "boundary_distances",
    "deletion_gain",
    "fooled",
    "gradient_input",
    "insertion_gain",
    "integrated_gradients",
    "make_baseline",
    "mu_fidelity",
    "nearest_class",
    "newton_lands",
    "newton_points",
    "random_maps",
    "rank_distance",
    "replacement_curve",
    "right_in_all",
    "saliency",
    "saturation",
    "smoothgrad",
    "smoothgrad_distance",
    "sparseness",
    "stability",
    "transport_cosine",
    "transport_cosine_of_means",
    "transport_plan",
]
