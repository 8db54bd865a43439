"""What certifying a segmentation costs: over the forward pass, with the least IoU of every class, and in memory.

``orthobench speed segmentation`` prints it. Nothing else should run meanwhile.
"""

import statistics
import time
import tracemalloc
from functools import partial

import torch

from ..device import resolve_device, synchronize
from ..lipschitz import export_plain
from ..lipschitz.networks import layers_of
from ..models import lipschitz_unet
from ..segmentation import CertifiedMetrics, class_pixels
from .conformal_speed import peak_bytes
from .timing import medians

RADII = (26 / 255, 36 / 255, 43 / 255, 128 / 255, 1.0)
LAYER = "aoc_bjorck"
# Of the forward pass: the network, its images, and classes.
WIDTH, DEPTH, SIDE, CLASSES = 64, 2, 128, 20
# Of the least IoU.
LARGE_SIDE, LARGE_CLASSES = 1024, 19
# Radii by which few, many and all of the pixels of such an image can be lost.
LARGE_RADII = (36 / 255, 200.0, 2000.0)


def synthetic_logits(classes, side, seed=0):
    """Return logits (1, classes, side, side) and labels: squares of 16 pixels with one class, under normal noise."""
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.randint(classes, (1, -(-side // 16), -(-side // 16)), generator=generator)
    labels = blocks.repeat_interleave(16, 1).repeat_interleave(16, 2)[:, :side, :side]
    logits = torch.randn(1, classes, side, side, generator=generator)
    logits.scatter_add_(1, labels[:, None], torch.full((1, 1, side, side), 3.0))
    return logits, labels


def certify(logits, labels, radii, iou):
    """Certify one image, and read the figures."""
    metrics = CertifiedMetrics(class_pixels(labels, logits.shape[1]), radii, iou=iou)
    metrics.add(logits, labels)
    return metrics.pixel_accuracy, metrics.which_pixels, metrics.class_accuracy, metrics.miou if iou else None


def processor_seconds(methods, device, repetitions):
    """Return the median processor time of each method, of all threads, timed in turn after a warm-up of all.

    Parameters
    ----------
    methods : dict of str to callable
    device : torch.device
    repetitions : int

    Returns
    -------
    dict of str to float
    """
    times = {name: [] for name in methods}
    for repetition in range(repetitions + 1):
        for name, method in methods.items():
            started = time.process_time()
            method()
            synchronize(device)
            if repetition:
                times[name].append(time.process_time() - started)
    return {name: statistics.median(each) for name, each in times.items()}


@torch.no_grad()
def beside_the_forward_pass(device, repetitions, width=WIDTH, depth=DEPTH, side=SIDE, classes=CLASSES):
    """Return a line: the processor time of certificates A and B, at five radii, over that of the forward pass.

    Parameters
    ----------
    device : torch.device
    repetitions, width, depth, side, classes : int
    """
    network = lipschitz_unet(0, **layers_of(LAYER), channels=3, classes=classes, width=width, depth=depth)
    model = export_plain(network).to(device)
    image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)).to(device)
    logits = model(image)
    labels = logits.argmax(1)
    methods = {
        "forward": partial(model, image),
        "certify": partial(certify, logits, labels, RADII, iou=False),
    }
    times = processor_seconds(methods, device, repetitions)
    return (
        f"{LAYER}, width {width}, depth {depth}, {side} x {side}, {classes} classes: certificates A and B at "
        f"{len(RADII)} radii take {times['certify'] / times['forward']:.2%} of the processor time of a forward pass "
        f"({1e3 * times['certify']:.1f} of {1e3 * times['forward']:.0f} ms)"
    )


def with_iou(device, repetitions, side=LARGE_SIDE, classes=LARGE_CLASSES, radii=LARGE_RADII):
    """Yield a line a radius: the time that an image takes with the least IoU of every class, by synthetic logits.

    Parameters
    ----------
    device : torch.device
    repetitions, side, classes : int
    radii : sequence of float

    Yields
    ------
    str
    """
    logits, labels = (each.to(device) for each in synthetic_logits(classes, side))
    for radius in radii:
        method = partial(certify, logits, labels, [radius], iou=True)
        figures = method()
        wall = medians({"certify": method}, device, repetitions)["certify"]
        processor = processor_seconds({"certify": method}, device, repetitions)["certify"]
        yield (
            f"{side} x {side}, {classes} classes, radius {radius:.3g}: {wall:.2f} s an image with the least IoU of each"
            f" class, {processor:.2f} s of processor time (certified pixel accuracy {figures[0].item():.2f}, mIoU "
            f"{figures[3].item():.2f})"
        )


def memory(sides=(512, 1024), classes=LARGE_CLASSES, radius=LARGE_RADII[1]):
    """Return a line: what certifying takes beyond the logits, tensors and arrays at their peaks, in bytes a pixel.

    Parameters
    ----------
    sides : sequence of int
    classes : int
    radius : float
    """
    found = []
    for side in sides:
        logits, labels = synthetic_logits(classes, side)
        peak_bytes(partial(certify, logits[..., :16, :16], labels[..., :16, :16], [radius], iou=True))  # imports
        tracemalloc.start()  # for what numpy takes
        tensors = peak_bytes(partial(certify, logits, labels, [radius], iou=True))
        arrays = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        found.append(f"{(tensors + arrays) / side**2:.0f} bytes a pixel at {side} x {side}")
    return f"memory beyond the logits ({4 * classes} bytes a pixel): {', '.join(found)}"


def main(arguments):
    """Print the report."""
    torch.set_num_threads(arguments.threads)
    device = resolve_device()
    print(f"device {device}, {torch.get_num_threads()} threads, torch {torch.__version__}", flush=True)
    print(beside_the_forward_pass(device, arguments.repetitions), flush=True)
    for line in with_iou(device, arguments.repetitions):
        print(line, flush=True)
    print(memory(), flush=True)
