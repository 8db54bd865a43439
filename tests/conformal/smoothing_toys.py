"""Linear logits and a score that grows with the class's own: its worst case in a ball, and its mean, are known."""

import torch
from torch import nn

from orthobench.conformal import LAC, Score
from orthobench.conformal.aprcp import APRCP
from orthobench.conformal.smoothing import CAS, RCP1, RSCP, BinCP, RSCPPlus

CLASSES, FEATURES = 3, 4
WEIGHT = torch.tensor([[1.6, -0.4, 0.0, 0.3], [-0.5, 1.2, -0.3, 0.0], [0.0, -0.6, 0.9, -0.2]], dtype=torch.float64)
BIAS = torch.tensor([-0.2, 0.1, 0.3], dtype=torch.float64)
NORMS = WEIGHT.norm(dim=1)


class Probit(Score):
    """Phi(f_y): in [0, 1], and a function of the class's own logit alone."""

    def _scores(self, logits, generator):
        return torch.special.ndtr(logits.double())

    def bounds(self, classes):
        return 0.0, 1.0


class Linear(nn.Module):
    """W x + b, which remembers what it was asked: all inputs, and how many at once."""

    def __init__(self, weight=WEIGHT, bias=BIAS):
        super().__init__()
        self.weight, self.bias, self.seen = weight, bias, []

    def forward(self, x):
        self.seen.append(x.detach())
        return x @ self.weight.to(x.dtype).T + self.bias.to(x.dtype)

    def take(self):
        """Return all inputs since the last call."""
        inputs, self.seen = torch.cat(self.seen), []
        return inputs


def examples(count, generator):
    """Return inputs (count, FEATURES), around one corner for each class, and labels."""
    y = torch.randint(CLASSES, (count,), generator=generator)
    x = 0.7 * torch.randn(count, FEATURES, generator=generator, dtype=torch.float64)
    return x + torch.eye(CLASSES, FEATURES, dtype=torch.float64)[y], y


def worst_inputs(x, y, radius):
    """Move inputs by the radius to where the logit of the label, and so each score and mean of it, is least."""
    return x - radius * (WEIGHT / NORMS[:, None])[y]


def exact_mean(logits, sigma, norms=NORMS):
    """Return E Phi(f + sigma ||w|| Z) for each class."""
    return torch.special.ndtr(logits / (1 + (sigma * norms) ** 2).sqrt())


METHODS = {
    "RSCP": lambda alpha, radius, **options: RSCP(Probit(), alpha, radius, **options),
    "RSCP+": lambda alpha, radius, **options: RSCPPlus(Probit(), alpha, radius, **options),
    "RSCP+ (PTT)": lambda alpha, radius, **options: RSCPPlus(
        LAC("sigmoid"), alpha, radius, transform=True, hold_out=0.3, **options
    ),
    "CAS": lambda alpha, radius, **options: CAS(Probit(), alpha, radius, **options),
    "BinCP": lambda alpha, radius, **options: BinCP(LAC("sigmoid"), alpha, radius, **options),
    "RCP1": lambda alpha, radius, samples=1, **options: RCP1(LAC("sigmoid"), alpha, radius, **options),
    "aPRCP": lambda alpha, radius, sigma=None, samples=512, **options: APRCP(
        LAC("sigmoid"), alpha, radius, samples=max(samples, 140), **options
    ),
}
GUARANTEED = ("RSCP+", "RSCP+ (PTT)", "CAS", "BinCP", "RCP1")  # for the worst case


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)
