"""The harness sees through planted cheats of solvers of robust networks, and leaves honest ones alone."""

import shutil

import pytest
from conftest import ROOT, SmallBenchmark

from orthobench.harness.lipschitz.explanation import FIGURES as EXPLAINED

FOLDER = ROOT / "tests" / "cheats" / "lipschitz"
HONEST = ("honest", "honest_claim", "honest_plain", "honest_spectral")
ERRORS = {
    "claims_nothing": "the claimed Lipschitz constant is nan",
    "counts_steps": "has no attribute 'trainer'",  # that is in another process
    "looks_at_held_out": "looked at a part that is evaluated on",
    "own_optimizer": "overrides `optimizers`, which the harness owns",
    "replaces_a_function": "replaced torch.nn.functional.linear",
    "takes_more_steps": "overrides `step`, which the harness owns",
    "takes_more_threads": "changed torch's threads from 1 to 2",
    "wider_layers": "overrides `_trainer`, which the harness owns",
}
REFUTED = {
    "claims_less": "claims a Lipschitz constant of 0.5, and",
    "claims_less_at_first": "claims a Lipschitz constant of 0.001, and",
    "states_less": "claims a Lipschitz constant of 0.6561, and",
}
# What they do reaches a copy, or their own process, alone: training and evaluation are those of an honest one.
IN_VAIN = {
    "another_model": "honest",
    "changes_its_layer": "honest",
    "changes_its_rate": "honest",
    "changes_the_data": "honest",
    "hooks_gradients": "honest",
    "hooks_modules": "honest",
    "looks_for_the_trainer": "honest",
    "other_weights": "honest",
    "replaces_a_layer": "honest",
    "scales_outputs": "honest",
    "shows_averages": "honest",
    "turns_buffers": "honest_spectral",
}
# They claim less than the bench's bound, so little that nobody disproves it: that bound certifies.
NOT_BELIEVED = {"claims_a_little_less": "honest", "measures_its_claim": "honest_plain"}
STEPS = 40
DATA = f"digits[network=dense,steps={STEPS}]"
FIGURES = [
    *(f"objective_certified_accuracy_{radius}" for radius in (36, 72, 108, 255)),
    *("objective_accuracy", "objective_attacked_accuracy", "objective_proved_accuracy_36"),
    *("objective_lipschitz_upper", "objective_layers", "objective_train_loss"),
]


def run(folder, names, data=DATA, task="classification"):
    from orthobench.harness import raise_failures

    raise_failures(False)
    for each in ("datasets", "solvers"):
        (folder / each).mkdir()
    shutil.copy(ROOT / "benchmark_lipschitz" / "objective.py", folder)
    shutil.copy(ROOT / "benchmark_lipschitz" / "datasets" / f"{data.partition('[')[0]}.py", folder / "datasets")
    for name in names:
        shutil.copy(FOLDER / f"{name}.py", folder / "solvers")
    options = {"dataset_names": [data], "objective_filters": [f"Robustness[task={task}]"]}
    rows = SmallBenchmark(folder).run(**options)
    return rows.assign(solver_name=rows["solver_name"].str.partition("[")[0])


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return run(tmp_path_factory.mktemp("lipschitz_cheats"), [path.stem for path in FOLDER.glob("*.py")])


def figures(rows, name, columns=FIGURES):
    """Return a solver's figures as text, in which NaN equals NaN."""
    return str(rows[rows["solver_name"] == name].sort_values("stop_val")[columns].to_numpy().tolist())


@pytest.mark.parametrize("name", ERRORS)
def test_a_cheat_leaves_a_row_that_says_so(rows, name):
    last = rows[rows["solver_name"] == name].iloc[-1]
    assert last["objective_status"] == "error"
    assert ERRORS[name] in last["objective_message"]


@pytest.mark.parametrize("name", REFUTED)
def test_an_overstated_claim_is_refuted_at_once_with_the_figures_that_refute_it(rows, name):
    (only,) = rows[rows["solver_name"] == name].to_dict("records")
    assert only["stop_val"] == 0
    assert only["objective_status"] == "refuted"
    assert REFUTED[name] in only["objective_message"]
    assert only["objective_lipschitz_lower"] > only["objective_lipschitz_claimed"]
    assert only["objective_lipschitz_upper"] >= only["objective_lipschitz_lower"]


@pytest.mark.parametrize("name", IN_VAIN)
def test_what_a_solver_does_to_what_it_is_shown_changes_no_figure(rows, name):
    assert rows[rows["solver_name"] == name]["objective_status"].eq("ok").all()
    assert figures(rows, name) == figures(rows, IN_VAIN[name])


