"""What robust conformal prediction costs: Lipschitz sets over vanilla ones, and the time of CAS, in one run.

``orthobench speed conformal`` prints it. Nothing else should run meanwhile.
"""

import weakref

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..conformal import LAC, LipschitzConformal, Margin, SplitConformal
from ..conformal.smoothing import CAS
from ..device import Stopwatch, resolve_device
from ..models import lipschitz_mlp
from .timing import medians

INPUTS, CLASSES = 10_000, 1_000
CALIBRATION = 1_000
ALPHA, RADIUS = 0.1, 0.25
SCORES = {"sigmoid": LAC("sigmoid"), "softmax": LAC(), "margin": Margin()}

# Of CAS: classes, noise samples, and pixels of the images, those of scikit-learn's digits.
CAS_CLASSES, CAS_SAMPLES, CAS_SHAPE = 10, 256, (1, 8, 8)


def prediction(device, repetitions, inputs=INPUTS, classes=CLASSES):
    """Yield a line a score: the time and the memory of Lipschitz sets, over those of vanilla sets of the same logits.

    The model is the identity, so that no forward pass is in the times. Memory is that of the tensors that prediction
    makes, at its peak, in boolean matrices of the size of the result, which is one of them.

    Parameters
    ----------
    device : torch.device
    repetitions : int
    inputs, classes : int
        Shape of the logits.

    Yields
    ------
    str
    """
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(inputs, classes, generator=generator).to(device)
    labels = torch.randint(classes, (inputs,), generator=generator).to(device)
    calibration = logits[:CALIBRATION], labels[:CALIBRATION]
    for name, score in SCORES.items():
        methods = {"vanilla": SplitConformal(score, ALPHA), "lipschitz": LipschitzConformal(score, ALPHA, RADIUS)}
        runs = {}
        for key, predictor in methods.items():
            predictor.calibrate(nn.Identity(), *calibration)
            runs[key] = lambda predictor=predictor: predictor.predict_sets(logits)
        times = medians(runs, device, repetitions)
        memory = {key: peak_bytes(run) / (inputs * classes) for key, run in runs.items()}
        yield (
            f"{inputs} x {classes} logits, {name}: time of lip-rcp over vanilla "
            f"{times['lipschitz'] / times['vanilla']:.2f}; peak memory in boolean matrices: "
            f"lip-rcp {memory['lipschitz']:.2f}, vanilla {memory['vanilla']:.2f}"
        )


def cas(device, inputs=INPUTS, samples=CAS_SAMPLES):
    """Return a line: the time that CAS takes to predict the sets of images, its forward passes included.

    Parameters
    ----------
    device : torch.device
    inputs, samples : int
        Number of images; noisy copies of each.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(inputs, *CAS_SHAPE, generator=generator).to(device)
    labels = torch.randint(CAS_CLASSES, (inputs,), generator=generator).to(device)
    model = lipschitz_mlp(0, nn.Linear, nn.Linear, nn.ReLU, outputs=CAS_CLASSES).to(device)
    predictor = CAS(LAC(bounded=True), ALPHA, RADIUS, sigma=RADIUS, samples=samples)
    predictor.calibrate(model, images[:CALIBRATION], labels[:CALIBRATION], generator=generator)
    stopwatch = Stopwatch(device)
    stopwatch.start()
    predictor.predict_sets(images, generator=generator)
    stopwatch.stop()
    return f"CAS, {inputs} inputs, N = {samples}, {CAS_CLASSES} classes: {stopwatch.elapsed_s:.1f} s"


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that are made inside, while they live.

    Not the memory of the process: what an allocator keeps, or has left from before, would be in that.

    Attributes
    ----------
    peak : int
        The most at one time.
    """

    def __init__(self):
        super().__init__()
        self.peak = self._now = 0
        self._known = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        given = {
            each.untyped_storage()._cdata for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)
        }
        for each in tree_leaves(result):
            if isinstance(each, torch.Tensor):
                self._count(each.untyped_storage(), given)
        return result

    def _count(self, storage, given):
        identity = storage._cdata
        if identity in self._known or identity in given:  # a view, or in place
            return
        self._known.add(identity)
        self._now += storage.nbytes()
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._forget, identity, storage.nbytes())

    def _forget(self, identity, size):
        self._known.discard(identity)
        self._now -= size


def peak_bytes(run):
    """Return the most bytes that tensors made by a call take at one time, its result among them."""
    with LiveBytes() as live:
        run()
    return live.peak


def main(arguments):
    """Print the report."""
    torch.set_num_threads(arguments.threads)
    device = resolve_device()
    print(f"device {device}, {torch.get_num_threads()} threads, torch {torch.__version__}", flush=True)
    for line in prediction(device, arguments.repetitions):
        print(line, flush=True)
    print(cas(device), flush=True)
