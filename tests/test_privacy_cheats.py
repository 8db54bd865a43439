"""The harness sees through planted cheats of private training, names what caught them, and leaves honest runs alone."""

import shutil

import pytest
from conftest import ROOT, SmallBenchmark

HONEST = ("honest", "honest_clipping", "honest_claim")
ERRORS = {
    "changes_the_data": "changed the training data",
    "fixed_batches": "overrides `_trainer`, which the harness owns",
    "looks_at_held_out": "looked at a part that is evaluated on",
    "own_rate": "an optimizer changed its learning rate",
    "records_half_the_rate": "and its batch was drawn at",
    "writes_weights": "a batch changed the weights without the optimizer",
}
# What caught it, and what else the message says.
REFUTED = {
    "claims_less": ("accounting", "claims an epsilon of 1, and its transcript has"),
    "less_noise": ("accounting", "claims an epsilon of 2, and its transcript has"),
    "half_the_noise": ("noise", "has 0.25"),
    "no_noise": ("noise", "of the variance that is claimed"),
    "not_private": ("noise", "no block has noise"),
    "clips_after_averaging": ("sensitivity", "of the bound that is claimed"),
    "half_the_bound": ("sensitivity", "of the bound that is claimed"),
    "records_elsewhere": ("transcript", "0 steps are recorded, and 40 batches were drawn"),
}
DATA = "digits[steps=40]"


def run(folder, **options):
    (folder / "datasets").mkdir()
    shutil.copy(ROOT / "benchmark_dp" / "objective.py", folder)
    shutil.copy(ROOT / "benchmark_dp" / "datasets" / "digits.py", folder / "datasets")
    rows = SmallBenchmark(folder).run(dataset_names=[DATA], **options)
    return rows.assign(solver_name=rows["solver_name"].str.partition("[")[0])


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    from orthobench.harness import raise_failures

    raise_failures(False)
    folder = tmp_path_factory.mktemp("privacy_cheats")
    shutil.copytree(ROOT / "tests" / "cheats" / "privacy", folder / "solvers")
    return run(folder, objective_filters=["Private training[epsilon=2]"])


@pytest.mark.parametrize("name", ERRORS)
def test_a_cheat_leaves_a_row_that_says_so(rows, name):
    last = rows[rows["solver_name"] == name].iloc[-1]
    assert last["objective_status"] == "error"
    assert ERRORS[name] in last["objective_message"]


@pytest.mark.parametrize("name", REFUTED)
def test_a_claim_that_does_not_hold_is_refuted_by_the_test_that_is_named(rows, name):
    last = rows[rows["solver_name"] == name].iloc[-1]
    assert last["objective_status"] == "refuted", last["objective_message"]
    test, told = REFUTED[name]
    assert any(each.startswith(f"{test}: ") and told in each for each in last["objective_message"].split("; "))


@pytest.mark.parametrize("name", HONEST)
def test_honest_solvers_pass(rows, name):
    own = rows[rows["solver_name"] == name]
    assert own["objective_status"].eq("ok").all(), own["objective_message"].iloc[-1]
    last = own.iloc[-1]
    assert last["objective_noise_ratio"] == pytest.approx(1, abs=0.05)
    assert 0 < last["objective_sensitivity_ratio"] <= 1 + 1e-3
    assert last["objective_canary_ratio"] <= 1
    assert last["objective_epsilon_pld"] <= last["objective_epsilon_claimed"] + 1e-3


def test_the_audit_alone_catches_missing_noise(tmp_path, contained):
    (tmp_path / "solvers").mkdir()
    for name in ("honest", "no_noise"):
        shutil.copy(ROOT / "tests" / "cheats" / "privacy" / f"{name}.py", tmp_path / "solvers")
    rows = run(tmp_path, objective_filters=["Private training[audit=True,epsilon=1]"])
    last = rows.groupby("solver_name").tail(1).set_index("solver_name")
    assert last.loc["no_noise", "objective_epsilon_audit"] > 1
    assert "audit: claims an epsilon of 1, and" in last.loc["no_noise", "objective_message"]
    assert last.loc["honest", "objective_epsilon_audit"] < 1
    assert last.loc["honest", "objective_status"] == "ok"
    assert last["objective_audit_power"].between(0, 1).all()


def test_every_cheat_is_tested():
    names = {path.stem for path in (ROOT / "tests" / "cheats" / "privacy").glob("*.py")}
    assert names == {*ERRORS, *REFUTED, *HONEST}
