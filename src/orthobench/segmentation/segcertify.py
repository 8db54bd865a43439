"""SegCertify: which pixels keep their classes, by randomised smoothing of any network, with a probability."""

import math
from dataclasses import dataclass
from numbers import Real

import torch
from scipy.special import ndtr, ndtri
from scipy.stats import binom

from ..conformal.smoothing.sampling import gaussian_noise, own_generator
from ..lipschitz.bounds.jacobian import evaluating
from ..lipschitz.certificates import check_positive, check_radius
from ..models.checks import check_integer

ABSTAIN = -1
CORRECTIONS = ("holm", "bonferroni")


@dataclass(frozen=True)
class Votes:
    """How the noisy copies of images were classified.

    Attributes
    ----------
    classes : Tensor (B, H, W) int64
        Of most of the n0 copies that choose.
    counts : Tensor (B, H, W) int64
        How many of the n other copies agree.
    n : int
    """

    classes: torch.Tensor
    counts: torch.Tensor
    n: int


class SegCertify:
    """Certify segmentations under Gaussian noise: Fischer, Baader and Vechev, "Scalable certified segmentation via
    randomized smoothing", ICML 2021, algorithm 2.

    Under noise N(0, sigma^2 I) let p be the probability that a pixel is given its class. Where p > tau it is the class
    of the smoothed network within sigma Phi^-1(tau) of the image, in the Euclidean norm. Each pixel is tested for p <=
    tau from the number of noisy copies that agree, and all tests of an image together err with a probability of at most
    alpha: all pixels that are certified keep their classes together with probability 1 - alpha.

    Parameters
    ----------
    sigma : float
        Standard deviation of the noise, > 0, in units of the inputs.
    n0, n : int
        Copies that choose the classes; fresh ones that are tested.
    alpha : float
        In (0, 1), for each image.
    correction : {"holm", "bonferroni"}
        Of the tests of an image's pixels: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian
        Journal of Statistics 1979; or alpha over the number of pixels, which certifies no pixel that Holm's doesn't.

    Raises
    ------
    TypeError, ValueError
        If an argument isn't one of these.

    Examples
    --------
    >>> smoothing = SegCertify(0.25, n=100)
    >>> votes = smoothing.sample(torch.nn.Conv2d(1, 3, 1), torch.rand(2, 1, 4, 4), generator=torch.Generator())
    >>> smoothing.certify(votes, radius=0.1).shape
    torch.Size([2, 4, 4])
    """

    def __init__(self, sigma, *, n0=10, n=100, alpha=0.001, correction="holm"):
        check_positive("sigma", sigma, "0.25 is usual")
        if not isinstance(alpha, Real) or isinstance(alpha, bool) or not 0 < alpha < 1:
            raise ValueError(f"alpha must be in (0, 1), got {alpha!r}; 0.001 is the default.")
        if correction not in CORRECTIONS:
            raise ValueError(f"correction must be {' or '.join(map(repr, CORRECTIONS))}, got {correction!r}.")
        self.sigma, self.alpha, self.correction = float(sigma), float(alpha), correction
        self.n0, self.n = check_integer("n0", n0, 1), check_integer("n", n, 1)

    def tau(self, radius):
        """Return Phi(radius / sigma), the probability that a class must have for a radius."""
        check_radius(radius)
        return float(ndtr(radius / self.sigma))

    def radius(self, tau):
        """Return sigma Phi^-1(tau), the radius for a probability in [0.5, 1)."""
        if not isinstance(tau, Real) or not 0.5 <= tau < 1:
            raise ValueError(f"tau must be in [0.5, 1), got {tau!r}; 0.75 is usual.")
        return self.sigma * float(ndtri(tau))

    def least_n(self, radius, pixels):
        """Return the least n with which a pixel can be certified: tau^n <= alpha / pixels.

        Parameters
        ----------
        radius : float
        pixels : int
            Of an image.

        Returns
        -------
        int
            ln(alpha / pixels) / ln(tau), rounded up. Below it even pixels that all copies agree on are abstained from.
        """
        pixels = check_integer("pixels", pixels, 1)
        tau = self.tau(radius)
        if tau >= 1:
            raise ValueError(
                f"radius is {radius} with sigma {self.sigma}: no number of samples certifies it, as tau rounds to 1; "
                "give a larger sigma."
            )
        return math.ceil(math.log(self.alpha / pixels) / math.log(tau))

    @torch.no_grad()
    def sample(self, model, images, *, generator=None, batch_size=64):
        """Classify noisy copies of images.

        Parameters
        ----------
        model : torch.nn.Module or callable
            Maps (b, C, H, W) to logits (b, K, H, W). A module is evaluated in eval mode (restored afterwards).
        images : Tensor (B, C, H, W)
            Of the type and on the device that the model takes. Copies aren't clipped.
        generator : torch.Generator, optional
            Of the noise: by default one that starts from a number that torch's global one draws.
        batch_size : int
            Copies at a time. The noise is the same for each.

        Returns
        -------
        Votes
            Each image's copies are its own, and the n copies are drawn after the n0.

        Raises
        ------
        TypeError, ValueError
            If the images or the logits don't fit or aren't finite.
        """
        batch_size = check_integer("batch_size", batch_size, 1)
        if not isinstance(images, torch.Tensor) or not images.is_floating_point():
            raise TypeError("images must be a floating-point tensor (B, C, H, W); convert them by .float().")
        if images.ndim != 4 or not images.numel() or not images.isfinite().all():
            raise ValueError(
                f"images must be finite, of shape (B, C, H, W) with none of them 0, got {tuple(images.shape)}."
            )
        generator = own_generator(generator, images.device)
        found = []
        with evaluating(model):
            for image in images:
                chosen = self._most_frequent(model, image, generator, batch_size)
                agreeing = torch.zeros_like(chosen)
                for logits in self._noisy_logits(model, image, self.n, generator, batch_size):
                    agreeing += (logits.argmax(1) == chosen).sum(0)
                found.append((chosen, agreeing))
        classes, counts = map(torch.stack, zip(*found, strict=True))
        return Votes(classes, counts, self.n)

    def _most_frequent(self, model, image, generator, batch_size):
        """Return the class (H, W) of most of n0 noisy copies, the first of several."""
        counts = 0
        for logits in self._noisy_logits(model, image, self.n0, generator, batch_size):
            votes = torch.zeros_like(logits, dtype=torch.int32).scatter_(1, logits.argmax(1, keepdim=True), 1)
            counts = counts + votes.sum(0)
        return counts.argmax(0)

    def _noisy_logits(self, model, image, samples, generator, batch_size):
        """Yield the logits (b, K, H, W) of batches of noisy copies of an image."""
        for start in range(0, samples, batch_size):
            # Drawn copy by copy, so that the noise doesn't depend on how many are in a batch.
            copies = image.expand(min(batch_size, samples - start), *image.shape)
            logits = model(copies + self.sigma * gaussian_noise(copies, 1, generator)[:, 0])
            if not isinstance(logits, torch.Tensor) or logits.ndim != 4 or len(logits) != len(copies):
                got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
                raise ValueError(f"model must return logits (b, K, H, W) for {tuple(copies.shape)}, got {got}.")
            if not logits.isfinite().all():
                raise ValueError("logits must be finite, got NaN or infinity under noise: no class can be counted.")
            yield logits

    def certify(self, votes, radius, labelled=None):
        """Return the classes that are certified within a radius.

        Parameters
        ----------
        votes : Votes
            Of `sample`. May be used for several radii: the probability is that of each.
        radius : float
            r >= 0.
        labelled : Tensor (B, H, W) bool, optional
            The pixels to be tested: what is ignored takes part in no test, and none of alpha. By default all are.

        Returns
        -------
        Tensor (B, H, W) int64
            `ABSTAIN` (-1) where no class is certified: such a pixel is counted as wrong, whatever its label.

        Raises
        ------
        TypeError, ValueError
            If an argument isn't one of these; or n is too small for any pixel of an image to be certified: that says
            nothing of the network.
        """
        tau = self.tau(radius)
        everywhere = torch.ones_like(votes.classes, dtype=torch.bool)
        labelled = everywhere if labelled is None else labelled.to(everywhere.device)
        if labelled.dtype != torch.bool or labelled.shape != everywhere.shape:
            raise ValueError(
                f"labelled must be bool, of the shape {tuple(everywhere.shape)} of the votes, got {labelled.dtype}, "
                f"{tuple(labelled.shape)}; labels != ignore_index is."
            )
        pixels = labelled.flatten(1).sum(1)
        self._check_floor(votes.n, radius, int(pixels.max()))
        p_values = binom.sf(torch.arange(-1, votes.n).numpy(), votes.n, tau)
        result = torch.full_like(votes.classes, ABSTAIN)
        for image in range(len(result)):
            tested = votes.counts[image][labelled[image]]
            least = self._least_count(torch.bincount(tested, minlength=votes.n + 1).tolist(), p_values)
            certified = labelled[image] & (votes.counts[image] >= least)
            result[image][certified] = votes.classes[image][certified]
        return result

    def _check_floor(self, n, radius, pixels):
        if not pixels:
            raise ValueError("labelled has no pixel: there is nothing to certify.")
        least = self.least_n(radius, pixels)
        if n < least:
            raise ValueError(
                f"n = {n} samples can't certify any of P = {pixels} pixels within {radius} (sigma {self.sigma}, tau "
                f"{self.tau(radius):.4f}, alpha {self.alpha}), even if all agree: give n >= {least}, or a larger sigma."
            )

    def _least_count(self, histogram, p_values):
        """Return the count from which on pixels are certified, n + 1 if there is none.

        Pixels of one count have one p-value. Of those in ascending order, Holm compares the i-th of P with alpha / (P -
        i + 1), which grows: of equal ones, all pass if the first does.
        """
        pixels = sum(histogram)
        least, before = len(histogram), 0
        for count in reversed(range(len(histogram))):
            if not histogram[count]:
                continue
            tests = pixels if self.correction == "bonferroni" else pixels - before
            if not p_values[count] <= self.alpha / tests:
                break
            least, before = count, before + histogram[count]
        return least
