"""A small detector of boxes on a grid, from its targets to the boxes that it finds."""

import math
from contextlib import nullcontext

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, l1_loss, softplus

from orthobench.models.checks import check_integer
from orthobench.models.evaluation import outputs_of
from orthobench.models.reproducible import seeded

STRIDE = 4
# Of the outputs of a cell, before the classes: whether an object's centre is in it, and the distances of the sides.
OBJECTNESS, SIDES = 0, slice(1, 5)
FIRST_CLASS = 5

RATE = 5e-3
FOCUS = 2.0  # the exponent of the focal loss
WEIGHTS = {"objectness": 1.0, "sides": 0.5, "classes": 1.0}
LARGEST_IOU = 0.5
CPU = torch.device("cpu")


def grid_detector(seed, classes, *, channels=1, width=32):
    """Make a convolutional network that looks for an object in each cell of 4 x 4 pixels.

    Parameters
    ----------
    seed : int
        Decides the initial weights.
    classes : int
        C, at least 1.
    channels, width : int
        Of the images; of the first convolution, and half those of the others.

    Returns
    -------
    torch.nn.Sequential
        On the CPU. Maps images (b, channels, h, w), h and w multiples of 4, to (b, 5 + C, h / 4, w / 4): a logit of
        whether the centre of an object is in the cell, the distances of its left, top, right and bottom from the
        cell's centre in cells, before softplus, and logits of its class.
    """
    classes = check_integer("classes", classes, 1)
    with seeded(seed):
        model = nn.Sequential(
            *_block(channels, width, stride=2, padding=1),
            *_block(width, 2 * width, stride=2, padding=1),
            *_block(2 * width, 2 * width, padding=1),
            *_block(2 * width, 2 * width, padding=2, dilation=2),
            nn.Conv2d(2 * width, FIRST_CLASS + classes, 1),
        )
        nn.init.constant_(model[-1].bias[:1], -math.log(50.0))  # most cells have no object
    return model


def _block(inputs, outputs, **options):
    return nn.Conv2d(inputs, outputs, 3, bias=False, **options), nn.BatchNorm2d(outputs), nn.ReLU()


def trained_detector(scenes, classes, *, width=32, epochs=10, batch_size=32, seed=0, device=CPU):
    """Train a `grid_detector`, by Adam with a learning rate that rises and falls (one cycle).

    On a CPU the result is the same to the last bit for the same seed.

    Parameters
    ----------
    scenes : BoxScenes
    classes, width, epochs, batch_size, seed : int
    device : torch.device

    Returns
    -------
    torch.nn.Sequential
        On the CPU, in evaluation mode, without gradients.
    """
    for name, value in (("epochs", epochs), ("batch_size", batch_size)):
        check_integer(name, value, 1)
    targets = grid_targets(scenes)
    model = grid_detector(seed, classes, channels=scenes.images.shape[1], width=width)
    with seeded(seed) if device.type == "cpu" else nullcontext():
        _fit(model.to(device).train(), scenes.images, targets, epochs, batch_size, seed, device)
    return model.cpu().requires_grad_(False).eval()


def _fit(model, images, targets, epochs, batch_size, seed, device):
    generator = torch.Generator().manual_seed(seed)
    steps = epochs * math.ceil(len(images) / batch_size)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.2)
    for _ in range(epochs):
        for indices in torch.randperm(len(images), generator=generator).split(batch_size):
            optimizer.zero_grad()
            loss = detection_loss(model(images[indices].to(device)), *(each[indices].to(device) for each in targets))
            loss.backward()
            optimizer.step()
            schedule.step()


