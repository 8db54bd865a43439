"""How close do the matrices that a method returns come to the exact polar factors, or to U S^e V^T?"""

import json

import torch

from orthobench.harness import Objective as HarnessObjective
from orthobench.harness import Unsaved, check_tensors, resolve_device, timing_metrics
from orthobench.linalg import check_exponent, spectral_errors, spectrum_map, summarise


class Objective(HarnessObjective):
    """Orthogonalising matrices: the kernel of Muon and of orthogonal layers.

    A method gets a set of matrices G in type `dtype` and returns one X for each. The harness compares X with the exact
    U_r S_r^exponent V_r^T (for exponent 0 the polar factor), by SVD in float64 of the matrices as recorded in float32,
    before they were rounded to `dtype`; the rank r counts the singular values above max(m, n) eps sigma_1, with the eps
    of float32. The value is the relative error in the Frobenius norm; time is the method's alone. Methods that take no
    such exponent are skipped.
    """

    name = "Orthogonalisation"
    url = "https://github.com/orthobench/orthobench"
    requirements = ["pip::torch", "pip::scikit-learn"]

    # U S^exponent V^T is what a method should return: 0 is Muon's direction, 1 the gradient itself; from -0.5 to 1.
    parameters = {"exponent": [0], "dtype": ["float32", "bfloat16"]}

    test_dataset_name = "gaussian"

    def set_data(self, names, matrices, factors, limits):
        check_exponent(self.exponent)
        if self.dtype not in ("float32", "bfloat16", "float64"):
            raise ValueError(f"dtype={self.dtype!r}: expected float32, bfloat16 or float64")
        self.names, self.matrices, self.factors, self.limits = names, matrices, factors, limits

    def get_objective(self):
        return {"matrices": self.matrices, "dtype": self.dtype, "exponent": self.exponent}

    def evaluate(self, outputs, preconditioner, final, **timing):
        check_tensors(outputs, [each.shape for each in self.matrices], getattr(torch, self.dtype), resolve_device())
        limits = self.limits[preconditioner] if preconditioner else [None] * len(outputs)
        compared = zip(outputs, self.factors, limits, strict=True)
        errors = [spectral_errors(output, exact, self.exponent, limit) for output, exact, limit in compared]
        figures = {**summarise(errors), **timing_metrics(len(outputs), **timing)}
        by_matrix = self.describe(outputs, errors) if final else ""
        return {"value": figures["relative_error"], **figures, "by_matrix": by_matrix}

    def describe(self, outputs, errors):
        described = [
            {
                "name": name,
                "rows": output.shape[0],
                "columns": output.shape[1],
                **spectrum_map(output, exact),
                "relative_error": float(f"{each['relative_error']:.6g}"),
            }
            for name, output, exact, each in zip(self.names, outputs, self.factors, errors, strict=True)
        ]
        return json.dumps(described)

    def get_one_result(self):
        outputs = [each.power(self.exponent).to(resolve_device(), getattr(torch, self.dtype)) for each in self.factors]
        timing = {"elapsed_s": 1.0, "products": 1.0, "flops": 1.0, "product_rate": 1.0}
        return {"outputs": Unsaved(outputs), "preconditioner": None, "final": True, **timing}
