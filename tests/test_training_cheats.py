"""The harness sees through planted cheats of solvers that train, and leaves honest ones alone."""

import shutil

import pytest
from conftest import ROOT, SmallBenchmark

HONEST = ("honest", "honest_in_groups", "honest_on_its_base", "honest_with_hooks")
IN_VAIN = ("remembers_the_last_cell", "shows_other_weights", "trains_before_the_clock", "works_when_asked")
CHEATS = {
    "another_forward": "changed the model's modules (head)",
    "another_model": "changed the model's modules (head",
    "changes_a_class": "replaced Linear.forward",
    "changes_a_function": "replaced torch.nn.functional.group_norm",
    "changes_a_setting": "changed the model's modules (stem.norm)",
    "changes_outputs": "of a fresh model with the same weights",
    "changes_outputs_in_training": "of a fresh model with the same weights",
    "changes_the_data": "changed the training data",
    "changes_the_data_for_a_while": "changed the training data",
    "chooses_evaluations": "sets `evaluation_points`, which the harness owns",
    "chooses_batches": "drew from the order of the batches",
    "draws_batches": "drew from the order of the batches",
    "freezes_layers": "in no optimizer",
    "looks_at_held_out": "looked at a part that is evaluated on",
    "own_trainer": "overrides `_trainer`, which the harness owns",
    "own_rate_for_a_moment": "changed its learning rate from",
    "own_rate_in_a_tensor": "changed its learning rate",
    "own_schedule": "changed its learning rate from",
    "repeats_random_numbers": "set torch's generator back",
    "seeds_again": "seeded torch with 31337",
    "seeds_at_first": "seeded torch with 31337",
    "sits_in_evaluation_mode": "changed the model's modules (blocks",
    "steps_twice_in_a_hook": "was called 2 times",
    "takes_more_threads": "changed torch's threads from 1 to",
    "works_in_evaluation": "1 forward passes where the harness makes 0",
    "takes_more_steps": "overrides `step`, which the harness owns",
    "trained_before": "changed head.weight before the first step",
    "trains_more_in_a_hook": "1 forward passes where the harness makes 0",
}
STEPS = 6


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    from orthobench.harness import raise_failures

    raise_failures(False)
    folder = tmp_path_factory.mktemp("training_cheats")
    shutil.copy(ROOT / "benchmark_muon" / "objective.py", folder)
    (folder / "datasets").mkdir()
    shutil.copy(ROOT / "benchmark_muon" / "datasets" / "digits.py", folder / "datasets")
    shutil.copytree(ROOT / "tests" / "cheats" / "training", folder / "solvers")
    return SmallBenchmark(folder).run(dataset_names=[f"digits[steps={STEPS},width=8]"], repetitions=2, timeout=60)


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_leaves_a_row_that_says_so(rows, name):
    last = rows[rows["solver_name"] == name].groupby("idx_rep").tail(1)
    assert len(last) == 2
    assert last["objective_status"].eq("error").all()
    assert last["objective_message"].str.contains(CHEATS[name], regex=False).all()
    assert last["objective_value"].isna().all()


@pytest.mark.parametrize("name", HONEST)
def test_honest_solvers_pass(rows, name):
    own = rows[rows["solver_name"] == name]
    assert own["objective_status"].eq("ok").all()
    assert own.groupby("idx_rep")["objective_steps"].max().eq(STEPS).all()
    assert own["objective_value"].notna().all()


def test_a_cheat_reaches_nobody_else(rows, tmp_path):
    """The solvers that change the data, a class and a function run before the honest ones: nothing reaches these."""
    shutil.copytree(ROOT / "tests" / "cheats" / "training", tmp_path / "solvers")
    for path in (tmp_path / "solvers").glob("*.py"):
        if path.stem not in HONEST:
            path.unlink()
    (tmp_path / "datasets").mkdir()
    shutil.copy(ROOT / "benchmark_muon" / "objective.py", tmp_path)
    shutil.copy(ROOT / "benchmark_muon" / "datasets" / "digits.py", tmp_path / "datasets")
    alone = SmallBenchmark(tmp_path).run(dataset_names=[f"digits[steps={STEPS},width=8]"], repetitions=2, timeout=60)
    key = ["solver_name", "idx_rep", "stop_val"]
    columns = [*key, "objective_held_out_loss", "objective_train_loss"]
    beside = rows[rows["solver_name"].isin(HONEST)]
    expected = alone[columns].sort_values(key).to_numpy().tolist()
    assert str(beside[columns].sort_values(key).to_numpy().tolist()) == str(expected)


def test_what_a_cell_remembers_the_next_one_has_not(rows):
    own = rows[rows["solver_name"] == "remembers_the_last_cell"]
    assert own["objective_status"].eq("ok").all()
    start, end = (own[own["stop_val"] == step]["objective_held_out_loss"].to_numpy() for step in (0, STEPS))
    first, second = start - end
    assert 0 < second < 1.5 * first  # as far as its own steps lead, and not as those of two cells


def test_work_in_an_optimizers_attributes_is_on_the_clock(rows):
    own = rows[(rows["solver_name"] == "works_when_asked") & (rows["stop_val"] == STEPS)]
    assert own["objective_status"].eq("ok").all()
    assert own["objective_step_time_ms"].gt(1e3 * 0.3 / STEPS).all()


def test_before_the_clock_there_is_nothing_to_train_on(rows):
    """What is there then is made up: its labels say nothing of its images, or of real ones."""
    own = rows[(rows["solver_name"] == "trains_before_the_clock") & (rows["stop_val"] == STEPS)]
    assert own["objective_status"].eq("ok").all()
    assert own["objective_held_out_accuracy"].lt(0.25).all()


def test_the_weights_that_are_evaluated_are_those_that_were_trained(rows):
    """A hook of the state dict would show others."""
    shown, honest = (rows[rows["solver_name"] == name] for name in ("shows_other_weights", "honest"))
    assert shown["objective_held_out_loss"].tolist() == honest["objective_held_out_loss"].tolist()


def test_every_cheat_is_tested():
    names = {path.stem for path in (ROOT / "tests" / "cheats" / "training").glob("*.py")}
    assert names == {*CHEATS, *HONEST, *IN_VAIN}
