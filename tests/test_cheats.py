"""The harness sees through planted cheats, and leaves honest solvers alone."""

import shutil

import pytest
from conftest import ROOT

FOLDER = ROOT / "tests" / "cheats" / "orthogonalisation"
DATA = ["gaussian[rows=16,columns=24]", "spectrum[rows=16,columns=16,kind=power_law]"]

CHEATS = {
    "lies_about_settings": ("error", "changed torch's threads from 1 to 2, float32 matmul precision from"),
    "mutates_input": ("error", "modified its input: work on a copy"),
    "computes_before_the_clock": ("error", "overrides `set_objective`"),
    "patches_the_clock": ("error", "replaced time.perf_counter"),
    "replaces_get_result": ("error", "has no attribute 'get_result'"),  # that is in the bench
    "claims_another_limit": ("error", "preconditioner 'magic'"),
    "chooses_its_points": ("error", "sets `evaluation_points`, which the harness owns"),
    "counts_another_method": ("refuted", "returns other matrices while its products are counted"),
    "empties_what_is_owned": ("error", "sets `owned`, which the harness owns"),
    "leaves_a_process": ("refuted", "started processes"),
    "leaves_settings": ("error", "changed float32 matmul precision from highest to medium"),
    "names_a_path": ("error", "can't name files and columns"),
    "overrides_prepare": ("error", "overrides `prepare`, which the harness owns"),
    "overrides_result": ("error", "overrides `result`, which the harness owns"),
    "replaces_the_norm": ("error", "replaced torch.linalg."),
    "replaces_the_stopwatch": ("refuted", "beyond the 0.0 ms that it says"),
    "runs_when_imported": ("error", "runs at import"),
    "sets_threads": ("error", "changed torch's threads from 1 to"),
    "works_in_a_thread": ("error", "got a Outputs"),
    "works_when_looked_at": ("error", "got a Later"),
}
# What they do has no effect, and their rows say what is left of them.
IN_VAIN = {"remembers_answers", "looks_for_the_answer"}
HONEST = {"honest", "honest_in_place"}
# Than a fresh process on inputs of the bench's own.
QUICKER = ["guesses_the_inputs", "recognises_turned_inputs", "remembers_points"]


def run(folder, solvers, **options):
    """Run some of the planted solvers, in the order of their names."""
    from conftest import SmallBenchmark

    from orthobench.harness import raise_failures

    raise_failures(False)
    shutil.copy(ROOT / "objective.py", folder)
    shutil.copytree(ROOT / "datasets", folder / "datasets")
    (folder / "solvers").mkdir()
    for name in solvers:
        shutil.copy(FOLDER / f"{name}.py", folder / "solvers")
    return SmallBenchmark(folder).run(**{"dataset_names": DATA} | options)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return run(tmp_path_factory.mktemp("cheats"), [*CHEATS, *IN_VAIN, *HONEST], repetitions=2, timeout=60)


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_leaves_a_row_that_says_so(rows, name):
    status, message = CHEATS[name]
    own = rows[rows["solver_name"] == name]
    assert len(own) == 2 * 2 * 2  # data sets, types, repetitions
    assert own["objective_status"].eq(status).all()
    assert own["objective_message"].str.contains(message, regex=False).all()
    assert own["objective_value"].isna().all()


@pytest.mark.parametrize("name", sorted(IN_VAIN))
def test_a_cheat_in_vain_has_the_error_of_what_it_returns(rows, name):
    """Another matrix's factor, for the warm-up uses other matrices; or the input, for no exact factor is there."""
    own = rows[rows["solver_name"] == name]
    assert own["objective_status"].eq("ok").all()
    # Two unrelated orthogonal matrices are at a distance of about sqrt(2).
    assert own["objective_relative_error"].gt(0.7).all()


@pytest.mark.parametrize("name", QUICKER)
def test_who_has_the_answers_to_inputs_is_slower_on_those_that_nobody_can_know(name, tmp_path):
    data = ["gaussian[rows=96,columns=96]"]
    own = run(tmp_path, [name], repetitions=2, timeout=60, dataset_names=data)
    assert len(own[["objective_name", "idx_rep"]].drop_duplicates()) == 2 * 2
    # Not all, for on a busy machine a copy may take as long as the work.
    assert own["objective_message"].str.contains("makes use of what it knew before").sum() >= 2


@pytest.mark.parametrize("name", sorted(HONEST))
def test_honest_solvers_pass(rows, name):
    own = rows[rows["solver_name"] == name]
    assert own["objective_status"].eq("ok").all()
    exact = own[own["objective_name"].str.contains("float32")]
    assert exact["objective_relative_error"].lt(1e-4).all()


def test_an_honest_solver_beside_cheats_is_as_alone(rows, tmp_path):
    alone = run(tmp_path, ["honest"], repetitions=2, timeout=60)
    beside = rows[rows["solver_name"] == "honest"]
    figures = ["objective_relative_error", "objective_sigma_min", "objective_lmo_gap"]
    assert beside[figures].to_numpy().tolist() == alone[figures].to_numpy().tolist()


def test_who_catches_everything_is_ended_when_its_time_is_over(tmp_path):
    own = run(tmp_path, ["catches_everything"], timeout=1, objective_filters=["*[dtype=float32]"])
    assert own["objective_status"].eq("timeout").all()
    assert own["objective_message"].str.contains("the time budget of 1 s is spent").all()


def test_every_cheat_is_tested():
    names = {path.stem for path in FOLDER.glob("*.py")}
    assert names == {*CHEATS, *IN_VAIN, *HONEST, "catches_everything", *QUICKER}
