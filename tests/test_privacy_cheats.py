"""The harness sees through planted cheats of private training, names what caught them, and leaves honest runs alone."""

import shutil

import pytest
from conftest import ROOT, SmallBenchmark

HONEST = ("honest", "honest_clipping", "honest_claim", "honest_ghost", "honest_own", "looks_for_examples", "own_rate")
# What nobody asks for or looks at: their rows are those of `honest_ghost`.
HARMLESS = (
    *("hands_over_gradients", "noise_of_its_own", "steps_where_the_data_are", "trains_through_a_file"),
    "writes_weights",
)
ERRORS = {"keeps_the_old_contract": "return a `Mechanism`"}
# What caught it, and what else the message says.
REFUTED = {
    "bound_of_the_batch": ("sensitivity", "at most"),
    "bound_of_zero": ("sensitivity", "0 at most"),
    "claims_less": ("accounting", "claims an epsilon of 1, and its transcript has"),
    "clips_after_summing": ("sum", "bounds of one example from what the same examples give again"),
    "clips_large_batches_less": ("sensitivity", "of the bound that is claimed"),
    "guesses_the_noise": ("sensitivity", "of the bound that is claimed"),
    "half_the_bound": ("sensitivity", "of the bound that is claimed"),
    "leaves_the_bias_out": ("noise", "bias has none, so that nothing is private"),
    "less_noise": ("accounting", "claims an epsilon of 2, and its transcript has"),
    "no_noise": ("noise", "weight has none, so that nothing is private"),
    "not_private": ("noise", "weight has none, so that nothing is private"),
    "one_step_without_noise": ("noise", "weight has none, so that nothing is private"),
    "realised_size": ("sum", "bounds of one example from what the same examples give again"),
    "remembers_batches": ("sum", "bounds of one example from what the same examples give again"),
    "smaller_norms": ("sensitivity", "of the bound that is claimed"),
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
    assert 0 < last["objective_sensitivity_ratio"] <= 1 + 1e-3
    assert last["objective_sum_difference"] < 1e-3
    assert last["objective_noise_p"] > 1e-3
    assert last["objective_epsilon_pld"] <= last["objective_epsilon_claimed"] + 1e-3


@pytest.mark.parametrize("name", HARMLESS)
def test_what_happens_past_the_bench_changes_nothing(rows, name):
    found, honest = (rows[rows["solver_name"] == each] for each in (name, "honest_ghost"))
    assert found["objective_status"].eq("ok").all()
    same = ("value", "train_loss", "epsilon_pld", "sensitivity_ratio", "gradient_to_noise", "layers", "lipschitz_upper")
    for column in same:
        assert list(map(repr, found[f"objective_{column}"])) == list(map(repr, honest[f"objective_{column}"])), column


def test_the_noise_is_not_that_of_the_seed_that_a_solver_is_given(tmp_path, contained):
    """At an epsilon of 0.1, training without noise would be 5 times as accurate."""
    (tmp_path / "solvers").mkdir()
    shutil.copy(ROOT / "tests" / "cheats" / "privacy" / "takes_the_noise_off.py", tmp_path / "solvers")
    last = run(tmp_path, objective_filters=["Private training[epsilon=0.1]"]).iloc[-1]
    assert last["objective_status"] == "ok"
    assert last["objective_accuracy"] < 0.4


def test_an_audit_has_power_for_clipping_and_finds_less_than_is_claimed(tmp_path, contained):
    (tmp_path / "solvers").mkdir()
    for name in ("honest", "honest_clipping"):
        shutil.copy(ROOT / "tests" / "cheats" / "privacy" / f"{name}.py", tmp_path / "solvers")
    rows = run(tmp_path, objective_filters=["Private training[audit=True,epsilon=10]"])
    last = rows.groupby("solver_name").tail(1)
    assert len(last) == 2
    assert last["objective_status"].eq("ok").all(), list(last["objective_message"])
    assert last["objective_audit_power"].between(1, 10).all()
    assert last["objective_epsilon_audit"].between(0.5, 10).all()


def test_every_cheat_is_tested():
    names = {path.stem for path in (ROOT / "tests" / "cheats" / "privacy").glob("*.py")}
    assert names == {*ERRORS, *REFUTED, *HONEST, *HARMLESS, "takes_the_noise_off"}
