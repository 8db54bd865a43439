"""The bench's half of a cell of the root benchmark: it times, audits and counts a method that it can't see."""

import functools
import secrets
import statistics

import torch

from ...linalg.products import plain_product_rate
from ...linalg.turns import Turn, difference
from ..stand import clocks
from ..stand.cells import IterationCell, RunOnceCell, transport
from ..stand.wire import expected_bytes
from ..status import InvalidResult, Refuted
from ..unsaved import Unsaved

# The audit repeats a point often enough to be seen by the clocks outside, within so many bytes.
AUDITED_S, AUDITED_BYTES, CALLS = 0.01, 2 * 2**20, (4, 8, 16)
# A timed call that took less than half of the same call in a fresh process did less.
LEAST_SHARE, LEAST_SLACK_S = 0.5, 5e-5
# Two runs of one function on the same inputs and seed: rounding, and on a GPU the order of sums.
SAME = 0.05
# Counted, products of symmetric matrices are whole ones, and rounding is another.
COUNTED_SAME = 0.5

# Not the one of the figures, and none that a seed would give away.
_generator = torch.Generator().manual_seed(secrets.randbits(62))


class MatricesCell:
    """What both kinds of method share.

    One stand computes all points, each on inputs that it hasn't seen with that number of steps. Another, the audit,
    first repeats one of them, drawn here, on the same inputs and on others with the same singular values: what the
    first remembered from point to point, the audit can't. Then it counts the products of each point.
    """

    role = "orthobench.harness.orthogonalisation.role:MatricesRole"
    evaluation_points = (1,)
    iterates = False

    def hand_out(self, matrices, dtype, exponent):
        self._matrices = [matrix.to(getattr(torch, dtype)) for matrix in matrices]
        self._exponent = exponent
        # Before there is a stand, which could be busy meanwhile.
        self._rate = plain_product_rate(*self._problem_kind())
        transport(self._matrices, self._matrices)
        return {"dtype": dtype, "exponent": exponent}

    def known(self, exponent, **_):
        return {"exponent": exponent}

    def applies(self, answer):
        steps, preconditioner = answer.fields.get("steps"), answer.fields.get("preconditioner")
        self._preconditioner = preconditioner if isinstance(preconditioner, str) else None
        self.evaluation_points = tuple(range(1, steps + 1)) if self.iterates and type(steps) is int else (1,)

    def compute_points(self):
        """Time all points, then have them audited; a point's error ends the cell there."""
        outcomes = {}
        for attempt in range(clocks.ATTEMPTS):
            timed = self._time_points()
            good = [point for point, each in timed.items() if not isinstance(each, BaseException)]
            if not good:
                return timed
            outcomes, doubt = self._audit(timed, good)
            if not doubt:
                break
            if attempt + 1 == clocks.ATTEMPTS:
                return dict.fromkeys(timed, Refuted(doubt))
            self.close()
            self.stand, _ = self.open()
        final = max(self.evaluation_points)
        return {
            point: each | {"final": point == final, "product_rate": self._rate} if isinstance(each, dict) else each
            for point, each in outcomes.items()
        }

    # --- the timed stand ---------------------------------------------------------------------------------------------

    def _time_points(self):
        """Return for each point what it took and gave, up to the first error."""
        self._spent_s, timed = 0.0, {}
        try:
            self._prepare(self.stand)
        except Exception as error:
            return {self.evaluation_points[0]: error}
        for point in self.evaluation_points:
            try:
                timed[point] = self._time(point)
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                timed[point] = error
                break
        try:
            if self.stand.pid is not None:
                self.check_settings(self.stand)
                self.check_idle(self.stand)
            self.check_ended(self.close())
        except Exception as error:
            return {self.evaluation_points[0]: error}
        return timed

    def _time(self, point):
        for attempt in range(clocks.ATTEMPTS):
            self.stand.reset_peak_memory()
            seconds, _, (outputs,), doubt = self._measure(self.stand, point, [self._matrices], [0], self.limited)
            if not doubt:
                break
            if attempt + 1 == clocks.ATTEMPTS:
                raise Refuted(f"{doubt}, in {clocks.ATTEMPTS} fresh processes")
            self.close()
            self.stand, _ = self.open()
            self._prepare(self.stand)
        return {"outputs": outputs, "elapsed_s": seconds[0], "peak_memory_bytes": self._peak}

    def _prepare(self, stand):
        scales = [float(matrix.abs().max()) for matrix in self._matrices]
        shapes = [list(matrix.shape) for matrix in self._matrices]
        arguments = self._arguments(self.evaluation_points[-1])
        self.in_time(stand, "prepare", shapes=shapes, scales=scales, arguments=arguments)
        if stand.has_children():
            raise Refuted(f"{self.name} started processes while it warmed up: no clock sees what they do")

    def _measure(self, stand, point, sets, indices, ask):
        """Run the method on sets of matrices.

        Returns
        -------
        tuple of (list of float, list of float, list, str)
            Seconds and processor seconds of each call, the outputs of some, and a doubt.
        """
        sent = [matrix for each in sets for matrix in each]
        expected = self._matrices * len(indices)
        largest = expected_bytes([matrix.shape for matrix in expected])
        ran = ask(stand, "run", *sent, calls=len(sets), arguments=self._arguments(point), measured=True)
        shown = ask(stand, "outputs", indices=indices, largest=largest, measured=True)
        self._peak = ran.peak_memory_bytes(stand)
        seconds, processor = ran.numbers("seconds", len(sets)), ran.numbers("processor_s", len(sets))
        total = sum(seconds) if min(seconds) >= 0 else -1.0
        doubt = self.hidden(total, ran.cost + shown.cost, sent, expected, len(sets))
        if doubt:  # a solver that changed a setting may have caused it
            self.check_settings(stand)
        count = len(shown.tensors) // len(indices)
        outputs = [shown.tensors[place * count : (place + 1) * count] for place in range(len(indices))]
        if len(shown.tensors) != count * len(indices):
            raise InvalidResult(f"the stand returned {len(shown.tensors)} matrices for {len(indices)} calls")
        return seconds, processor, outputs, doubt

    # --- the audit ---------------------------------------------------------------------------------------------------

    def _audit(self, timed, good):
        """Return the outcomes with the products of each point, and why the times can't be believed, "" if they can."""
        stand, _ = self.open(audit=True)
        try:
            self._prepare(stand)
            # The first had nothing to remember, and the last is what is looked at most.
            drawn = secrets.choice([good[-1], secrets.choice(good[1:] or good)])
            judged = self._finite(timed[drawn]["outputs"]) and stand.pid is not None
            doubt = self._repeat(stand, drawn, timed[drawn]) if judged else ""
            if doubt:
                return timed, doubt
            outcomes = {
                point: self._counted(stand, point, each, again=point == drawn) if point in good else each
                for point, each in timed.items()
            }
        except Exception as error:
            return {min(good): error}, ""
        finally:
            stand.end()
        return outcomes, ""

    def _repeat(self, stand, point, timed):
        """Repeat a point, on the same inputs among others; return what speaks against its time or its outputs."""
        size = sum(matrix.numel() * matrix.element_size() for matrix in self._matrices)
        wanted = AUDITED_S / max(timed["elapsed_s"], 1e-6)
        # Few different numbers, for the cost of each question is measured once.
        calls = max(CALLS[0], *(each for each in CALLS if each <= wanted and each * size <= AUDITED_BYTES), 0)
        place = secrets.randbelow(calls)  # nothing tells these inputs from the others
        sets = [[Turn(matrix.shape, _generator).of(matrix) for matrix in self._matrices] for _ in range(calls)]
        sets[place] = self._matrices
        seconds, processor, (found,), doubt = self._measure(stand, point, sets, [place], self.in_time)
        if doubt:
            return f"repeated {calls} times, {doubt}"
        # Nobody can know the turned inputs: not from another call, a file, or a guess of the seed. The processor's time
        # is that of a call that nobody interrupted; the first of a process is another matter.
        on_cpu, threads = self.device.type == "cpu", torch.get_num_threads()
        times = [min(wall, work / threads) if on_cpu else wall for wall, work in zip(seconds, processor, strict=True)]
        needed = statistics.median(times[1:])
        if timed["elapsed_s"] < LEAST_SHARE * needed - LEAST_SLACK_S:
            return (
                f"at {point} it took {1e3 * timed['elapsed_s']:.3g} ms, and a fresh process {1e3 * needed:.3g} ms: "
                "it makes use of what it knew before"
            )
        if difference(found, timed["outputs"]) > SAME:
            return f"at {point} a fresh process returns other matrices for the same inputs and seed"
        return ""

    def _counted(self, stand, point, timed, again):
        """Return what the objective takes of a point.

        Its products are counted once for all repetitions, whose matrices differ in their values alone, and once more
        at the point that the audit draws.
        """
        counts = vars(self).setdefault("_counts", {})
        key = *self._problem_kind(), self._exponent, point
        if again or key not in counts:
            largest = expected_bytes([matrix.shape for matrix in self._matrices])
            ask = functools.partial(self.in_time, stand, "count", arguments=self._arguments(point), largest=largest)
            answer = ask(*self._matrices)
            if self._finite(timed["outputs"]) and difference(answer.tensors, timed["outputs"]) > COUNTED_SAME:
                return Refuted(f"at {point} it returns other matrices while its products are counted")
            counted = answer.number("products"), answer.number("flops")
            if not again:  # what it began for another point is no help with other matrices
                other = ask(*(Turn(each.shape, _generator).of(each) for each in self._matrices))
                if repr((other.number("products"), other.number("flops"))) != repr(counted):
                    told = f"{counted[0]:g} products, and {other.number('products'):g} on other matrices"
                    return Refuted(f"at {point} it took {told} of the same shapes")
            if repr(counts.setdefault(key, counted)) != repr(counted):
                return Refuted(
                    f"at {point} it took {counts[key][0]:g} products in another repetition, now {counted[0]:g}"
                )
        products, flops = counts[key]
        return {
            "outputs": Unsaved(timed["outputs"]),
            "preconditioner": self._preconditioner,
            "elapsed_s": timed["elapsed_s"],
            "products": products,
            "flops": flops,
            "peak_memory_bytes": timed["peak_memory_bytes"],
        }

    def _arguments(self, point):
        """Return what the method is given beside the matrices."""
        return [point] if self.iterates else []

    def _finite(self, outputs):
        """Whether the objective will find the outputs well formed; if not, that is what their row says."""
        shapes = [matrix.shape for matrix in self._matrices]
        return [each.shape for each in outputs] == shapes and all(bool(each.isfinite().all()) for each in outputs)

    def _problem_kind(self):
        shapes = tuple(tuple(matrix.shape) for matrix in self._matrices)
        return shapes, self._matrices[0].dtype, self.device


class DirectCell(MatricesCell, RunOnceCell):
    """Of a direct method: one point."""


class IterativeCell(MatricesCell, IterationCell):
    """Of an iterative method: one point for each number of steps, which it is given beside the matrices."""

    iterates = True
