"""Real runs of `benchmark_rcp`'s objective on a small problem: rows, metrics, statuses, seeds, verdicts."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, SmallBenchmark

DATASET = """
import sys
sys.path.append({tests!r})
from conformal_toys import make_task
from orthobench.harness.conformal import ConformalDataset

class Dataset(ConformalDataset):
    name = "toy"
    parameters = {{"scale": [1.0], "attacked": [300], "splits": [20], "missing": [False]}}

    def task(self, seed):
        if self.missing:
            raise ConnectionError("no such file")
        return make_task(seed=seed % 1000, scale=self.scale, attacked=self.attacked, splits=self.splits)
"""
SOLVERS = ("vanilla", "lip_rcp", "rscp", "rcp1", "bincp", "aprcp")
FIGURES = ["set_size", "coverage", "coverage_attacked", "set_size_attacked", "coverage_lower", "p_value"]


@pytest.fixture
def conformal(tmp_path, contained):
    """Make a benchmark with some of the real solvers on the toy task; return how to run it."""

    def make(*solvers, name="benchmark_small"):
        folder = tmp_path / name
        (folder / "solvers").mkdir(parents=True)
        shutil.copy(ROOT / "benchmark_rcp" / "objective.py", folder)
        small = SmallBenchmark(folder)
        small.write({"datasets/toy.py": DATASET.format(tests=str(ROOT / "tests" / "harness" / "conformal"))})
        for solver in solvers:
            text = (ROOT / "benchmark_rcp" / "solvers" / f"{solver}.py").read_text()
            for family in ('["noise"]', '["standard", "lipschitz", "noise"]', '["standard"]'):
                text = text.replace(f'"network": {family}', '"network": ["lipschitz"]')
            small.write({f"solvers/{solver}.py": text.replace('"samples": [256]', '"samples": [64]')})

        def run(alpha=0.1, **options):
            rows = small.run(objective_filters=[f"Coverage[alpha={alpha}]"], **options)
            return rows.assign(family=rows["solver_name"].str.partition("[")[0])

        return run

    return make


def test_a_good_run_has_a_row_for_each_solver_with_every_metric(conformal):
    rows = conformal(*SOLVERS)()
    assert rows["objective_status"].eq("ok").all(), rows["objective_message"].tolist()
    by_name = rows.groupby("family").first()
    assert set(by_name.index) == {"Vanilla", "lip-rcp", "RSCP", "RCP1", "BinCP", "aPRCP"}
    for column in FIGURES[:4]:
        assert rows[f"objective_{column}"].notna().all()
    assert rows["objective_value"].equals(rows["objective_set_size"])
    assert (rows["objective_coverage_attacked"] <= rows["objective_coverage"] + 0.02).all()
    assert rows["objective_calibration_time_s"].gt(0).all()
    assert rows["objective_prediction_time_s"].gt(0).all()
    expected = {"Vanilla": 1, "lip-rcp": 1, "RSCP": 64, "RCP1": 1, "BinCP": 64, "aPRCP": 1}
    assert by_name["objective_forward_passes"].to_dict() == expected


def test_only_what_a_method_claims_is_judged(conformal):
    rows = conformal(*SOLVERS)(dataset_names=["toy[attacked=600,splits=100]"]).groupby("family").first()
    clean = rows["objective_judged"].to_dict()
    attacked = rows["objective_judged_attacked"].to_dict()
    assert clean == {"Vanilla": True, "lip-rcp": True, "RSCP": False, "RCP1": True, "BinCP": True, "aPRCP": False}
    assert attacked == {"Vanilla": False, "lip-rcp": True, "RSCP": False, "RCP1": True, "BinCP": True, "aPRCP": False}
    assert rows["objective_guaranteed"].astype(bool).to_dict() == attacked
    assert rows["objective_coverage_noise"].notna().to_dict() == {name: name == "aPRCP" for name in rows.index}
    assert rows.loc["Vanilla", "objective_coverage_attacked"] < rows.loc["Vanilla", "objective_coverage_band_low"]
    assert rows.loc["lip-rcp", "objective_coverage_attacked"] >= rows.loc["lip-rcp", "objective_coverage_band_low"]


def test_what_is_claimed_and_not_tested_is_not_judged_and_says_why(conformal):
    rows = conformal("vanilla", "rcp1", "aprcp")().groupby("family").first()
    assert rows["objective_judged"].to_dict() == {"Vanilla": True, "RCP1": False, "aPRCP": False}
    assert rows["objective_p_value"].isna().to_dict() == {"Vanilla": False, "RCP1": True, "aPRCP": False}
    said = "needs 100 splits of noisy scores, these are 20"
    assert rows["objective_untested"].to_dict() == {"Vanilla": "", "RCP1": said, "aPRCP": ""}
    assert rows["objective_untested_attacked"].to_dict() == {"Vanilla": "", "RCP1": said, "aPRCP": ""}
    assert rows.loc["aPRCP", "objective_untested_noise"] == said
    assert rows["objective_status"].eq("ok").all()


def test_the_certified_bounds_are_those_of_vanilla_sets_and_hold_the_attacked_coverage(conformal):
    rows = conformal("vanilla", "lip_rcp")().groupby("family").first()
    vanilla = rows.loc["Vanilla"]
    assert vanilla["objective_coverage_lower"] <= vanilla["objective_coverage_attacked"]
    assert vanilla["objective_coverage_attacked"] <= vanilla["objective_coverage_upper"]
    radii, lower, upper = np.array(json.loads(vanilla["objective_coverage_curve"])).T
    assert (np.diff(lower) <= 0).all()
    assert (lower <= upper).all()
    assert radii[-1] == pytest.approx(2 * vanilla["objective_radius"])
    assert np.isnan(rows.loc["lip-rcp", "objective_coverage_lower"])


@pytest.mark.parametrize("scale", [1.05, 1.5])
def test_a_network_whose_constant_is_larger_than_it_claims_is_refuted(conformal, scale):
    rows = conformal("lip_rcp")(dataset_names=[f"toy[scale={scale}]"])
    assert rows["objective_status"].eq("refuted").all()
    assert rows["objective_message"].str.contains("rests on a Lipschitz constant of 1, and 1.").all()
    assert not rows["objective_guaranteed"].any()


def test_a_network_with_the_constant_that_it_claims_is_not(conformal):
    assert conformal("lip_rcp")()["objective_status"].eq("ok").all()


def test_repetitions_differ_and_solvers_share_their_splits(conformal):
    rows = conformal("vanilla")(repetitions=3)
    assert len(set(rows["objective_coverage"])) == 3


def test_order_and_company_change_no_bit(conformal):
    columns = ["solver_name", "idx_rep", *(f"objective_{name}" for name in FIGURES)]

    def sorted_rows(rows):
        return rows[columns].sort_values(columns[:2]).reset_index(drop=True)

    together = sorted_rows(conformal("rcp1", "bincp", "vanilla", name="together")())
    alone = sorted_rows(conformal("bincp", name="alone")())
    own = together[together["solver_name"].str.startswith("BinCP")].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, own, check_exact=True, check_dtype=False)


def test_without_images_there_is_no_attack_and_methods_that_need_them_are_skipped(conformal):
    rows = conformal("vanilla", "lip_rcp", "rcp1", "aprcp")(dataset_names=["toy[attacked=0]"])
    assert set(rows["family"]) == {"Vanilla", "lip-rcp"}
    assert rows["objective_status"].eq("ok").all()
    assert rows["objective_coverage_attacked"].isna().all()


def test_data_that_can_not_be_had_are_a_row_of_each_cell(conformal):
    rows = conformal("vanilla", "rcp1")(dataset_names=["toy[missing=True]"])
    assert set(rows["family"]) == {"Vanilla", "RCP1"}
    assert rows["objective_status"].eq("error").all()
    assert rows["objective_message"].str.contains("no such file").all()


def test_a_score_that_does_not_exist_is_named(conformal):
    rows = conformal("vanilla")(solver_names=["vanilla[score=entropy]"])
    assert rows["objective_status"].eq("error").all()
    assert rows["objective_message"].str.contains("score='entropy': expected one of softmax").all()