def grid_targets(scenes):
    """Return what each cell should say: a class or -1, and the distances of the sides.

    Parameters
    ----------
    scenes : BoxScenes

    Returns
    -------
    tuple of (Tensor (n, h / 4, w / 4) int64, Tensor (n, 4, h / 4, w / 4))
        Of two objects with their centres in one cell, the later one.
    """
    count, _, *size = scenes.images.shape
    rows, columns = (side // STRIDE for side in size)
    classes = torch.full((count, rows, columns), -1)
    sides = torch.zeros(count, 4, rows, columns)
    owners = np.repeat(np.arange(count), np.diff(scenes.offsets))
    for owner, box, label in zip(owners, scenes.boxes, scenes.labels, strict=True):
        x, y = (min(int((box[i] + box[i + 2]) / 2 / STRIDE), most - 1) for i, most in ((0, columns), (1, rows)))
        centre = np.array([x + 0.5, y + 0.5])
        classes[owner, y, x] = int(label)
        distances = np.concatenate([centre - box[:2] / STRIDE, box[2:] / STRIDE - centre])
        sides[owner, :, y, x] = torch.from_numpy(distances)
    return classes, sides


def detection_loss(outputs, classes, sides):
    """Return the loss of outputs (b, 5 + C, h, w): focal (Lin et al., ICCV 2017) of the objectness, L1 of the sides and
    cross-entropy of the classes where an object is, over the number of objects.
    """
    present = classes >= 0
    logits = outputs[:, OBJECTNESS]
    plain = binary_cross_entropy_with_logits(logits, present.to(logits), reduction="none")
    wrong = torch.where(present, 1 - logits.sigmoid(), logits.sigmoid())
    objects = present.sum().clamp(min=1)
    found = WEIGHTS["objectness"] * (wrong**FOCUS * plain).sum()
    found = found + WEIGHTS["sides"] * l1_loss(
        softplus(outputs[:, SIDES]).movedim(1, -1)[present], sides.movedim(1, -1)[present], reduction="sum"
    )
    logits = outputs[:, FIRST_CLASS:].movedim(1, -1)[present]
    return (found + WEIGHTS["classes"] * cross_entropy(logits, classes[present], reduction="sum")) / objects


def detect(model, images, *, most=100, device=CPU):
    """Return what a detector finds in images, at any score: boxes that overlap a better one by an IoU above 1/2 go.

    Parameters
    ----------
    model : torch.nn.Module
        As `grid_detector` makes it.
    images : Tensor (n, c, h, w)
    most : int
        Boxes of an image, those with the highest scores.
    device : torch.device

    Returns
    -------
    tuple of (list of array (p, 4), list of array (p,), list of array (p, C))
        For each image, by falling score: left, top, right and bottom in pixels, cut to the image; the probability of an
        object; those of its classes.
    """
    outputs = outputs_of(model.to(device), images, device).double().cpu()
    size = torch.tensor(images.shape[:1:-1]).repeat(2).double()
    rows, columns = outputs.shape[2:]
    centres = torch.stack(
        torch.meshgrid(torch.arange(columns) + 0.5, torch.arange(rows) + 0.5, indexing="xy"), -1
    ).flatten(0, 1)
    flat = outputs.flatten(2).movedim(1, -1)  # (n, cells, 5 + C)
    distances = softplus(flat[..., SIDES])
    corners = torch.cat([centres - distances[..., :2], centres + distances[..., 2:]], -1) * STRIDE
    boxes = torch.minimum(corners.clamp(min=0), size).numpy()
    scores = flat[..., OBJECTNESS].sigmoid().numpy()
    probabilities = flat[..., FIRST_CLASS:].softmax(-1).numpy()
    kept = [_suppressed(*each, most) for each in zip(boxes, scores, strict=True)]
    return tuple([each[rows] for each, rows in zip(of, kept, strict=True)] for of in (boxes, scores, probabilities))


def _suppressed(boxes, scores, most):
    """Return the indices of boxes, by falling score, without those that overlap one before them too much."""
    order = np.argsort(-scores, kind="stable")
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    kept = []
    while len(order) and len(kept) < most:
        first, order = order[0], order[1:]
        kept.append(first)
        corners = np.maximum(boxes[first, :2], boxes[order, :2]), np.minimum(boxes[first, 2:], boxes[order, 2:])
        shared = np.clip(corners[1] - corners[0], 0, None).prod(1)
        order = order[shared <= LARGEST_IOU * (areas[first] + areas[order] - shared)]
    return np.array(kept, dtype=np.int64)
