"""The base of the objective: coverage and size over many splits, clean and attacked, and the verdict on a claim."""

from ...conformal import Margin, Predictor, SplitConformal
from ...conformal.verdicts import coverage_band, coverage_verdict, is_refuted
from ...data.parts import digest
from ...lipschitz.bounds import lower_bound
from ..device import resolve_device
from ..objective import Objective
from ..stand_in import StandIn
from ..status import REFUTED, InvalidResult
from ..unsaved import Unsaved
from .evaluation import (
    ATTACKED,
    CLEAN,
    UNKNOWN,
    Measurement,
    curve_text,
    set_shares,
    worst_class_coverage,
)
from .task import Network

# How far a measured lower bound of the network's constant may be above the one that sets rest on: rounding.
ROUNDING = 1e-4
SEARCHED, SEARCH_ITERATIONS = 8, 5

# Of inputs that are changed, by an attack or by chance.
CHANGED = ("coverage_attacked", "p_value_attacked", "set_size_attacked", "coverage_noise", "p_value_noise")


class ConformalObjective(Objective):
    """Hands out the task of a `ConformalDataset`, and measures a predictor over its splits.

    A subclass has the parameter ``alpha``.
    """

    def set_data(self, task):
        self._task = task
        self._digest = "" if isinstance(task, StandIn) else digest(task.pool)

    def get_objective(self):
        task = self._task if isinstance(self._task, StandIn) else self._task.for_solvers()
        return {"task": task, "alpha": self.alpha}

    def evaluate(self, predictor, family, calibration_time_s, prediction_time_s):
        """Return the metrics of a predictor; see `orthobench.harness.Objective.evaluate`.

        Parameters
        ----------
        predictor : Predictor
            It is calibrated again on each split.
        family : str
            The family of the network.
        calibration_time_s, prediction_time_s : float
            For an example that was shown to the solver.
        """
        task = self._task
        if digest(task.pool) != self._digest:
            raise InvalidResult("the solver changed the examples: they belong to the harness")
        if not isinstance(predictor, Predictor):
            raise InvalidResult(f"the predictor is a {type(predictor).__name__}: expected a Predictor")
        claim = predictor.claim
        if claim.alpha != self.alpha:
            raise InvalidResult(f"the predictor claims alpha={claim.alpha:g}: expected {self.alpha:g}")
        device = resolve_device()
        network = task.network(family)
        network = Network(network.model.to(device), network.constant)
        measured = Measurement(predictor, task, network, device)
        clean = measured.sets(measured.inputs, CLEAN)
        figures, doubts = self._judged(claim, measured, clean, 0.0)
        low, high = coverage_band(len(measured.splits[0][0]), [len(each) for each in clean.hits], self.alpha)
        figures |= {
            **set_shares(clean, task.classes),
            "set_size": clean.size,
            "worst_class_coverage": worst_class_coverage(clean, task.pool.targets),
            "coverage_band_low": low,
            "coverage_band_high": high,
            "claimed_alpha": claim.alpha,
            "claimed_radius": claim.radius,
            "claimed_kind": claim.kind,
            "network_constant": network.constant,
            "forward_passes": float(predictor.forward_passes_per_input),
            "calibration_time_s": calibration_time_s,
            "prediction_time_s": prediction_time_s,
            "radius": task.radius,
            **dict.fromkeys(CHANGED, UNKNOWN),
        }
        if task.attack is not None:
            found, more = self._under_change(predictor, claim, measured)
            figures |= found
            doubts += more
        figures |= self._bounds(predictor, measured)
        figures["guaranteed"] = not doubts and _covers(claim, "attacked", task.radius)
        verdict = {"status": REFUTED, "message": "; ".join(doubts)} if doubts else {}
        return {"value": figures["set_size"], **figures, **verdict}

    def _under_change(self, predictor, claim, measured):
        """Return coverage and size under attack, coverage under random noise, and what is doubtful."""
        attacked = measured.attacked(**self._task.attack)
        sets = measured.sets(attacked, ATTACKED)
        figures, doubts = self._judged(claim, measured, sets, self._task.radius, "attacked")
        figures["set_size_attacked"] = sets.size
        if claim.kind == "random_noise":
            found, more = self._judged(claim, measured, measured.noisy_sets(), self._task.radius, "noise")
            figures |= found
            doubts += more
        return figures, doubts + self._constant_doubts(predictor, measured, attacked)

    def _judged(self, claim, measured, sets, radius, change=""):
        """Return coverage with its p-value, and what is doubtful of it if it is claimed."""
        alpha, calibration = self.alpha, len(measured.splits[0][0])
        examples, misses = ([each.numpy() for each in some] for some in (sets.examples, sets.misses))
        # Noise that moves the inputs is drawn once, too.
        options = {"part": sets.part, "pool": measured.pool, "noisy": measured.noisy or change == "noise"}
        p_value, untested = coverage_verdict(examples, misses, alpha, calibration=calibration, **options)
        suffix = f"_{change}" if change else ""
        where = {"": "on clean inputs", "attacked": "under attack", "noise": "under random noise"}[change]
        doubt = f"covers {sets.coverage:.4f} {where}, claims {1 - alpha:g} (p = {p_value:.1e})"
        claimed = _covers(claim, change, radius)
        judged = claimed and not untested
        figures = {"coverage": sets.coverage, "p_value": p_value, "judged": judged, "untested": untested * claimed}
        figures = {f"{name}{suffix}": figure for name, figure in figures.items()}
        return figures, [doubt] if judged and is_refuted(p_value) else []

    @staticmethod
    def _constant_doubts(predictor, measured, attacked):
        """Return what is doubtful about the Lipschitz constant that a predictor's sets rest on."""
        claimed = getattr(predictor, "lipschitz_constant", None)
        if claimed is None:
            return []
        found = max(
            measured.quotient(attacked),
            float(
                lower_bound(measured.network.model, measured.inputs[:SEARCHED], seed=0, iterations=SEARCH_ITERATIONS)
            ),
        )
        if found <= claimed * (1 + ROUNDING):
            return []
        return [f"rests on a Lipschitz constant of {claimed:g}, and {found:g} was measured"]

    def _bounds(self, predictor, measured):
        """Return the bounds of vanilla coverage under attack at the radius, and their curve over radii."""
        found = measured.bounds() if type(predictor) is SplitConformal else None
        if found is None:
            return {"coverage_lower": UNKNOWN, "coverage_upper": UNKNOWN, "coverage_curve": ""}
        radii, lower, upper = found
        at = int((radii - self._task.radius).abs().argmin())
        curve = curve_text(radii, lower, upper)
        return {"coverage_lower": float(lower[at]), "coverage_upper": float(upper[at]), "coverage_curve": curve}

    def get_one_result(self):
        predictor = SplitConformal(Margin(), self.alpha)
        times = {"calibration_time_s": 0.0, "prediction_time_s": 0.0}
        return {"predictor": Unsaved(predictor), "family": self._task.families[0], **times}


def _covers(claim, change, radius):
    """Whether a claim says something about coverage of clean inputs (""), of attacked ones, or under random noise."""
    kinds = ("worst_case", "marginal", "random_noise") if change == "noise" else ("worst_case", "marginal")
    return claim.kind in kinds and claim.norm == "l2" and claim.radius >= radius
