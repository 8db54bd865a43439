"""Real runs of `benchmark_crc`'s objective on a small pool: rows, metrics, statuses, seeds, pictures."""

import math
import shutil

import numpy as np
import pytest
from conftest import ROOT, SmallBenchmark

from orthobench.conformal.detection import DetectionLosses, Detections, SequentialController, Truths
from orthobench.harness import raise_failures
from orthobench.harness.detection.role import packed, unpacked

DATASET = f"""
import sys
import torch
from dataclasses import replace
sys.path.append({str(ROOT / "tests" / "harness" / "detection")!r})
from detection_toys import SIDE, make_task
from orthobench.harness.datasets import TaskDataset

class Dataset(TaskDataset):
    name = "toy"
    parameters = {{"splits": [100], "with_classes": [True], "shown": [False], "missing": [False]}}

    def task(self, seed):
        if self.missing:
            raise ConnectionError("no such file")
        task = make_task(seed, splits=self.splits, with_classes=self.with_classes)
        return replace(task, images=torch.rand(3, 1, int(SIDE), int(SIDE))) if self.shown else task
"""
OVERSTATES = """
from orthobench.conformal.detection import RiskClaim, SequentialController, Thresholds
from orthobench.harness.detection import DetectionSolver

class Own(SequentialController):
    @property
    def claim(self):
        return RiskClaim(self.alphas, self.losses, "probability", 0.1)

    def _choose(self, losses):
        return Thresholds(0.9, 0.0, 0.2)

class Solver(DetectionSolver):
    name = "overstates"

    def controller(self, problem):
        return Own(problem.losses, problem.alphas)
"""
SOLVERS = (
    *("seqcrc", "seqcrc_joint", "split", "uncalibrated"),
    *("bonferroni_box_wise", "max_additive", "crc_fixed_threshold"),
)
RISKS = ("cnf", "loc", "cls", "max", "joint")
SIZES = ("volume_ratio", "boxes_per_image", "stretch", "class_set_size")


def run(folder, *names, alphas="0.1/0.2/0.2", more="", **options):
    raise_failures(False)
    if not (folder / "objective.py").exists():
        (folder / "solvers").mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "benchmark_crc" / "objective.py", folder)
        SmallBenchmark(folder).write({"datasets/toy.py": DATASET})
    for name in names:
        shutil.copy(ROOT / "benchmark_crc" / "solvers" / f"{name}.py", folder / "solvers")
    rows = SmallBenchmark(folder).run(objective_filters=[f"Risk[alphas='{alphas}'{more}]"], **options)
    return rows.assign(solver=rows["solver_name"].str.partition("[")[0])


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("detection") / "all"
    return run(folder, *SOLVERS, dataset_names=["toy[shown=True]"], repetitions=2)


def own(rows, name):
    return rows[rows["solver"] == name]


def figures(rows):
    names = (*SIZES, *(f"risk_{risk}" for risk in RISKS), "lambda_loc", "lambda_cls")
    columns = [f"objective_{name}" for name in names]
    return rows.sort_values(["solver_name", "idx_rep"])[columns].to_numpy(dtype=float)


def test_every_cell_has_a_row(rows):
    assert rows["objective_status"].eq("ok").all(), set(rows["objective_message"])
    assert len(rows) == 2 * 8  # two kinds of Max-additive
    assert (rows["objective_value"] == rows["objective_volume_ratio"]).all()
    assert (rows["objective_detector_map"] == 0.5).all()
    assert rows["objective_calibration_time_s"].gt(0).all()
    assert rows["objective_peak_memory_bytes"].gt(0).all()


def test_what_is_claimed_is_judged_and_holds(rows):
    claimed = {"SeqCRC": RISKS[:4], "Split-3": RISKS[:4], "SeqCRC joint": ("cnf", "joint"), "Uncalibrated": ()}
    claimed |= {"CRC fixed-threshold": ("loc", "cls", "max"), "Bonferroni box-wise": (), "Max-additive": ()}
    for name, risks in claimed.items():
        mine = own(rows, name)
        for risk in RISKS:
            judged = mine[f"objective_judged_{risk}"].astype(bool)
            assert judged.eq(risk in risks).all(), (name, risk)
            assert (mine[f"objective_p_value_{risk}"].notna() == judged).all()
            if risk in risks:
                assert mine[f"objective_p_value_{risk}"].gt(1e-3).all()
        assert mine["objective_guaranteed"].astype(bool).eq(bool(risks)).all(), name


def test_risks_near_the_levels_and_sets_that_pay_for_them(rows):
    seqcrc, plain = own(rows, "SeqCRC").iloc[0], own(rows, "Uncalibrated").iloc[0]
    for risk, level in (("cnf", 0.1), ("loc", 0.2), ("cls", 0.2)):
        assert seqcrc[f"objective_risk_{risk}"] < level + 0.01
    assert seqcrc["objective_risk_loc"] > 0.1
    assert plain["objective_risk_cls"] < seqcrc["objective_risk_cls"]  # of the right classes, half at least is sure
    assert plain["objective_stretch"] == 1
    assert plain["objective_class_set_size"] == 1
    fixed = own(rows, "CRC fixed-threshold").iloc[0]
    assert 0 <= fixed["objective_infeasible_share"] <= 1


