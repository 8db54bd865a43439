"""How close do the matrices that a method returns come to the exact polar factors?"""

import torch

from orthobench.harness import Objective as HarnessObjective
from orthobench.harness import Unsaved, check_tensors, resolve_device, timing_metrics
from orthobench.linalg import polar_errors, summarise


class Objective(HarnessObjective):
    """Orthogonalising matrices: the kernel of Muon and of orthogonal layers.

    A method gets a set of matrices G in type `dtype` and returns one X for each. The harness compares X with the exact
    polar factor U_r V_r^T, by SVD in float64 of the matrices as recorded in float32, before they were rounded to
    `dtype`; the rank r counts the singular values above max(m, n) eps sigma_1, with the eps of float32. The value is
    the relative error in the Frobenius norm; time is the method's alone.
    """

    name = "Orthogonalisation"
    url = "https://github.com/orthobench/orthobench"
    requirements = ["pip::torch", "pip::scikit-learn"]

    # U S^exponent V^T is what a method should return.
    parameters = {"exponent": [0], "dtype": ["float32", "bfloat16"]}

    test_dataset_name = "gaussian"

    def set_data(self, matrices, factors, limits):
        if self.exponent != 0:
            raise ValueError(f"exponent={self.exponent} isn't available: the only exponent is 0 (the polar factor)")
        if self.dtype not in ("float32", "bfloat16", "float64"):
            raise ValueError(f"dtype={self.dtype!r}: expected float32, bfloat16 or float64")
        self.matrices, self.factors, self.limits = matrices, factors, limits

    def get_objective(self):
        return {"matrices": self.matrices, "dtype": self.dtype}

    def evaluate(self, outputs, preconditioner, **timing):
        check_tensors(outputs, [each.shape for each in self.matrices], getattr(torch, self.dtype), resolve_device())
        limits = self.limits[preconditioner] if preconditioner else [None] * len(outputs)
        errors = summarise(list(map(polar_errors, outputs, self.factors, limits)))
        return {"value": errors["relative_error"], **errors, **timing_metrics(len(outputs), **timing)}

    def get_one_result(self):
        outputs = [each.polar.to(resolve_device(), getattr(torch, self.dtype)) for each in self.factors]
        timing = {"elapsed_s": 1.0, "products": 1.0, "flops": 1.0, "product_rate": 1.0}
        return {"outputs": Unsaved(outputs), "preconditioner": None, **timing}
