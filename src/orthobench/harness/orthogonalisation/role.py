"""The stand's half of a cell of the root benchmark: it has a method, and runs it on the matrices that it is given."""

import torch

from ...linalg.products import count_products
from ..seeds import seed_everything
from ..stand.roles import Role, Timer, check_plain
from ..stand.wire import claim
from ..status import InvalidResult
from .solvers import PRECONDITIONERS


class MatricesRole(Role):
    """Answers ``prepare``, ``run``, ``outputs`` and ``count``.

    ``arguments`` of a question are what the method gets besides the matrices: the number of steps, if it has one.
    """

    def receive(self, dtype, exponent):
        """Take the type of the matrices and the exponent."""
        self._dtype, self._exponent = getattr(torch, dtype), exponent

    def prepare_solver(self):
        """Tell the solver the exponent."""
        self.solver.exponent = self._exponent
        self._timer = Timer(self.device)

    def skip(self, exponent):
        """Ask the solver whether it applies; say how many points it has, and which limit."""
        answer = super().skip(exponent=exponent)
        if answer["skip"]:
            return answer
        solver = self.solver
        if solver.preconditioner is not None and solver.preconditioner not in PRECONDITIONERS:
            raise InvalidResult(
                f"preconditioner {solver.preconditioner!r} of {solver.name} is unknown: use one of "
                f"{', '.join(PRECONDITIONERS)}, or None"
            )
        steps = getattr(solver, "steps", None)
        steps = None if steps is None else claim(steps)
        if steps is not None and (type(steps) is not int or not 1 <= steps <= 1000):
            raise InvalidResult(f"steps={steps} of {solver.name}: expected an integer from 1 to 1000")
        return answer | {"steps": steps, "preconditioner": solver.preconditioner}

    def prepare(self, shapes, scales, arguments):
        """Warm up on matrices with other values than the real ones: a method that remembers answers gains nothing."""
        seed_everything(self.seed, self.device)
        randoms = [torch.randn(shape, dtype=self._dtype, device=self.device) for shape in shapes]
        self.solver.orthogonalise([each * scale for each, scale in zip(randoms, scales, strict=True)], *arguments)

    def run(self, *matrices, calls, arguments):
        """Run the method on as many sets of matrices, one after the other; keep what it returns."""
        count = len(matrices) // calls
        sets = [self._own(matrices[start : start + count]) for start in range(0, len(matrices), count)]
        self._kept, seconds, processor = [], [], []
        self.reset_peak_memory()
        for inputs in sets:
            seed_everything(self.seed, self.device)
            output, wall_s, processor_s = self._timer.run(self._call, inputs, arguments)
            # A method may write into the same tensors in its next call.
            self._kept.append([each.clone() for each in output] if calls > 1 else output)
            seconds.append(wall_s)
            processor.append(processor_s)
        return {"seconds": seconds, "processor_s": processor, "peak_memory_bytes": self.peak_memory_bytes()}

    def outputs(self, indices):
        """Return what the method returned in some calls of ``run``."""
        return {}, [output for index in indices for output in self._kept[index]]

    def count(self, *matrices, arguments):
        """Run the method once more, and count its products."""
        inputs, outputs = self._own(matrices), []
        seed_everything(self.seed, self.device)
        products, flops = count_products(lambda: outputs.extend(self._call(inputs, arguments)))
        if not all(map(torch.equal, inputs, self._own(matrices))):
            raise InvalidResult(f"{self.solver.name} modified its input: work on a copy")
        return {"products": products, "flops": flops}, outputs

    def _own(self, matrices):
        return [matrix.to(self.device, copy=True) for matrix in matrices]

    def _call(self, inputs, arguments):
        # A list of its own, so that not even the list is shared.
        outputs = self.solver.orthogonalise(list(inputs), *arguments)
        check_plain(outputs, self.device)
        return outputs