def test_pictures_are_of_the_first_repetition(rows):
    pictures = rows.groupby("idx_rep")["objective_picture"].apply(lambda each: (each.str.len() > 0).all())
    assert pictures.tolist() == [True, False]


def test_repetitions_differ_in_their_splits_and_runs_are_the_same(rows, tmp_path):
    seqcrc = own(rows, "SeqCRC")["objective_risk_loc"]
    assert seqcrc.nunique() == 2
    alone = run(tmp_path / "alone", "seqcrc", dataset_names=["toy[shown=True]"], repetitions=2)
    np.testing.assert_array_equal(figures(alone), figures(own(rows, "SeqCRC")))


def test_without_classes_there_are_no_sets_of_them(tmp_path):
    options = {"dataset_names": ["toy[with_classes=False]"], "more": ",match=hausdorff"}
    found = run(tmp_path / "none", "seqcrc", "split", **options)
    assert found["objective_status"].eq("ok").all(), set(found["objective_message"])
    for name in ("class_set_size", "risk_cls", "claimed_cls", "lambda_cls"):
        assert found[f"objective_{name}"].isna().all(), name
    assert found["objective_judged_loc"].all()
    assert found["objective_guaranteed"].all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alphas": "0.1/0.2"}, "alphas='0.1/0.2': expected three numbers in (0, 1), as in 0.02/0.05/0.05"),
        ({"alphas": "0.1/0.2/0.2/0.2"}, "alphas='0.1/0.2/0.2/0.2': expected three numbers"),
        ({"alphas": "0.1/0.2/1.2"}, "1.2"),
        ({"alphas": "0.1/0.05/0.2"}, "alpha of localisation is 0.05"),
        ({"more": ",match=nearest"}, "match must be one of"),
        ({"dataset_names": ["toy[missing=True]"]}, "no such file"),
    ],
)
def test_what_cannot_be_run_says_why(tmp_path, options, message):
    found = run(tmp_path / "wrong", "seqcrc", **{"dataset_names": ["toy"]} | options)
    assert set(found["objective_status"]) <= {"error", "unavailable"}
    assert found["objective_message"].str.contains(message, regex=False).all(), set(found["objective_message"])


def test_few_splits_tell_no_verdict_and_say_so(tmp_path):
    # The joint level is 0.3, which 0.1 + 0.2 isn't in float64.
    found = run(tmp_path / "few", "seqcrc", "seqcrc_joint", alphas="0.05/0.1/0.2", dataset_names=["toy[splits=20]"])
    assert found["objective_status"].eq("ok").all(), set(found["objective_message"])
    assert found["objective_message"].eq("no test of its claims: needs 100 splits, these are 20").all()
    assert set(found["objective_claimed_joint"].dropna()) == {0.3}
    assert not found["objective_judged_loc"].any()
    assert found["objective_p_value_loc"].isna().all()


def test_a_probability_that_no_mean_risk_can_come_from_is_refuted(tmp_path):
    (tmp_path / "solvers").mkdir()
    (tmp_path / "solvers" / "overstates.py").write_text(OVERSTATES)
    found = run(tmp_path, "ltt_hb", dataset_names=["toy"]).set_index("solver")
    assert found.loc["LTT-HB", "objective_status"] == "ok", found.loc["LTT-HB", "objective_message"]
    cheat = found.loc["overstates"]
    assert cheat["objective_status"] == "refuted"
    assert "of localisation is" in cheat["objective_message"]
    assert "claims 0.2 with a probability of 0.9, which is at most 0.2800 in the mean" in cheat["objective_message"]
    assert not cheat["objective_guaranteed"]


def test_images_of_which_some_have_no_boxes_are_packed_too():
    detections = Detections.of_images([[], [[0, 0, 4, 4]]], [[], [0.9]], [[], [[0.5, 0.5]]], [[8, 8], [8, 8]])
    truths = Truths.of_images([[], [[0, 0, 4, 4]]], [[], [1]])
    again = unpacked(packed(detections[:1], truths[:1], np.zeros((1, 1), dtype=int)))
    assert again[0].classes == 2
    assert again[1].labels.shape == (0,)
    DetectionLosses().check(*again[:2])


def test_what_is_packed_comes_out_as_it_was():
    from detection_toys import make_pool

    for with_classes in (True, False):
        detections, truths = make_pool(20, with_classes=with_classes)
        parts = np.arange(20).reshape(2, 10)
        again = unpacked(packed(detections, truths, parts))
        for one, other in ((detections, again[0]), (truths, again[1])):
            for name, values in vars(one).items():
                np.testing.assert_array_equal(values, getattr(other, name), err_msg=name)
        losses = DetectionLosses(match="hausdorff", classes="lac" if with_classes else None)
        alphas = {"confidence": 0.2, "localisation": 0.3} | ({"classification": 0.3} if with_classes else {})
        pairs = (detections, truths), again[:2]
        found = [SequentialController(losses, alphas).calibrate(*each).thresholds for each in pairs]
        assert found[0] == found[1]
        assert not math.isnan(found[0].score)
