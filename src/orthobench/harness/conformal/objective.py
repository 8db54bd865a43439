"""The base of the objective: coverage and size over many splits, clean and attacked, and the verdict on a claim."""

from ...conformal import Margin, SplitConformal
from ...conformal.outcomes import set_shares, worst_class_coverage
from ...conformal.verdicts import coverage_band, coverage_verdict, is_refuted
from ...device import resolve_device
from ...lipschitz.bounds import lower_bound
from ..objective import Objective
from ..status import REFUTED
from ..unsaved import Unsaved
from .evaluation import UNKNOWN, Measurement, curve_text
from .method import InThisProcess, Method

# How far a measured lower bound of the network's constant may be above the one that sets rest on: rounding.
ROUNDING = 1e-4
SEARCHED, SEARCH_ITERATIONS = 8, 5

# Of inputs that are changed, by an attack or by chance.
CHANGED = ("coverage_attacked", "p_value_attacked", "set_size_attacked", "coverage_noise", "p_value_noise")


class ConformalObjective(Objective):
    """Hands the task of a `ConformalDataset` to the bench, and judges what that measured of a predictor.

    A subclass has the parameter ``alpha``.
    """

    def set_data(self, task):
        self._task = task

    def get_objective(self):
        return {"task": self._task, "alpha": self.alpha}

    def evaluate(self, measured):
        """Return the metrics of a predictor; see `orthobench.harness.Objective.evaluate`.

        Parameters
        ----------
        measured : Measurement
        """
        task, claim, clean = self._task, measured.claim, measured.clean
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
            "claimed_norm": claim.norm,
            "claimed_kind": claim.kind,
            "network_constant": measured.network.constant,
            "forward_passes": measured.passes,
            "calibration_time_s": measured.calibration_time_s,
            "prediction_time_s": measured.prediction_time_s,
            "radius": task.radius,
            "gradient_agreement": measured.agreement,
            **dict.fromkeys(CHANGED, UNKNOWN),
        }
        if measured.attacked is not None:
            found, more = self._under_change(claim, measured)
            figures |= found
            doubts += more
        figures |= self._bounds(measured)
        figures["guaranteed"] = not doubts and _covers(claim, "attacked", task.radius)
        verdict = {"status": REFUTED, "message": "; ".join(doubts)} if doubts else {}
        return {"value": figures["set_size"], **figures, **verdict}

    def _under_change(self, claim, measured):
        """Return coverage and size under attack, coverage under random noise, and what is doubtful."""
        figures, doubts = self._judged(claim, measured, measured.attacked, self._task.radius, "attacked")
        figures["set_size_attacked"] = measured.attacked.size
        if measured.moved is not None:
            found, more = self._judged(claim, measured, measured.moved, self._task.radius, "noise")
            figures |= found
            doubts += more
        return figures, doubts + self._constant_doubts(measured)

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
    def _constant_doubts(measured):
        """Return what is doubtful about the Lipschitz constant that a predictor's sets rest on."""
        claimed, network = measured.method.description.lipschitz_constant, measured.network
        if claimed is None:
            return []
        device = resolve_device()
        some = measured.inputs[:SEARCHED].to(device)
        found = max(measured.quotient, float(lower_bound(network.model, some, seed=0, iterations=SEARCH_ITERATIONS)))
        if found <= claimed * (1 + ROUNDING):
            return []
        return [f"rests on a Lipschitz constant of {claimed:g}, and {found:g} was measured"]

    def _bounds(self, measured):
        """Return the bounds of vanilla coverage under attack at the radius, and their curve over radii."""
        found = measured.bounds()
        if found is None:
            return {"coverage_lower": UNKNOWN, "coverage_upper": UNKNOWN, "coverage_curve": ""}
        radii, lower, upper = found
        at = int((radii - self._task.radius).abs().argmin())
        curve = curve_text(radii, lower, upper)
        return {"coverage_lower": float(lower[at]), "coverage_upper": float(upper[at]), "coverage_curve": curve}

    def get_one_result(self):
        bench = InThisProcess(lambda problem: SplitConformal(Margin(), problem.alpha), self._task, self.alpha)
        network = self._task.network(self._task.families[0])
        method = Method(bench, self._task, self.alpha, network)
        return {"measured": Unsaved(Measurement(method, self._task, network))}


def _covers(claim, change, radius):
    """Whether a claim says something about coverage of clean inputs (""), of attacked ones, or under random noise.

    Of changes that are measured in L2: a ball of another norm holds that of the same radius in L2.
    """
    kinds = ("worst_case", "marginal", "random_noise") if change == "noise" else ("worst_case", "marginal")
    return claim.kind in kinds and claim.radius >= radius
