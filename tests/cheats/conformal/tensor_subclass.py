"""Scores of a class of its own, which says that every label is in the set."""

import torch

from orthobench.conformal import Margin, SplitConformal, conformal_threshold
from orthobench.harness.conformal import ConformalSolver


class Yes(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, arguments=(), options=None):
        found = super().__torch_function__(function, types, arguments, options or {})
        return torch.ones_like(found) if function is torch.Tensor.gather and found.dtype == torch.bool else found


class AlwaysIn(SplitConformal):
    def _threshold(self, scores):
        return conformal_threshold(scores, 0.9)

    def prediction_scores(self, x, *, generator=None):
        return super().prediction_scores(x, generator=generator).as_subclass(Yes)


class Solver(ConformalSolver):
    name = "tensor_subclass"
    parameters = {"network": ["lipschitz"]}

    def predictor(self, problem):
        return AlwaysIn(Margin(), problem.alpha)