@pytest.mark.parametrize("name", NOT_BELIEVED)
def test_a_claim_that_is_less_than_what_is_proved_certifies_no_more(rows, name):
    own = rows[rows["solver_name"] == name]
    assert own["objective_status"].eq("ok").all()
    assert own["objective_lipschitz_claimed"].lt(own["objective_lipschitz_upper"]).all()
    assert figures(rows, name) == figures(rows, NOT_BELIEVED[name])


def test_a_claim_that_becomes_false_is_not_believed_until_it_is_refuted(rows):
    *before, last = rows[rows["solver_name"] == "claims_one"].to_dict("records")
    assert len(before) > 1
    for row in before:
        assert row["objective_status"] == "ok"
        assert row["objective_lipschitz_claimed"] == 1 < row["objective_lipschitz_upper"]
        assert row["objective_certified_accuracy_36"] == row["objective_proved_accuracy_36"]
    assert last["objective_status"] == "refuted"
    assert "claims a Lipschitz constant of 1, and" in last["objective_message"]
    assert last["objective_lipschitz_lower"] > 1


def test_who_leaves_a_process_behind_is_refuted(rows):
    last = rows[rows["solver_name"] == "leaves_a_process"].iloc[-1]
    assert last["objective_status"] == "refuted"
    assert "started processes that went on" in last["objective_message"]


@pytest.mark.parametrize("name", HONEST)
def test_honest_solvers_pass(rows, name):
    own = rows[rows["solver_name"] == name]
    assert own["objective_status"].eq("ok").all()
    assert own["stop_val"].max() == STEPS
    last = own.iloc[-1]
    assert last["objective_lipschitz_lower"] <= last["objective_lipschitz_claimed"] * (1 + 1e-4)
    assert last["objective_certified_accuracy_36"] <= last["objective_attacked_accuracy"] <= last["objective_accuracy"]


def test_honest_solvers_beside_cheats_are_as_alone(rows, tmp_path):
    alone = run(tmp_path, HONEST)
    for name in HONEST:
        assert figures(rows, name) == figures(alone, name)


def test_a_larger_claim_certifies_less_and_what_is_proved_is_told(rows):
    last = rows.groupby("solver_name").tail(1).set_index("solver_name")
    honest, larger = last.loc["honest"], last.loc["honest_claim"]
    assert larger["objective_lipschitz_claimed"] == pytest.approx(2 * honest["objective_lipschitz_claimed"])
    assert larger["objective_accuracy"] == honest["objective_accuracy"]
    assert larger["objective_certified_accuracy_36"] == honest["objective_certified_accuracy_72"]
    assert larger["objective_certified_accuracy_36"] < honest["objective_certified_accuracy_36"]
    assert larger["objective_proved_accuracy_36"] == honest["objective_certified_accuracy_36"]


@pytest.fixture(scope="module")
def explained(tmp_path_factory):
    names = ("claims_a_little_less", "claims_one", "hooks_modules", "honest", "honest_plain", "scales_outputs")
    data = f"digit_pair[network=dense,steps={STEPS},explained=20]"
    return run(tmp_path_factory.mktemp("explained_cheats"), names, data, "explanation")


@pytest.mark.parametrize("name", ["claims_a_little_less", "hooks_modules", "scales_outputs"])
def test_no_explanation_gets_better_by_what_a_solver_claims_or_does(explained, name):
    assert explained[explained["solver_name"] == name]["objective_status"].eq("ok").all()
    columns = [f"objective_{each}" for each in EXPLAINED if not each.startswith("explanation_time")]
    assert figures(explained, name, columns) == figures(explained, "honest", columns)


@pytest.mark.parametrize("name", ["honest", "honest_plain"])
def test_certificates_of_explained_honest_networks_hold(explained, name):
    last = explained[explained["solver_name"] == name].iloc[-1]
    assert last["objective_status"] == "ok"
    assert 0 < last["objective_tightness"] <= 1
    assert 0 < last["objective_saturation"] <= 1 + 1e-4


def test_a_false_claim_is_refuted_where_a_network_is_explained(explained):
    last = explained[explained["solver_name"] == "claims_one"].iloc[-1]
    assert last["objective_status"] == "refuted"
    assert "claims a Lipschitz constant of 1, and" in last["objective_message"]


def test_every_cheat_is_tested():
    names = {path.stem for path in FOLDER.glob("*.py")}
    assert names == {*ERRORS, *REFUTED, *IN_VAIN, *NOT_BELIEVED, *HONEST, "claims_one", "leaves_a_process"}
